"""Data in COCO's format for aiop's tasks: layout, check, panoptic preparation, and a drawn data set."""

"""Task detectron2 for aiop: detection, instance, semantic and panoptic segmentation on detectron2."""

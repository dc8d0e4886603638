"""Task torchvision for aiop: detection, instance and semantic segmentation on torchvision's heads."""

"""The models of timm and torchvision by name, for aiop."""

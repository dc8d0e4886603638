"""Heat-map human pose estimation for aiop."""

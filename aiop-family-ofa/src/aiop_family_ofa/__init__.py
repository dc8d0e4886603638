"""The once-for-all search spaces: ProxylessNAS, MobileNetV3 and ResNet-50, as families of aiop."""

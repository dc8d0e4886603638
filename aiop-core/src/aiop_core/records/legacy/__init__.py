"""The published graph caches of the AIO-P research code, which are pickles, as our own."""

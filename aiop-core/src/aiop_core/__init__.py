"""aiop-core: predicts how well a neural network will do on a task without training it.

Import what you need from the modules; this package imports nothing by itself.
"""

"""One spelling for models, wherever a command takes one.

========================  ==========================================================
``family:spec``           an architecture of an installed family
``zoo:name``              a model of an installed zoo
``package.module:name``   a factory in Python, or a ready module; runs that code
``file.py:name``          the same in a file
a file                    ONNX, frozen TensorFlow graph, Keras, or a graph of ours
a folder                  a TensorFlow SavedModel
``cache.safetensors#3``   one graph of a graph cache
========================  ==========================================================
"""

from aiop_core.pipeline.models.named import NamedGraph, TorchModel
from aiop_core.pipeline.models.reader import ModelReader

__all__ = ["ModelReader", "NamedGraph", "TorchModel"]

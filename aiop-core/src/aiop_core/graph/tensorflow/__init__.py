"""TensorFlow's files as graphs: frozen GraphDefs and SavedModels without TensorFlow, Keras through it."""

from aiop_core.graph.tensorflow.graphdef import read_graphdef
from aiop_core.graph.tensorflow.keras_model import read_keras
from aiop_core.graph.tensorflow.saved_model import read_saved_model

__all__ = ["read_graphdef", "read_keras", "read_saved_model"]

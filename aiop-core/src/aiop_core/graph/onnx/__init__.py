"""From an ONNX file to its graph."""

from aiop_core.graph.onnx.reader import read_onnx

__all__ = ["read_onnx"]

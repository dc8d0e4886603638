"""Models in files: recognised by what they hold, each read by its own reader."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aiop_core.errors import ModelError
from aiop_core.graph.files import load_graph
from aiop_core.graph.model import Graph
from aiop_core.pipeline.models.formats import Format, recognise
from aiop_core.pipeline.models.libraries import needs
from aiop_core.pipeline.models.named import NamedGraph, TorchModel
from aiop_core.pipeline.models.wanted import Wanted, without_module
from aiop_core.records.cache import GraphCache

SUFFIXES: Mapping[Format, tuple[str, ...]] = {
    Format.ONNX: (".onnx",),
    Format.GRAPHDEF: (".pb",),
    Format.HDF5: (".h5", ".hdf5"),
    Format.KERAS: (".keras",),
    Format.GRAPH: (".safetensors",),
    Format.CACHE: (".safetensors",),
}
"""What can be read, and how such files are called."""

READABLE = "a .onnx file, a frozen .pb graph, a SavedModel folder, .keras or .h5, or a .safetensors graph"

_OTHERS = (
    ".pt",
    ".pth",
    ".pt2",
    ".ckpt",
    ".bin",
    ".pkl",
    ".pickle",
    ".tflite",
    ".mlmodel",
    ".mlpackage",
    ".json",
    ".pbtxt",
)
"""Suffixes of files that are models to their owners, and that only an explanation can help."""

_FACTORY = "give the code that makes the network, as file.py:function, with --input-shape, or export it to ONNX"

_ADVICE: Mapping[Format, str] = {
    Format.SAVED_MODEL: "give the folder that it lies in",
    Format.TENSORS: f"an architecture is in code; {_FACTORY}",
    Format.CHECKPOINT: f"an architecture is in code; {_FACTORY}",
    Format.TORCHSCRIPT: f"aiop opens no pickles, and it holds some; {_FACTORY}",
    Format.EXPORTED: f"aiop opens no pickles, and it may hold some; {_FACTORY}",
    Format.PICKLE: f"aiop opens no pickles but, by 'aiop cache import', the AIO-P authors' caches; {_FACTORY}",
    Format.TFLITE: "give the Keras model or SavedModel that it was converted from",
    Format.JSON: f"weights and operations are elsewhere; {_FACTORY}",
    Format.COREML: "give the model that it was converted from",
}
"""What to do with a file that is recognised, and not read."""


def looks_like_a_file(model: str) -> bool:
    """Whether a spelling names a file or folder: one that exists, or a suffix of models."""
    path = _split(model)[0]
    known = {s for suffixes in SUFFIXES.values() for s in suffixes} | set(_OTHERS)
    return path.suffix.lower() in known or path.exists()


def _split(model: str) -> tuple[Path, int | None]:
    """The path and the number after ``#``, if there is one."""
    path, mark, number = model.rpartition("#")
    if mark and number.isdecimal() and not Path(model).exists():
        return Path(path), int(number)
    return Path(model), None


@dataclass(frozen=True)
class ModelFile:
    """A file or folder that holds a model, or ``cache.safetensors#3``."""

    spelling: str

    def module(self, wanted: Wanted) -> TorchModel:
        """There is none."""
        raise without_module(self.spelling)

    def read(self, wanted: Wanted) -> NamedGraph:
        """The graph that the file holds.

        Raises:
            ModelError: if there is no such file, or it holds no model that aiop reads.
            GraphError: if the model cannot become a graph.
        """
        path, index = _split(self.spelling)
        if not path.exists():
            raise ModelError(f"there is no file {path}; a model in a file is {READABLE}")
        if path.is_dir():
            return NamedGraph(self.spelling, _saved_model(path, wanted))
        if not path.is_file():
            raise ModelError(f"{path} is no regular file; a model in a file is {READABLE}")
        try:
            found = recognise(path)
        except OSError as error:
            raise ModelError(f"{path} cannot be read: {error.strerror}") from error
        if found is Format.CACHE:
            return _of_cache(path, index)
        if index is not None:
            raise ModelError(f"{path} is {found.value} and no graph cache; leave out '#{index}'")
        if found is Format.GRAPH:
            saved = load_graph(path)
            return NamedGraph(saved.name or self.spelling, saved.graph)
        _check(path, found)
        return NamedGraph(self.spelling, _read(path, found, wanted))


def _check(path: Path, found: Format) -> None:
    """Raise for what cannot be read, and for a suffix that belongs to something else."""
    claimed = [f for f, suffixes in SUFFIXES.items() if path.suffix.lower() in suffixes]
    if path.suffix == ".py":
        raise ModelError(f"{path} is a program; name what makes the model in it: {path}:function")
    if claimed and found in (Format.UNKNOWN, Format.DAMAGED):
        raise ModelError(f"{path} is damaged, or not {claimed[0].value}; make it again")
    if found not in SUFFIXES:
        verb = "is" if found in (Format.EMPTY, Format.UNKNOWN) else "holds"
        advice = _ADVICE.get(found, f"a model in a file is {READABLE}")
        raise ModelError(f"{path} {verb} {found.value}; {advice}")
    if found not in claimed and (claimed or found in (Format.HDF5, Format.KERAS)):
        raise ModelError(f"{path} holds {found.value}; rename it to {path.with_suffix(SUFFIXES[found][0]).name}")


def _read(path: Path, found: Format, wanted: Wanted) -> Graph:
    if found is Format.ONNX:
        with needs("onnx", str(path)):
            from aiop_core.graph.onnx import read_onnx

            return read_onnx(path, wanted.input_shape, wanted.rules("onnx"), input_name=wanted.input_name)
    if found is Format.GRAPHDEF:
        with needs("graphdef", str(path)):
            from aiop_core.graph.tensorflow import read_graphdef

            return read_graphdef(path, wanted.input_shape, wanted.rules("tensorflow"), input_name=wanted.input_name)
    with needs("tensorflow", str(path)):
        from aiop_core.graph.tensorflow import read_keras

        return read_keras(path, wanted.input_shape, rules=wanted.rules("tensorflow"))


def _saved_model(folder: Path, wanted: Wanted) -> Graph:
    description = folder / "saved_model.pb"
    if folder.suffix == ".mlpackage":
        raise ModelError(f"{folder} is a Core ML package; {_ADVICE[Format.COREML]}")
    if not description.is_file():
        raise ModelError(f"the folder {folder} has no saved_model.pb; a model in a folder is a TensorFlow SavedModel")
    found = recognise(description)
    if found is Format.GRAPHDEF:
        raise ModelError(f"{description} holds {found.value}, not a SavedModel; give that file, not its folder")
    if found is not Format.SAVED_MODEL:
        raise ModelError(f"{description} is damaged, or no SavedModel: it is {found.value}; export the model again")
    with needs("tensorflow", str(folder)):
        from aiop_core.graph.tensorflow import read_saved_model

        return read_saved_model(folder, wanted.input_shape, rules=wanted.rules("tensorflow"))


def _of_cache(path: Path, index: int | None) -> NamedGraph:
    cache = GraphCache.load(path)
    if index is None or index >= len(cache):
        raise ModelError(f"{path} holds {len(cache)} graphs; name one as {path}#0 to {path}#{len(cache) - 1}")
    scores = {name: float(values[index]) for name, values in cache.graphs.scores.items()}
    return NamedGraph(cache.specs[index], cache.graphs[index], scores)

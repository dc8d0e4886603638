"""Models that a user's Python code makes. Naming one runs that code."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiop_core.errors import ModelError
from aiop_core.pipeline.models.libraries import needs, prepare_for_tensorflow
from aiop_core.pipeline.models.named import NamedGraph, TorchModel
from aiop_core.pipeline.models.wanted import Wanted, without_module


class RunsCodeWarning(UserWarning):
    """A model is made by code that is about to run."""


def is_factory(model: str) -> bool:
    """Whether a spelling has the form ``package.module:name`` or ``file.py:name``."""
    path, _, name = model.rpartition(":")
    return name.isidentifier() and (path.endswith(".py") or all(part.isidentifier() for part in path.split(".")))


def importable(model: str) -> bool:
    """Whether the outermost package of a factory is there; files and packages in packages are taken to be."""
    path = model.rpartition(":")[0]
    if path.endswith(".py") or "." in path:
        return True
    _importable(Path.cwd())
    return importlib.util.find_spec(path) is not None


@dataclass(frozen=True)
class Factory:
    """``package.module:name`` or ``file.py:name``: a function without arguments, or a ready model."""

    spelling: str

    def read(self, wanted: Wanted) -> NamedGraph:
        """The graph of the torch module or Keras model that the code makes."""
        model = self._make()
        if _is_keras(model):
            with needs("tensorflow", self.spelling):
                from aiop_core.graph.tensorflow import read_keras

                return NamedGraph(
                    self.spelling, read_keras(model, wanted.input_shape, rules=wanted.rules("tensorflow"))
                )
        return wanted.trace(TorchModel(self.spelling, model, wanted.shape_for(self.spelling)))

    def module(self, wanted: Wanted) -> TorchModel:
        """The torch module that the code makes."""
        model = self._make()
        if _is_keras(model):
            raise without_module(self.spelling)
        return TorchModel(self.spelling, model, wanted.shape_for(self.spelling))

    def _make(self) -> Any:
        """What the code makes. This runs the code of that file or package.

        Raises:
            ModelError: if the file, package or factory does not exist, fails, or makes no model.
        """
        prepare_for_tensorflow()
        path, _, name = self.spelling.rpartition(":")
        factory = getattr(_import(path), name, None)
        if factory is None:
            raise ModelError(f"{path} has no '{name}'; name a function that takes no arguments and makes a model")
        ready = _is_torch(factory) or _is_keras(factory)
        model = factory if ready else _call(factory, self.spelling)
        if not _is_torch(model) and not _is_keras(model):
            raise ModelError(
                f"{self.spelling} makes a {type(model).__name__}, expected a torch.nn.Module or keras.Model"
            )
        return model


def _is_torch(model: Any) -> bool:
    """Without importing torch: it and TensorFlow do not get along in one process."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def _is_keras(model: Any) -> bool:
    return not isinstance(model, type) and any(
        base.__name__ == "Model" and base.__module__.startswith(("keras.", "tf_keras.")) for base in type(model).__mro__
    )


def _call(factory: Callable[[], Any], spelling: str) -> Any:
    with _running(f"{spelling} fails", "; it is called without arguments"):
        return factory()


@contextmanager
def _running(what: str, advice: str = "") -> Iterator[None]:
    """A user's code runs: what it prints is no result of ours, and what it raises is one line.

    Raises:
        ModelError: if it fails, or ends the program.
    """
    try:
        with redirect_stdout(sys.stderr):
            yield
    except (Exception, SystemExit) as error:
        text = (str(error).strip().splitlines() or [""])[0]
        raise ModelError(f"{what}: {type(error).__name__}: {text}{advice}") from error


def _import(path: str) -> Any:
    if not path.endswith(".py"):
        _importable(Path.cwd())
        with _running(f"package '{path}' cannot be imported"):
            return importlib.import_module(path)
    file = Path(path)
    if not file.is_file():
        raise ModelError(f"there is no file {file}; write file.py:function")
    warnings.warn(
        f"{file} is a program, and naming it as a model runs it; give only files that you trust",
        RunsCodeWarning,
        stacklevel=2,
    )
    spec = importlib.util.spec_from_file_location(f"aiop_model_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    _importable(file.parent)
    with _running(f"{file} cannot be run"):
        spec.loader.exec_module(module)
    return module


def _importable(folder: Path) -> None:
    """What lies beside a user's file can be imported, as if Python ran that file."""
    if (path := str(folder.resolve())) not in sys.path:
        sys.path.insert(0, path)

"""What a plugin provides, and the data they exchange. Nothing here imports torch.

A family, a task or a predictor is any object with these attributes and methods; no base
class is needed. A capability that only some have is a type of its own beside the first
(``BaselineRegistration`` beside ``Registration``), never a flag.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from aiop_core.records.labels import Labelled, Metric

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from aiop_core.graph.model import Graph, GraphSet
    from aiop_core.graph.recorder import Recorder, Value

__all__ = [
    "Adaptable",
    "AdaptableRegistration",
    "Aligning",
    "Architecture",
    "Backbone",
    "BaselineRegistration",
    "Executor",
    "Family",
    "FitReport",
    "InProcess",
    "Labelled",
    "Level",
    "Metric",
    "NoOptions",
    "OperationRule",
    "Predictor",
    "Profiler",
    "Progress",
    "Registration",
    "Task",
    "Uncertain",
    "Zoo",
    "silent",
]

T_co = TypeVar("T_co", covariant=True)
A = TypeVar("A", bound="Architecture")
In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True)
class NoOptions:
    """The options of a plugin that has none."""


@dataclass(frozen=True)
class Registration(Generic[T_co]):
    """What a hook returns for each thing it offers.

    Attributes:
        name: exact, unique in its kind; what users type.
        summary: one sentence for ``aiop plugins`` and ``--help``.
        create: makes the thing from an instance of ``options``; the first place where a
            heavy import may happen.
        options: a frozen dataclass; see :mod:`aiop_core.options`.
        preferred: of several of its kind, the one that is used where the user names none.
    """

    name: str
    summary: str
    create: Callable[[Any], T_co]
    options: type = NoOptions
    preferred: bool = field(default=False, kw_only=True)


@dataclass(frozen=True)
class BaselineRegistration(Registration[T_co]):
    """Registers a predictor that every result is printed beside.

    Attributes:
        asks: what a reader learns from the comparison, as a question.
    """

    asks: str = ""


@dataclass(frozen=True)
class AdaptableRegistration(Registration[T_co]):
    """Registers a predictor that is :class:`Adaptable`.

    Attributes:
        adapt_options: a frozen dataclass: how it learns a further data set.
        tune_options: a frozen dataclass: how it is brought to a target.
    """

    adapt_options: type = NoOptions
    tune_options: type = NoOptions


class Progress(Protocol):
    """Told how far a long step is; shown as a bar with an ETA, or as plain lines."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """``done`` of ``total`` units are behind; ``note`` is a short text such as the loss."""
        ...


def silent(done: int, total: int, note: str = "") -> None:
    """A :class:`Progress` that says nothing."""


# --- Families -----------------------------------------------------------------------


class Architecture(Protocol):
    """A point of a search space; hashable, and equal if and only if the specs are."""

    @property
    def spec(self) -> str:
        """The canonical text; ``Family.parse`` reads it back."""
        ...


@dataclass(frozen=True)
class Level:
    """A feature map that a backbone gives: how wide, and how much smaller than its input."""

    channels: int
    stride: int


class Backbone(Protocol):
    """A ``torch.nn.Module`` that maps images to feature maps, without classifier.

    ``forward`` takes (batch, 3, H, W) and returns one tensor for each entry of
    ``levels``, of shape (batch, channels, ceil(H / stride), ceil(W / stride)), from the
    finest to the coarsest.
    """

    levels: tuple[Level, ...]

    def __call__(self, images: Tensor) -> list[Tensor]:
        """The feature maps of a batch of images."""
        ...


class Family(Protocol[A]):
    """A search space.

    Attributes:
        input_hw: the (height, width) at which its published networks run.
    """

    input_hw: tuple[int, int]

    def sample(self, count: int, *, seed: int) -> list[A]:
        """``count`` distinct architectures; the same ones for the same seed.

        A larger sample begins with the smaller one, so that slices of it can be labelled
        apart, and a run can grow.

        Raises:
            SpecError: if the space has fewer.
        """
        ...

    def parse(self, spec: str) -> A:
        """The architecture that a text describes; equal networks give equal specs.

        Raises:
            SpecError: naming what is malformed and what is allowed.
        """
        ...

    def backbone(self, architecture: A) -> Backbone:
        """The body as a module, with the weights that the family's options ask for."""
        ...

    def network(self, architecture: A) -> nn.Module:
        """The whole classifier as published."""
        ...

    def graph(self, architecture: A, input_hw: tuple[int, int]) -> Graph:
        """The graph of ``network``; equal to the traced one."""
        ...


# --- Tasks --------------------------------------------------------------------------


class Task(Protocol):
    """Something a backbone is good or bad at.

    Attributes:
        metrics: what ``evaluate`` returns, the main one first.
        input_hw: the (height, width) of its images.
    """

    metrics: tuple[Metric, ...]
    input_hw: tuple[int, int]

    def prepare(self) -> None:
        """Make sure the data are there before anything is trained.

        Raises:
            DataError: naming the file, where it should lie, and how to get it.
        """
        ...

    def model(self, backbone: Backbone) -> nn.Module:
        """The backbone with this task's head, untrained."""
        ...

    def train(self, model: nn.Module, *, seed: int, device: str, progress: Progress) -> None:
        """Train ``model`` in place; the same result for the same seed on the CPU."""
        ...

    def evaluate(self, model: nn.Module, *, device: str) -> Mapping[str, float]:
        """Exactly ``metrics``, each by its name, in its unit."""
        ...

    def graphs(self, model: nn.Module) -> Mapping[str, Graph]:
        """For each metric's name, the graph of body *and* head at ``input_hw``."""
        ...


# --- Predictors ---------------------------------------------------------------------


@dataclass(frozen=True)
class FitReport:
    """What a fit tells besides its result, for the log, such as epochs run and best loss."""

    values: Mapping[str, float] = field(default_factory=dict)


class Predictor(Protocol):
    """Turns graphs into a metric value."""

    def fit(self, train: Labelled, *, seed: int, device: str, progress: Progress) -> FitReport:
        """Learn from ``train`` alone; a predictor that stops early splits it by itself."""
        ...

    def predict(self, graphs: GraphSet) -> np.ndarray[Any, Any]:
        """One float64 for each graph, in the labels' unit."""
        ...

    def save(self, folder: Path) -> None:
        """Write everything needed to predict again into an existing folder; no pickles."""
        ...

    def load(self, folder: Path) -> None:
        """Become what was saved there.

        Raises:
            WeightsError: if a file is missing, damaged, or of other options.
        """
        ...


class Adaptable(Predictor, Protocol):
    """A predictor that learns further data sets without forgetting, and is brought to a target by few labels.

    What it is called in the field: pretraining (``fit``), k-adapters (``adapt``, once for
    each data set), zero-shot transfer and fine-tuning (``tune``). ``fit`` and ``adapt`` take
    labels of several sets; after either of them predictions of a target only rank, until ``tune``.
    """

    def adapt(
        self, name: str, source: Labelled, options: Any, *, seed: int, device: str, progress: Progress
    ) -> FitReport:
        """Learn a further data set, by its name; what was known before stays as it is.

        From then on ``predict`` counts in what was learnt, until ``tune`` is told otherwise.

        Args:
            name: how users refer to what is learnt here; not used before.
            source: its labels.
            options: the registration's ``adapt_options``.
            seed: of everything random.
            device: a torch device.
            progress: told how far it is.

        Raises:
            OptionError: if the name was used before.
        """
        ...

    def tune(self, target: Labelled, options: Any, *, seed: int, device: str, progress: Progress) -> FitReport:
        """Come to a target by its few labels; ``predict`` then speaks in their unit.

        Args:
            target: the labels that may be learnt from; the rest of the target is not seen.
            options: the registration's ``tune_options``, such as which weights may change.
            seed: of everything random.
            device: a torch device.
            progress: told how far it is.
        """
        ...


class Aligning(Adaptable, Protocol):
    """An adaptable predictor that also learns from a target's graphs, which need no labels.

    Having ``align`` is all that it takes. ``aiop evaluate`` gives it all of the target's graphs.
    """

    def align(self, graphs: GraphSet, options: Any) -> None:
        """Come to a target by its graphs alone; called before ``tune``, or instead of it.

        Args:
            graphs: of the target; the same ones lead to the same predictions, as there is no seed.
            options: the registration's ``tune_options``.
        """
        ...


class Uncertain(Predictor, Protocol):
    """A predictor that knows where it knows less."""

    def spread(self, graphs: GraphSet) -> np.ndarray[Any, Any]:
        """One positive float64 for each graph: how uncertain ``predict`` is there, in the labels' unit.

        Only relative sizes matter: intervals are calibrated on labels that were held out.
        """
        ...


# --- Models and operations of others ------------------------------------------------


class Zoo(Protocol):
    """A named collection of models; users write ``ZOO:NAME``."""

    def names(self) -> Sequence[str]:
        """Every model's name, none of them twice."""
        ...

    def module(self, name: str) -> nn.Module:
        """The model with random weights; made on the meta device if that is torch's default device.

        Nothing is downloaded. The name is one of ``names``.
        """
        ...

    def input_shape(self, name: str) -> tuple[int, ...]:
        """Of one input without the batch axis: (channels, height, width) of an image."""
        ...


class OperationRule(Protocol):
    """Says what an operation of a framework becomes in a graph.

    It is registered as ``DIALECT:OPERATION``: ``torch:mylib::my_op``,
    ``onnx:com.acme::Op`` or ``tensorflow:MyOp``.
    """

    def __call__(self, recorder: Recorder, call: Any) -> Value | Sequence[Value]:
        """Append the nodes of ``call`` to ``recorder``; gives the value of its result, or of each."""
        ...


# --- Profilers and executors --------------------------------------------------------


class Profiler(Protocol):
    """Counts or scores a module: another MAC counter, or a zero-cost proxy."""

    def profile(self, model: nn.Module, input_shape: tuple[int, ...]) -> Mapping[str, float]:
        """Numbers by name; ``input_shape`` is (channels, height, width).

        A number that is not defined for the module is left out.
        """
        ...


class Executor(Protocol):
    """Runs the jobs of a labelling step one at a time in this process, in an order and at times of its choice.

    A job shares the store and the screen with its caller, so that it cannot be sent to
    another process. To label in several, start several commands on one run folder.
    """

    def map(self, job: Callable[[In], Out], items: Sequence[In]) -> Iterator[Out]:
        """The result of ``job`` for each item, in any order."""
        ...


class InProcess:
    """The executor used where none is named: one job after the other, in this process."""

    def map(self, job: Callable[[In], Out], items: Iterable[In]) -> Iterator[Out]:
        """Run ``job`` on each item in turn."""
        return map(job, items)

"""What some families and tasks can do beside what all do (:mod:`aiop_core.contracts`). No torch here.

Having the methods is all that it takes, but where a capability brings options: a task that is
:class:`Sharing` registers by a :class:`SharingRegistration`, a family that can train its own
supernet by a :class:`SupernetRegistration`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from aiop_core.contracts import (
    Architecture,
    Backbone,
    Family,
    FitReport,
    Level,
    NoOptions,
    Progress,
    Registration,
    Task,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = [
    "Bodies",
    "Checking",
    "Detailed",
    "Finding",
    "Fingerprinted",
    "Itemised",
    "Lesson",
    "Piece",
    "Population",
    "Preparing",
    "Requirement",
    "Sharing",
    "SharingRegistration",
    "Stratified",
    "SupernetRegistration",
    "Teaching",
    "WeightSharing",
]

T_co = TypeVar("T_co", covariant=True)
A = TypeVar("A", bound=Architecture)


# --- Families -----------------------------------------------------------------------


class Stratified(Family[A], Protocol[A]):
    """A family whose architectures fall into strata, such as total depths, which are drawn in turn.

    A family whose bodies differ in the widths of their levels says in ``widest`` how wide they get.

    Attributes:
        strata: how many there are.
    """

    strata: int

    def draw(self, stratum: int, *, seed: int) -> A:
        """A random architecture of a stratum, counted from 0; the same one for the same seed."""
        ...


class WeightSharing(Family[A], Protocol[A]):
    """A family whose architectures can be slices of one set of weights, which it knows how to train."""

    def train_supernet(
        self, lesson: Lesson | None, out: Path, options: Any, *, seed: int, device: str, progress: Progress
    ) -> FitReport:
        """Train shared weights and write them where an option of the family can name them.

        What a killed training left in ``out`` is gone on with.

        Args:
            lesson: what is taught; ``None`` asks for what the options say.
            out: an existing folder.
            options: the registration's ``supernet_options``.
            seed: of everything random.
            device: a torch device.
            progress: told how far it is.

        Raises:
            DataError: if there is nothing to learn from.
        """
        ...


@dataclass(frozen=True)
class SupernetRegistration(Registration[T_co]):
    """Registers a family that is :class:`WeightSharing`.

    Attributes:
        supernet_options: a frozen dataclass: how the shared weights are trained.
    """

    supernet_options: type = NoOptions


class Bodies(Protocol):
    """A family's bodies without end; a number always names the same one."""

    @property
    def family(self) -> str:
        """The registered name."""
        ...

    @property
    def strata(self) -> int:
        """As many bodies in a row are of as many strata; 1 where the family has none."""
        ...

    @property
    def widest(self) -> tuple[Level, ...] | None:
        """Each level as wide as any body's; ``None`` if all bodies are equally wide, or the family does not say."""
        ...

    def spec(self, number: int) -> str:
        """The canonical text of body ``number``, counted from 0."""
        ...

    def body(self, number: int) -> Backbone:
        """Body ``number`` with its weights, a new module each time."""
        ...


class Population:
    """The bodies that speak of one image: some of each stratum, of which the oldest makes room for each next image.

    Source: AIO-P's code, ``latent_sample/arch_sampler.py``: five strata of depth, round robin.

    Args:
        bodies: where they come from.
        per_stratum: how many of each stratum there are at a time.
    """

    def __init__(self, bodies: Bodies, per_stratum: int) -> None:
        self._bodies = bodies
        self.size = per_stratum * bodies.strata
        self._kept: dict[int, Backbone] = {}

    def at(self, step: int) -> list[Backbone]:
        """Those of the image ``step``, counted from 0: bodies ``step`` to ``step + size - 1``, the oldest first."""
        wanted = range(step, step + self.size)
        self._kept = {n: self._kept[n] if n in self._kept else self._bodies.body(n) for n in wanted}
        return list(self._kept.values())


# --- Tasks --------------------------------------------------------------------------


class Sharing(Task, Protocol):
    """A task that trains one head for a whole family, and measures bodies with it.

    Every folder that it writes can be moved; what a killed step left in one is gone on with.
    """

    def reads_latents(self, options: Any) -> bool:
        """Whether a head of these ``head_options`` is trained from latents, where there are some."""
        ...

    def collect_latents(self, bodies: Bodies, out: Path, options: Any, *, device: str, progress: Progress) -> None:
        """Write mean and deviation of the bodies' features, for every image, into an existing folder.

        Args:
            bodies: whose features; see :class:`Population`.
            out: an existing folder.
            options: the registration's ``latents_options``.
            device: a torch device.
            progress: told how many images are done.

        Raises:
            DataError: if it cannot be written, or holds latents of something else.
        """
        ...

    def train_head(
        self,
        bodies: Bodies,
        latents: Path | None,
        out: Path,
        options: Any,
        *,
        seed: int,
        device: str,
        progress: Progress,
    ) -> FitReport:
        """Train a head that serves all bodies, and write it with all that ``attach`` needs.

        Args:
            bodies: of the family.
            latents: a folder that ``collect_latents`` wrote, if there is one.
            out: an existing folder.
            options: the registration's ``head_options``.
            seed: of everything random.
            device: a torch device.
            progress: told how far it is.

        Raises:
            DataError: if ``latents`` are of another family, image size or data set.
        """
        ...

    def attach(self, backbone: Backbone, head: Path) -> nn.Module:
        """The backbone with the head of a folder that ``train_head`` wrote.

        Raises:
            WeightsError: if the head is damaged, or made for other bodies or other options of the task.
        """
        ...

    def finetune(self, model: nn.Module, options: Any, *, seed: int, device: str, progress: Progress) -> None:
        """Train what ``attach`` made in place, for short; ``options`` are the registration's ``shared_options``."""
        ...


@dataclass(frozen=True)
class SharingRegistration(Registration[T_co]):
    """Registers a task that is :class:`Sharing`; its steps have options of their own, frozen dataclasses.

    Attributes:
        latents_options: of ``collect_latents``.
        head_options: of ``train_head``; if a field ``method`` has choices, ``aiop agreement`` compares them.
        shared_options: of ``finetune``.
    """

    latents_options: type = NoOptions
    head_options: type = NoOptions
    shared_options: type = NoOptions


class Fingerprinted(Protocol):
    """A family or a task whose options do not say everything that decides a label.

    Such as the images that lie in a folder, or the weights in a file. Labels, latents and
    heads of different fingerprints are never mixed.
    """

    def fingerprint(self) -> str:
        """Changes if and only if labels may change under the same options; empty if the options say it all.

        Raises:
            AiopError: if what decides cannot be read.
        """
        ...


class Resolving(Task, Protocol):
    """A task some of whose options depend on others where they are not given."""

    def resolved(self) -> Mapping[str, Any]:
        """What is really done: every knob with its value, as JSON values; written beside labels."""
        ...


class Detailed(Task, Protocol):
    """A task that measures more than its metrics."""

    def evaluate_in_detail(self, model: nn.Module, *, device: str) -> tuple[Mapping[str, float], Mapping[str, float]]:
        """What ``evaluate`` gives, and further numbers by name, such as one for each class.

        The latter are kept with the label for people; no predictor reads them.
        """
        ...


class Lesson(Protocol):
    """What shared weights can be trained on, whichever body is used in a step."""

    def head(self, levels: Sequence[Level]) -> nn.Module:
        """Maps a body's features (a list of tensors, one for each level) to outputs."""
        ...

    def batches(self, *, seed: int, device: str) -> Iterator[tuple[Tensor, Any]]:
        """Normalised images (batch, 3, H, W) with what is to be learnt from them, without end."""
        ...

    def loss(self, outputs: Tensor, target: Any) -> Tensor:
        """A scalar."""
        ...

    def distance(self, outputs: Tensor, teacher: Tensor) -> Tensor:
        """A scalar: how far outputs are from those of the largest body (in-place distillation)."""
        ...


class Teaching(Task, Protocol):
    """A task that shared weights can be trained on."""

    def lesson(self) -> Lesson:
        """Its training images and its loss."""
        ...


@dataclass(frozen=True)
class Piece:
    """What one piece of a model costs.

    Attributes:
        macs: multiply-adds of one use.
        params: counted once, however often it is used.
        count: uses for one image, such as a detector's proposals.
    """

    macs: int
    params: int
    count: int = 1

    @property
    def total_macs(self) -> int:
        """Multiply-adds for one image."""
        return self.macs * self.count


class Itemised(Task, Protocol):
    """A task that can say what each piece of its models costs; ``aiop profile`` keeps it."""

    def pieces(self, model: nn.Module) -> Mapping[str, Mapping[str, Piece]]:
        """For each metric's name the pieces by name, which add up to the cost of that metric's graph."""
        ...


class Preparing(Task, Protocol):
    """A task that makes something of its data before it can read them, which may take long."""

    def prepare_data(self, *, progress: Progress) -> None:
        """Make what is missing; what is there already is not made again, and a killed preparation is gone on with.

        Raises:
            DataError: if what it is made of is missing, or there is no room.
        """
        ...


@dataclass(frozen=True)
class Finding:
    """One thing that a task's data, or a plugin, needs.

    Attributes:
        name: of the data set or the part, such as ``lsp_extended/joints.mat``, or of the library.
        path: where it lies or should lie; empty if nobody knows.
        found: what is there, in a few words; ``None`` if it is missing or wrong.
        advice: what is wrong and what to do, such as the place where data are published; empty if all is well.
        required: whether the task's options, or the plugin, cannot do without.
    """

    name: str
    path: Path
    found: str | None
    advice: str = ""
    required: bool = True


class Checking(Task, Protocol):
    """A task that can say what of its data is there, and show it."""

    def check_data(self) -> Sequence[Finding]:
        """Everything that the task can use, found or not; reads enough of it to tell damage."""
        ...

    def draw_data(self, path: Path, *, count: int) -> None:
        """Write ``count`` examples with what is annotated as one image, a contact sheet.

        Raises:
            DataError: if there is nothing to draw.
        """
        ...


# --- The machine --------------------------------------------------------------------


class Requirement(Protocol):
    """Something that a plugin needs and no distribution can declare, such as a library compiled for one torch."""

    def __call__(self) -> Sequence[Finding]:
        """Look for it; advice is a command that can be pasted."""
        ...

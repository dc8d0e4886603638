"""The task object: data, head, training and measure of ``hpe2d`` put together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from aiop_core.capabilities import Bodies, Finding
from aiop_core.contracts import Backbone, FitReport, Metric, Progress
from aiop_core.errors import ContractError, LabelError
from aiop_core.options import options_dict
from aiop_task_hpe.heads import DeconvHPEHead, HeatMaps, SkipDeconvHPEHead, build_head, draw_weights
from aiop_task_hpe.joints import skeleton_of
from aiop_task_hpe.measures import HEAD, TORSO, measure, named_shares
from aiop_task_hpe.options import PoseOptions, Settings, resolve
from aiop_task_hpe.patches import PatchStore, digest
from aiop_task_hpe.pck import THRESHOLD
from aiop_task_hpe.pckh import THRESHOLD as HEAD_THRESHOLD
from aiop_task_hpe.training import find_joints, fit

if TYPE_CHECKING:
    from aiop_core.graph.model import Graph
    from aiop_task_hpe.lesson import PoseLesson
    from aiop_task_hpe.sharing_options import HeadOptions, LatentsOptions, SharedOptions

METRIC = Metric(
    "val_PCK",
    description=f"share of annotated joints within {THRESHOLD} of the torso diagonal (left shoulder to right hip)",
)

HEAD_METRIC = Metric(
    METRIC.name,
    description=f"PCKh@{HEAD_THRESHOLD:g}: share of annotated joints, pelvis and thorax aside, within "
    f"{HEAD_THRESHOLD:g} of the head's length",
)
"""MPII's value has the research code's name too, and its benchmark's measure."""


class PoseModel(nn.Module):
    """A backbone with a pose head: images to heat maps."""

    def __init__(self, backbone: nn.Module, head: DeconvHPEHead | SkipDeconvHPEHead) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> HeatMaps:
        """One map for each joint."""
        maps: Tensor = self.head(self.backbone(images))
        return maps


class PoseTask:
    """Heat-map human pose estimation; see :class:`~aiop_core.contracts.Task`.

    Attributes:
        settings: the options with every default filled in, as they are used.
        skeleton: of the data set; one heat map for each of its joints.
    """

    def __init__(self, options: PoseOptions) -> None:
        self.settings: Settings = resolve(options)
        self.skeleton = skeleton_of(self.settings.data)
        self.metrics: tuple[Metric, ...] = (HEAD_METRIC if self.settings.data == "mpii" else METRIC,)
        self.input_hw = (self.settings.input_size, self.settings.input_size)
        self._stores: tuple[PatchStore, PatchStore] | None = None

    @property
    def stores(self) -> tuple[PatchStore, PatchStore]:
        """Training and validation persons, opened once.

        Raises:
            DataError: if the data set is missing or not what it should be.
        """
        if self._stores is None:
            from aiop_task_hpe.datasets import read_data

            s = self.settings
            train, val = (PatchStore(part, workers=s.workers, limit_mb=s.cache_mb) for part in read_data(s))
            self._stores = train, val
        return self._stores

    def resolved(self) -> Mapping[str, Any]:
        """The settings; see :class:`~aiop_core.capabilities.Resolving`."""
        return options_dict(self.settings)

    def fingerprint(self) -> str:
        """Who is trained on and who is measured; see :class:`~aiop_core.capabilities.Fingerprinted`.

        Raises:
            DataError: if the data set is missing or not what it should be.
        """
        from aiop_task_hpe.origin import data_origin

        if self.settings.data == "synthetic":
            return ""
        return digest(json.dumps(data_origin(self)).encode())

    def prepare(self) -> None:
        """Read or draw every image once, so that a bad file is found before anything is trained."""
        for store in self.stores:
            store.prepare()

    def check_data(self) -> Sequence[Finding]:
        """What of all data sets is there; see :class:`~aiop_core.capabilities.Checking`."""
        from aiop_task_hpe.check import find_data

        return find_data(self.settings)

    def draw_data(self, path: Path, *, count: int) -> None:
        """A contact sheet of every data set that is there.

        Raises:
            DataError: if there is none, or it cannot be written.
        """
        from aiop_task_hpe.sheet import draw_sheet

        draw_sheet(self.settings, path, count=count)

    def model(self, backbone: Backbone, *, head_widths: tuple[int, ...] | None = None) -> nn.Module:
        """The backbone with the head that the options name.

        Args:
            backbone: the body.
            head_widths: in place of the option of that name.

        Raises:
            ContractError: if the backbone is not a module.
            OptionError: if the head cannot be built on its levels.
        """
        if not isinstance(backbone, nn.Module):
            raise ContractError(f"the backbone is a {type(backbone).__name__}; a task needs a torch.nn.Module")
        settings = self.settings if head_widths is None else replace(self.settings, head_widths=head_widths)
        return PoseModel(backbone, build_head(backbone.levels, len(self.skeleton), settings))

    def train(self, model: nn.Module, *, seed: int, device: str, progress: Progress) -> None:
        """Draw the head's weights from ``seed``, then train head and backbone together.

        Raises:
            LabelError: if the loss is not finite any more.
        """
        draw_weights(_pose_model(model).head, torch.Generator().manual_seed(seed))
        fit(model, self.stores[0], self.settings, seed=seed, device=device, progress=progress)

    def reads_latents(self, options: HeadOptions) -> bool:
        """Where the method is latent sampling."""
        return options.method == "sample"

    def collect_latents(
        self, bodies: Bodies, out: Path, options: LatentsOptions, *, device: str, progress: Progress
    ) -> None:
        """See :func:`aiop_task_hpe.latents.collect_latents`."""
        from aiop_task_hpe.latents import collect_latents

        collect_latents(self, bodies, out, options, device=device, progress=progress)

    def train_head(
        self,
        bodies: Bodies,
        latents: Path | None,
        out: Path,
        options: HeadOptions,
        *,
        seed: int,
        device: str,
        progress: Progress,
    ) -> FitReport:
        """See :func:`aiop_task_hpe.shared_head.train_head`."""
        from aiop_task_hpe.shared_head import train_head

        return train_head(self, bodies, latents, out, options, seed=seed, device=device, progress=progress)

    def attach(self, backbone: Backbone, head: Path) -> nn.Module:
        """See :func:`aiop_task_hpe.shared_head.attach`."""
        from aiop_task_hpe.shared_head import attach

        return attach(self, backbone, head)

    def finetune(self, model: nn.Module, options: SharedOptions, *, seed: int, device: str, progress: Progress) -> None:
        """See :func:`aiop_task_hpe.shared_head.finetune`."""
        from aiop_task_hpe.shared_head import finetune

        finetune(self, _pose_model(model), options, seed=seed, device=device, progress=progress)

    def lesson(self) -> PoseLesson:
        """The training images and the loss, for a family's shared weights."""
        from aiop_task_hpe.lesson import PoseLesson

        return PoseLesson(self)

    def evaluate(self, model: nn.Module, *, device: str) -> Mapping[str, float]:
        """``val_PCK`` on the validation images; of MPII PCKh.

        Raises:
            LabelError: if no person has a torso, or of MPII a head, to measure by.
        """
        return self.evaluate_in_detail(model, device=device)[0]

    def evaluate_in_detail(self, model: nn.Module, *, device: str) -> tuple[Mapping[str, float], Mapping[str, float]]:
        """As ``evaluate``, and beside it every measure, mean and by joint or limb; see :mod:`~aiop_task_hpe.measures`.

        Raises:
            LabelError: as ``evaluate``.
        """
        seen = find_joints(model, self.stores[1], self.settings, device=device)
        found = measure(seen.found, seen.joints, seen.annotated, names=self.skeleton.names, heads=seen.heads)
        main, length = (HEAD, "the head") if self.settings.data == "mpii" else (TORSO, "shoulder and hip")
        if main not in found or not found[main].persons:
            raise LabelError(f"no validation person has {length} annotated, so PCK has no scale; use other images")
        return {METRIC.name: found[main].mean}, named_shares(found)

    def graphs(self, model: nn.Module) -> Mapping[str, Graph]:
        """The graph of body and head at ``input_hw``."""
        from aiop_core.graph.trace import trace

        return {METRIC.name: trace(model, input_shape=(3, *self.input_hw))}


def _pose_model(model: nn.Module) -> PoseModel:
    if not isinstance(model, PoseModel):
        raise ContractError(f"train() got a {type(model).__name__}; give it what model() made")
    return model

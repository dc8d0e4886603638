"""The task object: data, head, training and measure of ``hpe2d`` put together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from aiop_core.contracts import Backbone, Metric, Progress
from aiop_core.errors import ContractError, LabelError
from aiop_task_hpe.heads import DeconvHPEHead, HeatMaps, SkipDeconvHPEHead, draw_weights
from aiop_task_hpe.joints import JOINTS
from aiop_task_hpe.lsp import PATCH_MARGIN, LspExtended, read_lsp_extended
from aiop_task_hpe.options import PoseOptions, Settings, resolve
from aiop_task_hpe.patches import PatchStore
from aiop_task_hpe.pck import THRESHOLD, Pck, pck
from aiop_task_hpe.synthetic import SyntheticFigures
from aiop_task_hpe.training import find_joints, fit

if TYPE_CHECKING:
    from aiop_core.graph.model import Graph

METRIC = Metric(
    "val_PCK",
    description=f"share of annotated joints within {THRESHOLD} of the torso diagonal (left shoulder to right hip)",
)

_HEADS: dict[str, type[DeconvHPEHead | SkipDeconvHPEHead]] = {"deconv": DeconvHPEHead, "skip": SkipDeconvHPEHead}

_VALIDATION_OFFSET = 10_000_000
"""Number of the first synthetic validation image: no training set is that large."""


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
    """

    metrics: tuple[Metric, ...] = (METRIC,)

    def __init__(self, options: PoseOptions) -> None:
        self.settings: Settings = resolve(options)
        self.input_hw = (self.settings.input_size, self.settings.input_size)
        self._stores: tuple[PatchStore, PatchStore] | None = None

    @property
    def stores(self) -> tuple[PatchStore, PatchStore]:
        """Training and validation images, opened once.

        Raises:
            DataError: if the data set is missing or not what it should be.
        """
        if self._stores is None:
            s = self.settings
            train: SyntheticFigures | LspExtended
            val: SyntheticFigures | LspExtended
            if s.data == "synthetic":
                train = SyntheticFigures(s.train_images, s.input_size, s.data_seed)
                val = SyntheticFigures(s.val_images, s.input_size, s.data_seed, first=_VALIDATION_OFFSET)
            else:
                assert s.data_dir is not None  # resolve() saw to it
                train, val = read_lsp_extended(
                    s.data_dir, size=round(s.input_size * PATCH_MARGIN), train_share=s.train_share
                )
            self._stores = (
                PatchStore(train, workers=s.workers, limit_mb=s.cache_mb),
                PatchStore(val, workers=s.workers, limit_mb=s.cache_mb),
            )
        return self._stores

    def prepare(self) -> None:
        """Read or draw every image once, so that a bad file is found before anything is trained."""
        for store in self.stores:
            store.prepare()

    def model(self, backbone: Backbone) -> nn.Module:
        """The backbone with the head that the options name.

        Raises:
            ContractError: if the backbone is not a module.
            OptionError: if the head cannot be built on its levels.
        """
        if not isinstance(backbone, nn.Module):
            raise ContractError(f"the backbone is a {type(backbone).__name__}; a task needs a torch.nn.Module")
        s = self.settings
        with torch.random.fork_rng(devices=[]):  # torch draws weights that draw_weights replaces
            head = _HEADS[s.head](
                backbone.levels, len(JOINTS), filters=s.filters, output_stride=s.output_stride, widths=s.head_widths
            )
        draw_weights(head, torch.Generator().manual_seed(0))
        return PoseModel(backbone, head)

    def train(self, model: nn.Module, *, seed: int, device: str, progress: Progress) -> None:
        """Draw the head's weights from ``seed``, then train head and backbone together.

        Raises:
            LabelError: if the loss is not finite any more.
        """
        draw_weights(_pose_model(model).head, torch.Generator().manual_seed(seed))
        fit(model, self.stores[0], self.settings, seed=seed, device=device, progress=progress)

    def measure(self, model: nn.Module, *, device: str) -> Pck:
        """PCK on the validation images, per joint and mean."""
        return pck(*find_joints(model, self.stores[1], self.settings, device=device))

    def evaluate(self, model: nn.Module, *, device: str) -> Mapping[str, float]:
        """``val_PCK`` on the validation images.

        Raises:
            LabelError: if no person has a torso to measure by.
        """
        result = self.measure(model, device=device)
        if not result.persons:
            raise LabelError(
                "no validation person has shoulder and hip annotated, so PCK has no scale; use other images"
            )
        return {METRIC.name: result.mean}

    def graphs(self, model: nn.Module) -> Mapping[str, Graph]:
        """The graph of body and head at ``input_hw``."""
        from aiop_core.graph.trace import trace

        return {METRIC.name: trace(model, input_shape=(3, *self.input_hw))}


def _pose_model(model: nn.Module) -> PoseModel:
    if not isinstance(model, PoseModel):
        raise ContractError(f"train() got a {type(model).__name__}; give it what model() made")
    return model

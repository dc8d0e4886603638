"""The ResNet-50D space: elastic in depth, in the bottlenecks' expansion and in width."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from aiop_family_ofa import checkpoints, specs
from aiop_family_ofa.checkpoints import Checkpoint
from aiop_family_ofa.plans import Activation, BottleneckPlan, ConvPlan, NetworkPlan, divisible
from aiop_family_ofa.shrinking import ALL, Elastic, Phase

RATIOS = (0.2, 0.25, 0.35)
WIDTHS = (0.65, 0.8, 1.0)
EXTRA_DEPTHS = (0, 1, 2)
BASE_DEPTHS = (2, 2, 4, 2)
STRIDES = (1, 2, 2, 2)
STEM_CHANNELS = 64
STAGE_CHANNELS = (256, 512, 1024, 2048)
BN_EPS = 1e-5
"""Source of all: once-for-all, ``OFAResNets`` and ``ResNets``."""

PHASES = (
    Phase("largest", 180, Elastic(depths=1, ratios=1, widths=1)),
    Phase("depth", 25, Elastic(depths=2, ratios=1, widths=1)),
    Phase("depth", 125, Elastic(ratios=1, widths=1)),
    Phase("expansion", 25, Elastic(ratios=2, widths=1)),
    Phase("expansion", 125, Elastic(widths=1)),
    Phase("width", 25, Elastic(widths=2)),
    Phase("width", 125, ALL),
)
"""Source: the order of once-for-all's ``progressive_shrinking.py``; its lengths for MobileNetV3, as none are
published for this space."""

_STEM = re.compile(r"d(\d)w([\d.]{1,6})w([\d.]{1,6})", re.ASCII)
_STAGE = re.compile(r"w([\d.]{1,6}):(.*)", re.ASCII)
_BLOCK = re.compile(r"e([\d.]{1,6})", re.ASCII)


class ResNetStage(NamedTuple):
    """A stage's width multiplier, and the expansion ratio of each active block."""

    width: float
    ratios: tuple[float, ...]


@dataclass(frozen=True)
class ResNetArchitecture:
    """What is chosen of the space.

    Attributes:
        stem_block: whether the stem keeps its residual convolution.
        stem_widths: width multipliers of the stem's middle and last channels.
        stages: four of them.
    """

    stem_block: bool
    stem_widths: tuple[float, float]
    stages: tuple[ResNetStage, ...]

    @property
    def spec(self) -> str:
        """Stem and stages separated by ``|``, e.g. ``d2w0.8w1.0|w1.0:e0.2,e0.35|…``."""
        stem = f"d{max(EXTRA_DEPTHS) if self.stem_block else 0}w{self.stem_widths[0]}w{self.stem_widths[1]}"
        return "|".join([stem, *(f"w{s.width}:" + ",".join(f"e{ratio}" for ratio in s.ratios) for s in self.stages)])


@dataclass(frozen=True)
class ResNetSpace:
    """All sub-networks of the ResNet-50D supernet."""

    title: str = "ofa_resnet"
    checkpoint: Checkpoint = checkpoints.RESNET50

    @property
    def checkpoint_names(self) -> Mapping[str, str]:
        """How weights are called in the published supernet, and here."""
        return {"input_stem": "stem", "classifier.linear": "classifier"}

    @property
    def depths(self) -> tuple[tuple[int, ...], ...]:
        """How many blocks each stage may have."""
        return tuple(tuple(base + extra for extra in EXTRA_DEPTHS) for base in BASE_DEPTHS)

    @property
    def size(self) -> int:
        """How many architectures there are."""
        stages = [len(WIDTHS) * sum(len(RATIOS) ** depth for depth in depths) for depths in self.depths]
        return int(2 * len(WIDTHS) ** 2 * math.prod(stages))

    @property
    def largest(self) -> ResNetArchitecture:
        """The supernet itself."""
        width = max(WIDTHS)
        stages = tuple(ResNetStage(width, (max(RATIOS),) * max(depths)) for depths in self.depths)
        return ResNetArchitecture(True, (width, width), stages)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Progressive shrinking: depths, then the bottlenecks' expansion, then widths."""
        return PHASES

    def smallest(self, elastic: Elastic) -> ResNetArchitecture:
        """The least of every choice that is open."""
        width, ratio = WIDTHS[-elastic.widths], RATIOS[-elastic.ratios]
        stages = tuple(ResNetStage(width, (ratio,) * depths[-elastic.depths]) for depths in self.depths)
        return ResNetArchitecture(elastic.depths == 1, (width, width), stages)

    def draw(self, depths: Sequence[int], rng: np.random.Generator, elastic: Elastic = ALL) -> ResNetArchitecture:
        """A random architecture of these depths, everything else that is open equally likely."""
        block = bool(rng.integers(2)) or elastic.depths == 1
        open_widths, ratios = WIDTHS[-elastic.widths :], RATIOS[-elastic.ratios :]
        middle, last, *widths = (open_widths[i] for i in rng.integers(len(open_widths), size=2 + len(depths)))
        picks = iter(rng.integers(len(ratios), size=sum(depths)).tolist())
        stages = tuple(
            ResNetStage(width, tuple(ratios[next(picks)] for _ in range(depth)))
            for width, depth in zip(widths, depths, strict=True)
        )
        return ResNetArchitecture(block, (middle, last), stages)

    def draw_deep(self, blocks: range, rng: np.random.Generator) -> ResNetArchitecture:
        """A random architecture with so many blocks more than the shallowest; the stem's convolution counts two."""
        stems = (0, max(EXTRA_DEPTHS))
        every = [
            (stem, depths)
            for stem, depths in itertools.product(stems, itertools.product(*self.depths))
            if stem + sum(depths) - sum(BASE_DEPTHS) in blocks
        ]
        stem, depths = every[rng.integers(len(every))]
        return replace(self.draw(depths, rng), stem_block=stem > 0)

    def plan(self, architecture: ResNetArchitecture) -> NetworkPlan:
        """The network of an architecture."""
        relu = Activation.RELU
        middle = divisible(divisible(STEM_CHANNELS * architecture.stem_widths[0]) // 2)
        channels = divisible(STEM_CHANNELS * architecture.stem_widths[1])
        stem = {0: ConvPlan(3, middle, relu, kernel=3, stride=2), 2: ConvPlan(middle, channels, relu, kernel=3)}
        if architecture.stem_block:
            stem[1] = ConvPlan(middle, middle, relu, kernel=3, residual=True)
        blocks, taps, slot = {}, [], 0
        for i, stage in enumerate(architecture.stages):
            out = divisible(STAGE_CHANNELS[i] * stage.width)
            for j, ratio in enumerate(stage.ratios):
                hidden = divisible(round(out * ratio))
                blocks[slot + j] = BottleneckPlan(channels, hidden, out, STRIDES[i] if j == 0 else 1)
                channels = out
            taps.append(slot + len(stage.ratios) - 1)
            slot += max(self.depths[i])
        return NetworkPlan(
            stem={number: stem[number] for number in sorted(stem)},
            stem_pool=True,
            blocks=blocks,
            taps=tuple(taps[:-1]),
            expand=None,
            mix=None,
            dropout=0.0,
            bn_eps=BN_EPS,
        )

    # --- Texts ----------------------------------------------------------------------

    def parse(self, text: str) -> ResNetArchitecture:
        """The architecture of a canonical text, or of a configuration.

        Configurations are the once-for-all library's, ``{"d": […], "e": […], "w": […]}``,
        and the research code's, ``[resolution, {…}]``. Resolutions are no part of an
        architecture and are dropped; so are expansion ratios past the active depth, and
        the stem's depths 0 and 1 are the same.

        Raises:
            SpecError: naming what is malformed and what is allowed.
        """
        stages = tuple(ResNetStage(0.8, (0.25,) * min(depths)) for depths in self.depths)
        example = ResNetArchitecture(False, (0.8, 1.0), stages).spec
        return specs.parse(
            text, family=self.title, example=example, canonical=self._from_text, config=self._from_config
        )

    def _from_text(self, text: str) -> ResNetArchitecture:
        first, *rest = specs.entries(text.split("|"), (1 + len(BASE_DEPTHS),), "the list of stem and stages")
        depth, middle, last = _groups(_STEM, first, "a stem", "d0w0.8w1.0")
        stages = [_groups(_STAGE, stage, "a stage", "w0.8:e0.25,e0.35") for stage in rest]
        blocks = [[_groups(_BLOCK, b, "a block", "e0.25")[0] for b in ratios.split(",")] for _, ratios in stages]
        return self._checked(depth, (middle, last), [width for width, _ in stages], blocks)

    def _from_config(self, config: Any) -> ResNetArchitecture:
        if not isinstance(config, dict):
            _, config = specs.entries(config, (2,), "a configuration (resolution and settings)")
        if not isinstance(config, dict):
            raise ValueError(f"the settings are {config!r:.40}, expected the keys d, e, w")
        depths, ratios, widths = specs.keys(config, ("d", "e", "w"), ("r",))
        slots = [max(depths) for depths in self.depths]
        stem, *extras = specs.entries(depths, (1 + len(slots),), "'d'")
        left = list(specs.entries(ratios, (sum(slots),), "'e'"))
        chosen = [
            specs.choice(w, range(len(WIDTHS)), "an entry of 'w'")
            for w in specs.entries(widths, (2 + len(slots),), "'w'")
        ]
        blocks = []
        for base, extra, count in zip(BASE_DEPTHS, extras, slots, strict=True):
            blocks.append(left[: base + specs.choice(extra, EXTRA_DEPTHS, "an entry of 'd'")])
            del left[:count]
        middle, last, *stages = (WIDTHS[w] for w in chosen)
        return self._checked(stem, (middle, last), stages, blocks)

    def _checked(
        self, stem_depth: Any, stem: tuple[Any, Any], widths: Sequence[Any], blocks: Sequence[Sequence[Any]]
    ) -> ResNetArchitecture:
        depth = specs.choice(stem_depth, EXTRA_DEPTHS, "the stem's depth")
        middle, last = (specs.choice(width, WIDTHS, "a width of the stem") for width in stem)
        stages = []
        for number, (width, ratios, depths) in enumerate(zip(widths, blocks, self.depths, strict=True), 1):
            specs.choice(len(ratios), depths, f"the depth of stage {number}")
            stages.append(
                ResNetStage(
                    specs.choice(width, WIDTHS, f"the width of stage {number}"),
                    tuple(specs.choice(ratio, RATIOS, f"an expansion ratio of stage {number}") for ratio in ratios),
                )
            )
        return ResNetArchitecture(depth == max(EXTRA_DEPTHS), (middle, last), tuple(stages))


def _groups(pattern: re.Pattern[str], text: str, what: str, example: str) -> list[Any]:
    """What a pattern finds, numbers as numbers."""
    found = pattern.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r:.40} is not {what}, expected the like of '{example}'")
    return [_number(group) for group in found.groups()]


def _number(text: str) -> Any:
    """The number that ``text`` is, or ``text``."""
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        return text

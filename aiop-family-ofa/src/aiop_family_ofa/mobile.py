"""The two mobile spaces, ProxylessNAS and MobileNetV3: stages of inverted bottlenecks."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from aiop_family_ofa import checkpoints, specs
from aiop_family_ofa.checkpoints import Checkpoint
from aiop_family_ofa.plans import Activation, ConvPlan, MBConvPlan, NetworkPlan, divisible
from aiop_family_ofa.shrinking import ALL, Elastic, Phase

KERNELS = (3, 5, 7)
RATIOS = (3, 4, 6)
DEPTHS = (2, 3, 4)

SQUEEZE_REDUCTION = 4
DROPOUT = 0.1
"""Source: once-for-all, ``OFAMobileNetV3`` and ``OFAProxylessNASNets``."""

PHASES = (
    Phase("largest", 180, Elastic(depths=1, kernels=1, ratios=1)),
    Phase("kernel", 125, Elastic(depths=1, ratios=1)),
    Phase("depth", 25, Elastic(depths=2, ratios=1)),
    Phase("depth", 125, Elastic(ratios=1)),
    Phase("width", 25, Elastic(ratios=2)),
    Phase("width", 125, ALL),
)
"""Weights are epochs with their warm-up. Source: the once-for-all paper, section 4.1, and ``train_ofa_net.py``."""

TAPPED_STAGES = 4
"""Those of strides 4 to 16; the features of stride 32 come after the last convolution. Source: AIO-P's heads."""

_BLOCK = re.compile(r"e(\d+)k(\d+)", re.ASCII)
_NAME = re.compile(r"(\w+)_e(\d+)_k(\d+)", re.ASCII)


class MBConv(NamedTuple):
    """What is chosen for one block."""

    ratio: int
    kernel: int


@dataclass(frozen=True)
class MobileArchitecture:
    """The active blocks of each stage."""

    stages: tuple[tuple[MBConv, ...], ...]

    @property
    def spec(self) -> str:
        """Stages separated by ``|``, blocks by ``,``, e.g. ``e6k7,e4k3|e3k5,e3k5|…``."""
        return "|".join(",".join(f"e{block.ratio}k{block.kernel}" for block in stage) for stage in self.stages)


@dataclass(frozen=True)
class Stage:
    """A stage of the supernet; only its first block has the stride."""

    channels: int
    stride: int
    activation: Activation
    squeeze: bool = False
    depths: tuple[int, ...] = DEPTHS

    @property
    def slots(self) -> int:
        """How many blocks the supernet has here."""
        return max(self.depths)


@dataclass(frozen=True)
class MobileSpace:
    """All sub-networks of one mobile supernet.

    Attributes:
        title: the family's name and width, for messages.
        block_name: how the research code's configurations begin a block's name.
        checkpoint: the published supernet.
        checkpoint_names: how its weights are called there, and here.
        stem: channels behind the first convolution.
        first: channels behind the fixed first block.
        expand: channels before global pooling.
        mix: channels of the convolution after it, 0 for none.
    """

    title: str
    block_name: str
    checkpoint: Checkpoint
    checkpoint_names: Mapping[str, str]
    stem: int
    stem_activation: Activation
    first: int
    stages: tuple[Stage, ...]
    expand: int
    mix: int
    bn_eps: float

    BLOCKS: ClassVar = [MBConv(ratio, kernel) for ratio in RATIOS for kernel in KERNELS]

    @property
    def depths(self) -> tuple[tuple[int, ...], ...]:
        """How many blocks each stage may have."""
        return tuple(stage.depths for stage in self.stages)

    @property
    def size(self) -> int:
        """How many architectures there are."""
        return math.prod(sum(len(self.BLOCKS) ** depth for depth in stage.depths) for stage in self.stages)

    @property
    def largest(self) -> MobileArchitecture:
        """The supernet itself."""
        block = MBConv(max(RATIOS), max(KERNELS))
        return MobileArchitecture(tuple((block,) * stage.slots for stage in self.stages))

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Progressive shrinking: kernels, then depths, then the blocks' widths."""
        return PHASES

    def smallest(self, elastic: Elastic) -> MobileArchitecture:
        """The least of every choice that is open."""
        block = MBConv(RATIOS[-elastic.ratios], KERNELS[-elastic.kernels])
        return MobileArchitecture(tuple((block,) * stage.depths[-elastic.depths :][0] for stage in self.stages))

    def draw(self, depths: Sequence[int], rng: np.random.Generator, elastic: Elastic = ALL) -> MobileArchitecture:
        """A random architecture of these depths, every block that is open equally likely."""
        least = MBConv(RATIOS[-elastic.ratios], KERNELS[-elastic.kernels])
        blocks = [block for block in self.BLOCKS if block.ratio >= least.ratio and block.kernel >= least.kernel]
        picks = iter(rng.integers(len(blocks), size=sum(depths)).tolist())
        return MobileArchitecture(tuple(tuple(blocks[next(picks)] for _ in range(depth)) for depth in depths))

    def draw_deep(self, blocks: range, rng: np.random.Generator) -> MobileArchitecture:
        """A random architecture with so many blocks more than the shallowest."""
        shallowest = sum(map(min, self.depths))
        every = [depths for depths in itertools.product(*self.depths) if sum(depths) - shallowest in blocks]
        return self.draw(every[rng.integers(len(every))], rng)

    def plan(self, architecture: MobileArchitecture) -> NetworkPlan:
        """The network of an architecture."""
        blocks = {0: MBConvPlan(self.stem, self.stem, self.first, 3, 1, self._first_activation, expands=False)}
        taps, slot, channels = [], 1, self.first
        for stage, chosen in zip(self.stages, architecture.stages, strict=True):
            for i, block in enumerate(chosen):
                hidden = divisible(channels * block.ratio)
                blocks[slot + i] = MBConvPlan(
                    channels,
                    hidden,
                    stage.channels,
                    block.kernel,
                    stage.stride if i == 0 else 1,
                    stage.activation,
                    divisible(hidden // SQUEEZE_REDUCTION) if stage.squeeze else 0,
                )
                channels = stage.channels
            taps.append(slot + len(chosen) - 1)
            slot += stage.slots
        last = self.stem_activation
        return NetworkPlan(
            stem={0: ConvPlan(3, self.stem, self.stem_activation, kernel=3, stride=2)},
            stem_pool=False,
            blocks=blocks,
            taps=tuple(taps[:TAPPED_STAGES]),
            expand=ConvPlan(channels, self.expand, last),
            mix=ConvPlan(self.expand, self.mix, last, batch_norm=False) if self.mix else None,
            dropout=DROPOUT,
            bn_eps=self.bn_eps,
        )

    @property
    def _first_activation(self) -> Activation:
        return self.stages[0].activation

    # --- Texts ----------------------------------------------------------------------

    def parse(self, text: str) -> MobileArchitecture:
        """The architecture of a canonical text, or of a configuration.

        Configurations are the once-for-all library's, ``{"ks": […], "e": […], "d": […]}``
        with an entry for every slot, and the research code's, ``[resolution, [["mbconv3_e4_k5",
        …], …]]``. Resolutions are no part of an architecture and are dropped.

        Raises:
            SpecError: naming what is malformed and what is allowed.
        """
        smallest = MobileArchitecture(tuple((MBConv(4, 5),) * min(stage.depths) for stage in self.stages))
        return specs.parse(
            text, family=self.title, example=smallest.spec, canonical=self._from_text, config=self._from_config
        )

    def _from_text(self, text: str) -> MobileArchitecture:
        return self._checked([[self._block(_BLOCK, b, "e4k5") for b in s.split(",")] for s in text.split("|")])

    def _from_config(self, config: Any) -> MobileArchitecture:
        if isinstance(config, dict):
            return self._from_slots(*specs.keys(config, ("ks", "e", "d"), ("r", "wid")))
        _, names = specs.entries(config, (2,), "a configuration (resolution and stages)")
        example = f"{self.block_name}_e4_k5"
        stages = [specs.entries(s, (), "a stage") for s in specs.entries(names, (), "the second entry")]
        return self._checked([[self._block(_NAME, name, example) for name in stage] for stage in stages])

    def _from_slots(self, kernels: Any, ratios: Any, depths: Any) -> MobileArchitecture:
        slots = sum(stage.slots for stage in self.stages)
        kernels, ratios = specs.entries(kernels, (slots,), "'ks'"), specs.entries(ratios, (slots,), "'e'")
        elastic = sum(len(stage.depths) > 1 for stage in self.stages)
        given = list(specs.entries(depths, sorted({elastic, len(self.stages)}), "'d'"))
        given[elastic:] = [stage.slots for stage in self.stages[elastic:]]  # the library clips the fixed stage's depth
        blocks, stages = list(zip(ratios, kernels, strict=True)), []
        for number, (stage, depth) in enumerate(zip(self.stages, given, strict=True), 1):
            stages.append(blocks[: specs.choice(depth, stage.depths, f"the depth of stage {number}")])
            del blocks[: stage.slots]
        return self._checked(stages)

    def _block(self, pattern: re.Pattern[str], text: Any, example: str) -> tuple[int, int]:
        found = pattern.fullmatch(text.strip()) if isinstance(text, str) else None
        if found is None:
            raise ValueError(f"{text!r:.40} is no block, expected the like of '{example}'")
        *prefix, ratio, kernel = found.groups()
        for name in prefix:
            specs.choice(name, (self.block_name,), "the kind of a block")
        return int(ratio), int(kernel)

    def _checked(self, stages: Sequence[Sequence[tuple[Any, Any]]]) -> MobileArchitecture:
        specs.entries(stages, (len(self.stages),), "the list of stages")
        checked = []
        for number, (stage, blocks) in enumerate(zip(self.stages, stages, strict=True), 1):
            specs.choice(len(blocks), stage.depths, f"the depth of stage {number}")
            checked.append(
                tuple(
                    MBConv(
                        specs.choice(ratio, RATIOS, f"an expansion ratio of stage {number}"),
                        specs.choice(kernel, KERNELS, f"a kernel size of stage {number}"),
                    )
                    for ratio, kernel in blocks
                )
            )
        return MobileArchitecture(tuple(checked))


def proxyless(width: float = 1.3) -> MobileSpace:
    """The ProxylessNAS space.

    Source: once-for-all, ``OFAProxylessNASNets``.
    """
    relu6 = Activation.RELU6
    channels = [divisible(base * width) for base in (24, 40, 80, 96, 192)]
    strides = (2, 2, 2, 1, 2)
    return MobileSpace(
        title=f"ofa_pn (width {width})",
        block_name="mbconv2",
        checkpoint=checkpoints.PROXYLESS_W13,
        checkpoint_names={"first_conv": "stem.0", "feature_mix_layer": "expand", "classifier.linear": "classifier"},
        stem=divisible(32 * width),
        stem_activation=relu6,
        first=divisible(16 * width),
        stages=(
            *(Stage(c, stride, relu6) for c, stride in zip(channels, strides, strict=True)),
            Stage(divisible(320 * width), 1, relu6, depths=(1,)),
        ),
        expand=divisible(1280 * width),
        mix=0,
        bn_eps=1e-3,
    )


def mobilenet_v3(width: float = 1.2) -> MobileSpace:
    """The MobileNetV3 space.

    Source: once-for-all, ``OFAMobileNetV3``; its epsilon is 1e-5, not ProxylessNAS's 1e-3.
    """
    relu, swish = Activation.RELU, Activation.HARD_SWISH
    return MobileSpace(
        title=f"ofa_mbv3 (width {width})",
        block_name="mbconv3",
        checkpoint={1.0: checkpoints.MOBILENET_V3_W10, 1.2: checkpoints.MOBILENET_V3_W12}[width],
        checkpoint_names={
            "first_conv": "stem.0",
            "final_expand_layer": "expand",
            "feature_mix_layer": "mix",
            "classifier.linear": "classifier",
        },
        stem=divisible(16 * width),
        stem_activation=swish,
        first=divisible(16 * width),
        stages=(
            Stage(divisible(24 * width), 2, relu),
            Stage(divisible(40 * width), 2, relu, squeeze=True),
            Stage(divisible(80 * width), 2, swish),
            Stage(divisible(112 * width), 1, swish, squeeze=True),
            Stage(divisible(160 * width), 2, swish, squeeze=True),
        ),
        expand=divisible(960 * width),
        mix=divisible(1280 * width),
        bn_eps=1e-5,
    )

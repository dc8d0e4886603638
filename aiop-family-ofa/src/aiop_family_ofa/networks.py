"""Body and classifier of a plan, as torch modules."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from aiop_core.contracts import Level
from aiop_family_ofa.blocks import Bottleneck, MBConv, conv_layer
from aiop_family_ofa.plans import CLASSES, POOL_KERNEL, POOL_STRIDE, MBConvPlan, NetworkPlan


class Body(nn.Module):
    """A backbone; stem and blocks are called by their numbers in the supernet.

    Attributes:
        levels: channels and stride of each output, finest first.
    """

    levels: tuple[Level, ...]

    def __init__(self, plan: NetworkPlan) -> None:
        super().__init__()
        self.levels = plan.levels
        self._taps = frozenset(str(slot) for slot in plan.taps)
        self.stem = nn.ModuleDict({str(slot): conv_layer(conv, plan.bn_eps) for slot, conv in plan.stem.items()})
        self.stem_pool = nn.MaxPool2d(POOL_KERNEL, POOL_STRIDE, POOL_KERNEL // 2) if plan.stem_pool else nn.Identity()
        self.blocks = nn.ModuleDict(
            {
                str(slot): MBConv(block, plan.bn_eps)
                if isinstance(block, MBConvPlan)
                else Bottleneck(block, plan.bn_eps)
                for slot, block in plan.blocks.items()
            }
        )
        self.expand = conv_layer(plan.expand, plan.bn_eps) if plan.expand else nn.Identity()

    def forward(self, images: Float[Tensor, "batch 3 h w"]) -> list[Tensor]:
        """One (batch, channels, ceil(h / stride), ceil(w / stride)) tensor for each level."""
        x: Tensor = images
        for layer in self.stem.values():
            x = layer(x)
        x = self.stem_pool(x)
        features = []
        for slot, block in self.blocks.items():
            x = block(x)
            if slot in self._taps:
                features.append(x)
        return [*features, self.expand(x)]


class Network(nn.Module):
    """An ImageNet classifier: the body, global pooling, and a linear layer."""

    def __init__(self, plan: NetworkPlan) -> None:
        super().__init__()
        self.body = Body(plan)
        self.mix = conv_layer(plan.mix, plan.bn_eps) if plan.mix else nn.Identity()
        self.dropout = nn.Dropout(plan.dropout)
        self.classifier = nn.Linear(plan.features, CLASSES)

    def forward(self, images: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch classes"]:
        """The classes' logits."""
        x = self.mix(self.body(images)[-1].mean((2, 3), keepdim=True))
        logits: Tensor = self.classifier(self.dropout(x.flatten(1)))
        return logits

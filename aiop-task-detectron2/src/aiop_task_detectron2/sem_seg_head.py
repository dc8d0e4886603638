"""The paper's semantic head: detectron2's, but that transposed convolutions enlarge instead of interpolation."""

from __future__ import annotations

import math
from typing import Any

from detectron2.config import configurable
from detectron2.layers import ShapeSpec, get_norm
from detectron2.modeling.meta_arch.semantic_seg import SemSegFPNHead
from fvcore.nn import weight_init
from torch import nn


class SemSegFPNHAdaptedHead(SemSegFPNHead):  # type: ignore[misc] # detectron2 is untyped
    """Semantic FPN's head where each doubling is a 4 × 4 transposed convolution of stride 2, ReLU and norm.

    A feature map of the common stride itself keeps its 3 × 3 convolution, norm and ReLU.
    Arguments are those of detectron2's ``SemSegFPNHead``.

    Source: the paper's code, ``tasks/detectron2/sem_seg_head_adapter.py``, whose name it
    has, so that its config files keep their meaning.
    """

    @configurable  # type: ignore[untyped-decorator] # detectron2 is untyped
    def __init__(
        self, input_shape: dict[str, ShapeSpec], *, conv_dims: int, common_stride: int, norm: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(input_shape, conv_dims=conv_dims, common_stride=common_stride, norm=norm, **kwargs)
        self.scale_heads = []  # a plain list, as there: the modules below hold the parameters
        for name in self.in_features:
            shape = input_shape[name]
            doublings = round(math.log2(shape.stride / common_stride))
            if doublings > 0:
                setattr(self, name, _doublings(shape.channels, conv_dims, doublings, norm))
            self.scale_heads.append(getattr(self, name))


def _doublings(channels: int, width: int, count: int, norm: Any) -> nn.Sequential:
    layers: list[nn.Module] = []
    for step in range(count):
        conv = nn.ConvTranspose2d(width if step else channels, width, kernel_size=4, stride=2, padding=1)
        weight_init.c2_msra_fill(conv)
        layers += [conv, nn.ReLU(), *([get_norm(norm, width)] if norm else [])]
    return nn.Sequential(*layers)

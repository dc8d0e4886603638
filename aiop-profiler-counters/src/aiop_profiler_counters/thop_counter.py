"""MACs as thop 0.1.1 counts them: by a rule for each type of module."""

from __future__ import annotations

from collections.abc import Mapping

import thop
from torch import nn

from aiop_profiler_counters.untouched import one_input, untouched


class ThopCounter:
    """``thop.profile`` on an input of zeros.

    The pose labels of AIO-P have 2 × these MACs as their FLOPs. Known errors, each with a test:

    - A transposed convolution is counted at its *output* pixels: at stride 2, four times.
    - What a module computes by functions (attention, products, sums) is not counted.
    - Types are compared exactly: a subclass of ``Conv2d`` counts nothing.
    - Parameters count only where their module has a rule; those of other modules are left out.
    - Norms count 4 for each number, adaptive pooling 1, bilinear resizing 11, softmax about 3.

    Source: thop 0.1.1.post2209072238, ``thop/profile.py`` and ``thop/vision``.
    """

    def profile(self, model: nn.Module, input_shape: tuple[int, ...]) -> Mapping[str, float]:
        """``macs`` and ``params`` of one input of (channels, height, width)."""
        with untouched(model):
            macs, params = thop.profile(model, (one_input(model, input_shape),), verbose=False)
        return {"macs": float(macs), "params": float(params)}

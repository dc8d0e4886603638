"""MACs as fvcore counts them: by a rule for each operation of the TorchScript trace."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping

from fvcore.nn import FlopCountAnalysis, parameter_count
from torch import nn

from aiop_core.errors import ModelError
from aiop_profiler_counters.untouched import one_input, untouched


class FvcoreCounter:
    """``FlopCountAnalysis`` on an input of zeros. Its *flop* is a multiply-add.

    The detection labels of AIO-P, and the papers of Swin and ConvNeXt, count so. Known
    errors, each with a test:

    - Fused attention counts nothing, neither ``scaled_dot_product_attention`` nor the one
      operation that ``nn.MultiheadAttention`` becomes in evaluation mode.
    - ``baddbmm`` and recurrent layers count nothing.
    - Norms count 2 to 5 for each number; bilinear resizing 4, adaptive pooling 1.

    Source: fvcore 0.1.5.post20221221, ``fvcore/nn/flop_count.py``.
    """

    def profile(self, model: nn.Module, input_shape: tuple[int, ...]) -> Mapping[str, float]:
        """``macs`` and ``params`` of one input of (channels, height, width).

        Raises:
            ModelError: if the model is on the meta device: fvcore computes with real numbers.
        """
        image = one_input(model, input_shape)
        if image.is_meta:
            raise ModelError("fvcore runs the model, which has no weights (meta device); move it with to_empty('cpu')")
        logger, level = logging.getLogger("fvcore"), logging.getLogger("fvcore").level
        logger.setLevel(logging.ERROR)  # it warns of a module that no trace ever fits
        try:
            with untouched(model), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                analysis = FlopCountAnalysis(model, image).tracer_warnings("none")
                macs = analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).total()
        finally:
            logger.setLevel(level)
        return {"macs": float(macs), "params": float(parameter_count(model)[""])}

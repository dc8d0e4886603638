"""Scores that are sums over the weights of a network and the gradient of the loss in them.

The weights are all parameters of two axes or more: kernels and matrices, not biases, and
not the scales of norms.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def grad_norm(gradients: Sequence[Tensor]) -> float:
    """The sum over layers of the Euclidean norm of the gradient.

    Source: Abdelfattah et al., "Zero-Cost Proxies for Lightweight NAS", ICLR 2021, section 3.2.
    """
    return _total([gradient.norm() for gradient in gradients])


def snip(weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> float:
    """The sum of abs(gradient × weight): how much the loss feels each weight's absence.

    Source: Lee et al., "SNIP", ICLR 2019; summed over a network as Abdelfattah et al., section 3.2.
    """
    return _total([(w * g).abs().sum() for w, g in zip(weights, gradients, strict=True)])


def plain(weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> float:
    """The sum of gradient × weight, with its sign.

    Source: Abdelfattah et al., appendix; a control for ``snip``.
    """
    return _total([(w * g).sum() for w, g in zip(weights, gradients, strict=True)])


def l2_norm(weights: Sequence[Tensor]) -> float:
    """The sum over layers of the Euclidean norm of the weights; it needs no data.

    Source: Abdelfattah et al., appendix; a control for ``grad_norm``.
    """
    return _total([weight.norm() for weight in weights])


def _total(parts: Sequence[Tensor]) -> float:
    return float(torch.stack([part.double() for part in parts]).sum())

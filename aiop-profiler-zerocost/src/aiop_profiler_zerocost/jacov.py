"""jacov: how differently a network reacts to different images."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

OFFSET = 1e-5
"""Added to each eigenvalue. Source: the code of Mellor et al., first version."""


def jacov(jacobian: Float[Tensor, "batch inputs"]) -> float | None:
    """−Σ (ln(λ + k) + 1 / (λ + k)) over the eigenvalues λ of the correlations between images.

    Args:
        jacobian: the gradient of the sum of all outputs in each image.

    Returns:
        Nothing if the gradient of an image is constant: then it correlates with none.

    Source: Mellor et al., "Neural Architecture Search without Training", arXiv 2006.04647v1;
    ``jacob_cov`` of Abdelfattah et al., ICLR 2021, section 3.3.
    """
    correlation = torch.corrcoef(jacobian.double())
    if not correlation.isfinite().all():
        return None
    shifted = torch.linalg.eigvalsh(correlation) + OFFSET
    return -float((shifted.log() + 1 / shifted).sum())

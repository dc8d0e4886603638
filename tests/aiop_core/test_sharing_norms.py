"""Batch-norm statistics measured anew."""

import torch
from torch import nn

from aiop_core.sharing.norms import recalibrate


def test_statistics_are_those_of_the_images():
    """Two batches of different sizes weigh by their images; mode, momentum and weights stay."""
    images = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 3 + 1
    module = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5)).train()
    module[1].eval()
    recalibrate(module, [images[:4], images[4:]])
    variances = [part.transpose(0, 1).flatten(1).var(1) for part in (images[:4], images[4:])]
    assert torch.allclose(module[0].running_mean, images.mean((0, 2, 3)), atol=1e-5)
    assert torch.allclose(module[0].running_var, variances[0] * 4 / 6 + variances[1] * 2 / 6, rtol=1e-4)
    assert module[0].momentum == 0.1
    assert module.training
    assert module[0].training
    assert not module[1].training

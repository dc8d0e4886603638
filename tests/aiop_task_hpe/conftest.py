"""A small backbone with the levels of ofa_pn, and LSPET-like folders."""

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image
from torch import nn

from aiop_core.contracts import Level

PN_LEVELS = (Level(32, 4), Level(56, 8), Level(104, 16), Level(128, 16), Level(1664, 32))


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """These networks are small; on a busy machine threads that wait for each other take ten times as long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class TinyBackbone(nn.Module):
    """One 3 × 3 convolution, batch norm and ReLU for each level."""

    def __init__(self, levels=PN_LEVELS, *, seed=0):
        super().__init__()
        self.levels = tuple(levels)
        channels, stride, blocks = 3, 1, []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for level in self.levels:
                layers = []
                while stride < level.stride:
                    layers += self.block(channels, level.channels if stride * 2 == level.stride else 16, 2)
                    channels, stride = layers[-3].out_channels, stride * 2
                if channels != level.channels or not layers:
                    layers += self.block(channels, level.channels, 1)
                channels = level.channels
                blocks.append(nn.Sequential(*layers))
        self.blocks = nn.ModuleList(blocks)

    @staticmethod
    def block(channels, filters, stride):
        return [
            nn.Conv2d(channels, filters, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(filters),
            nn.ReLU(),
        ]

    def forward(self, images):
        features = []
        for block in self.blocks:
            images = block(images)
            features.append(images)
        return features


@pytest.fixture
def tiny_backbone():
    return TinyBackbone


@pytest.fixture
def pn_levels():
    return PN_LEVELS


@pytest.fixture
def lspet_folder(tmp_path):
    """Five images of 60 × 80 pixels in LSPET's layout; person ``n`` has all joints but number ``n``."""
    folder = tmp_path / "data" / "lsp_extended"
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    table = np.zeros((14, 3, 10000))
    table[:, 0, :5] = rng.uniform(11, 51, (14, 5))
    table[:, 1, :5] = rng.uniform(11, 71, (14, 5))
    table[:, 2, :5] = 1
    for n in range(5):
        table[n, :, n] = (-30, -40, 0)
        pixels = rng.integers(0, 255, (80, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"im{n + 1:05d}.jpg", quality=95)
    scipy.io.savemat(folder / "joints.mat", {"joints": table})
    return folder

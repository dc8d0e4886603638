"""A small body, a drawn set of few images in a cache of the tests, and a copy of it to spoil."""

import shutil
from dataclasses import replace

import pytest
import torch
from torch import nn

from aiop_coco.drawn import drawn_root, drawn_set
from aiop_core.contracts import Level
from aiop_task_torchvision.options import TorchvisionOptions
from aiop_task_torchvision.task import TorchvisionTask

LEVELS = (Level(8, 4), Level(12, 8), Level(16, 16), Level(20, 16), Level(24, 32))
SIZES = {"train": 8, "val": 4, "size": 64, "seed": 0}


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """These networks are small; on a busy machine threads that wait for each other take ten times as long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class TinyBackbone(nn.Module):
    """One 3 × 3 convolution, batch norm and ReLU for each halving, and for each level."""

    def __init__(self, levels=LEVELS, *, seed=0):
        super().__init__()
        self.levels = tuple(levels)
        channels, stride, blocks = 3, 1, []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for level in self.levels:
                layers = []
                while stride < level.stride or not layers:
                    step = 2 if stride < level.stride else 1
                    layers += [
                        nn.Conv2d(channels, level.channels, 3, stride=step, padding=1, bias=False),
                        nn.BatchNorm2d(level.channels),
                        nn.ReLU(),
                    ]
                    channels, stride = level.channels, stride * step
                blocks.append(nn.Sequential(*layers))
        self.blocks = nn.ModuleList(blocks)

    def forward(self, images):
        features = []
        for block in self.blocks:
            images = block(images)
            features.append(images)
        return features


@pytest.fixture
def tiny_backbone():
    return TinyBackbone


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """Where the drawn set of this run lies."""
    folder = tmp_path_factory.mktemp("cache")
    drawn_set(folder, **SIZES)
    return folder


@pytest.fixture(scope="session")
def options(cache):
    """Small ones on the drawn set: eight images to train on, four to measure on, one pass."""
    return TorchvisionOptions(
        cache_dir=cache,
        train_images=SIZES["train"],
        val_images=SIZES["val"],
        image_size=SIZES["size"],
        channels=8,
        box_width=16,
        mask_width=8,
        mask_depth=1,
        sampled_boxes=16,
        train_proposals=20,
        proposals=20,
        detections=10,
        epochs=1,
        batch=4,
    )


@pytest.fixture(scope="session")
def make_task(options):
    """A task of the small options, some of them changed."""
    return lambda **changes: TorchvisionTask(replace(options, **changes))


@pytest.fixture
def coco_folder(cache, tmp_path):
    """A copy of the drawn set, a folder as DETECTRON2_DATASETS names it."""
    return shutil.copytree(drawn_root(cache, **SIZES), tmp_path / "data")


@pytest.fixture
def coco_task(make_task, coco_folder):
    """A task on the copy as on real data."""
    sizes = {"min_size": 64, "max_size": 64, "workers": 0}
    return lambda **changes: make_task(data="coco", data_dir=coco_folder, **sizes, **changes)

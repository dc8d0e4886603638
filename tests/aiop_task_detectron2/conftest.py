"""Real detectron2 where there is one, and a small body with levels as mobile networks have them."""

import os
import shutil

import pytest
import torch
from torch import nn

from aiop_core.contracts import Level
from aiop_core.errors import PluginError
from aiop_task_detectron2 import installed
from aiop_task_detectron2.options import Detectron2Options

LEVELS = (Level(8, 4), Level(12, 8), Level(16, 16), Level(20, 16), Level(24, 32))


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """These networks are small; on a busy machine threads that wait for each other take ten times as long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def detectron2():
    """Detectron2, ready to use; tests skip without, unless AIOP_REQUIRE_DETECTRON2=1 says that it must be there."""
    try:
        installed.require()
    except PluginError as error:
        if os.environ.get("AIOP_REQUIRE_DETECTRON2") == "1":
            raise
        pytest.skip(str(error))
    import detectron2

    return detectron2


@pytest.fixture
def cfg(detectron2):
    """The task's config for small drawn images, with the classes of COCO."""
    from aiop_task_detectron2.config import settings_of

    return settings_of(Detectron2Options())


class TinyBody(nn.Module):
    """One 3 × 3 convolution and batch norm for each level."""

    def __init__(self, levels=LEVELS):
        super().__init__()
        self.levels = tuple(levels)
        self.blocks = nn.ModuleList()
        channels, reached = 3, 1
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            for level in levels:
                step = level.stride // reached
                self.blocks.append(
                    nn.Sequential(
                        nn.Conv2d(channels, level.channels, max(3, step), step, 1 if step < 3 else 0, bias=False),
                        nn.BatchNorm2d(level.channels),
                        nn.ReLU(),
                    )
                )
                channels, reached = level.channels, level.stride

    def forward(self, images):
        features = []
        for block in self.blocks:
            images = block(images)
            features.append(images)
        return features


@pytest.fixture
def tiny_body():
    """``tiny_body(levels)`` makes a body."""
    return TinyBody


@pytest.fixture(scope="session")
def quick(tmp_path_factory):
    """``quick(…)``: options of a few small drawn images, or changed ones."""
    small = {
        "train_images": 6,
        "val_images": 3,
        "input_size": 64,
        "iterations": 2,
        "batch": 2,
        "channels": 16,
        "cache_dir": tmp_path_factory.mktemp("cache"),
    }
    return lambda **changes: Detectron2Options(**small | changes)


@pytest.fixture(scope="session")
def drawn(quick):
    """The folder that holds ``coco/`` with the images of ``quick()``, in COCO's layout; nobody may change it."""
    from aiop_task_detectron2.data import splits_of

    return splits_of(quick())[0].images.parents[1]


@pytest.fixture
def coco(drawn, tmp_path):
    """A copy of it that a test may change."""
    return shutil.copytree(drawn, tmp_path / "data")

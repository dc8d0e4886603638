"""A small backbone with the levels of ofa_pn, and folders in the layouts of LSPET and MPII."""

import json
import math
from collections import Counter
from dataclasses import dataclass

import h5py
import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image
from torch import nn

from aiop_core.contracts import Level

PN_LEVELS = (Level(32, 4), Level(56, 8), Level(104, 16), Level(128, 16), Level(1664, 32))
NARROW_LEVELS = (Level(4, 4), Level(6, 8), Level(8, 16))


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


class TinyBodies:
    """Bodies that differ in their weights; ``levels`` may depend on the number."""

    def __init__(self, *, family="tiny", strata=2, offset=0, levels=lambda number: NARROW_LEVELS, widest=None):
        self.family, self.strata, self.widest, self.made = family, strata, widest, Counter()
        self._offset, self._levels = offset, levels

    def spec(self, number):
        return f"{number}"

    def body(self, number):
        self.made[number] += 1
        return TinyBackbone(self._levels(number), seed=number + self._offset)


@pytest.fixture
def tiny_bodies():
    return TinyBodies


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


@dataclass(frozen=True)
class MpiiPerson:
    """A person as MPII publishes it: pixels count from 1, joints by their id."""

    image: str
    joints: dict
    centre: tuple
    scale: float
    head_box: tuple = ((10.0, 10.0), (40.0, 50.0))


class MpiiWriter:
    """Writes persons in each format that MPII's annotations come in, below a folder ``mpii``."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "images").mkdir(parents=True)
        (folder / "annot").mkdir()

    def image(self, name, pixels):
        Image.fromarray(pixels).save(self.folder / "images" / name, format="png")

    def json(self, name, people):
        rows = [
            {
                "image": p.image,
                "joints": [list(p.joints.get(i, (-1.0, -1.0))) for i in range(16)],
                "joints_vis": [int(i in p.joints) for i in range(16)],
                "center": list(p.centre),
                "scale": p.scale,
            }
            for p in people
        ]
        (self.folder / "annot" / name).write_text(json.dumps(rows))

    def h5(self, name, people):
        with h5py.File(self.folder / "annot" / name, "w") as file:
            file["imgname"] = np.array([p.image.encode() for p in people])
            file["part"] = np.array([[p.joints.get(i, (0.0, 0.0)) for i in range(16)] for p in people])
            file["visible"] = np.zeros((len(people), 16))  # hidden joints are annotated, too
            file["center"] = np.array([(p.centre[0], p.centre[1] + 15 * p.scale) for p in people])
            file["scale"] = np.array([1.25 * p.scale for p in people])
            file["normalize"] = np.array([0.6 * math.dist(*p.head_box) for p in people])

    def mat(self, people, *, test_images=()):
        entries = []
        for image in sorted({p.image for p in people}):
            rects = [self._rect(p) for p in people if p.image == image]
            bystander = {"x1": 1, "y1": 2, "x2": 3, "y2": 4, "annopoints": [], "scale": [], "objpos": []}
            entries.append({"image": {"name": image}, "annorect": _structs([*rects, bystander])})
        entries.append({"image": {"name": "nobody.jpg"}, "annorect": np.zeros((0, 0))})
        train = [int(e["image"]["name"] not in test_images) for e in entries]
        scipy.io.savemat(
            self.folder / "mpii_human_pose_v1_u12_1.mat",
            {"RELEASE": {"annolist": _structs(entries), "img_train": np.array(train), "version": "12"}},
        )

    def _rect(self, person):
        (x1, y1), (x2, y2) = person.head_box
        points = [{"x": x, "y": y, "id": i, "is_visible": []} for i, (x, y) in person.joints.items()]
        return {
            "x1": x1,
            "y1": y1,
            "x2": x2,
            "y2": y2,
            "annopoints": {"point": _structs(points)},
            "scale": person.scale,
            "objpos": {"x": person.centre[0], "y": person.centre[1]},
        }


def _structs(rows):
    """A MATLAB struct array."""
    array = np.zeros(len(rows), dtype=[(key, object) for key in rows[0]])
    for i, row in enumerate(rows):
        array[i] = tuple(row.values())
    return array


@pytest.fixture
def mpii_person():
    return MpiiPerson


@pytest.fixture
def mpii_writer(tmp_path):
    return MpiiWriter(tmp_path / "data" / "mpii")

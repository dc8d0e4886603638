"""Finding joints and learning them, for every skeleton: sides in the flip test, joints that nobody annotated."""

import threading

import numpy as np
import pytest
import torch
from torch import nn

from aiop_task_hpe.augment import Change, cut, heat_maps, mirrored
from aiop_task_hpe.joints import LSP, MPII
from aiop_task_hpe.options import PoseOptions, resolve
from aiop_task_hpe.patches import Patch, PatchStore
from aiop_task_hpe.training import EVALUATION_BATCH, find_joints, loss_of, recalibrate

SETTINGS = resolve(PoseOptions(flip_test=True, sigma=1.0))
SIZE = SETTINGS.input_size


class Marked:
    """One person whose image is bright on the left, so that a model can tell its mirror image."""

    size = SIZE

    def __init__(self, skeleton, missing=()):
        self.skeleton = skeleton
        self.joints = np.random.default_rng(0).uniform(10, SIZE - 10, (len(skeleton), 2)).astype(np.float32)
        self.annotated = ~np.isin(np.arange(len(skeleton)), missing)

    def __len__(self):
        return 1

    def patch(self, index):
        image = np.zeros((SIZE, SIZE, 3), dtype=np.uint8)
        image[:, : SIZE // 2] = 200
        return Patch(image, self.joints, self.annotated, 8.0)


class Seer(nn.Module):
    """Answers with the truth of the image, or of its mirror image."""

    def __init__(self, patches):
        super().__init__()
        self.mirrored = mirrored(patches, torch.ones(1, dtype=torch.bool)).joints
        self.plain = patches.joints

    def forward(self, images):
        left = images[0, 0, 0, 0] > images[0, 0, 0, -1]
        joints = self.plain if left else self.mirrored
        return heat_maps(joints, size=SIZE, stride=4, sigma=1.0).expand(len(images), -1, -1, -1)


@pytest.mark.parametrize("skeleton", [LSP, MPII])
def test_the_flip_test_averages_the_same_joint_of_both_images(skeleton):
    store = PatchStore(Marked(skeleton), workers=1, limit_mb=1)
    seen = find_joints(Seer(store.get([0])), store, SETTINGS, device="cpu")
    assert (seen.found - seen.joints).abs().max() <= 1.5  # wrong sides would be tens of pixels apart
    assert seen.annotated.shape == (1, len(skeleton))
    assert seen.heads.tolist() == [8.0]


@pytest.mark.parametrize("skeleton", [LSP, MPII])
def test_joints_that_are_not_annotated_teach_nothing(skeleton):
    source = Marked(skeleton, missing=(0, len(skeleton) - 1))
    patches = cut(PatchStore(source, workers=1, limit_mb=1).get([0]), Change.none(1), SIZE)
    maps = torch.zeros(1, len(skeleton), SIZE // 4, SIZE // 4, requires_grad=True)
    loss = loss_of(maps, patches, SETTINGS)
    loss.backward()
    taught = maps.grad[0].abs().sum(dim=(1, 2)) > 0
    assert taught.tolist() == source.annotated.tolist()

    source.joints[0] = -500.0
    moved = cut(PatchStore(source, workers=1, limit_mb=1).get([0]), Change.none(1), SIZE)
    assert loss_of(maps, moved, SETTINGS) == loss


class Crowd(Marked):
    """Two batches of persons; tells when the second one is asked for."""

    def __init__(self):
        super().__init__(LSP)
        self.second = threading.Event()

    def __len__(self):
        return EVALUATION_BATCH + 1

    def patch(self, index):
        if index == EVALUATION_BATCH:
            self.second.set()
        return super().patch(index)


class Patient(nn.Module):
    """Answers when the second batch is being read."""

    def __init__(self, crowd):
        super().__init__()
        self.crowd = crowd

    def forward(self, images):
        assert self.crowd.second.wait(5)
        return torch.zeros(len(images), len(LSP), SIZE // 4, SIZE // 4)


@pytest.mark.parametrize("limit_mb", [0, 64])
def test_the_next_batch_is_read_while_the_last_one_is_looked_at(limit_mb):
    for look in (find_joints, recalibrate):
        crowd = Crowd()
        look(Patient(crowd), PatchStore(crowd, workers=1, limit_mb=limit_mb), SETTINGS, device="cpu")

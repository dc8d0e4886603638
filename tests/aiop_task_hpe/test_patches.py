"""The cache of patches: the same bytes in any order, made once where they fit."""

import numpy as np
import torch

from aiop_task_hpe.joints import MPII
from aiop_task_hpe.patches import Patch, PatchStore


class Counting:
    size = 8
    skeleton = MPII

    def __init__(self, count=20):
        self.made = []
        self.count = count

    def __len__(self):
        return self.count

    def patch(self, index):
        self.made.append(index)
        return Patch(np.full((8, 8, 3), index, np.uint8), np.full((16, 2), index, np.float32), np.arange(16) != index)


def test_patches_come_in_the_asked_order():
    for limit in (0, 1):
        got = PatchStore(Counting(), workers=2, limit_mb=limit).get([5, 3, 5])
        assert got.images.shape == (3, 3, 8, 8)
        assert got.images[:, 0, 0, 0].tolist() == [5, 3, 5]
        assert got.joints[:, 0, 0].tolist() == [5, 3, 5]
        assert got.annotated.sum().item() == 45


def test_each_is_made_once_if_all_fit():
    source = Counting()
    store = PatchStore(source, workers=2, limit_mb=1)
    store.get([1, 2])
    seen = []
    store.prepare(lambda done, total, note="": seen.append((done, total)))
    store.get([1, 2, 19])
    assert sorted(source.made) == list(range(20))
    assert seen == [(20, 20)]


def test_each_is_made_again_if_not():
    source = Counting()
    store = PatchStore(source, workers=2, limit_mb=0)
    store.get([1, 2])
    store.get([1])
    assert sorted(source.made) == [1, 1, 2]


def test_batches_cover_the_order():
    order = np.random.default_rng(0).permutation(20)
    pieces = list(PatchStore(Counting(), workers=2, limit_mb=1).batches(order, 6))
    assert [len(p) for p in pieces] == [6, 6, 6, 2]
    assert torch.cat([p.images[:, 0, 0, 0] for p in pieces]).tolist() == order.tolist()

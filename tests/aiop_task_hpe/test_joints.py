"""Skeletons: names, sides and limbs belong together."""

import pytest

from aiop_task_hpe.joints import LSP, MPII, skeleton_of
from aiop_task_hpe.options import DATA_SETS

PUBLISHED_PAIRS = {  # lib/datasets of pytorch-pose-hg-3d and lib/dataset/mpii.py of HRNet
    "lsp": [(0, 5), (1, 4), (2, 3), (6, 11), (7, 10), (8, 9)],
    "mpii": [(0, 5), (1, 4), (2, 3), (10, 15), (11, 14), (12, 13)],
}


@pytest.mark.parametrize("data", PUBLISHED_PAIRS)
def test_flip_pairs_are_the_published_ones(data):
    flip = skeleton_of(data).flip
    assert sorted({tuple(sorted((i, j))) for i, j in enumerate(flip) if i != j}) == PUBLISHED_PAIRS[data]
    assert [flip[flip[i]] for i in range(len(flip))] == list(range(len(flip)))


@pytest.mark.parametrize("skeleton", [LSP, MPII])
def test_flip_swaps_the_names_of_left_and_right(skeleton):
    swapped = [skeleton.names[i] for i in skeleton.flip]
    assert [name.replace("r_", "?_").replace("l_", "r_").replace("?_", "l_") for name in swapped] == list(
        skeleton.names
    )


@pytest.mark.parametrize("skeleton", [LSP, MPII])
def test_limbs_reach_every_joint_and_are_mirror_images(skeleton):
    limbs = {tuple(sorted(limb)) for limb in skeleton.limbs}
    assert len(limbs) == len(skeleton.limbs)
    assert {joint for limb in limbs for joint in limb} == set(range(len(skeleton)))
    assert {tuple(sorted((skeleton.flip[a], skeleton.flip[b]))) for a, b in limbs} == limbs


def test_each_data_set_has_its_skeleton():
    assert {data: len(skeleton_of(data)) for data in DATA_SETS} == {
        "synthetic": 14,
        "lsp": 14,
        "lsp_extended": 14,
        "hr_lspet": 14,
        "mpii": 16,
    }
    assert [MPII.names[i] for i in MPII.head] == [LSP.names[i] for i in LSP.head] == ["neck", "head_top"]

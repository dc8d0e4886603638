"""Polygons around masks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as rle
from scipy.ndimage import binary_fill_holes

from aiop_coco.outlines import has_hole, outlines

MASKS = hnp.arrays(bool, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=st.booleans())


def test_a_rectangle_has_four_corners_clockwise():
    mask = np.zeros((6, 8), dtype=bool)
    mask[1:3, 2:7] = True
    (loop,) = outlines(mask)
    start = loop.index((2, 1))
    assert loop[start:] + loop[:start] == [(2, 1), (7, 1), (7, 3), (2, 3)]


def test_parts_that_touch_at_a_corner_are_apart():
    assert sorted(map(len, outlines(np.eye(3, dtype=bool)))) == [4, 4, 4]


def test_nothing_has_no_outline():
    assert outlines(np.zeros((3, 3), dtype=bool)) == []


@settings(max_examples=60, deadline=None)
@given(MASKS)
def test_cocos_api_makes_the_mask_again(mask):
    mask = binary_fill_holes(mask, structure=np.ones((3, 3)))
    assert not has_hole(mask)
    loops = outlines(mask)
    if mask.any():
        polygons = [[float(value) for corner in loop for value in corner] for loop in loops]
        again = rle.decode(rle.merge(rle.frPyObjects(polygons, *mask.shape)))
        np.testing.assert_array_equal(again.astype(bool), mask)
    else:
        assert not loops


@pytest.mark.parametrize(("at", "hole"), [((2, 2), True), ((0, 2), False)])
def test_holes_are_told_from_bays(at, hole):
    mask = np.ones((5, 5), dtype=bool)
    mask[at] = False
    assert has_hole(mask) is hole

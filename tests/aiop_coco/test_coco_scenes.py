"""What is drawn, and what is said to be there."""

import numpy as np
import pytest

from aiop_coco.scenery import STUFF, draw_stuff
from aiop_coco.scenes import MOST, SMALLEST_STUFF, SMALLEST_THING, draw_scene
from aiop_coco.shapes import THINGS, draw_shape
from aiop_coco.split_writer import CATEGORIES

SIZE = 64


def scenes(count, size=SIZE):
    return [draw_scene(np.random.default_rng((3, i)), size) for i in range(count)]


def test_segments_are_what_ids_say():
    for scene in scenes(12):
        assert scene.image.shape == (SIZE, SIZE, 3)
        assert scene.image.dtype == np.uint8
        assert len({segment.id for segment in scene.segments} | {0}) == len(scene.segments) + 1
        named = np.zeros((SIZE, SIZE), dtype=bool)
        for segment in scene.segments:
            np.testing.assert_array_equal(scene.ids == segment.id, segment.mask)
            named |= segment.mask
            left, top, width, height = segment.box
            inside = segment.mask[top : top + height, left : left + width]
            assert inside.sum() == segment.area == segment.mask.sum()
            assert inside.any(axis=0).all() or not segment.is_thing
            assert inside[0].any()
            assert inside[-1].any()
            assert inside[:, 0].any()
            assert inside[:, -1].any()
        np.testing.assert_array_equal(scene.ids == 0, ~named)


def test_there_are_one_to_four_things_that_can_be_seen():
    counts = set()
    for scene in scenes(40):
        things = [segment for segment in scene.segments if segment.is_thing]
        counts.add(len(things))
        assert all(segment.area >= SMALLEST_THING * SIZE * SIZE for segment in things)
        stuff = [segment for segment in scene.segments if not segment.is_thing]
        assert all(segment.area >= SMALLEST_STUFF * SIZE * SIZE for segment in stuff)
    assert counts == set(range(1, MOST + 1))


def test_every_class_occurs_things_overlap_and_something_is_not_annotated():
    found = scenes(60)
    assert {segment.name for scene in found for segment in scene.segments} == {*THINGS, *STUFF}
    assert any((scene.ids == 0).any() for scene in found)
    boxes = [[segment.box for segment in scene.segments if segment.is_thing] for scene in found]
    assert any(
        a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]
        for each in boxes
        for i, a in enumerate(each)
        for b in each[:i]
    )


def test_sizes_reach_from_small_to_large():
    longest = [max(segment.box[2:]) / SIZE for scene in scenes(80) for segment in scene.segments if segment.is_thing]
    assert min(longest) < 0.2
    assert max(longest) > 0.5


def test_colour_helps_but_does_not_decide_what_a_thing_is():
    shapes = [draw_shape(np.random.default_rng((9, i)), 32) for i in range(400)]
    colors = np.array([shape.pixels[shape.inside > 1].mean(axis=0) for shape in shapes])
    kinds = np.array([shape.kind for shape in shapes])
    means = np.array([np.median(colors[kinds == kind], axis=0) for kind in range(len(THINGS))])
    guessed = np.linalg.norm(colors[:, None] - means, axis=2).argmin(axis=1)
    assert 1.5 / len(THINGS) < (guessed == kinds).mean() < 0.75


def test_sky_is_above_and_its_colours_overlap_with_those_of_water():
    places, colors = [], {"sky": [], "water": []}
    for i in range(60):
        pixels, classes = draw_stuff(np.random.default_rng(i), 32)
        if (classes == STUFF.index("sky")).any():
            rows = [np.nonzero(classes == number)[0].mean() for number in np.unique(classes)]
            places.append(np.argmin(rows) == STUFF.index("sky"))
        for name, found in colors.items():
            mask = classes == STUFF.index(name)
            if mask.any():
                found.append(pixels[mask].mean())
    assert np.mean(places) == 1
    assert min(colors["sky"]) < max(colors["water"])


@pytest.mark.parametrize("size", [32, 96])
def test_the_same_stream_gives_the_same_scene(size):
    one, two, other = (draw_scene(np.random.default_rng(seed), size) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.image, two.image)
    np.testing.assert_array_equal(one.ids, two.ids)
    assert (one.image != other.image).any()


def test_categories_are_things_then_stuff():
    assert [category["name"] for category in CATEGORIES] == [*THINGS, *STUFF]
    assert [category["isthing"] for category in CATEGORIES] == [1, 1, 1, 1, 0, 0, 0]
    assert [category["id"] for category in CATEGORIES] == list(range(1, 8))
    assert len({tuple(category["color"]) for category in CATEGORIES}) == 7

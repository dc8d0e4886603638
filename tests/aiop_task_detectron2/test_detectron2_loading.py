"""Training images: each once an epoch, in an order that a seed alone decides, wherever a training goes on."""

import random
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch

from aiop_core.errors import DataError
from aiop_task_detectron2.config import settings_of
from aiop_task_detectron2.loading import EndlessImages, batches, has_things, learnable, seeded

SIZES = [(40, 64)] * 7 + [(64, 40)] * 6


@pytest.fixture
def records(detectron2, drawn):
    """Thirteen images, made of drawn ones: seven wide, six tall."""
    from PIL import Image

    source = sorted((drawn / "coco" / "train2017").iterdir())
    made = []
    for number, (height, width) in enumerate(SIZES):
        path = drawn.parent / "cut" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            Image.open(source[number % len(source)]).crop((0, 0, width, height)).save(path)
        made.append(
            {
                "file_name": str(path),
                "height": height,
                "width": width,
                "image_id": number,
                "annotations": [{"bbox": [4, 4, 20, 20], "bbox_mode": 1, "category_id": 0, "iscrowd": 0}],
            }
        )
    return made


@pytest.fixture
def options(detectron2, quick):
    """``options(…)``: a config for boxes alone, two images a step."""
    return lambda **changes: settings_of(quick(parts=("obj_det",), **changes))


def ids(found):
    return [[image["image_id"] for image in batch] for batch in found]


def same(first, second):
    assert ids(first) == ids(second)
    for ours, theirs in zip(chain(*first), chain(*second), strict=True):
        assert torch.equal(ours["image"], theirs["image"])
        assert torch.equal(ours["instances"].gt_boxes.tensor, theirs["instances"].gt_boxes.tensor)


@pytest.mark.parametrize("batch", [1, 3, 4, 13, 20])
def test_every_image_at_most_once_in_an_epoch_and_all_but_a_batchs_rest(records, options, batch):
    images = EndlessImages(records, options(batch=batch), seed=5)
    size = images.epoch_size
    assert size == 13 - 13 % min(batch, 13)
    epochs = [[images.image(epoch * size + place) for place in range(size)] for epoch in range(4)]
    assert all(len(set(epoch)) == size for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert set(chain(*epochs)) == set(range(13)), "images that one epoch skips, another has"


def test_at_most_one_batch_of_an_epoch_is_wide_and_tall(records, options):
    def mixed(**changes):
        images = EndlessImages(records, options(batch=3, **changes), seed=0)
        shown = [images.image(number) < 7 for number in range(10 * images.epoch_size)]
        epochs = np.array(shown).reshape(10, -1, 3)
        return (epochs.any(axis=2) & ~epochs.all(axis=2)).sum(axis=1)

    assert mixed().max() <= 1
    assert mixed(overrides="DATALOADER.ASPECT_RATIO_GROUPING False").max() > 1


def test_records_without_sizes_are_not_grouped(records, options):
    bare = [{k: v for k, v in record.items() if k not in {"height", "width"}} for record in records]
    assert len(ids(batches(bare, options(), 0, 0, 3))) == 3


def test_a_training_goes_on_with_the_same_batches(records, options):
    cfg = options(batch=3)
    whole = list(batches(records, cfg, 7, 0, 9))
    same(whole[4:], list(batches(records, cfg, 7, 4, 9)))
    assert ids(whole) != ids(batches(records, cfg, 8, 0, 9))


def test_images_of_an_epoch_are_changed_otherwise_in_the_next(records, options):
    shown = [image for batch in batches(records[:2], options(), 0, 0, 12) for image in batch if image["image_id"] == 0]
    assert len({tuple(image["image"][0, 0, :4].tolist()) for image in shown}) == 2, "mirrored, and not"


def test_processes_share_each_batch(records, options):
    cfg = options(batch=4)
    whole = list(batches(records, cfg, 0, 0, 5))
    shares = [list(batches(records, cfg, 0, 0, 5, rank=rank, ranks=2)) for rank in (0, 1)]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert [len(part) for part in parts] == [2, 2]
        assert sorted(chain(*ids(parts))) == sorted(ids([batch])[0])
        same([[x for x in batch if x["image_id"] in ids([parts[0]])[0]]], [parts[0]])


def test_worker_processes_change_nothing(records, options):
    same(*(list(batches(records, options(workers=workers), 3, 2, 6)) for workers in (0, 2)))


def test_global_generators_stay_as_they_are(records, options):
    def states():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.random.get_rng_state().tolist()

    before = states()
    list(batches(records, options(), 3, 0, 2))
    list(batches(records, options(workers=1), 3, 0, 2))
    assert states() == before
    drawn = []
    for start in (0, 1):
        random.seed(start), np.random.seed(start), torch.manual_seed(start)
        with seeded(1, 2, 3):
            drawn.append((random.random(), np.random.rand(), float(torch.rand(()))))
    assert drawn[0] == drawn[1]
    with seeded(1, 3, 2):
        assert random.random() != drawn[0][0]


def test_records_are_not_changed(records, options):
    before = repr(records)
    list(batches(records, options(), 0, 0, 2))
    assert repr(records) == before


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_is_one_line(records, options, tmp_path, workers):
    path = tmp_path / "cut.png"
    path.write_bytes(Path(records[0]["file_name"]).read_bytes()[:300])
    damaged = [record | {"file_name": str(path)} for record in records]
    with pytest.raises(
        DataError, match=r"cut.png cannot be read with its annotations \(.+\); repair or remove it"
    ) as e:
        list(batches(damaged, options(workers=workers), 0, 0, 2))
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"height": 999}, "Mismatched image shape"),
        ({"file_name": "/nowhere/1.jpg"}, "No such file"),
        ({"annotations": [{"category_id": 0}]}, "bbox"),
    ],
)
def test_annotations_that_do_not_fit_are_one_line(records, options, change, said):
    with pytest.raises(DataError, match=rf"cannot be read with its annotations \(.*{said}") as caught:
        list(batches([record | change for record in records], options(), 0, 0, 1))
    assert "\n" not in str(caught.value)


def test_only_boxes_leave_out_images_without_things(records, options, quick):
    crowd = records[0] | {"annotations": [records[0]["annotations"][0] | {"iscrowd": 1}]}
    mixed = [crowd, records[1] | {"annotations": []}, records[2]]
    assert [has_things(record) for record in mixed] == [False, False, True]
    assert learnable(mixed, options()) == mixed[2:]
    assert learnable(mixed, settings_of(quick())) == mixed

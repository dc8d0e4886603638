"""Folders of images as classes to learn."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from aiop_core.contracts import silent
from aiop_core.errors import DataError
from aiop_family_ofa.family import create
from aiop_family_ofa.image_folder import AREA, ASPECT, ImageFolder, _box
from aiop_family_ofa.options import MobileNetV3Options
from aiop_family_ofa.training_options import TrainingOptions

OPTIONS = TrainingOptions(image_size=32, batch=4, steps=2, networks=0, lr=3e-3, warmup=0.0)


@pytest.fixture
def folder(tmp_path):
    """Three classes of four images, each class of one colour."""
    for number, name in enumerate(("blue", "green", "red")):
        (tmp_path / name).mkdir()
        for i in range(4):
            colour = [0, 0, 0]
            colour[number] = 200 + i
            Image.new("RGB", (40 + i, 30), tuple(colour)).save(tmp_path / name / f"{i}.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("no class")
    return tmp_path


def take(lesson, count, seed=0):
    return list(itertools.islice(lesson.batches(seed=seed, device="cpu"), count))


def test_an_epoch_has_every_image_once_and_labels_fit(folder):
    lesson = ImageFolder(folder, OPTIONS)
    assert lesson.classes == ("blue", "green", "red")
    assert str(lesson) == "12 images of 3 classes"
    batches = take(lesson, 3)
    labels = torch.cat([target for _, target in batches])
    assert sorted(labels.tolist()) == [0] * 4 + [1] * 4 + [2] * 4
    for images, target in batches:
        assert images.shape == (4, 3, 32, 32)
        assert images.mean((2, 3)).argmax(dim=1).tolist() == target.tolist()


def test_batches_follow_from_the_seed(folder):
    lesson = ImageFolder(folder, OPTIONS)
    first, again, other = take(lesson, 4), take(lesson, 4), take(lesson, 4, seed=1)
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(first, again, strict=True))
    assert any(not torch.equal(a, b) for (_, a), (_, b) in zip(first, other, strict=True))


def test_few_images_make_a_small_batch(folder):
    assert len(take(ImageFolder(folder, TrainingOptions(image_size=32, batch=64)), 1)[0][1]) == 12


def test_loss_by_hand(folder):
    lesson = ImageFolder(folder, TrainingOptions(label_smoothing=0.3))
    outputs = torch.zeros(1, 1000)
    outputs[0, 1] = 2.0
    logs = outputs.log_softmax(dim=1)[0]
    expected = -(0.8 * logs[1] + 0.1 * logs[0] + 0.1 * logs[2])
    assert lesson.loss(outputs, torch.tensor([1])).item() == pytest.approx(expected.item())
    teacher = torch.full((1, 1000), -100.0)
    teacher[0, 1] = 100.0
    assert lesson.distance(outputs, teacher).item() == pytest.approx(-logs[1].item())


def test_crops_lie_in_the_image_and_are_as_large_as_they_should():
    rng = np.random.default_rng(0)
    boxes = [_box(100, 80, rng) for _ in range(300)]
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= 100
        assert 0 <= top < bottom <= 80
    shapes = [((r - x) * (b - y) / 8000, (r - x) / (b - y)) for x, y, r, b in boxes]
    assert min(area for area, _ in shapes) >= AREA[0]
    assert all(ASPECT[0] <= aspect <= ASPECT[1] for _, aspect in shapes)
    assert _box(1000, 2, rng) == (0, 0, 1000, 2)  # nothing of an allowed shape fits often enough


def test_a_classifier_is_trained_and_loads(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    options = TrainingOptions(**{**vars(OPTIONS), "images": folder})
    family = create(MobileNetV3Options(width=1.0))
    values = family.train_supernet(None, out, options, seed=0, device="cpu", progress=silent).values
    assert values["loss_largest"] < 7.5
    state = torch.load(out / "supernet.pth", weights_only=True)
    assert state["classifier.linear.weight"].shape == (1000, 1280)
    assert state["classifier.linear.bias"][:3].min() > state["classifier.linear.bias"][3:].max()
    trained = create(MobileNetV3Options(width=1.0, weights=str(out)))
    network = trained.network(trained.sample(1, seed=0)[0])
    assert torch.equal(network.classifier.weight, state["classifier.linear.weight"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "gone", r"gone' does not exist; give one with a sub-folder for each of 2 to 1000"),
        (lambda folder: folder / "red", r"red' has 0 sub-folders with images; give one .* files ending in .bmp, .jpeg"),
    ],
)
def test_folders_without_classes(folder, make, message):
    with pytest.raises(DataError, match=message):
        ImageFolder(make(folder), OPTIONS)


def test_a_truncated_image(folder):
    path = folder / "red" / "2.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match=r"image '.*2.png' cannot be read: .*; repair or remove it"):
        take(ImageFolder(folder, OPTIONS), 3)

"""A long training that is killed goes on, to the very same weights, until it is measured."""

import pytest
import torch

from aiop_core.contracts import silent
from aiop_core.errors import DataError


class KilledError(Exception):
    """Stands for a kill."""


@pytest.fixture
def make_task(detectron2, quick, tmp_path):
    from aiop_task_detectron2.task import Detectron2Task

    usual = {"iterations": 5, "save_every": 2, "parts": ("obj_det",)}
    return lambda **options: Detectron2Task(quick(**{**usual, "cache_dir": tmp_path / "cache", **options}))


def train(task, body, *, seed=0, stop=None):
    """The steps that were done, and the model."""
    seen = []

    def progress(done, total, note=""):
        seen.append(done)
        if done == stop:
            raise KilledError

    model = task.model(body)
    task.train(model, seed=seed, device="cpu", progress=progress)
    return seen, model


def killed(task, body, stop, **more):
    with pytest.raises(KilledError):
        train(task, body, stop=stop, **more)


def same(first, second):
    return all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())


@pytest.fixture
def kept(tmp_path):
    return lambda: sorted((tmp_path / "cache" / "trainings").glob("*"))


def test_a_killed_training_gives_the_weights_of_an_uninterrupted_one(make_task, tiny_body, kept):
    task = make_task()
    seen, whole = train(make_task(save_every=5), tiny_body())
    assert (seen, kept()) == ([1, 2, 3, 4, 5], []), "a short training leaves nothing"
    killed(task, tiny_body(), 3)
    assert len(kept()) == 1
    seen, again = train(make_task(workers=1, save_every=1), tiny_body())
    assert seen == [3, 4, 5]
    assert same(whole, again)


def test_a_training_is_kept_until_it_is_measured(make_task, tiny_body, kept):
    _, first = train(make_task(), tiny_body())
    task = make_task()
    seen, again = train(task, tiny_body())
    assert seen == []
    assert same(first, again)
    task.evaluate(again, device="cpu")
    assert kept() == []


def test_another_training_does_not_go_on_from_it(make_task, tiny_body):
    killed(make_task(), tiny_body(), 3)
    other = tiny_body()
    with torch.no_grad():
        next(other.parameters()).mul_(2)
    for task, body, seed in (
        (make_task(), tiny_body(), 1),
        (make_task(lr=0.01), tiny_body(), 0),
        (make_task(train_images=7), tiny_body(), 0),
        (make_task(freeze=2), tiny_body(), 0),
        (make_task(), other, 0),
    ):
        assert train(task, body, seed=seed)[0][0] == 1
    assert train(make_task(), tiny_body())[0][0] == 3


def test_a_damaged_checkpoint_is_one_line(make_task, tiny_body, kept):
    killed(make_task(), tiny_body(), 3)
    for content in (kept()[0].read_bytes()[:200], b"short"):
        kept()[0].write_bytes(content)
        with pytest.raises(DataError, match=r"\.pt is damaged \(.*\); delete it to train from the beginning") as caught:
            train(make_task(), tiny_body())
        assert "\n" not in str(caught.value)


def test_no_room_is_one_line(make_task, tiny_body, tmp_path):
    task = make_task()
    task.prepare()
    (tmp_path / "cache" / "trainings").write_text("no folder")
    with pytest.raises(DataError, match=r"\.pt cannot be written \(.*\); make room .* another folder \(--cache-dir\)"):
        task.train(task.model(tiny_body()), seed=0, device="cpu", progress=silent)

"""Files of a shared head: whole or not at all, and one line for what is wrong with them."""

import os

import pytest
import torch
from torch import nn

from aiop_core.errors import DataError, WeightsError
from aiop_core.records.whole_files import replacing
from aiop_core.sharing.head_files import CARD, CHECKPOINT, WEIGHTS, Training, read_card, read_weights, write_head
from aiop_core.sharing.json_files import FORMAT

ORIGIN = {"family": "small", "sizes": [1, 2]}


def training(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = nn.Linear(3, 2)
    return Training(head, torch.optim.Adam(head.parameters(), lr=0.1))


def step(state):
    state.optimiser.zero_grad()
    state.head(torch.ones(1, 3)).sum().backward()
    state.optimiser.step()
    state.step += 1


def fail_while_writing(path):
    with replacing(path) as part:
        part.write_text("half")
        raise OSError("full")


def test_each_process_writes_a_file_of_its_own_until_it_is_whole(tmp_path):
    with replacing(tmp_path / "file") as part:
        part.write_text("whole")
        assert str(os.getpid()) in part.name
        assert part.suffix == ".part"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    with pytest.raises(OSError, match="full"):
        fail_while_writing(tmp_path / "file")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["whole"]


def test_a_training_goes_on_where_it_was(tmp_path):
    first, other = training(0), training(1)
    other.resume(tmp_path, ORIGIN, "cpu")
    assert other.step == 0
    step(first)
    first.loss = 0.5
    first.save(tmp_path, ORIGIN)
    other.resume(tmp_path, ORIGIN, "cpu")
    assert (other.step, other.loss) == (1, 0.5)
    step(first)
    step(other)
    assert torch.equal(first.head.weight, other.head.weight)


def test_a_checkpoint_that_does_not_fit_is_said(tmp_path):
    training().save(tmp_path, ORIGIN)
    with pytest.raises(DataError, match=r"half-trained head in .*: made of family small, but large is wanted; give an"):
        training().resume(tmp_path, ORIGIN | {"family": "large"}, "cpu")
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"training.pt is damaged .* delete it to train the head from its beginning"):
        training().resume(tmp_path, ORIGIN, "cpu")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"training.pt cannot be written .* make room and repeat the command"):
        training().save(tmp_path / "file", ORIGIN)


def test_a_full_disk_is_said_as_such(tmp_path):
    (tmp_path / f"{CHECKPOINT}.{os.getpid()}.part").symlink_to("/dev/full")
    with pytest.raises(DataError, match=r"training.pt cannot be written \(.*No space left on device.*\); make room"):
        training().save(tmp_path, ORIGIN)
    assert not any(tmp_path.iterdir())


def test_a_finished_head_comes_back(tmp_path):
    state = training(3)
    state.save(tmp_path, ORIGIN)
    write_head(tmp_path, state.head, {"origin": ORIGIN})
    assert sorted(p.name for p in tmp_path.iterdir()) == [CARD, WEIGHTS]
    assert read_card(tmp_path) == {"format": FORMAT, "origin": ORIGIN}
    head = nn.Linear(3, 2)
    read_weights(tmp_path, head)
    assert torch.equal(head.weight, state.head.weight)
    with pytest.raises(WeightsError, match=r"tensor 'bias' has shape \(2,\), the head needs \(4,\); train the"):
        read_weights(tmp_path, nn.Linear(3, 4))
    (tmp_path / CARD).write_text('{"format": 99}')
    with pytest.raises(WeightsError, match=r"head.json has format 99, this version reads 2; give a folder that"):
        read_card(tmp_path)
    (tmp_path / CARD).write_text("{")
    with pytest.raises(WeightsError, match=r"head.json cannot be read .*; give a folder that 'aiop head' finished"):
        read_card(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(b"short")
    with pytest.raises(WeightsError, match=r"head.safetensors is damaged .* train the head anew"):
        read_weights(tmp_path, head)
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(WeightsError, match=r"head.safetensors does not exist; train the head anew"):
        read_weights(tmp_path, head)
    (tmp_path / CARD).unlink()
    with pytest.raises(WeightsError, match=r"head.json does not exist; give a folder that 'aiop head' finished"):
        read_card(tmp_path)
    with pytest.raises(DataError, match=r"head in .* cannot be written .* make room and repeat the command"):
        write_head(tmp_path / "none", state.head, {})

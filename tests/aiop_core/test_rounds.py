"""Finished rounds outlive the command that made them."""

import json
import math
from pathlib import Path

import pytest

from aiop_core.errors import StoreError
from aiop_core.pipeline.rounds import Round, RoundLog

ONE = Round(20, 20, 0, "gnn", 80, {"mae": (0.1, 0.05, 0.2), "spearman": (math.nan, math.nan, math.nan)}, 1.5)
TWO = Round(20, 20, 0, "mean", 80, {"mae": (0.3, 0.2, 0.4)}, 0.1)
IDENTITY = {"labels": "ab12", "predictor": {"name": "gnn", "epochs": 3}}


def test_rounds_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "rounds.jsonl"
    log = RoundLog(path, IDENTITY)
    log.append([ONE])
    log.append([TWO, TWO])
    again = RoundLog(path, IDENTITY)
    assert len(again) == 2
    assert again.get(20, 0, "mean") == [TWO, TWO]
    assert str(again.get(20, 0, "gnn")) == str([ONE])  # nan is not equal to itself
    assert again.get(20, 1, "gnn") is None
    assert "NaN" not in path.read_text()


@pytest.mark.parametrize("torn", ['[{"train": 20, "le', '[{"train": 20}]'])
def test_a_line_that_a_kill_cut_short_is_forgotten(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "rounds.jsonl"
    RoundLog(path, IDENTITY).append([ONE])
    with path.open("a") as file:
        file.write(torn)
    log = RoundLog(path, IDENTITY)
    assert len(log) == 1
    log.append([TWO])
    assert len(RoundLog(path, IDENTITY)) == 2
    path.write_text('{"identi')
    assert len(RoundLog(path, IDENTITY)) == 0


def test_rounds_of_another_command_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rounds.jsonl"
    RoundLog(path, IDENTITY).append([ONE])
    with pytest.raises(StoreError, match=r"of a command with other predictor; give the same again, name another"):
        RoundLog(path, IDENTITY | {"predictor": {"name": "gnn", "epochs": 4}})
    assert len(RoundLog(path, {"labels": "other"}, restart=True)) == 0
    assert len(RoundLog(path, {"labels": "other"})) == 0


def test_a_folder_is_no_file_of_rounds(tmp_path: Path) -> None:
    (tmp_path / "rounds.jsonl").mkdir()
    for restart in (False, True):
        with pytest.raises(StoreError, match=r"rounds\.jsonl is a folder, and finished rounds are kept in a file"):
            RoundLog(tmp_path / "rounds.jsonl", IDENTITY, restart=restart)


def test_damaged_rounds_are_said(tmp_path: Path) -> None:
    path = tmp_path / "rounds.jsonl"
    for text in ("[]\n[]\n", '{"identity": {}}\n[{"train": 1}]\n', '{"identity": {}}\n[]\n'):
        path.write_text(text)
        with pytest.raises(StoreError, match=r"is damaged \(.*\); begin anew with --restart"):
            RoundLog(path, {})


def test_a_full_disk_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "rounds.jsonl"
    log = RoundLog(path, {})
    path.unlink()
    path.mkdir()
    with pytest.raises(StoreError, match=r"cannot be written .*run the same command again"):
        log.append([ONE])


def test_without_a_file_nothing_is_kept() -> None:
    log = RoundLog()
    log.append([ONE])
    assert log.get(20, 0, "gnn") == [ONE]


def test_a_round_is_plain_json(tmp_path: Path) -> None:
    path = tmp_path / "rounds.jsonl"
    RoundLog(path, {}).append([TWO])
    line = json.loads(path.read_text().splitlines()[1])
    assert line[0]["scores"] == {"mae": [0.3, 0.2, 0.4]}


def test_a_command_that_finished_nothing_does_not_stand_in_the_way(tmp_path: Path) -> None:
    path = tmp_path / "rounds.jsonl"
    RoundLog(path, {"labels": "wrong"})
    assert len(RoundLog(path, {"labels": "mended"})) == 0
    assert len(RoundLog(path, {"labels": "mended"})) == 0

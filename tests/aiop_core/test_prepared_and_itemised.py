"""Tasks that make something of their data first, and tasks that say what each piece of a model costs."""

import json

import pytest

from aiop_core.capabilities import Piece
from aiop_core.contracts import Registration
from aiop_core.errors import DataError
from aiop_core.graph.cost import cost
from aiop_core.graph.trace import trace
from aiop_core.hookspecs import hookimpl
from aiop_core.plugins import PluginSource
from aiop_core.records.store import RECORDS
from aiop_core.testing import reference

DONE = []


class Task(reference.ReferenceTask):
    def prepare_data(self, *, progress):
        if "refuse" in DONE:
            raise DataError("there is no room; make some")
        progress(1, 1)
        DONE.append("made")

    def prepare(self):
        DONE.append("seen")
        super().prepare()

    def pieces(self, model):
        assert all(parameter.is_meta for parameter in model.parameters())
        body, whole = (cost(trace(m, (3, *self.input_hw))) for m in (model.body, model))
        head = Piece((whole.macs - body.macs) // 4, whole.params - body.params, 4)
        return {self.metrics[0].name: {"body": Piece(body.macs, body.params), "head": head}}


class Plugin:
    aiop_register_families = staticmethod(reference.aiop_register_families)

    @staticmethod
    @hookimpl
    def aiop_register_tasks():
        return [Registration("reference", "", Task, reference.TaskOptions)]


@pytest.fixture
def sources():
    DONE.clear()
    return [PluginSource("reference", "aiop-reference", "0.1", lambda: Plugin)]


LABEL = ("label", "--task", "reference", "--family", "reference", "--count", 2, "--task.epochs", 1, "--images", 8)


def test_data_are_made_before_they_are_looked_for(aiop, tmp_path):
    done = aiop(*LABEL, "--out", tmp_path)
    assert done.code == 0, done.err
    assert DONE[:2] == ["made", "seen"]


def test_data_can_be_made_without_training(aiop):
    done = aiop("data", "prepare", "reference")
    assert (done.code, done.out) == (0, "the data of task 'reference' are ready\n")
    assert DONE[:2] == ["made", "seen"]
    DONE.append("refuse")
    assert "Error: there is no room; make some" in aiop("data", "prepare", "reference").err


def test_profile_keeps_each_piece_once(aiop, tmp_path):
    assert aiop(*LABEL, "--out", tmp_path).code == 0
    first = json.loads(aiop("profile", tmp_path, "--json").out)["records"]
    for record in first:
        pieces, whole = record["pieces"]["quarter_accuracy"], record["whole"]["quarter_accuracy"]
        assert set(pieces) == {"body", "head"}
        assert sum(piece["macs"] * piece["count"] for piece in pieces.values()) == whole["macs"]
        assert sum(piece["params"] for piece in pieces.values()) == whole["params"]
    kept = (tmp_path / RECORDS).read_bytes()
    again = aiop("profile", tmp_path)
    assert "head of quarter_accuracy, each of 4: million MACs" in again.out
    assert (tmp_path / RECORDS).read_bytes() == kept

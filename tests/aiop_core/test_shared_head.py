"""Latents, shared heads and shared labels, through the commands, on the reference plugin."""

import errno
import json
import re
import shutil
import time
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tests.conftest import Aiop, Finished

from aiop_core.capabilities import Population
from aiop_core.errors import DataError, StoreError
from aiop_core.pipeline.bodies import DrawnBodies
from aiop_core.plugins import PluginSource
from aiop_core.records.json_file import write_json
from aiop_core.records.step_folder import StepFolder
from aiop_core.records.store import LabelStore
from aiop_core.testing import reference_sharing
from aiop_core.testing.reference import Chain, ReferenceFamily
from aiop_core.testing.reference_sharing import HEAD, LATENTS, SharedReferenceTask

WHAT = ("--task", "reference_shared", "--family", "reference", "--images", 16, "--seed", 3, "--device", "cpu")


@pytest.fixture(autouse=True)
def shared_task(sources: list[PluginSource]) -> None:
    sources.append(PluginSource("shared", "aiop-shared", "0.1", lambda: reference_sharing))


@pytest.fixture
def head(aiop: Aiop, tmp_path: Path) -> Path:
    for command in (("latents",), ("head", "--latents", tmp_path / "latents")):
        done = aiop(*command, *WHAT, "--out", tmp_path / command[0])
        assert done.code == 0, done.err
    return tmp_path / "head"


class Strata(ReferenceFamily):
    strata = 2

    def draw(self, stratum: int, *, seed: int) -> Chain:
        return [chain for chain in self.all() if chain.depth == stratum + 1][seed % 6]


def test_bodies_follow_from_their_number_and_take_strata_in_turn() -> None:
    bodies, again, other = (DrawnBodies("reference", Strata(), seed=seed) for seed in (1, 1, 2))
    specs = [bodies.spec(n) for n in range(12)]
    assert [spec[:2] for spec in specs] == ["d1", "d2"] * 6
    assert specs == [again.spec(n) for n in range(12)] != [other.spec(n) for n in range(12)]
    weights = [next(iter(b.body(4).parameters())).detach().numpy() for b in (bodies, again, other)]
    np.testing.assert_array_equal(weights[0], weights[1])
    plain = DrawnBodies("reference", ReferenceFamily(), seed=1)
    assert plain.strata == 1
    assert len({plain.spec(n) for n in range(30)}) > 5


def test_a_population_swaps_its_oldest_body_with_each_image() -> None:
    population = Population(DrawnBodies("reference", Strata(), seed=1), 3)
    first, second, later = population.at(0), population.at(1), population.at(9)
    assert len(first) == len(second) == len(later) == 6
    assert first[1:] == second[:-1]
    assert first[0] not in second
    assert not set(map(id, second)) & set(map(id, later))


def test_shared_labels_from_latents_to_a_head(aiop: Aiop, head: Path, tmp_path: Path) -> None:
    done = aiop("label", *WHAT, "--mode", "shared", "--head", head, "--count", 3, "--out", tmp_path / "run", "--json")
    assert done.code == 0, done.err
    assert len(json.loads(done.out)["records"]) == 3
    identity = json.loads((tmp_path / "run" / "store.json").read_text())["identity"]
    assert identity["shared"] == {"epochs": 1}
    assert len(identity["head"]) == 16
    record = json.loads((tmp_path / "run" / "records.jsonl").read_text().splitlines()[0])["record"]
    assert record["provenance"]["shared_head"] == identity["head"]
    again = aiop("label", *WHAT, "--mode", "shared", "--head", head, "--count", 3, "--out", tmp_path / "run")
    assert "3 were labelled before" in again.out
    individual = aiop("label", *WHAT, "--count", 3, "--out", tmp_path / "run")
    assert individual.code == 1
    assert "holds labels made with other options" in individual.err


def test_the_head_decides_the_labels(aiop: Aiop, head: Path, tmp_path: Path) -> None:
    """A head of which every answer is the last quarter measures a body at that quarter's share."""
    weights = load_file(head / HEAD)
    save_file({"weight": 0 * weights["weight"], "bias": np.array([0, 0, 0, 50], np.float32)}, head / HEAD)
    done = aiop("label", *WHAT, "--mode", "shared", "--head", head, "--count", 2, "--out", tmp_path / "r", "--json")
    values = {next(iter(r["labels"].values())) for r in json.loads(done.out)["records"]}
    assert values == {13 / 64}


def test_what_is_finished_is_not_made_again(aiop: Aiop, head: Path, tmp_path: Path) -> None:
    before = (head / HEAD).stat().st_mtime_ns
    done = aiop("head", "--latents", tmp_path / "latents", *WHAT, "--out", head)
    assert done.code == 0
    assert "finished before" in done.err
    assert (head / HEAD).stat().st_mtime_ns == before


def test_an_unfinished_step_is_gone_on_with(
    aiop: Aiop, head: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SharedReferenceTask, "train_head", fails)
        stopped = aiop("head", *WHAT, "--method", "swap", "--out", tmp_path / "two")
    assert stopped.code == 130
    assert "goes on where this one stopped" in stopped.err
    refused = aiop("label", *WHAT, "--mode", "shared", "--head", tmp_path / "two", "--out", tmp_path / "r")
    assert refused.code == 1
    assert "is not finished; run the 'aiop head'" in refused.err
    assert aiop("head", *WHAT, "--method", "swap", "--out", tmp_path / "two").code == 0
    assert (tmp_path / "two" / HEAD).is_file()


def spoilt_card(folder: Path) -> None:
    (folder / "card.json").write_text('{"format": 1, "kind": "head"')


def newer_card(folder: Path) -> None:
    (folder / "card.json").write_text('{"format": 2}')


def no_card(folder: Path) -> None:
    (folder / "card.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoilt_card, r"card.json is damaged"),
        (newer_card, r"card.json has format 2, this aiop reads 1"),
        (no_card, r"holds no head \(card.json is missing\)"),
        (shutil.rmtree, r"holds no head"),
    ],
)
def test_a_spoilt_head_is_refused(aiop: Aiop, head: Path, tmp_path: Path, spoil, said: str) -> None:
    spoil(head)
    done = aiop("label", *WHAT, "--mode", "shared", "--head", head, "--out", tmp_path / "run")
    assert done.code == 1
    assert len(done.err.strip().splitlines()) == 1
    assert re.search(said, done.err)


def test_refusals_name_what_to_do(aiop: Aiop, head: Path, tmp_path: Path, sources: list[PluginSource]) -> None:
    latents = tmp_path / "latents"
    out = ("--out", tmp_path / "x")
    cases = {
        ("label", *WHAT, "--mode", "shared", *out): "train one with 'aiop head'",
        ("label", *WHAT, "--head", head, *out): "--head is for shared labels",
        ("label", *WHAT, "--mode", "shared", "--head", latents, *out): "holds latents, not head",
        ("head", *WHAT, "--latents", head, *out): "holds head, not latents",
        ("head", *WHAT, "--steps", 9, "--latents", latents, "--out", head): "made with other options (options.steps",
        ("latents", *WHAT, "--out", head): "holds head, not latents; name another folder with --out",
        ("head", *WHAT, "--out", tmp_path): "holds something else than head; name an empty folder",
        ("head", *WHAT, "--out", latents / LATENTS / "x"): "cannot be made",
        ("head", *WHAT, "--method", "sample", *out): "method 'sample' needs latents",
        ("head", *WHAT, "--method", "swap", "--latents", latents, *out): "reads no latents; leave out --latents",
        (
            *("latents", "--task", "reference", "--family", "reference", *out),
        ): "the task 'reference' does not offer 'latents'; installed ones that do: reference_shared",
        ("agreement", *WHAT, "--methods", "swop", *out): "--methods names 'swop'; did you mean 'swap'",
    }
    for command, said in cases.items():
        done = aiop(*command)
        assert done.code in (1, 2), command
        assert said in " ".join(done.err.split()), (command, done.err)


def test_latents_and_heads_of_another_family_are_refused(aiop: Aiop, head: Path, tmp_path: Path) -> None:
    for folder, kind in ((head, "head"), (tmp_path / "latents", "latents")):
        card = json.loads((folder / "card.json").read_text())
        card["identity"]["family"]["name"] = "other"
        (folder / "card.json").write_text(json.dumps(card))
        use = ("label", "--mode", "shared", "--head") if kind == "head" else ("head", "--latents")
        done = aiop(*use, folder, *WHAT, "--out", tmp_path / "x")
        assert done.code == 1
        assert "made for the family 'other', not for 'reference'" in done.err


def test_run_makes_the_whole_chain(aiop: Aiop, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = ("run", *WHAT, "--labels", "shared", "--count", 6, "--predictor", "reference", "--out", out, "--json")
    done = aiop(*command)
    assert done.code == 0, done.err
    assert json.loads(done.out)["labels"] == 6
    assert (out / "latents" / LATENTS).is_file()
    assert (out / "head" / HEAD).is_file()
    assert (out / "report.html").is_file()
    again = aiop(*command)
    assert json.loads(again.out)["labelled"] == 0


def test_agreement_compares_each_way_with_individual_labels(aiop: Aiop, tmp_path: Path) -> None:
    out = tmp_path / "a"
    done = aiop("agreement", *WHAT, "--count", 5, "--out", out, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert set(found["labels"]) == {"individual", "sample", "swap"}
    assert len(found["specs"]) == 5
    assert set(found["scores"]) == {"sample", "swap"}
    for way in ("sample", "swap"):
        records = (out / f"shared-{way}" / "records.jsonl").read_text().splitlines()
        by_spec = {r["spec"]: r["labels"]["quarter_accuracy"] for r in (json.loads(x)["record"] for x in records)}
        assert found["labels"][way] == [by_spec[spec] for spec in found["specs"]]
    table = aiop("agreement", *WHAT, "--count", 5, "--out", out)
    assert table.code == 0
    assert "Spearman with" in table.out
    assert "latents: finished before" in table.err
    few = aiop("agreement", *WHAT, "--count", 2, "--out", tmp_path / "b", "--methods", "swap")
    assert few.code == 1
    assert "2 bodies are too few to compare; label at least 3 (--count)" in few.err
    assert not (tmp_path / "b").exists()
    assert aiop("agreement", *WHAT, "--count", 3, "--out", tmp_path / "b", "--methods", "swap").code == 0
    assert not (tmp_path / "b" / "latents").exists()


def test_a_plugins_option_has_the_short_flag_and_a_uses_its_long_one(aiop: Aiop) -> None:
    help_text = " ".join(aiop("agreement", *WHAT, "--help").out.split())
    assert "--task.epochs, --epochs" in help_text
    assert "--shared.epochs" in help_text
    assert "--shared.epochs, --epochs" not in help_text
    assert "--latents.per-stratum, --per-stratum" in help_text  # no other is called so


def test_a_mistake_that_is_noticed_late_does_not_take_the_folder(
    aiop: Aiop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(self: SharedReferenceTask) -> None:
        raise DataError("no images")

    out = ("--out", tmp_path / "latents")
    with monkeypatch.context() as patch:
        patch.setattr(SharedReferenceTask, "prepare", missing)
        assert aiop("latents", *WHAT, *out).err == "Error: no images\n"
    done = aiop("latents", *WHAT, "--per-stratum", 4, *out)
    assert done.code == 0, done.err


def test_data_and_weights_that_options_do_not_tell_are_never_mixed(
    aiop: Aiop, head: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def label(out: Path) -> Finished:
        return aiop("label", *WHAT, "--mode", "shared", "--head", head, "--count", 1, "--out", out)

    assert label(tmp_path / "run").code == 0
    monkeypatch.setattr(SharedReferenceTask, "fingerprint", lambda self: "other images", raising=False)
    for done in (
        label(tmp_path / "run"),
        aiop("latents", *WHAT, "--out", tmp_path / "latents"),
        aiop("head", "--latents", tmp_path / "latents", *WHAT, "--out", head),
    ):
        assert done.code == 1
        assert 'data is null there and "other images" here' in done.err
    monkeypatch.setattr(ReferenceFamily, "fingerprint", lambda self: "trained anew", raising=False)
    for done in (
        label(tmp_path / "new"),
        aiop("head", "--latents", tmp_path / "latents", *WHAT, "--out", tmp_path / "head2"),
    ):
        assert done.code == 1
        assert "made when the family's weights were others" in done.err


def test_one_process_waits_for_another(tmp_path: Path) -> None:
    """The second finds the step finished, and does nothing."""
    said: list[str] = []
    first, second = (StepFolder(tmp_path, "latents", {"a": 1}, {}) for _ in range(2))

    def work() -> None:
        with second.claimed(said.append) as unfinished:
            said.append(f"left to do: {unfinished}")

    with first.claimed(said.append) as unfinished:
        assert unfinished
        other = Thread(target=work)
        other.start()
        (tmp_path / "result").touch()
        first.finish({"loss": 1.0})
        time.sleep(0.2)
        assert said == [f"another process is at {tmp_path}: waiting for it"]
    other.join()
    assert said[1:] == [f"latents: finished before, in {tmp_path}", "left to do: False"]


def test_a_full_disk_leaves_nothing_and_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, *args: object, **kwargs: object) -> None:
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(StoreError, match=r"card.json cannot be written: No space left on device; mend that and run"):
        write_json(tmp_path / "card.json", {})
    assert not list(tmp_path.iterdir())
    with pytest.raises(StoreError, match=r"store.json cannot be written: No space left"):
        LabelStore(tmp_path, {"family": {}})


def test_a_task_that_lacks_a_step_is_refused_by_name(
    aiop: Aiop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(SharedReferenceTask, "reads_latents")
    done = aiop("head", *WHAT, "--method", "swap", "--out", tmp_path / "x")
    assert "cannot share a head over a family (it has no reads_latents)" in done.err

"""``aiop run`` and ``aiop label`` on the reference plugin."""

import json
from pathlib import Path

import pytest

from aiop_core.contracts import Metric
from aiop_core.errors import LabelError
from aiop_core.plugins import PluginSource
from aiop_core.records.cache import GraphCache
from aiop_core.records.store import LabelStore
from aiop_core.testing import reference

RUN = ("run", "--task", "reference", "--family", "reference", "--images", 8, "--task.epochs", 1)


def test_run_leaves_everything_needed_and_predicts_again(aiop, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = aiop(*RUN, "--count", 6, "--folds", 3, "--out", out, "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert (result["labels"], result["labelled"], result["skipped"]) == (6, 6, 0)
    assert set(result["scores"]["reference"]) == {"mae", "spearman", "kendall", "ndcg"}
    cache = GraphCache.load(out / "graphs.safetensors")
    store = LabelStore(out)
    assert sorted(cache.specs) == sorted(r.spec for r in store)
    assert cache.metric.name == "quarter_accuracy"
    assert all(spec in (out / "report.html").read_text() for spec in cache.specs)
    assert json.loads((out / "options.json").read_text())["task"] == {"name": "reference", "images": 8, "epochs": 1}
    assert "aiop-core" in json.loads((out / "results.json").read_text())["provenance"]["versions"]

    predicted = aiop("predict", "--predictor", out / "predictor", "--json", "d1-w4-k3", "d2-w8-k5")
    assert predicted.code == 0, predicted.err
    rows = json.loads(predicted.out)["predictions"]
    assert sorted(r["model"] for r in rows) == ["d1-w4-k3", "d2-w8-k5"]
    assert rows[0]["predicted"] >= rows[1]["predicted"]

    again = aiop("run", "--config", out / "options.json", "--count", 7, "--folds", 3, "--out", out)
    assert again.code == 0, again.err
    assert "6 of 7 architectures are labelled already: skipped" in again.err
    assert "quarter_accuracy of 7 architectures" in again.out
    assert f"Report: {out / 'report.html'}" in again.out


def test_labels_do_not_depend_on_order_or_slices(aiop, tmp_path: Path) -> None:
    label = ("label", "--task", "reference", "--family", "reference", "--images", 8)
    whole = json.loads(aiop(*label, "--count", 4, "--out", tmp_path / "a", "--json").out)["records"]
    for start in (2, 0):
        sliced = aiop(*label, "--start", start, "--count", 2, "--out", tmp_path / "b", "--json")
    by_spec = {r["spec"]: r["labels"] for r in json.loads(sliced.out)["records"]}
    assert by_spec == {r["spec"]: r["labels"] for r in whole}
    assert len(by_spec) == 4


def test_other_options_in_the_same_folder_are_refused(aiop, tmp_path: Path) -> None:
    assert aiop(*RUN, "--count", 4, "--folds", 2, "--out", tmp_path).code == 0
    other = aiop(*RUN[:-1], 2, "--count", 4, "--out", tmp_path)
    assert other.code == 1
    assert other.err.startswith(f"Error: {tmp_path} holds labels made with other options (task.epochs is 1 there and 2")
    assert other.err.count("\n") == 1


def test_dry_run_trains_nothing(aiop, tmp_path: Path) -> None:
    shown = aiop(*RUN, "--count", 3, "--out", tmp_path / "run", "--dry-run")
    assert json.loads(shown.out)["task"]["images"] == 8
    specs = json.loads(aiop("label", *RUN[1:], "--count", 3, "--out", tmp_path / "run", "--dry-run").out)["specs"]
    assert len(specs) == 3
    assert not (tmp_path / "run").exists()


def test_too_few_labels_to_judge(aiop, tmp_path: Path) -> None:
    done = aiop(*RUN, "--count", 3, "--out", tmp_path)
    assert done.code == 1
    assert "3 labels are too few to judge a predictor; label at least 4 (--count)" in done.err
    assert not (tmp_path / "store.json").exists()  # nothing was trained in vain


def test_unknown_metric(aiop, tmp_path: Path) -> None:
    done = aiop(*RUN, "--count", 4, "--out", tmp_path, "--metric", "accuracy")
    assert done.code == 1
    assert "the task does not measure 'accuracy'; did you mean 'quarter_accuracy'?" in done.err


class Diverging(reference.ReferenceTask):
    """Gives no valid label for one architecture."""

    value = float("nan")

    def evaluate(self, model, *, device):
        wide = model.body.levels[0].channels == 8
        return {self.metrics[0].name: self.value if wide else 0.5}


class TooLarge(Diverging):
    value = 47.0


class Percent(Diverging):
    metrics = (Metric("error", unit="percent", higher_is_better=False),)
    value = 47.0


class Misnamed(reference.ReferenceTask):
    def evaluate(self, model, *, device):
        return {"other": 0.5}


def module_with(task: type) -> object:
    """The reference plugin with another task."""

    class Plugin:
        aiop_register_families = staticmethod(reference.aiop_register_families)
        aiop_register_predictors = staticmethod(reference.aiop_register_predictors)

        @staticmethod
        @reference.hookimpl
        def aiop_register_tasks():
            return [reference.Registration("reference", "", task, reference.TaskOptions)]

    return Plugin


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (Diverging, "is nan; it was not stored"),
        (TooLarge, "is 47.0, not a fraction from 0 to 1"),
    ],
)
def test_an_invalid_label_is_reported_and_the_others_are_kept(aiop, sources, tmp_path: Path, task, message) -> None:
    sources[0] = PluginSource("reference", "aiop-reference", "0.1", lambda: module_with(task))
    done = aiop("label", *RUN[1:], "--count", 12, "--out", tmp_path)
    assert done.code == 0
    assert message in done.err
    assert "8 labelled, 4 failed; 8 labels" in done.out
    assert LabelError.__name__ not in done.err


def test_other_units_are_not_held_to_fractions(aiop, sources, tmp_path: Path) -> None:
    sources[0] = PluginSource("reference", "aiop-reference", "0.1", lambda: module_with(Percent))
    assert "12 labelled" in aiop("label", *RUN[1:], "--count", 12, "--out", tmp_path).out


def test_a_task_that_breaks_its_contract_stops_the_run(aiop, sources, tmp_path: Path) -> None:
    sources[0] = PluginSource("reference", "aiop-reference", "0.1", lambda: module_with(Misnamed))
    done = aiop("label", *RUN[1:], "--count", 2, "--out", tmp_path)
    assert done.code == 1
    assert "'evaluate' of the task 'reference' gives ['other'], its metrics are ['quarter_accuracy']" in done.err


class Profiled:
    def profile(self, model, input_shape):
        return {"pixels": input_shape[1] * input_shape[2]}


class Backwards:
    def map(self, job, items):
        return (job(item) for item in reversed(items))


def test_profilers_and_executors_of_plugins_are_used(aiop, sources, tmp_path: Path) -> None:
    class Plugin:
        @staticmethod
        @reference.hookimpl
        def aiop_register_profilers():
            return [reference.Registration("pixels", "", lambda _: Profiled())]

        @staticmethod
        @reference.hookimpl
        def aiop_register_executors():
            return [reference.Registration("backwards", "", lambda _: Backwards())]

    sources.append(PluginSource("more", "aiop-more", "0.1", lambda: Plugin))
    args = ("--count", 3, "--out", tmp_path, "--profiler", "pixels", "--executor", "backwards", "--json")
    done = json.loads(aiop("label", *RUN[1:], *args).out)
    assert all(dict(r.scores) == {"pixels/pixels": 1024.0} for r in LabelStore(tmp_path))
    specs = [a.spec for a in reference.ReferenceFamily().sample(3, seed=0)]
    assert done["labelled"] == specs[::-1]


def test_undefined_scores_are_null_in_json(aiop, sources, tmp_path: Path) -> None:
    sources[0] = PluginSource("reference", "aiop-reference", "0.1", lambda: module_with(Constant))
    done = aiop(*RUN, "--count", 4, "--folds", 2, "--out", tmp_path, "--json")
    assert json.loads(done.out)["scores"]["reference"]["spearman"] == [None, None, None]
    assert "NaN" not in (tmp_path / "results.json").read_text()
    assert "–" in aiop(*RUN, "--count", 4, "--folds", 2, "--out", tmp_path).out


class Double(reference.ReferenceTask):
    """Measures two things in one training."""

    metrics = (*reference.ReferenceTask.metrics, Metric("error", unit="px"))

    def evaluate(self, model, *, device):
        return {**super().evaluate(model, device=device), "error": float(model.body.levels[0].channels)}

    def graphs(self, model):
        return dict.fromkeys([m.name for m in self.metrics], *super().graphs(model).values())


def test_all_metrics_of_a_task_are_told_and_any_can_be_predicted(aiop, sources, tmp_path: Path) -> None:
    sources[0] = PluginSource("reference", "aiop-reference", "0.1", lambda: module_with(Double))
    args = [*RUN, "--count", 4, "--folds", 2, "--out", tmp_path]
    first = aiop(*args)
    errors = [r.labels["error"] for r in LabelStore(tmp_path)]
    assert f"error: {sum(errors) / 4:.4g} px on average, {min(errors):g} px to {max(errors):g} px" in first.out
    assert "The same labels tell error; repeat with --metric" in first.out
    assert '<button type="button">error</button>' in (tmp_path / "report.html").read_text()
    again = json.loads(aiop(*args, "--metric", "error", "--json").out)
    assert (again["labelled"], again["skipped"], again["metric"]) == (0, 4, "error")
    assert again["measured"]["error"] == {"mean": sum(errors) / 4, "lowest": min(errors), "highest": max(errors)}


class Constant(reference.ReferenceTask):
    def evaluate(self, model, *, device):
        return {self.metrics[0].name: 0.5}


class Crashes(reference.ReferenceTask):
    def train(self, model, *, seed, device, progress):
        if model.body.levels[0].channels == 8:
            raise RuntimeError("CUDA out of memory\nmany more lines")
        super().train(model, seed=seed, device=device, progress=progress)


class AlwaysCrashes(reference.ReferenceTask):
    def train(self, model, *, seed, device, progress):
        raise RuntimeError("no such luck")


def test_an_architecture_that_crashes_torch_does_not_stop_the_others(aiop, sources, tmp_path: Path) -> None:
    sources[0] = PluginSource("reference", "aiop-reference", "0.1", lambda: module_with(Crashes))
    done = aiop("label", *RUN[1:], "--count", 12, "--out", tmp_path)
    assert "8 labelled, 4 failed" in done.out
    assert "CUDA out of memory" in done.err
    sources[0] = PluginSource("reference", "aiop-reference", "0.1", lambda: module_with(AlwaysCrashes))
    done = aiop("label", *RUN[1:], "--count", 12, "--out", tmp_path / "other")
    assert done.code == 1
    assert "no architecture could be labelled; the first: no such luck" in done.err


def test_an_unknown_metric_is_found_before_anything_is_trained(aiop, tmp_path: Path) -> None:
    assert aiop(*RUN, "--count", 4, "--out", tmp_path / "run", "--metric", "x").code == 1
    assert not (tmp_path / "run").exists()


def test_a_cache_of_a_run_knows_what_its_graphs_are_made_of(aiop, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert aiop(*RUN, "--count", 5, "--folds", 2, "--out", run).code == 0
    for source in (("--cache", run / "graphs.safetensors"), ("--run", run)):
        out = tmp_path / f"trained{source[0]}"
        assert aiop("train", *source, "--train", "3", "--out", out).code == 0
        rows = json.loads(aiop("predict", "--predictor", out / "predictor", "--json", "d1-w4-k3").out)["predictions"]
        record = LabelStore(run).get("d1-w4-k3") or next(iter(LabelStore(run)))
        shown = aiop("graph", "show", "reference:d1-w4-k3", "--task", "reference", "--json")
        assert rows[0]["macs"] == json.loads(shown.out)["macs"]
        assert record.costs["quarter_accuracy"].macs > 0
    wrong = aiop("train", "--run", run, "--metric", "x")
    assert "has no labels of 'x'; allowed are: quarter_accuracy" in wrong.err


def test_debug_may_stand_anywhere(aiop, tmp_path: Path) -> None:
    assert aiop("plugins", "--debug").code == 0


def test_a_store_without_labels_says_so(aiop, tmp_path: Path) -> None:
    LabelStore(tmp_path, {"family": {}, "task": {}, "metrics": [{"name": "a"}]})
    assert "has 0 labels of 'a'; label some architectures first" in aiop("train", "--run", tmp_path).err
    LabelStore(tmp_path / "two", {"family": {}, "task": {}, "metrics": [{"name": "a"}, {"name": "b"}]})
    assert "has labels of several metrics; name one with --metric: a, b" in aiop("train", "--run", tmp_path / "two").err

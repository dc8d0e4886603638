"""No label of a test graph reaches training, whatever the labels; and everything follows the seed."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.aiop_core.transfer_plugins import Spy, chains, source, two_branches

from aiop_core.contracts import Metric, NoOptions
from aiop_core.graph.fingerprints import fingerprints
from aiop_core.graph.model import GraphSet
from aiop_core.pipeline import fit
from aiop_core.pipeline.adapt import AdaptPlan, adapt
from aiop_core.pipeline.evaluate import EvaluatePlan, evaluate
from aiop_core.pipeline.sources import Source
from aiop_core.pipeline.train import TrainPlan, train
from aiop_core.pipeline.view import Quiet
from aiop_core.plugins import PluginRegistry, Selection
from aiop_core.records.cache import GraphCache

KERNELS = (1, 3, 5, 7, 9, 11)

networks = st.lists(
    st.tuples(st.sampled_from(KERNELS), st.sampled_from(KERNELS), st.booleans()), min_size=6, max_size=14
)


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bootstrap intervals take longest, and nothing here asks for them."""
    monkeypatch.setattr(fit, "RESAMPLES", 5)


@pytest.fixture(scope="module")
def registry() -> PluginRegistry:
    return PluginRegistry([source])


def labelled(found, metric: str, first: float) -> Source:
    """Each network with a label that no other has; equal networks in another order are among them."""
    graphs = GraphSet.of(two_branches(a, b, swapped=swapped) for a, b, swapped in found)
    labels = [first + 0.001 * i for i in range(len(graphs))]
    specs = [f"{a}-{b}-{swapped}-{i}" for i, (a, b, swapped) in enumerate(found)]
    return Source(metric, GraphCache.of(graphs, labels, specs, ["pairs"] * len(specs), Metric(metric), {}), {})


def watch(*sources: Source) -> None:
    """Begin to note leaks of the labels of ``sources``."""
    Spy.leaks, Spy.given, Spy.truth = [], [], {}
    for one in sources:
        for name, label in zip(fingerprints(one.cache.graphs), one.cache.labels.tolist(), strict=True):
            Spy.truth.setdefault(name, set()).add(label)


def plan_of(folder: Path, **changes) -> TrainPlan:
    kept = {"sizes": [4], "seeds": [0, 1], "device": "cpu", **changes}
    return TrainPlan(folder, Selection("predictor", "spy", NoOptions()), **kept)


def test_the_same_network_in_another_order_is_the_same() -> None:
    one, other = two_branches(3, 5), two_branches(3, 5, swapped=True)
    assert one != other
    assert one.fingerprint == other.fingerprint


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=networks, more=networks, seed=st.integers(0, 1000))
def test_no_command_shows_a_label_of_what_it_tests(registry, found, more, seed) -> None:
    first, second, target = labelled(found, "a", 0.1), labelled(more, "b", 0.3), labelled(found + more, "c", 0.5)
    assume(all(len(set(fingerprints(one.cache.graphs))) >= 5 for one in (first, second)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        watch(first, second)
        train(registry, plan_of(folder / "one", seeds=[seed]), [first], Quiet())
        train(registry, plan_of(folder / "two", seeds=[seed], sizes=[6]), [first, second], Quiet())
        assert Spy.leaks == []
        watch(target)
        saved, adapted = folder / "two" / "predictor", folder / "adapted"
        adapt(registry, AdaptPlan(saved, "more", adapted, NoOptions(), seed, "cpu"), target, Quiet())
        plan = EvaluatePlan(saved, folder / "out", NoOptions(), [0, 4], [seed], "cpu")
        evaluate(registry, plan, target, Quiet())
        assert Spy.given
        assert Spy.leaks == []


def planted() -> Source:
    """Twelve networks, and a twin of each in another order with a tell-tale label."""
    pairs = [(a, b) for i, a in enumerate(KERNELS) for b in KERNELS[i + 1 :]][:12]
    return labelled([(a, b, False) for a, b in pairs] + [(a, b, True) for a, b in pairs], "c", 0.1)


def test_the_spy_sees_a_leak_where_twins_are_kept_apart(registry, tmp_path: Path) -> None:
    watch(planted())
    train(registry, plan_of(tmp_path / "apart", sizes=[12], apart=True, save=False), [planted()], Quiet())
    assert Spy.leaks, "a planted label of a test graph was not seen"
    watch(planted())
    train(registry, plan_of(tmp_path / "together", sizes=[12], save=False), [planted()], Quiet())
    assert Spy.leaks == []
    watch(planted())
    train(registry, plan_of(tmp_path / "all", sizes=[12], test_all=True, save=False), [planted()], Quiet())
    assert Spy.leaks, "--test all tests what was learnt, too"


def test_the_spy_sees_labels_of_the_target_in_a_predictor(registry, tmp_path: Path) -> None:
    """What was learnt before is left out of the test, and a predictor that nothing is known of is warned about."""
    whole = planted()
    half = labelled([(3, 5, False), (3, 7, False), (3, 9, True), (1, 9, True), (5, 7, False), (1, 11, False)], "c", 0.1)
    train(registry, plan_of(tmp_path / "half"), [half], Quiet())
    saved = tmp_path / "half" / "predictor"
    said = []

    class Says(Quiet):
        def say(self, text: str) -> None:
            said.append(text)

    watch(whole)
    plan = EvaluatePlan(saved, tmp_path / "out", NoOptions(), [0, 4], [0, 1], "cpu")
    result = evaluate(registry, plan, whole, Says())
    assert Spy.leaks == []
    known = set(fingerprints(half.cache.graphs))
    left_out = sum(name in known for name in fingerprints(whole.cache.graphs))
    assert f"{left_out} of 24 labels of c are left out: the predictor learnt from them" in said
    assert {r.test + r.learnt for r in result.rounds} == {24 - left_out}
    (saved / "learnt.json").unlink()
    evaluate(registry, EvaluatePlan(saved, tmp_path / "o", NoOptions(), [0], [0], "cpu"), whole, Says())
    assert "nobody can tell what the predictor learnt from" in said[-1]


def results(folder: Path) -> list[dict]:
    rounds = json.loads((folder / "results.json").read_text())["rounds"]
    return [{key: value for key, value in item.items() if key != "seconds"} for item in rounds]


def test_two_runs_with_one_seed_are_equal(aiop, sources, tmp_path: Path) -> None:
    sources.append(source)
    chains(30, noise=0.02).save(tmp_path / "a.safetensors")
    chains(30, "far", noise=0.05, start=40).save(tmp_path / "b.safetensors")
    target = chains(24, "target", noise=0.05, start=60)
    target.save(tmp_path / "t.safetensors")

    def run(seed: int, out: Path) -> tuple[list, list, list, dict]:
        caches = ("--cache", tmp_path / "a.safetensors", "--cache", tmp_path / "b.safetensors")
        how = ("--seed", seed, "--device", "cpu", "--json")
        trained = aiop("train", *caches, "--predictor", "seeded", "--train", "20", "--out", out / "t", *how)
        assert trained.code == 0, trained.err
        saved, new = out / "t" / "predictor", out / "adapted"
        few = ("--cache", tmp_path / "t.safetensors")
        adapted = aiop("adapt", "--predictor", saved, *few, "--as", "t", "--out", new, *how)
        assert adapted.code == 0, adapted.err
        evaluated = aiop("evaluate", "--predictor", saved, *few, "--labels", "8", "--out", out / "e", *how)
        assert evaluated.code == 0, evaluated.err
        weights = [json.loads((folder / "adaptable.json").read_text()) for folder in (saved, new, out / "e/predictor")]
        return results(out / "t"), results(out / "e"), weights, json.loads(adapted.out)

    first, again, other = run(3, tmp_path / "1"), run(3, tmp_path / "2"), run(4, tmp_path / "3")
    assert first == again
    assert all(mine != theirs for mine, theirs in zip(first, other, strict=True))


def test_adapting_and_tuning_follow_the_seed(aiop, sources, tmp_path: Path) -> None:
    """On the same labels: what differs is what the predictor itself draws."""
    sources.append(source)
    chains(20).save(tmp_path / "a.safetensors")
    chains(16, "target", noise=0.05, start=60).save(tmp_path / "t.safetensors")
    a, few = ("--cache", tmp_path / "a.safetensors"), ("--cache", tmp_path / "t.safetensors")
    assert aiop("train", *a, "--predictor", "seeded", "--out", tmp_path / "p").code == 0
    saved = ("--predictor", tmp_path / "p" / "predictor")
    weights = []
    for seed in (0, 1):
        out = tmp_path / str(seed)
        how = ("--labels", 6, "--seeds", 1, "--save", "all", "--out", out)
        assert aiop("evaluate", *saved, *few, *how, "--seed", seed).code == 0
        assert aiop("adapt", *saved, *few, "--as", "t", "--out", out / "adapted", "--seed", seed).code == 0
        weights.append([(folder / "adaptable.json").read_text() for folder in (out / "predictor", out / "adapted")])
    assert all(first != second for first, second in zip(*weights, strict=True))

"""Fitting and judging: nothing that is tested on can reach training."""

import numpy as np
import pytest

from aiop_core.contracts import BaselineRegistration, FitReport, Labelled, Registration
from aiop_core.errors import ContractError, SplitError
from aiop_core.graph.model import GraphSet
from aiop_core.hookspecs import hookimpl
from aiop_core.pipeline.fit import Contender, contenders, cross_validate, groups_of, hold_out
from aiop_core.pipeline.view import Quiet
from aiop_core.plugins import PluginRegistry, PluginSource
from aiop_core.testing.reference import ReferenceFamily


class Remembers:
    """Knows the labels that it was shown by their graphs, and gives -1 for all others."""

    def fit(self, train, *, seed, device, progress):
        self.known = dict(zip(groups_of(train.graphs), train.labels, strict=True))
        return FitReport()

    def predict(self, graphs):
        return np.array([self.known.get(group, -1.0) for group in groups_of(graphs)])


class Broken(Remembers):
    def predict(self, graphs):
        return np.full(len(graphs), np.nan)


@pytest.fixture
def data() -> Labelled:
    """Twelve architectures, the first three of them a second time: a leak, if a split lets it."""
    family = ReferenceFamily()
    graphs = [family.graph(a, (64, 64)) for a in family.all()]
    labels = np.linspace(0.1, 0.9, len(graphs))
    return Labelled(GraphSet.of(graphs + graphs[:3]), np.concatenate([labels, labels[:3]]))


def test_cross_validation_never_shows_what_it_tests(data: Labelled) -> None:
    found = cross_validate([Contender("r", Remembers)], data, folds=4, seed=0, device="cpu", view=Quiet())
    assert found.predicted["r"].tolist() == [-1.0] * 15
    assert found.scores["r"]["mae"][0] == pytest.approx(np.mean(data.labels + 1))


def test_hold_out_never_shows_what_it_tests(data: Labelled) -> None:
    rounds = hold_out([Contender("r", Remembers)], data, sizes=[4, 8], seeds=range(5), device="cpu", view=Quiet())
    assert len(rounds) == 10
    assert all(r.scores["mae"][0] > 1 for r in rounds), "a label of a test graph was known"
    assert {r.train for r in rounds} == {4, 8}


def test_splits_follow_the_seed(data: Labelled) -> None:
    def tested(seed: int) -> list[float]:
        rounds = hold_out([Contender("r", Remembers)], data, sizes=[6], seeds=[seed], device="cpu", view=Quiet())
        return [r.scores["mae"][0] for r in rounds]

    assert tested(1) == tested(1)
    assert tested(1) != tested(2)


def test_predictions_that_are_not_finite_are_the_predictors_fault(data: Labelled) -> None:
    with pytest.raises(
        ContractError, match=r"predictor 'b' gave .* or some that are not finite; 'aiop check' tells more"
    ):
        cross_validate([Contender("b", Broken)], data, folds=3, seed=0, device="cpu", view=Quiet())


def test_a_size_that_leaves_nothing_to_test(data: Labelled) -> None:
    with pytest.raises(SplitError, match="which leaves a side empty"):
        hold_out([Contender("r", Remembers)], data, sizes=[15], seeds=[0], device="cpu", view=Quiet())


def test_every_baseline_competes_and_other_predictors_do_not() -> None:
    class Plugin:
        @staticmethod
        @hookimpl
        def aiop_register_predictors():
            return [
                Registration("chosen", "", lambda _: Remembers()),
                Registration("other", "", lambda _: Remembers()),
                BaselineRegistration("base", "", lambda _: Remembers(), asks="does it matter?"),
            ]

    registry = PluginRegistry([PluginSource("p", "aiop-p", "0", lambda: Plugin)])
    field = contenders(registry, "chosen", None)
    assert [(c.name, c.asks) for c in field] == [("chosen", ""), ("base", "does it matter?")]
    assert [c.name for c in contenders(registry, "base", None)] == ["base"]
    assert all(isinstance(c.make(), Remembers) for c in field)

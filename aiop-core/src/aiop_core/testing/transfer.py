"""What adaptable predictors promise, beside what every predictor does."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from aiop_core.contracts import Adaptable, Aligning, Labelled, Predictor, silent
from aiop_core.errors import AiopError, ContractError, OptionError
from aiop_core.records.combine import joined
from aiop_core.testing.predictors import close, example, fitted
from aiop_core.testing.promise import require
from aiop_core.testing.randomness import global_seed

FEW = 6
"""Labels that ``tune`` is given."""


@dataclass(frozen=True)
class MakeAdaptable:
    """Gives new adaptable predictors, and the options of their uses."""

    make: Callable[[], Predictor]
    adapt_options: Any
    tune_options: Any

    def fitted(self, labelled: Labelled | None = None) -> Adaptable:
        """One that was fitted."""
        return cast(Adaptable, fitted(self.make, labelled))

    def adapt(self, predictor: Adaptable, name: str, source: Labelled) -> Adaptable:
        """The same predictor, which has learnt ``source``."""
        predictor.adapt(name, source, self.adapt_options, seed=7, device="cpu", progress=silent)
        return predictor

    def tune(self, predictor: Adaptable, target: Labelled) -> np.ndarray[Any, Any]:
        """What the predictor says of all graphs of the example, brought to ``target``."""
        predictor.tune(target, self.tune_options, seed=7, device="cpu", progress=silent)
        return predictor.predict(example().graphs)


def further(number: int = 0) -> Labelled:
    """The graphs of the example with labels of another metric, between -3 and 3."""
    source = example()
    rng = np.random.default_rng(number)
    labels = (source.labels - source.labels.mean()) / source.labels.std() + rng.normal(scale=0.3, size=len(source))
    return replace(source, labels=labels.clip(-3, 3))


def target() -> Labelled:
    """Few graphs of the example, with labels between 14 and 19."""
    source = example()
    return replace(source, labels=10 + 10 * source.labels).take(np.arange(0, 2 * FEW, 2))


def fitting_takes_labels_of_several_sets(make: MakeAdaptable) -> None:
    """``fit`` learns sets of different scales; predictions stay finite."""
    first, second = example(), further()
    labels = np.concatenate([first.labels, 50 + 100 * second.labels])
    sets = np.repeat([0, 1], len(first))
    found = make.fitted(Labelled(joined([first.graphs, second.graphs]), labels, sets)).predict(first.graphs)
    require(
        found.shape == (len(first),) and bool(np.isfinite(found).all()),
        "a fit on two data sets predicts something else than one finite number a graph",
    )
    agreement = np.corrcoef(found, first.labels)[0, 1]
    require(
        agreement > 0,
        f"a fit on two data sets that rank alike ranks the other way (correlation {agreement:.2f} with the labels); "
        "scale each set by itself",
    )


def fitting_learns_every_set(make: MakeAdaptable) -> None:
    """``fit`` on sets of different graphs ranks those of the second, of which the first tells nothing."""
    source = example()
    even, odd = (source.take(np.arange(start, len(source), 2)) for start in (0, 1))
    first = np.random.default_rng(3).permutation(even.labels)
    labels, sets = np.concatenate([first, 50 + 100 * odd.labels]), np.repeat([0, 1], [len(even), len(odd)])
    found = make.fitted(Labelled(joined([even.graphs, odd.graphs]), labels, sets)).predict(odd.graphs)
    agreement = np.corrcoef(found, odd.labels)[0, 1]
    require(
        agreement > 0,
        f"a fit on two data sets does not rank the second (correlation {agreement:.2f} with its labels); "
        "learn every set",
    )


def adapting_is_seeded(make: MakeAdaptable) -> None:
    """The same seed learns the same, whatever the global random state."""
    found = []
    for seed in (1, 2):
        with global_seed(seed):
            found.append(make.adapt(make.fitted(), "a", further()).predict(example().graphs))
    require(close(*found), "two adaptations with seed 7 predict differently; use a generator made from the seed")


def adapting_keeps_what_was_known(make: MakeAdaptable) -> None:
    """Two data sets can be learnt in either order: neither changes the other."""
    found = []
    for names in ("ab", "ba"):
        predictor = make.fitted()
        for name in names:
            make.adapt(predictor, name, further("ab".index(name)))
        found.append(make.tune(predictor, target()))
    require(
        close(*found), "what is learnt of two data sets depends on their order; adapt must not change what it finds"
    )


def names_of_data_sets_are_used_once(make: MakeAdaptable) -> None:
    """``adapt`` raises OptionError for a name that it knows."""
    predictor = make.adapt(make.fitted(), "a", further())
    try:
        make.adapt(predictor, "a", further(1))
    except OptionError as error:
        require("a" in str(error), "the OptionError for a used name does not say which")
    except Exception as error:
        raise ContractError(f"adapt raised {type(error).__name__} for a used name instead of OptionError") from error
    else:
        raise ContractError("adapt learnt two data sets by one name; it must raise OptionError")


def tuning_speaks_in_the_unit_of_the_target(make: MakeAdaptable) -> None:
    """After ``tune``, predictions are near its labels, before and after an adaptation."""
    low, high = 10.0, 23.0
    for predictor in (make.fitted(), make.adapt(make.fitted(), "a", further())):
        found = make.tune(predictor, target())
        require(
            bool((np.isfinite(found) & (found > low) & (found < high)).all()),
            f"tuned to labels between 14 and 19, predictions reach from {found.min():g} to {found.max():g}",
        )


def tuning_is_seeded(make: MakeAdaptable) -> None:
    """The same seed and labels give the same predictions, whatever the global random state."""
    found = []
    for seed in (1, 2):
        with global_seed(seed):
            found.append(make.tune(make.fitted(), target()))
    require(close(*found), "two tunings with seed 7 predict differently; use a generator made from the seed")


def aligning_needs_no_labels_and_no_seed(make: MakeAdaptable) -> None:
    """``align``, where there is one, repeats whatever the global random state; one predicts after it, tuned or not."""
    ranked, tuned, graphs = [], [], example().graphs
    columns = {name: column.copy() for name, column in graphs.columns.items()}
    for seed in (1, 2):
        predictor = make.fitted()
        if not callable(getattr(predictor, "align", None)):
            return
        with global_seed(seed):
            cast(Aligning, predictor).align(graphs, make.tune_options)
        ranked.append(predictor.predict(graphs))
        tuned.append(make.tune(predictor, target()))
    for found in (ranked[0], tuned[0]):
        right = found.shape == (len(graphs),) and bool(np.isfinite(found).all())
        require(right, "after align a predictor says something else than one finite number a graph")
    require(close(*ranked), "two alignments to the same graphs predict differently; draw nothing at random")
    require(
        close(*tuned), "two tunings with seed 7 after align predict differently; use a generator made from the seed"
    )
    same = all(np.array_equal(columns[name], graphs.columns[name]) for name in columns)
    require(same, "align changed the graphs it was given")


def saving_and_loading_keeps_what_was_adapted(make: MakeAdaptable) -> None:
    """What is loaded predicts as it did, and is tuned as it would have been."""
    predictor, graphs = make.adapt(make.fitted(), "a", further()), example().graphs
    with tempfile.TemporaryDirectory() as folder:
        predictor.save(Path(folder))
        loaded = cast(Adaptable, make.make())
        loaded.load(Path(folder))
        require(
            close(loaded.predict(graphs), predictor.predict(graphs)),
            "an adapted predictor predicts otherwise when loaded",
        )
        kept = make.tune(loaded, target())
        require(close(kept, make.tune(predictor, target())), "an adapted predictor is tuned otherwise when loaded")
        predictor.save(Path(folder))
        loaded = cast(Adaptable, make.make())
        loaded.load(Path(folder))
        require(close(loaded.predict(graphs), kept), "a tuned predictor predicts otherwise when loaded")


def further_labels_that_are_not_finite_are_refused(make: MakeAdaptable) -> None:
    """``adapt`` and ``tune`` raise an AiopError for nan."""
    bad = target()
    bad.labels[1] = np.nan
    uses: dict[str, Callable[[Adaptable], Any]] = {
        "adapt": lambda predictor: make.adapt(predictor, "a", bad),
        "tune": lambda predictor: make.tune(predictor, bad),
    }
    for name, use in uses.items():
        try:
            use(make.fitted())
        except AiopError:
            continue
        except Exception as error:
            raise ContractError(f"{name} raised {type(error).__name__} for a label nan, not LabelError") from error
        raise ContractError(f"{name} took a label that is nan; it must raise LabelError")


def adapting_and_tuning_leave_their_inputs_alone(make: MakeAdaptable) -> None:
    """Labels and graphs are not changed."""
    predictor = make.fitted()
    for name, given, use in (("adapt", further(), "a"), ("tune", target(), "")):
        labels, columns = given.labels.copy(), {k: v.copy() for k, v in given.graphs.columns.items()}
        if use:
            make.adapt(predictor, use, given)
        else:
            make.tune(predictor, given)
        same = all(np.array_equal(columns[k], given.graphs.columns[k]) for k in columns)
        require(np.array_equal(labels, given.labels) and same, f"{name} changed the labels or graphs it was given")


ADAPTABLE_CHECKS: tuple[Callable[[MakeAdaptable], None], ...] = (
    fitting_takes_labels_of_several_sets,
    fitting_learns_every_set,
    adapting_is_seeded,
    adapting_keeps_what_was_known,
    names_of_data_sets_are_used_once,
    tuning_speaks_in_the_unit_of_the_target,
    tuning_is_seeded,
    aligning_needs_no_labels_and_no_seed,
    saving_and_loading_keeps_what_was_adapted,
    further_labels_that_are_not_finite_are_refused,
    adapting_and_tuning_leave_their_inputs_alone,
)
"""For registrations as :class:`~aiop_core.contracts.AdaptableRegistration`."""

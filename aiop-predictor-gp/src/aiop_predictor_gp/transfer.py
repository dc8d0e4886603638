"""What earlier data sets say about graphs of a target that they were not made of.

A head adds the same nodes to every network of a family, so that a process which reads
absolute numbers would find everything out of the ordinary. If a target's features scatter as
those of the earlier data set do, it has the same bodies, and its numbers are moved to where the
earlier ones lie. Networks of another family are read as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from aiop_predictor_gp.learner import Learner
from aiop_predictor_gp.options import GpOptions
from aiop_predictor_gp.reading import TRANSFERABLE, Table

ALIKE = 0.1
"""The same bodies: so much do the logarithms of path features' deviations differ at most, at the median."""


@dataclass(frozen=True)
class Summary:
    """How each feature of a set of graphs is distributed.

    Attributes:
        blocks: by block (2, its columns): median and deviation over distinct networks.
    """

    blocks: Table

    @classmethod
    def of(cls, table: Table) -> Summary:
        """Of at least one graph."""
        whole = np.concatenate([table[name] for name in TRANSFERABLE], axis=1)
        _, rows = np.unique(whole.round(6), axis=0, return_index=True)
        return cls(
            {name: np.stack([np.median(table[name][rows], 0), table[name][rows].std(0)]) for name in TRANSFERABLE}
        )

    def same_bodies(self, other: Summary) -> bool:
        """Whether the graphs of both differ by what all of one have."""
        own, others = self.blocks["paths"][1], other.blocks["paths"][1]
        varying = (own > 1e-9) & (others > 1e-9)
        if not varying.any() or ((own > 1e-9) != (others > 1e-9)).mean() > ALIKE:
            return False
        return bool(np.median(np.abs(np.log(own[varying] / others[varying]))) < ALIKE)


@dataclass
class Source:
    """A data set that was learnt.

    Attributes:
        table: the transferable blocks of its graphs.
        labels: one for each.
        seed: of what is random in learning them.
        learner: fitted to them when it is first needed.
    """

    table: Table
    labels: Float[np.ndarray, " n"]
    seed: int
    learner: Learner | None = None

    @classmethod
    def each(
        cls, name: str, table: Table, labels: Float[np.ndarray, " n"], sets: Int[np.ndarray, " n"] | None, seed: int
    ) -> dict[str, Source]:
        """The data sets in a table, which may have more blocks: ``name``, or ``name0``, ``name1`` of several."""
        sets = np.zeros(len(labels), dtype=np.int64) if sets is None else sets
        numbers = np.unique(sets)
        return {
            name if len(numbers) == 1 else f"{name}{number}": cls(
                {block: table[block][sets == number] for block in TRANSFERABLE}, labels[sets == number], seed
            )
            for number in numbers
        }

    def learnt(self, options: GpOptions, *, device: str) -> Learner:
        """The learner of what serves other families and heads, too."""
        if self.learner is None:
            options = replace(options, target="rank")  # across data sets, only ranks mean the same
            self.learner = Learner.fit(self.table, self.labels, options, seed=self.seed, device=device)
        return self.learner


def readings(source: Source, learner: Learner, target: Summary | None, table: Table) -> list[Float[np.ndarray, " n"]]:
    """What a source predicts for graphs, in its targets' unit: in the fitting way first, then in the other.

    Args:
        source: the data set.
        learner: of it.
        target: of the graphs that ``table`` is a part of; if ``None``, they are read as they are.
        table: the transferable blocks of the graphs.
    """
    plain = learner.predict(table)[0]
    if target is None:
        return [plain]
    own = Summary.of(source.table)
    moved = learner.predict(
        {name: table[name] + own.blocks[name][0] - target.blocks[name][0] for name in TRANSFERABLE}
    )[0]
    return [moved, plain] if own.same_bodies(target) else [plain, moved]


def state(sources: Mapping[str, Source], target: Summary | None) -> tuple[dict[str, np.ndarray[Any, Any]], list[Any]]:
    """Arrays, and settings of the sources' learners where they are fitted, that ``restored`` needs."""
    arrays = {f"target.{name}": values for name, values in (target.blocks if target else {}).items()}
    learners: list[Any] = []
    for number, source in enumerate(sources.values()):
        arrays |= {f"source{number}.{name}": values for name, values in source.table.items()}
        arrays[f"source{number}.labels"] = source.labels
        arrays[f"source{number}.seed"] = np.array([source.seed])
        found, settings = source.learner.state(f"source{number}.learner") if source.learner else ({}, None)
        arrays |= found
        learners.append(settings)
    return arrays, learners


def restored(
    names: Sequence[str], learners: Sequence[Any], arrays: Mapping[str, np.ndarray[Any, Any]], *, aligned: bool
) -> tuple[dict[str, Source], Summary | None]:
    """The sources and the target that gave this state."""
    sources = {
        name: Source(
            {block: arrays[f"source{i}.{block}"] for block in TRANSFERABLE},
            arrays[f"source{i}.labels"],
            int(arrays[f"source{i}.seed"][0]),
            Learner.restored(f"source{i}.learner", arrays, settings) if settings else None,
        )
        for i, (name, settings) in enumerate(zip(names, learners, strict=True))
    }
    target = Summary({block: arrays[f"target.{block}"] for block in TRANSFERABLE}) if aligned else None
    return sources, target

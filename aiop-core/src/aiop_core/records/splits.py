"""Splits of records into training and test sides: disjoint, complete, seeded.

Records are given by their *groups*, one hashable value a record; records of one group
never land on both sides. Give the graphs' fingerprints, and two specs that describe the
same network cannot leak from training into test. Give *strata* as well, one value a
record, and every side gets its share of each: a group belongs to the stratum of its
first record.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from aiop_core.errors import SplitError

Indices = Int[np.ndarray, " _"]


@dataclass(frozen=True)
class Split:
    """Two sides of a set of records, as ascending indices; together they are all of it."""

    train: Indices
    test: Indices


def holdout(
    groups: Sequence[Hashable], train: int | float, *, seed: int, strata: Sequence[Hashable] | None = None
) -> Split:
    """One split into a training and a test side, neither of them empty.

    Groups are drawn in a random order until ``train`` records are reached; the side is
    exactly as large as asked where every group is one record, otherwise the nearest
    that whole groups allow.

    Args:
        groups: one value for each record.
        train: how many records to train on: a whole number, or a fraction between 0 and 1.
        seed: of the random order.
        strata: one value for each record; both sides get their share of each.

    Raises:
        SplitError: if a side would be empty, or ``groups`` and ``strata`` differ in length.
    """
    total = len(groups)
    fraction = isinstance(train, float)
    wanted = round(train * total) if fraction else train
    if fraction and not 0 < train < 1:
        raise SplitError(f"train is {train}; as a fraction it must lie between 0 and 1, both excluded")
    if total < 2:
        raise SplitError(f"{total} records cannot be split into two sides; label at least 2 architectures")
    if not 1 <= wanted < total:
        raise SplitError(
            f"train is {train} of {total} records, which leaves a side empty; "
            f"allowed are 1 to {total - 1}: choose another number, or label more"
        )
    # in even turns, so that a cut anywhere leaves each stratum about its share on both sides
    turns = [
        ((turn + 0.5) / len(blocks), block)
        for blocks in _shuffled(groups, strata, seed)
        for turn, block in enumerate(blocks)
    ]
    blocks = [block for _, block in sorted(turns, key=lambda pair: pair[0])]
    if len(blocks) < 2:
        raise SplitError(f"all {total} records are one group, which cannot be on both sides; label other architectures")
    ends = np.cumsum([len(block) for block in blocks[:-1]])
    cut = int(np.argmin(np.abs(ends - wanted))) + 1
    return Split(_side(blocks[:cut]), _side(blocks[cut:]))


def k_fold(
    groups: Sequence[Hashable], folds: int, *, seed: int, strata: Sequence[Hashable] | None = None
) -> list[Split]:
    """``folds`` splits whose test sides are disjoint and complete.

    The sides differ by at most one group, in all and in each stratum.

    Raises:
        SplitError: if there are fewer than two folds, fewer groups than folds, or
            ``groups`` and ``strata`` differ in length.
    """
    blocks = [block for stratum in _shuffled(groups, strata, seed) for block in stratum]
    if not 2 <= folds <= len(blocks):
        raise SplitError(
            f"{folds} folds of {len(blocks)} different architectures; "
            f"allowed are 2 to {len(blocks)} folds, and at least 2 architectures: label more, or use fewer folds"
        )
    return [
        Split(_side([b for i, b in enumerate(blocks) if i % folds != fold]), _side(blocks[fold::folds]))
        for fold in range(folds)
    ]


def _shuffled(groups: Sequence[Hashable], strata: Sequence[Hashable] | None, seed: int) -> list[list[list[int]]]:
    """For each stratum its groups in a random order, each group as its records."""
    if strata is not None and len(strata) != len(groups):
        raise SplitError(f"{len(groups)} groups but {len(strata)} strata; give one of each for every record")
    members: dict[Hashable, list[int]] = {}
    for record, group in enumerate(groups):
        members.setdefault(group, []).append(record)
    blocks = list(members.values())
    by_stratum: dict[Hashable, list[list[int]]] = {}
    for i in np.random.default_rng(seed).permutation(len(blocks)):
        by_stratum.setdefault(strata[blocks[i][0]] if strata else None, []).append(blocks[i])
    return list(by_stratum.values())


def _side(blocks: Sequence[Sequence[int]]) -> np.ndarray[Any, Any]:
    return np.sort(np.concatenate([np.asarray(block, dtype=np.int64) for block in blocks]))

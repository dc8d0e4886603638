import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiop_core.errors import SplitError
from aiop_core.records.splits import Split, holdout, k_fold

seeds = st.integers(0, 2**32 - 1)
labelled_groups = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3)), min_size=4, max_size=80)


def check_complete_and_apart(split: Split, groups: list[int]) -> None:
    assert sorted([*split.train, *split.test]) == list(range(len(groups)))
    assert not {groups[i] for i in split.train} & {groups[i] for i in split.test}


@given(groups=st.lists(st.integers(0, 12), min_size=2, max_size=60), fraction=st.floats(0.05, 0.95), seed=seeds)
def test_holdout_sides_are_disjoint_complete_and_share_no_group(groups, fraction, seed):
    wanted = round(fraction * len(groups))
    if len(set(groups)) < 2 or not 1 <= wanted < len(groups):
        with pytest.raises(SplitError):
            holdout(groups, fraction, seed=seed)
        return
    split = holdout(groups, fraction, seed=seed)
    check_complete_and_apart(split, groups)
    assert len(split.train) > 0
    assert len(split.test) > 0
    assert abs(len(split.train) - wanted) <= max(groups.count(g) for g in groups)


@given(count=st.integers(2, 60), data=st.data(), seed=seeds)
def test_holdout_of_distinct_records_is_exactly_as_large_as_asked(count, data, seed):
    train = data.draw(st.integers(1, count - 1))
    split = holdout(range(count), train, seed=seed)
    assert (len(split.train), len(split.test)) == (train, count - train)


@given(strata=st.lists(st.integers(0, 4), min_size=4, max_size=80), fraction=st.floats(0.2, 0.8), seed=seeds)
def test_holdout_gives_both_sides_their_share_of_each_stratum(strata, fraction, seed):
    split = holdout(range(len(strata)), fraction, seed=seed, strata=strata)
    share = len(split.train) / len(strata)
    for stratum in set(strata):
        in_train = sum(strata[i] == stratum for i in split.train)
        assert abs(in_train - share * strata.count(stratum)) <= 1 + len(set(strata)) / 2


@given(pairs=labelled_groups, folds=st.integers(2, 6), seed=seeds)
def test_folds_are_disjoint_complete_and_balanced(pairs, folds, seed):
    groups = [group for group, _ in pairs]
    strata = [group % 3 for group in groups]
    if len(set(groups)) < folds:
        with pytest.raises(SplitError, match="folds"):
            k_fold(groups, folds, seed=seed)
        return
    splits = k_fold(groups, folds, seed=seed, strata=strata)
    for split in splits:
        check_complete_and_apart(split, groups)
    assert sorted(i for split in splits for i in split.test) == list(range(len(groups)))
    for stratum in {None, *strata}:
        counts = [len({groups[i] for i in s.test if stratum in (None, strata[i])}) for s in splits]
        assert max(counts) - min(counts) <= 1


@given(seed=seeds)
def test_the_same_seed_gives_the_same_split(seed):
    first, again = (holdout(range(40), 0.5, seed=seed) for _ in range(2))
    assert np.array_equal(first.train, again.train)
    folds, folds_again = (k_fold(range(40), 4, seed=seed) for _ in range(2))
    assert all(np.array_equal(a.test, b.test) for a, b in zip(folds, folds_again, strict=True))


def test_another_seed_gives_another_split():
    assert len({tuple(holdout(range(40), 0.5, seed=seed).train) for seed in range(10)}) == 10


@pytest.mark.parametrize("train", [0.0, 1.0, -0.2, 1.5])
def test_a_fraction_of_nothing_or_everything_is_refused(train):
    with pytest.raises(SplitError, match=rf"train is {train}; as a fraction it must lie between 0 and 1"):
        holdout(range(10), train, seed=0)


@pytest.mark.parametrize("train", [0, 10, 11, -1])
def test_a_side_without_records_is_refused(train):
    with pytest.raises(SplitError, match=rf"train is {train} of 10 records, .* allowed are 1 to 9"):
        holdout(range(10), train, seed=0)


def test_a_fraction_too_small_for_one_record_is_refused():
    with pytest.raises(SplitError, match=r"train is 0\.01 of 10 records"):
        holdout(range(10), 0.01, seed=0)


@pytest.mark.parametrize("train", [0, 1, 0.5])
def test_one_record_cannot_be_split(train):
    with pytest.raises(SplitError, match="1 records cannot be split into two sides; label at least 2"):
        holdout(range(1), train, seed=0)


def test_one_group_cannot_be_split():
    with pytest.raises(SplitError, match="all 5 records are one group"):
        holdout(["same"] * 5, 0.5, seed=0)


@pytest.mark.parametrize(("count", "folds"), [(3, 4), (10, 1), (1, 2), (0, 2)])
def test_too_few_records_for_the_folds_are_refused(count, folds):
    with pytest.raises(SplitError, match=f"{folds} folds of {count} different architectures; allowed are 2 to {count}"):
        k_fold(range(count), folds, seed=0)


@pytest.mark.parametrize(
    "split", [lambda s: holdout(range(4), 2, seed=0, strata=s), lambda s: k_fold(range(4), 2, seed=0, strata=s)]
)
def test_strata_of_another_length_are_refused(split):
    with pytest.raises(SplitError, match="4 groups but 3 strata"):
        split(["a", "b", "a"])

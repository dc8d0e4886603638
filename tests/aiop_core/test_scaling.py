"""Label scaling: the paper's equations, their inverses, and labels that cannot be scaled."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aiop_core.errors import LabelError, OptionError
from aiop_core.records.scaling import SCALINGS, LabelScaling, gflops

LABELS = np.array([0.2, 0.4, 0.9])
SIZES = np.array([0.5, 1.0, 9.0])


def test_standardise_is_equation_4_with_the_population_deviation() -> None:
    found = LabelScaling.fit("standardise", LABELS, SIZES)
    assert found == LabelScaling("standardise", LABELS.mean(), LABELS.std(ddof=0))
    np.testing.assert_allclose(found.transform(LABELS, SIZES), (LABELS - 0.5) / LABELS.std())


def test_standardise_flops_divides_by_the_size_term_first() -> None:
    found = LabelScaling.fit("standardise_flops", LABELS, SIZES)
    divided = LABELS / (np.log10(SIZES + 1) + 1)
    np.testing.assert_allclose(found.transform(LABELS, SIZES), (divided - divided.mean()) / divided.std())
    assert divided[2] == 0.45  # log10(9 + 1) + 1 = 2


def test_none_changes_nothing() -> None:
    found = LabelScaling.fit("none", LABELS, SIZES)
    assert found == LabelScaling("none", 0.0, 1.0)
    np.testing.assert_array_equal(found.transform(LABELS, SIZES), LABELS)


@given(
    st.sampled_from(SCALINGS),
    hnp.arrays(np.float64, st.integers(1, 8), elements=st.floats(-100, 100)),
)
def test_inverse_takes_back_what_transform_did(kind: str, labels: np.ndarray) -> None:
    sizes = np.linspace(0, 50, len(labels))
    scaling = LabelScaling.fit(kind, labels, sizes)
    np.testing.assert_allclose(scaling.inverse(scaling.transform(labels, sizes), sizes), labels, atol=1e-9)


@pytest.mark.parametrize("labels", [[0.1], [0.1] * 7, [0.0, 0.0]])
def test_constant_labels_have_deviation_1_and_targets_0(labels: list[float]) -> None:
    array = np.array(labels)
    found = LabelScaling.fit("standardise", array, np.ones(len(array)))
    assert found.deviation == 1
    np.testing.assert_allclose(found.transform(array, np.ones(len(array))), 0, atol=1e-12)


def test_is_json() -> None:
    found = LabelScaling.fit("standardise_flops", LABELS, SIZES)
    assert LabelScaling(**json.loads(json.dumps(dataclasses.asdict(found)))) == found


def test_gflops_are_two_for_each_mac() -> None:
    assert gflops(np.array([3_000_000_000])).tolist() == [6.0]


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(OptionError, match="label scaling 'half' does not exist; allowed are none, standardise"):
        LabelScaling.fit("half", LABELS, SIZES)


def test_no_labels_are_refused() -> None:
    with pytest.raises(LabelError, match="no labels to learn from; at least 1 is needed"):
        LabelScaling.fit("none", np.zeros(0), np.zeros(0))


def test_a_label_that_is_not_finite_is_refused() -> None:
    with pytest.raises(LabelError, match="label 1 of 3 is nan; labels must be finite"):
        LabelScaling.fit("standardise", np.array([0.1, np.nan, np.inf]), SIZES)


@pytest.mark.data
@pytest.mark.parametrize(
    ("kind", "key"), [("none", "norm_none"), ("standardise", "norm_stand"), ("standardise_flops", "norm_stand_flops")]
)
def test_numbers_are_those_of_the_research_code(kind: str, key: str, reference: Path) -> None:
    expected = np.load(reference / "predictor" / "numeric_ref.npz")
    labels, sizes = expected["norm_acc"], expected["norm_flops"]
    found = LabelScaling.fit(kind, labels, sizes)
    np.testing.assert_allclose(found.transform(labels, sizes), expected[f"{key}_transformed"])
    np.testing.assert_allclose(found.inverse(expected[f"{key}_inverse_in"], sizes), expected[f"{key}_inverse_out"])

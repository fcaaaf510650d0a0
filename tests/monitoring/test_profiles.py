"""The statistic behind the verdict: it sees what it must, and is quiet about noise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from monitoring.profiles import edges, profile, psi

floats = st.one_of(
    st.floats(width=32, allow_nan=True, allow_infinity=False), st.sampled_from([0.0, 0.0, 1.0])
)
columns = arrays(np.float32, st.integers(0, 200), elements=floats)


@given(reference=columns, current=columns)
def test_every_row_is_counted_once_whatever_the_column(
    reference: NDArray[np.float32], current: NDArray[np.float32]
) -> None:
    """Else: rows vanish from the comparison, as nulls do in Evidently."""
    bins = edges(reference)
    assert (np.diff(bins) > 0).all()
    for values in (reference, current):
        counts = profile(values, bins)
        assert len(counts) == len(bins) + 2
        assert counts.sum() == len(values)
        assert counts[-1] == np.isnan(values).sum()
    assert profile(reference, bins)[0] == 0 or not len(bins)  # nothing of the reference lies below it
    assert profile(reference, bins)[-2] == 0  # nor above it
    assert psi(profile(reference, bins), profile(reference, bins)) in (0.0, float("inf"))


def compare(reference: NDArray[np.float64], current: NDArray[np.float64]) -> float:
    bins = edges(reference)
    return psi(profile(reference, bins), profile(current, bins))


@pytest.fixture
def spend() -> NDArray[np.float64]:
    return np.random.default_rng(0).gamma(2, 100, 20_000)


def test_noise_is_a_tenth_of_a_limit(spend: NDArray[np.float64]) -> None:
    """Else: every run warns."""
    figures = [compare(spend, np.random.default_rng(seed).gamma(2, 100, 2000)) for seed in range(1, 31)]
    assert max(figures) < 0.02
    assert np.mean(figures) == pytest.approx(9 * (1 / 20_000 + 1 / 2000), rel=0.5)  # as the docstring says


def test_half_the_values_becoming_null_is_drift(spend: NDArray[np.float64]) -> None:
    """Else: a column that a source stopped filling goes unseen."""
    current = spend[:2000].copy()
    current[::2] = np.nan
    assert compare(spend, current) > 1


def test_a_unit_error_in_a_tenth_of_the_rows_is_drift(spend: NDArray[np.float64]) -> None:
    """Else: cents among dollars go unseen."""
    current = spend[:2000].copy()
    current[::10] /= 100
    assert compare(spend, current) > 0.1


def test_half_again_as_much_is_drift(spend: NDArray[np.float64]) -> None:
    assert compare(spend, spend[:2000] * 1.5) > 0.1


def test_one_outlier_is_not(spend: NDArray[np.float64]) -> None:
    """Else: one large order a night wakes somebody."""
    current = spend[:2000].copy()
    current[0] = 1e6
    assert compare(spend, current) < 0.05


def test_values_that_training_never_saw_count_even_for_a_constant() -> None:
    """Else: a flag that is 0 for everyone may turn 1, or -1, for everyone, unseen."""
    constant = np.zeros(1000)
    assert compare(constant, np.ones(1000)) > 1
    assert compare(constant, -np.ones(1000)) > 1
    assert compare(constant, constant) == 0
    assert compare(np.full(1000, np.nan), np.ones(1000)) > 1


def test_nothing_to_compare_is_not_agreement() -> None:
    """Else: an empty snapshot passes."""
    assert compare(np.zeros(10), np.empty(0)) == float("inf")

"""What no column shows by itself: rows of other customers are told, another week of the same shop is not."""

import numpy as np
import pytest
from numpy.typing import NDArray

from monitoring.joint import ENOUGH, FEWEST, separable, steady

Matrix = NDArray[np.float32]
COLUMNS = 8


def week(seed: int, rows: int = 4000) -> Matrix:
    """Customers of whom every column tells how much they buy: counts, amounts, and some nulls."""
    random = np.random.default_rng(seed)
    buys = random.gamma(2, 1, rows)
    matrix = np.column_stack([buys * random.gamma(5, 0.2, rows) for _ in range(COLUMNS)])
    matrix[:, ::2] = np.floor(matrix[:, ::2] * 2)
    matrix[random.random(rows) < 0.2, 3] = np.nan
    return np.asfortranarray(matrix.astype(np.float32))


def mixed(values: Matrix) -> Matrix:
    """Every other column is another customer's."""
    joined = values.copy()
    joined[:, ::2] = joined[np.random.default_rng(9).permutation(len(values)), ::2]
    return joined


def test_rows_joined_to_other_customers_are_told_apart_though_every_column_looks_as_it_did() -> None:
    """Else: a source that changed its ids makes every score nonsense, and all figures stay green."""
    after = week(2)
    np.testing.assert_array_equal(np.sort(mixed(after), axis=0), np.sort(after, axis=0))
    assert separable(week(1), mixed(after)) > 0.7


def test_a_quiet_week_is_not() -> None:
    """Else: somebody looks for a wrong join every Monday. The margin is the check's own, of so few rows."""
    told = [separable(week(2 * seed), week(2 * seed + 1)) for seed in range(5)]
    assert max(told) < 0.53, "never more than chance; a little less, says its docstring"
    assert max(told) - float(np.median(told)) < 4 / 4000**0.5


def test_what_a_single_column_shows_is_left_to_its_own_check() -> None:
    """Else: a season moves one column, and the advice is to look for a wrong join."""
    moved = week(2)
    moved[:, 1] = moved[:, 1] * 3 + 1
    moved[:, 4] += 100
    assert separable(week(1), moved) == pytest.approx(separable(week(1), week(2)), abs=0.02)


def test_constant_and_empty_columns_say_nothing() -> None:
    """Else: a flag that is 0 for everyone, in whatever order customers come, tells weeks apart."""
    before, after = week(1), week(2)
    after = after[np.argsort(after[:, 1])]  # an order of rows must not show in ties
    for values, constant in ((before, 0), (after, 7)):
        values[:, 0], values[:, 2] = constant, np.nan
    assert separable(before, after) < 0.53


def test_few_customers_or_no_column_are_not_judged() -> None:
    """Else: a shop of a hundred customers is told that chance is a fault."""
    few = week(1, FEWEST - 1)
    assert np.isnan(separable(few, week(2)))
    assert np.isnan(separable(week(2), few))
    assert np.isnan(separable(week(1)[:, :0], week(2)[:, :0]))
    assert np.isfinite(separable(week(1, FEWEST), week(2, FEWEST)))


def test_columns_whose_relation_changes_every_week_are_left_out_and_the_fault_is_still_seen() -> None:
    """Else: days since a campaign that all got tell every week apart, and a fault is one more of them."""
    before, after = week(1), week(2)
    random = np.random.default_rng(3)
    for values, sign in ((before, 1), (after, -1)):
        values[:, 6] = random.random(len(values))
        values[:, 7] = sign * values[:, 6] + random.normal(0, 0.1, len(values))
    assert separable(before, after) > 0.9
    kept = steady(before, after)
    assert not {6, 7} <= {*kept}
    assert len(kept) >= 5
    assert separable(before[:, kept], after[:, kept]) <= ENOUGH
    assert separable(before[:, kept], mixed(after)[:, kept]) > 0.7

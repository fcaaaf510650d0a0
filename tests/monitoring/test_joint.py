"""What no column shows by itself: rows of other customers are told, another week of the same shop is not."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from monitoring import keeping
from monitoring.joint import ENOUGH, FEWEST, separable, steady
from monitoring.weeks import _Kept

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
    assert separable(week(1), mixed(after)).auc > 0.7


def lull(seed: int, active: float, rows: int = 4000) -> Matrix:
    """The same, of customers of whom some did nothing in a short window, and some in a long one."""
    random = np.random.default_rng(seed)
    matrix = week(seed, rows)
    short = random.random(rows) < active
    long = short | (random.random(rows) < active)
    matrix[~short, :3] = 0
    matrix[~long, 3:] = 0
    return matrix


def test_a_lull_is_no_wrong_join_and_hides_none() -> None:
    """Else: a quiet holiday week pages that ids are wrong, as many columns of many customers are empty."""
    usual = separable(lull(1, 0.6), lull(2, 0.6)).auc
    for active in (0.45, 0.3, 0.2):
        assert separable(lull(1, 0.6), lull(2, active)).auc - usual < 4 / 2000**0.5
    assert separable(lull(1, 0.6), mixed(lull(2, 0.3))).auc > 0.7


def test_the_columns_that_told_weeks_apart_are_named() -> None:
    """Else: a page says that something does not belong together, and not what."""
    after = week(2)
    after[:, 5] = after[np.random.default_rng(9).permutation(len(after)), 5]
    assert int(np.argmax(separable(week(1), after).gain)) == 5


def test_a_quiet_week_is_not() -> None:
    """Else: somebody looks for a wrong join every Monday. The margin is the check's own, of so few rows."""
    told = [separable(week(2 * seed), week(2 * seed + 1)).auc for seed in range(5)]
    assert max(told) < 0.53, "never more than chance; a little less, says its docstring"
    assert max(told) - float(np.median(told)) < 4 / 4000**0.5


def test_what_a_single_column_shows_is_left_to_its_own_check() -> None:
    """Else: a season moves one column, and the advice is to look for a wrong join."""
    moved = week(2)
    moved[:, 1] = moved[:, 1] * 3 + 1
    moved[:, 4] += 100
    assert separable(week(1), moved).auc == pytest.approx(separable(week(1), week(2)).auc, abs=0.02)


def test_constant_and_empty_columns_say_nothing() -> None:
    """Else: a flag that is 0 for everyone, in whatever order customers come, tells weeks apart."""
    before, after = week(1), week(2)
    after = after[np.argsort(after[:, 1])]  # an order of rows must not show in ties
    for values, constant in ((before, 0), (after, 7)):
        values[:, 0], values[:, 2] = constant, np.nan
    assert separable(before, after).auc < 0.53


def test_few_customers_or_no_column_are_not_judged() -> None:
    """Else: a shop of a hundred customers is told that chance is a fault."""
    few = week(1, FEWEST - 1)
    assert np.isnan(separable(few, week(2)).auc)
    assert np.isnan(separable(week(2), few).auc)
    assert np.isnan(separable(week(1)[:, :0], week(2)[:, :0]).auc)
    assert np.isfinite(separable(week(1, FEWEST), week(2, FEWEST)).auc)


def test_columns_whose_relation_changes_every_week_are_left_out_and_the_fault_is_still_seen() -> None:
    """Else: days since a campaign that all got tell every week apart, and a fault is one more of them."""
    before, after = week(1), week(2)
    random = np.random.default_rng(3)
    for values, sign in ((before, 1), (after, -1)):
        values[:, 6] = random.random(len(values))
        values[:, 7] = sign * values[:, 6] + random.normal(0, 0.1, len(values))
    assert separable(before, after).auc > 0.9
    kept = steady(before, after)
    assert not {6, 7} <= {*kept}
    assert len(kept) >= 5
    assert separable(before[:, kept], after[:, kept]).auc <= ENOUGH
    assert separable(before[:, kept], mixed(after)[:, kept]).auc > 0.7


def test_a_week_that_was_not_judged_is_kept_as_such(tmp_path: Path) -> None:
    """Else the night after it cannot read what it has kept, and judges nothing at all."""
    few = separable(week(1, 20), week(2, 20))
    keeping.write(tmp_path / "separable.json", _Kept((3, 5), {20_000: few.auc, 20_007: 0.5}))
    found = keeping.read(tmp_path / "separable.json", _Kept)
    assert found is not None
    assert np.isnan(found.auc[20_000])
    assert (found.columns, found.auc[20_007]) == ((3, 5), 0.5)
    assert keeping.read(tmp_path / "nothing.json", _Kept) is None
    (tmp_path / "separable.json").write_text('{"columns": [1', "utf-8")
    assert keeping.read(tmp_path / "separable.json", _Kept) is None, "half a file is begun anew"

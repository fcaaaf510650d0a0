"""The baseline: silent on noise, weekdays and seasons, quick on a jump, and never wise after the event."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from monitoring.baseline import AFTER, BEFORE, FROZEN, YOUNGEST, judge
from monitoring.occasions import CLOSED, Occasion, Occasions, closed

DAYS = 800
Series = NDArray[np.float64]


def steady(seed: int, figures: int = 3, days: int = DAYS) -> Series:
    """Noise around a level with weekdays and a year's season."""
    random = np.random.default_rng(seed)
    day = np.arange(days)
    weekday = random.normal(0, 0.2, 7)[day % 7]
    season = 0.5 * np.sin(2 * np.pi * day / 365)
    return np.asarray(random.normal(0, 0.05, (days, figures)) + (weekday + season)[:, None])


def excess(values: Series, occasions: Occasions | None = None, least: float = 0.05) -> Series:
    figures = values.shape[1]
    judged = judge(values, 0, np.full(figures, least), occasions or {}, np.zeros(figures, np.int64))
    return judged.excess


@pytest.mark.parametrize("seed", range(4))
def test_a_steady_shop_is_quiet(seed: int) -> None:
    """Else: whoever gets an alert for every season and weekend reads none."""
    assert np.nanmax(np.abs(excess(steady(seed)))) < 1


def test_a_jump_is_seen_within_two_days_and_stands_out_until_it_is_normal() -> None:
    """Else: a unit that changed is noticed weeks later; or an alert is over though nothing is mended."""
    values = steady(1)
    values[500:, 1] += 0.6
    seen = excess(values)
    out = np.abs(np.nan_to_num(seen[:, 1])) >= 1
    assert 500 <= np.flatnonzero(out)[0] <= 501
    assert out[501 : 500 + FROZEN].all()
    assert not out[500 + FROZEN + 5 :].any()
    assert not (np.abs(np.nan_to_num(seen[:, [0, 2]])) >= 1).any()


def test_one_day_without_anything_is_enough() -> None:
    """Else: a missing partition is not seen, as it is only one day."""
    values = steady(2)
    values[600, 0] -= 3
    out = np.abs(np.nan_to_num(excess(values)[:, 0])) >= 1
    assert np.flatnonzero(out).tolist()[0] == 600
    assert not out[602:].any()


def sale(first: int, size: float, values: Series) -> Series:
    moved = values.copy()
    moved[first : first + 3] += size
    return moved


def test_an_occasion_that_did_the_same_last_year_is_no_news() -> None:
    """Else: every November pages."""
    values = sale(300, 1.0, sale(665, 1.1, steady(3)))
    named = {"11.11": (Occasion(300, 302), Occasion(665, 667))}
    assert np.nanmax(np.abs(excess(values, named))) < 1
    unnamed = np.flatnonzero((np.abs(np.nan_to_num(excess(values))) >= 1).any(axis=1))
    assert {300, 665} <= {*unnamed.tolist()}


def test_the_first_of_its_kind_has_wider_limits_and_a_fault_after_it_is_seen() -> None:
    """Else: the first sale of a young shop is a fault; or a fault after a sale is taken for the sale."""
    values = sale(300, 1.0, steady(4))
    named = {"618": (Occasion(300, 302),)}
    assert np.nanmax(np.abs(excess(values))) >= 1, "without a name it is one"
    seen = excess(values, named)
    assert np.isfinite(seen[300 : 303 + AFTER]).all()
    assert np.nanmax(np.abs(seen)) < 1
    values[306:, 0] += 4
    assert np.nanmax(np.abs(excess(values, named)[306:310, 0])) >= 1


@pytest.mark.parametrize("day", range(300 - BEFORE, 303 + AFTER))
def test_what_is_truly_broken_is_seen_on_the_first_of_its_kind(day: int) -> None:
    """Else: a till that is down, or amounts in cents, from two days before to two after each new occasion."""
    values = sale(300, 0.5, steady(4))
    values[day, 0] -= 5.7  # 300 orders become none
    values[day, 1] += np.log(100)
    named = {"618": (Occasion(300, 302),)}
    assert (np.abs(excess(values, named)[day]) >= 1).tolist() == [True, True, False]


def test_a_holiday_is_an_excuse_for_its_own_days() -> None:
    """Else: with ten public holidays a year, two months of a young shop's days are hardly judged."""
    values = steady(4)
    named = {"new year": (Occasion(300, 300, "holiday"),)}
    for day, seen in ((298, True), (299, False), (300, False), (301, False), (302, True)):
        moved = values.copy()
        moved[day] -= 0.9
        judged = judge(moved, 0, np.full(3, 0.05), named, np.zeros(3, np.int64), later=())
        assert judged.out[day].all() == seen, day


def test_a_day_on_which_the_shop_is_closed_is_no_fault_and_no_pattern() -> None:
    """Else: each Christmas pages; or the week after it is too good, or nothing less than none is a fault."""
    values = steady(4)
    values[300] -= 5.7
    named = {"closed": (Occasion(300, 300, CLOSED),)}
    figures = values.shape[1]

    def of(values: Series) -> Series:
        least, since = np.full(figures, 0.05), np.zeros(figures, np.int64)
        return judge(values, 0, least, named, since, later=(), closed=closed(named)).excess

    assert np.nanmax(np.abs(of(values))) < 1
    values[306:, 0] -= 0.5
    assert np.nanmax(np.abs(of(values)[306:310, 0])) >= 1, "half is lost, a week later"


def test_a_young_shop_is_not_judged() -> None:
    """Else: two weeks of data decide what is usual, and the third is an alarm."""
    seen = excess(steady(5, days=YOUNGEST + 8))
    assert np.isnan(seen).all()


def test_days_without_figures_are_neither_good_nor_bad() -> None:
    """Else: a day on which nothing was counted is an alarm, or ends one."""
    values = steady(6)
    values[400:404] = np.nan
    seen = excess(values)
    assert np.isnan(seen[400:404]).all()
    assert np.nanmax(np.abs(seen)) < 1


def test_one_fault_a_year_does_not_make_blind_for_the_next() -> None:
    """Else: after one broken import nothing less is seen for a year."""
    values = steady(7)
    values[300:303, 0] += 5
    values[600:, 0] += 1
    assert np.nanmax(np.abs(excess(values)[600:602, 0])) >= 1


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.integers(150, 300))
def test_no_day_is_judged_by_what_came_after_it(seed: int, until: int) -> None:
    """Else: a replay over the past says what nobody could have known, and its silence means nothing."""
    random = np.random.default_rng(seed)
    values = steady(seed, figures=2, days=330)
    values[int(random.integers(80, 320)) :, 0] += 1
    named = {"sale": (Occasion(60, 62), Occasion(200, 203)), "late": (Occasion(310, 312),)}
    whole = excess(values, named)
    assert np.array_equal(excess(values[:until], named), whole[:until], equal_nan=True)

"""Whose week is it: a sale of the calendar is no wrong join, and hides none."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from monitoring.occasions import Occasion, Occasions
from monitoring.weeks import Separable, Weeks, undisturbed

Matrix = NDArray[np.float32]
Change = Callable[[int, Matrix], None]
BEFORE, NOW = Occasion(100, 102), Occasion(465, 467)
TWICE: Occasions = {"sale": (BEFORE, NOW)}


def mixed(values: Matrix, columns: Sequence[int], seed: int) -> None:
    """Those columns become other customers'."""
    order = np.random.default_rng(seed).permutation(len(values))
    values[:, columns] = values[order][:, columns]


def selling(day: int, values: Matrix) -> None:
    """What everybody gets in a sale has nothing to do with what they buy otherwise; for a week."""
    if any(sale.first <= day <= sale.last + 7 for sale in (BEFORE, NOW)):
        mixed(values, [0, 1], day)


def shop(*changes: Change) -> Weeks:
    """Customers of whom every column tells how much they buy."""

    def rows(days: Sequence[int]) -> dict[int, Matrix]:
        found = {}
        for day in days:
            random = np.random.default_rng(day)
            buys = random.gamma(2, 1, 3000)
            values = np.column_stack([buys * random.gamma(5, 0.2, 3000) for _ in range(8)]).astype(np.float32)
            for change in changes:
                change(day, values)
            found[day] = values
        return found

    return Weeks(20, rows)


def judged(weeks: Weeks, day: int, occasions: Occasions) -> Separable:
    found = weeks.compared(day, occasions, [*"abcdefgh"])
    assert found is not None
    return found


@pytest.mark.parametrize("day", [466, 467, 469])
def test_a_sale_that_did_the_same_before_is_no_wrong_join(day: int) -> None:
    """Else: every yearly sale ends in a page that asks for ids."""
    weeks = shop(selling)
    assert judged(weeks, day, {}).excess >= 2, "it is one to whoever does not know the calendar"
    found = judged(weeks, day, TWICE)
    assert found.excess < 1
    assert found.near == ("sale",)


def test_a_wrong_join_amid_a_sale_is_seen() -> None:
    """Else: whatever goes wrong in the weeks around a sale waits until they are over."""

    def wrong(day: int, values: Matrix) -> None:
        if day >= 467:
            mixed(values, [5, 6], day)

    found = judged(shop(selling, wrong), 467, TWICE)
    assert found.excess >= 1
    assert {*found.by} & {"f", "g"}


def test_what_the_first_of_its_kind_did_is_no_news_as_it_ends() -> None:
    """Else: the weeks after a new sale page, one window after the other."""
    once: Occasions = {"sale": (NOW,)}
    found = judged(shop(selling), 475, once)
    assert found.excess < 1
    assert found.near == ("sale",)


def test_a_sale_does_not_make_blind_for_the_weeks_after() -> None:
    """Else: two months after each sale a wrong join is as usual, since the sale's week was as far apart."""

    def wrong(day: int, values: Matrix) -> None:
        if day >= 488:
            mixed(values, [5, 6], day)

    for occasions in (TWICE, {"sale": (NOW,)}):
        assert judged(shop(selling, wrong), 488, occasions).excess >= 1
    assert judged(shop(selling), 488, TWICE).excess < 1


def test_of_a_shop_with_a_sale_every_month_the_calmest_weeks_are_usual() -> None:
    """Else: with a full calendar nothing can be compared, or anything is usual."""
    busy: Occasions = {f"sale {month}": (Occasion(30 * month, 30 * month + 2),) for month in range(5)}
    told = dict(zip(range(100, 156, 7), (0.5, 0.51, 0.8, 0.5, 0.7, 0.49, 0.52, 0.75), strict=True))
    assert undisturbed(told, busy) == (0.49, 0.5, 0.5, 0.51)
    assert undisturbed(told, {}) == tuple(told.values())


def test_worse_than_chance_is_usual_for_nobody() -> None:
    """Else: a week that cannot be told at all stands out, as others could be told still less."""
    assert Separable(0.5, (0.42, 0.42, 0.43), 4000).excess < 1
    assert Separable(0.56, (0.42, 0.42, 0.43), 4000).excess >= 1

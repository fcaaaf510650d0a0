"""Panels: a figure moves by what its customers moved by, and what stands out is told in words."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest
from logs import TODAY
from told_world import World

from features.definitions import catalogue
from features.settings import Settings
from monitoring import drift, evidence, occasions, panels, shop_measures
from monitoring.checks import CHECKS
from monitoring.evidence import ShopEvidence
from monitoring.histograms import Edges
from monitoring.occasions import CLOSED, Occasion
from monitoring.panels import positions
from monitoring.profiles import Profiles
from monitoring.received import Figure, Received


def test_a_shift_of_the_mean_is_told_in_standard_deviations_and_one_huge_value_is_not() -> None:
    """Else: a quarter of a deviation is not seen, or one typing error is."""
    random = np.random.default_rng(0)
    reference = random.normal(10, 2, (40_000, 1)).astype(np.float32)
    edges = Edges.of(reference)
    seen = edges.count(reference)

    def level(values: np.ndarray) -> tuple[float, float]:
        counts = edges.count(np.asarray(values, np.float32)).counts[None]
        moved, spread = positions(seen, counts)
        return float(moved[0, 0]), float(spread[0, 0])

    assert abs(level(reference)[0]) < 1e-9
    assert 0.2 < level(reference + 0.5)[0] < 0.3
    broken = reference.copy()
    broken[0] = 1e9
    assert abs(level(broken)[0]) < 0.001
    moved, spread = level(10 + (reference - 10) * 2)
    assert abs(moved) < 0.02
    assert spread > 0.3


def test_an_action_that_is_decided_no_more_stands_out() -> None:
    """Else: a budget that was spent, or a pause that was forgotten, is noticed when sales are gone."""
    random = np.random.default_rng(1)
    rates = []
    for day in range(200):
        mail = random.binomial(1000, 0.3)
        rates += [(day, "mail", mail), (day, "nothing", 1000 - mail)]
    quiet = panels.of_decisions(rates, 0, 199, {})
    assert quiet.out() == []
    ended = [row if row[0] < 198 else (row[0], row[1], 0 if row[1] == "mail" else 1000) for row in rates]
    found = panels.of_decisions(ended, 0, 199, {}).out()
    assert {shift.subject.name for shift in found} == {"mail", "nothing"}
    told = next(shift for shift in found if shift.subject.name == "mail")
    assert told.words.en.startswith("decisions for mail: 0.0%, ")
    assert "决策为mail的占比" in told.words.zh


@pytest.mark.parametrize("kind", ["sale", "holiday", CLOSED])
def test_a_sale_is_no_reason_that_nothing_came_at_all_and_a_holiday_may_be(kind: str) -> None:
    """Else: somebody names a flash sale, and the day on which no order reached the log is `as usual`; or a
    shop that keeps Easter is woken on it."""
    random = np.random.default_rng(5)
    orders = random.poisson(46 * np.exp(random.normal(0, 0.25, (300, 1))))
    named = {"flash": (Occasion(299, 299, kind),)}

    def seen(last: int) -> list[panels.Shift]:
        rows = orders.copy()
        rows[-1] = last
        fresh, figures = np.ones(rows.shape, bool), (Figure("orders", "rows"),)
        return panels.of_received(Received(0, figures, np.log1p(rows), rows, fresh), named).out()

    assert [one.now for one in seen(0)] == ([0] if kind == "sale" else [])
    assert not seen(150), "how much a first sale brings, or takes, nobody knows"
    assert not seen(16)


def profiles(values: "list[np.ndarray]", columns: tuple[str, ...] = ("one",)) -> Profiles:
    """A day a matrix; of one column, or those that are named."""
    edges = Edges.of(np.concatenate(values[:100]).astype(np.float32))
    seen = [edges.count(one.astype(np.float32)) for one in values]
    return Profiles(
        columns=columns,
        edges=edges,
        reference=edges.count(np.concatenate(values[:100]).astype(np.float32)),
        days=np.arange(len(values)),
        **{
            name: np.stack([getattr(one, name) for one in seen])
            for name in ("counts", "nulls", "news", "zeros", "sums")
        },
        rows=np.array([one.rows for one in seen]),
    )


def test_a_season_that_training_saw_is_no_drift_and_another_shop_is() -> None:
    """Else: every December recommends a retraining; or a model speaks of customers it never saw."""
    random = np.random.default_rng(2)
    season = [random.normal(np.sin(2 * np.pi * day / 365), 1, (400, 1)) for day in range(400)]
    full = np.zeros(1, np.int64)
    same = drift.measure(profiles(season), (0, 364), full, 399)
    assert not same.drifted.any()
    moved = [*season[:393], *(day + 4 for day in season[393:])]
    assert drift.measure(profiles(moved), (0, 364), full, 399).drifted.all()
    young = drift.measure(profiles(season), (0, 364), np.array([380]), 399)
    assert np.isnan(young.psi).all()


def test_days_that_touch_are_one_occasion_and_what_comes_weekly_is_none() -> None:
    """Else: a week of holidays is seven events; or every Thursday's show is an exception."""
    days = [occasions.Occasion(day, day) for day in (10, 11, 12, 40)]
    assert occasions.joined(days) == (occasions.Occasion(10, 12), occasions.Occasion(40, 40))
    assert occasions.usual(tuple(occasions.Occasion(7 * n, 7 * n) for n in range(10)))
    assert not occasions.usual(tuple(occasions.Occasion(365 * n, 365 * n) for n in range(10)))


def test_a_day_around_the_first_of_its_kind_says_that_its_limits_are_wider() -> None:
    """Else: "as usual" is read as if small faults had been looked for."""
    rates = [(day, action, 50) for day in range(120) for action in ("mail", "nothing")]
    named = {"618": (occasions.Occasion(118, 118),)}
    panel = panels.of_decisions(rates, 0, 119, named)
    shop = ShopEvidence(moment=TODAY, received=panel, indicators=panel, absent={}, decisions=panel)
    said = shop_measures.decided(shop).words
    assert (panel.wide(), panel.wide(110)) == (("618",), ())
    assert said.en == "as usual, by limits 4 times as wide: nothing is known yet of 618"
    assert said.zh == "正常，上限放宽至4倍：618尚无往年数据"
    assert shop_measures.decided(replace(shop, decisions=panel.until(110))).words.en == "as usual"


@pytest.mark.parametrize(
    ("known", "before", "now", "told"),
    [(5, 0, 1, False), (400, 0, 40, True), (400, 100, 0, False), (5, 1, 0, False), (400, 0, 4, False)],
)
def test_of_few_customers_one_is_no_news_nor_is_less_of_it(
    home: Settings, tmp_path: Path, known: int, before: int, now: int, told: bool
) -> None:
    """Else: one customer of five, or that values are as training knows them again, sends somebody to look."""
    random = np.random.default_rng(7)
    days = [np.full((400, 1), np.nan) for _ in range(400)]
    for place, day in enumerate(days):
        day[:known, 0] = random.integers(0, 9, known)
        grown = round(before * min(max(place - 100, 0) / 100, 1))  # slowly, which is no news
        day[:known, 0][: now if place >= 397 else grown] = 90
    seen = profiles(days, ("orders_30d",))
    card = World(home, tmp_path, customers=10).release(published=False)
    feature = msgspec.structs.replace(card.features[0], name="orders_30d")
    card = msgspec.structs.replace(card, features=(feature,), importance={"orders_30d": 1.0})
    panel = panels.of_release(seen, card, catalogue(), {}, 0, lambda _: frozenset({"orders"}))
    compared = evidence.drift_of(seen, card, catalogue(), 0, 399)
    of = evidence.Evidence(
        card=card, moment=TODAY, age=timedelta(0), stale_after=timedelta(1), expire_after=timedelta(9),
        panel=panel, drift=compared, separable=None, faulty={},
    )  # fmt: skip
    check = next(one for one in CHECKS if one.name == "new_values")
    assert (check.status(check.measure(of).value) != "ok") == told


@pytest.mark.parametrize("lost", [False, True])
def test_what_the_calendar_names_is_no_fault_and_what_customers_do_is(
    home: Settings, tmp_path: Path, lost: bool
) -> None:
    """Else: a holiday that is in the calendar is told as "a unit, a code or a sign changed at the source"."""
    random, declared = np.random.default_rng(4), catalogue()
    names = ("holidays_ahead_7d", "orders_30d")
    days = [np.column_stack([np.zeros(400), random.poisson(3, 400)]) for _ in range(200)]
    for day in days[-3:]:
        day += 40
        day[:, 0] = np.nan if lost else 1  # the calendar itself may be lost: that is a fault
    seen = profiles(days, names)
    card = World(home, tmp_path, customers=10).release(published=False)
    of = [msgspec.structs.replace(card.features[0], name=name) for name in names]
    start = TODAY.replace(year=1970, month=1, day=1)
    window = msgspec.structs.replace(card.trained_on, start=start, end=start + timedelta(days=150))
    card = msgspec.structs.replace(
        card, features=tuple(of), importance=dict.fromkeys(names, 0.5), trained_on=window
    )

    def tables(name: str) -> frozenset[str]:
        return evidence.tables_of(name, declared)

    found = panels.of_release(seen, card, declared, {}, 0, tables).out()
    told = {(shift.subject.name, shift.subject.kind) for shift in found}
    assert {("orders_30d", "level"), ("orders_30d", "new")} <= told
    of_calendar = {kind for name, kind in told if name == names[0]}
    assert of_calendar == ({"empty"} if lost else set())
    apart = evidence.drift_of(seen, card, declared, 0, 199)
    assert [*apart.drifted] == [False, True]
    assert np.isnan(apart.psi[0])

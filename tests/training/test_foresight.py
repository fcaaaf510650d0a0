"""What features tell, at which distance. If these fail, a list that was made afterwards becomes the best
feature of all, or an honest shop cannot train."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from features.moments import DAY, DAY_US, parse_moment, to_us
from training import foresight
from training.samples import Dataset, Part, Timeline
from training.targets import catalogue as targets

CHURN = targets()["churn_28d"]
STARTS, ENDS = parse_moment("2016-01-01"), parse_moment("2017-12-31")
Days = NDArray[np.int64]  # of orders, since STARTS
Column = Callable[[int], NDArray[np.float64]]  # the day of a moment -> a value a customer


def with_column(data: Dataset, values: NDArray[np.float64]) -> Dataset:
    """The data with one column, another than it had."""
    data = data.of([0])
    matrix = data._rows.matrix.copy()
    matrix[:, 0] = values
    return replace(data, _rows=replace(data._rows, matrix=matrix))


def with_list(data: Dataset, first: datetime, end: datetime) -> Dataset:
    """The data with a list of who ordered between two moments, the same at every moment, as first column."""
    orders = data.events["orders"]
    at = orders["at"].cast(pa.int64()).to_numpy()
    came = orders["customer_id"].filter(pa.array((at > to_us(first)) & (at <= to_us(end)))).unique()
    listed = np.isin(np.array(data.ids), came.to_numpy(zero_copy_only=False))
    return with_column(data, listed[data._rows.customer])


def blamed(data: Dataset, name: str = CHURN.name) -> dict[str, datetime | None]:
    """The features that look ahead of a target, and what they foresee months before: None of a peek."""
    found = foresight.looked(targets()[name], data)
    return {one.feature: one.start for one in found if one.share > 1}


def test_no_feature_of_the_real_log_is_blamed(churn_data: Dataset) -> None:
    """Else: a false alarm keeps a shop from training at all. Half of the bound would do here."""
    assert [one for one in foresight.looked(CHURN, churn_data) if one.share > 0.5] == []
    assert blamed(churn_data, "churn_90d") == {}


@pytest.mark.parametrize(("days", "noise"), [(28, 0.0), (28, 0.5), (14, 0.0), (90, 0.0)])
def test_a_file_dated_back_is_found_whatever_the_target_asks(
    churn_data: Dataset, days: int, noise: float
) -> None:
    """Else: a file that is refused for churn passes for a week's orders, since what was made of four weeks
    tells of the first no more than of the second; and the card says that nothing looks ahead."""
    orders = churn_data.events["orders"]
    at = orders["at"].cast(pa.int64()).to_numpy()
    place = {id: number for number, id in enumerate(churn_data.ids)}
    who = np.array([place.get(id, -1) for id in orders["customer_id"].to_pylist()])
    column, random = np.empty(len(churn_data._rows)), np.random.default_rng(1)
    made = 0
    for moment in np.unique(churn_data._at):
        if moment >= made + 28 * DAY_US:  # written every four weeks, and dated to before what it was made of
            made = moment
            came = np.zeros(len(place))
            came[who[(who >= 0) & (at > made) & (at <= made + days * DAY_US)]] = 1
            came += noise * random.normal(size=len(came))
        rows = churn_data._at == moment
        column[rows] = came[churn_data._rows.customer[rows]]
    data = with_column(churn_data, column)
    for name in ("churn_28d", "repurchase_7d", "repurchase_14d", "churn_90d", "overdue_28d"):
        assert list(blamed(data, name)) == [data.features[0]], name


def test_a_feature_that_is_the_label_shows_in_its_power(churn_data: Dataset) -> None:
    """Else: an imported score that was made afterwards is praised."""
    label = churn_data._rows.label
    data = with_column(churn_data, label + np.random.default_rng(1).normal(size=len(label)))
    assert blamed(data) == {data.features[0]: None}


def test_a_file_of_everybodys_last_order_is_found(churn_data: Dataset) -> None:
    """Else: churn's AUC rises from .87 to .98 by a file that was written today, and nobody is told."""
    orders = churn_data.events["orders"].group_by("customer_id").aggregate([("at", "max")])
    last = dict(zip(*(orders[name].to_pylist() for name in ("customer_id", "at_max")), strict=True))
    of_all = np.array([to_us(last[id]) for id in churn_data.ids], np.float64)
    data = with_column(churn_data, of_all[churn_data._rows.customer] - of_all.min())
    (one,) = (one for one in foresight.looked(CHURN, data) if one.share > 1)
    assert (one.feature, one.start) == (data.features[0], parse_moment("2017-12-03"))
    assert one.gap > 2 * foresight.AHEAD


def listed(data: Dataset, share: float, seed: int, others: bool) -> Dataset:
    """Of one column: the last order of that share of the customers, dated back; of the others nothing, or the
    last order of anybody."""
    rng = np.random.default_rng(seed)
    orders = data.events["orders"].group_by("customer_id").aggregate([("at", "max")])
    last = dict(zip(*(orders[name].to_pylist() for name in ("customer_id", "at_max")), strict=True))
    told = np.array([to_us(last[id]) for id in data.ids], np.float64)
    told -= told.min()
    out = rng.random(len(told)) >= share
    told[out] = rng.permutation(told)[out] if others else np.nan
    return with_column(data, told[data._rows.customer])


@pytest.mark.parametrize(
    ("share", "others", "draws", "found"), [(0.3, False, 10, 10), (1 / 7, False, 10, 3), (0.7, True, 5, 5)]
)
def test_a_list_of_some_customers_is_found(
    churn_data: Dataset, share: float, others: bool, draws: int, found: int
) -> None:
    """Else: late rows that claim early dates pass, because the many customers without any hide them; and what
    is said of the limit is not so."""
    some = [listed(churn_data, share, seed, others) for seed in range(draws)]
    assert sum(bool(blamed(one)) for one in some) >= found


def test_a_list_of_who_came_is_found_wherever_it_was_made(churn_data: Dataset) -> None:
    """Else: only a list that was made at the log's very end is found out."""
    for first, around in (("2017-12-03", "2017-12-03"), ("2017-07-20", "2017-07-16")):
        moment = parse_moment(first)
        found = blamed(with_list(churn_data, moment, moment + 28 * DAY))
        assert found == {churn_data.features[0]: parse_moment(around)}


def since_last(orders: list[Days], day: int, none: int = -1) -> NDArray[np.float64]:
    """Of each customer, the days since the last order; of one without any, since the day `none`."""
    return np.array([day - max(days[days < day], default=none) for days in orders], np.float64)


def shop(orders: list[Days], columns: dict[str, Column], within: int | None = None) -> Dataset:
    """A shop of those orders, weekly from its second year on; its population are all customers, or those who
    bought within so many days."""
    moments = tuple(STARTS + 7 * n * DAY for n in range(53, 101))
    ids = tuple(f"c{n}" for n in range(len(orders)))
    at = np.concatenate(orders) * (DAY.total_seconds() * 1e6) + to_us(STARTS) + 1
    times = pa.array(at.astype(np.int64), pa.timestamp("us", "UTC"))
    named = np.repeat(ids, [len(days) for days in orders])
    table = pa.table(
        {
            "customer_id": pa.chunked_array([pa.array(named, pa.string())]), "at": times, "known_at": times,
            "ref": pa.nulls(len(named), pa.string()),
        }
    )  # fmt: skip
    of_moment = [np.column_stack([of((m - STARTS).days) for of in columns.values()]) for m in moments]
    matrix = np.concatenate(of_moment).astype(np.float32)
    who = np.tile(np.arange(len(ids)), len(moments))
    rows = Part(matrix, np.zeros(len(who)), who, np.zeros(len(who), np.bool_))
    when = Timeline(moments[:-4], moments[-1:], 28 * DAY, ENDS)
    us = np.repeat([to_us(m) for m in moments], len(ids))
    if within is not None:
        some = np.concatenate([since_last(orders, (m - STARTS).days) <= within for m in moments])
        rows, us = rows.rows(some), us[some]
    return Dataset(tuple(columns), when, ids, rows, us, {}, None, {"orders": table})


def test_the_one_honest_feature_of_a_plain_shop_is_not_blamed() -> None:
    """Else: where nothing but the time since the last order tells who comes again, no model is possible."""
    rng = np.random.default_rng(1)
    orders = []
    for lost in rng.exponential(500, 3000):  # all come alike, every ten days or so, until they are lost
        days = np.cumsum(rng.exponential(10, 80)).astype(np.int64)
        orders.append(days[days < min(730, lost + 14)])

    def recency(day: int) -> NDArray[np.float64]:
        return since_last(orders, day)

    data = shop(orders, {"days_since_order": recency, "noise": lambda day: rng.normal(size=len(orders))})
    last = data.at(data.timeline.test).matrix[:, 0]
    came = np.array([bool((days >= 700).any()) for days in orders])
    assert np.median(last[came]) < 15 < 100 < np.median(last[~came])  # it tells nearly all there is
    assert blamed(data) == {}


def frequent(life: float) -> list[Days]:
    """The orders of customers who buy every ten days or so, some far more often than others, until they are
    lost, at the same hazard on every day."""
    rng = np.random.default_rng(1)
    first = np.where(np.arange(1500) < 700, 0, rng.integers(0, 730, 1500))
    rates, lives = rng.gamma(1.5, 0.072, 1500), rng.exponential(life, 1500)
    orders = []
    for start, rate, lost in zip(first, rates, lives, strict=True):
        end = min(730.0, start + lost)
        orders.append(np.sort(rng.uniform(start, end, rng.poisson(rate * (end - start)))).astype(np.int64))
    return orders


@pytest.mark.parametrize("life", [600, 200])
def test_frequent_buyers_may_be_known_to_be_lost(life: float) -> None:
    """Else: where customers buy often, a shop cannot train at all: honest features tell who is lost already,
    but not who will be lost later, and those are many of all who stay away in the months after."""
    orders = frequent(life)

    def bought(day: int) -> NDArray[np.float64]:
        return np.array([((days < day) & (days >= day - 28)).sum() for days in orders], np.float64)

    columns: dict[str, Column] = {
        "days_since_order": lambda day: since_last(orders, day), "orders_28d": bought
    }  # fmt: skip
    data = shop(orders, columns, within=90)
    for name in ("churn_28d", "churn_90d", "repurchase_7d"):
        assert blamed(data, name) == {}, name


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_a_file_dated_back_is_found_where_customers_buy_often(noise: float) -> None:
    """Else: that many are lost excuses a list of those who came in the four weeks after it."""
    orders, rng = frequent(600), np.random.default_rng(2)

    def made(day: int) -> NDArray[np.float64]:
        came = np.array([((days >= day) & (days < day + 28)).any() for days in orders], np.float64)
        return came + noise * rng.normal(size=len(came))

    assert blamed(shop(orders, {"dated_back": made}, within=90)) == {"dated_back": None}


def test_who_comes_every_christmas_may_be_known_in_january() -> None:
    """Else: a shop of the season cannot train on what its customers did in the last one; nor, if its seasons
    excused everything, would a list of those who came in this one be found out."""
    rng = np.random.default_rng(1)
    orders = []
    for festive in rng.random(3000) < 0.4:
        any_time = rng.integers(0, 730, rng.poisson(4))
        december = [
            rng.integers(*span) for span in ((338, 364), (702, 728)) if festive and rng.random() < 0.7
        ]
        orders.append(np.sort(np.array([*any_time, *december], np.int64)))

    def came(first: int, end: int) -> NDArray[np.float64]:
        return np.array([float(((days >= first) & (days < end)).any()) for days in orders])

    columns: dict[str, Column] = {"last_december": lambda day: came(338, 364)}
    assert blamed(shop(orders, columns)) == {}
    columns["this_december"] = lambda day: came(702, 728)
    assert list(blamed(shop(orders, columns))) == ["this_december"]


def test_customers_who_come_by_a_rhythm_may_be_known() -> None:
    """Else: a shop of subscriptions cannot train: who is due this week is not due in the next."""
    rng = np.random.default_rng(1)
    orders = [np.arange(rng.integers(0, 28), 730, 28) for _ in range(2000)]

    def recency(day: int) -> NDArray[np.float64]:
        return since_last(orders, day, none=-28)

    def due(day: int) -> NDArray[np.float64]:
        return ((recency(day) > 21) & (rng.random(len(orders)) < 0.9)).astype(np.float64)

    assert blamed(shop(orders, {"days_since_order": recency, "due": due})) == {}

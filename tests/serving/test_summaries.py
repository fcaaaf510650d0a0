"""What value models know of a customer: counted by days, net of returns, as known then."""

from datetime import datetime

import numpy as np
import pytest
from value_orders import made_up, moment, orders

from features.moments import DAY, to_us
from serving.summaries import SIGNS, summarise

END = datetime.fromisoformat("2020-02-01T00:00:00+00:00")
ANNA = [
    ("anna", "2020-01-01T10:00:00+00:00", 20.0),
    ("anna", "2020-01-11T10:00:00+00:00", 30.0),
    ("anna", "2020-01-11T18:00:00+00:00", 10.0),
    ("anna", "2020-01-21T10:00:00+00:00", 40.0),
]


def test_orders_count_once_a_day_and_times_are_days_since_the_first():
    of = summarise(orders(ANNA), END)
    assert [float(v[0]) for v in of.histories] == [2, 20, 30]
    assert of.orders[0] == 3
    assert of.mean[0] == pytest.approx(100 / 3)


def test_goods_that_came_back_are_no_order_but_less_money():
    rows = [*ANNA, ("anna", "2020-01-25T10:00:00+00:00", -25.0), ("bob", "2020-01-05T10:00:00+00:00", -9.0)]
    of = summarise(orders(rows, back=[4, 5]), END)
    assert of.customer.tolist() == [0]  # bob has no order
    assert [float(v[0]) for v in of.histories] == [2, 20, 30]
    assert of.mean[0] == pytest.approx(75 / 3)


def test_more_back_than_paid_is_no_money_not_less_than_none():
    rows = [*ANNA, ("anna", "2020-01-25T10:00:00+00:00", -500.0)]
    assert summarise(orders(rows, back=[4]), END).mean[0] == 0


def test_what_was_known_later_changes_nothing():
    rows = [*ANNA, ("anna", "2020-01-30T10:00:00+00:00", 70.0), ("anna", "2020-02-01T00:00:01+00:00", 9.0)]
    late = summarise(orders(rows, known={4: "2020-02-02T00:00:00+00:00"}), END)
    early = summarise(orders(ANNA), END)
    assert late.signs.tobytes() == early.signs.tobytes()
    assert late.mean.tobytes() == early.mean.tobytes()


def test_a_day_is_one_of_the_shops_zone():
    """Midnight in New York is 05:00 UTC: an evening and the small hours of UTC's next day are one day."""
    rows = [("anna", "2020-01-01T23:00:00+00:00", 1.0), ("anna", "2020-01-02T04:00:00+00:00", 1.0)]
    assert summarise(orders(rows, "America/New_York"), END).orders[0] == 1
    assert summarise(orders(rows), END).orders[0] == 2


def test_signs_are_what_their_words_say():
    signs = dict(zip(SIGNS, summarise(orders(ANNA), END).signs[0].tolist(), strict=True))
    assert signs["silence"] == pytest.approx(10 / 30)
    assert signs["last_gap"] == pytest.approx(10 / 30)
    assert signs["gap_variation"] == 0
    assert signs["overdue"] == pytest.approx(1.0)
    assert (signs["later_half"], signs["last_quarter"]) == (0.5, 0)
    assert signs["first_money"] == pytest.approx(np.log(21))
    assert signs["last_money"] == pytest.approx(np.log(41))


def test_an_order_at_the_very_midnight_of_the_moment_is_known_and_takes_no_time():
    of = summarise(orders([*ANNA, ("anna", "2020-02-01T00:00:00+00:00", 1.0)]), END)
    assert [float(v[0]) for v in of.histories] == [3, 31, 31]
    assert of.signs[0, 1] == 0


def test_without_a_gap_what_speaks_of_gaps_is_not_known():
    signs = dict(zip(SIGNS, summarise(orders(ANNA[:1]), END).signs[0].tolist(), strict=True))
    assert [name for name, value in signs.items() if np.isnan(value)] == [
        "last_gap",
        "gap_variation",
        "overdue",
        "later_half",
        "last_quarter",
    ]
    assert signs["repeats"] == 0


def test_what_came_after_is_days_net_money_and_the_wait():
    rows = [*ANNA, ("anna", "2020-01-22T10:00:00+00:00", -5.0), ("bob", "2020-01-01T10:00:00+00:00", 9.0)]
    then = datetime.fromisoformat("2020-01-10T00:00:00+00:00")
    of = orders(rows, back=[4])
    came, money, wait = of.ahead(to_us(then), 20, to_us(END))
    assert (came.tolist(), money.tolist(), wait.tolist()) == ([2, 0], [75, 0], [2, np.inf])
    came, money, _ = of.ahead(to_us(then), 20, to_us(then + 2 * DAY))  # known by then
    assert (came[0], money[0]) == (1, 40)


def test_the_order_of_rows_changes_nothing():
    of = made_up(300)
    shuffled = of.where(np.random.default_rng(0).permutation(len(of.at)))
    for a, b in zip(
        summarise(of, moment(300)).histories, summarise(shuffled, moment(300)).histories, strict=True
    ):
        assert a.tobytes() == b.tobytes()


def test_a_log_without_orders_has_no_summaries():
    of = orders(ANNA)
    assert len(summarise(of.where(np.zeros(4, bool)), END)) == 0

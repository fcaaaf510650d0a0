"""Value models as they are fitted: nothing from later, a pace where there is one to learn, honest figures."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from value_orders import MONEY, TRUTH, made_up, moment

from features.errors import NotEnoughData
from features.moments import DAY_US, to_us
from serving.purchases import BgNbd
from serving.summaries import Orders, summarise
from training import value
from training.past import Past, deviance, returns
from training.value_figures import judged

CARD = None  # nothing here reads it
UNTIL = moment(300)


@pytest.fixture(scope="module")
def plain() -> Orders:
    """Customers of the very model."""
    return made_up(5_000, 500, seed=1)


@pytest.fixture(scope="module")
def frugal() -> Orders:
    """As `plain`, but who spends little on the first day is gone after 150 days: BG/NBD cannot know,
    since it does not look at money."""
    orders = made_up(5_000, 500, seed=2)
    first = np.full(len(orders.ids), 2**62)
    np.minimum.at(first, orders.customer, orders.at)
    age = (orders.at - first[orders.customer]) / DAY_US
    paid = np.zeros(len(orders.ids))
    paid[orders.customer[age == 0]] = orders.money[age == 0]
    low = (paid < np.median(paid))[orders.customer]
    return orders.where(~low | (age < 150))


@pytest.fixture(scope="module")
def fitted(frugal: Orders) -> value.Fitted:
    return value.fit(frugal, UNTIL, 365, margin=0.3)


def test_in_its_own_world_the_parameters_are_found(plain):
    file = value.fit(plain, UNTIL, 365, margin=0.3).file
    assert (file.purchases.r, file.purchases.alpha) == pytest.approx((TRUTH.r, TRUTH.alpha), rel=0.12)
    assert file.purchases.a / file.purchases.b == pytest.approx(TRUTH.a / TRUTH.b, rel=0.25)
    assert (file.money.p, file.money.q, file.money.gamma) == pytest.approx(
        (MONEY.p, MONEY.q, MONEY.gamma), rel=0.2
    )


def test_nothing_that_came_or_was_known_later_changes_a_model(frugal, fitted):
    """The leak that makes every value model look good."""
    past = frugal.where(frugal.at <= to_us(UNTIL))
    assert value.fit(past, UNTIL, 365, margin=0.3) == fitted
    told_later = np.random.default_rng(1).random(len(frugal.at)) < 0.1
    late = replace(frugal, known=np.where(told_later, to_us(moment(301)), frugal.known))
    assert value.fit(late, UNTIL, 365, margin=0.3) == value.fit(
        frugal.where(~told_later), UNTIL, 365, margin=0.3
    )


def test_the_same_orders_and_seed_are_the_same_model(frugal, fitted):
    assert value.fit(frugal, UNTIL, 365, margin=0.3) == fitted


def test_a_pace_is_learnt_where_money_tells_what_gaps_do_not(frugal, fitted):
    assert fitted.booster is not None
    model, past = fitted.model(CARD, 1), Past.of(frugal, UNTIL, 120, moment(420))
    assert deviance(past.came, model.orders(past.known, 120)) < deviance(past.came, past.expected)
    first = past.known.signs[:, 8]
    low = first < np.median(first)
    pace = model.pace(past.known)
    assert pace[low].mean() < 0.9 * pace[~low].mean()


def test_the_share_that_comes_back_is_found_where_some_do_and_is_none_where_nobody_is_held_for_lost(plain):
    past = Past.of(plain, moment(240), 100, moment(340))
    assert returns([past]) < 0.1  # its own world: lost is lost
    alive = past.purchases.alive(past.known.histories)
    back = np.random.default_rng(0).random(len(alive)) < 0.4 * (1 - alive)
    again = past.returning(1.0).expected
    some = replace(past, came=np.where(back, np.random.default_rng(1).poisson(again), past.came))
    assert returns([some]) == pytest.approx(0.4, abs=0.1)
    nobody = replace(past, purchases=BgNbd(0.8, 20.0, 1e-9, 10.0))
    assert returns([nobody]) == 0


def test_figures_say_by_how_much_with_intervals(frugal, fitted):
    past = Past.of(frugal, UNTIL, 120, moment(420))
    figures, baselines = judged(fitted.model(CARD, 1), past, seed=1)
    assert set(baselines) == {"bgnbd", "run_rate"}
    for figure in (*figures.values(), *baselines["bgnbd"].values(), *baselines["run_rate"].values()):
        assert figure["low"] <= figure["value"] <= figure["high"]
    gain = baselines["bgnbd"]["poisson_deviance_gain"]
    assert gain["low"] > 0
    difference = baselines["bgnbd"]["poisson_deviance"]["value"] - figures["poisson_deviance"]["value"]
    assert gain["value"] == pytest.approx(difference, abs=2e-6)
    came = past.came.sum()
    assert figures["orders_ratio"]["value"] == pytest.approx(
        came / fitted.model(CARD, 1).orders(past.known, 120).sum(), abs=1e-6
    )
    assert figures["below_p90"]["value"] == pytest.approx(0.9, abs=0.05)
    assert figures["came_by_next_order_date"]["value"] == pytest.approx(0.5, abs=0.1)


def test_figures_that_are_wrong_show(plain):
    """Nobody is ever lost, by this model: too many orders and too much money must be seen."""
    file = msgspec.structs.replace(
        value.fit(plain, UNTIL, 365, margin=0.3).file, purchases=BgNbd(0.8, 20.0, 0.01, 10.0), booster=False
    )
    model = value.Fitted(file, None).model(CARD, 1)
    figures, baselines = judged(model, Past.of(plain, UNTIL, 120, moment(420)), seed=1)
    assert figures["orders_ratio"]["high"] < 0.8
    assert figures["below_p90"]["low"] > 0.91
    assert baselines["bgnbd"]["poisson_deviance_gain"]["high"] < 0


def test_a_short_log_has_no_pace_and_too_few_customers_no_model(plain):
    short = value.fit(plain, moment(100), 365, margin=0.3)
    assert short.booster is None
    assert not short.file.booster
    with pytest.raises(NotEnoughData, match="customers ordered on more than one day"):
        value.fit(plain.where(plain.customer < 30), UNTIL, 365, margin=0.3)
    with pytest.raises(NotEnoughData, match="^0 customers"):
        value.fit(plain, moment(-1), 365, margin=0.3)


def test_the_past_of_a_moment_is_judged_by_what_is_known_now(plain):
    past = Past.of(plain, moment(200), 100, moment(250))
    whole = Past.of(plain, moment(200), 100, moment(300))
    assert past.came.sum() < whole.came.sum()
    assert len(past.known) == len(summarise(plain, moment(200)))

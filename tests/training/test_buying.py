"""BG/NBD as a baseline of targets: it must be what a sceptic would get, at that moment, or be absent."""

from dataclasses import replace

import numpy as np
import pytest
from logs import OF_LOG, write_log
from value_orders import made_up, moment

from features.moments import to_us
from serving.booster import Numbers
from serving.summaries import Orders, summarise
from training import bgnbd, buying
from training.buying import Buying
from training.targets import catalogue

ORDERS = made_up(3_000, days=400)
NOW = moment(300)


def of(orders: Orders = ORDERS, one: bool = True, days: int = 28) -> Buying:
    return Buying(orders, days, one)


def everyone() -> list[str]:
    return [str(id) for id in ORDERS.ids[summarise(ORDERS, NOW).customer]]


def came(days: int) -> Numbers:
    orders, _, _ = ORDERS.ahead(to_us(NOW), days, to_us(moment(400)))
    return (orders[summarise(ORDERS, NOW).customer] > 0).astype(float)


@pytest.mark.parametrize("days", [7, 28, 90])
def test_chances_are_right_where_customers_are_as_it_assumes(days: int) -> None:
    """Else: a model is released for having beaten a straw man."""
    chances, label = of(days=days).chances(NOW, everyone()), came(days)
    assert chances is not None
    order = np.argsort(chances)
    for part in np.array_split(order, 3):
        assert label[part].mean() == pytest.approx(chances[part].mean(), abs=0.03)


def test_churn_is_the_other_side_of_an_order_in_whatever_order_customers_are_asked_for() -> None:
    ids = everyone()
    order, none = of().chances(NOW, ids), of(one=False).chances(NOW, ids[::-1])
    assert order is not None
    assert none is not None
    assert np.array_equal(none[::-1], 1 - order)


def test_nothing_that_came_later_is_known() -> None:
    """Else: a baseline that looks ahead keeps every honest model out."""
    before = ORDERS.where(ORDERS.at <= to_us(NOW))
    ids = everyone()
    assert np.array_equal(of(before).chances(NOW, ids), of().chances(NOW, ids))
    unknown = replace(ORDERS, known=ORDERS.known + np.where(ORDERS.at > to_us(moment(290)), 10**13, 0))
    told = ORDERS.where(ORDERS.at <= to_us(moment(290)))
    known = [str(id) for id in told.ids[summarise(told, NOW).customer]]
    assert np.array_equal(of(unknown).chances(NOW, known), of(told).chances(NOW, known))


def test_a_part_of_a_large_shop_is_enough_to_fit_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else: training in a shop of a million waits for a baseline."""
    whole, fitted = of().chances(NOW, everyone()), []
    monkeypatch.setattr(buying, "FITTED_ON", 1_000)
    fit = bgnbd.fit
    monkeypatch.setattr(bgnbd, "fit", lambda known: fitted.append(len(known.age)) or fit(known))
    some = of().chances(NOW, everyone())
    assert fitted == [1_000]
    assert np.corrcoef(whole, some)[0, 1] > 0.99


def test_it_is_absent_where_it_has_nothing_to_say() -> None:
    """Of who never ordered, of too few repeat buyers, of targets that are no orders."""
    assert of().chances(NOW, [*everyone(), "a visitor"]) is None
    few = ORDERS.where(ORDERS.customer < 40)
    assert of(few).chances(NOW, [str(few.ids[summarise(few, NOW).customer[0]])]) is None


def test_only_a_target_whose_event_is_an_order_asks_it(tmp_path) -> None:
    at = moment(1)
    row = {"order_id": "1", "customer_id": "a", "at": at, "known_at": at, "amount": 1}
    log = replace(write_log(tmp_path, {"orders": [row]}), shop=OF_LOG)
    asking = {name for name, target in catalogue().items() if Buying.of(log, target)}
    assert asking == {
        "churn_28d", "churn_90d", "repurchase_7d", "repurchase_14d", "repurchase_28d", "repurchase_90d",
        "first_order_28d",
    }  # fmt: skip

"""Allocation: limits are kept, the prices are the linear program's, and little is lost to whole actions."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.allocation import customers, highs, scarce
from features.errors import UsageError
from training.allocate import Allocation, allocate


def kept(allocation: Allocation, net: Any, cost: Any, channels: Any, budget: Any, capacity: Any) -> None:
    """Assert that the allocation is what it says, and within the limits."""
    rows = np.arange(len(net))
    value = net[rows, allocation.chosen]
    assert np.isfinite(value).all(), "somebody gets what they are not eligible for"
    spent = np.broadcast_to(cost, net.shape)[rows, allocation.chosen].sum()
    assert allocation.value == pytest.approx(value.sum())
    assert allocation.spent == pytest.approx(spent)
    if budget is not None:
        assert allocation.spent <= budget
    for name, most in capacity.items():
        contacts = [(of,) if isinstance(of, str) else of or () for of in channels]
        of = sum(contacts[a].count(name) for a in allocation.chosen.tolist())
        assert of == allocation.used[name]
        assert of <= most
    assert allocation.value <= allocation.bound * (1 + 1e-9) + 1e-9


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(("n", "gap"), [(40, 0.1), (400, 0.01), (4_000, 5e-4)])
def test_the_bound_is_the_linear_programs_and_the_value_close_to_it(n: int, gap: float, tied: bool) -> None:
    """Else money is left lying about, or the reported gap is a guess. HiGHS knows the right bound."""
    world, limits = customers(n, tied=tied, seed=n), scarce(n)
    allocation = allocate(*world, **limits)
    kept(allocation, *world, **limits)
    assert allocation.bound == pytest.approx(highs(*world, **limits), rel=2e-6)
    assert allocation.gap < gap


@pytest.mark.parametrize("seed", [0, 4])
def test_a_plan_for_a_small_shop_is_as_near_to_the_bound_as_whole_customers_allow(seed: int) -> None:
    """Else a shop of two thousand loses several times what is promised, and is told that it must be so."""
    random = np.random.default_rng(seed)
    net = random.gamma(1.0, 0.3, (2_000, 5)) - random.uniform(0.0, 0.3, 5)
    net[random.random(net.shape) < 0.4] = -np.inf
    net[:, 0] = 0.0
    world = net, np.array([0.0, 0.05, 0.06, 0.31, 0.47]), [None, "sms", "app", ("sms", "app"), "mail"]
    limits: Any = {"budget": 60.0, "capacity": {"sms": 300, "app": 150}}
    allocation = allocate(*world, **limits)
    kept(allocation, *world, **limits)
    assert allocation.whole_bound * (1 - 1e-4) <= allocation.value <= allocation.whole_bound * (1 + 1e-9)
    assert allocation.gap < 2e-4


def test_prices_are_what_one_more_unit_brings() -> None:
    """Else the online decision, which is steered by them, spends where it earns less."""
    world, limits = customers(3_000), scarce(3_000)
    allocation = allocate(*world, **limits)
    more = limits | {"budget": limits["budget"] + 5}
    assert (highs(*world, **more) - highs(*world, **limits)) / 5 == pytest.approx(
        allocation.budget_price, rel=0.05
    )
    wider = limits | {"capacity": limits["capacity"] | {"sms": limits["capacity"]["sms"] + 3}}
    gain = (highs(*world, **wider) - highs(*world, **limits)) / 3
    assert gain == pytest.approx(allocation.channel_prices["sms"], rel=0.05)


def test_one_hundred_thousand_customers_lose_less_than_a_ten_thousandth() -> None:
    """What is promised of the size that shops have, with a cost of its own for each customer too."""
    net, cost, channels = customers(100_000)
    for costs in (cost, np.random.default_rng(0).uniform(0.02, 1.5, net.shape) * (np.arange(12) > 0)):
        allocation = allocate(net, costs, channels, **scarce(100_000))
        kept(allocation, net, costs, channels, **scarce(100_000))
        assert allocation.gap < 1e-4


def test_customers_who_are_all_the_same_share_what_there_is() -> None:
    """Else, at prices where all are indifferent, everybody or nobody would be contacted."""
    net = np.tile([0.0, 1.0, 1.5], (5_000, 1))
    cost, channels = np.array([0.0, 1.0, 2.0]), [None, "mail", "sms"]
    allocation = allocate(net, cost, channels, budget=100.0)
    assert (allocation.value, allocation.spent, allocation.budget_price) == (100.0, 100.0, pytest.approx(1.0))
    both = allocate(net, cost, channels, budget=100.0, capacity={"mail": 40})
    assert both.value == pytest.approx(40 + 60 / 2 * 1.5)
    assert both.used == {"mail": 40}


def test_the_shortest_of_several_budgets_binds_and_alone_has_a_price() -> None:
    """Else a plan within the budget given overspends the month's, or is charged twice for the same money."""
    net = np.tile([0.0, 1.0, 1.5], (5_000, 1))
    cost, channels = np.array([0.0, 1.0, 2.0]), [None, "mail", "sms"]
    funds = {"month": (cost, 60.0), "sms alone": (np.array([0.0, 0.0, 2.0]), 1e6)}
    allocation = allocate(net, cost, channels, 100.0, None, funds)
    assert (allocation.spent, allocation.budget_price) == (60.0, 0.0)
    assert allocation.fund_prices == {"month": pytest.approx(1.0), "sms alone": 0.0}


def test_without_limits_everybody_gets_the_best_and_prices_are_zero() -> None:
    """Else a price would keep out what nothing is short of."""
    world = customers(500)
    free = allocate(*world)
    wide = allocate(*world, budget=1e9, capacity={"mail": 500})
    for allocation in (free, wide):
        assert (allocation.chosen == world[0].argmax(axis=1)).all()
        assert allocation.gap == 0
    assert (wide.budget_price, wide.channel_prices) == (0.0, {"mail": 0.0})


def test_a_zero_budget_leaves_what_is_free_and_a_closed_channel_nothing() -> None:
    """Else an empty purse would also stop what costs nothing."""
    net = np.array([[0.0, 3.0, 2.0], [0.0, 3.0, -1.0], [0.0, np.nan, -np.inf]])
    cost, channels = np.array([0.0, 1.0, 0.0]), [None, "mail", "app"]
    broke = allocate(net, cost, channels, budget=0.0)
    assert broke.chosen.tolist() == [2, 0, 0]
    assert broke.spent == 0
    assert (net[:2, 1] - broke.budget_price * cost[1] <= 1e-9).all(), (
        "at this price nobody buys online either"
    )
    assert allocate(net, cost, channels, capacity={"mail": 0}).chosen.tolist() == [2, 0, 0]
    assert allocate(net, cost, channels, budget=0.0, capacity={"app": 0}).value == 0


def test_a_budget_of_nearly_nothing_is_planned_as_nothing() -> None:
    """Else what a subtraction left of a budget ends the night's plan in an error."""
    net, cost, channels = customers(2, seed=3)
    dear = np.where(np.arange(cost.shape[-1]) == 0, 0.0, cost + 0.5)
    for left in (5e-324, 1e-300, 1e-13):
        allocation = allocate(net, dear, channels, budget=left)
        assert (allocation.chosen == 0).all()
        assert allocation.value == 0.0


def test_nobody_to_choose_for() -> None:
    """Else a shop whose segment is empty sees a traceback."""
    empty = allocate(np.zeros((0, 2)), np.array([0.0, 1.0]), [None, "mail"], budget=5.0, capacity={"mail": 1})
    assert (empty.chosen.tolist(), empty.value, empty.gap) == ([], 0.0, 0.0)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Any, Any, Any, float | None, dict[str, float]]:
    n, actions = draw(st.integers(1, 12)), draw(st.integers(2, 5))
    worth = st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0, 3.7, float("nan"), -np.inf])
    net = np.array([[0.0, *(draw(worth) for _ in range(actions - 1))] for _ in range(n)])
    cost = np.r_[0.0, [draw(st.sampled_from([0.0, 0.1, 0.3, 1.0])) for _ in range(actions - 1)]]
    channels = [None, *(["mail", "sms"][j % 2] for j in range(actions - 1))]
    budget = draw(st.none() | st.floats(0, 4))
    capacity = {"mail": draw(st.integers(0, 6))} if draw(st.booleans()) else {}
    return net, cost, channels, budget, capacity


@settings(max_examples=150)
@given(worlds())
def test_any_limits_are_kept_and_any_bound_is_one(world: Any) -> None:
    """Ties, zero limits, free actions, nobody eligible: a plan that overspends is worse than none."""
    net, cost, channels, budget, capacity = world
    allocation = allocate(net, cost, channels, budget, capacity)
    kept(allocation, *world)
    assert allocate(net, cost, channels, budget, capacity).chosen.tolist() == allocation.chosen.tolist()
    whole = highs(net, cost, channels, budget, capacity, whole=True)
    assert allocation.value <= whole + 1e-6 <= allocation.bound + 1e-5


@st.composite
def shops(draw: st.DrawFn) -> tuple[Any, Any, Any, float, dict[str, int]]:
    """Bundles, ties, customers who are alike, costs of each customer's own; limits that bind."""
    n, random = draw(st.integers(2, 30)), np.random.default_rng(draw(st.integers(0, 10_000)))
    channels = [None, "mail", "sms", ("mail", "sms"), ("sms", "sms"), "app"]
    net = random.normal(0.5, 1.0, (n, len(channels)))
    if draw(st.booleans()):
        net = np.round(net * 2) / 2
    net[random.random(net.shape) < 0.2] = -np.inf
    net[:, 0] = 0.0
    cost = random.uniform(0.02, 1.5, net.shape if draw(st.booleans()) else net.shape[1])
    cost[..., 0] = 0.0
    if draw(st.booleans()):
        alike = random.integers(0, max(n // 4, 1), n)
        net, cost = net[alike], cost[alike] if cost.ndim == 2 else cost
    return net, cost, channels, draw(st.floats(0, 0.4)) * n, {"sms": draw(st.integers(0, n // 2))}


@settings(max_examples=25, deadline=None)
@given(shops())
def test_of_whole_customers_no_plan_is_better_by_more_than_a_ten_thousandth(world: Any) -> None:
    """Else what a small shop could have earned is left by the rounding. HiGHS knows the best whole plan."""
    allocation = allocate(*world)
    kept(allocation, *world)
    whole = highs(*world, whole=True)
    assert allocation.value >= whole * (1 - 1e-4) - 1e-9
    assert whole <= allocation.whole_bound * (1 + 2e-5) + 1e-6 <= allocation.bound * (1 + 3e-5) + 2e-6
    assert (allocation.chosen == allocate(*world).chosen).all()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"budget": -1.0}, "budget is -1"),
        ({"budget": float("nan")}, "budget is nan"),
        ({"capacity": {"fax": 1}}, "no action uses that channel; expected one of app, call, mail, sms"),
        ({"capacity": {"mail": -2}}, "capacity of mail is -2"),
    ],
)
def test_a_limit_that_makes_no_sense_is_named(changes: dict[str, Any], says: str) -> None:
    """Else a slip of the keyboard becomes a campaign."""
    with pytest.raises(UsageError, match=says):
        allocate(*customers(5), **changes)

"""A chat group is one unit: its worth is its members', one refusal keeps it out, and it is held out whole."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from test_decide import action, situation
from tiny import TINY_MOMENT

from features.moments import DAY
from features.policy import Budget, Policy, Send
from serving.actions import NOTHING, Action, Condition
from serving.groups import GroupDecision, GroupInputs, Members, answer, held_out, weigh
from serving.prices import NONE, Prices
from serving.reservations import Contact
from serving.situation import Rules, limits_of

CHAT = {("chat", "marketing"): np.ones(5, np.bool_)}
TWO = Members(["a", "b"], np.array([0, 0, 0, 1, 1]), np.array([0, 1, 2, 3, 4]))
POLICY = Policy(starts=TINY_MOMENT.date(), holdout=0.0, explore=0.0, salt="salt", max_contacts=2, per_days=30,
                send=Send())  # fmt: skip


def offer(**changes: object) -> Action:
    return action("offer", channel="chat", reach="group", send_cost=0.01, **changes)  # type: ignore[arg-type]


def decided(
    offered: Action,
    members: Members = TWO,
    policy: Policy = POLICY,
    before: Sequence[Sequence[Contact]] = ((), ()),
    spent: tuple[float, ...] = (),
    prices: Prices = NONE,
    seeds: Sequence[int] = (0, 1),
    **changes: object,
) -> list[GroupDecision]:
    s = situation(5, **({"consent": CHAT} | changes))
    rules = Rules(policy, (NOTHING, offered, action("sms")), {}, 0.25, 28, "USD", prices)
    weighed = weigh(rules.actions, limits_of(rules), s, members)
    size, alone = np.bincount(members.group), members.total(s.holdout)
    unknown = size - members.total(np.ones(5, np.bool_))
    return [
        answer(
            rules,
            GroupInputs(
                group=id, as_of=TINY_MOMENT, members=int(size[g]), unknown=int(unknown[g]),
                left_alone=int(alone[g]), weighed=weighed[g], held=tuple(before[g]), spent=spent,
                seed=seeds[g],
            ),
            None,
        )
        for g, id in enumerate(members.ids)
    ]  # fmt: skip


def test_a_group_is_worth_what_its_members_are_and_the_message_is_paid_for_all() -> None:
    """By hand: an effect of .01 on orders worth 10 and 20, a cent a member; who is not meant adds none."""
    margin = np.array([10.0, 20.0, np.nan, 10.0, 10.0])
    features = {"tenure": np.array([100, 100, 100, 1, 100], np.float32)}
    conditions = (Condition("tenure", at_least=50),)
    a, b = decided(offer(eligible=conditions), margin_per_order=margin, features=features)
    assert (a.action, a.members, a.net) == ("offer", 3, pytest.approx(0.01 * 30 - 0.03))
    assert (b.net, b.cost) == (pytest.approx(0.1 - 0.02), pytest.approx(0.02))


def test_one_who_refuses_keeps_the_message_from_all() -> None:
    """Else consent means nothing in a chat. Of whom nothing is published, nothing is known to be allowed."""
    allow = {("chat", "marketing"): np.array([True, False, True, True, True])}
    a, b = decided(offer(), consent=allow)
    assert (a.action, a.rejected, a.blocking) == ("nothing", {"offer": "no_consent"}, {"offer": 1})
    assert b.action == "offer"
    stranger = Members(["a", "b"], np.array([0, 0, 1]), np.array([0, 1, -1]))
    a, b = decided(offer(), stranger)
    assert (a.action, b.action, b.unknown, b.blocking) == ("offer", "nothing", 1, {"offer": 1})
    features = {"tenure": np.array([100, 100, 5, 100, 100], np.float32)}
    a, b = decided(offer(suppressed_if=(Condition("tenure", at_most=9),)), features=features)
    assert (a.rejected, a.blocking) == ({"offer": "excluded"}, {"offer": 1})


def test_groups_are_held_out_whole_and_their_own_limits_count() -> None:
    """Else half a chat is 'held out' while it reads the offer; or a group hears one every day."""
    half = replace(POLICY, holdout=0.5, salt="x")
    ids = sorted((f"g{n}" for n in range(9)), key=lambda id: not held_out([id], "x", 0.5)[0])
    named = Members([ids[0], ids[-1]], TWO.group, TWO.customer)
    a, b = decided(offer(), named, half)
    assert (a.action, a.holdout, a.propensity, a.rejected) == ("nothing", True, 1.0, {"offer": "holdout"})
    assert (b.action, b.exposed) == ("offer", 0)
    a, b = ([Contact(TINY_MOMENT - days * DAY, "chat") for days in before] for before in ((20, 25), (3,)))
    a, b = decided(offer(suppress_days=7), before=[a, b])
    assert (a.rejected, b.rejected) == ({"offer": "contact_cap"}, {"offer": "suppressed"})


def test_a_budget_stops_a_message_that_all_of_its_members_cost_too_much() -> None:
    """Two cents are left: for a chat of two that is enough, for one of three it is not."""
    tight = replace(POLICY, budgets=(Budget(1.0, "month"),))
    a, b = decided(offer(), policy=tight, spent=(0.975,))
    assert (a.action, a.rejected, a.cost) == ("nothing", {"offer": "budget"}, 0)
    assert (b.action, b.cost) == ("offer", pytest.approx(0.02))


def test_what_is_short_is_charged_for_every_member() -> None:
    """Else a message to a chat passes where the same money earns more elsewhere."""
    a, _ = decided(offer(), prices=Prices(budget=5.0))
    assert (a.action, a.price) == ("offer", pytest.approx(3 * 0.01 * 5))
    dear, _ = decided(offer(), prices=Prices(budget=10.0))
    assert dear.action == "nothing"


def test_held_out_customers_whom_a_group_reaches_are_counted_as_exposed() -> None:
    """Else the holdout of customers is read as untouched."""
    a, b = decided(offer(), holdout=np.array([True, True, False, False, False]))
    assert (a.action, a.exposed, b.exposed) == ("offer", 2, 0)


def test_the_logged_chance_is_what_chance_does() -> None:
    """Off-policy estimates by group divide by it."""
    n = 3_000
    many = Members([f"g{g}" for g in range(n)], np.arange(n), np.arange(n) % 5)
    made = decided(offer(), many, replace(POLICY, explore=0.5), [()] * n, seeds=range(n))
    offers = np.array([one.action == "offer" for one in made])
    assert offers.mean() == pytest.approx(0.75, abs=0.03)
    assert {round(one.propensity, 6) for one in made} == {0.75, 0.25}
    assert all((one.propensity == 0.75) == (one.action == "offer") for one in made)


def test_which_groups_are_held_out_is_another_draw_than_which_customers() -> None:
    """Sticky, of the right size."""
    ids = [f"group {n}" for n in range(4_000)]
    held = held_out(ids, "salt", 0.1)
    assert held.mean() == pytest.approx(0.1, abs=0.02)
    np.testing.assert_array_equal(held_out(ids[::-1], "salt", 0.1)[::-1], held)

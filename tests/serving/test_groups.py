"""A chat group is one unit: its worth is its members', one refusal keeps it out, and it is held out whole."""

import numpy as np
import pytest
from test_decide import GREEDY, action, situation
from tiny import TINY_MOMENT

from features.errors import DecisionError
from features.moments import DAY
from features.settings import Settings
from serving.actions import NOTHING, Action, Condition
from serving.decide import Limits
from serving.groups import (
    GroupDecision,
    Members,
    Round,
    decide_groups,
    held_out,
    past,
    path,
    rounds,
    write,
)
from serving.reservations import Contact

CHAT = {("chat", "marketing"): np.ones(5, np.bool_)}
TWO = Members(["a", "b"], np.array([0, 0, 0, 1, 1]), np.array([0, 1, 2, 3, 4]))


def offer(**changes: object) -> Action:
    return action("offer", channel="chat", reach="group", send_cost=0.01, **changes)  # type: ignore[arg-type]


def decided(offered: Action, members: Members = TWO, **changes: object) -> list[GroupDecision]:
    holdout, before = changes.pop("held", np.zeros(2, np.bool_)), changes.pop("before", [[], []])
    s = situation(5, **({"consent": CHAT} | changes))
    draws = np.arange(2, dtype=np.uint64)
    actions = [NOTHING, offered, action("sms")]
    return decide_groups(actions, GREEDY, s, members, holdout, before, TINY_MOMENT, draws)  # type: ignore[arg-type]


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
    a, b = decided(offer(), held=np.array([True, False]))
    assert (a.action, a.holdout, a.propensity, a.rejected) == ("nothing", True, 1.0, {"offer": "holdout"})
    assert (b.action, b.exposed) == ("offer", 0)
    a, b = ([Contact(TINY_MOMENT - days * DAY, "chat") for days in before] for before in ((20, 25), (3,)))
    a, b = decided(offer(suppress_days=7), before=[a, b])
    assert (a.rejected, b.rejected) == ({"offer": "contact_cap"}, {"offer": "suppressed"})


def test_held_out_customers_whom_a_group_reaches_are_counted_as_exposed() -> None:
    """Else the holdout of customers is read as untouched."""
    alone = np.array([True, True, False, True, False])
    s = situation(5, consent=CHAT, holdout=alone)
    a, b = decide_groups([NOTHING, offer()], GREEDY, s, TWO, np.array([False, True]), [[], []], TINY_MOMENT,
                         np.zeros(2, np.uint64))  # fmt: skip
    assert (a.action, a.exposed, b.exposed) == ("offer", 2, 0)


def test_the_logged_chance_is_what_chance_does() -> None:
    """Off-policy estimates by group divide by it."""
    n = 3_000
    many = Members([f"g{g}" for g in range(n)], np.arange(n), np.arange(n) % 5)
    none, draws = np.zeros(n, np.bool_), np.arange(n, dtype=np.uint64)
    s, limits = situation(5, consent=CHAT), Limits(0.5)
    made = decide_groups([NOTHING, offer()], limits, s, many, none, [[]] * n, TINY_MOMENT, draws)
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


def test_rounds_are_kept_and_count_against_the_groups_limit(tiny_settings: Settings) -> None:
    """Else the cap of a group begins anew with each run."""
    settings, decisions = tiny_settings, decided(offer())
    for days in (1, 40):
        write(settings, Round(as_of=TINY_MOMENT - days * DAY, build="b", policy="p", decisions=decisions))
    kept = rounds(settings, None, TINY_MOMENT)
    assert [one.as_of for one in kept] == [TINY_MOMENT - 40 * DAY, TINY_MOMENT - DAY]
    a, b, new = past(kept, ["a", "b", "new"], [NOTHING, offer()])
    assert a == b == [Contact(TINY_MOMENT - days * DAY, "chat", "offer") for days in (40, 1)]
    assert new == []
    path(settings, TINY_MOMENT - DAY).write_text("{}")
    with pytest.raises(DecisionError, match="damaged"):
        rounds(settings, None, TINY_MOMENT)

"""What a decision holds: its contact and its money, for one taker, until it is known what became of it."""

from datetime import date, datetime, time, timedelta
from typing import Any

import msgspec
import pytest
from test_ledger import NOW, REQUEST, entry, ledger, settings, write  # noqa: F401

from features.exported import contact_id
from features.moments import DAY, parse_moment
from features.policy import Budget
from features.words import Words
from propensity import exported
from serving.actions import Step
from serving.exported import Seen
from serving.ledger import Ledger
from serving.ledger_reports import Delivery, Reported
from serving.reservations import Contact, Reservation, Went
from serving.sending import Night

# ruff: noqa: F811 (fixtures of another module are arguments)
WORDS = Words("a", "甲")
HOUR, DECEMBER = timedelta(hours=1), NOW.date()
BUDGETS = (Budget(100.0, "day"), Budget(100.0, "month"), Budget(50.0, "month", "win_back"))


def hold(
    ledger: Ledger,
    id: str,
    at: datetime = NOW,
    until: datetime | None = None,
    day: date = DECEMBER,
    scenario: str = "",
    cost: float = 0.1,
    customer: str = "marie",
) -> None:
    with ledger.deciding():
        ledger.append(entry(id, customer, as_of=at), REQUEST, Reservation(at, until, day, scenario, cost))


def deliver(ledger: Ledger, status: Any, at: datetime, taken: bool = True) -> None:
    blocked_by = "printer" if status == "blocked" else None
    told = Delivery(
        source="printer", id=str(at), decision_id="d1", status=status, at=at, blocked_by=blocked_by
    )
    assert isinstance(ledger.report([told], at)[0], Reported) is taken


def ids(contacts: tuple[Contact, ...]) -> list[datetime]:
    return [of.at for of in contacts]


def test_contacts_are_counted_from_when_they_are_sent(ledger: Ledger) -> None:
    """The window is open at its start, as the features' are; what is still to be sent counts already."""
    second = timedelta(seconds=1)
    for id, at in (("old", NOW - 30 * DAY), ("first", NOW - 30 * DAY + second), ("to come", NOW + HOUR)):
        hold(ledger, id, at)
    write(ledger, entry("left alone", action="nothing", reserves=False))
    hold(ledger, "of another", customer="paul")
    assert ids(ledger.held("marie", NOW - 30 * DAY, NOW)) == [NOW - 30 * DAY + second, NOW + HOUR]
    assert ledger.held("marie", NOW - 30 * DAY, NOW)[0] == Contact(
        NOW - 30 * DAY + second, "mail", "campaign_a"
    )
    assert len(ledger.held("marie", NOW - 60 * DAY, NOW)) == 3
    assert ledger.held("nobody", NOW - 30 * DAY, NOW) == ()
    everybody = ledger.held_by_all(NOW - 30 * DAY, NOW)
    assert everybody == {who: ledger.held(who, NOW - 30 * DAY, NOW) for who in ("marie", "paul")}


@pytest.mark.parametrize(("status", "left"), [
    ("sent", 1), ("delivered", 1), ("blocked", 0), ("cancelled", 0), ("expired", 0)
])  # fmt: skip
def test_what_did_not_happen_gives_its_contact_and_its_money_back(
    ledger: Ledger, status: Any, left: int
) -> None:
    """Else a campaign that the printer lost keeps the customer from others, and the shop from its money."""
    hold(ledger, "d1", until=NOW + HOUR)
    later = NOW + 2 * HOUR
    deliver(ledger, status, NOW + HOUR / 2)
    assert ids(ledger.held("marie", NOW - DAY, later)) == [NOW + HOUR / 2] * left
    assert ledger.spent(BUDGETS, DECEMBER, later) == pytest.approx((0.1 * left, 0.1 * left, 0.0))
    deliver(ledger, "delivered", NOW + DAY)
    assert ids(ledger.held("marie", NOW - DAY, later)) == [NOW + DAY]
    deliver(ledger, "expired", NOW + 2 * DAY, taken=False)  # a nightly job that ends whatever is old
    assert ids(ledger.held("marie", NOW - DAY, later)) == [NOW + DAY], "what was sent, the customer has"
    assert ledger.spent(BUDGETS, DECEMBER, later)[0] == 0.1


STEPS = (Step("mail", WORDS), Step("sms", WORDS, after_hours=24), Step("mail", WORDS, after_hours=48))


def test_each_step_of_a_bundle_is_told_of_and_the_later_ones_follow(ledger: Ledger) -> None:
    """Else a first message that goes late meets the second at the door; or what never went keeps its contact,
    and what was sent is exported as one."""
    with ledger.deciding():
        held = Reservation(NOW, NOW + 72 * HOUR, DECEMBER, "", 0.5, STEPS)
        ledger.append(entry("d1", "marie", as_of=NOW), REQUEST, held)

    def told(id: str, status: Any, at: datetime, step: int | None) -> Any:
        one = Delivery(source="s", id=id, decision_id="d1", status=status, at=at, step=step)
        (found,) = ledger.report([one], at)
        return found

    assert told("1", "sent", NOW + 12 * HOUR, 1).status == "accepted"
    assert ledger.reserved("d1")[1:] == [
        (NOW + 36 * HOUR, NOW + 108 * HOUR, False),
        (NOW + 60 * HOUR, NOW + 132 * HOUR, False),
    ]
    assert told("1", "sent", NOW + 12 * HOUR, 1).status == "duplicate"
    assert ledger.reserved("d1")[1] == (NOW + 36 * HOUR, NOW + 108 * HOUR, False), "told again, nothing moves"
    assert told("2", "sent", NOW + 40 * HOUR, 2).status == "accepted"
    assert ledger.reserved("d1")[2][0] == NOW + 64 * HOUR
    assert [row["channel"] for row in ledger.sent()] == ["mail", "sms"]
    assert [row["cost"] for row in ledger.sent()] == [0.5, 0], "as reserved"
    told("3", "blocked", NOW + 64 * HOUR, 3)
    at = NOW + 65 * HOUR
    assert [(of.at, of.channel) for of in ledger.held("marie", NOW, at)] == [
        (NOW + 12 * HOUR, "mail"), (NOW + 40 * HOUR, "sms")
    ]  # fmt: skip
    assert ledger.spent(BUDGETS, DECEMBER, at)[0] == 0.5
    assert "no step 4: its last is 3" in str(told("4", "sent", at, 4))
    seen = Seen(1, NOW + 13 * HOUR)
    assert [of.in_log for of in ledger.held("marie", NOW, at, seen)] == [True, False]


def test_later_steps_keep_to_the_quiet_hours_also_when_they_move(ledger: Ledger) -> None:
    """Else the second message is due at four in the night; or both that follow come at nine, at once."""
    at, tomorrow = parse_moment("2017-12-04T08:05:00-05:00"), parse_moment("2017-12-05T09:00:00-05:00")
    steps = tuple(Step("sms", WORDS, after_hours=hours) for hours in (0, 20, 24))
    night = Night("America/New_York", (time(21), time(8)))
    said = {"used": {"zone": night.zone}}
    rules = {"policy": {"send": {"quiet": ["21:00:00", "08:00:00"]}}, "zone": "Asia/Shanghai"}
    one = entry("d1", "marie", as_of=at, context=msgspec.json.encode(rules))
    assert one.sealed is not None
    one = msgspec.structs.replace(
        one, sealed=msgspec.structs.replace(one.sealed, answer=msgspec.json.encode(said))
    )
    with ledger.deciding():
        held = Reservation(at, at + 48 * HOUR, at.date(), "", 0.5, steps, night)
        ledger.append(one, REQUEST, held)
    due = [of.at for of in ledger.reserved("d1")]
    assert due == [at, tomorrow - HOUR, tomorrow + 3 * HOUR], "04:05 becomes 08:00; then 12:00"
    late = Delivery(source="s", id="1", decision_id="d1", status="sent", at=at + 12 * HOUR, step=1)
    ledger.report([late], late.at)
    due = [of.at for of in ledger.reserved("d1")]
    assert due[1:] == [tomorrow + 11 * HOUR, tomorrow + 23 * HOUR], "20:00; then 00:00 becomes 08:00"
    ledger.report([msgspec.structs.replace(late, id="2", status="delivered")], late.at)
    assert [of.at for of in ledger.reserved("d1")] == due, "told again, nothing moves"


def test_a_bundle_whose_first_message_did_not_go_does_not_go_at_all(ledger: Ledger) -> None:
    """Else "as we wrote yesterday" comes to whom nobody wrote, and its money stays held."""
    with ledger.deciding():
        held = Reservation(NOW, None, DECEMBER, "", 0.5, STEPS)
        ledger.append(entry("d1", "marie", as_of=NOW), REQUEST, held)
    one = Delivery(source="s", id="1", decision_id="d1", status="cancelled", at=NOW, step=1)
    ledger.report([one], NOW)
    assert ledger.held("marie", NOW - DAY, NOW) == ()
    assert ledger.spent(BUDGETS, DECEMBER, NOW)[0] == 0.0


def test_a_bundle_is_cancelled_as_far_as_it_was_not_sent(ledger: Ledger) -> None:
    """Else the messages that are left are held against the customer, or those that came are forgotten."""
    with ledger.deciding():
        held = Reservation(NOW, None, DECEMBER, "", 0.5, STEPS)
        ledger.append(entry("d1", "marie", as_of=NOW), REQUEST, held)

    def told(id: str, status: Any, step: int | None) -> Any:
        one = Delivery(source="s", id=id, decision_id="d1", status=status, at=NOW, step=step)
        (found,) = ledger.report([one], NOW)
        return found

    assert told("1", "sent", 1).used
    assert "cannot be cancelled" in str(told("2", "cancelled", 1))
    assert len(ledger.held("marie", NOW - DAY, NOW)) == 3
    assert told("3", "cancelled", None).used, "the first came"
    assert ids(ledger.held("marie", NOW - DAY, NOW)) == [NOW]
    assert ledger.spent(BUDGETS, DECEMBER, NOW)[0] == 0.5, "it was paid for"
    assert not told("4", "blocked", 3).used
    assert told("5", "delivered", None).used
    assert "cannot be expired" in str(told("6", "expired", None))


def bundle(
    ledger: Ledger, id: str, members: int = 1, costs: tuple[float, float, float] = (0.01, 0.05, 0.1)
) -> None:
    """A notice at .01, a text at .05 a day later and a letter at .10: .16 for each of its members."""
    notice, text, letter = costs
    steps = (
        Step("app", WORDS, notice),
        Step("sms", WORDS, text, after_hours=24),
        Step("mail", WORDS, letter, after_hours=48),
    )
    with ledger.deciding():
        cost = sum(costs) * members
        held = Reservation(NOW, None, DECEMBER, "", cost, steps, members=members)
        one = msgspec.structs.replace(entry(id, f"of {id}", as_of=NOW, action="live"), cost=cost)
        ledger.append(one, REQUEST, held)


def tell(ledger: Ledger, decision: str, *told: tuple[Any, int | None]) -> None:
    for status, step in told:
        one = Delivery(
            source="s", id=f"{decision}{status}{step}", decision_id=decision, status=status, at=NOW, step=step
        )
        assert isinstance(ledger.report([one], NOW)[0], Reported)


def test_a_bundle_that_is_stopped_costs_what_was_sent_of_it(ledger: Ledger) -> None:
    """Else a budget runs dry of messages that nobody sent, and a campaign is called dearer than it was."""
    for n in range(10):
        bundle(ledger, f"b{n}")
        assert ledger.spent(BUDGETS, DECEMBER, NOW)[0] == pytest.approx(0.01 * n + 0.16)
        tell(ledger, f"b{n}", ("sent", 1), ("cancelled", 2))
    assert ledger.spent(BUDGETS, DECEMBER, NOW)[0] == pytest.approx(0.1)
    assert [row["cost"] for row in ledger.sent()] == pytest.approx([0.01] * 10)
    assert sum(use.cost for use in ledger.uses(NOW - DAY, NOW + DAY)) == pytest.approx(0.1)
    assert ledger.went("b3") == {"b3": Went(("app",), 0.01)}
    bundle(ledger, "of a group", members=30)
    tell(ledger, "of a group", ("sent", 2), ("cancelled", None))
    assert ledger.spent(BUDGETS, DECEMBER, NOW)[0] == pytest.approx(0.1 + 30 * 0.06)


def test_a_bundle_that_was_sent_as_a_whole_is_a_contact_on_each_channel(ledger: Ledger) -> None:
    """Else the log has the first message alone: the customer seems to be contacted a third as often."""
    bundle(ledger, "whole")
    bundle(ledger, "by step")
    bundle(ledger, "of the last")
    tell(ledger, "whole", ("sent", None), ("delivered", 2))
    tell(ledger, "by step", ("sent", 1), ("sent", 2), ("sent", 3))
    tell(ledger, "of the last", ("sent", 2))
    found = [
        (row["id"], row["channel"], round(row["cost"], 2), contact_id(row["number"], "d", row["also"]))
        for row in ledger.sent()
    ]
    assert found == [
        ("whole", "app", 0.01, "000000000001-d"),
        ("whole", "sms", 0.05, "000000000001-d-2"),
        ("whole", "mail", 0.1, "000000000001-d-3"),
        ("by step", "app", 0.01, "000000000003-d"),
        ("by step", "sms", 0.05, "000000000004-d"),
        ("by step", "mail", 0.1, "000000000005-d"),
        ("of the last", "app", 0.01, "000000000006-d-1"),
        ("of the last", "sms", 0.05, "000000000006-d"),
    ]
    assert len(ledger.held("of whole", NOW - DAY, NOW)) == 3
    in_log = ledger.held("of whole", NOW - DAY, NOW, Seen(1, NOW))
    assert all(of.in_log for of in in_log), "or a cap counts them twice"


def test_the_messages_of_a_bundle_cost_in_the_log_what_the_bundle_costs(ledger: Ledger) -> None:
    """Else messages of less than half a cent cost nothing there, and ten thousand bundles of them nothing."""
    for id, costs in (("cheap", (0.004, 0.004, 0.004)), ("dear", (0.006, 0.006, 0.006))):
        bundle(ledger, id, costs=costs)
        tell(ledger, id, ("sent", None))
    found = [exported.contact(row, exponent=2)["cost"] for row in ledger.sent()]
    assert found == ["0.00", "0.01", "0.00", "0.01", "0.00", "0.01"]


def test_what_nobody_reported_is_free_when_the_policy_says_so(ledger: Ledger) -> None:
    """Else a mailing house that never reports keeps customers silent for ever; a late report still counts."""
    hold(ledger, "d1", until=NOW + HOUR)
    just_before = NOW + HOUR - timedelta(microseconds=1)
    assert len(ledger.held("marie", NOW - DAY, just_before)) == 1
    assert ledger.spent(BUDGETS, DECEMBER, just_before)[0] == 0.1
    assert ledger.held("marie", NOW - DAY, NOW + HOUR) == ()
    assert ledger.spent(BUDGETS, DECEMBER, NOW + HOUR)[0] == 0.0
    hold(ledger, "d2", at=NOW + 2 * HOUR, customer="paul", cost=0.3)  # frees what is over for good
    assert ledger.spent(BUDGETS, DECEMBER, NOW + 2 * HOUR)[0] == 0.3
    deliver(ledger, "sent", NOW + HOUR)
    assert len(ledger.held("marie", NOW - DAY, NOW + 2 * HOUR)) == 1
    assert ledger.spent(BUDGETS, DECEMBER, NOW + 2 * HOUR)[0] == 0.4


def test_the_steps_after_one_that_lapsed_are_free_with_it_whatever_is_told_later(ledger: Ledger) -> None:
    """Else a letter that nobody will send keeps the customer silent and the budget short for days; and what
    comes back by a late report takes contacts and money that are another's by then."""
    lapse, steps = NOW + HOUR, (*STEPS[:2], Step("mail", WORDS, 0.1, after_hours=48))

    def bundle(id: str) -> None:
        with ledger.deciding():
            held = Reservation(NOW, lapse, DECEMBER, "", 0.5, steps)
            ledger.append(entry(id, f"of {id}", as_of=NOW), REQUEST, held)

    def told(id: str, step: int | None) -> None:
        one = Delivery(source="s", id=f"{id}{step}", decision_id=id, status="sent", at=NOW, step=step)
        assert isinstance(ledger.report([one], lapse)[0], Reported)

    def counted(id: str) -> tuple[int, float]:
        contacts = len(ledger.held(f"of {id}", NOW - DAY, lapse))
        assert len(ledger.held_by_all(NOW - DAY, lapse).get(f"of {id}", ())) == contacts
        return contacts, ledger.spent(BUDGETS, DECEMBER, lapse)[0]

    for id, swept in (("told first", False), ("swept first", True)):
        bundle(id)
        spent = 0.5 * swept
        assert ledger.spent(BUDGETS, DECEMBER, lapse - timedelta(microseconds=1))[0] == spent + 0.5
        assert counted(id) == (0, spent)
        if swept:
            hold(ledger, "another", at=lapse, customer="paul", cost=0.0)
            assert counted(id) == (0, spent)
        told(id, 1)
        assert counted(id) == (1, spent + 0.4), "what was sent, the customer has; no more is held"
        assert [of.free for of in ledger.reserved(id)] == [False, True, True]
        told(id, 3)
        assert counted(id) == (3, spent + 0.5)
        assert len(list(ledger.sent())) == 3 * (1 + swept)


def test_what_may_still_go_at_any_moment_counts_as_if_it_went_now(ledger: Ledger) -> None:
    """A message that is late by a day must not meet the next one at the customer's door."""
    hold(ledger, "d1", until=NOW + 48 * HOUR)
    assert ids(ledger.held("marie", NOW, NOW + 24 * HOUR)) == [NOW + 24 * HOUR]
    hold(ledger, "d2", customer="paul")  # whoever never reports: it is taken to have gone
    assert ids(ledger.held("paul", NOW - HOUR, NOW + 24 * HOUR)) == [NOW]
    deliver(ledger, "sent", NOW + HOUR)
    assert ids(ledger.held("marie", NOW, NOW + 24 * HOUR)) == [NOW + HOUR]


def test_budgets_are_of_their_period_and_scenario(ledger: Ledger) -> None:
    """A month's budget that starts anew on Monday is spent four times."""
    hold(ledger, "d1", day=date(2017, 12, 1), scenario="win_back", cost=1.0)
    hold(ledger, "d2", day=date(2017, 12, 31), cost=2.0)
    hold(ledger, "d3", day=date(2017, 11, 30), cost=4.0)
    assert ledger.spent(BUDGETS, DECEMBER, NOW) == (2.0, 3.0, 1.0)
    year, week = Budget(1.0, "year"), Budget(1.0, "week")
    assert ledger.spent((year, week), DECEMBER, NOW) == (7.0, 2.0)
    assert week.since(date(2017, 12, 31)) == date(2017, 12, 25), "a week begins on Monday"
    for number in range(30):  # thirty tenths are three, and not 2.9999...
        hold(ledger, f"t{number}", day=date(2018, 1, 1), cost=0.1)
    assert ledger.spent((Budget(9.0, "day"),), date(2018, 1, 1), NOW) == (3.0,)

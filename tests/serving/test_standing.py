"""What a customer says binds the very next decision, whether or not anything else runs."""

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builds_by_hand import write_build
from logs import empty_shop
from tiny import TINY_FEATURES, TINY_MOMENT, tiny_rows

from features import online
from features.errors import NotDue
from features.inbox import Inbox
from features.moments import DAY, iso
from features.online import Fresh, OnlineRows
from features.settings import BUNDLED_SHOPS, Settings
from propensity.falling import Found, find, tell_due
from serving.answers import DecisionAnswer
from serving.api import DecisionRequest, Identity
from serving.arrivals import EventAnswer, take
from serving.decisions import DecisionContext, take_decision
from serving.replays import replay

USUAL = {
    "order_value_365d": 80, "orders_365d": 20, "contacts_30d": 0, "days_since_contact": np.nan,
    "open_complaints": 0,
}  # fmt: skip
NAMES = (*TINY_FEATURES, *USUAL)
SERVICE = (
    (BUNDLED_SHOPS / "complete_journey" / "shop.py").read_text("utf-8")
    + """
W = Words("Answer her", "回复")
ACTIONS += [Action(name="answer", channel="mail", words=W, goal=W, purpose="service",
                  effect=Effect(.02, .01, .03, "prior", W))]
"""
)


@pytest.fixture
def settings(tiny_settings: Settings, tmp_path: Path) -> Settings:
    """Two customers, c1 and c2, whom every campaign is open to; nobody held out, nothing drawn; one service
    message among the actions."""
    shop = empty_shop(tmp_path / "shop", shop_py=SERVICE)
    text = (shop / "shop.toml").read_text("utf-8")
    text = text.replace("holdout = 0.05", "holdout = 0.0").replace("explore = 0.05", "explore = 0.0")
    (shop / "shop.toml").write_text(text, "utf-8")
    mine = replace(tiny_settings, shop=shop)
    publish(mine, NAMES)
    return mine


def publish(settings: Settings, names: tuple[str, ...], log: str = "hand") -> None:
    rows = np.column_stack([tiny_rows(2), *(np.full(2, value, np.float32) for value in USUAL.values())])
    rows[:, 0] = 20  # days_since_order
    matrix = np.ascontiguousarray(rows[:, [NAMES.index(name) for name in names]])
    build = write_build(settings, names, {TINY_MOMENT: (["c1", "c2"], matrix)}, log)
    online.publish(settings, build, TINY_MOMENT)


def tell(settings: Settings, type: str, customer: Any = "c1", minute: int = 0, **of: Any) -> None:
    """An event that is accepted; `minute` of the day before now."""
    at = iso(settings.now() - DAY).replace("T00:00", f"T00:{minute:02}")
    event = {"type": type, "source": "crm", "id": f"{type}-{minute}", "customer": customer, "at": at} | of
    with closing(Inbox(settings)) as inbox:
        body = json.dumps({"events": [event]}).encode()
        told = take(body, "0" * 32, settings, inbox, lambda people: [None for _ in people])
    (answer,) = told.results
    assert isinstance(answer, EventAnswer), answer
    assert answer.status == "accepted"


def decided(settings: Settings, customer: Any = "c1", **of: Any) -> DecisionAnswer:
    """Decided, recorded, and equal when it is taken again from its record."""
    context = DecisionContext.open(settings)
    with closing(context.ledger):
        answer = take_decision(context, DecisionRequest(customer, **of), client="tests")
    assert answer.decision_id is not None
    again = replay(settings, answer.decision_id)
    assert (again.verdict, again.differences) == ("equal", [])
    return answer


def rejected(answer: DecisionAnswer) -> Mapping[str, str | None]:
    return {action.action: action.reject_reason for action in answer.actions}


def overlay(settings: Settings, consents: Mapping[tuple[str, str], bool], **values: float) -> None:
    """What the process that writes fresh rows does for c1, up to the last event that came in."""
    rows = OnlineRows.open(settings)
    published = rows.current()
    row = rows.read(published, ["c1"]).matrix[0].copy()
    for name, value in values.items():
        row[list(published.features).index(name)] = value
    online.write_overlay(settings, published, {"c1": Fresh(row, settings.now(), consents)})
    with closing(Inbox(settings)) as inbox:
        inbox.note_overlaid(published.key, {"c1": inbox.last()})


def test_a_withdrawn_consent_binds_the_next_decision(settings: Settings) -> None:
    """Who says no on the web must not get a letter because a process was slow."""
    assert rejected(decided(settings))["campaign_a"] is None
    tell(settings, "consent", channel="mail", purpose="marketing", status="withdrawn")
    answer = decided(settings)
    assert rejected(answer)["campaign_a"] == "no_consent"
    assert rejected(answer)["answer"] is None, "a service message has a consent of its own"
    assert answer.used.consent["mail"] is False
    assert answer.used.recorded_consent == {"mail": {"marketing": False}}
    assert rejected(decided(settings, "c2"))["campaign_a"] is None


def overlays(settings: Settings) -> list[Any]:
    """The fresh rows that the store has."""
    with closing(sqlite3.connect(settings.home / "online" / "rows.sqlite")) as db:
        return db.execute("select * from overlays").fetchall()


def restore(settings: Settings, overlays: list[Any]) -> None:
    """As a store that crashed and came back as it was before."""
    with closing(sqlite3.connect(settings.home / "online" / "rows.sqlite")) as db, db:
        db.execute("delete from overlays")
        db.executemany("insert into overlays values (?, ?, ?, ?)", overlays)


@pytest.mark.parametrize("reason", ["no_consent", "open_complaint"])
def test_what_she_said_binds_also_where_the_store_lost_the_row_that_had_it(
    settings: Settings, reason: str
) -> None:
    """Who said no an hour ago must not get a letter because Redis crashed."""
    said = {
        "no_consent": {"type": "consent", "channel": "mail", "purpose": "marketing", "status": "withdrawn"},
        "open_complaint": {"type": "case", "case_id": "k1", "kind": "complaint", "change": "opened"},
    }
    now = settings.now()
    before, settings = (replace(settings, as_of=now + hours * DAY / 24) for hours in (1, 2))
    tell(before, "visit", channel="web")
    overlay(before, {("mail", "marketing"): True})
    older = overlays(settings)
    tell(settings, **said[reason])
    withdrawn = reason == "no_consent"
    overlay(settings, {("mail", "marketing"): not withdrawn}, open_complaints=int(not withdrawn))
    for left in (overlays(settings), older, []):
        restore(settings, left)
        assert rejected(decided(settings))["campaign_a"] == reason
        assert rejected(decided(settings, "c2"))["campaign_a"] is None


def test_a_withdrawal_for_all_channels_binds_each(settings: Settings) -> None:
    tell(settings, "consent", purpose="marketing", status="withdrawn")
    assert rejected(decided(settings))["campaign_a"] == "no_consent"


def test_a_grant_counts_once_her_row_has_it_and_never_against_a_later_withdrawal(settings: Settings) -> None:
    """Until we know what was said last, nothing is sent."""
    tell(settings, "consent", minute=5, channel="mail", purpose="marketing", status="withdrawn")
    tell(settings, "consent", minute=3, channel="mail", purpose="marketing", status="granted")
    assert rejected(decided(settings))["campaign_a"] == "no_consent"
    overlay(settings, {("mail", "marketing"): False})
    assert rejected(decided(settings))["campaign_a"] == "no_consent"
    tell(settings, "consent", minute=9, channel="mail", purpose="marketing", status="granted")
    assert rejected(decided(settings))["campaign_a"] == "no_consent"
    overlay(settings, {("mail", "marketing"): True})
    assert rejected(decided(settings))["campaign_a"] is None


def test_without_consent_to_automation_nothing_is_decided(settings: Settings) -> None:
    """The law gives her a person: not even a service message is chosen for her by a machine."""
    tell(settings, "consent", purpose="automation", status="withdrawn")
    answer = decided(settings)
    assert (answer.action, answer.propensity) == ("nothing", 1.0)
    assert {why for name, why in rejected(answer).items() if name != "nothing"} == {"no_automation"}
    assert "automated decisions" in answer.text.en
    assert "自动化决策" in answer.text.zh


def test_marketing_waits_while_a_complaint_is_open(settings: Settings) -> None:
    """A coupon in answer to a complaint costs a customer; the answer itself may be sent."""
    tell(settings, "case", minute=1, case_id="k1", kind="complaint", change="opened")
    answer = decided(settings)
    assert rejected(answer)["campaign_a"] == "open_complaint"
    assert rejected(answer)["answer"] is None
    assert answer.used.open_complaint
    tell(settings, "case", minute=2, case_id="k1", kind="complaint", change="closed")
    assert rejected(decided(settings))["campaign_a"] is None


def test_an_open_complaint_is_named_also_where_a_consent_is_missing(settings: Settings) -> None:
    """Else who reads `no consent` asks for one in the middle of a quarrel, and nobody answers it."""
    tell(settings, "consent", minute=1, channel="mail", purpose="marketing", status="withdrawn")
    before = decided(settings, candidates=("campaign_a",)).text
    tell(settings, "case", minute=2, case_id="k1", kind="complaint", change="opened")
    answer = decided(settings, candidates=("campaign_a",))
    assert rejected(answer)["campaign_a"] == "no_consent", "as it was recorded before"
    assert "complaint" not in before.en
    assert answer.text.en == f"{before.en} Marketing waits while a complaint is open."
    assert answer.text.zh == f"{before.zh}投诉处理期间暂停营销。"
    tell(settings, "consent", minute=3, channel="mail", purpose="marketing", status="granted")
    overlay(settings, {("mail", "marketing"): True}, open_complaints=1)
    alone = decided(settings, candidates=("campaign_a",)).text.en
    assert alone.count("complaint is open") == 1, "said once"


@pytest.mark.parametrize("counted", [True, False])
def test_a_complaint_binds_while_it_is_open_whether_or_not_the_features_know_of_cases(
    settings: Settings, counted: bool
) -> None:
    """A log without cases has no such feature: then the inbox alone says it, before and after an overlay."""
    if not counted:
        publish(settings, NAMES[:-1], log="without cases")
    tell(settings, "case", minute=1, case_id="k1", kind="complaint", change="opened")
    overlay(settings, {}, **({"open_complaints": 1} if counted else {}))
    assert rejected(decided(settings))["campaign_a"] == "open_complaint"
    tell(settings, "case", minute=2, case_id="k1", kind="complaint", change="closed")
    assert rejected(decided(settings))["campaign_a"] == ("open_complaint" if counted else None)
    overlay(settings, {}, **({"open_complaints": 0} if counted else {}))
    assert rejected(decided(settings))["campaign_a"] is None


OWED = """
from serving.retail import ACTIONS as RETAIL, SCENARIOS as EXAMPLES
ACTIONS += [a for a in RETAIL if a.name == "answer_complaint"]
SCENARIOS = [s for s in EXAMPLES if s.name == "complaint"]
"""


@pytest.mark.parametrize("counted", [True, False])
def test_the_first_complaint_is_due_at_once_whether_or_not_the_features_know_of_cases(
    settings: Settings, counted: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else the shop that never had a complaint in its log leaves the first one unanswered until a build."""
    with (settings.shop / "shop.py").open("a", encoding="utf-8") as file:
        file.write(OWED)
    toml = settings.shop / "shop.toml"
    toml.write_text(
        toml.read_text("utf-8").replace("mail = true", "mail = true\nservice_desk = true"), "utf-8"
    )
    if not counted:
        publish(settings, NAMES[:-1], log="without cases")
    none = find_due(settings)
    why = none.absent.get("complaint", "")
    assert none.who == ({"complaint": []} if counted else {})
    assert why == (
        "" if counted else "the published features lack open_complaints, nor did a complaint come in"
    )
    with pytest.raises(NotDue, match="`propensity due` tells" if counted else "lack open_complaints"):
        decided(settings, scenario="complaint")
    tell(settings, "case", minute=1, case_id="k1", kind="complaint", change="opened")
    assert find_due(settings).who == {"complaint": ["c1"]}
    answer = decided(settings, scenario="complaint")
    assert (answer.action, answer.route) == ("answer_complaint", "automatic")
    overlay(settings, {}, **({"open_complaints": 1} if counted else {}))
    assert find_due(settings).who == {"complaint": ["c1"]}
    assert decided(settings, scenario="complaint").action == "answer_complaint"
    tell_due(settings, [], False, None, dry_run=True)
    alone = "of those alone who complained since" in capsys.readouterr().err
    assert alone != counted, "what events alone tell of is said"
    tell(settings, "case", minute=2, case_id="k1", kind="complaint", change="closed")
    overlay(settings, {}, **({"open_complaints": 0} if counted else {}))
    assert find_due(settings).who.get("complaint", []) == []
    with pytest.raises(NotDue):
        decided(settings, scenario="complaint")


def find_due(settings: Settings) -> Found:
    context = DecisionContext.open(settings)
    with closing(context.ledger):
        return find(context, context.scenarios)


def test_a_question_or_a_return_is_no_complaint(settings: Settings) -> None:
    tell(settings, "case", case_id="k1", kind="question", change="opened")
    assert rejected(decided(settings))["campaign_a"] is None


def test_contacts_of_other_systems_count_against_the_cap_at_once_and_once(settings: Settings) -> None:
    """Two systems that know nothing of each other would each use the whole limit."""
    tell(settings, "contact", minute=1, channel="mail", action="newsletter")
    tell(settings, "contact", minute=2, channel="mail", action="newsletter")
    answer = decided(settings)
    assert answer.used.contacts_told == 2
    assert rejected(answer)["campaign_b"] in ("suppressed", "contact_cap")
    overlay(settings, {}, contacts_30d=2, days_since_contact=1)
    again = decided(settings)
    assert (again.used.contacts_in_log, again.used.contacts_told) == (2, 0)


def test_what_the_published_log_has_taken_in_is_left_to_it(settings: Settings) -> None:
    """Else an old withdrawal in the inbox would stand for ever against a newer grant in a nightly file."""
    tell(settings, "consent", channel="mail", purpose="marketing", status="withdrawn")
    tell(settings, "case", case_id="k1", kind="complaint", change="opened")
    assert rejected(decided(settings))["campaign_a"] == "no_consent"
    with closing(Inbox(settings)) as inbox:
        inbox.note_taken("taken", inbox.last())
    publish(settings, NAMES, log="taken")
    assert rejected(decided(settings))["campaign_a"] is None


def test_what_came_after_the_published_moment_is_not_yet_in_it(settings: Settings) -> None:
    """A log may have an event that the snapshot of the night before could not know."""
    later = replace(settings, as_of=TINY_MOMENT + DAY / 2)
    tell(later, "consent", channel="mail", purpose="marketing", status="withdrawn")
    with closing(Inbox(settings)) as inbox:
        inbox.note_taken("taken", inbox.last())
    publish(settings, NAMES, log="taken")
    assert rejected(decided(later))["campaign_a"] == "no_consent"


def test_whom_an_event_first_named_is_found_by_that_name(settings: Settings) -> None:
    """The shop's web site knows her by its own id only."""
    tell(settings, "visit", customer={"source": "web", "id": "42"}, channel="web")
    published = OnlineRows.open(settings).current()
    row = OnlineRows.open(settings).read(published, ["c1"]).matrix[0]
    online.write_overlay(settings, published, {"web:42": Fresh(row, settings.now())})
    assert decided(settings, Identity("web", "42")).customer_id == "web:42"

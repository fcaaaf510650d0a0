"""Asked right before sending: what was said, paused or complained of since keeps a decided message back."""

# ruff: noqa: F811 (fixtures of another module are arguments)

from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import numpy as np
import pytest
from builds_by_hand import write_build
from running import KEY, audited, running
from test_standing import USUAL, settings, tell  # noqa: F401
from tiny import TINY_MOMENT

from features import online
from features.errors import CustomerErased, UnknownDecision
from features.settings import Settings
from serving.answers import DecisionAnswer
from serving.api import DecisionRequest
from serving.client import Client
from serving.decision_context import DecisionContext
from serving.decisions import take_decision
from serving.ledger_reports import Delivery, Reported
from serving.pauses import opened as pausing
from serving.sendable import SendAnswer, may_send

HOUR = timedelta(hours=1)
THEN = """
ACTIONS = [replace(ACTIONS[0], name="campaign_a", then=(Step("mail", Words("b", "乙"), after_hours=24),))]
"""


def decided(settings: Settings, customer: str = "c1", *candidates: str) -> DecisionAnswer:
    context = DecisionContext.open(settings)
    request = DecisionRequest(customer, [*candidates] or ["campaign_a"])
    with closing(context.ledger):
        return take_decision(context, request, client="tests")


def asked(settings: Settings, id: str | None, hours: float = 0, approved: bool = False) -> SendAnswer:
    later = replace(settings, as_of=settings.now() + hours * HOUR)
    context = DecisionContext.open(later)
    with closing(context.ledger):
        return may_send(context, str(id), "0" * 32, approved)


def test_what_binds_since_the_decision_keeps_it_back(settings: Settings) -> None:
    """Else she gets the offer that was decided this morning, an hour after she said no or complained."""
    id = decided(settings).decision_id
    free = asked(settings, id)
    assert (free.may_send, free.reason, free.step, free.channel) == (True, None, 1, "mail")
    actions = DecisionContext.open(settings).actions.values()
    with pausing(settings) as pauses:
        pauses.pause("channel:mail", "wrong price", actions)
        assert (asked(settings, id).may_send, asked(settings, id).reason) == (False, "paused")
        said = asked(settings, id).text
        assert said.en == "Paused by the operators: channel:mail: wrong price", "as `pause --help` promises"
        assert said.zh.endswith("：channel:mail：wrong price")
        pauses.resume("channel:mail")
    tell(settings, "case", case_id="c", kind="complaint", change="opened", minute=1)
    assert asked(settings, id).reason == "open_complaint"
    tell(settings, "consent", channel="mail", purpose="marketing", status="withdrawn", minute=2)
    said = asked(settings, id)
    assert (said.reason, said.text.en) == ("no_consent", "No consent for this channel")
    tell(settings, "consent", channel="all", purpose="automation", status="withdrawn", minute=3)
    assert asked(settings, id).reason == "no_automation"


def test_what_is_over_or_was_told_is_not_sent(settings: Settings) -> None:
    """A queue that was stuck over the weekend must not send on Monday what others hold by then; nor twice."""
    path = settings.shop / "shop.toml"
    quiet = 'reserve_hours = 48\n[policy.send]\nquiet = ["18:00", "09:00"]\n'
    path.write_text(path.read_text("utf-8") + "\n" + quiet, "utf-8")
    first, second = decided(settings), decided(settings, "c2")
    early = asked(settings, first.decision_id)
    assert (early.reason, early.send_at) == ("not_yet", first.send_at)
    assert asked(settings, first.decision_id, 40).may_send
    assert asked(settings, first.decision_id, 24 * 4).reason == "expired"
    told = {"source": "s", "at": settings.now()}
    with closing((context := DecisionContext.open(settings)).ledger):
        context.ledger.report(
            [
                Delivery(id="1", decision_id=str(first.decision_id), status="sent", **told),  # type: ignore[arg-type]
                Delivery(id="2", decision_id=str(second.decision_id), status="cancelled", **told),  # type: ignore[arg-type]
            ],
            settings.now(),
        )
        owed, nothing = (decided(settings, "c1", name) for name in ("answer", "nothing"))
        assert asked(settings, first.decision_id, 30).reason == "sent"
        assert asked(settings, second.decision_id, 30).reason == "given_back"
        assert (owed.action, asked(settings, owed.decision_id).reason) == ("answer", None)
        assert asked(settings, nothing.decision_id).reason == "nothing"
        context.ledger.erase(["c1"])
    with pytest.raises(CustomerErased, match="send nothing"):
        asked(settings, first.decision_id)
    with pytest.raises(UnknownDecision):
        asked(settings, "nowhere")


def by_person(settings: Settings) -> None:
    """Whatever a choice may lose is too much from now on: a person decides."""
    path = settings.shop / "shop.toml"
    path.write_text(path.read_text("utf-8").replace("[[policy]]", "[[policy]]\nperson_above = 1e-9"), "utf-8")


def test_what_a_person_must_decide_is_not_sent_until_one_said_yes(settings: Settings) -> None:
    """Else the offer that the policy hands to a person goes out by itself, at noon."""
    free = decided(settings, "c2")
    by_person(settings)
    taken, owed, nothing = (
        decided(settings),
        decided(settings, "c1", "answer"),
        decided(settings, "c1", "nothing"),
    )
    assert (taken.action, taken.route, free.route) == ("campaign_a", "person", "automatic")
    said = asked(settings, taken.decision_id)
    assert (said.may_send, said.reason, said.route, said.step) == (False, "person", "person", 1)
    assert "approved=true" in said.text.en
    assert "approved=true" in said.text.zh
    yes = asked(settings, taken.decision_id, approved=True)
    assert (yes.may_send, yes.reason, yes.route) == (True, None, "person")
    assert asked(settings, taken.decision_id).reason == "person", "it is told with each question"
    assert (owed.action, owed.route) == ("answer", "person")
    assert asked(settings, owed.decision_id, approved=True).may_send
    assert asked(settings, nothing.decision_id).reason == "nothing"
    assert asked(settings, free.decision_id).may_send, "as it was decided, whatever the policy says since"
    assert asked(settings, free.decision_id, approved=True).route == "automatic"


def test_what_was_approved_is_bound_by_all_else(settings: Settings) -> None:
    """Else a yes of the morning sends what she refused at noon, in the night, or twice."""
    path = settings.shop / "shop.toml"
    quiet = 'reserve_hours = 48\n[policy.send]\nquiet = ["18:00", "09:00"]\n'
    path.write_text(path.read_text("utf-8") + "\n" + quiet, "utf-8")
    by_person(settings)
    id = decided(settings).decision_id
    assert asked(settings, id).reason == "person", "a person needs time: asked before it may go"
    assert asked(settings, id, approved=True).reason == "not_yet"
    assert (
        asked(settings, id, 24 * 4).reason == asked(settings, id, 24 * 4, approved=True).reason == "expired"
    )
    with pausing(settings) as pauses:
        pauses.pause("channel:mail", "wrong price", DecisionContext.open(settings).actions.values())
        assert asked(settings, id, 40, approved=True).reason == asked(settings, id, 40).reason == "paused"
        pauses.resume("channel:mail")
    assert asked(settings, id, 40, approved=True).may_send
    tell(settings, "consent", channel="mail", purpose="marketing", status="withdrawn", minute=2)
    for approved in (True, False):  # nobody need look at what cannot go
        assert asked(settings, id, 40, approved=approved).reason == "no_consent"


def test_what_was_sent_without_a_person_is_taken_down_all_the_same(settings: Settings) -> None:
    """Else the log lacks a contact that she had, and the next comes too soon."""
    by_person(settings)
    id = str(decided(settings).decision_id)
    with closing((context := DecisionContext.open(settings)).ledger):
        told = Delivery(source="s", id="1", decision_id=id, status="sent", at=settings.now())
        (found,) = context.ledger.report([told], settings.now())
    assert isinstance(found, Reported)
    assert found.status == "accepted"
    assert asked(settings, id).reason == asked(settings, id, approved=True).reason == "sent"


def test_who_says_yes_is_in_the_audit_and_the_customer_is_not(settings: Settings) -> None:
    """Else nobody can say by whose word it went; an odd word is no yes."""
    by_person(settings)
    with running(replace(settings, api_keys={"tests": KEY}), watched=True) as service:
        body = {"customer": "c1", "candidates": ["campaign_a"]}
        taken = service.client.post("/v1/decisions", json=body, headers={"idempotency-key": "a"}).json()
        path = f"/v1/decisions/{taken['decision_id']}"
        no = service.client.get(path).json()
        assert (no["may_send"], no["reason"], no["route"]) == (False, "person", "person")
        for odd in ("yes", "", "true&approved=false"):
            assert service.client.get(f"{path}?approved={odd}").status_code == 422
        assert service.client.get(f"{path}?approved=false").json()["reason"] == "person"
        with Client(str(service.client.base_url), KEY) as client:
            yes = client.may_send(taken["decision_id"], approved=True)
        assert (yes.may_send, yes.route) == (True, "person")
    (line,) = [one for one in audited(settings.home) if "outcomes" in one]
    assert (line["client"], line["action"]) == ("tests", f"GET {path}?approved=true")
    assert (line["request_id"], line["outcomes"]) == (yes.request_id, {"may_send": 1})


def test_of_a_bundle_the_next_message_is_asked_about(settings: Settings) -> None:
    """Else the second is sent before the first, or before its time."""
    with (settings.shop / "shop.py").open("a", encoding="utf-8") as file:
        file.write(f"from dataclasses import replace\nfrom serving.actions import Step\n{THEN}")
    taken: Any = decided(settings)
    assert asked(settings, taken.decision_id).step == 1
    one = Delivery(
        source="s", id="1", decision_id=taken.decision_id, status="sent", at=settings.now(), step=1
    )
    with closing((context := DecisionContext.open(settings)).ledger):
        context.ledger.report([one], settings.now())
    assert (asked(settings, taken.decision_id).step, asked(settings, taken.decision_id).reason) == (
        2,
        "not_yet",
    )
    assert asked(settings, taken.decision_id, 25).may_send


def test_a_later_message_is_held_so_long_after_it_was_due_as_the_first(settings: Settings) -> None:
    """Else the second of two is too early until it is too late, and never sent."""
    path = settings.shop / "shop.toml"
    path.write_text(path.read_text("utf-8") + "\nreserve_hours = 6\n", "utf-8")
    with (settings.shop / "shop.py").open("a", encoding="utf-8") as file:
        file.write(f"from dataclasses import replace\nfrom serving.actions import Step\n{THEN}")
    taken: Any = decided(settings)
    one = Delivery(
        source="s", id="1", decision_id=taken.decision_id, status="sent", at=settings.now(), step=1
    )
    with closing((context := DecisionContext.open(settings)).ledger):
        context.ledger.report([one], settings.now())
    hours = (23, 24, 29, 30)
    said = [asked(settings, taken.decision_id, after).reason for after in hours]
    assert said == ["not_yet", None, None, "expired"]


def test_what_follows_a_message_that_was_reported_too_late_is_not_sent(settings: Settings) -> None:
    """Else the second goes on a contact and money that were free, and perhaps another's, when the first was
    told of."""
    path = settings.shop / "shop.toml"
    path.write_text(path.read_text("utf-8") + "\nreserve_hours = 6\n", "utf-8")
    with (settings.shop / "shop.py").open("a", encoding="utf-8") as file:
        file.write(f"from dataclasses import replace\nfrom serving.actions import Step\n{THEN}")
    taken: Any = decided(settings)
    one = Delivery(
        source="s", id="1", decision_id=taken.decision_id, status="sent", at=settings.now(), step=1
    )
    with closing((context := DecisionContext.open(settings)).ledger):
        context.ledger.report([one], settings.now() + 7 * HOUR)
    after = asked(settings, taken.decision_id, 25)
    assert (after.step, after.reason, after.may_send) == (2, "expired", False)


def test_what_is_too_early_and_forbidden_since_is_forbidden(settings: Settings) -> None:
    """Else a journey that asks early keeps a message queued for somebody who has said no."""
    path = settings.shop / "shop.toml"
    quiet = 'reserve_hours = 48\n[policy.send]\nquiet = ["18:00", "09:00"]\n'
    path.write_text(path.read_text("utf-8") + "\n" + quiet, "utf-8")
    id = decided(settings).decision_id
    assert asked(settings, id).reason == "not_yet"
    tell(settings, "consent", channel="mail", purpose="marketing", status="withdrawn", minute=2)
    assert asked(settings, id).reason == "no_consent"


HOME = """
from features.definitions import Feature
FEATURES = [Feature(name="home", words=Words("Zone", "时区"), unit="zone", measure="last", table="contacts",
                    column="campaign_id", vocabulary=("America/Los_Angeles", "Asia/Shanghai"))]
"""


@pytest.fixture
def zones(settings: Settings) -> Settings:
    """c1 lives in Los Angeles, where it is 16:00, c2 in Shanghai, at 08:00; the shop is in New York."""
    path = settings.shop / "shop.toml"
    quiet = 'reserve_hours = 48\n[policy.send]\nquiet = ["21:00", "09:00"]\nzone = "home"\nhours = []\n'
    path.write_text(path.read_text("utf-8") + "\n" + quiet, "utf-8")
    with (settings.shop / "shop.py").open("a", encoding="utf-8") as file:
        file.write(HOME)
    names = ("days_since_order", *USUAL, "home")
    rows = np.array([[20, *USUAL.values(), home] for home in (0, 1)], np.float32)
    build = write_build(settings, names, {TINY_MOMENT: (["c1", "c2"], rows)})
    online.publish(settings, build, TINY_MOMENT)
    return settings


def test_quiet_hours_bind_the_sending_in_the_customers_zone(zones: Settings) -> None:
    """Else what was decided in the afternoon and is late wakes her at ten at night, told that it may go."""
    west, east = (decided(zones, id).decision_id for id in ("c1", "c2"))
    assert asked(zones, west, 4.9).may_send
    night = asked(zones, west, 5)  # 21:00 there
    assert (night.may_send, night.reason, night.send_at) == (False, "not_yet", "2017-12-03T17:00:00Z")
    assert "quiet hours" in night.text.en
    assert "免打扰" in night.text.zh
    assert asked(zones, west, 17).may_send, "at the moment that it was told"
    assert asked(zones, east, 5).may_send, "13:00 there"
    assert asked(zones, east, 13).send_at == "2017-12-04T01:00:00Z"
    early = asked(zones, east)  # decided in the quiet hours
    assert (early.reason, early.send_at) == ("not_yet", "2017-12-03T01:00:00Z")
    assert "quiet hours" in early.text.en
    tell(zones, "consent", channel="mail", purpose="marketing", status="withdrawn", minute=2)
    assert asked(zones, west, 5).reason == "no_consent", "the morning will not change that"


def test_quiet_hours_are_those_of_now_and_service_keeps_to_them_as_the_policy_says(zones: Settings) -> None:
    """Else who is owed an answer waits for the morning, or hours that were made longer bind nothing."""
    owed, offer = (decided(zones, "c1", name).decision_id for name in ("answer", "campaign_a"))
    assert asked(zones, owed, 6).may_send
    path = zones.shop / "shop.toml"
    path.write_text(path.read_text("utf-8").replace('"21:00"', '"15:00"') + "service = true\n", "utf-8")
    assert [asked(zones, id, 0).send_at for id in (owed, offer)] == ["2017-12-03T17:00:00Z"] * 2


def test_what_would_be_free_again_before_the_night_is_over_has_expired(zones: Settings) -> None:
    """Else a journey keeps it until the morning, when its contact and its money are another's."""
    path = zones.shop / "shop.toml"
    path.write_text(path.read_text("utf-8").replace("reserve_hours = 48", "reserve_hours = 8"), "utf-8")
    id = decided(zones).decision_id
    assert (asked(zones, id, 6).reason, asked(zones, id, 4).reason) == ("expired", None)


def test_a_later_step_is_due_after_the_quiet_hours(zones: Settings) -> None:
    """Else the text that follows comes at four in the night, as only the first waited for the morning."""
    with (zones.shop / "shop.py").open("a", encoding="utf-8") as file:
        file.write(f"from dataclasses import replace\nfrom serving.actions import Step\n{THEN}")
    path = zones.shop / "shop.py"
    path.write_text(path.read_text("utf-8").replace("after_hours=24", "after_hours=12"), "utf-8")
    taken: Any = decided(zones)
    one = Delivery(source="s", id="1", decision_id=taken.decision_id, status="sent", at=zones.now(), step=1)
    with closing((context := DecisionContext.open(zones)).ledger):
        assert context.ledger.reserved(taken.decision_id)[1][0] == zones.now() + 17 * HOUR
        context.ledger.report([msgspec.structs.replace(one, at=zones.now() + HOUR)], zones.now() + HOUR)
        assert context.ledger.reserved(taken.decision_id)[1][0] == zones.now() + 18 * HOUR
    waits = asked(zones, taken.decision_id, 2)
    assert (waits.step, waits.reason, waits.send_at) == (2, "not_yet", "2017-12-03T18:00:00Z")
    assert "quiet" not in waits.text.en, "it is 18:00 there"
    assert asked(zones, taken.decision_id, 18).may_send

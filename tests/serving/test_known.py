"""What an operator reads of a customer beside scores: health, contacts, cases, tags, ids, a decision."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from deliveries import deliver, identity, order
from running import KEY, Running, release, running, settings_of
from test_openapi import answer_of

from features import online
from features.compute.engine import build
from features.definitions import catalogue
from features.ingestion.ingest import take
from features.moments import parse_moment
from features.settings import Settings
from serving import known
from serving.api import Failure, NoScore
from serving.client import Client
from serving.customer_types import LastDecision, NoHealth
from serving.scores import Scorer

MOMENT = parse_moment("2017-02-10")
HER, OLD, CARD = "anna", "anna-old", "card-1"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """She has two customer ids and a card, was contacted three times without an answer, and complained."""
    folder = tmp_path_factory.mktemp("known")
    settings = replace(settings_of(folder / "home"), as_of=MOMENT)
    days = range(1, 29)
    till = [order(f"{day}", f"c{day % 30}", f"2017-01-{day:02}", day) for day in days]
    till += [order(f"her {day}", (OLD, HER)[day % 2], f"2017-01-{day:02}", day) for day in days]
    who = [identity("crm", CARD, HER, "2017-01-02"), identity("crm", CARD, OLD, "2017-01-02")]
    sent = [
        {
            "contact_id": f"s{day}", "customer_id": HER, "at": f"2017-02-0{day}", "channel": "sms",
            "action": "coupon", "campaign_id": f"k{day}",
        }
        for day in (1, 2, 3)
    ]  # fmt: skip
    case = {
        "case_id": "7", "customer_id": OLD, "at": "2017-02-05", "change": "opened", "kind": "complaint",
    }  # fmt: skip
    click = {
        "response_id": "r1",
        "customer_id": "c3",
        "at": "2017-02-02",
        "kind": "click",
        "campaign_id": "k1",
    }
    tables = {"orders": till, "identities": who, "contacts": sent, "cases": [case], "responses": [click]}
    take(settings, [deliver(folder / "till", "till", tables)])
    made, _ = build(settings, [MOMENT])
    online.publish(settings, made, MOMENT)
    release(settings, folder, made, "churn_28d")
    return replace(settings, as_of=MOMENT + timedelta(hours=6))


@pytest.fixture(scope="module")
def service(home: Settings) -> Iterator[Running]:
    with running(home, watched=True) as service:
        yield service


def told(service: Running, customer: str = HER, **query: str) -> dict[str, Any]:
    answer = service.client.get(f"/v1/customers/{customer}", params=query)
    assert answer.status_code == 200, answer.text
    answer_of("/v1/customers/{id}", "get").validate(answer.json())
    of: dict[str, Any] = answer.json()
    return of


def test_all_that_is_told_is_declared() -> None:
    """Else a renamed feature silently leaves the page of every customer."""
    assert {*known.CONTACTS, *known.CASES, *known.WARNINGS} <= set(catalogue())


def test_health_is_the_chance_to_order_and_says_what_to_look_at_first(service: Running) -> None:
    """Else an operator sees a number that nobody can say the meaning of, and misses an open complaint."""
    of = told(service)
    (churn,) = of["scores"]
    health = of["health"]
    assert health["score"] == pytest.approx(100 * (1 - churn["probability"]))
    assert health["drivers"] == churn["reasons"]
    assert f"{health['score']:.0f}" in health["text"]["en"]
    assert "28天" in health["text"]["zh"]
    warned = {fact["feature"]: fact["value"] for fact in health["warnings"]}
    assert warned == {"open_complaints": 1, "overdue": 12.5, "unanswered_contacts_90d": 3}
    assert told(service, "c3")["health"]["warnings"] == []


def test_contacts_cases_and_tags_are_told_in_both_languages(service: Running) -> None:
    of = told(service)
    contacts = {fact["feature"]: fact for fact in of["contacts"]}
    assert contacts["contacts_30d"]["value"] == 3
    assert contacts["last_contact_channel"]["text"]["en"].endswith("text message")
    assert contacts["last_contact_channel"]["text"]["zh"].endswith("短信")
    assert "silence" not in contacts, "this log has no visits: nothing is said of them"
    assert {fact["feature"]: fact["value"] for fact in of["cases"]}["open_complaints"] == 1
    tags = {tag["name"]: tag for tag in of["tags"]}
    assert "tired_of_contacts" in tags
    assert tags["tired_of_contacts"]["text"]["zh"] == "营销疲劳"


def test_every_id_of_a_person_leads_to_the_person(service: Running) -> None:
    """A journey that kept the number from before two customers became one must not be told of a stranger."""
    of = told(service, HER)
    assert of["merged"] == [OLD]
    ignored = {"request_id"}
    for other in (told(service, OLD), told(service, CARD, source="crm")):
        assert {k: v for k, v in other.items() if k not in ignored} == {
            k: v for k, v in of.items() if k not in ignored
        }
    first, second, nobody = service.scores(OLD, HER, "nobody").json()["results"]
    assert first == second
    assert nobody["error"]["code"] == "unknown_customer"
    assert told(service, "c3")["merged"] == []
    with Client(str(service.client.base_url), KEY) as client:
        assert client.decide(OLD, "merged-1").customer_id == HER
        assert client.decide(OLD, "merged-1").customer_id == HER


def test_the_last_decision_is_told_with_what_became_of_it(service: Running) -> None:
    """Else an operator on the phone cannot say why the message came, or that none will."""
    assert told(service, "c4")["decision"] is None
    with Client(str(service.client.base_url), KEY) as client:
        first = client.decide("c4", "known-1")
        last = client.decide("c4", "known-2")
        of = client.customer("c4").decision
        assert isinstance(of, LastDecision)
        (taken,) = [one for one in (first, last) if one.decision_id == of.decision_id]  # of one moment
        assert (of.action, of.channel, of.status) == (taken.action, taken.channel, "decided")
        assert of.text == taken.text
        client.deliveries(
            [{"source": "s", "id": "1", "decision_id": of.decision_id, "status": "blocked", "at": of.as_of}]
        )
        of = client.customer("c4").decision
        assert isinstance(of, LastDecision)
        assert of.status == ("blocked" if of.action != "nothing" else of.status)


def test_what_the_last_decision_cost_and_what_followed_is_told(service: Running) -> None:
    """Else an operator reads why a coupon came, and not that it was paid for and what was bought with it."""
    with Client(str(service.client.base_url), KEY) as client:
        ids = (f"c{n}" for n in range(5, 30))
        taken = next(of for of in (client.decide(id, f"cost-{id}") for id in ids) if of.channel)
        who, of = taken.customer_id, client.customer(taken.customer_id).decision
        assert isinstance(of, LastDecision)
        assert (of.score, of.currency, of.cost, of.outcomes) == (taken.score, taken.used.currency, None, [])
        assert of.expected_cost is not None
        terms = next(a.terms for a in taken.actions if a.action == taken.action) or {}
        assert of.expected_cost == pytest.approx(-terms["send_cost"] - terms["incentive"])
        told_of = {"source": "s", "decision_id": of.decision_id, "at": of.as_of}
        client.deliveries([{**told_of, "id": "cost", "status": "sent"}])
        client.outcomes([
            {**told_of, "id": "o", "type": "order", "value": 30.0},
            {**told_of, "id": "r", "type": "refund", "value": 12.0, "revises": "o"},
        ])  # fmt: skip
        of = client.customer(who).decision
        assert isinstance(of, LastDecision)
        assert of.cost == of.expected_cost
        assert [(one.type, one.value, one.refunded) for one in of.outcomes] == [("order", 18.0, 12.0)]
        assert not of.final, "what has not come yet may come"
        assert of.as_of < (of.window_end or "") < (of.matures_at or "")
        answer_of("/v1/customers/{id}", "get").validate(told(service, who))


def test_of_whom_the_released_target_does_not_speak_it_says_just_that(home: Settings) -> None:
    """Else: an operator is told that nothing is released, and somebody goes looking for a broken release."""
    scorer, declared = Scorer(home), known.Declared(home)
    outside = Failure("outside_population", "speaks only of customers with an order in the last 90 days")
    assert known.health(scorer, [NoScore("churn_28d", outside)], {}, declared) == NoHealth(outside)
    nothing = known.health(scorer, [NoScore("gone_28d", outside)], {}, declared)
    assert isinstance(nothing, NoHealth)
    assert nothing.error.code == "no_release", "no target of that name is released"


def test_an_event_for_an_id_that_became_another_is_answered_as_hers(service: Running) -> None:
    """Else a sender files it under a number that no other route answers with."""
    of = {"type": "visit", "source": "web", "channel": "web", "at": "2017-02-10T01:00:00Z"}
    whose = [OLD, HER, {"source": "crm", "id": CARD}, "c3", "new"]
    events = [{**of, "id": f"e{n}", "customer": who} for n, who in enumerate(whose)]
    for status in ("accepted", "duplicate"):
        answer = service.client.post("/v1/events", json={"events": events})
        told = answer.json()["results"]
        assert [(one["customer_id"], one["status"]) for one in told if "error" not in one] == [
            (who, status) for who in (HER, HER, HER, "c3", "new")
        ], answer.text

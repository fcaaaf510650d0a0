"""Decisions over HTTP: once under a key, reported once, asked about before they are sent."""

# ruff: noqa: F811 (fixtures of another module are arguments)

from typing import Any

import pytest
from running import KEY, Running
from test_service import SECRET, decide, home, problem, service  # noqa: F401

from serving.openapi import document


def test_the_same_idempotency_key_gives_the_same_decision_and_never_another(service: Running) -> None:
    """A caller that repeats a request after a lost answer must not spend a second contact."""
    first = decide(service, "order-1", customer="c0003")
    again = decide(service, "order-1", customer="c0003")
    assert first.status_code == 200
    assert first.json()["decision_id"]
    assert again.content == first.content
    problem(decide(service, "order-1", customer="c0004"), 409, "idempotency_conflict")
    assert decide(service, "order-2", customer="c0003").json()["decision_id"] != first.json()["decision_id"]


def test_what_the_document_says_of_a_used_key_is_so(service: Running) -> None:
    """Else a journey that previews with its key, or names her otherwise, does what nobody foresaw."""
    first = decide(service, "used", customer="c0005")
    preview = decide(service, "used", customer="c0006", preview=True)
    assert (preview.status_code, preview.json()["decision_id"]) == (200, None)
    assert preview.json()["customer_id"] == "c0006"
    named = {"source": "till", "id": "of c0005"}
    problem(decide(service, "used", customer=named), 409, "idempotency_conflict")
    assert decide(service, "used", customer="c0005").content == first.content
    said = document()["paths"]["/v1/decisions"]["post"]["description"]
    assert "A preview answers anew, whatever its key was used for" in said
    assert "named otherwise" in said


def test_a_decision_needs_an_idempotency_key_and_a_preview_does_not(service: Running) -> None:
    problem(decide(service, None, customer="c0003"), 400, "idempotency_key")
    too_long = decide(service, "x" * 201, customer="c0003")
    problem(too_long, 400, "idempotency_key")
    assert "it has 201 characters" in too_long.json()["detail"]
    twice = [("Idempotency-Key", "one"), ("Idempotency-Key", "two"), ("Authorization", f"Bearer {KEY}")]
    several = service.client.post("/v1/decisions", json={"customer": "c0003"}, headers=twice)
    problem(several, 400, "idempotency_key")
    preview = decide(service, None, customer="c0003", preview=True).json()
    assert (preview["decision_id"], preview["preview"]) == (None, True)
    assert preview["actions"]


def test_one_unknown_customer_is_not_found(service: Running) -> None:
    for customer in (SECRET, {"source": "crm", "id": SECRET}):
        response = decide(service, "order-3", customer=customer)
        problem(response, 404, "unknown_customer")
        assert SECRET not in response.text


def test_what_became_of_a_decision_is_told_once_and_gives_its_contact_back(service: Running) -> None:
    """Else: a message that was never sent keeps the customer from every other; a repeat doubles an order."""
    customers = (f"c{number:04}" for number in range(5, 60))
    answers = (decide(service, f"reported-{id}", customer=id).json() for id in customers)
    decided = next(answer for answer in answers if answer["action"] != "nothing")
    at = decided["as_of"]
    report = {"source": "sender", "decision_id": decided["decision_id"], "at": at}
    body = {
        "deliveries": [
            report | {"id": "1", "status": "blocked", "blocked_by": "opt-out list"},
            report | {"id": "1", "status": "blocked", "blocked_by": "opt-out list"},
            report | {"id": "1", "status": "sent"},
            report | {"id": "2", "status": SECRET},
            report | {"id": "3", "status": "sent", "decision_id": SECRET},
            SECRET,
        ]
    }
    response = service.client.post("/v1/deliveries", json=body)
    assert response.status_code == 200
    first, again, other, wrong, unknown, odd = response.json()["results"]
    assert (first["status"], first["contact"], again["status"]) == ("accepted", "released", "duplicate")
    failures = [one["error"] for one in (other, wrong, unknown, odd)]
    assert [one["code"] for one in failures] == [
        "idempotency_conflict", "invalid_report", "unknown_decision", "invalid_report"
    ]  # fmt: skip
    assert failures[1]["place"] == "$.deliveries[3].status"
    assert "sent, delivered, blocked, cancelled, expired" in failures[1]["detail"]
    assert SECRET not in response.text
    assert (
        'propensity_reports_total{outcome="accepted",route="/v1/deliveries"} 1.0'
        in service.client.get("/metrics").text
    )


def test_outcomes_are_told_of_every_decision_and_say_until_when_they_count(service: Running) -> None:
    """Else: a caller cannot know that what it tells counts for nothing."""
    decided = decide(service, "bought", customer="c0006").json()
    told = {"source": "shop", "decision_id": decided["decision_id"], "at": decided["as_of"]}
    body = {
        "outcomes": [
            told | {"id": "o1", "type": "order", "value": 20},
            told | {"id": "r1", "type": "refund", "value": 50, "revises": "o1"},
            told | {"id": "o2", "type": "order"},
            told | {"id": "o3", "type": "click", "revises": "o1"},
            told | {"id": "r2", "type": "refund", "value": 5, "revises": "o9"},
            told | {"id": "o1", "type": "order", "value": "20.00"},  # amounts as text, as events take them
            told | {"id": "o4", "type": "order", "value": "-1"},
            told | {"id": "o5", "type": "order", "value": "1,50"},
        ]
    }
    order, refund, *others = service.client.post("/v1/outcomes", json=body).json()["results"]
    failed = [one for one in others if "error" in one]
    (again,) = [one for one in others if one not in failed]
    assert (again["status"], again["counted"]) == ("duplicate", 20)
    assert (order["status"], order["counts"], refund["counts"]) == ("accepted", True, True)
    assert (order["counted"], refund["counted"]) == (20, 20), "no more comes back than was paid"
    assert order["matures_at"] > order["window_end"] > decided["as_of"]
    assert [one["error"]["place"] for one in failed] == [
        "$.outcomes[2].value", "$.outcomes[3].revises", "$.outcomes[4]", "$.outcomes[6].value",
        "$.outcomes[7].value",
    ]  # fmt: skip
    assert failed[2]["error"]["code"] == "report_conflict"
    assert failed[4]["error"]["detail"] == "expected an amount in digits such as 12.50"
    problem(service.client.post("/v1/outcomes", json={"outcomes": []}), 422, "invalid_request")


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"customer": 19870101}, "$.customer"),
        ({"customer": "c0001", "candidates": [SECRET]}, "$.candidates[0]"),
        ({"customer": "c0001", "candidates": []}, "$.candidates"),
        ({"customer": "c0001", "preview": SECRET}, "$.preview"),
    ],
)
def test_a_decision_that_does_not_fit_names_the_place(
    service: Running, body: dict[str, Any], path: str
) -> None:
    response = decide(service, "order-4", **body)
    (offender,) = problem(response, 422, "invalid_request")["errors"]
    assert offender["path"] == path
    assert SECRET not in response.text
    assert "19870101" not in response.text


def test_whether_it_may_still_be_sent_is_asked_by_its_id(service: Running) -> None:
    """Right before sending; of a decision that nobody knows there is no answer, and no repeat of its name."""
    taken = decide(service, "may-it-go", customer="c0100").json()
    said = service.client.get(f"/v1/decisions/{taken['decision_id']}").json()
    assert (said["decision_id"], said["action"]) == (taken["decision_id"], taken["action"])
    assert said["may_send"] == (taken["action"] != "nothing")
    assert said["reason"] == (None if said["may_send"] else "nothing")
    unknown = service.client.get(f"/v1/decisions/{SECRET}")
    problem(unknown, 404, "unknown_decision")
    assert SECRET not in unknown.text
    assert service.client.post("/v1/decisions/x", json={}).status_code == 405
    assert 'route="/v1/decisions/{id}"' in service.client.get("/metrics").text


def test_an_opt_out_told_as_an_outcome_binds_the_next_decision(service: Running) -> None:
    """Else: who answers a message with `stop` gets the next one, since the sender told it as an outcome."""
    customers = (f"c{number:04}" for number in range(60, 140))
    answers = (decide(service, f"opt-out-{id}", customer=id).json() for id in customers)
    decided = next(answer for answer in answers if answer["channel"])
    may = f"/v1/decisions/{decided['decision_id']}"
    assert service.client.get(may).json()["reason"] in (None, "not_yet")
    outcome = {
        "source": "sender", "id": "stop-1", "decision_id": decided["decision_id"], "type": "opt_out",
        "at": decided["as_of"],
    }  # fmt: skip
    for status in ("accepted", "duplicate"):
        (told,) = service.client.post("/v1/outcomes", json={"outcomes": [outcome]}).json()["results"]
        assert told["status"] == status
    answer = service.client.get(may).json()
    assert (answer["may_send"], answer["reason"]) == (False, "no_consent")
    preview = decide(service, None, customer=decided["customer_id"], preview=True).json()
    assert preview["used"]["consent"][decided["channel"]] is False
    refused = {one["reject_reason"] for one in preview["actions"] if one["channel"] == decided["channel"]}
    assert "no_consent" in refused
    assert None not in refused, "nothing of that channel may be chosen"


def test_a_complaint_told_as_an_outcome_freezes_marketing_until_its_case_is_closed(service: Running) -> None:
    """Else: who complains of a message gets the next one, since the sender told it as an outcome."""
    customers = (f"c{number:04}" for number in range(140, 200))
    answers = (decide(service, f"complaint-{id}", customer=id).json() for id in customers)
    decided = next(answer for answer in answers if answer["channel"])
    outcome = {
        "source": "sender", "id": "angry-1", "decision_id": decided["decision_id"], "type": "complaint",
        "at": decided["as_of"],
    }  # fmt: skip
    for status in ("accepted", "duplicate"):
        (told,) = service.client.post("/v1/outcomes", json={"outcomes": [outcome]}).json()["results"]
        assert (told["status"], told["case_id"]) == (status, "sender:angry-1")
    may = f"/v1/decisions/{decided['decision_id']}"
    assert service.client.get(may).json()["reason"] == "open_complaint"
    preview = decide(service, None, customer=decided["customer_id"], preview=True).json()
    assert preview["used"]["open_complaint"] is True
    assert "open_complaint" in {one["reject_reason"] for one in preview["actions"]}
    assert preview["action"] == "nothing"
    closed = {
        "type": "case", "source": "desk", "id": "1", "customer": decided["customer_id"], "kind": "complaint",
        "case_id": told["case_id"], "change": "closed", "at": decided["as_of"],
    }  # fmt: skip
    (became,) = service.client.post("/v1/events", json={"events": [closed]}).json()["results"]
    assert became["status"] == "accepted"
    assert service.client.get(may).json()["reason"] in (None, "not_yet")

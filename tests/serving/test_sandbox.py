"""Test keys: customers for every stage and error, answered as the API does, and nothing is touched."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running import Running, running, settings_of
from test_openapi import answer_of

from features.settings import Settings
from serving.api import Answered, NoScore, Score
from serving.client import Client, ProblemError
from serving.keys import Keys
from serving.sandbox_customers import CUSTOMERS, FAULTS
from serving.segment_tables import TABLES


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Nothing is built or released: a journey can be begun before the first model is."""
    return settings_of(tmp_path_factory.mktemp("sandbox") / "home")


@pytest.fixture(scope="module")
def key(home: Settings) -> str:
    secret, _ = Keys(home).add("builder", ["admin"], test=True)
    return secret


@pytest.fixture(scope="module")
def service(home: Settings, key: str) -> Iterator[Running]:
    with running(home) as service:
        service.client.headers["authorization"] = f"Bearer {key}"
        yield service


@pytest.fixture(scope="module")
def client(service: Running, key: str) -> Iterator[Client]:
    with Client(str(service.client.base_url), key, tries=1) as client:
        yield client


def content(home: Path) -> dict[str, str]:
    """Every file that could hold something real, by its hash."""
    kept = (p for p in sorted(home.rglob("*")) if p.is_file() and p.name not in (".lock", "fresh.lock"))
    return {str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}


def test_the_key_says_that_it_is_for_tests(key: str, home: Settings) -> None:
    assert key.startswith("propensity_test_")
    assert Keys(home).everything()[0].test


def test_there_is_a_customer_for_every_stage(service: Running) -> None:
    """Else a branch of a journey is first run on a real customer."""
    stages = {}
    for id in CUSTOMERS:
        answer = service.client.get(f"/v1/customers/{id}")
        assert answer.status_code == 200, answer.text
        answer_of("/v1/customers/{id}", "get").validate(answer.json())
        stages[answer.json()["segments"]["stage"]["segment"]["name"]] = id
    assert set(stages) == {label.name for label in TABLES["stage"].labels}


def test_scores_are_the_same_every_time_and_fit_the_document(service: Running, client: Client) -> None:
    ids = [*CUSTOMERS, "nobody"]
    answer = service.scores(*ids).json()
    answer_of("/v1/scores", "post").validate(answer)
    assert answer["results"] == service.scores(*ids).json()["results"]
    assert answer["results"][-1]["error"]["code"] == "unknown_customer"
    assert "test-exit" in answer["results"][-1]["error"]["detail"], "who misspells an id is told all of them"
    stale, outside, regular = client.scores(["test-stale", "test-contact", "test-maintenance"]).results
    assert isinstance(stale, Answered)
    assert stale.stale
    assert isinstance(outside, Answered)
    assert {type(score) for score in outside.scores} == {NoScore}
    assert isinstance(regular, Answered)
    churn, again = regular.scores
    assert isinstance(churn, Score)
    assert isinstance(again, Score)
    assert churn.probability == pytest.approx(1 - again.probability)
    assert churn.reasons[0].contribution < 0 < again.reasons[0].contribution


@pytest.mark.parametrize(
    ("customer", "binds"),
    [
        ("test-no-consent", "no_consent"),
        ("test-complaint", "open_complaint"),
        ("test-capped", "contact_cap"),
        ("test-holdout", "holdout"),
    ],
)
def test_decisions_are_taken_by_the_shops_rules(client: Client, customer: str, binds: str) -> None:
    """What keeps a real customer from an action keeps the made-up one, for the same reason."""
    decision = client.decide(customer, f"binds {customer}")
    assert decision.action == "nothing"
    assert decision.holdout is (binds == "holdout")
    assert binds in {one.reject_reason for one in decision.actions}


def test_a_decision_is_once_under_its_key_and_never_another(service: Running, client: Client) -> None:
    first = client.decide("test-maintenance", "key-1")
    assert client.decide("test-maintenance", "key-1") == first
    assert first.decision_id is not None
    assert first.decision_id.startswith("test")
    answer = service.client.post(
        "/v1/decisions", json={"customer": "test-maintenance"}, headers={"idempotency-key": "key-1"}
    )
    answer_of("/v1/decisions", "post").validate(answer.json())
    assert problem(lambda: client.decide("test-use", "key-1")) == (409, "idempotency_conflict")
    preview = client.preview("test-maintenance")
    assert (preview.decision_id, preview.action) == (None, first.action)
    may = client.may_send(first.decision_id)
    assert may.action == first.action
    assert problem(lambda: client.may_send("real-1")) == (404, "unknown_decision")


def test_every_error_can_be_met(client: Client) -> None:
    """Else how a journey fares in an outage is first seen in one."""
    found = {id: problem(lambda id=id: client.scores([id])) for id in FAULTS}  # type: ignore[misc]
    assert found == {
        "test-expired": (503, "features_expired"),
        "test-unavailable": (503, "online_unavailable"),
        "test-busy": (429, "overloaded"),
        "test-fault": (500, "internal"),
    }
    assert problem(lambda: client.customer("nobody")) == (404, "unknown_customer")
    assert problem(lambda: client.decide("test-erased", "e")) == (410, "customer_erased")
    assert problem(lambda: client.scores(["test-use"], targets=["x"])) == (422, "unknown_target")
    assert problem(lambda: client.scores([])) == (422, "invalid_request")


def test_what_is_told_is_read_and_kept_nowhere(service: Running, client: Client, home: Settings) -> None:
    """A journey under construction must not put a visit, a contact or an erasure into the real log."""
    before = content(home.home)
    decision = client.decide("test-use", "told-1")
    visit = {
        "type": "visit", "source": "web", "id": "v1", "customer": "test-use", "channel": "web",
        "at": decision.as_of,
    }  # fmt: skip
    assert [one.status for one in client.events([visit, visit]).results] == ["accepted", "duplicate"]  # type: ignore[union-attr]
    (odd,) = client.events([visit | {"id": "v2", "channel": ""}]).results
    assert odd.error.code == "invalid_event"  # type: ignore[union-attr]
    report = {"source": "s", "id": "1", "decision_id": decision.decision_id, "at": decision.as_of}
    (sent,) = client.deliveries([report | {"status": "sent"}]).results
    assert sent.contact == "used"  # type: ignore[union-attr]
    order = report | {"type": "order", "value": 9.5}
    counted, again = client.outcomes([order, order]).results
    assert (counted.counted, counted.status, again.status) == (9.5, "accepted", "duplicate")  # type: ignore[union-attr]
    assert client.erase("test-use").status == "accepted"
    assert client.erase("test-use").status == "erased"
    assert client.customer("test-use").customer_id == "test-use"
    assert client.models().models == []
    assert content(home.home) == before


def problem(ask: Any) -> tuple[int, str]:
    with pytest.raises(ProblemError) as caught:
        ask()
    return caught.value.status, caught.value.code

"""Test keys: customers for every stage and error, answered as the API does, and nothing is touched."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from running import Running
from sandboxed import client, home, key, key_of_jobs, service, visit  # noqa: F401
from test_openapi import answer_of

from features.settings import Settings
from serving.api import ROUTES, Answered, NoScore, Score
from serving.client import Client, ProblemError
from serving.customer_types import Value
from serving.jobs import MOST_JOBS
from serving.keys import Keys
from serving.sandbox_customers import CUSTOMERS, FAULTS
from serving.sandbox_ledger import SandboxLedger
from serving.segment_tables import TABLES

# ruff: noqa: F811 (fixtures of another module are arguments)


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


def test_what_a_person_decides_can_be_tried(client: Client) -> None:
    """Else the branch of a journey that waits for a person first runs on a real customer."""
    decision = client.decide("test-person", "for a person")
    assert (decision.route, decision.action != "nothing") == ("person", True)
    id = str(decision.decision_id)
    assert (client.may_send(id).may_send, client.may_send(id).reason) == (False, "person")
    assert client.may_send(id, approved=True).may_send
    assert client.decide("test-maintenance", "for nobody").route == "automatic"


def test_every_error_can_be_met(client: Client) -> None:
    """Else how a journey fares in an outage is first seen in one."""
    asked: dict[str, Any] = {"rows": client.scores, "ledger": decided(client), "inbox": visited(client)}
    asked["disk"] = client.ask_job
    found = {
        id: {of: problem(lambda id=id, of=of: asked[of]([id])) for of in fault.of if of != "segments"}  # type: ignore[misc]
        for id, fault in FAULTS.items()
    }
    everywhere = ("rows", "ledger", "inbox")
    assert found == {
        "test-expired": {"rows": (503, "features_expired")},
        "test-unbuilt": {"rows": (503, "no_build")},
        "test-unavailable": {"rows": (503, "online_unavailable")},
        "test-unreadable": {"rows": (503, "feature")},
        "test-unreleased": {"rows": (503, "no_release")},
        "test-corrupt": {"rows": (503, "release_corrupt")},
        "test-misconfigured": dict.fromkeys(everywhere, (503, "settings")),
        "test-unsegmented": {},
        "test-full": {"disk": (503, "storage")},
        "test-refused": {},
        "test-undecided": {"ledger": (503, "decision")},
        "test-unlogged": {"inbox": (503, "log")},
        "test-limited": dict.fromkeys(everywhere, (429, "rate_limited")),
        "test-busy": dict.fromkeys(everywhere, (429, "overloaded")),
        "test-fault": dict.fromkeys(everywhere, (500, "internal")),
    }
    assert client.customer("test-unsegmented").segments.error.code == "no_build"  # type: ignore[union-attr]
    assert client.customer("test-undecided").decision.error.code == "decision"  # type: ignore[union-attr]
    assert problem(lambda: client.erase("test-full")) == (503, "storage")
    (refused,) = client.events([visit("test-refused")]).results
    assert refused.error.code == "event_refused"  # type: ignore[union-attr]
    unfit, fit = client.scores(["test-mismatch"]).results[0].scores  # type: ignore[union-attr]
    assert (unfit.error.code, fit.model_version) == ("feature_mismatch", "test")  # type: ignore[union-attr]
    assert problem(lambda: client.decide("test-mismatch", "of a mismatch")) == (503, "feature_mismatch")
    assert client.scores(["test-undecided"]).results[0].customer_id == "test-undecided"
    assert client.events([visit("test-expired")]).results[0].status == "accepted"  # type: ignore[union-attr]
    assert problem(lambda: client.customer("nobody")) == (404, "unknown_customer")
    assert problem(lambda: client.scores(["test-use"], targets=["x"])) == (422, "unknown_target")
    assert problem(lambda: client.scores([])) == (422, "invalid_request")


def test_who_was_erased_is_answered_as_a_real_one(client: Client) -> None:
    """Else a journey is built on a profile and scores that nobody who was erased has."""
    (unknown,) = client.scores(["test-erased"]).results
    assert unknown.error.code == "unknown_customer"  # type: ignore[union-attr]
    assert problem(lambda: client.customer("test-erased")) == (404, "unknown_customer")
    (refused,) = client.events([visit("test-erased")]).results
    assert refused.error.code == "customer_erased"  # type: ignore[union-attr]
    assert problem(lambda: client.decide("test-erased", "a new key")) == (404, "unknown_customer")
    assert problem(lambda: client.decide("test-erased", "test-old-key")) == (410, "customer_erased")
    assert problem(lambda: client.may_send("test-erased")) == (410, "customer_erased")
    assert client.erase("test-erased").status == "erased"
    assert [client.erase("no such one").status for _ in range(2)] == ["accepted", "unknown"]


def test_reports_are_taken_as_those_of_real_decisions(client: Client) -> None:
    """Else a journey learns that what was sent can be cancelled, or that a refund may exceed its order."""
    of = client.decide("test-use", "reported")
    assert of.channel is not None

    def told(id: str, status: str, decision: str | None = of.decision_id) -> tuple[Any, ...]:
        report = {"source": "s", "id": id, "decision_id": decision, "at": of.as_of, "status": status}
        (one,) = client.deliveries([report]).results
        return fared(one, "contact")

    assert told("d1", "sent") == ("accepted", "used")
    assert told("d1", "sent") == ("duplicate", "used")
    assert told("d1", "blocked") == "idempotency_conflict"
    assert [told("d2", "cancelled"), told("d3", "expired")] == ["report_conflict"] * 2
    assert told("d4", "blocked") == ("accepted", "used"), "what was sent bounced: the contact was made"
    assert told("d5", "sent", "no such decision") == "unknown_decision"
    assert told("d6", "sent", "test-erased") == "customer_erased"
    assert of.decision_id is not None
    assert client.may_send(of.decision_id).reason == "sent"
    given_back = client.decide("test-use", "given back")
    assert told("d7", "cancelled", given_back.decision_id) == ("accepted", "released")
    assert client.may_send(given_back.decision_id or "").reason == "given_back"
    nothing = client.decide("test-no-consent", "nothing")
    assert told("d8", "sent", nothing.decision_id) == "report_conflict"
    assert client.may_send(nothing.decision_id or "").reason == "nothing"

    def outcome(id: str, type: str, value: float | None = None, **more: str) -> Any:
        report = {"source": "s", "id": id, "decision_id": of.decision_id, "at": of.as_of, "type": type}
        (one,) = client.outcomes([report | ({} if value is None else {"value": value}) | more]).results
        return fared(one, "counted")

    assert outcome("r0", "refund", 5.0, revises="o1") == "report_conflict", "its order was not told"
    assert outcome("o1", "order", 10.0) == ("accepted", 10.0)
    assert outcome("r1", "refund", 4.0, revises="o1") == ("accepted", 4.0)
    assert outcome("r2", "refund", 20.0, revises="o1") == ("accepted", 6.0)
    assert outcome("o1", "order", 11.0) == "idempotency_conflict"
    assert outcome("x1", "opt_out")[0] == "accepted"
    report = {"source": "s", "id": "x2", "decision_id": of.decision_id, "at": of.as_of, "type": "complaint"}
    assert client.outcomes([report]).results[0].case_id == "s:x2"  # type: ignore[union-attr]


def fared(one: Any, what: str) -> Any:
    """What became of a report: its code, or its status and what it tells."""
    return one.error.code if hasattr(one, "error") else (one.status, getattr(one, what))


def test_what_is_remembered_has_a_bound(home: Settings) -> None:
    """Else whoever has a test key fills the memory of the process that serves the real ones."""
    ledger = SandboxLedger(home)
    db = ledger._store._db
    for n in range(30):
        db.execute("INSERT INTO reservations VALUES (?, 0, '', '', '', 0, 0, '', '', 0, 0)", (str(n),))
    ledger._store.trim(10)
    assert [row[0] for row in db.execute("SELECT decision_id FROM reservations")] == [
        str(n) for n in range(20, 30)
    ]


def test_the_models_that_score_are_listed(service: Running, client: Client) -> None:
    """Else a journey that reads what is released from there finds no target to ask about."""
    answer_of("/v1/models", "get").validate(service.client.get("/v1/models").json())
    scored = client.scores(["test-use"]).results[0].scores  # type: ignore[union-attr]
    assert [(model.name, model.version) for model in client.models().models] == [  # type: ignore[union-attr]
        (score.target, score.model_version)  # type: ignore[union-attr]
        for score in scored
    ]


def test_every_made_up_customer_is_named_where_a_builder_looks(service: Running) -> None:
    """The document, and what an unknown id is answered: else one is found by reading our code."""
    document = service.client.get("/openapi.json").json()["info"]["description"]
    told = service.scores("nobody").json()["results"][0]["error"]["detail"]
    for id in (*CUSTOMERS, *FAULTS, "test-erased"):
        assert f"`{id}`" in document
        assert id in told


def test_a_client_has_as_many_jobs_as_a_real_one(service: Running, key_of_jobs: str) -> None:
    """Else that a job's result has to be deleted is found out on the eleventh night."""
    with Client(str(service.client.base_url), key_of_jobs, tries=1) as client:
        jobs = [client.ask_job(["test-use"]).job_id for _ in range(MOST_JOBS)]
        assert problem(lambda: client.ask_job(["test-use"])) == (429, "too_many_jobs")
        client.delete_job(jobs[0])
        assert client.ask_job(["test-use"]).status == "waiting"


def test_many_are_answered_as_columns(service: Running, client: Client) -> None:
    """Else what a journey does in bulk is first tried on everybody."""
    ids = ["test-exit", "nobody", "test-contact", "test-erased", "test-exit"]
    table = client.scores_arrow(ids)
    assert table["customer_id"].to_pylist() == ids
    assert table["churn_28d_status"].to_pylist() == [
        "scored", "unknown_customer", "outside_population", "unknown_customer", "scored",
    ]  # fmt: skip
    (one,) = client.scores(["test-exit"], ["churn_28d"]).results
    assert table["churn_28d_probability"][0].as_py() == one.scores[0].probability  # type: ignore[union-attr]
    assert json.loads(table.schema.metadata[b"propensity"])["models"].keys() == {
        "churn_28d",
        "repurchase_28d",
    }
    assert client.scores_arrow(ids, ["repurchase_28d"]).column_names == [
        "customer_id", "known_at", "stale",
        "repurchase_28d_probability", "repurchase_28d_percentile", "repurchase_28d_status",
    ]  # fmt: skip
    assert problem(lambda: client.scores_arrow(["test-busy"])) == (429, "overloaded")
    assert problem(lambda: client.scores_arrow(ids, ["x"])) == (422, "unknown_target")


def test_a_job_goes_through_all_that_a_real_one_does(client: Client, tmp_path: Path) -> None:
    asked = client.ask_job(reasons=2, idempotency_key="night")
    assert (asked.status, asked.customers) == ("waiting", None)
    assert client.ask_job(reasons=2, idempotency_key="night").job_id == asked.job_id
    assert problem(lambda: client.ask_job(reasons=1, idempotency_key="night")) == (
        409,
        "idempotency_conflict",
    )
    assert client.job(asked.job_id).status == "running"
    done = client.job(asked.job_id)
    assert (done.status, done.customers, done.done) == ("done", len(CUSTOMERS), len(CUSTOMERS))
    client.job_result(asked.job_id, tmp_path / "result.parquet")
    table = pq.read_table(tmp_path / "result.parquet")
    assert table["customer_id"].to_pylist() == list(CUSTOMERS)
    assert table["repurchase_28d_reasons"][-1].as_py()[0]["en"]
    assert client.delete_job(asked.job_id).status == "deleted"
    assert problem(lambda: client.job(asked.job_id)) == (404, "unknown_job")
    failing = client.ask_job(["test-fault"]).job_id
    assert problem(lambda: client.job_result(failing, tmp_path / "none")) == (409, "job_unfinished")
    assert client.job(failing).error.code == "internal"  # type: ignore[union-attr]
    assert problem(lambda: client.job_result(failing, tmp_path / "none")) == (409, "job_failed")


def test_changes_are_everyone_then_some_then_none(service: Running, client: Client) -> None:
    answer_of("/v1/changes", "get").validate(service.client.get("/v1/changes?limit=3").json())
    first = client.changes(limit=10)
    assert (first.reset, first.more, first.erased) == (True, True, False)
    second = client.changes(first.cursor, limit=10)
    told = first.changes + second.changes
    assert [one.customer_id for one in told] == sorted(CUSTOMERS)
    worth = client.customer("test-use").value
    assert isinstance(worth, Value)
    assert {one.value for one in told if one.customer_id == "test-use"} == {worth.profit.expected}
    assert {one.stage for one in told} == {label.name for label in TABLES["stage"].labels}
    third = client.changes(second.cursor)
    assert [(one.customer_id, one.gone, bool(one.changed)) for one in third.changes] == [
        ("test-exit", False, True),
        ("test-gone", True, False),
    ]
    assert third.erased
    last = client.changes(third.cursor)
    assert (last.changes, last.more, last.reset, last.erased) == ([], False, False, False)
    assert problem(lambda: client.changes("no cursor")) == (422, "invalid_request")
    assert problem(lambda: client.changes(of=["dreams"])) == (422, "invalid_request")


def test_every_route_that_needs_a_key_is_answered_to_a_test_key(service: Running) -> None:
    """Else a builder finds out at the end that a part of the journey could not be built."""
    for path, methods in ROUTES.items():
        for method, scope in methods.items():
            if scope is not None:
                answer = service.client.request(method, path.replace("{id}", "test-interest"))
                assert answer.status_code != 500, (method, path)
                assert "not_found" not in answer.text, (method, path)


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
    assert content(home.home) == before


def decided(client: Client) -> Any:
    return lambda ids: client.decide(ids[0], f"a key of {ids[0]}")


def visited(client: Client) -> Any:
    return lambda ids: client.events([visit(ids[0])])


def problem(ask: Any) -> tuple[int, str]:
    with pytest.raises(ProblemError) as caught:
        ask()
    return caught.value.status, caught.value.code

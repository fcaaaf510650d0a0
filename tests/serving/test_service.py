"""The real service over HTTP: what a caller gets, what an operator sees, and what nobody may see."""

import json
import re
import shutil
import signal
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pyarrow.parquet as pq
import pytest
from builds_by_hand import write_build
from running import (
    CUSTOMERS,
    KEY,
    ROOT,
    SERVE,
    Running,
    environment,
    free_port,
    release,
    running,
    settings_of,
    small_build,
)
from tiny import TINY_FEATURES, TINY_MOMENT, tiny_rows

from features import online
from features.compute.builds import Build
from features.errors import NoBuild
from features.files import write_atomically
from features.moments import DAY
from features.settings import Settings
from features.shop import shop_of
from serving import batch
from serving.actions import catalogue
from serving.api import MAX_BODY, ROUTES
from serving.pauses import Pauses
from serving.scores import Scorer

SECRET = "Zoe-1987-secret"  # stands for whatever a caller sends


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Two released models and published features; only churn_28d has a batch score."""
    folder = tmp_path_factory.mktemp("service")
    settings = settings_of(folder / "home")
    build = small_build(settings, names=[*TINY_FEATURES, "order_value_365d"])
    online.publish(settings, build, TINY_MOMENT)
    batch.score(settings, release(settings, folder, build, "churn_28d"), build, TINY_MOMENT)
    release(settings, folder, build, "repurchase_7d", seed=1)
    return settings


@pytest.fixture(scope="module")
def service(home: Settings) -> Iterator[Running]:
    with running(home) as service:
        yield service


def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Assert that it is that problem, whole and well-formed, and return it."""
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    document: dict[str, Any] = response.json()
    assert document["status"] == status
    assert document["code"] == code
    assert document["type"] == f"urn:propensity:problem:{code}"
    assert document["title"]
    assert document["detail"]
    assert re.fullmatch("[0-9a-f]{32}", document["request_id"])
    assert document["instance"].replace("-", "") == f"urn:uuid:{document['request_id']}"
    assert response.headers["x-request-id"] == document["request_id"]
    return document


# What a caller gets.


def test_service_and_batch_give_the_same_score_to_the_last_bit(service: Running, home: Settings) -> None:
    """Skew between a nightly list and a live answer would decide differently about the same customer."""
    table = pq.ParquetFile(home.home / "scores/churn_28d/1/20171203T000000Z.parquet").read()
    results = service.scores(*CUSTOMERS[:1_000], targets=["churn_28d"]).json()["results"]
    one_by_one = [service.scores(id, targets=["churn_28d"]).json()["results"][0] for id in CUSTOMERS[:20]]
    assert [r["customer_id"] for r in results] == table["customer_id"].to_pylist()[:1_000]
    for column in ("probability", "percentile"):
        batch_values = table[column].to_pylist()
        assert [r["scores"][0][column] for r in results] == batch_values[:1_000]
        assert [r["scores"][0][column] for r in one_by_one] == batch_values[:20]


def test_an_answer_says_what_was_known_when_and_why(service: Running) -> None:
    answer = service.scores("c0001").json()
    assert answer["as_of"] == "2017-12-03T00:00:00Z"
    (result,) = answer["results"]
    assert (result["customer_id"], result["known_at"], result["stale"]) == (
        "c0001",
        "2017-12-03T00:00:00Z",
        False,
    )
    churn, repurchase = result["scores"]
    assert (churn["target"], repurchase["target"]) == ("churn_28d", "repurchase_7d")
    assert churn["model_version"] == "1"
    assert 0 < churn["probability"] < 1
    assert 0 <= churn["percentile"] <= 100
    assert repurchase["percentile"] is None, "no batch score of that moment, and nothing is invented"
    assert len(churn["reasons"]) == 3
    strengths = [abs(reason["contribution"]) for reason in churn["reasons"]]
    assert strengths == sorted(strengths, reverse=True)
    for reason in churn["reasons"]:
        assert reason["feature"] in TINY_FEATURES
        assert reason["text"]["en"]
        assert reason["text"]["zh"]


def test_exact_reasons_are_given_on_request(service: Running) -> None:
    """Else who must justify one decision has only an approximation to show."""
    quick, exact = (
        service.scores("c0001", reasons=10, exact=wanted).json()["results"][0]["scores"][0]
        for wanted in (False, True)
    )
    assert quick["probability"] == exact["probability"]
    assert (quick["reasons_exact"], exact["reasons_exact"]) == (False, True)
    sums = [sum(reason["contribution"] for reason in score["reasons"]) for score in (quick, exact)]
    assert sums[0] == pytest.approx(sums[1], abs=1e-9)  # both add up to the score
    assert quick["reasons"] != exact["reasons"]


def test_order_and_duplicates_are_kept_and_an_unknown_customer_has_her_own_error(service: Running) -> None:
    """A caller joins answers by place; one unknown id must not cost the others theirs."""
    results = service.scores("c0002", "nobody", "c0001", "c0002", reasons=0).json()["results"]
    assert [r["customer_id"] for r in results] == ["c0002", "nobody", "c0001", "c0002"]
    assert results[0] == results[3]
    assert results[0]["scores"][0]["reasons"] == []
    assert results[1] == {
        "customer_id": "nobody",
        "error": {"code": "unknown_customer", "detail": results[1]["error"]["detail"]},
    }


def test_an_identity_that_belongs_to_nobody_is_an_error_of_its_own(service: Running) -> None:
    results = service.scores({"source": "crm", "id": SECRET}, "c0001").json()["results"]
    assert results[0]["customer_id"] is None
    assert results[0]["error"]["code"] == "unknown_customer"
    assert results[1]["scores"]


def test_an_answer_never_comes_from_features_of_the_future(tmp_path: Path) -> None:
    """`PROPENSITY_AS_OF` of an earlier day must not be answered from rows that nobody had on it."""
    home = settings_of(tmp_path / "home", as_of=TINY_MOMENT - DAY)
    build = small_build(home)
    online.publish(home, build, TINY_MOMENT)
    release(home, tmp_path, build, "churn_28d")
    with pytest.raises(NoBuild, match="later than now"):
        Scorer(home).ready()


def test_a_list_longer_than_one_served_inline_gives_the_same(service: Running) -> None:
    """Long lists are scored on another thread: many at once must not mix."""
    lists = [CUSTOMERS[i : i + 100] for i in range(0, 800, 100)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda ids: service.scores(*ids).json()["results"], lists))
    for ids, results in zip(lists, answers, strict=True):
        assert [r["customer_id"] for r in results] == ids
        assert results[7] == service.scores(ids[7]).json()["results"][0]


def test_models_tells_what_is_in_service(service: Running) -> None:
    answer = service.client.get("/v1/models").json()
    assert answer["features"].endswith("@20171203T000000Z")
    assert [(m["name"], m["version"]) for m in answer["models"]] == [
        ("churn_28d", "1"),
        ("repurchase_7d", "1"),
    ]
    assert answer["models"][0]["card"]["target"]["horizon_days"] == 28


# What does not fit.

BAD_SCORES = [
    (b"", 400, "malformed_json", None),
    (b'{"customers": ["%s"' % SECRET.encode(), 400, "malformed_json", None),
    (b'{"customers": ["%s\xff"]}' % SECRET.encode(), 400, "malformed_json", None),
    (b'{"customers": ["%s"], "reasons": NaN}' % SECRET.encode(), 400, "malformed_json", None),
    (b'["%s"]' % SECRET.encode(), 422, "invalid_request", "$"),
    (b"{}", 422, "invalid_request", "$"),
    (b'{"customers": []}', 422, "invalid_request", "$.customers"),
    (json.dumps({"customers": ["a"] * 1_001}).encode(), 422, "invalid_request", "$.customers"),
    (b'{"customers": "%s"}' % SECRET.encode(), 422, "invalid_request", "$.customers"),
    (b'{"customers": ["a", "b", "c", 19870101]}', 422, "invalid_request", "$.customers[3]"),
    (b'{"customers": ["a", ""]}', 422, "invalid_request", "$.customers[1]"),
    (b'{"customers": [null]}', 422, "invalid_request", "$.customers[0]"),
    (b'{"customers": [{"source": "%s"}]}' % SECRET.encode(), 422, "invalid_request", "$.customers[0]"),
    (json.dumps({"customers": ["a"], "extra": SECRET}).encode(), 422, "invalid_request", "$"),
    (b'{"customers": ["a"], "reasons": 11}', 422, "invalid_request", "$.reasons"),
    (b'{"customers": ["a"], "reasons": 2.5}', 422, "invalid_request", "$.reasons"),
    (json.dumps({"customers": ["a"], "targets": [SECRET]}).encode(), 422, "unknown_target", "$.targets[0]"),
]


@pytest.mark.parametrize(("body", "status", "code", "path"), BAD_SCORES)
def test_a_request_that_does_not_fit_names_the_place_and_never_the_value(
    service: Running, body: bytes, status: int, code: str, path: str | None
) -> None:
    response = service.client.post("/v1/scores", content=body, headers={"content-type": "application/json"})
    document = problem(response, status, code)
    assert SECRET not in response.text
    assert "19870101" not in response.text
    assert [offender["path"] for offender in document.get("errors", [])] == ([path] if path else [])


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_not_read_to_its_end(service: Running, chunked: bool) -> None:
    def chunks() -> Iterator[bytes]:
        yield from [b" " * 65_536] * (MAX_BODY // 65_536 + 1)

    body: Any = chunks() if chunked else b" " * (MAX_BODY + 1)
    headers = {"content-type": "application/json"}
    problem(service.client.post("/v1/scores", content=body, headers=headers), 413, "body_too_large")
    assert service.scores("c0001").status_code == 200


def test_a_body_that_is_not_json_is_told_so(service: Running) -> None:
    problem(service.client.post("/v1/scores", content=b"customers=a"), 415, "unsupported_media_type")


@pytest.mark.parametrize("route", [route for route in ROUTES if route.startswith("/v1/")])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer not-a-key-of-anybody"},
        {"authorization": "Bearer"},
        {"authorization": f"Basic {KEY}"},
        {"authorization": KEY},
        {"authorization": f"Bearer {KEY}x"},
        {"x-api-key": KEY[:-1]},
        {"x-api-key": ""},
    ],
)
def test_nothing_of_the_api_answers_without_a_key(
    service: Running, route: str, headers: dict[str, str]
) -> None:
    (method, *_) = ROUTES[route]
    with httpx.Client(base_url=service.client.base_url) as anybody:
        response = anybody.request(method, route, headers=headers, json={"customers": ["c0001"]})
    problem(response, 401, "unauthorized")
    assert response.headers["www-authenticate"] == "Bearer"
    assert "c0001" not in response.text


@pytest.mark.parametrize(
    "headers",
    [{"authorization": f"bearer {KEY}"}, {"x-api-key": KEY}, {"x-api-key": "another-key-for-tests"}],
)
def test_either_header_and_every_configured_key_opens(service: Running, headers: dict[str, str]) -> None:
    with httpx.Client(base_url=service.client.base_url) as other:
        assert other.get("/v1/models", headers=headers).status_code == 200


def test_an_unknown_route_and_a_wrong_method_are_problems_too(service: Running) -> None:
    for path in (
        f"/customers/{SECRET}",
        "/v1/scores/",
        "/static_content/index.html",
        "/v1",
        "/v1/score%73x",
    ):
        response = service.client.get(path)
        problem(response, 404, "not_found")
        assert SECRET not in response.text
    response = service.client.get("/v1/scores")
    problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"
    problem(service.client.request("PROPFIND", "/readyz"), 405, "method_not_allowed")


# Decisions.


def decide(service: Running, key: str | None, **body: Any) -> httpx.Response:
    headers = {} if key is None else {"idempotency-key": key}
    return service.client.post("/v1/decisions", json=body, headers=headers)


def test_the_same_idempotency_key_gives_the_same_decision_and_never_another(service: Running) -> None:
    """A caller that repeats a request after a lost answer must not spend a second contact."""
    first = decide(service, "order-1", customer="c0003")
    again = decide(service, "order-1", customer="c0003")
    assert first.status_code == 200
    assert first.json()["decision_id"]
    assert again.content == first.content
    problem(decide(service, "order-1", customer="c0004"), 409, "idempotency_conflict")
    assert decide(service, "order-2", customer="c0003").json()["decision_id"] != first.json()["decision_id"]


def test_a_decision_needs_an_idempotency_key_and_a_preview_does_not(service: Running) -> None:
    problem(decide(service, None, customer="c0003"), 400, "idempotency_key")
    problem(decide(service, "x" * 201, customer="c0003"), 400, "idempotency_key")
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
            told | {"id": "r1", "type": "refund", "value": 5, "revises": "o1"},
            told | {"id": "o2", "type": "order"},
            told | {"id": "o3", "type": "click", "revises": "o1"},
            told | {"id": "r2", "type": "refund", "value": 5, "revises": "o9"},
        ]
    }
    order, refund, *failed = service.client.post("/v1/outcomes", json=body).json()["results"]
    assert (order["status"], order["counts"], refund["counts"]) == ("accepted", True, True)
    assert order["matures_at"] > order["window_end"] > decided["as_of"]
    assert [one["error"]["place"] for one in failed] == [
        "$.outcomes[2].value", "$.outcomes[3].revises", "$.outcomes[4]"
    ]  # fmt: skip
    assert failed[2]["error"]["code"] == "report_conflict"
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


# What an operator sees.


def test_probes_and_the_first_page_answer_without_a_key(service: Running) -> None:
    with httpx.Client(base_url=service.client.base_url) as anybody:
        for path in ("/healthz", "/livez", "/readyz"):
            assert anybody.get(path).status_code == 200
            assert anybody.head(path).status_code == 200
        index = anybody.get("/")
        assert "/v1/scores" in index.json()["routes"]
        assert "http" not in index.text, "the first page loads nothing from elsewhere"
        assert anybody.get("/docs.json").json()["openapi"]


def test_metrics_stay_bounded_whatever_paths_are_asked_for(service: Running) -> None:
    """A scanner, or a customer's id in a path, must not add series."""
    service.client.get("/random/first")
    service.client.request("PROPFIND", "/readyz")
    service.scores("c0001", SECRET)
    series = {
        line.rsplit(" ", 1)[0] for line in service.client.get("/metrics").text.splitlines() if line[0] != "#"
    }
    for i, method in enumerate(("LOCK", "MKCOL", "COPY", "SEARCH", "REPORT")):
        assert service.client.get(f"/random/{SECRET}/{i}").status_code == 404
        assert service.client.request(method, "/readyz").status_code == 405
    text = service.client.get("/metrics").text
    after = {line.rsplit(" ", 1)[0] for line in text.splitlines() if line[0] != "#"}
    assert after - series <= {s for s in after if 'route="/metrics"' in s}
    assert "bentoml" not in text
    assert SECRET not in text
    assert "random" not in text
    assert 'client="tests",method="POST",route="/v1/scores",status="200"' in text
    assert 'propensity_customers_total{outcome="unknown_customer"}' in text


def test_logs_hold_no_id_no_path_no_key_and_no_body(service: Running) -> None:
    """Logs go further than data may."""
    service.scores("c0777", SECRET)
    service.client.get(f"/customers/{SECRET}?q={SECRET}")
    service.client.get(f"/v1/customers/{SECRET}")
    decide(service, f"key-{SECRET}", customer="c0778")
    service.client.post("/v1/scores", content=SECRET.encode(), headers={"content-type": "application/json"})
    with httpx.Client(base_url=service.client.base_url) as anybody:
        anybody.get("/v1/models", headers={"authorization": f"Bearer {SECRET}"})
    last = service.client.get("/v1/models").headers["x-request-id"]
    service.client.get("/livez")  # a request is logged once it is answered, before the next one is read
    log = service.log
    assert f"request={last}" in log, "the log was written up to here"
    assert "route=/v1/scores method=POST status=200" in log
    assert "route=unmatched method=GET status=404" in log
    for never in (SECRET, "c0777", "c0778", KEY, "customers/"):
        assert never not in log.replace("route=/v1/customers/{id} ", "")
    assert "Traceback" not in log


# Life.


def test_it_stops_cleanly_on_ctrl_c_as_on_sigterm(home: Settings) -> None:
    """A supervisor that sees another code than 0 would report every restart as a crash.

    `running` stops every other service of these tests by SIGTERM, and asserts the same.
    """
    with running(home) as service:
        assert service.client.get("/readyz").status_code == 200
        assert service.stop(signal.SIGINT) == 0
        assert "Traceback" not in service.log


def test_it_becomes_ready_by_itself_and_keeps_a_good_release(tmp_path: Path) -> None:
    """Nobody restarts it after the first publication, nor at night when a promoted release is broken."""
    settings = settings_of(tmp_path / "home")
    with running(settings) as service:
        problem(service.client.get("/readyz"), 503, "no_build")
        response = service.scores("c0001")
        problem(response, 503, "no_build")
        assert str(settings.home) not in response.text, "our paths are not the caller's to know"

        build = small_build(settings)
        online.publish(settings, build, TINY_MOMENT)
        ready = service.client.get("/readyz")
        assert (ready.status_code, [of["code"] for of in ready.json()["missing"]]) == (200, ["no_release"])
        problem(service.scores("c0001"), 503, "no_release")
        decided = service.client.post("/v1/decisions", json={"customer": "c0001", "preview": True})
        assert decided.status_code == 200, "a balancer that waits for a model would keep decisions away"

        release(settings, tmp_path, build, "churn_28d")
        assert service.client.get("/readyz").status_code == 200
        assert service.scores("c0001").json()["results"][0]["scores"][0]["model_version"] == "1"

        release(settings, tmp_path, build, "churn_28d", "2", seed=1)
        assert service.scores("c0001").json()["results"][0]["scores"][0]["model_version"] == "2"

        before = service.scores("c0001").json()["results"]

        broken = settings.home / "releases/churn_28d/3"
        shutil.copytree(tmp_path / "churn_28d-1", broken)
        (broken / "model.json").write_bytes((broken / "model.json").read_bytes() + b" ")
        write_atomically(broken.parent / "CURRENT", b"3")
        assert service.scores("c0001").json()["results"] == before
        ready = service.client.get("/readyz")
        assert ready.status_code == 200
        (refused,) = ready.json()["refused"]
        assert (refused["name"], refused["serving"]) == ("churn_28d", "2")
        assert refused["error"]["code"] == "release_corrupt"
        assert "model.json was changed" in refused["error"]["detail"]
        assert str(settings.home) not in ready.text, "it answers without a key"
        assert 'propensity_release_refused{model="churn_28d"} 1.0' in service.client.get("/metrics").text
        assert "model.json was changed" in service.log

        write_atomically(broken.parent / "CURRENT", b"1")
        assert service.client.get("/readyz").json() == {"status": "ready", "refused": [], "paused": []}
        Pauses(settings).pause(
            "channel:mail", "the printer is down", catalogue(shop_of(settings).declared("ACTIONS")).values()
        )
        assert service.client.get("/readyz").json()["paused"] == ["channel:mail"]
        assert 'propensity_release_refused{model="churn_28d"} 0.0' in service.client.get("/metrics").text


def test_a_release_that_was_changed_is_refused_with_the_reason(tmp_path: Path) -> None:
    """One target that cannot be trusted is named, and does not silence the other."""
    settings = settings_of(tmp_path / "home")
    build = small_build(settings)
    online.publish(settings, build, TINY_MOMENT)
    release(settings, tmp_path, build, "churn_28d")
    release(settings, tmp_path, build, "repurchase_7d", seed=1)
    booster = settings.home / "releases/churn_28d/1/booster-0.txt"
    booster.write_bytes(booster.read_bytes().replace(b"shrinkage=0.1", b"shrinkage=0.2", 1) + b"\n")
    with running(settings) as service:
        (unanswered,) = service.client.get("/readyz").json()["refused"]
        assert (unanswered["name"], unanswered["serving"]) == ("churn_28d", None)
        refused, answered = service.scores("c0001").json()["results"][0]["scores"]
        assert (refused["target"], refused["error"]["code"]) == ("churn_28d", "release_corrupt")
        assert "booster-0.txt was changed" in refused["error"]["detail"]
        assert "probability" not in refused
        assert answered["probability"] > 0
        document = problem(service.scores("c0001", targets=["churn_28d"]), 503, "release_corrupt")
        assert "booster-0.txt was changed" in document["detail"]
        models = service.client.get("/v1/models").json()["models"]
        assert [m.get("error", {}).get("code") for m in models] == ["release_corrupt", None]


def test_features_that_mean_something_else_are_refused_by_name_and_old_ones_are_said_to_be_old(
    tmp_path: Path,
) -> None:
    """A feature whose definition changed must never reach a model that was trained on the old one."""
    settings = settings_of(tmp_path / "home", TINY_MOMENT + 3 * DAY)
    old = TINY_MOMENT - 20 * DAY
    build = small_build(settings, (old, TINY_MOMENT))
    online.publish(settings, build, TINY_MOMENT)
    release(settings, tmp_path, build, "churn_28d")
    with running(settings) as service:
        (result,) = service.scores("c0001").json()["results"]
        assert (result["stale"], result["known_at"]) == (True, "2017-12-03T00:00:00Z")

        online.publish(settings, build, old)
        problem(service.scores("c0001"), 503, "features_expired")
        problem(service.client.get("/readyz"), 503, "features_expired")
        problem(decide(service, "order-1", customer="c0001"), 503, "features_expired")

        redefined = dict(build.features) | {"tenure": "f" * 16}
        id = Build.id_of(build.log, redefined)
        folder = shutil.copytree(build.folder, build.folder.with_name(id))
        online.publish(settings, replace(build, id=id, folder=folder, features=redefined), TINY_MOMENT)
        document = problem(service.scores("c0001"), 503, "feature_mismatch")
        assert "tenure (defined differently)" in document["detail"]

        names = ["spend_7d" if name == "spend_90d" else name for name in TINY_FEATURES]
        other = write_build(settings, names, {TINY_MOMENT: (CUSTOMERS, tiny_rows(len(CUSTOMERS)))})
        online.publish(settings, other, TINY_MOMENT)
        document = problem(service.scores("c0001"), 503, "feature_mismatch")
        assert "spend_90d (absent)" in document["detail"]
        assert "orders_30d" not in document["detail"], "only what differs is named"
        problem(service.client.get("/readyz"), 503, "feature_mismatch")


def test_it_refuses_to_start_without_a_key_or_on_a_taken_port(home: Settings, service: Running) -> None:
    def start(port: int, keys: str) -> subprocess.CompletedProcess[str]:
        env = environment(home, port, keys)
        command = [sys.executable, "-c", SERVE]
        return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False)

    keyless = start(free_port(), "")
    assert keyless.returncode == 2
    assert "PROPENSITY_API_KEYS" in keyless.stderr
    assert "Traceback" not in keyless.stderr
    taken = start(service.client.base_url.port or 0, f"tests:{KEY}")
    assert taken.returncode == 2
    assert "PROPENSITY_PORT" in taken.stderr


class Calls(NamedTuple):
    proxies: dict[str, str]
    targets: list[bytes]  # the first line of every connection


@contextmanager
def calls_home() -> Iterator[Calls]:
    """A proxy on loopback that lets nothing out and keeps what was asked of it."""
    targets: list[bytes] = []

    class Refuse(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            targets.append(self.rfile.readline())
            self.wfile.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Refuse) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        proxy = f"http://127.0.0.1:{server.server_address[1]}"
        yield Calls({"HTTPS_PROXY": proxy, "HTTP_PROXY": proxy, "NO_PROXY": "127.0.0.1"}, targets)
        server.shutdown()


def test_what_bentomls_own_command_tells_its_makers_would_be_seen(home: Settings) -> None:
    """Where our code is not loaded it does call: so the next test's silence is our doing."""
    with calls_home() as calls:
        subprocess.run(
            [Path(sys.executable).with_name("bentoml"), "list"],
            env=environment(home, 0) | calls.proxies,
            capture_output=True,
            check=True,
        )
    assert calls.targets == [b"CONNECT t.bentoml.com:443 HTTP/1.1\r\n"]


def test_bentoml_serves_the_same_application(home: Settings, service: Running) -> None:
    """Operators who run BentoML's supervisor get the same answers and metrics, and logs without paths.

    In its debug mode, for that is when uvicorn and BentoML would write the most.
    """
    command = (
        str(Path(sys.executable).with_name("bentoml")),
        "serve",
        "serving.service:svc",
        "--port",
        "{port}",
        "--debug",
    )
    with calls_home() as calls, running(home, command, **calls.proxies) as under_bentoml:
        assert under_bentoml.scores("c0001").json()["results"] == service.scores("c0001").json()["results"]
        problem(under_bentoml.client.get(f"/customers/{SECRET}"), 404, "not_found")
        text = under_bentoml.client.get("/metrics").text
        assert (
            'propensity_requests_total{client="tests",method="POST",route="/v1/scores",status="200"} 1.0'
            in text
        )
        assert "bentoml" not in text
        assert SECRET not in under_bentoml.log + text
        assert under_bentoml.stop() == 0
    assert calls.targets == [], "nobody is told that, or how, this runs"

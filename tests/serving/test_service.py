"""The real service over HTTP: what a caller gets, what an operator sees, and what nobody may see."""

import gzip
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
from running import (
    CUSTOMERS,
    KEY,
    Running,
    release,
    running,
    settings_of,
    small_build,
    until,
    without_ids,
)
from tiny import TINY_FEATURES, TINY_MOMENT

from features import online
from features.errors import NoBuild
from features.moments import DAY
from features.settings import Settings
from serving import batch
from serving.api import MAX_BODY, QUERIES, ROUTES, ScoreRequest
from serving.handlers import Handlers
from serving.keys import Keys
from serving.metrics import Metrics
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
    with running(home, watched=True) as service:
        yield service


@pytest.fixture(scope="module")
def key_for_tests(home: Settings, service: Running) -> str:
    secret, _ = Keys(home).add("builder", ["admin"], test=True)
    sent = {"authorization": f"Bearer {secret}"}
    until(lambda: service.client.get("/v1/models", headers=sent).status_code == 200)
    return secret


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


def decide(service: Running, key: str | None, **body: Any) -> httpx.Response:
    headers = {} if key is None else {"idempotency-key": key}
    return service.client.post("/v1/decisions", json=body, headers=headers)


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


def test_a_body_that_is_packed_is_told_so(service: Running) -> None:
    """Else a client that compresses by itself is told that its JSON is malformed, which it is not."""
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    body = gzip.compress(b'{"customers": ["c0001"]}')
    answer = service.client.post("/v1/scores", content=body, headers=headers)
    assert "Content-Encoding" in problem(answer, 415, "unsupported_media_type")["detail"]
    headers["content-encoding"] = "identity"
    answer = service.client.post("/v1/scores", content=gzip.decompress(body), headers=headers)
    assert answer.status_code == 200


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
    assert "c0001" not in without_ids(response.text)


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


@pytest.mark.parametrize(
    ("route", "method"), [(r, m) for r, methods in ROUTES.items() for m in methods if methods[m] is not None]
)
@pytest.mark.parametrize("test", [False, True])
def test_a_query_that_nobody_reads_is_refused(
    service: Running, key_for_tests: str, route: str, method: str, test: bool
) -> None:
    """Whoever sends `?preview=true` would be given a decision that counts against what a customer may get."""
    key = {"authorization": f"Bearer {key_for_tests if test else KEY}"}
    answer = service.client.request(method, route.replace("{id}", "a") + "?preview=true", headers=key)
    if method == "HEAD":
        assert answer.status_code == 422
        return
    told = problem(answer, 422, "invalid_request")
    assert [one["path"] for one in told["errors"]] == ["$.query"]
    assert all(name in told["detail"] for name in QUERIES.get(route, ["this route takes none"]))


# What an operator sees.


def test_probes_and_the_first_page_answer_without_a_key(service: Running) -> None:
    with httpx.Client(base_url=service.client.base_url) as anybody:
        for path in ("/healthz", "/livez", "/readyz"):
            assert anybody.get(path).status_code == 200
            assert anybody.head(path).status_code == 200
        index = anybody.get("/")
        assert "/v1/scores" in index.json()["routes"]
        assert "http" not in index.text, "the first page loads nothing from elsewhere"
        problem(anybody.get("/docs.json"), 404, "not_found")  # BentoML's own, which knows half of it


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
        assert never not in without_ids(log).replace("route=/v1/customers/{id} ", "")
    assert "Traceback" not in log


def test_who_asks_for_what_takes_long_keeps_nobody_else_waiting(tmp_path: Path) -> None:
    """Exact reasons of 32 customers take 20 ms, which every request in flight would wait, were they computed
    on the event loop; 100 scores take one, and are answered there."""
    handlers = Handlers(settings_of(tmp_path / "home"), Metrics())
    try:

        def at_once(customers: int, reasons: int, exact: bool = False) -> bool:
            request = ScoreRequest([str(n) for n in range(customers)], None, reasons, exact)
            return handlers.at_once(request)

        assert [at_once(1, 3), at_once(32, 3), at_once(100, 0)] == [True, True, True]
        assert [at_once(33, 3), at_once(200, 0), at_once(1, 3, exact=True)] == [False, False, False]
    finally:
        handlers.stop()

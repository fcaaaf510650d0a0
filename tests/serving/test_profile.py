"""`GET /v1/customers/{id}`: what an operator reads of one customer, from a real service."""

import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from logs import OF_LOG, write_log
from running import CUSTOMERS, Running, release, running, settings_of, small_build, until, without_ids
from segments_by_hand import FEATURES, saved
from test_openapi import answer_of
from tiny import TINY_FEATURES, TINY_MOMENT, tiny_value

from features import online
from features.compute.builds import Build
from features.moments import DAY, iso
from features.settings import Settings
from propensity.nightly import export
from serving import kinds, releases, score_store, value_scores
from serving.openapi import document
from serving.segment_tables import TABLES

NEWCOMER, BUYER = "c0007", "c0042"


def small_log(settings: Settings, name: str = "hand") -> None:
    """The log of `small_build`: everybody but NEWCOMER ordered on the last days, some more often."""
    rows = [
        {
            "order_id": f"{id}-{n}", "customer_id": id, "at": at, "known_at": at, "amount": 5 + n + place % 7,
        }
        for place, id in enumerate(CUSTOMERS)
        if id != NEWCOMER
        for n in range(1 + place % 9)
        for at in [TINY_MOMENT - (3 + place % 30 + n * (5 + place % 4)) * DAY]
    ]  # fmt: skip
    folder = settings.home / "log" / name
    log = write_log(folder, {"orders": rows})
    manifest = {"starts_at": iso(log.starts_at), "complete_until": iso(TINY_MOMENT), "shop": OF_LOG}
    manifest["files"] = log.files
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Released: churn_28d, value and segmentation, whose scores of everyone are there."""
    folder = tmp_path_factory.mktemp("profile")
    settings = settings_of(folder / "home")
    build = small_build(settings, names=sorted({*TINY_FEATURES, *FEATURES}))
    small_log(settings, build.log)
    release(settings, folder, build, "churn_28d")
    valued = releases.publish(settings, tiny_value(folder / "value"), "value", "1")
    made = saved(folder / "segmentation", hashes=build.features)
    segmented = releases.publish(settings, made, "segmentation", "1")
    for one in kinds.in_order([segmented, valued]):
        kinds.score(settings, one, build, TINY_MOMENT)
    online.publish(settings, build, TINY_MOMENT)
    return settings


@pytest.fixture(scope="module")
def service(home: Settings) -> Iterator[Running]:
    with running(home, watched=True) as service:
        yield service


def test_a_customers_worth_is_told_as_everyone_was_scored(service: Running, home: Settings) -> None:
    """Else: an operator reads other figures than the file that a campaign was planned with."""
    answer = service.client.get(f"/v1/customers/{BUYER}")
    assert answer.status_code == 200
    told = answer.json()
    assert (told["customer_id"], told["as_of"], told["stale"]) == (BUYER, iso(TINY_MOMENT), False)
    (score,) = told["scores"]
    assert score["target"] == "churn_28d"
    assert score["reasons"]
    rows = pq.read_table(score_store.path(home, "value", "1", TINY_MOMENT)).to_pylist()
    row = next(row for row in rows if row["customer_id"] == BUYER)
    worth = told["value"]
    assert (worth["model_version"], worth["known_at"]) == ("1", iso(TINY_MOMENT))
    assert (worth["horizon_days"], worth["currency"]) == (365, "USD")
    assert (worth["orders"], worth["order_chance"]) == (row["orders"], row["chance"])
    levels = {name: row[f"value_{name}"] for name in ("p10", "p50", "p90")}
    assert worth["profit"] == {"expected": row["value"], **levels}
    assert levels["p10"] < levels["p50"] < levels["p90"]
    assert worth["percentile"] == row["value_percentile"]
    # At midnight in UTC the shop, in New York, still has the day before.
    days = timedelta(-(-row["next_order_days"] // 1))
    assert date.fromisoformat(worth["next_order_date"]) == TINY_MOMENT.date() - DAY + days
    # Two answers about the next four weeks: an operator is told when they differ, and which one to trust.
    unlike = (row["next_order_days"] <= 28) != (score["probability"] <= 0.5)
    assert worth["contradicted_by"] == (["churn_28d"] if unlike else [])
    everyone = [one["customer_id"] for one in rows if one["value"] is not None]
    told = [
        service.client.get(f"/v1/customers/{id}").json()["value"]["contradicted_by"] for id in everyone[:60]
    ]
    assert {tuple(one) for one in told} == {(), ("churn_28d",)}


def test_a_nightly_file_has_the_worth_that_the_page_shows(
    service: Running, home: Settings, tmp_path: Path
) -> None:
    """Else: the warehouse values customers otherwise than the operator who asks why."""
    done = export(home, tmp_path / "out", "full")
    rows = [one for part in sorted(done.path.glob("part-*")) for one in pq.read_table(part).to_pylist()]
    assert {row["customer_id"]: row for row in rows}[NEWCOMER]["value"] is None
    for row in rows[::40]:
        worth = service.client.get(f"/v1/customers/{row['customer_id']}").json()["value"]
        if row["value"] is None:
            assert worth["error"]["code"] == "no_order"
            continue
        levels = {name: row[f"value_{name}"] for name in ("p10", "p50", "p90")}
        assert worth["profit"] == {"expected": row["value"], **levels}
        told = (worth["percentile"], worth["model_version"], worth["next_order_date"])
        date_told = row["next_order_date"] and str(row["next_order_date"])
        assert told == (row["value_percentile"], row["value_model_version"], date_told)


def test_segments_are_told_in_words_as_everyone_was_segmented(service: Running, home: Settings) -> None:
    """Else: an operator reads another stage than the campaign was planned with, or a name of ours."""
    rows = pq.read_table(score_store.path(home, "segmentation", "1", TINY_MOMENT)).to_pylist()
    quadrants = {row["quadrant"] for row in rows}
    assert quadrants == {"core", "rising", "fading", "basic", None}
    late = next(row for row in rows if row["churn_reason"] and row["quadrant"])
    answer = service.client.get(f"/v1/customers/{late['customer_id']}").json()
    answer_of("/v1/customers/{id}", "get").validate(answer)
    told = answer["segments"]
    assert (told["model_version"], told["known_at"]) == ("1", iso(TINY_MOMENT))
    scores = (told["tier"]["recency"], told["tier"]["frequency"], told["tier"]["money"])
    assert scores == (late["r"], late["f"], late["m"])
    shown = {
        "tier": told["tier"]["segment"], "quadrant": told["quadrant"], "stage": told["stage"]["segment"],
        "churn_reason": told["churn_reason"],
    }  # fmt: skip
    for kind, segment in shown.items():
        label, entry = TABLES[kind].told(late[f"{kind}_rule"])
        assert segment == {
            "name": late[kind],
            "text": {"en": label.words.en, "zh": label.words.zh},
            "meaning": {"en": label.meaning.en, "zh": label.meaning.zh},
            "why": {"en": entry.words.en, "zh": entry.words.zh},
        }
    assert told["stage"]["since"] is None, "of one snapshot, nobody knows since when"


def test_what_segments_read_of_values_is_written_before(home: Settings) -> None:
    """Else: a build of new orders parts customers by the values of the old ones."""
    loaded = [releases.load(home, name) for name in releases.names(home)]
    assert [release.name for release in kinds.in_order(loaded)] == ["churn_28d", "value", "segmentation"]


def test_without_a_value_there_is_no_quadrant_and_without_a_silence_no_reason(
    service: Running, home: Settings
) -> None:
    newcomer = service.client.get(f"/v1/customers/{NEWCOMER}").json()["segments"]
    assert newcomer["quadrant"] is None
    assert newcomer["stage"]["segment"]["name"]
    rows = pq.read_table(score_store.path(home, "segmentation", "1", TINY_MOMENT)).to_pylist()
    here = next(row["customer_id"] for row in rows if row["churn_reason"] is None)
    assert service.client.get(f"/v1/customers/{here}").json()["segments"]["churn_reason"] is None


def test_who_never_ordered_has_no_value_rather_than_an_average(service: Running) -> None:
    told = service.client.get(f"/v1/customers/{NEWCOMER}").json()
    assert told["value"]["error"]["code"] == "no_order"
    assert told["scores"][0]["probability"] > 0, "what can be said is said"


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/customers/nobody", 404, "unknown_customer"),
        ("/v1/customers/c0042%2F", 404, "unknown_customer"),  # an id may hold a slash
        ("/v1/customers/c0042?source=till", 404, "unknown_customer"),
        ("/v1/customers/c0042?sauce=till", 422, "invalid_request"),
        (f"/v1/customers/{'c' * 300}", 422, "invalid_request"),
        ("/v1/customers/", 404, "not_found"),
        ("/v1/customers/c0042/orders", 404, "not_found"),
    ],
)
def test_what_cannot_be_answered_is_a_problem(service: Running, path: str, status: int, code: str) -> None:
    answer = service.client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_whom_an_operator_asked_for_is_in_no_log_and_no_metric(service: Running) -> None:
    """Else: whoever reads logs learns who is looked at."""
    service.client.get("/v1/customers/c0043")
    until(lambda: "route=/v1/customers/{id}" in service.log)  # it is written once she was told of
    assert "c0043" not in without_ids(service.log) + service.client.get("/metrics").text


def test_value_is_no_target_of_scores(service: Running) -> None:
    """Else: an amount of money is taken for a probability."""
    scores = service.scores(BUYER).json()["results"][0]["scores"]
    assert [score["target"] for score in scores] == ["churn_28d"]
    refused = service.scores(BUYER, targets=["value"])
    assert (refused.status_code, refused.json()["code"]) == (422, "unknown_target")
    named = {
        model["name"]: model["card"]["kind"] for model in service.client.get("/v1/models").json()["models"]
    }
    assert named == {"churn_28d": "lightgbm", "segmentation": "segmentation", "value": "value"}


def test_without_scores_or_a_sound_release_it_says_so(tmp_path: Path) -> None:
    """Else: an old figure, or another customer's, stands where there is none. Nor may value be needed."""
    settings = settings_of(tmp_path / "home")
    build = small_build(settings)
    online.publish(settings, build, TINY_MOMENT)
    with running(settings, watched=True) as service:

        def code() -> str:
            told = service.client.get(f"/v1/customers/{BUYER}").json()
            assert told["scores"] == []
            assert told["segments"]["error"]["code"] == "no_release"
            return str(told["value"]["error"]["code"])

        assert code() == "no_release"
        releases.publish(settings, tiny_value(tmp_path / "value"), "value", "1")
        assert code() == "no_build", "released, and nobody was scored yet"
        assert service.client.get("/readyz").json()["missing"][0]["code"] == "no_release", (
            "no target is there"
        )
        broken = settings.home / "releases" / "value" / "2"
        releases.publish(settings, tiny_value(tmp_path / "two", "2"), "value", "2")
        (broken / "draws.npz").write_bytes(b"nothing")
    with running(settings, watched=True) as service:
        assert code() == "release_corrupt"
        scores = service.scores(BUYER)
        assert (scores.status_code, scores.json()["code"]) == (503, "no_release"), "still no target"


def test_the_file_of_everyone_is_read_by_parts(home: Settings, tmp_path: Path, monkeypatch) -> None:
    """Else: in a shop of a million customers each look at one of them reads all."""
    monkeypatch.setattr(score_store, "GROUP", 100)
    one = releases.load(home, "value")
    out = score_store.path(home, "value", "1", TINY_MOMENT)
    whole = out.read_bytes()
    kinds.score(home, one, Build.open(home), TINY_MOMENT)
    try:
        assert pq.ParquetFile(out).num_row_groups == 12
        rows = pq.read_table(out).to_pylist()
        for row in (rows[0], rows[99], rows[100], rows[-1]):
            assert value_scores.read(home, one, TINY_MOMENT, row["customer_id"]) == row
        assert value_scores.read(home, one, TINY_MOMENT, "c0099x") is None
        assert value_scores.read(home, one, TINY_MOMENT, NEWCOMER) is None
    finally:
        out.write_bytes(whole)


def test_answers_are_as_the_document_says(service: Running) -> None:
    """Else: a client that is generated from it fails on the first answer."""
    assert service.client.get("/openapi.json").json() == document()
    for id in (BUYER, NEWCOMER):
        answer_of("/v1/customers/{id}", "get").validate(service.client.get(f"/v1/customers/{id}").json())
    answer_of("/v1/scores", "post").validate(service.scores(BUYER, "nobody").json())
    answer_of("/v1/models", "get").validate(service.client.get("/v1/models").json())
    answer_of("/readyz", "get").validate(service.client.get("/readyz").json())
    decided = service.client.post("/v1/decisions", json={"customer": BUYER, "preview": True}).json()
    answer_of("/v1/decisions", "post").validate(decided)


def test_a_complaint_is_on_her_page_as_soon_as_it_binds_decisions(tmp_path: Path) -> None:
    """Else an operator of a shop whose log has no cases yet sees none where a decision waits for one."""
    settings = settings_of(tmp_path / "home")
    build = small_build(settings)
    online.publish(settings, build, TINY_MOMENT)
    release(settings, tmp_path, build, "churn_28d")
    case = {
        "type": "case", "source": "desk", "id": "k1", "customer": BUYER, "at": iso(TINY_MOMENT),
        "case_id": "k1", "kind": "complaint", "change": "opened",
    }  # fmt: skip
    with running(settings) as service:
        assert service.client.get(f"/v1/customers/{BUYER}").json()["cases"] == []
        told = service.client.post("/v1/events", json={"events": [case]}).json()["results"]
        assert [one.get("status") for one in told] == ["accepted"], told
        (open,) = service.client.get(f"/v1/customers/{BUYER}").json()["cases"]
        assert (open["feature"], open["value"]) == ("open_complaints", 1.0)

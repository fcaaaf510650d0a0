"""BentoML's own endpoint, switched on: the same answers as our dispatch, and the same doors before it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running import CUSTOMERS, Running, release, running, settings_of, small_build
from tiny import TINY_MOMENT

from features import online
from features.settings import Settings


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("stock")
    settings = settings_of(folder / "home")
    build = small_build(settings)
    online.publish(settings, build, TINY_MOMENT)
    release(settings, folder, build, "churn_28d")
    release(settings, folder, build, "repurchase_7d", seed=1)
    return settings


@pytest.fixture(scope="module")
def both(home: Settings) -> Iterator[tuple[Running, Running]]:
    with running(home, watched=True) as ours, running(home, PROPENSITY_SCORES="bentoml") as stock:
        yield ours, stock


@pytest.mark.parametrize(
    "asked",
    [
        {"customers": CUSTOMERS[:40]},
        {"customers": [CUSTOMERS[0], "nobody", CUSTOMERS[0]], "reasons": 0},
        {"customers": [{"source": "web", "id": "7"}], "targets": ["churn_28d"], "reasons": 2},
        {"customers": CUSTOMERS[:3], "targets": ["repurchase_7d"], "exact": True},
    ],
)
def test_both_endpoints_give_the_same_answer(both: tuple[Running, Running], asked: dict[str, Any]) -> None:
    """Else whoever switches gets other scores than those that were judged."""
    answers = [service.client.post("/v1/scores", json=asked) for service in both]
    assert [answer.status_code for answer in answers] == [200, 200]
    told = [answer.json() for answer in answers]
    ids = [answer.pop("request_id") for answer in told]
    assert ids == [answer.headers["x-request-id"] for answer in answers]
    assert told[0] == told[1]
    assert answers[0].headers["content-security-policy"] == answers[1].headers["content-security-policy"]


def test_what_does_not_fit_never_reaches_bentoml(both: tuple[Running, Running]) -> None:
    """BentoML would answer 400 and log what was sent, customers' ids included."""
    for asked in (
        {"customers": []},
        {"customers": ["Zoe-1987-secret"], "reasons": "Zoe-1987-secret"},
        {"customers": ["Zoe-1987-secret"], "targets": ["none"]},
    ):
        ours, stock = [service.client.post("/v1/scores", json=asked) for service in both]
        assert ours.status_code == stock.status_code == 422
        assert stock.headers["content-type"] == "application/problem+json"
        told = [answer.json() | {"instance": "", "request_id": ""} for answer in (ours, stock)]
        assert told[0] == told[1]
    refused = both[1].client.post(
        "/v1/scores", json={"customers": ["a"]}, headers={"authorization": "Bearer no"}
    )
    assert refused.status_code == 401
    assert "Zoe-1987-secret" not in both[1].log


def test_it_counts_like_ours(both: tuple[Running, Running]) -> None:
    both[1].scores("nobody")
    metrics = both[1].client.get("/metrics").text
    assert 'propensity_customers_total{outcome="unknown_customer"}' in metrics


def test_an_unknown_way_is_refused_with_the_choices(tmp_path: Path) -> None:
    from features.errors import SettingsError

    with pytest.raises(SettingsError, match="choose dispatch or bentoml"):
        Settings.from_env({"PROPENSITY_SCORES": "flask"})

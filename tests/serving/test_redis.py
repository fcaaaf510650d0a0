"""The service over rows in Redis: it answers from them, and says so within a set time when it cannot."""

import time
from dataclasses import replace

import pytest
from running import release, running, settings_of, small_build
from servers import redis_server
from tiny import TINY_MOMENT

from features import online
from serving import batch


def test_a_redis_that_is_away_is_a_503_with_a_time_to_try_again_and_is_followed_when_it_is_back(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Else: callers hang, retry at once and for ever, or the service must be restarted after Redis was."""
    folder = tmp_path_factory.mktemp("service")
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        settings = replace(settings_of(folder / "home"), online=server.url)
        build = small_build(settings)
        online.publish(settings, build, TINY_MOMENT)
        batch.score(settings, release(settings, folder, build, "churn_28d"), build, TINY_MOMENT)
        env = {"PROPENSITY_ONLINE": server.url, "PROPENSITY_ONLINE_TIMEOUT_MS": "250"}
        with running(settings, **env) as service:

            def answers() -> bool:
                asked = service.scores("c0001")
                return asked.status_code == 200 and "scores" in asked.json()["results"][0]

            def refused() -> None:
                for asked in (
                    service.scores("c0001"),
                    service.client.post(
                        "/v1/decisions", json={"customer": "c0001"}, headers={"idempotency-key": "1"}
                    ),
                    service.client.get("/readyz"),
                ):
                    assert (asked.status_code, asked.json()["code"]) == (503, "online_unavailable")
                    assert asked.headers["retry-after"] == "1"

            assert answers()
            server.freeze()
            started = time.perf_counter()
            for _ in range(10):
                refused()
            assert time.perf_counter() - started < 30
            server.thaw()
            deadline = time.monotonic() + 60
            while not answers():
                assert time.monotonic() < deadline, "the service does not go on"
                time.sleep(0.1)
            server.stop()
            refused()
            server.start()
            online.publish(settings, build, TINY_MOMENT)
            assert answers()
            assert "Traceback" not in service.log

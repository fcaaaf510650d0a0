"""The service over rows in Redis: it answers from them, and says so within a set time when it cannot."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from running import release, running, settings_of, small_build
from servers import redis_server
from tiny import TINY_MOMENT

from features import online
from features.files import write_atomically
from features.moments import iso
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


def test_a_slow_redis_keeps_nobody_waiting_who_does_not_need_it(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Else one probe stalls every caller, and a supervisor restarts what is well.

    Without limits on time: Redis stands still until the others have their answers, or this test fails.
    """
    folder = tmp_path_factory.mktemp("service")
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        settings = replace(settings_of(folder / "home"), online=server.url)
        build = small_build(settings)
        online.publish(settings, build, TINY_MOMENT)
        batch.score(settings, release(settings, folder, build, "churn_28d"), build, TINY_MOMENT)
        write_atomically(settings.home / "log" / "CURRENT", b"a-log")  # the host that takes events has one
        env = {"PROPENSITY_ONLINE": server.url, "PROPENSITY_ONLINE_TIMEOUT_MS": "600000"}
        routes = ("/metrics", "/readyz", "/v1/models")
        with running(settings, **env) as service, ThreadPoolExecutor(len(routes)) as callers:
            server.freeze()
            try:
                slow = [callers.submit(service.client.get, route, timeout=600) for route in routes]
                for _ in range(20):  # until they have come in
                    time.sleep(0.05)
                    assert service.client.get("/healthz").status_code == 200
                event = {"type": "visit", "source": "web", "id": "1", "customer": "c0001", "channel": "web"}
                told = service.client.post("/v1/events", json={"events": [event | {"at": iso(TINY_MOMENT)}]})
                assert [answer["status"] for answer in told.json()["results"]] == ["accepted"]
                assert not any(asked.done() for asked in slow), "or this test could not fail"
            finally:
                server.thaw()
            assert [asked.result().status_code for asked in slow] == [200] * len(slow)

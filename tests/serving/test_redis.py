"""The service over rows in Redis: it answers from them, and says so within a set time when it cannot."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from running import release, running, settings_of, small_build, until
from servers import redis_server
from tiny import TINY_FEATURES, TINY_MOMENT

from features import online
from features.files import write_atomically
from features.moments import DAY, iso
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

            until(answers)  # a busy machine may take longer than Redis is given here
            server.freeze()
            started = time.perf_counter()
            for _ in range(10):
                refused()
            assert time.perf_counter() - started < 30
            server.thaw()
            until(answers)
            server.stop()
            refused()
            server.start()
            online.publish(settings, build, TINY_MOMENT)
            until(answers)
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


def test_a_redis_that_comes_back_empty_is_filled_by_a_build_and_running_services_follow(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Else what is said to help leaves every score an error, or tells the moment of the rows of before."""
    folder = tmp_path_factory.mktemp("service")
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        settings = replace(settings_of(folder / "home"), online=server.url)
        moments = [TINY_MOMENT - DAY, TINY_MOMENT]
        build = small_build(settings, moments)
        released = release(settings, folder, build, "churn_28d")
        for moment in moments:
            batch.score(settings, released, build, moment)
        online.publish(settings, build, moments[0])
        with running(settings, watched=True, PROPENSITY_ONLINE=server.url) as service:

            def known_at() -> str:
                asked = service.scores("c0001")
                assert asked.status_code == 200, asked.text
                (of,) = asked.json()["results"]
                assert "scores" in of, of
                return str(of["known_at"])

            assert known_at() == iso(moments[0])
            server.stop()
            server.start()
            online.publish(settings, build, moments[1])
            assert known_at() == iso(moments[1])
            server.stop()
            server.start()
            wider = small_build(settings, names=[*TINY_FEATURES, "another"])
            batch.score(settings, released, wider, TINY_MOMENT)
            online.publish(settings, wider, TINY_MOMENT)
            assert known_at() == iso(TINY_MOMENT)
            decided = service.client.post(
                "/v1/decisions", json={"customer": "c0001"}, headers={"idempotency-key": "1"}
            )
            assert decided.status_code == 200, decided.text
            assert decided.json()["known_at"] == iso(TINY_MOMENT)

"""Freshness: from the answer `accepted` of `POST /v1/events` to the first read that has the event in it.

The service and its companion run as `propensity serve` starts them, over the demo's log (1.5 million lines).
The reader is another process, as a second worker would be: it reads packed rows in SQLite every 2 ms. An
event is an order with one line; all published features of its customer are computed anew.
"""

import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx

from benchmarks.measure import journey
from features import online
from features.compute import engine
from features.moments import iso, parse_moment, to_us
from features.settings import Settings

EVENTS = 300
GOAL = 1.0  # seconds
KEY = "a-key-of-the-benchmark"
TOGETHER = 50  # customers in one request, once


def figures() -> Iterator[dict[str, Any]]:
    """The first order once callers can connect; one after another, each of another customer; many at once."""
    with journey() as settings:
        moment = parse_moment("2017-12-31")
        build, _ = engine.build(settings, [moment])
        online.publish(settings, build, moment)
        settings = replace(settings, as_of=moment + timedelta(hours=1))
        rows = online.OnlineRows.open(settings)
        ids = build.read(moment, ["customer_id"])["customer_id"].to_pylist()
        with _service(settings) as client:
            first = _seconds(client, rows, settings, ids[:1])
            alone = [_seconds(client, rows, settings, [id]) for id in ids[1 : EVENTS + 1]]
            together = _seconds(client, rows, settings, ids[EVENTS + 1 : EVENTS + 1 + TOGETHER])
    yield _figure(f"event to read, p50 of {EVENTS}", statistics.median(alone))
    yield _figure(f"event to read, p99 of {EVENTS}", sorted(alone)[int(EVENTS * 0.99)])
    yield _figure(f"events of {TOGETHER} customers in one request, to the read that shows all", together)
    # It waits until what computes features is loaded: "fresh rows ready" in the service's log.
    yield _figure("event to read, told as soon as a new service listens", first, goal=None)


def _seconds(client: httpx.Client, rows: online.OnlineRows, settings: Settings, ids: list[str]) -> float:
    events = [
        {
            "type": "order",
            "source": "benchmark",
            "id": f"order of {id}",
            "customer": id,
            "at": iso(settings.now()),
            "channel": "store",
            "amount": "12.50",
            "lines": [{"product_id": "1", "amount": "12.50"}],
        }
        for id in ids
    ]
    answer = client.post("/v1/events", json={"events": events}).raise_for_status().json()
    started = time.perf_counter()
    assert {result["status"] for result in answer["results"]} == {"accepted"}
    while (rows.read(rows.current(), ids).known_at < to_us(settings.now())).any():
        if time.perf_counter() - started > 60:
            raise TimeoutError("an accepted event was not to be read within 60 s")
        time.sleep(0.002)
    return time.perf_counter() - started


@contextmanager
def _service(settings: Settings) -> Iterator[httpx.Client]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    env = os.environ | {
        "PROPENSITY_HOME": str(settings.home),
        "PROPENSITY_AS_OF": iso(settings.now()),
        "PROPENSITY_API_KEYS": f"benchmark:{KEY}",
        "PROPENSITY_PORT": str(port),
    }
    command = [sys.executable, "-m", "propensity", "serve"]
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    headers = {"authorization": f"Bearer {KEY}"}
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30) as client:
            while True:
                try:
                    client.get("/livez")
                    break
                except httpx.ConnectError:
                    if process.poll() is not None:
                        raise RuntimeError("the service does not start") from None
                    time.sleep(0.05)
            yield client
    finally:
        process.terminate()
        process.wait(30)


def _figure(name: str, value: float, goal: float | None = GOAL) -> dict[str, Any]:
    return {
        "name": name,
        "value": value,
        "unit": "s",
        "peer": None,
        "ratio": None,
        "goal": goal,
        "at": "most",
        "holds": None if goal is None else value <= goal,
    }

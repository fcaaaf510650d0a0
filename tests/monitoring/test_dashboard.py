"""The dashboard: every panel shows something, asked of a real Prometheus that scrapes the real service and
what runs of the monitoring wrote."""

import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from alerting import WEBHOOK, Days, found
from click.testing import CliRunner

from monitoring.dashboard import MONITORING, ROWS, SERVICE, Panel, dashboard
from propensity import main

sys.path.insert(0, str(Path(__file__).parents[1] / "serving"))
from running import Running, release, running, settings_of, small_build
from tiny import TINY_FEATURES, TINY_MOMENT

from features import online

PROMETHEUS = shutil.which("prometheus")
needs_prometheus = pytest.mark.skipif(PROMETHEUS is None, reason="there is no prometheus on this machine")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("dashboard")
    settings = settings_of(folder / "home")
    build = small_build(settings, names=[*TINY_FEATURES, "order_value_365d"])
    online.publish(settings, build, TINY_MOMENT)
    release(settings, folder, build, "churn_28d")
    with running(settings) as service:
        yield service


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Days:
    """A home whose one sink nobody answers at."""
    return Days(tmp_path_factory.mktemp("watched"), WEBHOOK.format(port=1))


class _Textfiles(SimpleHTTPRequestHandler):
    """Gives metrics.prom as it is, which is what node_exporter does with it."""

    extensions_map = {".prom": "text/plain; version=0.0.4"}

    def log_message(self, *of: object) -> None:
        pass


@pytest.fixture(scope="module")
def textfile(watched: Days) -> Iterator[str]:
    """Where its textfile is given: host and port."""
    handler = partial(_Textfiles, directory=str(watched.settings.home / "monitoring"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def prometheus(
    service: Running, textfile: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    assert PROMETHEUS is not None
    folder = tmp_path_factory.mktemp("prometheus")
    target = f"{service.client.base_url.host}:{service.client.base_url.port}"
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [
            {"job_name": "propensity", "static_configs": [{"targets": [target]}]},
            {
                "job_name": "monitoring",
                "metrics_path": "/metrics.prom",
                "static_configs": [{"targets": [textfile]}],
            },
        ],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))  # YAML holds JSON
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        PROMETHEUS, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=error",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            until(lambda: _is_ready(client))
            yield client
    finally:
        process.terminate()
        process.wait(120)


@needs_prometheus
def test_every_panel_shows_something(service: Running, prometheus: httpx.Client) -> None:
    """Else an operator looks at an empty panel in the night in which it matters, and takes it for quiet."""

    def traffic(n: int) -> None:
        service.scores("c0001", "nobody")
        service.client.get("/v1/models", headers={"authorization": "Bearer nobody"})
        key = {"idempotency-key": f"panel-{n}"}
        decision = service.client.post("/v1/decisions", json={"customer": "c0001"}, headers=key).json()
        report = {
            "source": "s",
            "id": f"{n}",
            "decision_id": decision["decision_id"],
            "at": decision["as_of"],
        }
        service.client.post("/v1/outcomes", json={"outcomes": [report | {"type": "order", "value": 1}]})
        visit = {"type": "visit", "source": "web", "id": f"{n}", "customer": "c0001", "channel": "web"}
        service.client.post("/v1/events", json={"events": [visit | {"at": decision["as_of"]}]})

    empty = {(place, legend) for place, panel in enumerate(SERVICE) for legend in panel.queries}
    number = 0

    def filled() -> bool:
        nonlocal number, empty
        number += 1
        traffic(number)
        empty = {of for of in empty if not _shows(prometheus, SERVICE[of[0]].queries[of[1]])}
        return not empty

    until(
        filled,
        240,
        lambda: f"{[(SERVICE[p].words.en, legend) for p, legend in empty]}\n{service.log[-2000:]}",
    )


@needs_prometheus
def test_what_the_monitoring_says_of_itself_is_drawn_also_where_nothing_is_on(
    watched: Days, prometheus: httpx.Client
) -> None:
    """Else the service's wall shows green while a page is on, nobody is told, or no run came for days."""

    def drawn(panel: Panel) -> dict[str, list[float]]:
        return {
            legend: [float(one["value"][1]) for one in _asked(prometheus, query)]
            for legend, query in panel.queries.items()
        }

    on, since, waits = MONITORING
    watched.day()
    until(lambda: drawn(on) == {"page": [0], "warning": [0]}, why=lambda: str(drawn(on)))
    assert drawn(waits) == {"{{sink}} {{state}}": [0, 0]}, "a sink that took all it was sent"
    (age,) = drawn(since)[""]
    assert -1 < age < 300, "of the moment of the question, which a scrape under way may be a little past"
    hushed = watched.run("silence", "customers", "--until", "2018-03-01", "--reason", "r", "--by", "li")
    assert hushed.exit_code == 0, hushed.output
    watched.day(
        found(value=2.5), found("log", value=2.5), found("orders", value=1.5), found("customers", value=2.5)
    )
    until(lambda: drawn(on) == {"page": [2], "warning": [1]}, why=lambda: str(drawn(on)))
    assert sorted(drawn(waits)["{{sink}} {{state}}"]) == [0, 3]


def test_it_is_printed_for_grafana_in_both_languages() -> None:
    for language in ("en", "zh"):
        printed = CliRunner().invoke(main, ["monitor", "dashboard", "--lang", language])
        assert printed.exit_code == 0, printed.output
        found = json.loads(printed.output)
        assert found == dashboard("zh" if language == "zh" else "en")
        titles = [words for title, _, panels in ROWS for words in (title, *(one.words for one in panels))]
        assert [panel["title"] for panel in found["panels"]] == [getattr(one, language) for one in titles]
        assert all(panel["description"] for panel in found["panels"] if panel["type"] != "row")
        assert len({panel["id"] for panel in found["panels"]}) == len(titles)
        covered = [
            (x, y)
            for at in (panel["gridPos"] for panel in found["panels"])
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        ]
        assert len(set(covered)) == len(covered), "none hides another"
        assert max(x for x, _ in covered) < 24


def _asked(client: httpx.Client, query: str) -> list[dict[str, Any]]:
    """What Prometheus answers: a series each."""
    query = query.replace("$__rate_interval", "10s")
    answer = client.get("/api/v1/query", params={"query": query}).json()
    assert answer["status"] == "success", (query, answer)
    return list(answer["data"]["result"])


def _shows(client: httpx.Client, query: str) -> bool:
    return any(one["value"][1] not in ("NaN", "+Inf") for one in _asked(client, query))


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/-/ready").status_code == 200
    except httpx.TransportError:
        return False


def until(
    holds: Callable[[], bool], seconds: float = 120, why: Callable[[], str] = lambda: "not in time"
) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, why()
        time.sleep(0.2)

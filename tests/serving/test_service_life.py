"""The life of the real service: ready by itself, keeps what is good, stops cleanly, calls nobody."""

# ruff: noqa: F811 (fixtures of another module are arguments)

import json
import os
import re
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import httpx
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
    until,
)
from test_service import SECRET, decide, home, problem, service  # noqa: F401
from tiny import TINY_FEATURES, TINY_MOMENT, tiny_rows

from features import online
from features.compute.builds import Build
from features.files import write_atomically
from features.moments import DAY
from features.settings import Settings
from features.shop import shop_of
from serving import releases
from serving.actions import catalogue
from serving.pauses import opened as pausing


def test_it_stops_cleanly_on_ctrl_c_as_on_sigterm(home: Settings) -> None:
    """A supervisor that sees another code than 0 would report every restart as a crash.

    `running` stops every other service of these tests by SIGTERM, and asserts the same.
    """
    with running(home) as service:
        assert service.client.get("/readyz").status_code == 200
        assert service.stop(signal.SIGINT) == 0
        assert "Traceback" not in service.log


def test_a_caller_who_does_not_read_is_left_behind_when_it_stops(home: Settings) -> None:
    """Else each deploy fills the log with errors that are none, and what was asked is in no count."""
    body = json.dumps({"customers": CUSTOMERS[:900], "reasons": 10}).encode()
    head = f"POST /v1/scores HTTP/1.1\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\n"
    asked = head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with running(home, watched=True) as service, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        connection.settimeout(1)
        connection.connect(("127.0.0.1", service.client.base_url.port or 0))
        with suppress(TimeoutError):
            for _ in range(1_000):
                connection.sendall(asked)
        assert service.client.get("/livez").status_code == 200  # it was not at a standstill
        assert service.stop() == 0
        assert "Traceback" not in service.log
        assert re.search(r"route=/v1/scores method=POST status=499 .* client=tests", service.log)


def test_a_log_that_nobody_takes_any_more_keeps_nobody_from_scores(home: Settings, tmp_path: Path) -> None:
    """The collector of logs was restarted, or its disk is full: neither is a caller's fault."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)

    def tells(end: int) -> None:
        """Wait for the line of a request for scores, which is written once that is answered."""
        came = bytearray()

        def read() -> bool:
            with suppress(BlockingIOError):
                came.extend(os.read(end, 1 << 16))
            return b"route=/v1/scores" in came

        until(read)

    command = ("sh", "-c", 'exec "$0" -m propensity serve 2> "$1"', sys.executable, str(fifo))
    with running(home, command, watched=True) as service:
        assert service.scores("c0001").status_code == 200
        tells(reader)
        os.close(reader)
        for _ in range(3):  # at once, in the usual way, and on a connection of its own
            assert service.scores("c0001").status_code == 200
            assert service.client.get("/v1/models").status_code == 200
            assert httpx.post(service.client.base_url.join("/v1/scores"), json={}).status_code == 401
        back = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        assert service.scores("c0001").status_code == 200
        tells(back)
    os.close(back)


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
        whole = {"status": "ready", "refused": [], "paused": [], "missing": []}
        assert service.client.get("/readyz").json() == whole
        actions = catalogue(shop_of(settings).declared("ACTIONS")).values()
        with pausing(settings) as pauses:
            pauses.pause("channel:mail", "the printer is down", actions)
        assert service.client.get("/readyz").json()["paused"] == ["channel:mail"]
        assert 'propensity_release_refused{model="churn_28d"} 0.0' in service.client.get("/metrics").text


def test_a_pointer_that_is_damaged_is_as_a_damaged_release(tmp_path: Path) -> None:
    """A power cut leaves such a file, and it must not end every answer, nor those of probes and metrics."""
    settings = settings_of(tmp_path / "home")
    build = small_build(settings)
    online.publish(settings, build, TINY_MOMENT)
    release(settings, tmp_path, build, "churn_28d")
    pointer = settings.home / "releases/churn_28d/CURRENT"
    history = pointer.with_name("HISTORY")
    sound = history.read_bytes()

    def damaged() -> Iterator[bytes | None]:
        """Each damage in its turn, None: a folder."""
        for damage in (None, b"\xff\xfe", b"\0" * 16, b"../.."):
            pointer.rmdir() if pointer.is_dir() else pointer.unlink()
            pointer.mkdir() if damage is None else pointer.write_bytes(damage)
            history.write_bytes(sound + b"\xff\n1 2\n")
            yield damage

    def mended() -> None:
        """The remedy."""
        releases.publish(settings, tmp_path / "churn_28d-1", "churn_28d", "1")
        assert service.scores("c0001").json()["results"] == before
        assert service.client.get("/readyz").json()["refused"] == []

    with running(settings, watched=True) as service:
        before = service.scores("c0001").json()["results"]
        for damage in damaged():
            assert service.scores("c0001").json()["results"] == before, "by the version before"
            (refused,) = service.client.get("/readyz").json()["refused"]
            assert (refused["serving"], refused["error"]["code"]) == ("1", "release_corrupt")
            assert "CURRENT" in refused["error"]["detail"]
            assert 'propensity_release_refused{model="churn_28d"} 1.0' in service.client.get("/metrics").text
            assert service.client.get("/v1/models").status_code == 200
            if damage is not None:
                mended()
    pointer.write_bytes(b"\xff\xfe")
    with running(settings, watched=True) as service:  # which has no version before
        for _ in damaged():
            for answer in (service.scores("c0001"), service.client.get("/readyz")):
                assert "CURRENT" in problem(answer, 503, "release_corrupt")["detail"]
            (model,) = service.client.get("/v1/models").json()["models"]
            assert model["error"]["code"] == "release_corrupt"
            assert 'propensity_release_refused{model="churn_28d"} 1.0' in service.client.get("/metrics").text
        mended()


def test_a_release_that_was_changed_is_refused_with_the_reason(tmp_path: Path) -> None:
    """One target that cannot be trusted is named, and does not silence the other."""
    settings = settings_of(tmp_path / "home")
    build = small_build(settings)
    online.publish(settings, build, TINY_MOMENT)
    release(settings, tmp_path, build, "churn_28d")
    release(settings, tmp_path, build, "repurchase_7d", seed=1)
    booster = settings.home / "releases/churn_28d/1/booster-0.txt"
    booster.write_bytes(booster.read_bytes().replace(b"shrinkage=0.1", b"shrinkage=0.2", 1) + b"\n")
    with running(settings, watched=True) as service:
        (unanswered,) = service.client.get("/readyz").json()["refused"]
        assert (unanswered["name"], unanswered["serving"]) == ("churn_28d", None)
        refused, answered = service.scores("c0001").json()["results"][0]["scores"]
        assert (refused["target"], refused["error"]["code"]) == ("churn_28d", "release_corrupt")
        assert "booster-0.txt was changed" in refused["error"]["detail"]
        other = [line for line in service.log.splitlines() if not re.match(LINE, line)]
        assert other == [], "one format for all, with the time"
        assert "propensity.releases release of churn_28d refused" in service.log
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
    with running(settings, watched=True) as service:
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


LINE = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (INFO|WARNING|ERROR) [a-z.]+ "


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
        lines = [line for line in under_bentoml.log.splitlines() if " propensity." in line]
        assert lines
        assert all(re.match(LINE, line) for line in lines)
    assert calls.targets == [], "nobody is told that, or how, this runs"

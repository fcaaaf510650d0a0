"""Runs of `decide --groups` that were cut off between their decisions and the parts of these.

    decided/<us>    a run as of that moment, from before it decides until all is written; locked while it runs

The next run finds the file of one that was killed, which holds no lock any more, and finishes its parts. What
follows from a run is its own: without this, who decides a minute later would leave half of a chat without.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

import msgspec

from features.moments import DAY, from_us, to_us
from features.settings import Settings
from propensity.grouped_asked import CLIENT
from serving.groups import UNIT, GroupDecision
from serving.ledger import Ledger
from serving.rounds import EVERYONE
from serving.sendable import over_unsent


@contextmanager
def begun(settings: Settings, as_of: datetime) -> Iterator[None]:
    """That a run has begun, until it ends without an error. It waits for another as of the same moment."""
    path = _folder(settings) / str(to_us(as_of))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
        path.unlink(missing_ok=True)


@contextmanager
def left(settings: Settings, ledger: Ledger, now: datetime) -> Iterator[list[GroupDecision]]:
    """What runs decided that were cut off, and may still be sent; they count as finished afterwards."""
    over, found = list[Path](), list[GroupDecision]()
    for path in sorted(_folder(settings).glob("[0-9]*")):
        with suppress(FileNotFoundError, BlockingIOError), path.open("rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            over.append(path)
            found += _decided(ledger, from_us(int(path.name)), now)
    yield found
    for path in over:
        path.unlink(missing_ok=True)


def _decided(ledger: Ledger, moment: datetime, now: datetime) -> Iterator[GroupDecision]:
    if now >= moment + DAY:  # whoever comes so late begins anew
        return
    for entry in (*ledger.entries(UNIT, moment), *ledger.entries(EVERYONE, moment)):
        own = entry.as_of == moment and entry.client == CLIENT and entry.channel is not None
        if own and entry.sealed is not None and not over_unsent(ledger, entry.id, now):
            yield msgspec.json.decode(entry.sealed.answer, type=GroupDecision)


def _folder(settings: Settings) -> Path:
    return settings.home / "decided"

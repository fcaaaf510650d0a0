"""Recompute the rows of customers of whom something new came in: the inbox to the overlay, within a second.

`python -m features.fresh` watches the inbox of a home, one such process a home. The service starts it, for it
may not itself load what computes features (duckdb among it). It loads and tries that before the first event
needs it, and says so: `fresh rows ready`.

What decides whether an event is still to be overlaid: its customer's published row knows it if the log of
that build had taken it in, and it came before the build's moment. After a flip of the pointer to another
publication all that this one does not know is written again; as it is once the store started anew, for then
it may be what it was before, as a Redis is that crashed. Who was erased is then erased again.
"""

import fcntl
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from features.errors import NoBuild, PropensityError
from features.fresh_rows import log_of, rows_of
from features.inbox import Inbox, Kept
from features.lean import lean
from features.online import Fresh, OnlineRows, Published, erase, erase_again, write_overlay
from features.settings import Settings
from features.tombstones import Tombstones

EVERY = 0.05  # seconds between two looks at the inbox and at the pointer: less than half a millisecond each
AT_ONCE = 200  # customers recomputed in one go: about as long as a single one takes, twice
RETRY = 5.0  # seconds until what failed is tried again
CHECK = 1.0  # seconds between two looks at whether the store started anew

TAKEN = 3  # exit code: another process of this home watches

report = logging.getLogger("propensity.fresh")


class Overlay:
    """Keeps the overlay of what is published up to the inbox. `step` is one look at both."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._inbox = Inbox(settings)
        self._online = OnlineRows.open(settings)
        self._published: Published | None = None
        self._seen = 0  # number of the last event whose customer is in `_waiting`, or done
        self._waiting: dict[str, int] = {}  # customer -> number of her last event
        self._changes = -1
        self._epoch = ""  # of the store
        self._checked = self._not_before = 0.0
        self._started: float | None = time.monotonic()  # None: it has said that it is ready

    def step(self) -> int:
        """Write the overlay rows of the customers who wait, AT_ONCE at most; return how many were written.

        What fails is tried again after RETRY seconds; meanwhile decisions read the inbox itself.
        """
        if time.monotonic() < self._not_before:
            return 0
        try:
            self._look()
            if not self._waiting or self._published is None:
                return 0
            some = list(self._waiting)[:AT_ONCE]
            done = self._write(self._published, some)
            self._inbox.note_overlaid(self._published.key, done)
        except NoBuild:  # nothing is published, or something else since we looked
            self._published = None
            return 0
        except PropensityError as error:  # ours repeat no customer's data
            return self._later(f"{error.code}: {error}")
        except Exception as error:  # the last door: the log names the place, and no value
            place = traceback.extract_tb(error.__traceback__)[-1]
            return self._later(f"{type(error).__name__} at {place.filename}:{place.lineno} {place.name}")
        for customer_id in some:  # one without rows was erased meanwhile
            if self._waiting[customer_id] <= done.get(customer_id, self._waiting[customer_id]):
                del self._waiting[customer_id]
        return len(some)

    def _later(self, why: str) -> int:
        self._not_before = time.monotonic() + RETRY
        report.warning("fresh rows wait: %s", why)
        return 0

    def _look(self) -> None:
        """Note who waits: after a flip, or once the store started anew, everybody of whom what is published
        does not know all."""
        epoch, published = self._current_epoch(), self._online.current()
        if (published, epoch) != (self._published, self._epoch):
            if epoch != self._epoch:
                self._erase_again()
            self._inbox.forget_overlaid()
            log = log_of(self.settings, published)
            taken = self._inbox.taken(log.fingerprint)
            merged = log.merges().to_pylist()
            self._inbox.note_aliases({row["customer_id"]: row["canonical_id"] for row in merged})
            self._changes, self._seen = self._inbox.changes(), self._inbox.last()
            self._waiting = self._inbox.customers(taken, since=published.moment)
            self._published, self._epoch = published, epoch
            if not self._waiting:  # so that the first event waits for no import and no compiler
                self._rows(published, [_somebody(self.settings, published)], [])
            return
        changes = self._inbox.changes()
        if changes != self._changes:
            self._changes = changes
            new = self._inbox.customers(self._seen)
            self._waiting |= new
            self._seen = max(self._seen, *new.values()) if new else self._seen

    def _current_epoch(self) -> str:
        """The store's, as it was a moment ago."""
        if time.monotonic() - self._checked < CHECK:
            return self._epoch
        epoch = self._online.epoch()
        self._checked = time.monotonic()
        return epoch

    def _erase_again(self) -> None:
        """Of a store that may be what it was before: who was erased since."""
        if again := erase_again(self.settings):
            report.warning("the store had %d customers again who had been erased: they are erased", again)

    def _write(self, published: Published, customer_ids: Sequence[str]) -> dict[str, int]:
        """Write these customers' overlay rows; customer -> number of the last event that hers has."""
        kept = self._inbox.rows(customer_ids)
        numbers = {row.customer_id: row.number for row in kept}  # in the order in which they came
        write_overlay(self.settings, published, self._rows(published, list(numbers), kept))
        # Who was erased while we computed is on the list before her rows go: then ours goes too.
        gone = Tombstones.of(self.settings).customers(numbers)
        if gone:
            erase(self.settings, sorted(gone))
        return numbers

    def _rows(
        self, published: Published, customer_ids: Sequence[str], kept: Sequence[Kept]
    ) -> dict[str, Fresh]:
        rows = rows_of(self.settings, published, customer_ids, kept)
        if self._started is not None:
            report.info("fresh rows ready in %.1f s", time.monotonic() - self._started)
            self._started = None
        return rows


def _somebody(settings: Settings, published: Published) -> str:
    ids = log_of(settings, published).read("customers", ["customer_id"])["customer_id"]
    return str(ids[0])


def load() -> None:
    """Load what computes features, a second or two, and try it."""
    with lean():
        import pyarrow.dataset  # noqa: F401

        from features.compute import kernel

        kernel.ordered(np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int64))


def run(settings: Settings, until: threading.Event) -> bool:
    """Watch the inbox until then; False at once if another process of this home does."""
    with _sole(settings) as alone:
        if alone:
            overlay = Overlay(settings)
            load()
            while not until.is_set():
                if not overlay.step():
                    until.wait(EVERY)
        return alone


def watched(settings: Settings) -> bool:
    """Whether a process watches this home."""
    with _sole(settings) as alone:
        return not alone


@contextmanager
def _sole(settings: Settings) -> Iterator[bool]:
    """True while this process is the one that watches this home; the lock dies with its holder."""
    path = settings.home / "log" / "inbox" / "fresh.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def main() -> None:
    """Watch until SIGTERM or SIGINT; with `--while-fed`, until whoever holds our standard input is gone."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    until = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: until.set())
    if "--while-fed" in sys.argv[1:]:

        def wait() -> None:
            while os.read(sys.stdin.fileno(), 1 << 12):  # `sys.stdin` holds a lock that exiting needs
                pass
            until.set()

        threading.Thread(target=wait, daemon=True).start()
    sys.exit(0 if run(Settings.from_env(), until) else TAKEN)


if __name__ == "__main__":
    main()

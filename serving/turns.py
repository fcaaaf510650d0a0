"""Taking turns at what may hang. While it does, one at a time finds out whether it still does, and all others
are told so at once: else those who ask wait for each other, and the last of a queue for all before it.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import NamedTuple

from features.errors import DecisionError

SLOW = 1.0  # seconds; what fails sooner keeps nobody waiting
REST = 1.0  # seconds in which nobody tries again, so that whoever waited meanwhile is told, and waits no more


class _Hung(NamedTuple):
    since: float
    said: str
    writing: bool


class Turns:
    """At the ledger, for the threads of a process."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._hung: _Hung | None = None  # as it was found last

    @contextmanager
    def turn(self, patience: float, writing: bool = False) -> Iterator[None]:
        """Nobody else is in this block; whoever is may take another turn. DecisionError while it hangs, or
        if the others take longer than `patience` seconds. writing: may hang where reading does not."""
        hung = self._hung
        if hung is not None and time.monotonic() - hung.since > 2 * patience:
            hung = None  # nobody tried since
        if not self._lock.acquire(timeout=0 if hung else patience):
            said = hung.said if hung else f"the ledger has been in use for {patience:g} s: look what holds it"
            raise DecisionError(said)
        try:
            began, hung = time.monotonic(), self._hung
            if hung is not None and began - hung.since < REST:
                raise DecisionError(hung.said)
            try:
                yield
            except DecisionError as error:
                if type(error) is DecisionError and time.monotonic() - began > SLOW:  # not of what was asked
                    self._hung = _Hung(time.monotonic(), str(error), writing)
                raise
            if self._hung is not None and (writing or not self._hung.writing):
                self._hung = None
        finally:
            self._lock.release()

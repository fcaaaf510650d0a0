"""Whom somebody asked to have erased, until it is done: nothing is answered of them meanwhile.

    erased/asked/<request id>.json    {"customer": an id, or {"source", "id"}, ...}, written by the service

Every process of the home sees a request as soon as it is on the disk, and after a restart, too.
"""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from features.errors import FeatureError
from features.files import NO_JSON
from features.inbox import named
from features.online.packed import MERGED
from features.settings import Settings

Resolve = Callable[[Sequence[tuple[str, str]]], Sequence[str | None]]
HOLDS = 1.0  # seconds for which whom they name is not looked up anew, as ids may be merged meanwhile
_TICK = 100_000_000  # ns: two changes of a folder within a tick of the clock have the same time


class _Identity(msgspec.Struct, frozen=True):
    source: str
    id: str


class _Asked(msgspec.Struct, frozen=True):
    customer: str | _Identity


_decoder = msgspec.json.Decoder(_Asked)


def folder_of(settings: Settings) -> Path:
    """Where requests wait."""
    return settings.home / "erased" / "asked"


class Asked:
    """The ids of those who wait. Serves all threads of a process; almost always it costs one `stat`."""

    def __init__(self, settings: Settings) -> None:
        self._folder = folder_of(settings)
        self._path = str(self._folder)
        self._seen: tuple[int, float, frozenset[str]] | None = None  # the folder's time, until when, whom

    def ids(self, resolve: Resolve) -> frozenset[str]:
        """Every id by which they are known now. resolve: as `OnlineRows.resolve`, which may raise.

        FeatureError if it cannot be read who waits: then nobody can be told from them.
        """
        try:
            changed = os.stat(self._path).st_mtime_ns  # noqa: PTH116  on the way of every read
        except FileNotFoundError:
            return frozenset()
        except OSError as error:
            raise FeatureError(
                f"{self._folder} cannot be read ({error.strerror}), which says whom to erase: let the user "
                "of this process read it"
            ) from None
        seen = self._seen
        if seen is not None and seen[0] == changed and time.monotonic() < seen[1]:
            return seen[2]
        settled = time.time_ns() - changed > _TICK
        whom = self._whom(resolve)
        if settled:
            until = time.monotonic() + HOLDS if whom else float("inf")
            self._seen = changed, until, whom
        return whom

    def _whom(self, resolve: Resolve) -> frozenset[str]:
        pairs = []
        for path in self._folder.glob("*.json"):
            try:
                customer = _decoder.decode(path.read_bytes()).customer
            except (FileNotFoundError, *NO_JSON):  # done meanwhile; or damaged, which the eraser says
                continue
            pairs.append((MERGED, customer) if isinstance(customer, str) else (customer.source, customer.id))
        if not pairs:
            return frozenset()
        own = {id if source == MERGED else named(source, id) for source, id in pairs}
        return frozenset(own | {owner for owner in resolve(pairs) if owner})

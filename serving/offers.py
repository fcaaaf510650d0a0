"""Which offers like customers of different groups do not get alike: measured over everybody, told of one.

    fairness.json    the last measurement of `propensity decide --all`, also of a plan that was refused for it

One decision cannot be unfair by itself: what is known of its offer is what was measured of all. Every
decision tells it; under `price_fairness = "block"` such an offer is not made until a later measurement clears
it.
"""

from datetime import datetime

import msgspec
from msgspec import Struct

from features.errors import DecisionError
from features.files import NO_JSON, write_atomically
from features.settings import Settings

Unfair = dict[str, tuple[str, ...]]  # action -> attributes of customers whose groups do not get it alike


class Measured(Struct, frozen=True):
    """One measurement. build: the publication that it was made on."""

    as_of: datetime
    build: str
    unfair: Unfair


class Offers:
    """Follows the file. One object serves all threads of a process."""

    def __init__(self, settings: Settings) -> None:
        self._path = settings.home / "fairness.json"
        self._seen: tuple[int, int] | None = None
        self._unfair: Unfair = {}

    def unfair(self) -> Unfair:
        """By the last measurement; empty without one. DecisionError if the file is damaged."""
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            if self._seen is not None:
                self._seen, self._unfair = None, {}
            return self._unfair
        seen = (stat.st_ino, stat.st_mtime_ns)  # a replaced file differs in one of them
        if seen != self._seen:
            try:
                self._unfair = msgspec.json.decode(self._path.read_bytes(), type=Measured).unfair
            except NO_JSON as error:
                raise DecisionError(
                    f"{self._path} is damaged ({error}): run `propensity decide --all` again"
                ) from None
            self._seen = seen
        return self._unfair

    def measured(self, found: Measured) -> None:
        """Keep a measurement; every worker's next decision knows it."""
        write_atomically(self._path, msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")

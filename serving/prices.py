"""Prices of money and channels that are short: found for everybody at once, charged in every online decision.

prices/<moment>.json    one run of the allocation; the last at or before "now" is in force until the next

An action is charged budget price x its expected cost + its channel's price, only to choose; its expected net
value stays what it is.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from features.errors import DecisionError
from features.files import write_atomically
from features.settings import Settings
from serving.actions import Action

BUDGET = "budget"  # its name among the duals of an answer, beside the channels'


class Prices(Struct, frozen=True):
    """budget: net value that one more unit of currency would bring; channels: that one more contact would."""

    budget: float = 0.0
    channels: dict[str, float] = {}

    def of(self, actions: Sequence[Action]) -> NDArray[np.float64]:
        """What each action is charged, shop currency [A]."""
        channels = [sum(self.channels.get(channel, 0.0) for channel in a.channels) for a in actions]
        return np.array([self.budget * a.cost for a in actions]) + channels

    @property
    def duals(self) -> dict[str, float]:
        """By the name of what is short; empty without prices."""
        named = {BUDGET: self.budget, **self.channels}
        return {name: price for name, price in named.items() if price > 0}


NONE = Prices()


class PriceGap(Struct, frozen=True, kw_only=True):
    """How much more a group is offered than like customers, currency a customer (`training.fairness`)."""

    attribute: str
    group: str
    customers: int
    offer: float  # mean
    gap: float
    low: float
    high: float
    unfair: bool


class PriceSet(Struct, frozen=True, kw_only=True):
    """One run. budget, capacity: the limits given. build: the publication that it was found on."""

    as_of: datetime
    build: str
    policy: str
    customers: int
    budget: float | None
    capacity: dict[str, int]
    spent: float
    value: float
    bound: float
    prices: Prices
    fairness: list[PriceGap] = []


def write(settings: Settings, found: PriceSet) -> Path:
    """Put prices in force from their moment on; a second run of the same moment replaces the first."""
    path = settings.home / "prices" / f"{found.as_of:%Y%m%dT%H%M%S}Z.json"
    write_atomically(path, msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    return path


def in_force(settings: Settings, at: datetime) -> Prices:
    """Of the last run at or before a moment; no prices if there was none. DecisionError if it is damaged."""
    folder, last = settings.home / "prices", f"{at:%Y%m%dT%H%M%S}Z.json"
    try:
        names = [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return NONE
    # What is being written begins with a dot.
    name = max((of for of in names if of.endswith("Z.json") and of <= last and of[0] != "."), default=None)
    if name is None:
        return NONE
    path = folder / name
    stat = path.stat()
    try:
        return _read(path, (stat.st_ino, stat.st_mtime_ns)).prices
    except msgspec.DecodeError as error:
        raise DecisionError(
            f"{path} is damaged ({error}): run `propensity decide --all` again, or delete it"
        ) from None


@lru_cache(maxsize=8)
def _read(path: Path, seen: tuple[int, int]) -> PriceSet:
    """seen: what differs once the file is replaced."""
    return msgspec.json.decode(path.read_bytes(), type=PriceSet)

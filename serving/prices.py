"""Prices of money and channels that are short: found for everybody at once, charged in every online decision.

prices/<moment>.json    one run of the allocation; the last at or before "now" is in force until the next

An action is charged budget price x its expected cost + its channel's price, only to choose; its expected net
value stays what it is.
"""

from collections.abc import Sequence
from datetime import datetime
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


def write(settings: Settings, found: PriceSet) -> Path:
    """Put prices in force from their moment on; a second run of the same moment replaces the first."""
    path = settings.home / "prices" / f"{found.as_of:%Y%m%dT%H%M%S}Z.json"
    write_atomically(path, msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    return path


def in_force(settings: Settings, at: datetime) -> Prices:
    """Of the last run at or before a moment; no prices if there was none. DecisionError if it is damaged."""
    last = f"{at:%Y%m%dT%H%M%S}Z.json"
    files = sorted(p for p in (settings.home / "prices").glob("*Z.json") if p.name <= last)
    if not files:
        return Prices()
    try:
        return msgspec.json.decode(files[-1].read_bytes(), type=PriceSet).prices
    except msgspec.DecodeError as error:
        raise DecisionError(
            f"{files[-1]} is damaged ({error}): run `propensity decide --all` again, or delete it"
        ) from None

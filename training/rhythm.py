"""How often customers order, read from the log: gaps and silences.

A gap is the number of days between a customer's successive days with an order, in the shop's zone; returns
are no orders. A silence is what follows a day with an order: it ended with the next one, or still lasts.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.errors import NotEnoughData
from features.moments import iso
from training.happened import ints, places
from training.labels import with_days

Ints = NDArray[np.int64]
QUANTILES = (0.5, 0.75, 0.9, 0.95)
FEWEST = 100  # gaps: of fewer, nine of ten are ten gaps, and another log would say something else
FOLLOWED = 90  # days in which a silence may end to count as ended: a season


@dataclass(frozen=True)
class Rhythm:
    """The rhythm of a log until a day. customers: with an order; those with two days or more have gaps.

    gaps: days [n], ascending. own: each repeat customer's median gap, ascending. start: the first day of each
    silence [m], counted from 1970-01-01; length: its days, of one that still lasts those so far; over:
    whether it ended.
    """

    customers: int
    gaps: Ints
    own: NDArray[np.float64]
    start: Ints
    length: Ints
    over: NDArray[np.bool_]
    first_day: int
    last_day: int

    @property
    def days(self) -> int:
        """Length of the log."""
        return self.last_day - self.first_day

    @cached_property
    def followed(self) -> int:
        """Days in which a silence may end: FOLLOWED, or a third of a shorter log."""
        return min(FOLLOWED, self.days // 3)

    def longer(self, days: float) -> float:
        """The share of gaps that are longer."""
        return float((self.gaps > days).mean())

    def usually_longer(self, days: float) -> float:
        """The share of repeat customers whose median gap is longer."""
        return float((self.own > days).mean())

    def back(self, days: int) -> float:
        """Of silences that lasted so many days, the share that ended within `followed` more; nan if none did.

        Only silences count that the log shows so long: else the latest would all look lost.
        """
        seen = (self.start + days + self.followed <= self.last_day) & (self.length > days)
        if not seen.any():
            return float("nan")
        return float((self.over & (self.length <= days + self.followed))[seen].mean())

    def quantiles(self, values: Ints | NDArray[np.float64]) -> list[float]:
        """The least values that QUANTILES of all do not exceed."""
        found: list[float] = np.quantile(values, QUANTILES, method="inverted_cdf").tolist()
        return found


def measure(orders: pa.Table, zone: str, until: datetime) -> Rhythm:
    """The rhythm of the orders (customer_id, at, known_at, ref) that were known by a moment.

    NotEnoughData with fewer than FEWEST gaps.
    """
    known = orders.filter(
        (pc.field("at") <= until) & (pc.field("known_at") <= until) & pc.field("ref").is_null()
    )
    if not len(known):
        raise NotEnoughData(f"no order was known by {iso(until)}: ingest a longer log")
    ids = pc.unique(known["customer_id"])
    customer, day = places(known["customer_id"], ids), ints(with_days(known, zone)["day"])
    order = np.lexsort((day, customer))
    customer, day = customer[order], day[order]
    new = np.ones(len(day), bool)
    new[1:] = (customer[1:] != customer[:-1]) | (day[1:] != day[:-1])
    customer, day = customer[new], day[new]
    again = customer[1:] == customer[:-1]
    gap = np.diff(day)
    last_day = int(ints(with_days(pa.table({"at": pa.array([until], known["at"].type)}), zone)["day"])[0])
    if again.sum() < FEWEST:
        raise NotEnoughData(
            f"by {iso(until)} customers had ordered again {again.sum()} times, and {FEWEST} times are needed "
            "to see a rhythm: ingest a longer log, or more customers"
        )
    over = np.append(again, False)
    length = np.where(over, np.append(gap, 0), last_day - day)
    return Rhythm(
        customers=len(ids),
        gaps=np.sort(gap[again]),
        own=np.sort(_medians(customer[1:][again], gap[again])),
        start=day,
        length=length,
        over=over,
        first_day=int(day.min()),
        last_day=last_day,
    )


def _medians(customer: Ints, gap: Ints) -> NDArray[np.float64]:
    """The median gap of each customer; customers ascend."""
    order = np.lexsort((gap, customer))
    gap = gap[order]
    _, first, number = np.unique(customer[order], return_index=True, return_counts=True)
    low, high = gap[first + (number - 1) // 2], gap[first + number // 2]
    medians: NDArray[np.float64] = (low + high) / 2
    return medians

"""A target's own event as a sceptic would use it: how often it came to a customer lately, and when last.

Of goods of a category, those of this very category; of opting out, the earlier opt-outs. It is read from the
log, so that it stands against every model, whether or not the build has a feature that tells the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.moments import DAY_US
from training.happened import Ints, Tables, events_of, ints, places
from training.targets import LABELS, Target

DAYS = 90  # that are counted
NEVER = 3660.0  # days since the last one, of whom it never came to


@dataclass(frozen=True)
class Habit:
    """The events [n], ascending by `at`: times in us, and whose, a place among the data's ids; -1: none."""

    customer: Ints
    at: Ints
    known_at: Ints
    people: int

    @classmethod
    def of(cls, tables: Tables, target: Target, ids: Sequence[str]) -> Habit | None:
        """tables: what `labels.events` gives. None for a target of orders: recency and money say it there."""
        if "orders" in LABELS[target.label].tables:
            return None
        columns = ["customer_id", "at", "known_at"]
        wanted = events_of(target)
        rows = pa.concat_tables([t.filter(wanted[name]).select(columns) for name, t in tables.items()])
        rows = rows.take(pc.sort_indices(rows["at"]))
        who = places(rows["customer_id"], pa.array(ids, pa.string()))
        return cls(who, ints(rows["at"]), ints(rows["known_at"]), len(ids))

    def told(self, customer: Ints, moments: NDArray[np.datetime64]) -> NDArray[np.float32]:
        """[n, 2] for the rows of those customers at those moments: events of the last DAYS known then, and
        days since the last one."""
        rows, at = np.empty((len(customer), 2), np.float32), moments.astype("datetime64[us]").astype(np.int64)
        for moment in np.unique(at):
            seen = slice(0, int(np.searchsorted(self.at, moment, side="right")))
            known = (self.known_at[seen] <= moment) & (self.customer[seen] >= 0)
            who, when = self.customer[seen][known], self.at[seen][known]
            last = np.full(self.people, moment - NEVER * DAY_US)
            last[who] = when  # ascending: the last one stays
            counted = np.bincount(who[when > moment - DAYS * DAY_US], minlength=self.people)
            here = at == moment
            rows[here, 0] = counted[customer[here]]
            rows[here, 1] = (moment - last[customer[here]]) / DAY_US
        return rows

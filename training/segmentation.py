"""What a segmentation learns of a population as of a moment: cut points, and how long a silence is too long.

Everything is learnt from one snapshot and from the orders known by its moment, so nothing later is in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from features.errors import NotEnoughData
from features.moments import iso, to_us
from serving.booster import Numbers
from serving.segment_rules import Table
from serving.segment_tables import BACK, REGULAR, USUAL
from serving.segmentation import FORMAT, KIND, RFM, Levels, SegmentationFile, Silences, Values
from serving.summaries import Integers, Orders

FIFTHS = (0.2, 0.4, 0.6, 0.8)
HIGH = 0.5  # of the buyers lie at or below what parts low from high
YEAR = 365
FEWEST = 50  # silences, or buyers: a share of fewer is off by more than a tenth too often
_STEP, _LONGEST = 0.5, 50.0  # own gaps: lengths of a regular's silence that are tried


@dataclass(frozen=True)
class Spans:
    """Silences known at a moment, each after a customer's day with an order: [m].

    number: of that day among the customer's, from 1. gap: mean of the gaps before it. start: days since
    1970-01-01. length: days until the next, or so far. over: whether it ended. today: of the moment.
    """

    number: Integers
    gap: Numbers
    start: Integers
    length: Integers
    over: NDArray[np.bool_]
    today: int

    @classmethod
    def of(cls, orders: Orders, moment: datetime) -> "Spans":
        """Those known at the moment; returns are no orders."""
        known, today = orders.by(to_us(moment)), orders.today(to_us(moment))
        bought = known.where(~known.back)
        pairs = np.unique((bought.customer << 32) + bought.day)
        customer, day = pairs >> 32, pairs & 0xFFFFFFFF
        new = np.append(True, np.diff(customer) != 0)[: len(day)]
        first = np.flatnonzero(new)[np.cumsum(new) - 1]
        number = np.arange(len(day)) - first + 1
        over = np.append(~new[1:], False)[: len(day)]
        length = np.where(over, np.diff(day, append=0), np.maximum(today - day, 0))
        return cls(number, (day - day[first]) / np.maximum(number - 1, 1), day, length, over, today)

    def usual(self) -> Silences:
        """Within how long USUAL of those came again who did."""

        def quantile(lengths: Numbers) -> float | None:
            found = np.quantile(lengths, USUAL, method="inverted_cdf") if len(lengths) >= FEWEST else None
            return None if found is None else round(float(found), 2)

        few = tuple(quantile(self.length[self.over & (self.number == n)]) for n in range(1, REGULAR))
        regular = self.over & (self.number >= REGULAR)
        return Silences(few, quantile(self.length[regular] / self.gap[regular]))

    def gone(self, horizon: int) -> Silences:
        """The shortest silences from which fewer than BACK came back within `horizon` days more."""

        def shortest(which: NDArray[np.bool_], lengths: Numbers, unit: Numbers) -> float | None:
            start, length, over = self.start[which], self.length[which], self.over[which]
            for tried in lengths:
                after = tried * unit[which]
                # What the log does not show for so long is not asked: the latest would all look gone.
                seen = (length > after) & (start + after + horizon <= self.today)
                if seen.sum() < FEWEST:
                    return None
                if (over & (length <= after + horizon))[seen].mean() < BACK:
                    return float(tried)
            return None

        days = np.arange(0.0, self.today - int(self.start.min(initial=self.today)))
        one = np.ones(len(self.gap))
        few = tuple(shortest(self.number == n, days, one) for n in range(1, REGULAR))
        gaps = np.arange(_STEP, _LONGEST, _STEP)
        return Silences(few, shortest(self.number >= REGULAR, gaps, self.gap))


def learn(
    values: Values,
    spans: Spans,
    moment: datetime,
    days: int,
    tables: Mapping[str, Table],
    potential: Numbers | None = None,
    value_version: str | None = None,
) -> SegmentationFile:
    """A segmentation of the customers of a snapshot [n], among whoever has an order.

    days: of log until the moment. potential: expected profit of the next year, [n]. NotEnoughData with fewer
    than FEWEST buyers.
    """
    bought = ~np.isnan(values["days_since_order"])
    if bought.sum() < FEWEST:
        raise NotEnoughData(
            f"by {iso(moment)} {bought.sum()} customers had ordered, and {FEWEST} are needed to part them: "
            "ingest a longer log, or more customers"
        )
    figures = {name: values[feature][bought].astype(np.float64) for name, feature in RFM.items()}
    figures["r"] = -figures["r"]  # the more recent, the better
    valued = None if potential is None else potential[bought & ~np.isnan(potential)]
    horizon = min(YEAR, days // 2)
    return SegmentationFile(
        format=FORMAT,
        kind=KIND,
        horizon_days=horizon,
        rfm={name: levels(figure) for name, figure in figures.items()},
        present=_middle(figures["m"]),
        potential=_middle(valued) if valued is not None and len(valued) >= FEWEST else None,
        value_version=value_version,
        usual=spans.usual(),
        gone=spans.gone(horizon),
        tables=dict(tables),
    )


def levels(figure: Numbers) -> Levels:
    """Fifths of a figure, [n] without NaN. A level's score is the fifth in which its middle customer stands.

    Whoever shares a figure shares a level, so that there are fewer where many do.

    >>> levels(np.array([1.0, 1, 1, 1, 1, 1, 2, 2, 3, 9]))
    Levels(edges=(1.0, 2.0), scores=(2, 4, 5))
    """
    edges = np.unique(np.quantile(figure, FIFTHS, method="inverted_cdf"))
    edges = edges[edges < figure.max()]
    number = np.bincount(np.searchsorted(edges, figure, side="left"), minlength=len(edges) + 1)
    middle = (np.cumsum(number) - number / 2) / len(figure)
    scores = np.ceil(np.round(middle * 5, 9)).astype(int)
    return Levels(tuple(edges.tolist()), tuple(scores.tolist()))


def _middle(figure: Numbers) -> float:
    return float(np.quantile(figure, HIGH, method="inverted_cdf"))

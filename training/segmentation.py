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
_WEEK = 7.0  # days, and a regular's own gaps: lengths of silence that are tried
_STEP, _LONGEST = 0.5, 50.0


@dataclass(frozen=True)
class Spans:
    """Silences known at a moment, each after a customer's day with an order: [m].

    number: of that day among the customer's, from 1. gap: mean of the gaps before it. length: days
    until the next, or so far. over: whether it ended.
    """

    number: Integers
    gap: Numbers
    length: Integers
    over: NDArray[np.bool_]

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
        return cls(number, (day - day[first]) / np.maximum(number - 1, 1), length, over)

    def usual(self) -> Silences:
        """Within how long USUAL of those came again who did."""

        def quantile(lengths: Numbers) -> float | None:
            found = np.quantile(lengths, USUAL, method="inverted_cdf") if len(lengths) >= FEWEST else None
            return None if found is None else round(float(found), 2)

        few = tuple(quantile(self.length[self.over & (self.number == n)]) for n in range(1, REGULAR))
        regular = self.over & (self.number >= REGULAR)
        return Silences(few, quantile(self.length[regular] / self.gap[regular]))

    def gone(self, horizon: int) -> Silences:
        """The shortest silences from which fewer than BACK come back within `horizon` days more."""

        def shortest(which: NDArray[np.bool_], lengths: Numbers, unit: Numbers) -> float | None:
            length, over = self.length[which], self.over[which]
            for tried in lengths:
                back = came_back(length - tried * unit[which], over, horizon)
                if np.isnan(back):
                    return None
                if back < BACK:
                    return float(tried)
            return None

        days, one = np.arange(_WEEK, YEAR + horizon, _WEEK), np.ones(len(self.gap))
        few = tuple(shortest(self.number == n, days, one) for n in range(1, REGULAR))
        gaps = np.arange(_STEP, _LONGEST, _STEP)
        return Silences(few, shortest(self.number >= REGULAR, gaps, self.gap))


def came_back(left: Numbers, over: NDArray[np.bool_], horizon: int) -> float:
    """The share of silences that ended within `horizon` days, of those that had lasted so long (left > 0).

    left: days from then until the end, or until nothing more is known, [n]; over: whether it ended. By
    Kaplan and Meier (1958), so that the latest, of which the log has not seen the end, do not look lost. NaN
    with fewer than FEWEST, or if none was watched for so long.

    >>> came_back(np.repeat([5.0, 20.0, 20.0, 20.0], 25), np.repeat([True, True, False, False], 25), 10)
    0.25
    """
    lasted = left > 0
    day, n = np.ceil(left[lasted]).astype(int), int(lasted.sum())
    if n < FEWEST or day.max() < horizon:
        return float("nan")
    ended, gone = (np.bincount(which, minlength=horizon + 1) for which in (day[over[lasted]], day))
    watched = n - np.cumsum(gone) + gone  # at the beginning of that day
    return float(1 - np.prod(1 - ended[: horizon + 1] / watched[: horizon + 1]))


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

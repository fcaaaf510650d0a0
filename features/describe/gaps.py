"""Days on which a delivery seems to be missing: days without events, against their weekday's own usual level.

The usual level of a day is the median of the `NEAREST` days of the same weekday outside the gap: eight before
and eight after, more on one side where the other has none. So the weeks before Christmas are held against
each other, and a shop that is closed on Sundays has no gap on Sundays: a day can only be missed if three
quarters of those days have events. Events that come in bursts, as answers to campaigns do, are seldom so
steady, and then nothing is said of them.

A day is empty with at most a twentieth of that level. Successive empty days, closed days between them
included, are one gap if the lower quartiles of their usual levels add up to `LACKING` events.
"""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

NEAREST = 16  # weeks: a season long enough for a median, short enough to follow the year
EMPTY = 1 / 20  # of the usual level: a delivery that broke off; the slowest day of a shop has a third
LACKING = 10  # events: where 10 are expected, a day has none by chance once in 60 years (Poisson)


@dataclass(frozen=True)
class Gap:
    """Days `first` to `last` of the shop's zone in which `found` events came where `usual` are usual."""

    table: str
    source: str
    first: date
    last: date
    usual: int
    found: int
    holidays: tuple[str, ...] = ()  # of the calendar, on these days: the shop may have been closed

    @property
    def days(self) -> int:
        """Length, closed days inside it included."""
        return (self.last - self.first).days + 1


def find_gaps(table: str, source: str, start: date, counts: NDArray[np.int64]) -> list[Gap]:
    """Gaps in a stream: events of each day from `start` on, every day of it wholly in the log."""
    empty = counts <= EMPTY * counts.max(initial=0)  # else it is not, whatever its usual level
    for day in np.flatnonzero(empty & (counts > 0)).tolist():
        empty[day] = counts[day] <= EMPTY * _usual(counts, day, day, day + 1)[0]
    edges = np.flatnonzero(np.diff(np.concatenate(([0], empty.view(np.int8), [0]))))
    found: list[Gap] = []
    for first, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        usual, low = np.array([_usual(counts, day, first, end) for day in range(first, end)]).T
        open_days = np.flatnonzero(low >= 1)
        if len(open_days) and low[open_days].sum() >= LACKING:
            a, b = open_days[[0, -1]].tolist()
            level, came = round(usual[a : b + 1].sum()), int(counts[first + a : first + b + 1].sum())
            from_day, to_day = (start + timedelta(days=first + place) for place in (a, b))
            found.append(Gap(table, source, from_day, to_day, level, came))
    return found


def _usual(counts: NDArray[np.int64], day: int, first: int, end: int) -> tuple[float, float]:
    """Median and lower quartile of the days of the same weekday nearest to `day` outside [first, end)."""
    before = counts[day % 7 : first : 7]
    after = counts[day + -(-(end - day) // 7) * 7 :: 7]
    more_before = max(NEAREST // 2, NEAREST - len(after))
    more_after = max(NEAREST // 2, NEAREST - len(before))
    near = np.concatenate((before[-more_before:], after[:more_after]))
    if len(near) == 0:
        return 0.0, 0.0
    return float(np.median(near)), float(np.quantile(near, 0.25, method="lower"))

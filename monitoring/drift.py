"""How far a release's customers are from those it learned from: slow drift, not a jump from day to day.

A column has drifted where its last week differs from the whole training window by more than the most unusual
week of that window did: a season that training saw is no news.
"""

from dataclasses import dataclass

import numpy as np

from monitoring.baseline import Bool, Float64, Int64
from monitoring.profiles import Profiles

WEEK = 7
FEWEST = 8  # weeks of training without which nothing can be said of what is usual
# A PSI below this moves no decision: the convention since credit scoring ("no significant change").
FLOOR = 0.1
MARGIN = (
    1.25  # above the most unusual of some 30 weeks: without it one of 30 quiet ones is a record by chance
)
GROUPS = 10  # of a column's bins, of about as many rows of the reference


@dataclass(frozen=True)
class Drift:
    """Of each column: how far the last week is from training (PSI), and from where on that is too far.

    psi, limit: float64 [columns]; nan where the window that training saw, or today's, is not full.
    """

    columns: tuple[str, ...]
    psi: Float64
    limit: Float64

    @property
    def drifted(self) -> Bool:
        """bool [columns]."""
        return np.nan_to_num(self.psi / self.limit) > 1


def measure(profiles: Profiles, training: tuple[int, int], full_from: Int64, last: int) -> Drift:
    """Compare the week up to day `last` with the training window (its first and last day).

    full_from: [columns], the day from which a column's window lies within the log; before it, it grows.
    """
    counts = _grouped(profiles)
    days = profiles.days
    now = counts[(days > last - WEEK) & (days <= last)].sum(axis=0)
    weeks = [
        (start, counts[(days >= start) & (days < start + WEEK)].sum(axis=0))
        for start in range(training[0], training[1] - WEEK + 2, WEEK)
    ]
    columns = len(profiles.columns)
    value, limit = np.full((2, columns), np.nan)
    for column in range(columns):
        usual = [week[column] for start, week in weeks if start >= full_from[column] and week[column].sum()]
        if len(usual) < FEWEST or last < full_from[column] or not now[column].sum():
            continue
        pooled = np.sum(usual, axis=0)
        value[column] = psi(pooled, now[column])
        limit[column] = max(FLOOR, MARGIN * max(psi(pooled - one, one) for one in usual))
    return Drift(profiles.columns, value, limit)


def psi(reference: Int64, current: Int64) -> float:
    """Population stability index: sum of (p - q) ln(p / q), 0 for the same distribution.

    Half a row is added to every bin, so that an empty one gives a finite figure. Between samples of n and
    m rows of one distribution over k bins it is about (k - 1)(1/n + 1/m). inf if either has no rows.

    >>> round(psi(np.array([50, 50]), np.array([50, 50])), 3)
    0.0
    >>> round(psi(np.array([500, 500]), np.array([300, 700])), 2)
    0.17
    """
    if not reference.sum() or not current.sum():
        return float("inf")
    p = (reference + 0.5) / (reference + 0.5).sum()
    q = (current + 0.5) / (current + 0.5).sum()
    return float(np.sum((p - q) * np.log(p / q)))


def _grouped(profiles: Profiles) -> Int64:
    """[days, columns, groups]: GROUPS of the bins, above all of them, and unknown."""
    days, columns, bins = profiles.counts.shape
    found = np.zeros((days, columns, GROUPS + 2), np.int64)
    for column, reference in enumerate(profiles.reference.counts):
        below = np.cumsum(reference) - reference
        group = np.minimum(below * GROUPS // max(1, reference.sum()), GROUPS - 1)
        group[bins - 1] = GROUPS
        starts = np.flatnonzero(np.diff(group, prepend=-1))
        found[:, column, group[starts]] = np.add.reduceat(profiles.counts[:, column], starts, axis=1)
    found[:, :, GROUPS + 1] = profiles.nulls
    return found

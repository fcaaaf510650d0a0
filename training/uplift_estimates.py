"""Means of customers with their intervals: one figure, or several that hold together.

A customer's rows may depend on each other, and so may those of a cluster by which the arm was drawn. Of few,
or of unlike sizes, the sandwich is too small and the normal quantile too short: so the variance is the
jackknife's over customers (CR3), and the quantile Student's. Of many it is all the same.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.stats import norm, rankdata
from scipy.stats import t as student

from training.clusters import left_out
from training.uplift_learners import Bools, Ints, Numbers

_TAIL = 0.025  # of an interval of one figure; its lower end is a test at 2.5 %
_DIGITS = 12  # after the point, at most
_DRAWS = 10_000  # of the widest of several intervals


class Estimate(NamedTuple):
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float

    def less(self, amount: float) -> "Estimate":
        """The same less what is known for certain, such as a cost."""
        return Estimate(self.value - amount, self.low - amount, self.high - amount)


def pairs_of(scores: Numbers, customer: Ints, could: Bools) -> dict[tuple[int, int], Estimate]:
    """What each arm has more than each other, (more, less) -> estimate; all intervals hold together.

    scores: pseudo-outcomes, [n, K]. could: which arms were possible, [n, K]; where one is not, the control
    stands for it. Of two arms, the rows that could have had either tell.
    """
    arms, had = scores.shape[1], np.where(could, scores, scores[:, :1])
    places = [(k, j) for k in range(arms) for j in range(k)]
    columns = np.column_stack([had[:, k] - had[:, j] for k, j in places])
    rows = np.column_stack([could[:, k] | (could[:, j] if j else False) for k, j in places])
    found = dict(zip(places, together(columns, customer, rows), strict=True))
    turned = {(j, k): Estimate(-one.value, -one.high, -one.low) for (k, j), one in found.items()}
    return found | turned | {(k, k): Estimate(0.0, 0.0, 0.0) for k in range(arms)}


def together(columns: Numbers, customer: Ints, rows: Bools | None = None) -> list[Estimate]:
    """The means of columns [n, m] with intervals that all hold at once in 95 % (max-t).

    rows: over which rows each mean is, [n, m]; None: all.
    """
    own = np.ones(columns.shape, np.bool_) if rows is None else rows
    counts = own.sum(axis=0).astype(np.float64)
    mean = np.where(own, columns, 0.0).sum(axis=0) / counts
    centred = np.where(own, columns - mean, 0.0)
    moved = np.column_stack([
        left_out(column, each, customer) for column, each in zip(centred.T, own.T, strict=True)
    ])  # fmt: skip
    covariance = moved.T @ moved
    error, free = np.sqrt(np.diag(covariance)), freedom(customer)
    level = quantile(customer)
    if len(mean) > 1:
        scale = np.where(error > 0, error, 1.0)
        draws = np.random.default_rng(0).standard_normal((_DRAWS, len(mean)))
        values, basis = np.linalg.eigh(covariance / np.outer(scale, scale))
        drawn = draws * np.sqrt(np.maximum(values, 0.0)) @ basis.T
        drawn /= np.sqrt(np.random.default_rng(1).chisquare(free, (_DRAWS, 1)) / free)
        level = max(level, float(np.quantile(np.abs(drawn).max(axis=1), 0.95)))
    return [
        Estimate(float(m), float(m - level * e), float(m + level * e))
        for m, e in zip(mean, error, strict=True)
    ]


def estimate(values: Numbers, customer: Ints) -> Estimate:
    """A mean over rows, its interval over customers."""
    mean, reach = float(values.mean()), quantile(customer) * error_of(values - values.mean(), customer)
    return Estimate(mean, mean - reach, mean + reach)


def places(score: Numbers, fold: Ints) -> Numbers:
    """Where each row is among those of its fold by score, in (0, 1), [n]; equals are in one place.

    Each fold is scored by another model, learnt from all the others: where a fold's own outcomes are high by
    chance, its model's level is low, and ranks over all folds would tell that and nothing of customers.
    """
    found = np.empty(len(score))
    for part in np.unique(fold):
        rows = fold == part
        found[rows] = (rankdata(score[rows]) - 0.5) / rows.sum()
    return found


def crossed_gain(values: Numbers, customer: Ints) -> Estimate:
    """A mean over rows of what was chosen for each fold by the other folds, and its interval.

    Of K folds any two share K - 2 others and hold each other's noise. Where there is nothing to choose by,
    their gains are so correlated by up to 1 / (K - 1), and the variance of the mean is twice that of
    independent rows; a stable choice has less, so the interval is then too wide, never too narrow.
    """
    plain = estimate(values, customer)
    reach = math.sqrt(2) * (plain.high - plain.value)
    return Estimate(plain.value, plain.value - reach, plain.value + reach)


def shown(one: Estimate, sign: bool = False) -> str:
    """A figure with its interval, in the digits that it leaves: two of its half width.

    >>> shown(Estimate(0.68, 0.4512, 0.9), sign=True)
    '+0.68 [+0.45 +0.90]'
    >>> shown(Estimate(0.0000012, -0.0000021, 0.0000045))
    '0.0000012 [-0.0000021 0.0000045]'
    >>> shown(Estimate(0.0, 0.0, 0.0), sign=True)
    '0'
    """
    half, plus = (one.high - one.low) / 2, "+" if sign else ""
    if not 0 < half < math.inf:
        return f"{one.value:{plus}.4g}" if one.value else "0"
    digits = min(max(1 - math.floor(math.log10(half)), 0), _DIGITS)
    value, low, high = (f"{number:{plus}z.{digits}f}" for number in one)
    return f"{value} [{low} {high}]"


def error_of(centred: Numbers, customer: Ints) -> float:
    """The standard error of a mean of rows whose customers are independent."""
    return float(np.sqrt((left_out(centred, np.ones(len(centred)), customer) ** 2).sum()))


def freedom(customer: Ints) -> float:
    """Degrees of freedom of what compares two arms of customers: as many of equal size as would tell as much,
    less two."""
    counts = np.bincount(customer).astype(np.float64)
    return max(float(counts.sum() ** 2 / (counts @ counts)) - 2, 1.0)


def as_normal(z: Numbers, customer: Ints) -> Numbers:
    """What a figure in standard errors is worth in standard deviations of a normal one, where customers are
    few; 37 at most, beyond which no tail can be told from 0."""
    tail = np.maximum(student.sf(np.abs(z), freedom(customer)), np.finfo(float).tiny)
    found: Numbers = np.sign(z) * norm.isf(tail)
    return found


def quantile(customer: Ints) -> float:
    """Standard errors from a figure to either end of its 95 % interval: more than of a normal one, where
    customers or clusters are few, or a few of them hold most rows."""
    return float(student.isf(_TAIL, freedom(customer)))

"""What to expect of a label before it is mature: of the same label with a shorter horizon.

The probability that a model told is of the whole horizon. How much of it shows by a third or two thirds of
the way is learnt from the model's own past, in bands of its score: the share of ones by the shorter horizon
among those who were a 1 by the whole one, and among those who were a 0. Whatever a model has seen of the
labels of those moments, it saw of the whole ones: among customers of one outcome, it tells nothing.

How much the shorter label moves from month to month beyond that (a December, a promotion) is learnt from the
same moments, none of whose windows overlap.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from monitoring.performance import (
    FEW,
    UNKNOWN_LEVEL,
    USUAL_LEVEL,
    USUAL_RANKING,
    USUAL_SLOPE,
    Rows,
    Spread,
    Spreads,
    between,
    beyond,
    judge,
)
from training.evaluate import log_odds

Numbers = NDArray[np.float64]

BANDS = 20


@dataclass(frozen=True)
class Past:
    """One earlier moment of the model: what it says, and both labels. All [n]; customer: a number each."""

    score: Numbers
    whole: Numbers
    short: Numbers
    customer: NDArray[np.int64]


@dataclass(frozen=True)
class Curve:
    """From a probability of the whole label to that of the short one, by bands of the score.

    at: log-odds of the score in the middle of each band, ascending. ones, zeros: the chance that the short
    label is a 1 where the whole one is a 1, or a 0; each with the standard error at its side. varied: how far
    the figures of the short label lay apart between those moments, beyond sampling.
    """

    at: tuple[float, ...]
    ones: tuple[tuple[float, float], ...]
    zeros: tuple[tuple[float, float], ...]
    varied: Spreads

    def expected(self, score: Numbers) -> Numbers:
        """The probability of the short label [n]."""
        z = log_odds(score)
        of_one, of_zero = (np.interp(z, self.at, np.array(side)[:, 0]) for side in (self.ones, self.zeros))
        return np.asarray(score * of_one + (1 - score) * of_zero)

    def doubt(self, score: Numbers) -> float:
        """Relative standard error of the sum of `expected`."""
        z, total = log_odds(score), float(self.expected(score).sum())
        bands = np.array([np.interp(z, self.at, band) for band in np.eye(len(self.at))])
        variance = 0.0
        for side, weight in ((self.ones, score), (self.zeros, 1 - score)):
            variance += float(((bands @ weight * np.array(side)[:, 1]) ** 2).sum())
        return float(np.sqrt(variance)) / total if total else 0.0

    def rows(self, score: Numbers, label: Numbers, customer: NDArray[np.int64]) -> Rows:
        """A moment's customers, to be judged by the short label."""
        return Rows(label, self.expected(score), customer, self.doubt(score))


def learn(pasts: Sequence[Past]) -> Curve:
    """The curve of moments whose short windows do not overlap. ValueError without a row."""
    score, whole, short = (
        np.concatenate([getattr(past, name) for past in pasts]) for name in ("score", "whole", "short")
    )
    customer = np.unique(np.concatenate([past.customer for past in pasts]), return_inverse=True)[1]
    if not len(score):
        raise ValueError("no row to learn from")
    bands = np.array_split(np.argsort(score, kind="stable"), min(BANDS, len(score)))
    at = np.maximum.accumulate([float(np.median(log_odds(score[band]))) for band in bands])
    sides = []
    for outcome in (1.0, 0.0):
        usual = _share(short[whole == outcome], 0.5)
        sides.append(tuple(_banded(band[whole[band] == outcome], short, customer, usual) for band in bands))
    nowhere_twice = at + 1e-9 * np.arange(len(at))
    curve = Curve(tuple(nowhere_twice.tolist()), sides[0], sides[1], Spreads())
    told = [judge([curve.rows(past.score, past.short, past.customer)], Spreads()) for past in pasts]
    levels = [one.level for one in told if np.isfinite(one.level.error)]
    off = np.array([(one.value - 1) ** 2 - one.error**2 for one in levels])
    level = beyond(off, USUAL_LEVEL) if len(off) >= FEW else UNKNOWN_LEVEL
    tilts, ranks = [one.slope for one in told], [one.ranking for one in told]
    return replace(curve, varied=Spreads(level, between(tilts, USUAL_SLOPE), between(ranks, USUAL_RANKING)))


def _banded(
    rows: NDArray[np.int64], short: Numbers, customer: NDArray[np.int64], usual: float
) -> tuple[float, float]:
    """The share of ones among rows, and its standard error by customer."""
    share = _share(short[rows], usual)
    missed = np.bincount(customer[rows], short[rows] - share)
    return share, float(np.sqrt((missed**2).sum() + share * (1 - share))) / (len(rows) + 1)


def _share(label: Numbers, usual: float) -> float:
    """Of ones, with one more row that is as usual: of nobody it is that."""
    return (float(label.sum()) + usual) / (len(label) + 1)


def spreads(curve: Curve, of_card: Spreads, tested: Rows) -> Spreads:
    """What varies of the short label. tested: the test's customers with it.

    The larger of two each: of the whole label at the origins of the backtest, where the model had to look
    ahead, and of the short one at the moments that it was learnt from. AUC and slope of the short label were
    promised by nobody: what they were at the test is what they should be.
    """

    def larger(of: str) -> Spread:
        one, other = getattr(of_card, of), getattr(curve.varied, of)
        return one if one.error >= other.error else other  # type: ignore[no-any-return]

    then = judge([tested], Spreads())
    auc, tilt = ((one.value, one.error) for one in (then.ranking, then.slope))
    return Spreads(larger("level"), larger("slope"), larger("ranking"), auc, tilt)

"""What to expect of a label before it is mature: of the same label with a shorter horizon.

The probability that a model told is of the whole horizon. How much of it shows by a third or two thirds of
the way is learnt from the model's own past: in bands of its score, the share of ones by the whole horizon and
by the shorter one; as hazards, how much of the one is the other. Taking that from outcomes alone, and not
from the score, divides out that the model has seen the labels of some of those moments.

How much the shorter label moves from month to month beyond that (a December, a promotion) is learnt from the
same moments, none of whose windows overlap.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from monitoring.performance import Rows, Spread, Spreads, beyond, judge

Numbers = NDArray[np.float64]

BANDS = 20
_CLIP = 1e-9


@dataclass(frozen=True)
class Past:
    """One earlier moment of the model: what it says, and both labels. All [n]; customer: a number each."""

    score: Numbers
    whole: Numbers
    short: Numbers
    customer: NDArray[np.int64]


@dataclass(frozen=True)
class Curve:
    """From a probability of the whole label to that of the short one.

    Both are taken as hazards, of what the label says happens, or of what it says does not (silent): of a
    constant hazard, a third of the time is a third of the hazard, whatever the score. at: log of the whole
    hazard, ascending; shift: what is added to it there; error: its standard error. spread: how far the short
    label was off its expectation between moments, beyond sampling.
    """

    silent: bool
    at: tuple[float, ...]
    shift: tuple[float, ...]
    error: tuple[float, ...]
    spread: Spread

    def expected(self, score: Numbers) -> Numbers:
        """The probability of the short label [n]."""
        hazard = _hazard(score, self.silent)
        passes = np.exp(-np.exp(hazard + np.interp(hazard, self.at, self.shift)))
        return np.asarray(passes if self.silent else 1 - passes)

    def doubt(self, score: Numbers) -> float:
        """Relative standard error of the sum of `expected`."""
        hazard, expected = _hazard(score, self.silent), self.expected(score)
        if not expected.sum():
            return 0.0
        passes = np.clip(expected if self.silent else 1 - expected, _CLIP, 1 - _CLIP)
        moves = -passes * np.log(passes)  # what an expectation moves with its log hazard
        each = [float((moves * np.interp(hazard, self.at, unit)).sum()) for unit in np.eye(len(self.at))]
        return float(np.sqrt(((np.array(each) * self.error) ** 2).sum()) / expected.sum())

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
    silent = bool(short.sum() >= whole.sum())  # the less time, the more silence, and the fewer events
    at, shift, error = [], [], []
    for band in np.array_split(np.argsort(score, kind="stable"), min(BANDS, len(score))):
        shares = [(float(label[band].sum()) + 0.5) / (len(band) + 1) for label in (whole, short)]
        of_whole, of_short = _hazard(np.array(shares), silent)
        pulls = [
            (label[band] - share) / (len(band) * _slope(share, silent))
            for label, share in zip((whole, short), shares, strict=True)
        ]
        at.append(float(of_whole))
        shift.append(float(of_short - of_whole))
        error.append(float(np.sqrt((np.bincount(customer[band], pulls[1] - pulls[0]) ** 2).sum())))
    order = np.argsort(at, kind="stable")
    ascending = np.array(at)[order] + 1e-9 * np.arange(len(at))
    shift, error = ([column[place] for place in order] for column in (shift, error))
    curve = Curve(silent, tuple(ascending.tolist()), tuple(shift), tuple(error), Spread(0.0, 0))
    squares = []
    for past in pasts:
        expected = curve.expected(past.score)
        off = past.short.sum() / expected.sum() - 1
        squares.append(off**2 - (expected * (1 - expected)).sum() / expected.sum() ** 2)
    return replace(curve, spread=beyond(np.array(squares)))


def _hazard(share: Numbers, silent: bool) -> Numbers:
    """The log of the hazard that gives such a probability."""
    inside = np.clip(share if silent else 1 - share, _CLIP, 1 - _CLIP)
    return np.asarray(np.log(-np.log(inside)))


def _slope(share: float, silent: bool) -> float:
    """How much a probability moves with its log hazard."""
    passes = share if silent else 1 - share
    return passes * float(np.log(passes)) * (1 if silent else -1)


def spreads(curve: Curve, of_card: Spreads, tested: Rows) -> Spreads:
    """What varies of the short label. tested: the test's customers with it.

    The level's is the larger of two: of the whole label at the origins of the backtest, where the model had
    to look ahead, and of the short one around its curve. AUC and slope of the short label were promised by
    nobody: what they were at the test is what they should be.
    """
    level = max(of_card.level, curve.spread, key=lambda spread: spread.error)
    then = judge([tested], Spreads())
    auc, tilt = ((one.value, one.error) for one in (then.ranking, then.slope))
    return replace(of_card, level=level, auc=auc, tilt=tilt)

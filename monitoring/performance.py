"""Does a model still say what comes: level, slope and ranking, with what varies by itself taken into account.

Three figures are judged. Level: observed over expected, 1 if probabilities may be taken at their word.
Slope: of the outcome on the log-odds that were told, 1 likewise. Ranking: AUC, against the AUC that the card
gives of the test. Their sampling errors sum a customer's rows before they are squared (of AUC: DeLong), for
the rows of one customer at several moments are no independent evidence.

No shop stands still, so more than sampling moves them: at the origins of the backtest the same recipe was off
by so much beyond chance, in quiet times. That `Spread` counts beside the sampling error, as the estimate from
a few origins that it is (Satterthwaite): a December like any other is no news.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, inf, isfinite, nan, sqrt
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from features.errors import TrainingError
from serving.cards import ModelCard
from serving.formulas import sigmoid
from training import pooled
from training.evaluate import log_odds, losses, recalibration

Numbers = NDArray[np.float64]
# excused: off beyond chance, and no further than before its release, or than the calendar's events explain.
State = Literal["holds", "excused", "off", "unsure"]

# In standard errors: one in a thousand by chance. A release is looked at every week, by three labels of three
# figures each; how often one of them is wrong in a quarter is measured (benchmarks/monitoring_labels.py).
LIMIT = 3.29
MATTERS = 0.15  # of the level: what a verdict must be able to see before it says that all is well
POWER = 1.2816  # standard errors: seen nine times of ten
# Of a level, for each share of its window that is an event: a holiday may be a day without any order, or one
# with twice as many, and no backtest has seen enough of them to say which. It moves odds: of what happens to
# most anyway the level by less, as 1 - p, or it could never be lost where it cannot exceed 1 / p.
EVENT = 0.5
FEWEST = 30  # ones, and zeros: with fewer, nothing is normal about any of these figures


@dataclass(frozen=True)
class Spread:
    """How far a figure lies off between times, beyond sampling; learnt from so many of them, of which some
    were assumed (`settled`)."""

    error: float
    moments: int
    assumed: int = 0


# Moments that tell how much a figure varies by itself. Of three that were quiet by chance any week would be
# lost, and of three that were not, none: a level could be nought. What lacks counts as off by the usual.
FEW, ENOUGH = 3, 6
USUAL_LEVEL, USUAL_SLOPE, USUAL_RANKING = 0.05, 0.05, 0.01
# Assumed where fewer than FEW origins say: a tenth, as what a season alone may well do to a level.
UNKNOWN_LEVEL, UNKNOWN_SLOPE = Spread(0.1, ENOUGH, ENOUGH), Spread(0.1, ENOUGH, ENOUGH)
UNKNOWN_RANKING = Spread(0.02, ENOUGH, ENOUGH)


@dataclass(frozen=True)
class Spreads:
    """Of the three figures. auc: the card's, of the test, with its standard error. tilt: the slope that is
    expected, with its own; 1 by definition, unless it was measured at the test too."""

    level: Spread = Spread(0.0, 0)
    slope: Spread = Spread(0.0, 0)
    ranking: Spread = Spread(0.0, 0)
    auc: tuple[float, float] = (nan, 0.0)
    tilt: tuple[float, float] = (1.0, 0.0)


@dataclass(frozen=True)
class Estimate:
    """A figure. error: of sampling. z: how far from `against` in standard errors, all sources of error
    together, as of a normal figure; nan where nothing can be said. spread: what of them varied before the
    release; events: what those of the calendar may move it by; alone: z without both; allowed: how far from
    `against` it may be."""

    value: float
    error: float
    against: float
    z: float
    spread: Spread = Spread(0.0, 0)
    alone: float = nan
    allowed: float = nan
    events: float = 0.0

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval of sampling."""
        return self.value - pooled.Z * self.error

    @property
    def high(self) -> float:
        """Upper end of it."""
        return self.value + pooled.Z * self.error


@dataclass(frozen=True)
class Rows:
    """One moment's customers. label: 0 or 1; expected: its probability; customer: a number each, the same at
    every moment; all [n]. doubt: relative standard error of the sum of `expected`. eventful: share of the
    window that the calendar has an event in."""

    label: Numbers
    expected: Numbers
    customer: NDArray[np.int64]
    doubt: float = 0.0
    eventful: float = 0.0

    def __len__(self) -> int:
        return len(self.label)

    def where(self, some: NDArray[np.bool_]) -> "Rows":
        """Those rows."""
        return replace(
            self, label=self.label[some], expected=self.expected[some], customer=self.customer[some]
        )


@dataclass(frozen=True)
class Judged:
    """Of a group of customers at one moment, or at several whose outcomes do not overlap.

    needed: customers (rows over all moments) without whom "holds" cannot be said of the level.
    """

    rows: int
    ones: int
    level: Estimate
    slope: Estimate
    ranking: Estimate
    needed: int

    @property
    def calibration(self) -> State:
        """Of level and slope: off if one is; holds if a level that is off by MATTERS would have been seen."""
        both = self.level, self.slope
        if any(abs(one.z) >= LIMIT for one in both):
            return "off"
        if any(abs(one.alone) >= LIMIT for one in both):
            return "excused"
        return "holds" if self.rows >= self.needed and isfinite(self.level.z) else "unsure"

    @property
    def ranks(self) -> State:
        """Off if it ranks worse than at the test."""
        if self.ranking.z <= -LIMIT:
            return "off"
        if self.ranking.alone <= -LIMIT:
            return "excused"
        return "holds" if self.rows >= self.needed and isfinite(self.ranking.z) else "unsure"

    @property
    def enough(self) -> bool:
        """Whether a level that is off by MATTERS would have been seen."""
        return self.rows >= self.needed


def judge(parts: Sequence[Rows], spreads: Spreads) -> Judged:
    """The three figures over all parts, each a moment."""
    parts = [part for part in parts if len(part)]
    label, expected, customer = (
        np.concatenate([getattr(part, name) for part in parts] or [np.zeros(0)])
        for name in ("label", "expected", "customer")
    )
    customer = np.unique(customer, return_inverse=True)[1]
    ones, rows, times = int(label.sum()), len(label), max(len(parts), 1)
    needed = needed_for(expected)
    if min(ones, rows - ones) < FEWEST:
        told = float(label.sum() / expected.sum()) if expected.sum() else nan
        known = (Estimate(told, nan, 1.0, nan), Estimate(nan, nan, spreads.tilt[0], nan))
        return Judged(rows, ones, *known, Estimate(nan, nan, spreads.auc[0], nan), needed)
    doubts = [part.doubt * part.expected.sum() / expected.sum() for part in parts]
    events = EVENT * float(np.mean([part.eventful for part in parts])) * float(1 - expected.mean())
    try:
        tilt = slope(label, expected, customer)
    except (TrainingError, np.linalg.LinAlgError):  # all expect the same, or it separates the labels
        tilt = nan, nan
    return Judged(
        rows,
        ones,
        _against(
            _level(label, expected, customer, float(np.sum(doubts))), (1.0, 0.0), spreads.level, times, events
        ),
        _against(tilt, spreads.tilt, spreads.slope, times),
        _against(ranking(parts), spreads.auc, spreads.ranking, times),
        needed,
    )


def _against(
    own: tuple[float, float], other: tuple[float, float], spread: Spread, times: int, events: float = 0.0
) -> Estimate:
    """A figure against what it should be. Where that was itself measured, at one origin, both have an error,
    and what varies between origins counts on both sides. events: what those of the calendar move it by."""
    (value, error), (against, of_other) = own, other
    of_origin = spread.error if of_other else 0.0
    sampled = sqrt(error**2 + of_other**2)
    both = sqrt(sampled**2 + of_origin**2)
    varied = replace(spread, error=sqrt(spread.error**2 + events**2))
    z = standing(value - against, both, varied, times)
    alone = standing(value - against, sampled, Spread(0.0, 0), times)
    return Estimate(value, error, against, z, spread, alone, allowed(both, varied, times), events)


def standing(difference: float, error: float, spread: Spread, times: int = 1) -> float:
    """A difference in standard errors, of a normal figure that is as unlikely.

    Its variance is that of sampling, known well, and the spread's, known from few moments: together Student's
    t with the degrees of freedom of Satterthwaite (1946). times: over how many moments it is a mean.

    >>> round(standing(0.3, 0.1, Spread(0.0, 6)), 6)
    3.0
    >>> round(standing(0.3, 0.0, Spread(0.1, 6)), 2)  # 3 of Student's t with 6 degrees of freedom
    2.26
    """
    from scipy.stats import norm, t

    total, freedom = _together(error, spread, times)
    if not total > 0:
        return nan
    far = difference / total
    if not isfinite(freedom):
        return far
    return float(np.copysign(-norm.ppf(max(t.sf(abs(far), freedom), 1e-300)), far))


def allowed(error: float, spread: Spread, times: int = 1) -> float:
    """The difference that stands at LIMIT.

    >>> round(standing(allowed(0.1, Spread(0.1, 6)), 0.1, Spread(0.1, 6)), 6) == LIMIT
    True
    """
    from scipy.stats import norm, t

    total, freedom = _together(error, spread, times)
    return total * (float(t.isf(norm.sf(LIMIT), freedom)) if isfinite(freedom) else LIMIT)


def _together(error: float, spread: Spread, times: int) -> tuple[float, float]:
    """Both as one standard error, and its degrees of freedom; inf of a normal figure."""
    own, between = error**2, spread.error**2 / times
    if not between:
        return sqrt(own), inf
    return sqrt(own + between), (own + between) ** 2 / (between**2 / max(spread.moments, 1))


def _level(
    label: Numbers, expected: Numbers, customer: NDArray[np.int64], doubt: float
) -> tuple[float, float]:
    """Observed over expected and its error. Of a customer's only row: that of its probability; of several,
    what they missed together."""
    missed = np.bincount(customer, label - expected)
    alone = np.bincount(customer) == 1
    chance = np.bincount(customer, expected * (1 - expected))
    variance = chance[alone].sum() + (missed[~alone] ** 2).sum()
    total = expected.sum()
    return float(label.sum() / total), sqrt(float(variance) / float(total) ** 2 + doubt**2)


def slope(label: Numbers, expected: Numbers, customer: NDArray[np.int64]) -> tuple[float, float]:
    """The slope of the label's log-odds on the expected ones, and its error by the sandwich, by customer.

    customer: numbers from 0. TrainingError if there is none.
    """
    a, b = recalibration(label, expected)
    z = log_odds(expected)
    p = sigmoid(a * z + b)
    design = np.column_stack([z, np.ones(len(z))])
    bread = np.linalg.inv((design * (p * (1 - p))[:, None]).T @ design)
    by = np.column_stack([np.bincount(customer, column * (label - p)) for column in design.T])
    return a, float(np.sqrt((bread @ (by.T @ by) @ bread)[0, 0]))


def ranking(parts: Sequence[Rows]) -> tuple[float, float]:
    """Mean AUC over the parts in which somebody can be ranked, and its error by DeLong, by customer."""
    able = [part for part in parts if 0 < part.label.sum() < len(part)]
    if not able:
        return nan, nan
    found = [pooled.auc(part.label, part.expected) for part in able]
    who = np.unique(np.concatenate([part.customer for part in able]), return_inverse=True)[1]
    influence = np.bincount(who, np.concatenate([own for _, own in found])) / len(able)
    return float(np.mean([value for value, _ in found])), float(np.sqrt((influence**2).sum()))


def needed_for(expected: Numbers) -> int:
    """How many customers such as these show a level that is off by MATTERS, nine times of ten.

    >>> needed_for(np.full(100, 0.5))
    929
    """
    if not len(expected) or not expected.sum():
        return 0
    of_one = float((expected * (1 - expected)).sum() / expected.sum() ** 2) * len(expected)
    return ceil(of_one * ((LIMIT + POWER) / MATTERS) ** 2)


def spreads_of(card: ModelCard) -> Spreads:
    """What the card's backtest says of quiet times.

    Level and slope: how far from 1 they were, so that a model that was always a little off is no news when
    it still is. Of customers left alone, where contacts were adjusted for: it is they who are judged.
    """
    origins: list[Mapping[str, Any]] = [one.get("untreated", one) for one in card.backtest.get("origins", ())]
    whole: list[Mapping[str, Any]] = list(card.backtest.get("origins", ()))
    auc = _figure(card.metrics.get("auc"))
    if len(whole) < FEW:
        return Spreads(UNKNOWN_LEVEL, UNKNOWN_SLOPE, UNKNOWN_RANKING, auc)
    off = np.array([one["observed_over_expected"] - 1 for one in origins])
    z = np.array([one["z"] for one in origins])
    own = np.divide(off, z, out=np.zeros(len(z)), where=z != 0)
    _, of_slope = _figure(card.metrics.get("calibration_slope"))
    larger = np.array([card.tested_on.rows / one["rows"] for one in origins])
    tilt = np.array([one["calibration_slope"] - 1 for one in origins])
    aucs = np.array([one["auc"] for one in whole])
    sampled = auc[1] ** 2 * np.array([card.tested_on.rows / one["rows"] for one in whole])
    return Spreads(
        beyond(off**2 - own**2, USUAL_LEVEL),
        beyond(tilt**2 - of_slope**2 * larger, USUAL_SLOPE),
        settled(float(aucs.var(ddof=1) - sampled.mean()), len(aucs), USUAL_RANKING, fitted=1),
        auc,
    )


def between(figures: Sequence[Estimate], usual: float) -> Spread:
    """How far figures of several moments lie apart, beyond what sampling makes of them."""
    told = [one for one in figures if isfinite(one.value)]
    if len(told) < FEW:
        return Spread(0.0, 0)
    values, errors = (np.array([getattr(one, of) for one in told]) for of in ("value", "error"))
    return settled(float(values.var(ddof=1) - (errors**2).mean()), len(told), usual, fitted=1)


def beyond(squares: Numbers, usual: float) -> Spread:
    """The spread from squares of what was off, each less its sampling variance."""
    return settled(float(squares.mean()), len(squares), usual)


def settled(square: float, moments: int, usual: float, fitted: int = 0) -> Spread:
    """The spread from a mean square of so many moments; as many as lack to ENOUGH count as off by the usual.
    fitted: 1 if it is about their own mean.

    >>> settled(0.0, 3, 0.05).error.__round__(3), settled(0.01, 6, 0.05)
    (0.035, Spread(error=0.1, moments=6, assumed=0))
    """
    assumed = max(0, ENOUGH - moments)
    free, whole = moments - fitted, moments - fitted + assumed
    return Spread(sqrt((max(0.0, square) * free + usual**2 * assumed) / whole), whole, assumed)


def _figure(figure: Mapping[str, float] | None) -> tuple[float, float]:
    """(value, standard error) of a card's figure; nan and 0 without one."""
    if figure is None:
        return nan, 0.0
    return figure["value"], (figure["high"] - figure["low"]) / (2 * pooled.Z)


@dataclass(frozen=True)
class Estimated:
    """What AUC and log-loss are if the probabilities are right: from them alone, before any outcome.

    Valid only without concept drift, and so no verdict: it says how easy today's customers are to tell
    apart, and nothing of whether the model still can.
    """

    auc: float
    log_loss: float


def estimated(score: Numbers) -> Estimated:
    """The expected figures of calibrated probabilities [n]; nan where all are 0 or 1 alike.

    >>> estimated(np.array([0.1, 0.9])).log_loss.__round__(3)
    0.325
    """
    value, place = np.unique(score, return_inverse=True)
    ones, zeros = np.bincount(place, score), np.bincount(place, 1 - score)
    # Nobody is paired with herself: she would be above and below with her own two outcomes.
    alone = float((score * (1 - score)).sum())
    pairs = float(ones.sum() * zeros.sum()) - alone
    below = np.cumsum(zeros) - zeros / 2
    wins = float((ones * below).sum()) - alone / 2
    entropy = score * losses(np.ones(len(score)), score) + (1 - score) * losses(np.zeros(len(score)), score)
    return Estimated(wins / pairs if pairs > 0 else nan, float(entropy.mean()) if len(value) else nan)

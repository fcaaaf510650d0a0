"""How well a ranking finds those whom an action moves, beside the ranking that is usually taken for it.

Both figures are 0 for a random ranking and 1 for the best possible; as scikit-uplift's `qini_auc_score` and
`uplift_auc_score`, of which the tests make sure. They compare rankings; a policy is chosen by what it earns.
"""

import math
from typing import NamedTuple

import numpy as np

from features.words import Words
from serving.booster import Rows
from training.uplift import FOLDS, Uplift, folds
from training.uplift_estimates import Estimate, places, quantile
from training.uplift_learners import Bools, Ints, Numbers, Outcomes
from training.uplift_trial import Trial

_DRAWS = 100  # of customers, for the interval of a difference
_CROSSED = 2.0  # how much larger a variance may be over folds whose models were learnt from each other


Curve = tuple[Numbers, Numbers]


class Ranking(NamedTuple):
    """An arm's customers ranked by its effect, by models that have not seen them, beside the same by a
    response model, which knows who buys and not why. more: of the uplift's Qini over the other's; None where
    they are not to be compared, and why: untold."""

    arm: str
    qini: float
    auuc: float
    qini_response: float
    auuc_response: float
    more: Estimate | None
    untold: Words | None = None


def rankings(trial: Trial, found: Uplift, seed: int = 1) -> list[Ranking]:
    """Of each arm against the control. Empty where they are not defined: they are of outcomes of 0 and 1, in
    a lottery with one propensity an arm, that all could have had."""
    y = trial.outcomes[found.outcome]
    constant = all(np.ptp(trial.given[trial.arm == k]) < 1e-9 for k in range(len(trial.arms)))
    if not (constant and trial.could.all() and np.isin(y, (0.0, 1.0)).all()) or np.ptp(y) == 0:
        return []
    fold, made = folds(trial, seed), []
    for k, name in enumerate(found.arms[1:], start=1):
        own = (trial.arm == k) | (trial.arm == 0)
        treated, came = trial.arm[own] == k, y[own]
        scored = _response(np.ascontiguousarray(trial.matrix[own]), came, fold[own], seed)
        shrunk = found.lines[k - 1].effect(found.out_of_fold[own, k - 1])
        effect, response = (places(of, fold[own]) for of in (shrunk, scored))
        reach = quantile(trial.customer[own]) * math.sqrt(_CROSSED)
        untold = _untold(found, k, (effect, response), fold[own], reach)
        more = None if untold else _more(came, effect, response, treated, trial.customer[own], seed)
        made.append(Ranking(
            name, qini(came, effect, treated), auuc(came, effect, treated), qini(came, response, treated),
            auuc(came, response, treated), more, untold,
        ))  # fmt: skip
    return made


def _untold(found: Uplift, k: int, scores: tuple[Numbers, Numbers], fold: Ints, reach: float) -> Words | None:
    """Why two rankings are not to be compared, if so: one has no order, or there is nobody to be found.

    reach: standard errors that show something.
    """
    effect, line = found.effects[k], found.lines[k - 1]
    varies = line.slope > reach * line.slope_error > 0
    if effect.low <= 0 <= effect.high and not varies:
        return Words(
            "not compared: no effect is shown, on average or by customer",
            "不比较：未显示出平均效果，也未显示出因人而异的效果",
        )
    if any(np.ptp(score[fold == part]) == 0 for score in scores for part in range(FOLDS)):
        return Words(
            "not compared: a prediction is the same for all, or shrunk to be so",
            "不比较：某一预测对所有人相同，或已收缩至相同",
        )
    return None


def qini(outcome: Numbers, score: Numbers, treated: Bools) -> float:
    """The Qini coefficient of a trial of one action: area over the random ranking, 1 for the best possible.

    outcome: 0 or 1, [n]. score: whom to act on first, [n]. treated: [n], by a lottery of equal shares.
    Radcliffe 2007.
    """
    acted_on = treated.astype(np.float64)
    # The best possible: treated who bought, then whoever tells nothing, then untreated who bought.
    ideal = np.where(treated, outcome, -outcome)
    return _share(_curve(outcome, score, acted_on), _curve(outcome, ideal, acted_on))


def auuc(outcome: Numbers, score: Numbers, treated: Bools) -> float:
    """The same of the uplift curve, which compares shares that bought (Jaskowski and Jaroszewicz 2012)."""
    acted_on = treated.astype(np.float64)
    alike = 2.0 * (outcome == acted_on)
    ideal = alike + (
        outcome if (outcome * (1 - acted_on)).sum() > ((1 - outcome) * acted_on).sum() else acted_on
    )
    return _share(*(_curve(outcome, by, acted_on, shares=True) for by in (score, ideal)))


def _share(curve: Curve, best: Curve) -> float:
    """Of the area over the random ranking that the best possible has; 0 where that has none, as of an arm
    whose customers all bought beside others of whom nobody did: all orders are one."""
    random = float(curve[0][-1] * curve[1][-1]) / 2
    most = _area(*best) - random
    return (_area(*curve) - random) / most if most > 0 else 0.0


def _response(matrix: Rows, y: Numbers, fold: Ints, seed: int) -> Numbers:
    """Expected outcome whatever was done, [n], of a model that has not seen the row."""
    found = np.empty(len(y))
    model = Outcomes(matrix, np.zeros(len(y), np.int64), 1)
    for part in range(FOLDS):
        own = fold == part
        found[own] = model.fit(~own, y, seed).means(matrix[own])[:, 0]
    return found


def _more(y: Numbers, one: Numbers, other: Numbers, treated: Bools, customer: Ints, seed: int) -> Estimate:
    """The difference of Qini coefficients, its interval by drawing customers anew (bootstrap), or clusters:
    by Student's quantile, as of all that is compared by few of them.

    The scores of two folds hold each other's noise, so that a pattern of chance between them counts twice.
    """
    value = qini(y, one, treated) - qini(y, other, treated)
    _, who = np.unique(customer, return_inverse=True)
    order, counts = np.argsort(who, kind="stable"), np.bincount(who)
    ends, random = np.cumsum(counts), np.random.default_rng(seed)
    drawn = []
    for _ in range(_DRAWS):
        some = random.integers(0, len(counts), len(counts))
        rows = np.repeat(ends[some] - np.cumsum(counts[some]), counts[some]) + np.arange(counts[some].sum())
        own = order[rows]
        drawn.append(qini(y[own], one[own], treated[own]) - qini(y[own], other[own], treated[own]))
    half = quantile(who) * math.sqrt(_CROSSED) * float(np.std(drawn, ddof=1))
    return Estimate(value, value - half, value + half)


def _curve(outcome: Numbers, score: Numbers, treated: Numbers, shares: bool = False) -> Curve:
    """(customers acted on, purchases more than without), at each distinct score, from (0, 0).

    shares: purchases more are those of all, by the difference of shares; else of the treated."""
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)  # of those with equal scores
    y, t = outcome[order], treated[order]
    acted = np.cumsum(t)[last]
    left = last + 1 - acted
    bought, theirs = np.cumsum(y * t)[last], np.cumsum(y * (1 - t))[last]

    def per(total: Numbers, by: Numbers) -> Numbers:
        return np.divide(total, by, out=np.zeros(len(last)), where=by > 0)

    gain = (
        (per(bought, acted) - per(theirs, left)) * (last + 1)
        if shares
        else bought - per(theirs * acted, left)
    )
    return np.append(0.0, last + 1.0), np.append(0.0, gain)


def _area(x: Numbers, y: Numbers) -> float:
    return float((np.diff(x) * (y[1:] + y[:-1]) / 2).sum())

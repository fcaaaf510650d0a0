"""Who could have had which arm, and whether the columns tell the arms apart, of every arm of a trial.

The propensity of the arm that was given says nothing of an arm that a customer could never have had. So the
arms of a lottery are compared with the control, by what was drawn where the columns tell them apart best; and
where propensities were estimated, those of all arms are looked at.
"""

from typing import NamedTuple

import lightgbm
import numpy as np
from scipy.special import xlogy
from scipy.stats import binom, norm, rankdata
from sklearn.linear_model import LogisticRegression

from serving.booster import Rows
from training.candidates import DETERMINISTIC
from training.uplift import FOLDS, folds
from training.uplift_balance import LEVEL, chances
from training.uplift_estimates import Estimate, as_normal
from training.uplift_learners import Bools, Ints, Numbers, Splines
from training.uplift_trial import Trial

FLOOR = 0.05  # a smaller estimated propensity is no overlap
ENOUGH = 0.9  # of the customers, who could have had any arm: with fewer, an adjustment extrapolates
_PARTS = 5  # in which propensities are estimated
_CLIP = 0.01  # of estimated propensities
_NEARLY = 0.9  # a predicted chance, of an arm against the control, from which on the other may be impossible
_HALF = 0.5  # of the times that an arm should have been given: with less it is not what was drawn
_BINS = 20  # of propensities
_LEAST = 20  # customers of a part in which an arm is said to be impossible
_MOST_WEIGHT = 20.0  # of a row in what is learnt; what is measured has all of it
_TREES = {
    **DETERMINISTIC, "objective": "binary", "num_leaves": 8, "learning_rate": 0.2, "lambda_l2": 1.0,
    "max_bin": 63,
}  # fmt: skip
_ROUNDS = 30


class Told(NamedTuple):
    """How well the columns tell the arms of a lottery from the control, and who could have had no such arm.

    auc: of the arm that is told apart best, weighted by 1 / propensity: .5 in a lottery whose columns were
    known before. p: of its being no more, Bonferroni over the arms. never: of each arm, the share of the
    rows said to be possible that could not have had it [K]. decided: of the arm of which that is most, the
    share of the rows in which it, or the control, could not have been had, if there are rows of both; else 0.
    """

    arm: int
    auc: Estimate
    p: float
    never: Numbers
    decided: float = 0.0

    @property
    def apart(self) -> bool:
        """Whether they tell an arm apart, beyond what lots do."""
        return self.p < LEVEL


def told_apart(trial: Trial, seed: int = 1) -> Told:
    """Of a trial by lot; classifiers of small trees that have not seen the customers whom they judge."""
    arms, could, n = len(trial.arms), trial.could, len(trial)
    never, fold, decided = np.zeros(arms), folds(trial, seed), 0.0
    alone = (trial.given >= 1) & (could.sum(axis=1) > 1)  # given for sure, so that no other could be
    found: list[tuple[float, int, Estimate]] = []
    data = lightgbm.Dataset(trial.matrix, np.zeros(n), params=_TREES).construct()
    for k in range(1, arms):
        own = could[:, k] & np.isin(trial.arm, (0, k))
        chance = _chance(data, trial, own, k, fold, seed)
        area = _auc(chance, trial.arm == k, own, trial, fold)
        error = (area.high - area.value) / norm.isf(0.025)
        z = as_normal((area.value - 0.5) / error, trial.customer[own]) if error > 0 else 0.0
        found.append((float(z), k, area))
        shares = []
        for place, hard in ((k, chance < 1 - _NEARLY), (0, chance > _NEARLY)):
            part = hard & could[:, k]
            shares.append(float(part.sum() / could[:, k].sum()) if _impossible(trial, part, place) else 0.0)
            never[place] = max(never[place], shares[-1])
        decided = max(decided, sum(shares) if min(shares) > 0 else 0.0)
    for k in range(arms):
        never[k] = max(never[k], (alone & (trial.arm != k) & could[:, k]).sum() / could[:, k].sum())
    z, k, area = max(found, key=lambda of: of[0])
    return Told(k, area, min(1.0, float((arms - 1) * norm.sf(z))), never, decided)


def belied(trial: Trial) -> Numbers:
    """Of each arm of a lottery between two, the share of customers to whom it was given less than half as
    often as its propensity there says, for certain [K]: the propensity of one is what the other's leaves.

    An arm that was assigned, and said to have had a chance of .95, leaves .05 to the other, which nobody got.
    Of more arms, no row tells the propensities of those that it did not get.
    """
    found = np.zeros(len(trial.arms))
    if len(trial.arms) > 2 or trial.possible is not None or trial.evidence != "randomised":
        return found
    first = np.unique(trial.customer, return_index=True)[1]  # a customer's rows may have had one draw
    arm, given = trial.arm[first], trial.given[first]
    for k in (0, 1):
        chance = np.where(arm == k, given, 1 - given)
        # .2 and what .8 leaves are the same propensity.
        bins = np.minimum((chance * _BINS + 1e-9).astype(np.int64), _BINS - 1)
        for part in np.unique(bins[chance > 0]):
            rows = bins == part
            came, due, n = int((arm[rows] == k).sum()), float(chance[rows].sum()), int(rows.sum())
            if came < _HALF * due and binom.cdf(came, n, due / n) < LEVEL / (2 * _BINS):
                found[k] += n / len(first)
    return found


def rare(trial: Trial) -> Numbers:
    """Of each arm of a lottery between two, the share of customers of whom each had it with less than FLOOR,
    where so few of them got it that these few speak for all [K]."""
    found = np.zeros(len(trial.arms))
    if len(trial.arms) > 2 or trial.possible is not None or trial.evidence != "randomised":
        return found
    first = np.unique(trial.customer, return_index=True)[1]
    arm, given = trial.arm[first], trial.given[first]
    for k in (0, 1):
        part = np.where(arm == k, given, 1 - given) < FLOOR
        if part.mean() > 1 - ENOUGH and (arm[part] == k).sum() < _LEAST:
            found[k] = part.mean()
    return found


def _chance(data: lightgbm.Dataset, trial: Trial, own: Bools, k: int, fold: Ints, seed: int) -> Numbers:
    """The chance of an arm, against the control, of every row by a model that has not seen it, [n]."""
    chance, label = np.full(len(trial), 0.5), (trial.arm == k).astype(np.float64)
    weight = np.minimum(1 / trial.given, _MOST_WEIGHT)
    for part in range(FOLDS):
        rows = own & (fold != part)
        if len(np.unique(label[rows])) < 2:
            continue
        some = data.subset(np.flatnonzero(rows), params=_TREES).construct()
        some.set_label(label[rows])
        some.set_weight(weight[rows] / weight[rows].mean())
        least = max(20, int(rows.sum()) // 100)
        booster = lightgbm.train({**_TREES, "min_data_in_leaf": least, "seed": seed}, some, _ROUNDS)
        out = fold == part
        chance[out] = np.asarray(booster.predict(trial.matrix[out], num_threads=1), np.float64)
    return chance


def _auc(chance: Numbers, treated: Bools, own: Bools, trial: Trial, fold: Ints) -> Estimate:
    """Of an arm against the control, each row weighted by 1 / propensity, its interval over customers.

    Within a fold, whose scores are of one model; by influence (DeLong, DeLong and Clarke-Pearson 1988). Each
    fold's rows teach the others' models, and a pattern of chance between two folds counts twice: so the
    variance may be twice as large.
    """
    total, influence = np.zeros(2), np.zeros(len(chance))
    for part in range(FOLDS):
        rows = np.flatnonzero(own & (fold == part))
        flag, weight = treated[rows], 1 / trial.given[rows]
        if flag.all() or not flag.any():
            continue
        place = rankdata(chance[rows], "dense") - 1
        per = [np.bincount(place[which], weight[which], place.max() + 1) for which in (flag, ~flag)]
        shares = [(np.cumsum(each) - each / 2) / each.sum() for each in per]  # below, and half of the ties
        own_part = np.where(flag, shares[1][place], 1 - shares[0][place])
        area = float((per[0] / per[0].sum()) @ shares[1])
        share = np.where(flag, per[0].sum(), per[1].sum())
        influence[rows] = weight * (own_part - area) / share * len(rows)
        total += [area * len(rows), len(rows)]
    area = total[0] / total[1] if total[1] else 0.5
    sums = np.bincount(trial.customer, influence)
    reach = norm.isf(0.025) * float(np.sqrt(2 * (sums**2).sum())) / max(total[1], 1.0)
    return Estimate(area, area - reach, area + reach)


def _impossible(trial: Trial, rows: Bools, k: int) -> bool:
    """Whether an arm was given to some rows less than half as often as its propensities say, for certain: by
    a bound for whatever draws, each of a customer (Chernoff)."""
    first = np.flatnonzero(rows)[np.unique(trial.customer[rows], return_index=True)[1]]
    if len(first) < _LEAST:
        return False
    chance = chances(trial)[first, k]
    if trial.chances is None and len(trial.arms) > 2:  # where it was not given no row tells how likely it was
        chance = np.minimum(chance, trial.given[trial.arm == k].min())
    due, came = float(chance.sum()), int((trial.arm[first] == k).sum())
    return bool(came < _HALF * due and came - due + xlogy(came, due / max(came, 1)) < np.log(LEVEL))


def estimated(matrix: Rows, arm: Ints, arms: int, seed: int) -> tuple[Numbers, float]:
    """(propensity of every arm [n, K], share of customers who could have had any arm).

    By a cross-fitted logistic regression on splines. It knows only what the columns know: what else decided
    who got what stays in the effect.
    """
    design = Splines(matrix, np.arange(matrix.shape[1])).design
    fold = np.random.default_rng(seed).permutation(len(arm)) % _PARTS
    chance = np.zeros((len(arm), arms))
    for part in range(_PARTS):
        out = fold == part
        model = LogisticRegression(C=0.1, max_iter=500).fit(design[~out], arm[~out])
        chance[np.ix_(out, model.classes_)] = model.predict_proba(design[out])
    reached = float((chance.min(axis=1) >= FLOOR).mean())
    return np.clip(chance, _CLIP, 1.0), reached

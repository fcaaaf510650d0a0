"""What a check of a trial says, and the fact that checks of a lottery rest on.

With the right propensities, 1{arm = k} / p - 1 has mean 0 for every arm, also when multiplied with anything
that was known before the decision. A rare value in a small arm is far from normal: one customer where a
twentieth of one was due is no sign, and a test that believes the normal tail says p = .00001. So what seems
to differ must also be less likely than a bound that holds for every lot (Chernoff 1952), by the chances of
the lot itself.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import chi2

from features.words import Words
from training.uplift_learners import Bools, Ints, Numbers
from training.uplift_trial import Trial

LEVEL = 0.001  # of a false alarm, as of every check
RARE = 0.01  # below this p, what is no failure yet is said to be far off
LOTTERY = Words("columns known before", "决策前已知的列")  # the check that a lottery alone can be put to

LOTS = Words("decisions drawn by lot", "随机抽取的决策")  # there are some, and too few to learn from


class Check(NamedTuple):
    """What was looked at, whether it holds (None: it cannot be told), and what that means.

    arms: places of those of which, for that, no effect can be told. only_if: what must be so for anything to
    be shown, which no figure tells and whoever knows the table must. doubtful: few lots are as far off, so
    that nothing is claimed of choosing for each customer; of an arm for all it may be.
    """

    name: Words
    holds: bool | None
    words: Words
    arms: tuple[int, ...] = ()
    only_if: Words | None = None
    doubtful: bool = False


def weights(trial: Trial) -> Numbers:
    """1{arm = k} / p - 1 of every arm, 0 where it was not possible, [n, K]."""
    flags = np.eye(len(trial.arms))[trial.arm]
    return np.where(trial.could, flags / trial.given[:, None] - 1, 0.0)


def chances(trial: Trial) -> Numbers:
    """The propensity of every arm in each row's lot, [n, K]; 0 where it was not possible.

    Where the row tells that of the arm alone which it got, the others share what that leaves as they do on
    average: exactly, if of two arms or if all rows have the same; else about so.
    """
    if trial.chances is not None:
        return trial.chances
    flags = np.eye(len(trial.arms), dtype=np.bool_)[trial.arm]
    usual = flags.sum(axis=0) / np.where(flags, 1 / trial.given[:, None], 0.0).sum(axis=0)
    others = np.where(trial.could & ~flags, usual, 0.0)
    left = (1 - trial.given) / np.maximum(others.sum(axis=1), 1e-12)
    return np.where(flags, trial.given[:, None], others * left[:, None])


def draws(trial: Trial, moment: Numbers) -> tuple[Numbers, Numbers]:
    """(a column [n] as it weighs on each draw of each arm [d, K], the propensities of that draw [d, K]).

    A draw is a row; of customers who each had one arm in all of their rows, a customer.
    """
    rows, chance = np.where(trial.could, moment[:, None], 0.0), chances(trial)
    _, first, who = np.unique(trial.customer, return_index=True, return_inverse=True)
    if len(first) == len(rows) or (trial.arm != trial.arm[first][who]).any():
        return rows, chance
    return np.column_stack([np.bincount(who, column) for column in rows.T]), chance[first]


def by_the_lot(trial: Trial, moment: Numbers) -> float:
    """The p-value of a column [n] being spread alike over the arms of a lottery.

    By how its mean weighted by 1{arm = k} / p - 1 varies (Wald), and never less than by a bound on the tail
    of what such lots do to it.
    """
    return alike(weights(trial) * moment[:, None], *draws(trial, moment), trial.customer)


def alike(weighted: Numbers, weight: Numbers, chance: Numbers, customer: Ints) -> float:
    """The same of a column as it is weighted by 1{arm = k} / p - 1 [n, K]; as it weighs on each draw of each
    arm, with the propensities of that draw [d, K]; and whose each row is [n]."""
    known = chance > 0
    odds = np.divide(1 - chance, chance, out=np.zeros_like(chance), where=known)
    p = differ(weighted, customer, (odds * weight**2).sum(axis=0) / len(weighted) ** 2)
    if p > LEVEL:
        return p
    bounds = [
        _bound(column[own], each[own], float(total))
        for column, each, own, total in zip(weight.T, chance.T, known.T, weighted.sum(axis=0), strict=True)
    ]
    return max(p, min(1.0, 2 * len(bounds) * min(bounds)))


def _bound(weight: Numbers, chance: Numbers, total: float) -> float:
    """At least the chance that draws make the sum of weight (1{drawn} / chance - 1) as large as the total, on
    its side of 0 (Chernoff)."""
    signed = np.sign(total) * weight
    spread = float(np.sqrt((signed**2 * (1 / chance - 1)).sum()))
    if spread <= 0 or not total:
        return 1.0
    with np.errstate(divide="ignore"):
        drawn, not_drawn = np.log(chance), np.log1p(-chance)

    def exponent(s: float) -> float:
        of_each = np.logaddexp(not_drawn, drawn + s * signed / chance)
        return float((of_each - s * signed).sum() - s * abs(total))

    found = minimize_scalar(exponent, bounds=(0.0, 4 * abs(total) / spread**2), method="bounded")
    return float(np.exp(min(found.fun, 0.0)))


def differ(columns: Numbers, customer: Ints, least: Numbers | None = None) -> float:
    """The p-value of all means of [n, m] being 0 (Wald); columns, and a customer's rows, may depend on each
    other. least: below which the variance of no mean is believed to lie [m]."""
    mean = columns.mean(axis=0)
    sums = np.column_stack([np.bincount(customer, column) for column in (columns - mean).T])
    covariance = sums.T @ sums / len(columns) ** 2
    if least is not None:  # scaled, so that arms whose weights always sum to 0 still do
        own = np.diag(covariance)
        more = np.sqrt(np.maximum(np.divide(least, own, out=np.ones_like(own), where=own > 0), 1.0))
        covariance = covariance * np.outer(more, more) + np.diag(np.where(own > 0, 0.0, least))
    values, basis = np.linalg.eigh(covariance)
    kept: Bools = values > 1e-9 * values.max(initial=0.0)
    if not kept.any():
        return float(np.allclose(mean, 0))
    # What cannot vary must be 0: a fixed sum of weights says nothing.
    along = basis.T @ mean
    return float(chi2.sf((along[kept] ** 2 / values[kept]).sum(), int(kept.sum())))


def said(p: float, digits: int = 1) -> str:
    """A p-value as it is read: no test shows that it is 0.

    >>> said(0.0312), said(0.031, 2), said(1e-12), said(0.0)
    ('p = 0.03', 'p = 0.031', 'p < .0001', 'p < .0001')
    """
    return "p < .0001" if p < 1e-4 else f"p = {p:.{digits}g}"

"""What a check of a trial says, and the fact that checks of a lottery rest on.

With the right propensities, 1{arm = k} / p - 1 has mean 0 for every arm, also when multiplied with anything
that was known before the decision.
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import chi2

from features.words import Words
from training.uplift_learners import Bools, Ints, Numbers
from training.uplift_trial import Trial

LOTTERY = Words("columns known before", "决策前已知的列")  # the check that a lottery alone can be put to


class Check(NamedTuple):
    """What was looked at, whether it holds (None: it cannot be told), and what that means.

    arms: places of those of which, for that, no effect can be told. only_if: what must be so for anything to
    be shown, which no figure tells and whoever knows the table must.
    """

    name: Words
    holds: bool | None
    words: Words
    arms: tuple[int, ...] = ()
    only_if: Words | None = None


def weights(trial: Trial) -> Numbers:
    """1{arm = k} / p - 1 of every arm, 0 where it was not possible, [n, K]."""
    flags = np.eye(len(trial.arms))[trial.arm]
    return np.where(trial.could, flags / trial.given[:, None] - 1, 0.0)


def of_the_lot(trial: Trial, columns: Numbers) -> Numbers | None:
    """What the mean of each arm's weight times each column [n, m] varies by the lot alone [K * m]; None where
    a row does not tell the propensities of the arms that it did not get: of more arms than two.

    What is seen varies less where a small arm happens to have none of a rare value, and would prove anything.
    """
    if len(trial.arms) > 2 or trial.possible is not None:
        return None
    _, first, who = np.unique(trial.customer, return_index=True, return_inverse=True)
    sums = np.column_stack([np.bincount(who, column) for column in columns.T])
    own = [np.where(trial.arm == k, trial.given, 1 - trial.given)[first] for k in (0, 1)]
    odds = [np.divide(1 - p, p, out=np.zeros_like(p), where=p > 0) for p in own]
    found: Numbers = (np.array(odds) @ sums**2 / len(trial) ** 2).ravel()
    return found


def differ(columns: Numbers, customer: Ints, least: Numbers | None = None) -> float:
    """The p-value of all means of [n, m] being 0 (Wald); columns, and a customer's rows, may depend on each
    other. least: below which the variance of no mean is believed to lie [m]."""
    mean = columns.mean(axis=0)
    sums = np.column_stack([np.bincount(customer, column) for column in (columns - mean).T])
    covariance = sums.T @ sums / len(columns) ** 2
    if least is not None:
        covariance += np.diag(np.maximum(least - np.diag(covariance), 0.0))
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

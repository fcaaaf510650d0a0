"""How well a ranking finds those whom an action moves."""

import numpy as np
from numpy.typing import NDArray

from training.uplift_learners import Numbers


def qini(outcome: Numbers, score: Numbers, treated: NDArray[np.bool_]) -> float:
    """The Qini coefficient of a trial of one action: area over the random ranking, 1 for the best possible.

    outcome: 0 or 1, [n]. score: whom to act on first, [n]. treated: [n], by a lottery of equal shares.
    Radcliffe 2007; as scikit-uplift's `qini_auc_score`, of which the tests make sure.
    """
    acted_on = treated.astype(np.float64)
    # The best possible: treated who bought, then whoever tells nothing, then untreated who bought.
    ideal = np.where(treated, outcome, -outcome)
    (acted, gain), best = _curve(outcome, score, acted_on), _curve(outcome, ideal, acted_on)
    random = float(acted[-1] * gain[-1]) / 2
    return (_area(acted, gain) - random) / (_area(*best) - random)


def _curve(outcome: Numbers, score: Numbers, treated: Numbers) -> tuple[Numbers, Numbers]:
    """(customers acted on, purchases more than without), at each distinct score, from (0, 0)."""
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)  # of those with equal scores
    y, t = outcome[order], treated[order]
    acted = np.cumsum(t)[last]
    left = last + 1 - acted
    theirs = np.cumsum(y * (1 - t))[last]
    gain = np.cumsum(y * t)[last] - np.divide(theirs * acted, left, out=np.zeros(len(last)), where=left > 0)
    return np.append(0.0, last + 1.0), np.append(0.0, gain)


def _area(x: Numbers, y: Numbers) -> float:
    return float((np.diff(x) * (y[1:] + y[:-1]) / 2).sum())

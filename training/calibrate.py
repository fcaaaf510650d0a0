"""Log-odds -> probabilities, learnt on time later than the fits that gave the log-odds.

The scores that earlier origins gave to the customers after them are such a time. Five ways compete; which is
taken is decided by log-loss at the origins that followed, and "as it is" often wins: a level that was right
in one season may be wrong in the next.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from features.errors import TrainingError
from serving.formulas import Calibration, IdentityCalibration, IsotonicCalibration, LogisticCalibration
from training import evaluate

Numbers = NDArray[np.float64]

_KNOTS = 100  # of a Venn-Abers calibration: quantiles of the scores
LEAST = 2  # earlier origins: with one, a season would be taken for a rule


def identity(raw: Numbers, label: Numbers) -> Calibration:
    """As it is."""
    return IdentityCalibration()


def platt(raw: Numbers, label: Numbers) -> Calibration:
    """Platt's scaling. TrainingError if the scores rank that time backwards."""
    a, b = evaluate.recalibration(label, 1 / (1 + np.exp(-raw)))
    if a <= 0:
        raise TrainingError(
            f"on later time the model ranks customers backwards (calibration slope {a:.2f}): the past does "
            "not predict the present here. Look at what changed in the log before training again"
        )
    return LogisticCalibration(round(a, 9), round(b, 9))  # beyond, another processor may differ


def slope(raw: Numbers, label: Numbers) -> Calibration:
    """Platt's slope alone, about the base rate: how far scores spread is corrected, their level is not."""
    a, _ = evaluate.recalibration(label, 1 / (1 + np.exp(-raw)))
    rate = float(label.mean())
    return LogisticCalibration(round(max(a, 0.1), 9), round((1 - a) * float(np.log(rate / (1 - rate))), 9))


def isotonic(raw: Numbers, label: Numbers) -> Calibration:
    """The rising steps closest to the labels, with a pseudo-label of each kind, so that none is 0 or 1."""
    order = np.argsort(raw, kind="stable")
    x = np.r_[raw[order[0]], raw[order], raw[order[-1]]]
    y = np.r_[1.0, label[order], 0.0]
    model = IsotonicRegression(out_of_bounds="clip").fit(x, y)
    return _knots(model.X_thresholds_, model.y_thresholds_)


def venn_abers(raw: Numbers, label: Numbers) -> Calibration:
    """Inductive Venn-Abers (Vovk, Petej 2014): the isotonic fit with the score added as a 0, and as a 1;
    p1 / (1 - p0 + p1) at quantiles of the scores, straight lines between."""
    points = np.unique(np.quantile(raw, np.linspace(0, 1, _KNOTS)))
    values = []
    for point in points:
        p0, p1 = (
            float(
                IsotonicRegression(out_of_bounds="clip")
                .fit(np.r_[raw, point], np.r_[label, added])
                .predict([point])[0]
            )
            for added in (0.0, 1.0)
        )
        values.append(p1 / (1 - p0 + p1))
    return _knots(points, np.maximum.accumulate(values))


def _knots(x: Numbers, y: Numbers) -> Calibration:
    kept = np.r_[True, np.diff(x) > 1e-6]
    x, y = np.round(x[kept], 9), np.clip(np.round(y[kept], 9), 1e-4, 1 - 1e-4)
    if len(x) < 2:
        return IdentityCalibration()
    return IsotonicCalibration(tuple(x.tolist()), tuple(y.tolist()))


KINDS: dict[str, Callable[[Numbers, Numbers], Calibration]] = {
    "identity": identity,
    "slope": slope,
    "platt": platt,
    "isotonic": isotonic,
    "venn_abers": venn_abers,
}


def fitted(kind: str, raws: Sequence[Numbers], labels: Sequence[Numbers]) -> Calibration:
    """A calibration of that kind, from the scores and labels of earlier origins."""
    return KINDS[kind](np.concatenate(raws), np.concatenate(labels))

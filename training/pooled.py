"""Figures over all origins of a backtest, with intervals that know that a customer comes back in each.

Every figure is a mean over origins. Its error follows from what each row contributes (the influence
function: for AUC the placements of DeLong, DeLong and Clarke-Pearson 1988), summed by customer, since the
rows of one customer are no independent evidence. Differences are paired by construction.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from features.errors import TrainingError
from training.evaluate import DIGITS, Figure, Numbers, losses, recalibration

Z = 1.96


def auc(label: Numbers, score: Numbers) -> tuple[float, Numbers]:
    """The area under the ROC curve, ties counted half, and each row's influence on it [n].

    >>> auc(np.array([0., 0., 1., 1.]), np.array([.1, .4, .35, .8]))[0]
    0.75
    """
    from scipy.stats import rankdata  # half a second, which those who read a card need not spend

    ones = label == 1
    n1, n0 = int(ones.sum()), int((~ones).sum())
    rank = rankdata(score)
    placed = np.empty(len(label))
    placed[ones] = (rank[ones] - rankdata(score[ones])) / n0
    placed[~ones] = 1 - (rank[~ones] - rankdata(score[~ones])) / n1
    value = float(placed[ones].mean())
    return value, (placed - value) / np.where(ones, n1, n0)


def log_loss(label: Numbers, score: Numbers) -> tuple[float, Numbers]:
    """The mean negative log-likelihood, and each row's influence on it [n]."""
    each = losses(label, score)
    return float(each.mean()), (each - each.mean()) / len(each)


MEASURES = {"auc": auc, "log_loss": log_loss}


def figures(
    labels: Sequence[Numbers], customers: Sequence[NDArray[np.int64]], scores: Mapping[str, Sequence[Numbers]]
) -> tuple[dict[str, dict[str, Figure]], dict[str, dict[str, Figure]]]:
    """(model -> metric -> figure, each other -> metric_gain -> what "model" has more of it; of a loss: less).

    labels, customers, and the scores of each: one array an origin.
    """
    means: dict[str, dict[str, tuple[float, Numbers]]] = {}
    for name, given in scores.items():
        means[name] = {}
        for metric, measure in MEASURES.items():
            found = [measure(label, score) for label, score in zip(labels, given, strict=True)]
            value = float(np.mean([one for one, _ in found]))
            means[name][metric] = value, _by_customer(customers, [own for _, own in found])
    own = {
        name: {metric: _figure(*mean) for metric, mean in metrics.items()} for name, metrics in means.items()
    }
    gains: dict[str, dict[str, Figure]] = {}
    for name, metrics in means.items():
        if name == "model":
            continue
        gains[name] = {}
        for metric, (value, influence) in metrics.items():
            sign = -1.0 if metric == "log_loss" else 1.0
            model, other = means["model"][metric]
            gains[name][f"{metric}_gain"] = _figure(sign * (model - value), other - influence)
    return own, gains


def level(label: Numbers, score: Numbers) -> dict[str, float]:
    """Observed over expected, its distance from 1 in standard errors, and the slope of the log-odds.

    TrainingError if there is no slope: the scores are all equal, or separate the labels.
    """
    return {**_ratio(label, score), "calibration_slope": round(recalibration(label, score)[0], DIGITS)}


def level_of_any(label: Numbers, score: Numbers) -> dict[str, float]:
    """`level` of anybody's scores: what cannot be told of them, such as a slope of equal ones, is absent."""
    try:
        return level(label, score)
    except TrainingError:
        return {name: value for name, value in _ratio(label, score).items() if np.isfinite(value)}


def _ratio(label: Numbers, score: Numbers) -> dict[str, float]:
    expected, error = score.sum(), np.sqrt((score * (1 - score)).sum())
    with np.errstate(divide="ignore", invalid="ignore"):  # all scores 0, or all 0 or 1: not finite
        return {
            "observed_over_expected": round(float(label.sum() / expected), DIGITS),
            "z": round(float((label.sum() - expected) / error), DIGITS),
        }


def off(level: Mapping[str, float]) -> bool:
    """Whether a level is not to be believed: beyond two standard errors, or a slope outside .9 to 1.1."""
    return abs(level["z"]) > 2 or not 0.9 <= level["calibration_slope"] <= 1.1


def worst_of(groups: int) -> float:
    """How many standard errors the worst of so many groups is off by chance on one card of twenty.

    >>> round(worst_of(1), 2), round(worst_of(10), 2)
    (1.96, 2.81)
    """
    from scipy.stats import norm

    return float(norm.isf(0.025 / groups))


def _by_customer(customers: Sequence[NDArray[np.int64]], influences: Sequence[Numbers]) -> Numbers:
    """Influence on the mean over origins, by customer."""
    who, whole = np.concatenate(customers), np.concatenate(influences)
    return np.bincount(who, weights=whole) / len(influences)


def _figure(value: float, influence: Numbers) -> Figure:
    margin = Z * float(np.sqrt((influence**2).sum()))
    three = {"value": value, "low": value - margin, "high": value + margin}
    return {name: round(number, DIGITS) for name, number in three.items()}

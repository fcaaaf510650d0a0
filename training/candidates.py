"""What competes to be the model: small trees, a spline-logistic regression, and their blend.

All learn from every label known at an origin. Small trees on few features each beat LightGBM's defaults on
a few thousand customers (`python -m benchmarks quality`); the regression is what trees must beat where there
is little to learn from. A component's raw score is a log-odds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from serving import models
from serving.booster import Rows
from serving.formulas import LogisticScorer
from serving.trees import parse
from training.distributed import Cluster
from training.samples import Part
from training.terms import digits, knots_of, spread
from training.treatment import adjustable

Numbers = NDArray[np.float64]
Component = models.Trees | models.Logistic

DETERMINISTIC = {
    "objective": "binary",
    "deterministic": True,
    "force_col_wise": True,  # for few features a tree: faster, in less memory, and the same trees
    "num_threads": 1,  # the same sums everywhere; and on busy cores several threads are slower than one
    "verbosity": -1,
}
ROUNDS = 160
TREES: Mapping[str, Any] = {
    "learning_rate": 0.05,
    "num_leaves": 7,
    "min_data_in_leaf": 200,  # some ten customers at all their moments
    "feature_fraction": 0.3,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 10.0,
    "max_bin": 254,  # with the number of leaves: within the compiled scorer's limits
}
SCREENED = 4  # one customer in so many shows which features matter
SPLINE_FEATURES = 40  # those that the trees gain most from: the rest costs time and adds noise
KNOTS = 5  # of a feature's piecewise linear term, at quantiles
STRENGTH = 0.03  # of the data against the penalty, scikit-learn's C, on standardised parts
SPLINE_ROWS = 100_000  # more do not change a few hundred coefficients
_UNPENALISED = 30.0  # scale of the treatment's column: its coefficient is hardly shrunk


@dataclass(frozen=True)
class Parameters:
    """What candidates are fitted with: LightGBM's parameters, its rounds, the spline's STRENGTH.

    monotone: feature -> 1 if the chance can only rise with it, all else equal, -1 if only fall.
    """

    trees: Mapping[str, Any] = field(default_factory=lambda: dict(TREES))
    rounds: int = ROUNDS
    strength: float = STRENGTH
    monotone: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Fitted:
    """A candidate at one origin: what would be released, and its log-odds. effect: of treatment on them,
    taken out; 0 where there was nothing to adjust. gain: of the trees, [features]."""

    components: tuple[Component, ...]
    raw: Callable[[Rows], Numbers]
    effect: float
    gain: Numbers


def fit(
    part: Part, names: Sequence[str], seed: int, parameters: Parameters, cluster: Cluster | None = None
) -> dict[str, Fitted]:
    """Every candidate, by name, the simplest first. cluster: that fits the trees; None: this machine."""
    of_trees, rounds = {**parameters.trees, "seed": seed}, parameters.rounds
    directions = [parameters.monotone.get(name, 0) for name in names]
    if any(directions):
        of_trees["monotone_constraints"] = directions
    if adjustable(part.treated):  # what the contacts explain of the labels is no part of the model
        some = part.rows(part.customer % SCREENED == 0)
        screen = boosted(some, names, of_trees, rounds, cluster=cluster)
        spline, effect = _spline(part, names, _gain(screen), seed, parameters)
        explained = effect * part.treated.astype(np.float64)
        booster = boosted(part, names, of_trees, rounds, explained, cluster)
    else:
        booster = boosted(part, names, of_trees, rounds, cluster=cluster)
        spline, effect = _spline(part, names, _gain(booster), seed, parameters)
    gain = _gain(booster)
    scorer = LogisticScorer(spline, names)

    def trees(rows: Rows) -> Numbers:
        return np.asarray(booster.predict(rows, raw_score=True, num_threads=1), np.float64)

    text = booster.model_to_string()
    half = (models.Trees(text, 0.5), models.Logistic(spline.intercept, spline.terms, 0.5))
    return {
        "spline": Fitted((spline,), scorer.raw, effect, gain),
        "trees": Fitted((models.Trees(text),), trees, effect, gain),
        "blend": Fitted(half, lambda rows: 0.5 * trees(rows) + 0.5 * scorer.raw(rows), effect, gain),
    }


def boosted(
    part: Part,
    names: Sequence[str],
    parameters: Mapping[str, Any],
    rounds: int,
    start: Numbers | None = None,
    cluster: Cluster | None = None,
) -> Any:
    """A LightGBM booster. start: log-odds [n] that are explained already, and are no part of the model.
    cluster: that fits it; None: this machine."""
    whole = {**DETERMINISTIC, **parameters}
    level = 0.0
    if start is not None:  # given one, LightGBM leaves the level to the trees, who hardly reach a rare one
        level = _level(part.label, start)
        start = start + level
    if cluster:
        booster = cluster.boosted(part, names, whole, rounds, start)
    else:
        rows = lightgbm.Dataset(
            part.matrix, part.label, init_score=start, feature_name=list(names), free_raw_data=True
        )
        booster = lightgbm.train(whole, rows, rounds)
    if level:
        for leaf in range(_leaves_of_first(booster)):
            booster.set_leaf_output(0, leaf, booster.get_leaf_output(0, leaf) + level)
    return booster


def _level(label: NDArray[Any], start: Numbers) -> float:
    """What, added to all of `start`, makes the mean chance the labels' own; Newton's steps."""
    share = float(np.clip(label.mean(), 1e-6, 1 - 1e-6))
    level = float(np.log(share / (1 - share)))
    for _ in range(20):
        chance = 1 / (1 + np.exp(-(start + level)))
        level -= float((chance.mean() - share) / (chance * (1 - chance)).mean())
    return round(level, 9)  # beyond, another processor may differ


def _leaves_of_first(booster: Any) -> int:
    first = next(parse(booster.model_to_string(num_iteration=1)))
    return len(first.value)


def _gain(booster: Any) -> Numbers:
    return np.asarray(booster.feature_importance("gain"), np.float64)


def _spline(
    part: Part, names: Sequence[str], gain: Numbers, seed: int, parameters: Parameters
) -> tuple[models.Logistic, float]:
    """A ridge logistic regression on piecewise linear terms, and the effect of treatment beside them."""
    some = np.arange(len(part))
    if len(some) > SPLINE_ROWS:
        some = np.sort(np.random.default_rng(seed).choice(some, SPLINE_ROWS, replace=False))
    matrix, treated = part.matrix[some], part.treated[some]
    chosen = np.sort(np.argsort(-gain, kind="stable")[:SPLINE_FEATURES])
    specs: list[tuple[int, Numbers, Numbers, Numbers, bool]] = []  # column, knots, mean, scale, nulls
    columns: list[Numbers] = []
    for place in chosen:
        x = matrix[:, place].astype(np.float64)
        null = np.isnan(x)
        if null.all():
            continue
        knots = knots_of(x, KNOTS)
        if len(knots) < 2:
            continue
        parts, mean, scale = spread(x, knots)
        columns.append(parts)
        if null.any():
            columns.append(null[:, None].astype(np.float64))
        specs.append((int(place), knots, mean, scale, bool(null.any())))
    adjusted = adjustable(treated)
    if adjusted:
        columns.append(_UNPENALISED * treated[:, None].astype(np.float64))
    design = np.concatenate(columns, axis=1)
    model = LogisticRegression(C=parameters.strength, solver="newton-cholesky").fit(design, part.label[some])
    coefficients = [round(float(c), 9) for c in model.coef_[0]]  # beyond, another processor may differ
    terms, at = [], 0
    for place, knots, mean, scale, nulls in specs:
        own = len(mean)
        coefficient = tuple(coefficients[at : at + own])
        if direction := parameters.monotone.get(names[place]):
            coefficient = _one_way(coefficient, digits(scale), direction)
        missing = coefficients[at + own] if nulls else 0.0
        at += own + nulls
        terms.append(
            models.Term(names[place], digits(knots), digits(mean), digits(scale), coefficient, missing)
        )
    effect = _UNPENALISED * coefficients[-1] if adjusted else 0.0
    return models.Logistic(round(float(model.intercept_[0]), 9), tuple(terms)), effect


def _one_way(coefficient: tuple[float, ...], scale: tuple[float, ...], direction: int) -> tuple[float, ...]:
    """The coefficients of a term that is flat where it had gone against its direction."""
    slopes = np.cumsum(np.divide(coefficient, scale))  # of the pieces between knots
    kept = np.where(slopes * direction > 0, slopes, 0.0)
    if np.array_equal(kept, slopes):
        return coefficient
    return tuple((np.diff(kept, prepend=0.0) * scale).tolist())  # unrounded: rounding would tilt the flat

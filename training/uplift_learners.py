"""What competes to tell whom an action moves: splines and small trees on pseudo-outcomes, and an S-learner.

An effect is that of an arm against the control, in the outcome's own unit. Pseudo-outcomes are doubly robust
(Kennedy 2023, "Towards optimal doubly robust estimation of heterogeneous causal effects"): with logged
propensities their mean is the effect whatever the outcome model says, which only takes noise away. That
model is the S-learner itself: trees over the features and the arm, so that small arms borrow from large ones.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import lightgbm
import numpy as np
from numpy.typing import NDArray

from serving.booster import Rows
from serving.formulas import Logistic, LogisticScorer, Term
from training.candidates import DETERMINISTIC
from training.terms import digits, knots_of, spread

Numbers = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_COMMON = {
    **DETERMINISTIC,
    "objective": "regression",
    "learning_rate": 0.05,
    "bagging_freq": 1,
    "max_bin": 63,
}
OUTCOME = {**_COMMON, "num_leaves": 8, "bagging_fraction": 0.7, "feature_fraction": 0.7, "lambda_l2": 10.0}
OUTCOME_ROUNDS = 100
EFFECT = {**_COMMON, "num_leaves": 4, "bagging_fraction": 0.5, "feature_fraction": 0.6, "lambda_l2": 100.0}
EFFECT_ROUNDS = 60
KNOTS = 4  # of a column's piecewise linear term, at quantiles
SPLINE_COLUMNS = 40  # at most: those that tell most of the outcome
PENALTIES = np.geomspace(1e-3, 30.0, 10)  # of the splines, a row; chosen by generalised cross-validation


class Learned(NamedTuple):
    """raw: float32 [m, F] -> an effect of each arm but the control, [m, K - 1]. parts: what it is made of, to
    be saved: a `Logistic` or LightGBM's text for each of those arms, or one text that also reads the arm."""

    raw: Callable[[Rows], Numbers]
    parts: tuple[Logistic | str, ...]


class Outcome(NamedTuple):
    """An outcome model. means: float32 [m, F] -> expected outcome under each arm, [m, K]."""

    means: Callable[[Rows], Numbers]
    text: str
    gain: Numbers  # [F]: what the trees gain from each column

    def learned(self) -> Learned:
        """The S-learner: the difference that the arm makes to the expected outcome."""

        def raw(rows: Rows) -> Numbers:
            means = self.means(rows)
            return means[:, 1:] - means[:, :1]

        return Learned(raw, (self.text,))


class Boosting:
    """LightGBM on some rows of a matrix [n, F], which is put into bins once."""

    def __init__(
        self, matrix: Rows, parameters: Mapping[str, Any], rounds: int, share: int, least: int
    ) -> None:
        """A leaf holds one row in `share` of those trained on, and at least `least`."""
        self._parameters, self._rounds, self._share, self._least = {**parameters}, rounds, share, least
        names = [f"x{place}" for place in range(matrix.shape[1])]
        data = lightgbm.Dataset(matrix, np.zeros(len(matrix)), feature_name=names, params=self._parameters)
        self._data = data.construct()

    def fit(self, rows: Bools, y: Numbers, seed: int) -> Any:
        """A booster of some rows [n], and the targets of all [n]."""
        part = self._data.subset(np.flatnonzero(rows), params=self._parameters).construct()
        part.set_label(y[rows])
        least = max(self._least, int(rows.sum()) // self._share)
        return lightgbm.train(
            {**self._parameters, "min_data_in_leaf": least, "seed": seed}, part, self._rounds
        )


class Outcomes:
    """Trees over the features and the arm: columns after the features, one an arm but the control, 0 or 1."""

    def __init__(self, matrix: Rows, arm: Ints, arms: int) -> None:
        self._width, self._flags = matrix.shape[1], np.eye(arms, dtype=np.float32)[:, 1:]
        self._boosting = Boosting(np.hstack([matrix, self._flags[arm]]), OUTCOME, OUTCOME_ROUNDS, 200, 20)

    def fit(self, rows: Bools, y: Numbers, seed: int) -> Outcome:
        """Of some rows [n], and the outcomes of all [n]."""
        booster, flags = self._boosting.fit(rows, y, seed), self._flags

        def means(x: Rows) -> Numbers:
            under = [np.hstack([x, np.broadcast_to(flag, (len(x), flags.shape[1]))]) for flag in flags]
            return np.column_stack([_predicted(booster, each) for each in under])

        gain = np.asarray(booster.feature_importance("gain"), np.float64)[: self._width]
        return Outcome(means, booster.model_to_string(), gain)


def pseudo_outcomes(means: Numbers, arm: Ints, given: Numbers, y: Numbers) -> Numbers:
    """Doubly robust scores [n, K]: their mean over customers is the mean outcome if all had that arm.

    means: expected outcome under each arm, [n, K], of a model that has not seen the row. given: the
    propensity of the arm that was given, [n].
    """
    scores = means.copy()
    rows = np.arange(len(y))
    scores[rows, arm] += (y - means[rows, arm]) / given
    return scores


class Trees:
    """Small trees on pseudo-outcomes."""

    def __init__(self, matrix: Rows) -> None:
        self._boosting = Boosting(matrix, EFFECT, EFFECT_ROUNDS, 50, 50)

    def fit(self, rows: Bools, effects: Numbers, seed: int) -> Learned:
        """Of each arm's rows, and all rows' pseudo-outcomes' differences from the control's, [n, K - 1]."""
        pairs = zip(rows.T, effects.T, strict=True)
        boosters = [self._boosting.fit(own, column, seed) for own, column in pairs]

        def raw(x: Rows) -> Numbers:
            return np.column_stack([_predicted(booster, x) for booster in boosters])

        return Learned(raw, tuple(booster.model_to_string() for booster in boosters))


class Splines:
    """Ridge regression on piecewise linear terms of the columns; the terms know no outcome."""

    def __init__(self, matrix: Rows, columns: Ints) -> None:
        self._specs: list[
            tuple[str, Numbers, Numbers, Numbers, float]
        ] = []  # name, knots, mean, scale, nulls
        self._names = [str(place) for place in range(matrix.shape[1])]
        parts = []
        for place in columns:
            x = matrix[:, place].astype(np.float64)
            null = np.isnan(x)
            if null.all():
                continue
            knots = knots_of(x, KNOTS)
            if len(knots) < 2:  # nearly always one value: from the least to the largest, if there is more
                knots = np.unique([x[~null].min(), x[~null].max()])
            if len(knots) < 2 and not null.any():
                continue
            knots = knots if len(knots) > 1 else np.array([knots[0], knots[0] + 1.0])
            own, mean, scale = spread(x, knots)
            parts.append(own)
            if null.any():
                parts.append((null - null.mean())[:, None])
            self._specs.append((str(place), knots, mean, scale, float(null.mean())))
        self.design = np.hstack(parts) if parts else np.empty((len(matrix), 0))

    def fit(self, rows: Bools, effects: Numbers) -> Learned:
        """Of each arm's rows, and all rows' pseudo-outcomes' differences from the control's, [n, K - 1]."""
        if (rows == rows[:, :1]).all():  # solved at once
            parts = self._solved(rows[:, 0], effects)
        else:
            parts = [self._solved(own, effects[:, [k]])[0] for k, own in enumerate(rows.T)]
        scorers = [LogisticScorer(part, self._names) for part in parts]
        return Learned(lambda x: np.column_stack([scorer.raw(x) for scorer in scorers]), tuple(parts))

    def _solved(self, rows: Bools, effects: Numbers) -> list[Logistic]:
        design, target = self.design[rows], effects[rows]
        centre, level = design.mean(axis=0), target.mean(axis=0)
        design, target = design - centre, target - level
        values, basis = np.linalg.eigh(design.T @ design)
        values, n = np.maximum(values, 0.0), len(design)
        along = basis.T @ (design.T @ target)
        total = (target**2).sum(axis=0)
        errors, solutions = [], []
        for penalty in PENALTIES * n:
            solved = along / (values + penalty)[:, None]
            left = total - 2 * (solved * along).sum(axis=0) + (values[:, None] * solved**2).sum(axis=0)
            errors.append(left / (1 - (1 + (values / (values + penalty)).sum()) / n) ** 2)
            solutions.append(basis @ solved)
        best = np.argmin(errors, axis=0)
        return [
            self._component(solutions[choice][:, k], level[k] - centre @ solutions[choice][:, k])
            for k, choice in enumerate(best)
        ]

    def _component(self, weights: Numbers, intercept: float) -> Logistic:
        terms, at = [], 0
        for name, knots, mean, scale, nulls in self._specs:
            own = weights[at : at + len(mean)]
            missing = 0.0
            at += len(mean)
            if nulls:
                intercept -= weights[at] * nulls
                missing, at = weights[at], at + 1
            terms.append(
                Term(name, digits(knots), digits(mean), digits(scale), digits(own), *digits([missing]))
            )
        return Logistic(digits([intercept])[0], tuple(terms))


def _predicted(booster: Any, rows: Rows) -> Numbers:
    return np.asarray(booster.predict(rows, num_threads=1), np.float64)

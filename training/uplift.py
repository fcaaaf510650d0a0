"""Whom does an action move? Effects learned from decisions whose propensities are known, and a policy.

    trial = Trial(matrix, names, arms, arm, propensity, {"spend": spend}, customer)
    found = fit(trial, "spend", seed=1)
    found.policy(matrix)  # the arm for each customer

Everybody gets the control until an arm is shown to be better than it after its cost; then the best of those
that are, until a personal policy is proven better than the arm whose estimate is the largest: its paired,
doubly robust gain on customers that it was not learnt from has its lower bound above 0. Where that arm is
itself not shown to be better, nobody would get it: then it is enough that the policy has the larger estimate,
and is proven better than what all would get. For each fold, learner and shrinkage are chosen on the other
folds, by models that have not seen it either: else a fold that happens to agree with the others would vouch
for itself. So what is judged is the whole procedure; each is one test at 2.5 %.

An arm need not be possible for everybody. Its effect is that on the rows which could have had it: doubly
robust over all that was drawn there, whatever came out (Robins, Rotnitzky and Zhao 1994; Dudik, Langford and
Li 2011). Rows that got a third arm tell through the outcome model; pairs with renormalised chances would
drop them, and weigh customers by how often that pair is drawn. Where an arm is not possible, "nothing" stands
for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from features.errors import TrainingError
from serving.booster import Rows
from serving.effects import EVIDENCE, Line, OutcomeToSave
from training import uplift_learners as learners
from training.uplift_estimates import Estimate, crossed_gain, error_of, estimate, pairs_of, places
from training.uplift_learners import Bools, Ints, Learned, Numbers
from training.uplift_trial import Trial

RECIPE = 5  # raise when the same trial and seed would give another policy, or claim
FOLDS = 4
LEARNERS = ("ridge", "trees", "s")


@dataclass(frozen=True)
class Uplift:
    """What a trial taught. Arms are places in `arms`, 0 the control; money is net of `costs` in `values`.

    means, effects: an arm's outcome, and its difference from the control's, before costs, on the rows that
    could have had it; reach: their share. best: the best constant arm by its estimate, with the control where
    it is not possible; over: its gain over each other arm after costs, on the rows that could have had
    either. The intervals of all differences between arms hold together. gain, instead: of the personal policy
    over the best arm, and over the default, on customers that it was not learnt from. personal: whether it is
    proven better. out_of_fold: each
    row's effects before shrinkage by a model that has not seen it, [n, K - 1]; chosen: the arm that such a
    model would give, [n]; constant: the best arm for all of those that it has seen, [n]. fifths: of each arm
    but the control, customers in fifths by such effects, the least first: what was predicted, what came;
    equal predictions are in one part, so that there may be fewer.
    """

    arms: tuple[str, ...]
    outcome: str
    evidence: EVIDENCE
    rows: Ints
    reach: Numbers
    costs: Numbers
    means: tuple[Estimate, ...]
    effects: tuple[Estimate, ...]
    best: int
    over: tuple[Estimate, ...]
    learner: str
    learned: Learned
    lines: tuple[Line, ...]
    gain: Estimate
    instead: Estimate
    personal: bool
    out_of_fold: Numbers
    chosen: Ints
    constant: Ints
    fifths: tuple[tuple[tuple[float, Estimate], ...], ...]

    @property
    def better(self) -> bool:
        """Whether the best constant arm is proven better than nothing, after its cost."""
        return bool(self.evidence == "randomised" and self.over[0].low > 0)

    @property
    def net(self) -> tuple[Estimate, ...]:
        """Of each arm, its effect after what it costs more than the control."""
        return _net(self.effects, self.costs)

    @property
    def default(self) -> int:
        """The arm for all, where it is possible: of those that are shown to be better than the control, after
        cost, the one that brings most; the control if none is."""
        return _shown(self.evidence, self.net, self.reach)

    def estimated(self, matrix: Rows) -> Numbers:
        """Effects of every arm against the control, before costs: [n, K], the control's 0."""
        return effects_of(self.learned.raw(matrix), self.lines)

    def to_save(self) -> OutcomeToSave:
        """As a release keeps it."""
        costs = tuple(float(cost) for cost in self.costs)
        parts = self.learned.parts
        return OutcomeToSave(self.outcome, self.lines, parts, costs, self.default, self.personal)

    def policy(self, matrix: Rows, possible: Bools | None = None) -> Ints:
        """The arm for each row, of what is possible [n, K]: the default, or by a proven personal policy."""
        could = np.ones((len(matrix), len(self.arms)), np.bool_) if possible is None else possible
        usual = _had(np.full(len(matrix), self.default), could)
        return _choice(self.estimated(matrix), self.costs, usual, could) if self.personal else usual


def _net(effects: tuple[Estimate, ...], costs: Numbers) -> tuple[Estimate, ...]:
    return tuple(one.less(float(cost - costs[0])) for one, cost in zip(effects, costs, strict=True))


def _shown(evidence: EVIDENCE, net: tuple[Estimate, ...], reach: Numbers) -> int:
    shown = [k for k, one in enumerate(net) if k and one.low > 0 and evidence == "randomised"]
    return max(shown, key=lambda k: float(reach[k] * net[k].value), default=0)


def effects_of(raw: Numbers, lines: tuple[Line, ...]) -> Numbers:
    """Raw predictions [n, K - 1] -> effects [n, K]."""
    return np.column_stack([np.zeros(len(raw)), *(line.effect(raw[:, k]) for k, line in enumerate(lines))])


def fit(trial: Trial, outcome: str, costs: Mapping[str, float] | None = None, seed: int = 1) -> Uplift:
    """Effects on an outcome, and the policy. costs: of an arm, in the outcome's unit. The same data and seed
    give the same figures. TrainingError, NotEnoughData."""
    if unknown := (costs or {}).keys() - set(trial.arms):
        raise TrainingError(f"a cost is given for {', '.join(sorted(unknown))}: the arms are {trial.arms}")
    cost = np.array([(costs or {}).get(arm, 0.0) for arm in trial.arms])
    y = trial.outcomes[outcome].astype(np.float64)
    fold = folds(trial, seed)
    crossed = _crossed(trial, y, fold, seed)
    scores, raw = crossed.scores, crossed.raw
    differences, could = scores[:, 1:] - scores[:, :1], trial.could
    net = np.where(could, scores - cost, scores[:, :1] - cost[0])
    lottery = trial.evidence == "randomised"
    best = int(np.argmax(net.mean(axis=0))) if lottery else 0  # else nobody is sent anything on this evidence
    chosen = _had(np.full(len(trial), best), could)
    constant = chosen.copy()
    for part in range(FOLDS) if lottery else ():
        own, others = fold == part, fold != part
        name, lines = _preferred(
            {each: one[others] for each, one in crossed.held[part].items()},
            differences[others], net[others], cost, trial.customer[others], could[others],
        )  # fmt: skip
        everywhere = np.full(own.sum(), np.argmax(net[others].mean(axis=0)))
        constant[own] = _had(everywhere, could[own])
        chosen[own] = _choice(effects_of(raw[name][own], lines), cost, constant[own], could[own])
    pairs, reach = pairs_of(scores, trial.customer, could), could.mean(axis=0)
    effects = tuple(pairs[k, 0] for k in range(len(cost)))
    default = _shown(trial.evidence, _net(effects, cost), reach)
    everyone = np.arange(len(trial))
    gain, instead = (
        crossed_gain(net[everyone, chosen] - net[everyone, usual], trial.customer)
        for usual in (constant, _had(np.full(len(trial), default), could))
    )
    personal = gain.low > 0 or (default != best and gain.value > 0 and instead.low > 0)
    name, lines = _preferred(raw, differences, net, cost, trial.customer, could)
    spent = [_spent(cost, could, best, k) for k in range(len(cost))]
    return Uplift(
        trial.arms, outcome, trial.evidence, np.bincount(trial.arm, minlength=len(trial.arms)),
        reach, cost,
        tuple(
            estimate(column[own], trial.customer[own]) for column, own in zip(scores.T, could.T, strict=True)
        ),
        effects,
        best,
        tuple(pairs[best, k].less(spent[k]) for k in range(len(cost))),
        name, crossed.final[name], lines, gain, instead, lottery and personal, raw[name], chosen, constant,
        tuple(
            _fifths(raw[name][own, k], differences[own, k], line, trial.customer[own], fold[own])
            for k, (line, own) in enumerate(zip(lines, could.T[1:], strict=True))
        ),
    )  # fmt: skip


def folds(trial: Trial, seed: int) -> Ints:
    """A fold for each row, the same for a customer's rows."""
    _, who = np.unique(trial.customer, return_inverse=True)
    return np.asarray(np.random.default_rng(seed).permutation(who.max() + 1)[who] % FOLDS)


def effects_on(trial: Trial, outcome: str, seed: int = 1) -> tuple[Estimate, ...]:
    """Each arm's difference from the control, before costs, as `fit` has them; nothing is chosen by it."""
    y = trial.outcomes[outcome].astype(np.float64)
    means, _ = foreseen(trial, y, folds(trial, seed), seed)
    scores = learners.pseudo_outcomes(means, trial.arm, trial.given, y)
    pairs = pairs_of(scores, trial.customer, trial.could)
    return tuple(pairs[k, 0] for k in range(len(trial.arms)))


@dataclass(frozen=True)
class _Crossed:
    """What models say of rows that they have not seen. scores: pseudo-outcomes, [n, K]. raw: learner ->
    effects, [n, K - 1]. held: for each fold the same of all other rows, by models that have seen neither the
    row's fold nor that one. final: learners of all rows."""

    scores: Numbers
    raw: dict[str, Numbers]
    held: list[dict[str, Numbers]]
    final: dict[str, Learned]


def foreseen(
    trial: Trial, y: Numbers, fold: Ints, seed: int, outcomes: learners.Outcomes | None = None
) -> tuple[Numbers, Numbers]:
    """(expected outcome under each arm [n, K] by models that have not seen the row's fold, what these gain
    from each column [F])."""
    rows, arms = trial.matrix, len(trial.arms)
    outcomes = outcomes or learners.Outcomes(rows, trial.arm, arms)
    means, gain = np.empty((len(trial), arms)), np.zeros(rows.shape[1])
    for part in range(FOLDS):
        out = fold == part
        model = outcomes.fit(~out, y, seed)
        means[out], gain = model.means(rows[out]), gain + model.gain
    return means, gain


def _crossed(trial: Trial, y: Numbers, fold: Ints, seed: int) -> _Crossed:
    n, arms, rows = len(trial), len(trial.arms), trial.matrix
    outcomes = learners.Outcomes(rows, trial.arm, arms)
    means, gain = foreseen(trial, y, fold, seed, outcomes)
    scores = learners.pseudo_outcomes(means, trial.arm, trial.given, y)
    differences, could = scores[:, 1:] - scores[:, :1], trial.could[:, 1:]
    telling = np.sort(np.argsort(-gain, kind="stable")[: learners.SPLINE_COLUMNS])
    splines, trees = learners.Splines(rows, telling), learners.Trees(rows)

    def fitted(on: Bools, s: bool = True) -> dict[str, Learned]:
        own = on[:, None] & could
        found = {"ridge": splines.fit(own, differences), "trees": trees.fit(own, differences, seed)}
        return found | ({"s": outcomes.fit(on, y, seed).learned()} if s else {})

    raw, *held = ({name: np.empty((n, arms - 1)) for name in LEARNERS} for _ in range(1 + FOLDS))
    raw["s"] = means[:, 1:] - means[:, :1]  # the outcome model is the S-learner
    for first in range(FOLDS):
        one = fold == first
        for name, learned in fitted(~one, s=False).items():
            raw[name][one] = learned.raw(rows[one])
        for second in range(first):
            other = fold == second
            for name, learned in fitted(~one & ~other).items():
                held[first][name][other] = learned.raw(rows[other])
                held[second][name][one] = learned.raw(rows[one])
    return _Crossed(scores, raw, held, fitted(np.ones(n, np.bool_)))


def _preferred(
    raw: Mapping[str, Numbers], differences: Numbers, net: Numbers, cost: Numbers, customer: Ints,
    could: Bools,
) -> tuple[str, tuple[Line, ...]]:  # fmt: skip
    """The learner whose shrunk effects would have earned most out of fold, and its lines."""
    best = _had(np.full(len(net), np.argmax(net.mean(axis=0))), could)
    lines = {
        name: tuple(
            _line(one[own, k], differences[own, k], customer[own]) for k, own in enumerate(could.T[1:])
        )
        for name, one in raw.items()
    }
    worth = {
        name: net[np.arange(len(net)), _choice(effects_of(raw[name], own), cost, best, could)].mean()
        for name, own in lines.items()
    }
    name = max(worth, key=lambda each: worth[each])
    return name, lines[name]


def _line(raw: Numbers, effect: Numbers, customer: Ints) -> Line:
    """Shrinks an arm's raw effects, out of fold, by how far the pseudo-outcomes follow them.

    The slope of pseudo-outcomes on raw effects is what of their spread is real (Chernozhukov and others 2018,
    best linear predictor); 0: nothing, all get the arm's mean; it is never taken to be more than 1.
    """
    mean, centre = float(effect.mean()), float(raw.mean())
    spread = raw - centre
    power = float((spread**2).sum())
    own = error_of(effect - mean, customer)
    if power <= 1e-12 * len(raw):
        return Line(mean, 0.0, centre, own, 0.0)
    slope = float(spread @ effect) / power
    left = (effect - mean - slope * spread) * spread
    return Line(mean, min(max(slope, 0.0), 1.0), centre, own, error_of(left, customer) * len(raw) / power)


def _had(arm: Ints, could: Bools) -> Ints:
    """The arm where it is possible, else the control."""
    return np.where(could[np.arange(len(arm)), arm], arm, 0)


def _spent(cost: Numbers, could: Bools, first: int, second: int) -> float:
    """What the first arm costs more than the second, a row that could have had either."""
    if first == second:
        return 0.0
    rows = could[:, [k for k in (first, second) if k]].any(axis=1)
    one, other = (
        cost[k] * share + cost[0] * (1 - share) for k in (first, second) if (share := could[rows, k].mean())
    )
    return float(one - other)


def _choice(effects: Numbers, cost: Numbers, best: Ints, could: Bools) -> Ints:
    """The possible arm of the largest net effect, [n]; of equals the best constant arm."""
    net, rows = np.where(could, effects - cost, -np.inf), np.arange(len(effects))
    top = net.argmax(axis=1)
    return np.where(net[rows, top] > net[rows, best], top, best)


def _fifths(
    raw: Numbers, effect: Numbers, line: Line, customer: Ints, fold: Ints
) -> tuple[tuple[float, Estimate], ...]:
    predicted = line.effect(raw)
    which = np.floor(5 * places(predicted, fold)).astype(np.int64)
    parts = [rows for part in range(5) if len(rows := np.flatnonzero(which == part))]
    return tuple((float(predicted[own].mean()), estimate(effect[own], customer[own])) for own in parts)

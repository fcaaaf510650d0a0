"""Does adjusting for the columns move an effect? In a lottery it may do so only by chance.

Doubly robust scores take noise away by what the columns foretell. What was known before the decision moves no
effect by that; a column from after it holds a part of the effect, and adjusting takes that part away, even
where its values hardly differ by arm: so the effect that is left looks small and sure. The adjusted effect
is therefore held against the plain one (Hausman 1978, "Specification tests in econometrics"). Their
difference is the mean of (1 - 1{arm = k} / p) m(k) less the control's, m being the outcome foretold by models
that have not seen the row, less its mean: under a lottery its mean is 0 and its influence is itself.

What good columns foretell is noise in that difference. So the same is looked at of what each column adds to
all others: m less its projection on splines of those. That also names the column.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from features.words import Words
from training.uplift import FOLDS, folds, foreseen
from training.uplift_balance import Check, weights
from training.uplift_columns import ONLY_IF, ONLY_IF_ZH
from training.uplift_estimates import as_normal, error_of, shown
from training.uplift_estimates import estimate as estimated
from training.uplift_learners import SPLINE_COLUMNS, Ints, Numbers, Splines, pseudo_outcomes
from training.uplift_trial import Trial, columns_of

LEVEL = 0.01  # of a false alarm of all effects, and as much of all columns: |z| of 2.58 for a single effect
OFTEN = 0.8  # how often the least that is told would be found
_STEADY = 1e-6  # added to a spline's variance


class Shift(NamedTuple):
    """Of an arm and an outcome the plain and the adjusted effect, with what adjusting changes over its error;
    the columns that change it most, with the same of what each adds."""

    arm: str
    outcome: str
    plain: str
    adjusted: str
    z: float
    columns: tuple[tuple[str, float], ...]


class Hidden(NamedTuple):
    """How much of an arm's effect on an outcome columns must hold for the check to find it, OFTEN.

    telling: if they tell half of what the others leave of the outcome besides. effect: the plain one.
    """

    arm: str
    outcome: str
    least: float
    telling: float
    effect: float


class Shifts(NamedTuple):
    """What adjusting moves by more than chance; the largest |z| of any arm's effect on an outcome; what could
    have stayed hidden."""

    found: list[Shift]
    largest: float
    hidden: list[Hidden]


def adjusted_alike(trial: Trial, seed: int = 1) -> Check:
    """Whether the effects are the same whether or not they are adjusted for the columns."""
    name = Words("effects with and without the columns", "按列调整前后的效果")
    if trial.evidence != "randomised":
        return Check(name, None, Words("cannot be told without a lottery", "无随机分配，无法判断"))
    found, largest, hidden = shifts(trial, seed)
    if not found:
        least = _least(hidden, next(iter(trial.outcomes)))
        return Check(name, True, Words(
            f"alike, as in a lottery: what adjusting changes is within chance (largest z {largest:.1f}). "
            f"A column from after the decision would be found in {OFTEN:.0%} of such trials if it held this "
            f"much of an effect: {'; '.join(w.en for w in least)}; less may stay hidden",
            f"一致，符合随机分配：调整带来的变化在随机误差之内（最大z值{largest:.1f}）。"
            f"决策之后才写入的列若含以下大小的效果，有{OFTEN:.0%}的机会被发现："
            f"{'；'.join(w.zh for w in least)}；更少则可能无从察觉",
        ))  # fmt: skip
    en, zh = [], []
    for one in found:
        blamed = ", ".join(f"{column} (z {z:+.1f})" for column, z in one.columns)
        en.append(
            f"{one.arm} on {one.outcome}: {one.plain} plain, {one.adjusted} adjusted (z {one.z:+.1f}), most "
            f"by {blamed}"
        )
        zh.append(
            f"{one.arm}对{one.outcome}：未调整{one.plain}，调整后{one.adjusted}（z {one.z:+.1f}），"
            f"主要来自{blamed}"
        )
    return Check(name, False, Words(
        "adjusting for the columns moves what in a lottery it can only move by chance: "
        f"{'; '.join(en)}. Such a column was known only after the decision and holds part of the effect; or "
        f"the propensities are not those of the draw, or rows are missing. {ONLY_IF}",
        "按列调整改变了效果，而在随机分配下这只能出于偶然："
        f"{'；'.join(zh)}。这样的列在决策之后才可知，已含部分效果；或倾向得分并非抽取时所用，"
        f"或有行缺失。{ONLY_IF_ZH}",
    ))  # fmt: skip


def _least(hidden: Sequence[Hidden], outcome: str) -> list[Words]:
    """Of each arm's effect on an outcome, how much would be found, and the share that this is."""

    def share(amount: float, effect: float, all_of_it: str) -> str:
        part = f"{amount / abs(effect):.0%}" if amount < abs(effect) else all_of_it
        return f"{amount:.2g} ({part})"

    return [
        Words(
            f"of {of.arm} {share(of.least, of.effect, 'more than all of it')}, or "
            f"{share(of.telling, of.effect, 'more than all of it')} if it also tells half of the outcome",
            f"{of.arm} {share(of.least, of.effect, '超过全部')}，"
            f"若该列还能说明结果的一半则为{share(of.telling, of.effect, '超过全部')}",
        )
        for of in hidden
        if of.outcome == outcome
    ]


def shifts(trial: Trial, seed: int = 1) -> Shifts:
    """Of all arms' effects on all outcomes."""
    fold, weighted, could = folds(trial, seed), weights(trial), trial.could
    tests = len(trial.outcomes) * (len(trial.arms) - 1)
    found, largest, hidden = list[Shift](), 0.0, list[Hidden]()
    for outcome, values in trial.outcomes.items():
        y = values.astype(np.float64)
        means, gain = foreseen(trial, y, fold, seed)
        scores, centred = pseudo_outcomes(means, trial.arm, trial.given, y), means.copy()
        for part in range(FOLDS):  # a level tells of no customer
            centred[fold == part] -= means[fold == part].mean(axis=0)
        telling = np.argsort(-gain, kind="stable")[: min(SPLINE_COLUMNS, int((gain > 0).sum()))]
        added = _added(trial, telling, centred)
        for k in range(1, len(trial.arms)):
            own = could[:, k]
            who = trial.customer[own]

            def moved(m: Numbers, k: int = k, own: np.ndarray = own) -> Numbers:
                each: Numbers = (weighted[:, 0] * m[:, 0] - weighted[:, k] * m[:, k])[own]
                return each

            change = moved(centred)
            z, columns = _z(change, who), np.array([_z(moved(m), who) for m in added])
            largest = max(largest, abs(z))
            effect = (scores[:, k] - scores[:, 0])[own]
            left = np.array([error_of(of - of.mean(), who) for of in (change, effect)])
            errors = left[0], np.hypot(left[0], left[1] / np.sqrt(2))
            least, more = (float((_limit(tests) + norm.ppf(OFTEN)) * error) for error in errors)
            hidden.append(Hidden(trial.arms[k], outcome, least, more, float((effect - change).mean())))
            guilty = np.flatnonzero(np.abs(columns) > _limit(tests * max(len(columns), 1)))
            if abs(z) <= _limit(tests) and not len(guilty):
                continue
            order = np.argsort(-np.abs(columns), kind="stable")[: max(len(guilty), 1)]
            worst: dict[str, float] = {}
            for place in order:  # the largest of a column's values comes first
                (column,) = columns_of([trial.names[telling[place]]])
                worst.setdefault(column, float(columns[place]))
            found.append(Shift(
                trial.arms[k], outcome, shown(estimated(effect - change, who), True),
                shown(estimated(effect, who), True), z,
                tuple(worst.items())[:5],
            ))  # fmt: skip
    return Shifts(found, largest, hidden)


def _limit(tests: int) -> float:
    return float(norm.isf(LEVEL / 2 / tests))


def _z(values: Numbers, customer: Ints) -> float:
    error = error_of(values - values.mean(), customer)
    return float(as_normal(values.mean() / error, customer)) if error > 0 else 0.0


def _added(trial: Trial, columns: Ints, means: Numbers) -> list[Numbers]:
    """Of each column, what of the foretold outcomes [n, K] splines of the others do not tell."""
    blocks = [Splines(trial.matrix, np.array([column])).design for column in columns]
    if not blocks:
        return []
    design = np.hstack([np.ones((len(trial), 1)), *blocks])
    place = np.repeat(np.arange(-1, len(blocks)), [1, *(block.shape[1] for block in blocks)])
    square, along = design.T @ design, design.T @ means
    square[np.diag_indices_from(square)] += _STEADY * len(trial)
    left = []
    for column in range(len(blocks)):
        others = place != column
        solved = np.linalg.solve(square[np.ix_(others, others)], along[others])
        left.append(means - design[:, others] @ solved)
    return left

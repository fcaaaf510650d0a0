"""Whether columns are spread alike where choosing for each customer is claimed to bring more.

A column from after the decision that goes up for some of an arm's customers and down for others is spread
much as in the other arms: no test of the column by itself finds it. But models find for whom it went up, and
what they foretell is then the column's doing. What a model that has not seen a customer says of him is known
before the decision, if the columns are; so a lottery spreads its product with any column alike in all arms.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from features.words import Words
from training.uplift import Uplift, folds
from training.uplift_balance import LEVEL, LOTTERY, RARE, Check, by_the_lot, said
from training.uplift_columns import ONLY_IF, ONLY_IF_ZH, doubt, listed, moments
from training.uplift_estimates import Estimate, places
from training.uplift_learners import Numbers
from training.uplift_trial import Trial

_ALIKE = 0.7  # correlation from which on two splits of the customers are one


def told_after(
    trial: Trial, found: Sequence[Uplift], looked: Sequence[Check], seed: int
) -> tuple[Check, ...]:
    """The checks, the one of columns known before the decision with what effects on the outcomes, by `fit`
    with that seed, add to it."""
    claimed = [one for one in found if one.personal]
    return tuple(
        _also(check, list(spread(trial, claimed, seed))) if claimed and check.name == LOTTERY else check
        for check in looked
    )


def spread(trial: Trial, found: Sequence[Uplift], seed: int) -> Iterator[tuple[str, float]]:
    """(column or value of one, p) of all, Bonferroni over all that is looked at: whether its products with
    the splits of `found` differ between arms of a lottery."""
    splits = [split for one in found for split in _splits(trial, one, seed)]
    columns = zip(trial.names, trial.matrix.T, strict=True)
    tests = [
        (name, moment * split) for name, values in columns for moment in moments(values) for split in splits
    ]
    for name, moment in tests:
        yield name, min(1.0, len(tests) * by_the_lot(trial, moment))


def _splits(trial: Trial, found: Uplift, seed: int) -> list[Numbers]:
    """Of each arm, who is foretold to gain more by it than half of the fold [n]; and who is given it, where
    that is another split."""
    fold, arms = folds(trial, seed), range(len(trial.arms))
    kept = [np.sign(places(found.out_of_fold[:, k - 1], fold) - 0.5) for k in arms if k]
    for k in arms:
        given = (found.chosen == k).astype(np.float64)
        given -= given.mean()
        if np.ptp(given) > 0 and all(_correlated(given, one) < _ALIKE for one in kept):
            kept.append(given)
    return [split for split in kept if np.ptp(split) > 0]


def _correlated(one: Numbers, other: Numbers) -> float:
    return abs(float(np.corrcoef(one, other)[0, 1])) if np.ptp(other) > 0 else 0.0


def _also(check: Check, found: Sequence[tuple[str, float]]) -> Check:
    p = min((p for _, p in found), default=1.0)
    if p >= RARE:
        return check._replace(words=Words(
            f"{check.words.en}; nor by what each customer is foretold to gain ({said(p)})",
            f"{check.words.zh}；按每位客户的预测增益划分后亦然（{said(p)}）",
        ))  # fmt: skip
    level = LEVEL if p < LEVEL else RARE
    columns = listed(sorted((of for of in found if of[1] < level), key=lambda of: of[1]))
    en = (
        "spread otherwise in an arm that was drawn by lot, one way for customers who are foretold to gain by "
        f"it and another way for the rest: {columns}"
    )
    zh = f"在随机分组之间分布不同，且预测有增益的客户与其余客户方向不一：{columns}"
    if p >= LEVEL:
        return Check(LOTTERY, None, doubt(en, zh), doubtful=True)
    return Check(LOTTERY, False, Words(
        f"{en}. They were known only after the decision, so that they hold its effect on some; or the "
        f"propensities are not those of the draw, or rows are missing. {ONLY_IF}",
        f"{zh}。这些列在决策之后才可知（已含其对部分客户的效果）；或倾向得分并非抽取时所用，或有行缺失。{ONLY_IF_ZH}",
    ))  # fmt: skip


def guessed(found: Uplift) -> Uplift:
    """What `fit` says of the same trial where no lots are believed: nothing is claimed."""
    none, nobody = Estimate(0.0, 0.0, 0.0), np.zeros_like(found.chosen)
    return replace(
        found, evidence="prior", best=0, gain=none, instead=none, personal=False, chosen=nobody,
        constant=nobody, over=tuple(Estimate(-one.value, -one.high, -one.low) for one in found.net),
    )  # fmt: skip

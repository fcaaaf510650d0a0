"""Whether a trial can be believed: its sample ratio, columns from after the decision, overlap.

All rest on one fact: with the right propensities, 1{arm = k} / p - 1 has mean 0 for every arm, also when
multiplied with anything that was known before the decision.
"""

from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy.stats import chi2, rankdata
from sklearn.linear_model import LogisticRegression

from features.words import Words
from serving.booster import Rows
from training.uplift import LEAST, Trial
from training.uplift_learners import Bools, Ints, Numbers, Splines

LEVEL = 0.001  # of a false alarm: a check runs on every trial, and stops it
FOLDS = 5
FLOOR = 0.05  # a smaller estimated propensity is no overlap
ENOUGH = 0.9  # of the customers, who could have had any arm: with fewer, an adjustment extrapolates
ROUNDED = 0.05  # propensities that are written in two digits miss their sum of 1 by less
_SUMMED = 12  # arms of which every sum is looked at, at most
_CLIP = 0.01  # of estimated propensities


LOTTERY = Words("columns known before", "决策前已知的列")  # the check that a lottery alone can be put to


class Check(NamedTuple):
    """What was looked at, whether it holds (None: it cannot be told), and what that means."""

    name: Words
    holds: bool | None
    words: Words


def checks(trial: Trial) -> list[Check]:
    """Everything that is looked at, in the order in which it is read."""
    return [sample_ratio(trial), before_decision(trial), overlap(trial)]


def sample_ratio(trial: Trial) -> Check:
    """Whether customers were given the arms as often as the propensities say (chi-square)."""
    name = Words("sample ratio", "样本比例")
    if trial.evidence != "randomised":
        return Check(name, None, Words("no lottery to compare with", "无随机分配可比对"))
    weights = _weights(trial)
    if np.abs(weights.mean(axis=0)).max() < 1e-9:
        return Check(
            name, None,
            Words(
                "shares were taken as found: say what they should be (--share)",
                "比例取自数据本身：请用--share说明应有比例",
            ),
        )  # fmt: skip
    # Constant propensities that do not sum to 1 put every total off by what no lot can explain: no variance.
    off = weights.sum(axis=1) / trial.could.sum(axis=1)
    p = 0.0 if np.ptp(off) < 1e-9 and abs(off.mean()) > ROUNDED else _differ(weights, trial.customer)
    counts = np.bincount(trial.arm, minlength=len(trial.arms))
    found = ", ".join(
        f"{arm} {count:,} ({1 + total / rows:.1%})"
        for arm, count, total, rows in zip(
            trial.arms, counts, weights.sum(axis=0), trial.could.sum(axis=0), strict=True
        )
    )
    wrong = list(_no_lottery(trial))
    if wrong and (p < LEVEL or any(of.certain for of in wrong)):
        en = "; ".join(f"where {' or '.join(of.arms)} could be given, {of.sum}" for of in wrong)
        zh = "；".join(f"可给予{'、'.join(of.arms)}时，{of.sum}" for of in wrong)
        return Check(
            name, False,
            Words(
                f"propensities that no lottery has, as they do not sum to 1: {en}. Give the chance with "
                "which each was drawn among what could be given there",
                f"倾向概率之和不为1，不可能来自随机分配：{zh}。请填写在当时可选的各项中实际抽取的概率",
            ),
        )  # fmt: skip
    if p >= LEVEL:
        return Check(name, True, Words(f"as assigned (p = {p:.2g})", f"与分配一致（p = {p:.2g}）"))
    return Check(
        name, False,
        Words(
            f"sample ratio mismatch (p = {p:.1g}): rows against what the propensities promise: {found}. "
            "Rows were lost or added after the lottery, or the propensities are not those that it used: "
            "find out before anything else",
            f"样本比例不符（p = {p:.1g}）：实际行数与倾向概率的承诺之比：{found}。"
            "随机分配后有行丢失或增加，或倾向概率不是实际所用：请先查明原因",
        ),
    )  # fmt: skip


class _NoLottery(NamedTuple):
    """Arms that could be given where their propensities do not sum to 1; the sum as text. certain: it shows
    without a look at how often they were given."""

    arms: list[str]
    sum: str
    certain: bool


def _no_lottery(trial: Trial) -> Iterator[_NoLottery]:
    """Of rows that could have had the same arms, each of one propensity, where these do not sum to 1.

    If they were a lottery's that differs by row, each row would have an arm with another propensity than the
    one that is seen, and none was ever drawn: it is certain where that is less likely than LEVEL.
    """
    sets, which = np.unique(trial.could, axis=0, return_inverse=True)
    for number, could in enumerate(sets):
        rows, arms = which.ravel() == number, np.flatnonzero(could)
        seen = [np.unique(trial.given[rows & (trial.arm == k)].round(9)) for k in arms]
        chances = [float(of[0]) for of in seen if len(of) == 1]
        if len(chances) < len(arms) or len(arms) > _SUMMED or abs(sum(chances) - 1) <= ROUNDED:
            continue
        some = (sum(of) for size in range(1, len(arms)) for of in combinations(chances, size))
        most = max((of for of in some if of <= 1), default=0.0)
        terms = " + ".join(f"{chance:.3g}" for chance in chances)
        certain = most ** len(np.unique(trial.customer[rows])) < LEVEL
        yield _NoLottery([trial.arms[k] for k in arms], f"{terms} = {sum(chances):.3g}", certain)


def before_decision(trial: Trial) -> Check:
    """Whether any column differs between arms that were drawn by lot: then it is from after the decision."""
    name = LOTTERY
    if trial.evidence != "randomised":
        return Check(name, None, Words("cannot be told without a lottery", "无随机分配，无法判断"))
    found = list(post_treatment(trial))
    if not found:
        shown = f"{len(trial.names)}"
        return Check(
            name, True, Words(f"none of {shown} columns differs between arms", f"{shown}列在各组间均无差异")
        )
    listed = ", ".join(f"{column} (p = {p:.1g})" for column, p in found[:5])
    more = len(found) - 5
    listed += f" + {more}" if more > 0 else ""
    return Check(
        name, False,
        Words(
            f"differ between arms that were drawn by lot: {listed}. They were known only after the decision, "
            "so that they hold its effect, or the lottery was not one. Leave such columns out (--ignore)",
            f"在随机分组之间存在差异：{listed}。这些列在决策之后才可知（已含其效果），或分组并非随机。"
            "请用--ignore排除",
        ),
    )  # fmt: skip


def post_treatment(trial: Trial) -> Iterator[tuple[str, float]]:
    """(column, p) of each whose values, or whose being known, differ between the arms of a lottery.

    By ranks, so that no outlier hides a difference; Bonferroni over the columns.
    """
    weights = _weights(trial)
    for name, values in zip(trial.names, trial.matrix.T, strict=True):
        null = np.isnan(values)
        ranks = np.zeros(len(values))
        if (~null).any():
            ranks[~null] = rankdata(values[~null])
            ranks[~null] -= ranks[~null].mean()
        moments = [ranks, null - null.mean()]
        tests = [
            _differ(weights * moment[:, None], trial.customer) for moment in moments if np.ptp(moment) > 0
        ]
        p = min(1.0, len(tests) * min(tests, default=1.0))
        if p < LEVEL / len(trial.names):
            yield name, p


def overlap(trial: Trial) -> Check:
    """Whether each arm's customers stand for all: by the effective sample size, (sum w)^2 / sum w^2."""
    sizes = effective(trial)
    least = float(trial.given.min())
    told = ", ".join(f"{arm} {size:,.0f}" for arm, size in zip(trial.arms, sizes, strict=True))
    words = Words(
        f"effective customers: {told}; smallest propensity given {least:.3f}",
        f"有效样本量：{told}；实际给出的最小倾向概率 {least:.3f}",
    )
    holds = bool(sizes.min() >= LEAST)
    if trial.evidence == "prior":
        return Check(
            Words("overlap", "重叠"), False,
            Words(
                f"too little: who got what was nearly decided by the columns. {words.en}",
                f"不足：列几乎决定了谁得到什么。{words.zh}",
            ),
        )  # fmt: skip
    return Check(Words("overlap", "重叠"), holds, words)


def effective(trial: Trial) -> Numbers:
    """Each arm's effective sample size in customers, [K]; the control's beside the arm where it is least."""

    def size(rows: Bools) -> float:
        sums = np.bincount(trial.customer[rows], 1 / trial.given[rows])
        return float(sums.sum() ** 2 / (sums @ sums)) if len(sums) else 0.0

    arms, could = range(1, len(trial.arms)), trial.could
    control = min(size(could[:, k] & (trial.arm == 0)) for k in arms)
    return np.array([control, *(size(trial.arm == k) for k in arms)])


def estimated(matrix: Rows, arm: Ints, arms: int, seed: int) -> tuple[Numbers, float]:
    """(propensity of the arm given [n], share of customers who could have had any arm).

    By a cross-fitted logistic regression on splines. It knows only what the columns know: what else decided
    who got what stays in the effect.
    """
    design = Splines(matrix, np.arange(matrix.shape[1])).design
    fold = np.random.default_rng(seed).permutation(len(arm)) % FOLDS
    chance = np.zeros((len(arm), arms))
    for part in range(FOLDS):
        out = fold == part
        model = LogisticRegression(C=0.1, max_iter=500).fit(design[~out], arm[~out])
        chance[np.ix_(out, model.classes_)] = model.predict_proba(design[out])
    reached = float((chance.min(axis=1) >= FLOOR).mean())
    return np.clip(chance[np.arange(len(arm)), arm], _CLIP, 1.0), reached


def _weights(trial: Trial) -> Numbers:
    flags = np.eye(len(trial.arms))[trial.arm]
    return np.where(trial.could, flags / trial.given[:, None] - 1, 0.0)


def _differ(columns: Numbers, customer: Ints) -> float:
    """The p-value of all means of [n, m] being 0 (Wald); columns, and a customer's rows, may depend on each
    other."""
    mean = columns.mean(axis=0)
    sums = np.column_stack([np.bincount(customer, column) for column in (columns - mean).T])
    covariance = sums.T @ sums / len(columns) ** 2
    values, basis = np.linalg.eigh(covariance)
    kept: Bools = values > 1e-9 * values.max(initial=0.0)
    if not kept.any():
        return float(np.allclose(mean, 0))
    # What cannot vary must be 0: a fixed sum of weights says nothing.
    along = basis.T @ mean
    return float(chi2.sf((along[kept] ** 2 / values[kept]).sum(), int(kept.sum())))

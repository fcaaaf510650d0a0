"""Whether a trial can be believed: its sample ratio, columns from after the decision, overlap."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from typing import NamedTuple

import numpy as np

from features.describe.say import words
from features.words import Words
from training.uplift_balance import LEVEL, RARE, Check, by_the_lot, said, weights
from training.uplift_columns import before_decision, foretold, left_out, post_treatment
from training.uplift_draw import who_had, with_values
from training.uplift_learners import Bools, Numbers
from training.uplift_overlap import ENOUGH, FLOOR, Told, belied, rare, told_apart
from training.uplift_shift import adjusted_alike
from training.uplift_trial import Trial, columns_of

ROUNDED = 0.05  # propensities that are written in two digits miss their sum of 1 by less
_DECIDED = 0.5  # of the rows, in which columns tell the arm: with more, they may have decided it
# What an arm is lacking for some, as it was found: by how often they got it, or by its propensities.
_LESS = Words(
    "{share} of customers had less than half the chance to get {arm} that their propensities say",
    "{share}的客户得到{arm}的概率不足其倾向概率所示的一半",
)
_BELOW = Words(
    "{share} of customers had a chance below {least} to get {arm}", "{share}的客户得到{arm}的概率低于{least}"
)
_ESTIMATED = Words(
    "{share} of customers had an estimated chance below {least} to get {arm}",
    "{share}的客户得到{arm}的估计概率低于{least}",
)
_SUMMED = 12  # arms of which every sum is looked at, at most


def checks(trial: Trial) -> list[Check]:
    """Everything that is looked at, in the order in which it is read."""
    told = told_apart(trial) if trial.evidence == "randomised" else None
    draw = (who_had(trial), with_values(trial), left_out(trial, told) if told else None)
    return [
        sample_ratio(trial), before_decision(trial, told), *filter(None, draw), foretold(trial),
        adjusted_alike(trial), overlap(trial, told),
    ]  # fmt: skip


def sample_ratio(trial: Trial) -> Check:
    """Whether customers were given the arms as often as the propensities say (chi-square)."""
    name = Words("sample ratio", "样本比例")
    if trial.evidence != "randomised":
        return Check(name, None, Words("no lottery to compare with", "无随机分配可比对"))
    weighted = weights(trial)
    if np.abs(weighted.mean(axis=0)).max() < 1e-9:
        return Check(
            name, None,
            Words(
                "shares were taken as found: say what they should be (--share)",
                "比例取自数据本身：请用--share说明应有比例",
            ),
        )  # fmt: skip
    # Constant propensities that do not sum to 1 put every total off by what no lot can explain: no variance.
    off = weighted.sum(axis=1) / trial.could.sum(axis=1)
    p = 0.0 if np.ptp(off) < 1e-9 and abs(off.mean()) > ROUNDED else by_the_lot(trial, np.ones(len(trial)))
    counts = np.bincount(trial.arm, minlength=len(trial.arms))
    found = ", ".join(
        f"{arm} {count:,} ({1 + total / rows:.1%})"
        for arm, count, total, rows in zip(
            trial.arms, counts, weighted.sum(axis=0), trial.could.sum(axis=0), strict=True
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
        rare = Words("", "") if p >= RARE else Words(
            f", though few lots are as far off: {found}. Look whether rows were lost after the lottery",
            f"，但偏差较为少见：{found}。请检查分配后是否有行丢失",
        )  # fmt: skip
        return Check(
            name, True,
            Words(f"as assigned ({said(p, 2)}){rare.en}", f"与分配一致（{said(p, 2)}）{rare.zh}"),
        )  # fmt: skip
    return Check(
        name, False,
        Words(
            f"sample ratio mismatch ({said(p)}): rows against what the propensities promise: {found}. "
            "Rows were lost or added after the lottery, or the propensities are not those that it used: "
            "find out before anything else",
            f"样本比例不符（{said(p)}）：实际行数与倾向概率的承诺之比：{found}。"
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


def overlap(trial: Trial, told: Told | None = None) -> Check:
    """Whether each arm's customers stand for all: by the effective sample size, (sum w)^2 / sum w^2, and by
    whether everybody could have had each arm and the control. told: of a lottery; else as estimated.

    Everybody could have had the control. So where columns that differ by arm say that some could not, they
    tell what was given and not what could be: then it is judged without them."""
    sizes, name, note = effective(trial), Words("overlap", "重叠"), Words("", "")
    had = _ESTIMATED
    if trial.evidence == "randomised":
        never, note = _without_later(trial, told or told_apart(trial))
        had = _LESS
        if (claimed := belied(trial)).any():
            never = np.maximum(never, claimed)
            note = Words(
                f"{note.en}; told by how seldom they got it, beside what its propensity says",
                f"{note.zh}；依据：其实际得到的比例远低于所声称的倾向概率",
            )
        if (few := rare(trial)).any() and not never.any():
            never, had = few, _BELOW
            note = Words(
                f"{note.en}; told by their propensities below {FLOOR}, and by how few of them got it",
                f"{note.zh}；依据：其倾向概率低于{FLOOR}，且实际得到的人数过少",
            )
        lacking = never > 0
    else:
        never = _below(trial)
        lacking = never > 1 - ENOUGH
    lowest = ", ".join(f"{arm} {chance:.3f}" for arm, chance in zip(trial.arms, _least(trial), strict=True))
    shown = ", ".join(f"{arm} {size:,.0f}" for arm, size in zip(trial.arms, sizes, strict=True))
    by, customers = trial.cluster, Words("customers", "客户")
    if by:
        customers = Words(f"values of {by}", f"{by}取值")
    facts = Words(
        f"effective {customers.en}: {shown}; smallest propensity known: {lowest}",
        f"有效样本量：{shown}；已知的最小倾向概率：{lowest}",
    )
    arms = tuple(np.flatnonzero(lacking).tolist())
    if arms or trial.evidence == "prior":
        lacked = [words(*had, arm=trial.arms[k], share=f"{never[k]:.0%}", least=f"{FLOOR:.0%}") for k in arms]
        en, zh = "; ".join(of.en for of in lacked), "；".join(of.zh for of in lacked)
        mended = Words("", "") if had != _LESS else Words(
            ", or give the chances that were drawn with", "，或填写实际抽取的概率"
        )  # fmt: skip
        return Check(
            name, False,
            Words(
                f"too little: {en or 'who got what was nearly decided by the columns'}{note.en}. Where an "
                "arm is that rare for some, no effect of it on all can be told: leave these customers "
                f"out{mended.en}. {facts.en}",
                f"不足：{zh or '列几乎决定了谁得到什么'}{note.zh}。某方案对部分客户如此少见时，无法得知其对"
                f"所有人的效果：请排除这些客户{mended.zh}。{facts.zh}",
            ),
            arms,
        )  # fmt: skip
    # Clusters are of unlike sizes, which their intervals take into account: so half as many may be effective.
    if sizes.min() < (least := trial.least // (2 if trial.cluster else 1)):
        return Check(name, False, Words(
            f"too few: weighted by their propensities, an arm's {customers.en} are worth fewer than {least}, "
            f"and a few of them decide. Try it on more {customers.en}, or by more even chances. "
            f"{facts.en}{note.en}",
            f"过少：按倾向概率加权后，某一方案的{customers.zh}不足{least}，结果由其中少数决定。"
            f"请扩大试验，或使抽取概率更均匀。{facts.zh}{note.zh}",
        ))  # fmt: skip
    return Check(name, True, Words(facts.en + note.en, facts.zh + note.zh))


def _without_later(trial: Trial, told: Told) -> tuple[Numbers, Words]:
    """(of each arm, the share of customers who could not have had it; what columns that differ by arm do to
    that, in words).

    Where they tell nearly everybody's arm, it was as likely assigned by them as they were written after it:
    then nothing speaks for overlap, whatever the propensities say."""
    never = told.never
    later = [name for name, _ in post_treatment(trial)] if never.any() else []
    if not later:
        return never, Words("", "")
    columns = columns_of(later)
    matrix, listed = trial.matrix.copy(), ", ".join(columns[:5]) + (" …" if len(columns) > 5 else "")
    matrix[:, [trial.names.index(name) for name in later]] = 0.0
    without = told_apart(replace(trial, matrix=matrix)).never
    if never[0] > without[0] and told.decided < _DECIDED:
        return without, Words(
            f", judged without {listed}: columns that differ between arms drawn by lot tell what was given, "
            "not what could be",
            f"，判断时未使用{listed}：随机分组之间存在差异的列说明的是得到了什么，而非可能得到什么",
        )
    return never, Words(
        f", if {listed} {'was' if len(columns) == 1 else 'were'} known before the decision",
        f"，前提是{listed}在决策之前已知",
    )


def _below(trial: Trial) -> Numbers:
    """Of each arm, the share of customers whose estimated propensity is too small, [K]."""
    if trial.chances is None:
        return np.zeros(len(trial.arms))
    found: Numbers = (trial.chances < FLOOR).mean(axis=0)
    return found


def _least(trial: Trial) -> Numbers:
    """Of each arm the smallest propensity that is known, given or not, [K]."""
    if trial.chances is not None:
        return np.asarray(np.where(trial.could, trial.chances, 1.0).min(axis=0), np.float64)
    least = np.array([trial.given[trial.arm == k].min() for k in range(len(trial.arms))])
    if len(trial.arms) == 2 and trial.possible is None:  # what one has not, the other has
        least = np.minimum(least, [1 - trial.given[trial.arm == k].max() for k in (1, 0)])
    return least


def effective(trial: Trial) -> Numbers:
    """Each arm's effective sample size in customers, [K]; the control's beside the arm where it is least."""

    def size(rows: Bools) -> float:
        sums = np.bincount(trial.customer[rows], 1 / trial.given[rows])
        return float(sums.sum() ** 2 / (sums @ sums)) if len(sums) else 0.0

    arms, could = range(1, len(trial.arms)), trial.could
    control = min(size(could[:, k] & (trial.arm == 0)) for k in arms)
    return np.array([control, *(size(trial.arm == k) for k in arms)])

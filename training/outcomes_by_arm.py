"""Of which actions outcomes are missing: what is missing of one more than of another biases whatever compares
them.

A decision lacks its outcome if it is not final yet, or if an order within its window was told only after it
had matured, and so counts for nothing. That nothing was told of it is a zero, and no gap; unless nothing ever
was of an action, of which others' rate lets some be due. What each is tested by is told with its p-value.
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import MonteCarloMethod, chi2_contingency

from features.describe.say import words
from features.words import Words
from training.logged import Logged
from training.uplift_balance import LEVEL, alike, said
from training.uplift_learners import Bools

_DRAWS = 9_999


class OfArm(NamedTuple):
    """Decisions about an action, the holdout's apart: all, those not final yet, those final of which an order
    counts, and those of which one was told too late."""

    action: str
    decisions: int
    young: int
    ordered: int
    late: int


def by_arm(logged: Logged) -> list[OfArm]:
    """Of each action that was decided, the first first."""
    late, ordered, found = _late(logged), _ordered(logged), []
    for k, name in enumerate(logged.actions):
        own = (logged.action == k) & ~logged.holdout
        if own.any():
            counts = (int((own & of).sum()) for of in (~logged.mature, ordered, late))
            found.append(OfArm(name, int(own.sum()), *counts))
    return found


def unlike(logged: Logged) -> list[Words]:
    """Why what is final does not compare the actions: outcomes that are missing of them unlike."""
    return [*_young_unlike(logged), *(_late_unlike(logged) if logged.source == "reported" else ())]


def silent(logged: Logged) -> list[Words]:
    """Actions of which no outcome was ever told, though the rate of the others makes that incredible."""
    if logged.source != "reported":
        return []
    came, final, found = _ordered(logged), logged.mature & ~logged.holdout, []
    for k, name in enumerate(logged.actions[1:], start=1):  # of "nothing": `reported_of_all`
        own, others = final & (logged.action == k), final & (logged.action != k)
        rate = float(came[others].mean()) if others.any() else 0.0
        if own.any() and not came[own].any() and (p := (1 - rate) ** int(own.sum())) < LEVEL:
            found.append(words(
                "No order was told of {n} final decisions for {action}, of {rate} of the others "
                "(binomial, {p}): tell the outcomes of every decision, or use the log (--outcomes log)",
                "{action}的{n}次已成熟决策没有任何订单上报，而其他决策中有{rate}（二项检验，{p}）："
                "请上报每次决策的结果，或改用客户日志（--outcomes log）",
                n=f"{int(own.sum()):,}", action=name, rate=f"{rate:.1%}", p=said(p),
            ))  # fmt: skip
    return found


def _young_unlike(logged: Logged) -> list[Words]:
    """By the lots: when it was decided is no reason, as each decision's own chances say what was due then."""
    of = logged.part(~logged.holdout)
    none = ~of.mature
    if none.all() or not none.any():
        return []
    moment, could = none - none.mean(), of.chances > 0
    flags = np.eye(len(of.actions))[of.action]
    weighted = np.where(could, flags / of.given[:, None] - 1, 0.0) * moment[:, None]
    p = alike(weighted, np.where(could, moment[:, None], 0.0), of.chances, of.customer)
    if p >= LEVEL:
        return []
    shares = [(one.action, one.young, one.decisions) for one in by_arm(logged)]
    return [words(
        "Actions have decisions that are not final unlike, by more than their logged chances explain (Wald, "
        "{p}): {shares}. So the chances are not those of what was done, or some decisions mature later than "
        "others. Find out why; until then judge a time of which all are final (--since)",
        "各行动中未成熟决策的比例之差超出其记录概率所能解释的范围（Wald检验，{p}）：{shares}。"
        "说明记录的概率与实际不符，或部分决策成熟较晚。请查明原因；在此之前仅评估全部成熟的时段（--since）",
        p=said(p), shares=_shares(shares),
    )]  # fmt: skip


def _late_unlike(logged: Logged) -> list[Words]:
    """Among decisions with an order, so that an action that brings more orders is not taken to tell later."""
    late = _late(logged) & ~logged.holdout
    had = late | (_ordered(logged) & ~logged.holdout)
    arms = [k for k in range(len(logged.actions)) if (had & (logged.action == k)).any()]
    counts = [[int((of & had & (logged.action == k)).sum()) for of in (~late, late)] for k in arms]
    if len(arms) < 2 or not late.any() or late[had].all():
        return []
    drawn = MonteCarloMethod(n_resamples=_DRAWS, rng=np.random.default_rng(0))
    p = float(chi2_contingency(counts, correction=False, method=drawn).pvalue)
    if p >= LEVEL:
        return []
    shares = [(logged.actions[k], many, few + many) for k, (few, many) in zip(arms, counts, strict=True)]
    return [words(
        "Orders were told too late to count unlike by action, more than chance explains (chi-squared by "
        "permutation, {p}): {shares} of the decisions with an order. Tell them all in time, or take them "
        "from the customer log (--outcomes log)",
        "各行动中因上报过晚而未计入的订单比例之差超出随机误差（置换卡方检验，{p}）：有订单的决策中{shares}。"
        "请及时上报全部订单，或改用客户日志（--outcomes log）",
        p=said(p), shares=_shares(shares),
    )]  # fmt: skip


def _shares(of: list[tuple[str, int, int]]) -> Words:
    return Words(
        ", ".join(f"{some:,} of {all:,} ({some / all:.1%}) of {name}" for name, some, all in of),
        "、".join(f"{name}{all:,}次中{some:,}次（{some / all:.1%}）" for name, some, all in of),
    )


def _ordered(logged: Logged) -> Bools:
    return np.asarray(np.nan_to_num(logged.outcomes["retention"]) != 0)


def _late(logged: Logged) -> Bools:
    of = logged.uncounted.late if logged.source == "reported" else frozenset[str]()
    return np.array([id in of for id in logged.ids], np.bool_)

"""The trial that the ledger holds: each action against "nothing", on the decisions where both could be drawn.

What could be drawn differs by decision: eligibility, consent, limits and pauses decide it, and the ledger
keeps the chances that were left. So each action is compared on its own decisions, all of them, whatever was
drawn: `uplift` says how, and why not on pairs. Actions that were drawn too seldom are left out with their
decisions, and the others' chances are those among what is left; so the chances stay exact.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from features.describe.say import words
from features.errors import NotEnoughData, UsageError
from features.words import Words
from serving.effects import EVIDENCE
from training.counted import late_words
from training.logged import Logged
from training.uplift_balance import LOTS, Check
from training.uplift_learners import Ints, Numbers
from training.uplift_overlap import ENOUGH, estimated
from training.uplift_trial import LEAST, Trial

GOALS = ("margin", "retention", "opt_out")  # the first one decides the policy


class LoggedTrial(NamedTuple):
    """A trial of the ledger. rows: which decisions it holds. costs: of an arm, its mean. reach: share of the
    customers who could have had any arm, where propensities were estimated, else None. left: what is not in
    it, and why. few: that lots were drawn, and too few of them to learn from.
    """

    trial: Trial
    rows: Ints
    costs: Mapping[str, float]
    reach: float | None
    left: tuple[Words, ...]
    few: Check | None = None


def trial_of_ledger(logged: Logged, arms: Sequence[str] = (), seed: int = 1) -> LoggedTrial:
    """Compare actions by logged lots; without lots, by estimated propensities, and then nothing is claimed.

    arms: names of actions; by default all that were drawn often enough where "nothing" could be too. Whom the
    holdout keeps from marketing is in no lottery. NotEnoughData, UsageError for a name that is no action.
    """
    if unknown := set(arms) - set(logged.actions):
        raise UsageError(
            f"no decision knows {', '.join(sorted(unknown))}: it knows {', '.join(logged.actions)}"
        )
    usable = logged.mature & ~logged.holdout
    wanted = [logged.actions.index(name) for name in arms if name != "nothing"]
    drawn = [k for k in range(1, len(logged.actions)) if _enough(logged, _lottery(logged, usable, [0, k]), k)]
    chosen = [k for k in wanted or drawn if k in drawn]
    if chosen and len(chosen) >= len(wanted):
        places = np.array([0, *sorted(chosen)])
        rows = _lottery(logged, usable, places.tolist())
        left = _left_out(logged, places.tolist(), rows, bool(wanted))
        of_these = logged.chances[rows][:, places]
        given = logged.given[rows] / of_these.sum(axis=1)
        trial = _trial(logged, rows, places, given, "randomised")
        trial = replace(trial, chances=of_these / of_these.sum(axis=1, keepdims=True))
        return LoggedTrial(trial, np.flatnonzero(rows), _costs(logged, rows, places), None, tuple(left))
    chosen = wanted or [
        k for k in range(1, len(logged.actions)) if _customers(logged, usable & (logged.action == k)) >= LEAST
    ]
    places = np.array([0, *sorted(chosen)])
    rows = usable & np.isin(logged.action, places)
    if not chosen or min(_customers(logged, rows & (logged.action == k)) for k in places) < LEAST:
        counts = ", ".join(
            f"{name} {int((usable & (logged.action == k)).sum())}" for k, name in enumerate(logged.actions)
        )
        raise NotEnoughData(
            f"of {len(logged)} decisions, {int(usable.sum())} have a final outcome and are not held out "
            f"({counts}): two actions of {LEAST} customers each are needed. "
            "Wait, explore more, or tell outcomes"
        )
    where = np.searchsorted(places, logged.action[rows])
    chances, reach = estimated(logged.matrix[rows], where, len(places), seed)
    evidence: EVIDENCE = "observational" if reach >= ENOUGH else "prior"
    trial = replace(
        _trial(logged, rows, places, chances[np.arange(len(where)), where], evidence), chances=chances
    )
    costs = _costs(logged, rows, places)
    return LoggedTrial(trial, np.flatnonzero(rows), costs, reach, (), _too_few(logged, usable))


def reported_of_all(logged: Logged) -> Check:
    """Whether outcomes were told of what was left alone too: else contacts seem to have brought them all."""
    name = Words("outcomes of all decisions alike", "所有决策均有结果上报")
    final, none = logged.mature, logged.action == 0
    came = (np.nan_to_num(logged.outcomes["margin"]) != 0) | (
        np.nan_to_num(logged.outcomes["retention"]) != 0
    )
    quiet, loud = final & none, final & ~none
    if logged.source == "log" or not quiet.any() or not loud.any():
        return Check(name, None if logged.source != "log" else True, Words(
            "taken from the customer log for everyone" if logged.source == "log" else "cannot be told",
            "取自客户日志，对所有人一致" if logged.source == "log" else "无法判断",
        ))  # fmt: skip
    rate = came[loud].mean()
    unlikely = came[quiet].sum() == 0 and (1 - rate) ** int(quiet.sum()) < 1e-3
    if not unlikely:
        return Check(name, True, Words(
            f"told of {came[quiet].mean():.1%} where nothing was done, of {rate:.1%} of contacts",
            f"未采取行动的决策中{came[quiet].mean():.1%}有结果，触达中{rate:.1%}有结果",
        ))  # fmt: skip
    return Check(name, False, Words(
        f"none was told of {int(quiet.sum()):,} decisions for nothing, but of {rate:.1%} of contacts: a sale "
        "without a contact is a sale too. Tell outcomes of every decision, or use the log (--outcomes log)",
        f"{int(quiet.sum()):,}次“不采取行动”的决策没有任何结果上报，而触达中有{rate:.1%}：没有触达时的成交同样是成交。"
        "请上报每次决策的结果，或改用客户日志（--outcomes log）",
    ))  # fmt: skip


def _lottery(logged: Logged, usable: np.ndarray, places: Sequence[int]) -> np.ndarray:
    """Decisions for one of these actions, at which "nothing" and another of them could have been drawn."""
    left = logged.chances[:, list(places)] > 0
    lots = usable & (logged.given < 1) & left[:, 0] & left[:, 1:].any(axis=1)
    return np.asarray(lots & np.isin(logged.action, places))


def _enough(logged: Logged, rows: np.ndarray, action: int) -> bool:
    """Whether enough customers got the action, and enough nothing."""
    return all(_customers(logged, rows & (logged.action == k)) >= LEAST for k in (0, action))


def _customers(logged: Logged, rows: np.ndarray) -> int:
    return len(np.unique(logged.customer[rows]))


def _too_few(logged: Logged, usable: np.ndarray) -> Check | None:
    """Of a ledger whose lots do not do: how many there were; None if none was drawn."""
    lots = _lottery(logged, usable, range(len(logged.actions)))
    lots = lots if logged.explored is None else lots & logged.explored
    if not lots.any():
        return None
    return Check(LOTS, None, words(
        "{n} of {all} decisions with a final outcome were drawn by lot, too few to learn from: at least "
        "{least} customers each of nothing and of an action are needed. So propensities were estimated for "
        "all of them",
        "{all}次结果成熟的决策中有{n}次为随机抽取，数量不足以学习：不采取行动与某一行动各需至少{least}位客户。"
        "因此所有决策均使用估计的倾向概率",
        n=int(lots.sum()), all=int(usable.sum()), least=LEAST,
    ))  # fmt: skip


def _left_out(logged: Logged, places: Sequence[int], rows: np.ndarray, wanted: bool) -> list[Words]:
    left = []
    others = [name for k, name in enumerate(logged.actions) if k not in places]
    if others and not wanted:
        shown = ", ".join(others)
        left.append(Words(
            f"not compared, too seldom drawn where nothing could have been drawn too: {shown}",
            f"未比较（可与不采取行动一并抽取的次数过少）：{shown}",
        ))  # fmt: skip
    final = logged.mature & ~logged.holdout
    alone = int((final & (logged.given >= 1)).sum())
    if alone:
        left.append(Words(
            f"{alone:,} decisions left nothing to chance",
            f"{alone:,}次决策未留随机性",
        ))  # fmt: skip
    unlike = int((final & ~rows).sum()) - alone
    if unlike:
        left.append(Words(
            f"{unlike:,} decisions were for actions that are not compared, or could not be for nothing",
            f"{unlike:,}次决策选择了未比较的行动，或不可能不采取行动",
        ))  # fmt: skip
    young = int((~logged.mature).sum())
    if young:
        left.append(Words(
            f"{young:,} decisions are not mature: their outcome is not known, and is no zero",
            f"{young:,}次决策尚未成熟：结果未知，不按零计",
        ))  # fmt: skip
    if (late := late_words(logged)) is not None:
        left.append(words("orders that count for nothing: {late}", "未计入的订单：{late}", late=late))
    held = int(logged.holdout.sum())
    if held:
        left.append(Words(
            f"{held:,} decisions about the holdout: nothing was drawn for them",
            f"{held:,}次对照组决策：未参与抽取",
        ))  # fmt: skip
    if logged.erased:
        left.append(Words(f"{logged.erased:,} were erased", f"{logged.erased:,}次已被删除"))
    return left


def _trial(logged: Logged, rows: np.ndarray, places: np.ndarray, given: Numbers, evidence: EVIDENCE) -> Trial:
    matrix = logged.matrix[rows]
    varies = np.array([len(np.unique(column[~np.isnan(column)])) > 1 for column in matrix.T], np.bool_)
    names = tuple(name for name, keep in zip(logged.features, varies, strict=True) if keep)
    if not names:
        raise NotEnoughData("no feature differs between these customers: there is nothing to choose by")
    goals = {name: logged.outcomes[name][rows] for name in GOALS if name in logged.outcomes}
    customer = np.unique(logged.customer[rows], return_inverse=True)[1].astype(np.int64)
    return Trial(
        np.ascontiguousarray(matrix[:, varies]), names, tuple(logged.actions[k] for k in places),
        np.searchsorted(places, logged.action[rows]).astype(np.int64), np.minimum(given, 1.0), goals,
        customer, evidence,
        possible=logged.chances[rows][:, places] > 0 if evidence == "randomised" else None,
    )  # fmt: skip


def _costs(logged: Logged, rows: np.ndarray, places: np.ndarray) -> dict[str, float]:
    return {logged.actions[k]: float(logged.cost[rows & (logged.action == k)].mean()) for k in places if k}

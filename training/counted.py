"""Which outcomes count: where none does, there is nothing to compare, and a zero is no figure."""

import numpy as np

from features.describe.say import words
from features.errors import NotEnoughData
from features.words import Words
from training.logged import Logged

_DO = Words(
    "Tell outcomes while they count (POST /v1/outcomes), or take them from the customer log (--outcomes log)",
    "请在计入期限内上报结果（POST /v1/outcomes），或改用客户日志（--outcomes log）",
)
_DO_LOG = Words(
    "See that the log names customers as decisions do and is complete for these windows, or tell outcomes by "
    "decision (POST /v1/outcomes)",
    "请确认日志与决策使用相同的客户标识且覆盖这些窗口，或按决策上报结果（POST /v1/outcomes）",
)


def none_counts(logged: Logged) -> Words | None:
    """That no order counts of any decision whose outcome is final, why, and what to do; None if one does, or
    if nothing is final yet."""
    final = logged.mature & ~logged.holdout
    if not final.any() or (np.nan_to_num(logged.outcomes["retention"][final]) != 0).any():
        return None
    log, late = logged.source == "log", _late(logged)
    why = late or Words("none was told of them", "未上报任何订单")
    if log:
        why = Words("the customer log has none in their windows", "客户日志在其窗口内没有订单")
        if late:
            why = words("{why}, and of those told by decision {late}", "{why}，而按决策上报的订单中{late}",
                        why=why, late=late)  # fmt: skip
    return words(
        "No outcome counted: {n} final decisions have no order, because {why}. {do}",
        "没有任何结果计入：{n}次已成熟的决策均无订单，因为{why}。{do}",
        n=int(final.sum()), why=why, do=_DO_LOG if log else _DO,
    )  # fmt: skip


def late_words(logged: Logged) -> Words | None:
    """How many orders were told in vain, and why; None if none, or if outcomes are those of the log."""
    return None if logged.source == "log" else _late(logged)


def _late(logged: Logged) -> Words | None:
    late = logged.uncounted
    if not late.after_maturity + late.after_window:
        return None
    parts = [
        (late.after_maturity, "after their decision had matured", "在决策成熟之后才上报"),
        (late.after_window, "though they came after their decision's window", "发生在决策窗口之后"),
    ]
    said = [(f"{n:,} were told {en}", f"{n:,}笔{zh}") for n, en, zh in parts if n]
    return Words(" and ".join(en for en, _ in said), "、".join(zh for _, zh in said))


def required(logged: Logged) -> None:
    """NotEnoughData where no outcome counts, with the reason and the remedy."""
    if (why := none_counts(logged)) is not None:
        raise NotEnoughData(why.en)
    late = _late(logged)
    if logged.source == "log" and late is not None and not logged.mature.any():
        raise NotEnoughData(
            f"No outcome counted: of the orders told by decision {late.en}, and the customer log is not "
            f"complete until any of these decisions matures. {_DO.en}"
        )

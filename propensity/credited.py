"""Attribution beside the truth: what the lots of decisions say of each channel, and the holdout of all."""

from __future__ import annotations

from typing import Any

import numpy as np

from features.describe.say import words
from features.describe.sheets import Sheet
from features.errors import LogError
from features.moments import to_us
from features.settings import Settings
from features.words import Words
from monitoring.today import Held
from propensity.held_out import matured
from training import attribution, roi
from training.logged import Logged
from training.sequential import Difference

_HEAD = (
    Words("channel", "渠道"), Words("removal effect", "移除效应"), Words("orders credited", "归因订单"),
    Words("ordered because of it", "因其而下单"), Words("by the holdout", "对照组所示"),
)  # fmt: skip
_NOTE = Words(
    "Attribution (Markov chain) divides all orders of those to whom something was sent, also those that "
    "would have come anyway; not by messages that are owed for service. What a channel caused is in the last "
    "but one column, by the lots: decide by it.",
    "归因（马尔可夫链）会分配已触达客户的全部订单，包括本来就会发生的；应尽的服务消息不参与分配。"
    "渠道真正带来的见倒数第二列（依据随机抽取），请据此决策。",
)
_BESIDE = Words(
    "The last row is of one window, the last that is final: attribution and the lots count the decisions "
    "taken in it, each until its own end; the holdout says how many more customers ordered in it than would "
    "have without marketing. It is left alone on all channels, so it tells of all together. 95 %; look "
    "{look} at the holdout.",
    "最后一行仅含最近一个成熟的窗口：归因与随机抽取按该窗口内的决策（至各自的结果期末）计客户数；"
    "“对照组所示”为该窗口内相对无营销多出的下单客户。对照组在所有渠道均不触达，故只反映全部渠道合计。"
    "95%区间；对照组的第{look}次查看。",
)
_NOBODY = Words(
    "No customer to whom something is told as sent has a final order yet.",
    "已回报送出的客户尚无结果成熟的订单。",
)


def held_beside(settings: Settings) -> Held:
    """What the holdout proved of the last final window, or why that is not there yet."""
    try:
        return matured(settings)
    except LogError as error:
        return Held(None, Words(f"Nothing is claimed: {error}.", f"不作任何结论：{error}。"))


def credits_sheet(logged: Logged, held: Held, comparable: bool = True) -> Sheet:
    """What attribution credits each channel with, beside what the lots say that it brought; and all channels
    beside the holdout. comparable: whether outcomes compare what was done; else the lots say nothing."""
    rows: list[tuple[Any, ...]] = [
        (of.channel, f"{of.removal:.0%}", f"{of.credited:,.0f}",
         shown(roi.of_channel(logged, of.channel).orders, "+,.0f") if comparable else None, None)
        for of in attribution.markov(attribution.paths(logged))
    ]  # fmt: skip
    found = held.found
    inside = np.zeros(len(logged), np.bool_)
    if found is not None:
        inside = (logged.as_of >= to_us(found.since)) & (logged.as_of < to_us(found.until))
    if found is None:
        note = words("{note} The holdout: {why}", "{note}对照组：{why}", note=_NOTE, why=held.headline)
    elif not inside.any():
        note = words(
            "{note} The holdout: the last window that is final, {a} to {b}, has none of these decisions, so "
            "it says nothing of them.",
            "{note}对照组：最近一个成熟的窗口（{a}至{b}）不含这些决策，无法说明其效果。",
            note=_NOTE, a=f"{found.since:%Y-%m-%d}", b=f"{found.until:%Y-%m-%d}",
        )  # fmt: skip
    elif found.warnings or not found.reached:
        note = words(
            "{note} The holdout, {a} to {b}: {why}", "{note}对照组（{a}至{b}）：{why}", note=_NOTE,
            why=held.headline, a=f"{found.since:%Y-%m-%d}", b=f"{found.until:%Y-%m-%d}",
        )  # fmt: skip
        for warning in found.warnings:
            note = Words(f"{note.en} {warning.en}.", f"{note.zh}{warning.zh}。")
    else:
        own, rate = logged.part(inside), found.effects[0]
        credited = sum(ordered for _, ordered in attribution.paths(own))
        all_of_them = words(
            "all, {a} to {b}", "全部，{a}至{b}", a=f"{found.since:%Y-%m-%d}", b=f"{found.until:%Y-%m-%d}"
        )
        more = Difference(*(end * rate.treated.n for end in vars(rate.difference).values()))
        lots = roi.of_all(own).orders if len(own) and comparable else None
        rows.append((all_of_them, None, f"{credited:,.0f}", shown(lots, "+,.0f"), shown(more, "+,.0f")))
        said = [words(_BESIDE.en, _BESIDE.zh, look=found.look)]
        said += [Words(f"{of.en}.", f"{of.zh}。") for of in [found.told_exposed] if of is not None]
        note = Words(" ".join([_NOTE.en, *(of.en for of in said)]), _NOTE.zh + "".join(of.zh for of in said))
    title = Words("Attribution, beside the truth", "归因与真实效果对照")
    return Sheet(title, _HEAD, tuple(rows), right=(1, 2, 3, 4), note=note, empty=_NOBODY)


def shown(of: Difference | None, form: str) -> str | None:
    """Value and interval: `+12 [+3 +21]`."""
    if of is None:
        return None
    value, low, high = (format(end, form) for end in (of.value, of.low, of.high))
    return f"{value} [{low} {high}]"

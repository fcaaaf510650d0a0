"""The part of a model's page on contacts: what they were taken to do, and the level with and without them."""

from collections.abc import Mapping, Sequence
from math import exp
from typing import Any

from features.pages import Html, paragraph, section, table
from features.words import Words
from serving.cards import ModelCard
from training.describe import CALIBRATIONS, KINDS
from training.judged import LEVEL, NOT_JUDGED, level_cells


def contacts(card: ModelCard) -> Html:
    """What was chosen at each moment, what contacts were taken to do, and the level with and without them."""
    origins: Sequence[Mapping[str, Any]] = card.backtest.get("origins", ())
    title = Words("Left alone and contacted", "未触达与已触达客户")
    if not origins:
        return section(title, paragraph(NOT_JUDGED))
    chosen_head = (
        Words("Moment", "时点"), Words("Kind of model", "模型类型"), Words("Calibration", "校准"),
        Words("Effect of contacts", "触达影响"), Words("As odds", "几率倍数"),
    )  # fmt: skip
    chosen = [
        (
            o["moment"][:10], KINDS.get(o["model"], o["model"]),
            CALIBRATIONS.get(o["calibration"], o["calibration"]), f"{o['effect_of_contacts']:+.3f}",
            f"× {exp(o['effect_of_contacts']):.2f}" if o["effect_of_contacts"] else _NOT_ADJUSTED,
        )
        for o in origins
    ]  # fmt: skip
    apart = [
        (o["moment"][:10], words, o[group]["rows"], *level_cells(o[group]))
        for o in origins
        for group, words in _GROUPS.items()
        if group in o
    ]
    head = (Words("Moment", "时点"), Words("Customers", "客户"), Words("Rows", "行数"), *LEVEL)
    return section(
        title,
        table(chosen_head, chosen, right=(3, 4)),
        *_over_all(card),
        table(head, apart, right=range(2, 6)) if apart else "",
        note=""
        if card.backtest.get("contacts") == {}
        else Words(
            "The model speaks of customers whom the shop leaves alone for the horizon. Effect of contacts: "
            "by how much a contact within the horizon goes with another outcome, in log-odds, beside all "
            "features; it is taken out. Contacts that were not drawn by lot prove no effect: whoever was "
            "chosen for them may differ. So the level of the contacted may be off, and that of those left "
            "alone is what counts.",
            "模型预测的是商家在预测期内不触达的客户。触达影响：控制全部特征后，预测期内的触达与结果变化的关联"
            "（对数几率），已从预测中剔除。非随机触达不能证明效果：被选中的客户可能本来就不同。"
            "因此已触达客户的水平可能有偏差，应以未触达客户为准。",
        ),
    )


SURE = 2.0  # standard errors, as for every level
_GROUPS = {
    "untreated": Words("left alone", "未触达"),
    "held_out": Words("of them the policy's holdout", "其中策略对照组"),
    "treated": Words("contacted", "已触达"),
}
_AMONG = {
    "untreated": Words("customers left alone", "未触达客户"),
    "held_out": Words("those of them whom the policy held out", "其中策略对照组"),
    "treated": Words("customers contacted", "已触达客户"),
}


def _over_all(card: ModelCard) -> list[Html]:
    """Observed over expected of each group over all moments, and whether there is a holdout to trust."""
    groups = card.backtest.get("contacts")
    if groups is None:  # a card of old
        return []
    rows = [
        (
            words,
            groups[name]["rows"],
            f"{groups[name]['observed_over_expected']:.3f}",
            f"{groups[name]['z']:+.2f}",
        )
        for name, words in _GROUPS.items()
        if name in groups
    ]
    head = (Words("Over all moments", "全部时点"), Words("Rows", "行数"), *LEVEL[:2])
    told = [paragraph(words) for words in (came_true(groups), holdout(groups)) if words]
    return [*([table(head, rows, right=range(1, 4))] if rows else []), *told]


def came_true(groups: Mapping[str, Any]) -> Words | None:
    """How often it came true of the left alone and of the contacted, for every 100 that the model expected,
    and what that means for reading a score. None if nobody was contacted."""
    if "treated" not in groups:
        return None
    told = [
        (words, f"{groups[name]['observed_over_expected'] * 100:.0f}", groups[name]["z"])
        for name, words in _AMONG.items()
        if name in groups
    ]
    en = ", ".join(f"{n} times among {w.en} (z {z:+.1f}{_chance(z).en})" for w, n, z in told)
    zh = "，".join(f"{w.zh}{n}次（z {z:+.1f}{_chance(z).zh}）" for w, n, z in told)
    said = Words(
        f"For every 100 times that the model expected it, it came true {en}.",
        f"模型每预期100次，实际发生：{zh}。",
    )
    contacted = groups["treated"]
    if abs(contacted["z"]) <= SURE:
        return said
    way = Words("high", "高") if contacted["observed_over_expected"] < 1 else Words("low", "低")
    return Words(
        f"{said.en} The model speaks of customers whom the shop leaves alone: of one whom it contacts all "
        f"the same, the probability reads too {way.en}. What the contacts themselves changed, this does not "
        "tell.",
        f"{said.zh}模型预测的是商家不触达的客户：对仍会被触达的客户，其概率偏{way.zh}。"
        "这并不说明触达本身改变了什么。",
    )


def _chance(z: float) -> Words:
    """Whether it is within chance."""
    return Words("", "") if abs(z) > SURE else Words(", within chance", "，在偶然范围内")


def holdout(groups: Mapping[str, Any]) -> Words:
    """What the groups of `backtest.contacts` may be taken for; without groups, nobody was told apart."""
    if not groups:
        return Words(
            "Contacts are not taken out of this target: they are what brings it about, so the model speaks "
            "of customers as the shop contacts them.",
            "此目标未剔除触达的影响：触达正是其起因，因此模型预测的是按商家现行方式触达的客户。",
        )
    if "treated" not in groups:
        return Words(
            "Nobody is known to have been contacted: the log has no contacts within these horizons.",
            "没有触达记录：日志中这些预测期内没有触达。",
        )
    if "held_out" not in groups:
        return Words(
            "There is no holdout in this log: no policy left some customers alone by lot, so those left "
            "alone are those whom somebody chose not to contact.",
            "此日志中没有对照组：没有按策略随机保留不触达的客户，未触达者是被人为选择不触达的客户。",
        )
    return Words(
        "The holdout was left alone by lot: its level is the one to trust.",
        "对照组随机产生且未被触达：其概率水平最可信。",
    )


_NOT_ADJUSTED = Words("not adjusted for", "未作调整")

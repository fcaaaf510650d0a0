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
        note=Words(
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


_GROUPS = {
    "untreated": Words("left alone", "未触达"),
    "held_out": Words("of them the policy's holdout", "其中策略对照组"),
    "treated": Words("contacted", "已触达"),
}


def _over_all(card: ModelCard) -> list[Html]:
    """Observed over expected of each group over all moments, and whether there is a holdout to trust."""
    groups = card.backtest.get("contacts")
    if not groups:
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
    return [table(head, rows, right=range(1, 4)), paragraph(holdout(groups))]


def holdout(groups: Mapping[str, Any]) -> Words:
    """What the groups of `backtest.contacts` may be taken for."""
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

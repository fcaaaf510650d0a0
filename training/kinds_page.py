"""What a card's page says otherwise of a model of no target: what it is made of, of whom, its first figures.

To add a kind's, add it to TOLD.
"""

from collections.abc import Mapping
from typing import NamedTuple

from features.words import Words
from serving import effects, prices, rulebook, segmentation, value
from serving.cards import ModelCard


class Told(NamedTuple):
    """Of a kind of model, in words.

    kind: what it is made of. populations: whom such may speak of; its card has one of them, in English.
    shares: of whom the card's base rates are the share, when fitted and when judged.
    tiles: caption, figure, and the baseline that it is a gain over; of a figure of its own, none.
    """

    kind: Words
    populations: tuple[Words, ...]
    shares: tuple[Words, Words] | None = None
    tiles: tuple[tuple[Words, str, str | None], ...] = ()


WITH_AN_ORDER = Words("customers with an order", "下过单的客户")
KNOWN = Words("customers known", "已知客户")
OF_THE_LEDGER = Words("customers for whom these actions could be drawn", "可能抽到这些行动的客户")
OF_A_TRIAL = Words("customers of a trial", "试验中的客户")
EVERYBODY = Words("everybody who is decided about", "所有被决策的客户")

_ORDERED_BY_THEN = Words("Had ordered by then", "其中当时已下单")
_ORDERED_IN_TIME = Words("Ordered in the window", "其中在窗口内下单")

TOLD: Mapping[str, Told] = {
    value.KIND: Told(
        kind=Words(
            "BG/NBD and Gamma-Gamma, corrected by small trees", "BG/NBD与Gamma-Gamma，由小型提升树修正"
        ),
        populations=(WITH_AN_ORDER,),
        shares=(
            Words("Had ordered on two days or more by then", "其中当时已有两天及以上下单"),
            Words("Ordered in the days that judge it", "其中在评估期内下单"),
        ),
        tiles=(
            (
                Words("Deviance gained over BG/NBD", "偏差改善（对比BG/NBD）"),
                "poisson_deviance_gain",
                "bgnbd",
            ),
            (Words("Orders that came / expected", "实际订单/预期"), "orders_ratio", None),
            (Words("Had less than their p90", "低于各自p90的客户占比"), "below_p90", None),
            (Words("Ordered by the expected date", "在预计日期前下单"), "came_by_next_order_date", None),
        ),
    ),
    segmentation.KIND: Told(
        kind=Words(
            "declared rules over quantiles and hazards of the log", "基于日志分位数与风险率的声明规则"
        ),
        populations=(KNOWN,),
        shares=(_ORDERED_BY_THEN, _ORDERED_BY_THEN),
        tiles=(
            (
                Words("Moved otherwise than four weeks earlier, on average", "与四周前移动方向不同（平均）"),
                "moved_otherwise",
                None,
            ),
        ),
    ),
    effects.KIND: Told(
        kind=Words("effects of actions, learnt from decisions", "由决策记录学得的行动效果"),
        populations=(OF_THE_LEDGER, OF_A_TRIAL),
        shares=(_ORDERED_IN_TIME, _ORDERED_IN_TIME),
        tiles=((Words("Gained by choosing for each", "逐客户选择带来的提升"), "personal_gain", None),),
    ),
    prices.KIND: Told(Words("prices of budgets and capacities", "预算与容量的影子价格"), (EVERYBODY,)),
    rulebook.KIND: Told(Words("what the shop declares", "商家的声明"), (EVERYBODY,)),
}


def population(card: ModelCard) -> Words | None:
    """Whom the card of a model of no target speaks of, in both languages; None of any other."""
    known = TOLD[card.kind].populations if card.kind in TOLD else ()
    return next((words for words in known if words.en == card.target.population), None)

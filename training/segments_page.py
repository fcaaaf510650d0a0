"""The part of a model's page that says how it does among customers of each kind."""

from collections.abc import Mapping
from typing import Any

from features.pages import Content, Html, code, paragraph, section, table
from features.words import Words
from serving.cards import ModelCard
from training.figures import missed
from training.judged import HOLDS, NOT_JUDGED, OFF, cell


def by_segment(card: ModelCard) -> Html:
    """A row a group of customers, flagged where its level is off; and the gaps between protected groups."""
    title = Words("Customers of each kind", "各类客户")
    if not card.segments:
        return section(title, paragraph(NOT_JUDGED))
    rows = [
        (
            _said(one["words"]), _said(one["group"]),
            one["rows"], f"{one['base_rate']:.1%}", cell(one.get("auc")),
            *(
                (f"{one['observed_over_expected']:.2f}", f"{one['z']:+.1f}", OFF if one["off"] else HOLDS)
                if "z" in one else ("–", "–", _TOO_FEW)
            ),
        )
        for one in card.segments
    ]  # fmt: skip
    head = (
        Words("By", "维度"), Words("Group", "分组"), Words("Rows", "行数"), Words("Came true", "命中比例"),
        Words("AUC", "AUC"), Words("Observed / expected", "实际/预期"), Words("z", "z值"),
        Words("Level", "概率水平"),
    )  # fmt: skip
    return section(
        title,
        table(head, rows, right=range(2, 7)),
        *_fairness(card),
        note=Words(
            "Over all moments of the backtest, a customer counted at each. The level is off where observed "
            "and expected differ by more than the worst of so many groups shows by chance. Groups with fewer "
            "than 30 of each outcome are not judged.",
            "覆盖回测的全部时点，客户在每个时点各计一次。若实际与预期之差超过同样多分组中偶然可见的最大差距，"
            "即为水平有偏差。两种结果各不足30例的分组不作评估。",
        ),
    )


def by_band(card: ModelCard) -> Html | str:
    """Of a value model, a row a group of customers: its orders, and the date that was told; flagged where
    the orders are off beyond chance, or not half had ordered by the date."""
    title = Words("Customers of each kind", "各类客户")
    if not card.segments:  # a card of before there were bands
        return ""
    levels = any("z" in one for one in card.segments)  # else of before levels were judged
    rows = [
        (
            _said(one["words"]), Words(**one["group"]), one["rows"], cell(one["orders_ratio"]),
            *(
                (f"{one['z']:+.1f}", _level(one))
                if "z" in one else ("–", _TOO_FEW if levels else "–")
            ),
            one["dated"],
            *(
                (cell(one["came_by_next_order_date"]), OFF if one["off"] else HOLDS)
                if "off" in one else ("–", _TOO_FEW)
            ),
        )
        for one in card.segments
    ]  # fmt: skip
    head = (
        Words("By", "维度"), Words("Group", "分组"), Words("Customers", "客户数"),
        Words("Orders that came / expected", "实际订单/预期"), Words("z", "z值"), Words("Level", "水平"),
        Words("Dates judged", "评估的日期数"),
        Words("Ordered by the date", "在该日期前下单"), Words("Date", "日期"),
    )  # fmt: skip
    return section(
        title,
        table(head, rows, right=(2, 3, 4, 6, 7)),
        note=Words(
            "Orders are days with an order. The level is off where those that came and those expected differ "
            "by more (z, in standard errors) than the worst of so many groups shows by chance. It may be off "
            "where the group's own interval lies beside 1, as that of one in twenty does by chance. Fewer "
            "than 30 customers are not judged. Dates are judged that lie within the days that judge, as they "
            "are told, in whole days: half should have ordered by them. The date is off where the whole "
            "interval lies beside .5. Fewer than 30 dates are not judged.",
            "订单指下单日。若实际与预期之差（z值，以标准误计）超过同样多分组中偶然可见的最大差距，即为水平有偏差；"
            "仅其自身区间偏离1者可能有偏差（偶然情况下约二十分之一）；不足30名客户不作评估。"
            "仅评估落在评估期内的日期，按所给出的整日计：应有一半客户已下单。"
            "整个区间偏离0.5即为日期有偏差；不足30个日期不作评估。",
        ),
    )


def _level(one: Mapping[str, Any]) -> Words:
    if one["level_off"]:
        return OFF
    return _MAY_BE if missed("orders_ratio", one["orders_ratio"]) else HOLDS


_MAY_BE = Words("may be off", "可能有偏差")
_TOO_FEW = Words("too few to say", "样本不足")
_GAPS = {
    "chosen": Words("Gap in the share chosen", "入选比例差距"),
    "found": Words("Gap among those it came true of", "命中客户入选差距"),
    "wrongly": Words("Gap among the others", "未命中客户入选差距"),
}


def _fairness(card: ModelCard) -> list[Html]:
    if not card.fairness:
        return []
    rows = [
        (_said(one["words"]), one["groups"], *(cell(one.get(gap)) for gap in _GAPS), _left_out(one))
        for one in card.fairness
    ]
    head = (Words("Protected attribute", "受保护属性"), Words("Groups", "分组数"), *_GAPS.values(), _OUT)
    said = Words(
        "Were the tenth with the highest scores chosen, how far the groups of a protected attribute would be "
        "apart. Chance alone makes a gap, so look at the lower end. Labels: of the rarer outcome; a group "
        "with fewer than 30 is not compared.",
        "若选取得分最高的十分之一客户，受保护属性各分组之间的最大差距。偶然也会产生差距，请看区间下限。"
        "样本：较少出现的结果例数，不足30例的分组不作比较。",
    )
    return [paragraph(said), table(head, rows, right=range(1, 5))]


_OUT = Words("Not compared", "未比较")


def _left_out(one: Mapping[str, Any]) -> Words | None:
    """The groups of a protected attribute that are in no gap, and why."""
    few = [(of["group"], of["labels"]) for of in one.get("few", ())]
    if not few and one["groups"]:
        return None
    if not few:
        return Words("the log knows it of no customer", "日志中没有任何客户的该属性")
    en, zh = (
        sep.join(said.format(group=group[language], n=n) for group, n in few)
        for language, sep, said in (
            ("en", ", ", "{group} (too few: {n} labels)"),
            ("zh", "、", "{group}（样本不足：{n}例）"),
        )
    )
    if one["groups"] < 2:
        en, zh = f"no two groups with labels enough: {en}", f"样本充足的分组不足两个：{zh}"
    return Words(en, zh)


def _said(told: Mapping[str, str]) -> Content:
    """Words; or an attribute of customers, as the shop writes it."""
    return Words(told["en"], told["zh"]) if told["en"] != told["zh"] else code(told["en"])

"""A card's figures for people: how a figure is written, what it is called, and what the figures say."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from features.pages import Content
from features.words import Words
from serving.cards import ModelCard
from training import baselines, pooled, transitions

Figure = Mapping[str, float]  # value, low, high

METRICS = {
    "auc": Words(
        "AUC: how often one of whom it came true is scored above one of whom it did not; 0.5 is chance",
        "AUC：命中客户的得分高于未命中客户的概率；0.5为随机",
    ),
    "average_precision": Words(
        "Average precision: of those scored highest, how many it came true of; chance is the share above",
        "平均精确率：得分最高者中命中的比例；随机水平为命中比例",
    ),
    "log_loss": Words(
        "Log-loss: how far the probabilities miss; lower is better", "对数损失：概率误差，越低越好"
    ),
    "brier": Words("Brier score: mean squared miss; lower is better", "Brier分数：概率的均方误差，越低越好"),
    "calibration_error": Words(
        "Calibration error: mean distance between said and come true, in tenths of the customers",
        "校准误差：按得分分为十组，预测与实际的平均差距",
    ),
    "observed_over_expected": Words(
        "Observed / expected: above 1 it came true more often than said, below 1 less often",
        "实际/预期：大于1表示实际多于预测，小于1表示少于预测",
    ),
    "calibration_slope": Words(
        "Slope: 1 is right; below, probabilities are too extreme; above, too timid",
        "校准斜率：1为准确；小于1表示概率过于极端，大于1表示过于保守",
    ),
    "calibration_intercept": Words("Intercept of that slope; 0 is right", "校准截距：0为准确"),
}
# Of models of no target.
VALUES = {
    "poisson_deviance": Words(
        "Poisson deviance: how far the expected numbers of orders miss; lower is better",
        "泊松偏差：预期订单数的误差，越低越好",
    ),
    "mean_absolute_error": Words(
        "Mean absolute error: days with an order by which a customer is missed; lower is better",
        "平均绝对误差：每位客户的下单日数误差，越低越好",
    ),
    "orders_ratio": Words(
        "Orders (days with one) that came / expected: 1 is right, above 1 more came",
        "实际订单（下单日）/预期：1为准确，大于1表示实际更多",
    ),
    "money_ratio": Words(
        "Money that came / expected: 1 is right, above 1 more came",
        "实际金额/预期：1为准确，大于1表示实际更多",
    ),
    "below_p10": Words("Had less than their p10: 0.1 is right", "低于各自p10的客户占比：0.1为准确"),
    "below_p50": Words("Had less than their p50: 0.5 is right", "低于各自p50的客户占比：0.5为准确"),
    "below_p90": Words("Had less than their p90: 0.9 is right", "低于各自p90的客户占比：0.9为准确"),
    "came_by_next_order_date": Words(
        "Ordered by the date of the next order, the whole day that is told: 0.5 is right",
        "在所给出的下次下单日期（整日）前下单的占比：0.5为准确",
    ),
}
# What each should be: whose whole interval lies beside it missed, beyond chance.
RIGHT = {
    "orders_ratio": 1.0, "money_ratio": 1.0,
    "below_p10": 0.1, "below_p50": 0.5, "below_p90": 0.9, "came_by_next_order_date": 0.5,
}  # fmt: skip
OTHERS = {
    "moved_otherwise": Words(
        "Moved otherwise than four weeks earlier, a share on average: 0 is the same, 0.1 the limit",
        "与四周前移动方向不同的平均占比：0为相同，上限0.1",
    ),
    "personal_gain": Words(
        "Gained by choosing for each customer, over the best action for all",
        "逐客户选择相对统一最优行动的提升",
    ),
}
# What a model that does not rank is judged by: a loss, of which its baselines have more, or a gain itself.
LOSSES, GAINS = ("poisson_deviance",), ("personal_gain",)
BASELINES = {
    **baselines.WORDS,
    "run_rate": Words("everybody as before", "按此前速度推算"),
    "before": Words("four weeks earlier", "四周前"),
}
MODEL = Words("this model", "本模型")


def missed(name: str, figure: Figure) -> bool:
    """Whether a figure of a model of no target is not what it should be, beyond chance."""
    return name in RIGHT and not figure["low"] <= RIGHT[name] <= figure["high"]


def misses(metrics: Mapping[str, Figure]) -> Words | None:
    """Every figure that missed, in a sentence; None: none did."""
    found = [
        (VALUES[name], shown(metrics[name])) for name in in_order(metrics) if missed(name, metrics[name])
    ]
    en, zh = (
        end.join(words[place].replace(colon, f" {said} (", 1) + ")" for words, said in found)
        for place, colon, end in ((0, ": ", "; "), (1, "：", "；"))
    )
    return Words(f"Off beyond chance: {en}.", f"超出偶然的偏差：{zh}。") if found else None


class Headline(NamedTuple):
    """The figures that stand for a model: over all origins where it has a backtest, else of its test.

    gain: in AUC, or else in the figure that judges the model, `of`; over `best`, the baseline that leaves it
    the least, if it is over one. None: the card does not say.
    """

    auc: Figure | None
    gain: Figure | None
    best: str | None
    origins: int
    of: str = "auc"


def headline(card: ModelCard) -> Headline:
    """What one row of a table says of a model."""
    gains, of = auc_gains(card), "auc"
    for name in LOSSES if not gains else ():
        over = {who: its.get(f"{name}_gain") for who, its in card.baselines.items()}
        if gains := {who: gain for who, gain in over.items() if gain is not None}:
            of = name
            break
    for name in GAINS if not gains else ():
        if name in card.metrics:
            return Headline(card.metrics.get("auc"), card.metrics[name], None, 0, name)
    best = min(gains, key=lambda name: gains[name]["value"], default=None)
    own = card.backtest.get("metrics", {}).get("model") or card.metrics
    origins = len(card.backtest.get("origins", ()))
    return Headline(own.get("auc"), gains[best] if best else None, best, origins, of)


def auc_gains(card: ModelCard) -> dict[str, Figure]:
    """By baseline, the model's gain in AUC: over all origins, else at the test. Never of both: one moment is
    not to be told beside a mean of several."""
    given = card.backtest.get("gains") or card.baselines
    return {name: given[name]["auc_gain"] for name in in_order(given) if "auc_gain" in given[name]}


def tried_once(card: ModelCard) -> Words | None:
    """What the model gains over baselines that were fitted at the test alone; None of a card without such."""
    gains = [(baseline(name), card.baselines[name].get("auc_gain")) for name in _at_the_test_alone(card)]
    if not gains:
        return None
    en = ", ".join(f"{shown(gain, '+')} over {who.en}" for who, gain in gains)
    zh = "、".join(f"对比{who.zh}为{shown(gain, '+')}" for who, gain in gains)
    return Words(
        f"What takes long to fit was tried at the last moment alone: there it gains in AUC {en}.",
        f"训练耗时较长的基准仅在最后时点比较，AUC提升{zh}。",
    )


def _at_the_test_alone(card: ModelCard) -> list[str]:
    over = card.backtest.get("gains")
    return [name for name in in_order(card.baselines) if over and name not in over]


def baseline(name: str) -> Words:
    """What a baseline is called."""
    plain = name.replace("_", " ")
    return BASELINES.get(name, Words(plain, plain))


def in_order(names: Iterable[str]) -> list[str]:
    """Names of figures, or of baselines, as they are told; card.json has them by the alphabet."""
    told = ("model", *VALUES, *OTHERS, *METRICS, *BASELINES)
    places = {name: place for place, name in enumerate(told)}
    return sorted(names, key=lambda name: (places.get(name.removesuffix("_gain"), len(places)), name))


def metric(name: str) -> Content:
    """What a figure is called, with what is better."""
    before, _, after = name.partition("_to_")
    if before in transitions.WORDS and after in transitions.WORDS:
        one, other = transitions.WORDS[before], transitions.WORDS[after]
        return Words(f"From {one.en} to {other.en}", f"由{one.zh}到{other.zh}")
    if (stage := transitions.WORDS.get(name.removeprefix("orders_after_"))) is not None:
        return Words(f"Ordered after {stage.en}", f"{stage.zh}之后下单")
    if (stage := transitions.WORDS.get(name.removeprefix(f"{transitions.MOVED}_"))) is not None:
        return Words(f"Moved otherwise, of {stage.en}", f"去向不同：{stage.zh}")
    return {**METRICS, **VALUES, **OTHERS}.get(name, name.replace("_", " "))


def shown(figure: Figure | None, sign: str = "") -> str:
    """A figure with its interval, such as `0.870 [0.852, 0.888]`; a dash without one. sign: "+" for gains.

    >>> shown({"value": 0.0123, "low": -0.002, "high": 0.03}, "+")
    '+0.012 [-0.002, +0.030]'
    """
    if figure is None:
        return "–"
    value, low, high = (f"{figure[part]:{sign}.3f}" for part in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def verdict(card: ModelCard) -> tuple[bool, Words]:
    """(whether all is well, one sentence for people): what the model beats, and whether its level holds."""
    gains = auc_gains(card)
    if not gains and card.notes:  # no model that ranks: its training says what it does, first
        lows = [
            f["low"] for who in card.baselines.values() for name, f in who.items() if name.endswith("_gain")
        ]
        well = min(lows, default=1) > 0 and not transitions.objections(card.metrics)
        well = well and misses(card.metrics) is None
        return well, Words(card.notes[0].en, card.notes[0].zh)
    beaten = [baseline(name) for name, gain in gains.items() if gain["low"] > 0]
    level = card.metrics.get("observed_over_expected")
    unbeaten = [baseline(name) for name, gain in gains.items() if gain["low"] <= 0]
    once = [baseline(name) for name in _at_the_test_alone(card)]
    ranks, ranked = _ranks(beaten, unbeaten, once)
    if gains and (moments := len(card.backtest.get("origins", ()))) > 1:
        ranks = Words(
            f"Averaged over its {moments} moments, i{ranks.en[1:]}", f"按{moments}个时点平均，{ranks.zh}"
        )
    holds, said = _level(level, card.backtest.get("origins", ()))
    return ranked and holds, Words(f"{ranks.en}; {said.en}.", f"{ranks.zh}；{said.zh}。")


def _ranks(beaten: list[Words], others: list[Words], once: list[Words]) -> tuple[Words, bool]:
    if not beaten and not others:
        return Words("It was compared with nothing", "未与任何基准比较"), False
    if not others:
        but = Words("", "")
        if once:
            en, zh = ", ".join(w.en for w in once), "、".join(w.zh for w in once)
            but = Words(
                f", {en} aside, which was tried at the last alone", f"（{zh}仅在最后时点比较，不计入）"
            )
        return Words(
            f"It ranks customers better than every baseline tried{but.en}",
            f"对客户的排序优于所有基准{but.zh}",
        ), True
    en, zh = ", ".join(w.en for w in others), "、".join(w.zh for w in others)
    if not beaten:
        return Words(
            f"It is not shown to rank customers better than any baseline tried ({en})",
            f"未能证明其排序优于任何基准（{zh}）",
        ), False
    well_en, well_zh = ", ".join(w.en for w in beaten), "、".join(w.zh for w in beaten)
    return Words(
        f"It ranks customers better than {well_en}, but is not shown to rank them better than {en}",
        f"对客户的排序优于{well_zh}，但未能证明优于{zh}",
    ), False


def _level(level: Figure | None, origins: Sequence[Mapping[str, Any]]) -> tuple[bool, Words]:
    """It holds if it did at the test, and at more than half of the origins."""
    if level is None:
        return False, Words("nothing is known of its level", "概率水平未知")
    off = sum(pooled.off(one) for one in origins)
    if level["low"] <= 1 <= level["high"]:
        if not off:
            return True, Words("its probabilities held", "其概率水平可信")
        return 2 * off < len(origins), Words(
            f"at its test as many came true as it said, but its level was off at {off} of {len(origins)} "
            "moments",
            f"在测试时点实际与预测相符，但{len(origins)}个时点中有{off}个概率水平有偏差",
        )
    more = level["value"] > 1
    return False, Words(
        f"do not take its probabilities at their word: at its test it came true {'more' if more else 'less'} "
        "often than it said",
        f"其概率不可直接采信：在测试时点，实际发生{'多于' if more else '少于'}预测",
    )

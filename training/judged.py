"""The parts of a model's page that say how good it is: at the test, over the origins, and at each of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from features.charts import Dot, curve, dots
from features.pages import Content, Html, code, paragraph, section, table
from features.words import Words
from serving.cards import ModelCard
from training import pooled
from training.comparison import Comparison, Contest, left_out
from training.figures import MODEL, Figure, auc_gains, baseline, in_order, metric, missed, shown, tried_once

_FIGURE = Words("Figure", "指标")
_AGAINST = Words("Against", "对比基准")
_CUSTOMERS = Words("Customers", "客户数")
_OF_ALL = Words("bootstrap intervals over these customers", "对这些客户的自助法区间")
_OF_SHARES = Words(
    "of shares Wilson's intervals, of how many moved otherwise bootstrap ones",
    "占比为Wilson区间，去向不同者为自助法区间",
)
_SAYS = Words("Says", "结论")
LEVEL = (
    Words("Observed / expected", "实际/预期"), Words("z", "z值"), Words("Slope", "校准斜率"),
    Words("Level", "概率水平"),
)  # fmt: skip
HOLDS, OFF = Words("holds", "可信"), Words("⚠ off", "⚠ 有偏差")
NOT_JUDGED = Words("The card does not say.", "卡片中没有记录。")


def at_the_test(card: ModelCard) -> Html:
    """Every figure of the model and of each baseline at the test, the gains, and the calibration."""
    moment = f"{card.tested_on.moment:%Y-%m-%d}"
    title = Words(f"How good it is: at the test, {moment}", f"效果：测试时点 {moment}")
    if not card.metrics:
        return section(title, paragraph(NOT_JUDGED))
    others = in_order(card.baselines)
    columns = [
        *_columns(MODEL, card.metrics, flagged),
        *(one for who in others for one in _columns(baseline(who), card.baselines[who])),
    ]
    own = [(metric(name), *(tell(name) for _, tell in columns)) for name in in_order(card.metrics)]
    head = (_FIGURE, *(words for words, _ in columns))
    how = _OF_SHARES if _CUSTOMERS in head else _OF_ALL
    return section(
        title,
        table(head, own, right=[place for place, words in enumerate(head) if words is _CUSTOMERS]),
        *_gains(card.baselines),
        *_calibration(card),
        note=Words(
            "On a later moment than anything it was fitted on, beside what a sceptic would do instead. "
            f"Brackets: {how.en}.",
            f"在晚于全部训练数据的时点上评估，并与简单做法对比。方括号：{how.zh}。",
        ),
    )


_Column = tuple[Words, Callable[[str], Content]]  # its head, and its cell of the figure of a name


def _columns(
    who: Words, figures: Mapping[str, Figure], mark: Callable[[str, Figure, str], Content] | None = None
) -> list[_Column]:
    """The figures of a side; where some are of a part of the customers, also of how many."""

    def own(name: str) -> Content:
        one = figures.get(name)
        return mark(name, one, cell(one)) if mark and one is not None else cell(one)

    def rows(name: str) -> Content:
        return int(figures[name]["rows"]) if "rows" in figures.get(name, {}) else None

    counted = any("rows" in one for one in figures.values())
    return [(who, own), *([(_CUSTOMERS, rows)] if counted else [])]


def over_the_origins(card: ModelCard) -> Html:
    """The mean figures over all origins, and the gain over each baseline."""
    title = Words("How good it is: over all moments of the backtest", "效果：回测各时点平均")
    metrics = card.backtest.get("metrics", {})
    if not metrics:
        return section(title, paragraph(NOT_JUDGED))
    names = in_order({name for figures in metrics.values() for name in figures})
    rows: list[tuple[Content, ...]] = [
        (MODEL if who == "model" else baseline(who), *(cell(metrics[who].get(name)) for name in names))
        for who in in_order(metrics)
    ]
    head = (Words("Who", "模型"), *(_short(name) for name in names))
    gains = [
        Dot(baseline(name), g["value"], g["low"], g["high"], shown(g, "+"))
        for name, g in auc_gains(card).items()
    ]
    return section(
        title,
        table(head, rows),
        *_gains(card.backtest.get("gains", {})),
        dots(gains, Words("AUC gained over each baseline; dashed: none", "AUC提升（虚线为零）"), 0),
        paragraph(once) if (once := tried_once(card)) else "",
        note=Words(
            "The same recipe, fitted anew at each of several moments on what was known then, judged on what "
            "came. A gain whose whole interval is above 0 is shown. Brackets: analytic intervals (of AUC "
            "DeLong's), which know that a customer comes back at every moment; no bootstrap.",
            "在多个时点上用同一方法、仅用当时已知的数据重新训练，再以之后的实际结果评估。"
            "整个区间大于0的提升才算得到证明。方括号：解析区间（AUC用DeLong方法），"
            "已考虑同一客户在各时点重复出现，而非自助法。",
        ),
    )


def in_force(card: ModelCard, against: Contest | None) -> Html | str:
    """How it does beside the version in force, over all origins: what the gate judges by."""
    if against is None:
        return ""
    found, other = against.compared, Words(f"version {against.version}", f"版本{against.version}")
    rows = [
        (who, *(cell(own.get(name)) for name in ("auc", "log_loss")), *level_cells(level))
        for who, own, level in zip((MODEL, other), found.figures, found.levels, strict=True)
    ]
    gained = (cell(found.gains["auc_gain"], "+"), cell(found.gains["log_loss_gain"], "+"))
    head = (Words("Who", "模型"), _short("auc"), _short("log_loss"), *LEVEL)
    groups = [(code(one.feature), one.values, one.rows, cell(one.auc_gain, "+")) for one in found.segments]
    by = (Words("By", "维度"), Words("Values", "取值"), Words("Rows", "行数"), _gain("auc_gain"))
    return section(
        Words(
            f"Against version {against.version}, in force when it was compared: {found.origins} moments",
            f"与当时在用的版本{against.version}对比：{found.origins}个时点",
        ),
        table(head, [*rows, (Words("gained", "提升"), *gained, None, None, None, None)], right=range(1, 6)),
        table(by, groups, right=(2, 3)) if groups else "",
        paragraph(lacking) if (lacking := left_out(found.left_out)) else "",
        note=contested(found),
    )


def contested(found: Comparison) -> Words:
    """How a comparison with the version in force was made."""
    anew = found.origins - found.itself
    return Words(
        f"Paired over the same customers at {found.origins} moments; intervals know that a customer comes "
        f"back in each. At {found.itself} of them the version in force scored itself"
        + (f"; at the {anew} before, its recipe was fitted anew on what was known then." if anew else ".")
        + " Level: at the last moment.",
        f"在{found.origins}个时点对同一批客户成对比较，区间已考虑同一客户重复出现。其中{found.itself}个时点由在用版本直接评分"
        + (f"，之前的{anew}个时点用其方法和当时已知的数据重新训练。" if anew else "。")
        + "概率水平：最后时点。",
    )


def each_origin(card: ModelCard) -> Html:
    """A row a moment, with its level, flagged where off."""
    origins: Sequence[Mapping[str, Any]] = card.backtest.get("origins", ())
    title = Words(f"Every moment that it was judged at ({len(origins)})", f"各评估时点（{len(origins)}个）")
    if not origins:
        return section(title, paragraph(NOT_JUDGED))
    head = (
        Words("Moment", "时点"), Words("Customers", "客户数"), Words("Came true", "命中比例"),
        Words("AUC", "AUC"), Words("Log-loss", "对数损失"), *LEVEL,
    )  # fmt: skip
    rows = [
        (
            one["moment"][:10], one["rows"], f"{one['base_rate']:.1%}", f"{one['auc']:.3f}",
            f"{one['log_loss']:.3f}", *level_cells(one),
        )
        for one in origins
    ]  # fmt: skip
    points = [
        Dot(Words(o["moment"][:10], o["moment"][:10]), o["auc"], shown=f"{o['auc']:.3f}") for o in origins
    ]
    off = sum(pooled.off(one) for one in origins)
    return section(
        title,
        paragraph(
            Words(
                f"Level off at {off} of {len(origins)} moments.",
                f"{len(origins)}个时点中有{off}个概率水平有偏差。",
            )
        ),
        table(head, rows, right=range(1, 8)),
        dots(
            points, Words("AUC at each moment (the axis does not start at 0)", "各时点AUC（坐标轴不从0开始）")
        ),
        note=Words(
            "Level: whether the probabilities may be taken at their word. It is off where observed and "
            "expected differ by more than two standard errors (z), or the slope is outside 0.9 to 1.1.",
            "概率水平：概率能否直接采信。实际与预期之差超过两个标准误（z值），或斜率不在0.9至1.1之间，即为有偏差。",
        ),
    )


def level_cells(told: Mapping[str, Any]) -> tuple[Content, ...]:
    """The cells under LEVEL."""
    return (
        f"{told['observed_over_expected']:.3f}", f"{told['z']:+.2f}", f"{told['calibration_slope']:.3f}",
        OFF if pooled.off(told) else HOLDS,
    )  # fmt: skip


def cell(figure: Figure | None, sign: str = "") -> str:
    """A figure as it stands in a table: a line may break before its interval, not in it."""
    return shown(figure, sign).replace(", ", ",\u00a0")


def flagged(name: str, figure: Figure, text: str) -> Content:
    """A figure as text, with a mark where it missed what it should be."""
    return Words(f"{text} {OFF.en}", f"{text} {OFF.zh}") if missed(name, figure) else text


def _gains(by_baseline: Mapping[str, Mapping[str, Any]]) -> list[Html]:
    """What the model has more than each baseline, by metric; none of a card without gains."""
    found = {name for figures in by_baseline.values() for name in figures if name.endswith("_gain")}
    names = in_order(found)
    if not names:
        return []
    rows = [
        (
            baseline(who),
            *(cell(by_baseline[who].get(name), "+") for name in names),
            _says(by_baseline[who], names),
        )
        for who in in_order(by_baseline)
    ]
    return [table((_AGAINST, *(_gain(name) for name in names), _SAYS), rows)]


def _says(figures: Mapping[str, Any], names: Sequence[str]) -> Content:
    """By the AUC, of a model that ranks; else by the first gain."""
    name = "auc_gain" if "auc_gain" in names else names[0]
    gain = figures.get(name)
    if gain is None:
        return None
    if gain["low"] > 0:
        return Words("✓ ranks better", "✓ 排序更优") if name == "auc_gain" else Words("✓ better", "✓ 更优")
    return Words("✗ worse", "✗ 更差") if gain["high"] < 0 else Words("– no better shown", "– 未证明更优")


def _gain(name: str) -> Words:
    short = _short(name.removesuffix("_gain"))
    return Words(f"Gain in {short.en}", f"{short.zh}改善")


def _short(name: str) -> Words:
    """A figure's name without what is better."""
    words = metric(name)
    if isinstance(words, Words):
        return Words(words.en.partition(":")[0].partition(";")[0], words.zh.partition("：")[0])
    return Words(str(words), str(words))


def _calibration(card: ModelCard) -> list[Html]:
    """What was said against what came, by tenths of the customers."""
    tenths = card.curves.get("reliability", ())
    if not tenths:
        return []
    title = Words(
        "Calibration at the test: a point is a tenth of the customers. Dashed: said is what comes.",
        "测试时点的校准曲线：每点为十分之一客户。虚线：预测与实际一致。",
    )
    points = [(one["expected"], one["observed"]) for one in tenths]
    return [curve(points, title, across=Words("said", "预测"), up=Words("came true", "实际"), dotted=True)]


def gain(card: ModelCard) -> Html:
    """Of whom it came true, how many are among those scored highest: of the model and of each baseline."""
    curves = card.curves.get("gain", {})
    title = Words("Who is found first", "优先找到的客户")
    if not curves:
        return section(title, paragraph(NOT_JUDGED))
    points = len(curves["model"]) - 1
    shares = (0.1, 0.2, 0.3, 0.5)
    rows: list[tuple[Content, ...]] = [
        (
            MODEL if who == "model" else baseline(who),
            *(f"{curves[who][round(share * points)]:.0%}" for share in shares),
        )
        for who in in_order(curves)
    ]
    head = [Words(f"Among the first {share:.0%}", f"前{share:.0%}") for share in shares]
    drawn = [(place / points, found) for place, found in enumerate(curves["model"])]
    return section(
        title,
        table((Words("Ranked by", "排序依据"), *head), rows, right=range(1, len(shares) + 1)),
        curve(
            drawn,
            Words("Gain at the test. Dashed: drawn by lot.", "测试时点的增益曲线。虚线：随机抽取。"),
            across=Words("share of customers, highest score first", "客户占比（得分从高到低）"),
            up=Words("share of those found", "找到的占比"),
        ),
        note=Words(
            "Of all of whom it came true, the share among the customers with the highest scores.",
            "在全部命中客户中，得分最高的客户所占比例。",
        ),
    )

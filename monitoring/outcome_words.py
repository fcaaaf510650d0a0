"""What was found of what came, in words: who was judged, by what, and what the figures are."""

from collections.abc import Callable
from datetime import datetime
from typing import Literal

from features.words import Words
from monitoring.outcomes import Figures, Who
from monitoring.performance import (
    ENOUGH,
    LIMIT,
    UNKNOWN_LEVEL,
    UNKNOWN_RANKING,
    UNKNOWN_SLOPE,
    Estimate,
    Judged,
    State,
)

What = Literal["calibration", "ranking"]
WHO: dict[Who, Words] = {
    "everyone": Words("everyone, for hardly anybody was contacted", "全体客户（几乎无人被触达）"),
    "held_out": Words("the holdout", "对照组"),
    "untreated": Words("those not contacted, who were not chosen by lot", "未经随机分配的未触达客户"),
    "treated": Words("the contacted", "已触达客户"),
}
_STATE: dict[State, Words] = {  # what is lost is said by which way
    "holds": Words("holds", "仍然成立"),
    "excused": Words("is off, and no worse than at its release", "有偏差，但未比发布时更差"),
    "unsure": Words("is not sure", "尚不确定"),
}
_ASKED: dict[What, Words] = {
    "calibration": Words("calibration", "校准"),
    "ranking": Words("ranking", "排序"),
}
_UNKNOWN = Words("not known yet", "尚不可知")
VALID = Words("valid only without concept drift", "仅在概念未漂移时有效")


_NO_LOT = Words(
    "Without a holdout by lot nobody can tell a change of customers from what contacts do",
    "没有随机对照组，无法区分客户的变化与触达的作用",
)
HOLD_OUT = Words(
    "To know it the next time, hold some customers out by lot: `holdout` of `[[policy]]` in shop.toml.",
    "为便于今后判断，请随机留出对照组：shop.toml 中 `[[policy]]` 的 `holdout`。",
)


def patience(release: str, earliest: datetime | None) -> Words:
    """What the gate cannot know yet after a change of customers, and what who cannot wait does. earliest:
    when a version can be judged that learnt from what came after it."""
    when = Words("two horizons after the change at the earliest", "最早在改变发生两个预测期之后")
    if earliest is not None:
        when = Words(f"on {earliest:%Y-%m-%d} at the earliest", f"最早在{earliest:%Y-%m-%d}")
    return Words(
        "If customers changed, the gate can know that only by what came after: a version that learnt from it "
        f"can be judged {when.en}, and until then the gate may keep new ones back. Who cannot wait may "
        "release what it kept back: "
        f'`propensity promote {release} --force "REASON"`.',
        f"若客户行为确已改变，准入检查只能从改变之后的结果得知：{when.zh}才能评估学到这些结果的版本，"
        "在此之前可能拦下新版本。不能等待时可发布被拦下的版本："
        f'`propensity promote {release} --force "理由"`。',
    )


_BACKFILLED = Words("Scored now for then: it is not what was told", "由现在补算，并非当时给出的分数")


def told(figures: Figures, what: What = "calibration") -> Words:
    """What one set of figures says of it: the verdict of whoever decides in the first sentence, which a
    message's title is made of; then by which figures, what stands in its way, and the contacted."""
    decides, who, when, figure = figures.decides, WHO[figures.judged_on], _when(figures), _FIGURE[what]
    shown, off = figure(decides), getattr(figures, what) == "off"
    said: list[Words | None] = [
        _verdict(figures, what),
        Words(
            f"By what came within {when.en}, of {who.en} ({decides.rows:,}): {shown.en}",
            f"依据{when.zh}的结果，{who.zh}（{decides.rows:,}人次）：{shown.zh}",
        ),
        *(limits(decides, what) if off else (*excuses(decides, what), lacking(figures))),
    ]
    if figures.judged_on == "untreated" and _state(decides, what) == "off":
        said.append(_NO_LOT)
    if figures.judged_on != "everyone" and "treated" in figures.groups:
        beside = figures.groups["treated"]
        shown = figure(beside)
        said.append(
            Words(
                f"Beside it, of the contacted ({beside.rows:,}): {shown.en}; who is contacted depends on how "
                "they behave, so it does not tell what contacts do",
                f"另：已触达客户（{beside.rows:,}人次）：{shown.zh}；是否触达取决于客户行为，"
                "故不能衡量触达的作用",
            )
        )
    if figures.backfilled:
        said.append(_BACKFILLED)
    en, zh = zip(*filter(None, said), strict=True)
    return Words(". ".join(en) + ".", "。".join(zh) + "。")


def _state(judged: Judged, what: What) -> State:
    """Of a group by itself, whoever decides."""
    return judged.ranks if what == "ranking" else judged.calibration


def _verdict(figures: Figures, what: What) -> Words:
    state: State = getattr(figures, what)
    if state == "off":
        return _lost(figures, what)
    name, seen = _ASKED[what], _STATE[state]
    return Words(f"{name.en} {seen.en}", f"{name.zh}{seen.zh}")


def _lost(figures: Figures, what: What) -> Words:
    """What is misjudged, and which way, in plain words."""
    asks, zh = f'"{figures.asks.en}"', f"“{figures.asks.zh}”"
    level, slope = figures.decides.level, figures.decides.slope
    if what == "ranking":
        return Words(
            f"it tells worse than at its test who will and who will not: {asks}",
            f"分辨谁会、谁不会的能力低于评估时：{zh}",
        )
    flat = slope.z < 0
    if abs(level.z) >= LIMIT:
        times = f"{100 * level.value:.0f}"
        by, by_zh = (" by then", "截至当时") if figures.partial else ("", "")
        came = f"{asks} came {times} times for every 100 that were expected{by}"
        came_zh = f"{zh}{by_zh}每预期100次，实际发生{times}次"
        if abs(slope.z) >= LIMIT:
            came += f", and customers differ {'less' if flat else 'more'} in it than said"
            came_zh += f"，且客户之间的实际差异比预测的{'小' if flat else '大'}"
        return Words(came, came_zh)
    if not flat:
        return Words(f"customers differ more in {asks} than said", f"{zh}：客户之间的实际差异比预测的大")
    # Where the level is off as well, excused or not, it is one side alone of which this is sure.
    if level.alone >= LIMIT:
        return Words(
            f"those given a low chance of {asks} met it more often than said",
            f"{zh}：预测概率低的客户实际发生得比预测多",
        )
    high = Words(
        f"those given a high chance of {asks} met it less often than said",
        f"{zh}：预测概率高的客户实际发生得比预测少",
    )
    if level.alone <= -LIMIT:
        return high
    return Words(
        f"{high.en}, and those given a low chance more often", f"{high.zh}，预测概率低的客户比预测多"
    )


def level(judged: Judged) -> Words:
    """Observed over expected with its interval, and the slope."""
    shown, tilt = _shown(judged.level, 2), _UNKNOWN
    if judged.slope.value == judged.slope.value:
        value, right = _number(judged.slope.value, 2), _number(judged.slope.against, 2)
        tilt = Words(f"{value} where {right} is right", f"{value}（应为{right}）")
    return Words(f"observed/expected {shown.en}, slope {tilt.en}", f"实际/预期 {shown.zh}，校准斜率{tilt.zh}")


def ranking(judged: Judged) -> Words:
    """AUC with its interval, and what it was at the test."""
    against = _number(judged.ranking.against, 3)
    if judged.ranking.value != judged.ranking.value:
        return Words(
            f"AUC {_UNKNOWN.en}, against {against} at the test", f"AUC{_UNKNOWN.zh}（评估时为{against}）"
        )
    shown = _shown(judged.ranking, 3)
    return Words(f"AUC {shown.en} against {against} at the test", f"AUC {shown.zh}（评估时为{against}）")


_FIGURE: dict[What, Callable[[Judged], Words]] = {"calibration": level, "ranking": ranking}


def excuses(judged: Judged, what: What = "calibration") -> tuple[Words, ...]:
    """Of what is off beyond chance and not called lost: from where on it would be, and why only there. None
    beside a figure that is lost: it is no excuse of that."""
    if _state(judged, what) != "excused":
        return ()
    return tuple(_excuse(*one) for one in _judged(judged, what) if abs(one[1].alone) >= LIMIT)


def limits(judged: Judged, what: What) -> tuple[Words, ...]:
    """Of what is lost: from where on it is."""
    found = []
    for name, one, digits in _judged(judged, what):
        if abs(one.z) >= LIMIT:
            bounds = _bounds(one, digits)
            found.append(
                Words(f"The {name.en} counts as lost {bounds.en}", f"{name.zh}{bounds.zh}即视为失准")
            )
    return tuple(found)


def _judged(judged: Judged, what: What) -> tuple[tuple[Words, Estimate, int], ...]:
    """What a verdict is made of: its name, the figure, its digits."""
    if what == "ranking":
        return ((Words("AUC", "AUC"), judged.ranking, 3),)
    return (Words("level", "水平"), judged.level, 2), (Words("slope", "斜率"), judged.slope, 2)


def _bounds(one: Estimate, digits: int) -> Words:
    low, high = (_number(max(0.0, one.against + side * one.allowed), digits) for side in (-1, 1))
    if digits > 2:  # nobody minds that it ranks better
        return Words(f"below {low}", f"低于{low}")
    return Words(f"below {low} or above {high}", f"低于{low}或高于{high}")


def _excuse(name: Words, one: Estimate, digits: int) -> Words:
    bounds = _bounds(one, digits)
    off, moments = _number(one.spread.error, digits), one.spread.moments
    whys = []
    if one.spread in (UNKNOWN_LEVEL, UNKNOWN_SLOPE, UNKNOWN_RANKING):
        whys.append(
            Words(
                f"its backtest is too short to tell how much it varies by itself, and {off} is assumed",
                f"回测时点过少，无法得知其自身波动，按{off}假定",
            )
        )
    elif one.spread.assumed:
        seen = ENOUGH - one.spread.assumed
        whys.append(
            Words(
                f"it was judged at {seen} moments before its release, few to tell how much it varies "
                f"by itself: {off} is taken",
                f"发布前仅在{seen}个时点评估，不足以得知其自身波动，取{off}",
            )
        )
    elif one.spread.error:
        whys.append(
            Words(
                f"at {moments} moments before its release it was itself off by about {off}, beyond chance",
                f"发布前的{moments}个时点上，其自身偏差已约为{off}（已扣除抽样误差）",
            )
        )
    if one.events:
        by = _number(one.events, digits)
        whys.append(
            Words(
                f"events of the calendar in these days may move it by {by}",
                f"期间的日历事件可能带来{by}的变化",
            )
        )
    why, why_zh = "; ".join(one.en for one in whys), "；".join(one.zh for one in whys)
    return Words(
        f"Its {name.en} is called lost only {bounds.en}: {why}", f"{name.zh}{bounds.zh}才视为失准：{why_zh}"
    )


def lacking(figures: Figures) -> Words | None:
    """How many customers a verdict takes, where those who decide are too few."""
    judged = figures.decides
    if judged.enough:
        return None
    return Words(
        f"Too few for a verdict: {judged.rows:,}, and it takes {judged.needed:,} to see a level that is off "
        "by 15 %",
        f"人数不足以下结论：现有{judged.rows:,}人次，需{judged.needed:,}人次才能发现15%的水平偏差",
    )


def estimated(figures: Figures) -> Words:
    """What the scores alone would say, marked for what it is."""
    auc = f"AUC {_number(figures.estimated.auc, 3)}"
    return Words(f"if its probabilities are right, {auc} ({VALID.en})", f"若概率属实，{auc}（{VALID.zh}）")


def _when(figures: Figures) -> Words:
    dates = [f"{moment:%Y-%m-%d}" for moment in figures.moments]
    of, zh = f"{figures.days} days", f"{figures.days}天"
    if figures.partial:
        of, zh = f"{figures.days} of {figures.horizon} days", f"{figures.days}天（预测期{figures.horizon}天）"
    span = dates[0] if len(dates) == 1 else f"{len(dates)} moments from {dates[0]} to {dates[-1]}"
    span_zh = dates[0] if len(dates) == 1 else f"{dates[0]}至{dates[-1]}的{len(dates)}个时点"
    return Words(f"{of} of {span}", f"{span_zh}之后{zh}")


def _shown(one: Estimate, digits: int) -> Words:
    """With its interval, as far as they are known."""
    if one.value != one.value:  # of nobody
        return _UNKNOWN
    value, low, high = (_number(bound, digits) for bound in (one.value, one.low, one.high))
    if one.error != one.error:
        return Words(f"{value} (interval {_UNKNOWN.en})", f"{value}（区间{_UNKNOWN.zh}）")
    return Words(*[f"{value} [{low}, {high}]"] * 2)


def _number(value: float, digits: int) -> str:
    return "–" if value != value else f"{value:.{digits}f}"

"""Every check, declared once: what it measures, from when on it warns or pages, why from there, what to do.

To add one, add it to CHECKS (or to CHECKS in a shop's shop.py): `propensity monitor run`, its verdict, the
alerts and the tests pick it up by themselves.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import numpy as np

from features.errors import UsageError
from features.words import Words
from monitoring import indicators
from monitoring.evidence import Evidence, ShopEvidence
from monitoring.findings import Contributor, Owner, Status
from monitoring.panels import MEMBERS, Panel, Shift
from monitoring.profiles import PROBABILITY

# A fault further beyond its limit than this is no chance and no season: what it touches cannot be trusted.
BROKEN = 3.0
NEVER = float("inf")  # as `page`: a check that only warns


@dataclass(frozen=True)
class Reading:
    """What a check measured; higher is worse, nan: nothing can be said yet. words: the figure in a sentence.

    cause: the likely one. advice: what to do, where it is more than the check's own.
    """

    value: float
    words: Words
    cause: Words | None = None
    advice: Words | None = None
    contributors: tuple[Contributor, ...] = ()
    since: date | None = None
    topic: str | None = None  # `data`: a fault of the log; `event`: more business; else the subject's own


@dataclass(frozen=True, kw_only=True)
class Check:
    """One question. `warning` and `page`: the values from which on it says so.

    of: asked of every release, of the shop, or of each business indicator. drift: asks how things change,
    and is not asked while the published features are stale.
    """

    name: str
    words: Words
    warning: float
    page: float
    reason: str  # why these two values
    measure: Callable[[Any], Reading]  # of an Evidence; a ShopEvidence; that and an indicator's place
    advice: Words = Words("Look at the report.", "请查看报告。")
    owner: Owner = "models"
    of: Literal["release", "shop", "indicator"] = "release"
    drift: bool = True

    def __post_init__(self) -> None:
        if not self.warning <= self.page or not self.reason:
            raise UsageError(
                f"check {self.name}: give a warning that is not above page, and the reason for both"
            )

    def status(self, value: float) -> Status:
        """Of a value; nan is ok: nothing can be said yet."""
        if value >= self.page:
            return "page"
        return "warning" if value >= self.warning else "ok"


def by_name(own: Iterable[Check] = ()) -> dict[str, Check]:
    """Built-in checks and a shop's own. UsageError for a name twice."""
    checks: dict[str, Check] = {}
    for check in (*CHECKS, *own):
        if check.name in checks:
            raise UsageError(f"check {check.name} is declared twice: give one of them another name")
        checks[check.name] = check
    return checks


def _freshness(evidence: Evidence) -> Reading:
    days = evidence.age.total_seconds() / 86_400
    level = (evidence.age > evidence.stale_after) + (evidence.age > evidence.expire_after)
    return Reading(
        value=level, words=Words(f"features are {days:.1f} days old", f"特征已有{days:.1f}天未更新")
    )


def _population(evidence: Evidence) -> Reading:
    panel = evidence.panel
    column = next(place for place, subject in enumerate(panel.subjects) if subject.name == MEMBERS)
    shift = panel.shift(column)
    now, was = shift.now, shift.was
    words = Words(f"{now:,.0f} customers to speak of", f"目标客群{now:,.0f}人")
    if abs(shift.excess) >= 1:
        words = Words(f"{words.en}, {was:,.0f} before", f"{words.zh}，此前{was:,.0f}人")
    empty = NEVER if now == 0 else abs(shift.excess)
    return Reading(value=empty, words=words, since=shift.since)


def _columns(*kinds: str, predicted: bool = False) -> Callable[[Evidence], Reading]:
    """What of a release's columns stands out in those kinds of figures: its features, or what it predicts.

    The value, below 1: how near the nearest is to its limit. From 1 on: 1, and the share of the model's
    importance that stands out.
    """

    def measure(evidence: Evidence) -> Reading:
        panel = evidence.panel
        asked = [
            place
            for place, subject in enumerate(panel.subjects)
            if subject.kind in kinds
            and (subject.name == PROBABILITY) == predicted
            and subject.name != MEMBERS
        ]
        excess = np.abs(panel.judged.excess[-1, asked])
        if not np.isfinite(excess).any():
            return Reading(value=float("nan"), words=not_yet(panel))
        out = [panel.shift(asked[n]) for n in np.argsort(-np.nan_to_num(excess)) if excess[n] >= 1]
        judged = len({panel.subjects[p].name for p, e in zip(asked, excess, strict=True) if np.isfinite(e)})
        if not out:
            return Reading(
                value=float(np.nanmax(excess)),
                words=Words(f"{judged} as usual", f"{judged}个正常"),
            )
        named = {shift.subject.name: shift.subject.weight for shift in reversed(out)}
        share = min(1.0, sum(named.values()))
        return _told(out, len(named), judged, 1 + share, evidence)

    return measure


def _told(out: Sequence[Shift], several: int, of: int, value: float, evidence: Evidence) -> Reading:
    first = out[0].words
    more = several - 1
    words = Words(
        first.en + (f"; and {more} more of {of}" if more else ""),
        first.zh + (f"；另有{more}个（共{of}个）" if more else ""),
    )
    tables = frozenset().union(*(shift.subject.tables for shift in out))
    cause, topic = None, None
    blamed = {name: shift for name, shift in evidence.faulty.items() if name in tables}
    if blamed:
        worst = max(blamed.values(), key=lambda shift: abs(shift.excess))
        cause = Words(f"the log: {worst.words.en}", f"日志：{worst.words.zh}")
        topic = "event" if worst.subject.kind == "rows" and worst.excess > 0 else "data"
    return Reading(
        value=value,
        words=words,
        cause=cause,
        contributors=contributors(out),
        since=min(shift.since for shift in out),
        topic=topic,
    )


def contributors(out: Sequence[Shift]) -> tuple[Contributor, ...]:
    """The furthest first, a subject once."""
    found: dict[str, Contributor] = {}
    for shift in out:
        found.setdefault(shift.subject.name, Contributor(shift.subject.name, shift.words, abs(shift.excess)))
    return tuple(found.values())


def not_yet(panel: Panel) -> Words:
    """Why nothing can be said: the past is too short."""
    days = len(panel.native)
    return Words(
        f"not judged yet: too few quiet days in the {days} that are known",
        f"暂不判断：已知{days}天中平稳日不足",
    )


def _separable(evidence: Evidence) -> Reading:
    found = evidence.separable
    if found is None or len(found.usual) < 3:
        return Reading(
            value=float("nan"),
            words=Words("not judged yet: fewer than four weeks to compare", "暂不判断：可比较的周数不足四周"),
        )
    centre = float(np.median(found.usual))
    limit = max(0.03, 4 / found.rows**0.5, 2 * max(abs(value - centre) for value in found.usual))
    value = (found.now - centre) / limit
    words = Words(
        f"this week's customers are told from last week's with AUC {found.now:.3f}; usually {centre:.3f}",
        f"模型区分本周与上周客户的AUC为{found.now:.3f}，通常为{centre:.3f}",
    )
    return Reading(value=value, words=words)


def _drift(evidence: Evidence) -> Reading:
    found = evidence.drift
    importance = evidence.card.importance
    total = sum(importance.values()) or 1.0
    counted = np.isfinite(found.psi)
    if not counted.any():
        return Reading(
            value=float("nan"),
            words=Words(
                "not compared with training: windows still fill", "暂不与训练期比较：特征窗口尚在累积"
            ),
        )
    names = [name for name, out in zip(found.columns, found.drifted, strict=True) if out]
    share = min(1.0, sum(importance.get(name, 0.0) / total for name in names))
    words = Words(
        f"{len(names)} of {int(counted.sum())} columns are further from training than any of its weeks, "
        f"with {share:.0%} of the importance",
        f"{int(counted.sum())}列中有{len(names)}列偏离训练期任何一周，占重要性{share:.0%}",
    )
    said = {feature.name: Words(feature.en, feature.zh) for feature in evidence.card.features}
    far = sorted(names, key=lambda name: -importance.get(name, 0.0))
    ratio = dict(zip(found.columns, found.psi / found.limit, strict=True))
    return Reading(
        value=share,
        words=words,
        contributors=tuple(
            Contributor(name, said.get(name, Words(name, name)), float(ratio[name])) for name in far
        ),
    )


def _tables(*kinds: str) -> Callable[[ShopEvidence], Reading]:
    """How far the furthest figure of those kinds stands out, of any table."""

    def measure(evidence: ShopEvidence) -> Reading:
        panel = evidence.received
        out = [s for s in panel.out() if s.subject.kind in kinds and not _unnamed(s, panel)]
        if not out:
            nearest = panel.nearest(kinds=kinds) if panel.columns(kinds).any() else float("nan")
            if not np.isfinite(nearest):
                return Reading(value=nearest, words=not_yet(panel))
            said = Words("as usual", "正常")
            return Reading(value=min(nearest, 0.99), words=said)
        more = len(out) - 1
        words = Words(
            out[0].words.en + (f"; and {more} more" if more else ""),
            out[0].words.zh + (f"；另有{more}项" if more else ""),
        )
        return Reading(
            value=abs(out[0].excess),
            words=words,
            contributors=contributors(out),
            since=min(shift.since for shift in out),
            topic="data",
        )

    return measure


def _unnamed(shift: Shift, panel: Panel) -> bool:
    """Whether a table simply received more than usual: a sale or a show, more likely than a fault."""
    return shift.subject.kind == "rows" and shift.excess > 0 and not _repeats(shift, panel)


def _repeats(shift: Shift, panel: Panel) -> bool:
    others = [other for other in panel.out() if other.subject.tables == shift.subject.tables]
    return any(other.subject.kind == "repeated" and other.excess > 0 for other in others)


def _event(evidence: ShopEvidence) -> Reading:
    panel = evidence.received
    out = [s for s in panel.out() if _unnamed(s, panel)]
    if not out:
        return Reading(
            value=0.0, words=Words("no rise that the calendar does not know", "没有日历未标注的上升")
        )
    return Reading(
        value=out[0].excess,
        words=out[0].words,
        contributors=contributors(out),
        since=min(shift.since for shift in out),
        topic="event",
    )


def _indicator(asked: tuple[ShopEvidence, int]) -> Reading:
    """How far an indicator is on the side that nobody wants."""
    evidence, column = asked
    panel = evidence.indicators
    shift = panel.shift(column)
    name = panel.subjects[column].name.partition(":")[0]
    worse = shift.excess if indicators.named(name).bad == "up" else -shift.excess
    if not np.isfinite(worse):
        return Reading(value=float("nan"), words=not_yet(panel))
    return Reading(
        value=max(0.0, worse),
        words=shift.words,
        since=shift.since if worse >= 1 else None,
        topic=f"indicator {name}",
    )


_LEARNED = "a figure's limit is learned from its own past, half above the second most unusual four weeks; "

CHECKS: tuple[Check, ...] = (
    Check(
        name="freshness",
        words=Words("Age of the published features", "已发布特征的时效"),
        warning=1,
        page=2,
        reason="1: answers say `stale` (PROPENSITY_STALE_HOURS); "
        "2: nobody is answered (PROPENSITY_EXPIRE_DAYS)",
        measure=_freshness,
        advice=Words(
            "See why the nightly run stopped; then `propensity ingest` and `propensity features build`.",
            "检查夜间任务为何停止，然后运行 `propensity ingest` 与 `propensity features build`。",
        ),
        owner="data",
        drift=False,
    ),
    Check(
        name="received",
        words=Words("Rows that each table received", "各表到达条数"),
        warning=1,
        page=BROKEN,
        reason=_LEARNED + "three times that is a source that stopped, or came twice",
        measure=_tables("rows", "repeated", "strangers"),
        advice=Words(
            "Ask the source's owner for the day's file, and ingest again; nothing is counted twice.",
            "向数据源负责人索取当日文件并重新接入；不会重复计数。",
        ),
        owner="data",
        of="shop",
    ),
    Check(
        name="fields",
        words=Words("What the tables' fields hold", "各表字段内容"),
        warning=1,
        page=BROKEN,
        reason=_LEARNED + "three times that is a unit, a code or a column that changed",
        measure=_tables("empty", "share", "new", "size", "sign", "night"),
        advice=Words(
            "Compare a few rows with the till's own screen; correct the mapping in shop.toml, and ingest.",
            "抽查几行与业务系统核对；修正shop.toml中的映射后重新接入。",
        ),
        owner="data",
        of="shop",
    ),
    Check(
        name="event_unnamed",
        words=Words("A rise that no event of the calendar explains", "日历未能解释的上升"),
        warning=1,
        page=NEVER,
        reason=_LEARNED + "more business than usual is good news, but next year's baseline must know why",
        measure=_event,
        advice=Words(
            "If there was a sale, a show or a feast, name this event in [calendar] of shop.toml.",
            "如为大促、直播或节日，请在shop.toml的[calendar]中补记该事件。",
        ),
        owner="operations",
        of="shop",
    ),
    Check(
        name="indicators",
        words=Words("Business indicators of the day", "每日经营指标"),
        warning=1,
        page=NEVER,
        reason=_LEARNED + "only the side that nobody wants counts; what to do about it is the shop's to say",
        measure=_indicator,
        advice=Words(
            "See on the morning page who and where; if the data are sound, it is the business: "
            "`propensity today`.",
            "在晨报中查看涉及的客户与渠道；若数据无误，则为业务变化：`propensity today`。",
        ),
        owner="operations",
        of="indicator",
        drift=False,
    ),
    Check(
        name="population",
        words=Words("Customers in the target's population", "目标客群规模"),
        warning=1,
        page=BROKEN,
        reason="its limit is learned from its own days; three times that is a source that lost customers",
        measure=_population,
        advice=Words("See whether a source lost a region or a channel.", "检查数据源是否缺少某地区或渠道。"),
        owner="data",
    ),
    Check(
        name="nulls",
        words=Words("Features that are not known", "特征缺失"),
        warning=1,
        page=1.25,
        reason=_LEARNED + "a page where a quarter of what the model leans on is missing",
        measure=_columns("empty"),
        advice=Words(
            "Look at the table that the features come from: `propensity log describe`.",
            "查看相关特征来源表：`propensity log describe`。",
        ),
        owner="data",
    ),
    Check(
        name="new_values",
        words=Words("Values that training never saw", "训练期未出现的取值"),
        warning=1,
        page=1.25,
        reason=_LEARNED + "a page where a quarter of what the model leans on is beyond what it learned from",
        measure=_columns("new"),
        advice=Words(
            "A unit, a code or a sign changed at the source: compare a few rows.",
            "数据源的单位、编码或符号可能改变：抽查几行核对。",
        ),
        owner="data",
    ),
    Check(
        name="features",
        words=Words("Features that moved from one day to the next", "特征突变"),
        warning=1,
        page=1.5,
        reason=_LEARNED + "a page where half of what the model leans on moved: another shop, or a fault",
        measure=_columns("level", "spread"),
        advice=Words(
            "Ask what changed on that day: an import, a price list, a campaign. If it is real, name it in "
            "the calendar; if not, correct it and build again.",
            "核实当天的变化：导入、价格表或活动。如属实，请记入日历；否则更正后重新构建。",
        ),
    ),
    Check(
        name="joint",
        words=Words("Features that no longer belong together", "特征之间的关系改变"),
        warning=1,
        page=2,
        reason="the limit is twice the most that the last weeks differed by, .03 of AUC, and ten times the "
        "chance of so few customers: another week of the same shop; twice that is rows joined to the wrong "
        "customers",
        measure=_separable,
        advice=Words(
            "If no single feature moved, rows were joined to the wrong customers: check the ids of the "
            "newest source.",
            "若各特征自身未变，可能是数据关联到了错误的客户：检查最新数据源的客户编号。",
        ),
        owner="data",
    ),
    Check(
        name="predictions",
        words=Words("Predictions that moved from one day to the next", "预测突变"),
        warning=1,
        page=NEVER,
        reason="the limit is learned from the predictions' own days; what moved them pages by itself",
        measure=_columns("level", "spread", predicted=True),
        advice=Words(
            "See which features moved with it; without one, whether another release was promoted.",
            "查看同时变化的特征；若无，检查是否更换了模型版本。",
        ),
    ),
    Check(
        name="drift",
        words=Words("Share of the importance that drifted from training", "相对训练期漂移的重要性占比"),
        warning=0.5,
        page=NEVER,
        reason="from half on the model speaks of customers it did not learn from; it may still be right, "
        "which outcomes say",
        measure=_drift,
        advice=Words(
            "Retrain on the last year, and let the gate decide: `propensity train`.",
            "用最近一年数据重新训练，由门槛决定是否发布：`propensity train`。",
        ),
    ),
)

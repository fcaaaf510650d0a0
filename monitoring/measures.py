"""What a check measures: a figure, the sentence that holds it, and what it is made of; here of a release."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from math import nan

import numpy as np

from features.describe.say import day
from features.moments import DAY
from features.words import Words
from monitoring import causes
from monitoring.baseline import FIRST, widened
from monitoring.evidence import Evidence
from monitoring.findings import Contributor
from monitoring.outcome_words import HOLD_OUT, What, patience, told
from monitoring.outcomes import Held, learnt_by, on_end
from monitoring.panels import MEMBERS, Panel, Shift
from monitoring.performance import State
from monitoring.profiles import PROBABILITY

NEVER = float("inf")
# A fault further beyond its limit than this is no chance and no season: what it touches cannot be trusted.
BROKEN = 3.0
ONLY_MORE = ("new",)  # kinds of figures of which less is what anybody wants


@dataclass(frozen=True)
class Reading:
    """What a check measured; higher is worse, nan: nothing can be said yet. words: the figure in a sentence.

    cause: the likely one. advice: what to do, where it is more than the check's own; also: beside that.
    """

    value: float
    words: Words
    cause: Words | None = None
    advice: Words | None = None
    also: tuple[Words, ...] = ()
    contributors: tuple[Contributor, ...] = ()
    since: date | None = None
    better: float = 0.0  # how far beyond its limit on the side that nobody minds
    # `data TABLE`: a fault of the log; `event`: more business; None: the subject's own
    topic: str | None = None
    ranks_only: bool = False  # the scores say who comes first, and are no probabilities


def freshness(evidence: Evidence) -> Reading:
    """0, 1: answers say that they are stale, 2: nobody is answered. No later features are judged."""
    days = evidence.age.total_seconds() / 86_400
    level = (evidence.age > evidence.stale_after) + (evidence.age > evidence.expire_after)
    words = Words("features are less than a day old", "特征更新不足一天")
    if days >= 1:
        words = Words(f"features are {days:.1f} days old", f"特征已有{days:.1f}天未更新")
    means = _AGED[level]
    cause, advice = (None, None) if not level else _why_aged(evidence)
    words = Words(words.en + means.en, words.zh + means.zh)
    return Reading(value=level, words=words, cause=cause, advice=advice)


def _why_aged(evidence: Evidence) -> tuple[Words | None, Words | None]:
    """Whether the log has later days than what is published, and what is to be done; None: as the check says.

    A log without later days is one whose sources bring nothing, or that nobody ingests: its end is that of
    what came, so nothing else in it looks unusual.
    """
    ends = evidence.log_ends
    if ends is None:
        return None, None
    last = day((ends - timedelta(microseconds=1)).date())
    if ends - evidence.moment < DAY:
        return (
            Words(
                f"the log ends on {last.en}: no source brought a later row, or nothing was ingested since",
                f"日志截止于{last.zh}：此后没有数据源送达数据，或未再导入",
            ),
            Words(
                f"Look for files of later than {last.en}. If there are none, ask the sources' owners for "
                "them; if there are, see why `propensity ingest` does not run or does not read them. Then "
                "`propensity ingest` and `propensity features build`.",
                f"查找{last.zh}之后的文件：若没有，请向数据源负责人索取；若有，请检查 `propensity ingest` "
                "为何未运行或未读取。然后运行 `propensity ingest` 与 `propensity features build`。",
            ),
        )
    return (
        Words(
            f"the log has all days until {last.en}, and no features of them are published",
            f"日志已完整至{last.zh}，但之后的特征未发布",
        ),
        Words(
            "See why the nightly `propensity features build` stopped, and run it.",
            "检查夜间的 `propensity features build` 为何停止，并运行它。",
        ),
    )


_AGED = (  # what each level means for whoever asks
    Words("", ""),
    Words(": answers say so, and no later features are judged", "：回答均标记为过期，之后的特征未作判断"),
    Words(": nobody is answered, and no later features are judged", "：已停止回答，之后的特征未作判断"),
)


def population(evidence: Evidence) -> Reading:
    """How far the number of members stands out."""
    panel = evidence.panel
    column = next(place for place, subject in enumerate(panel.subjects) if subject.name == MEMBERS)
    shift = panel.shift(column)
    now, was = shift.now, shift.was
    words = Words(f"{now:,.0f} customers to speak of", f"目标客群{now:,.0f}人")
    if abs(shift.excess) >= 1:
        words = Words(f"{words.en}, {was:,.0f} expected", f"{words.zh}，应有{was:,.0f}人")
    empty = NEVER if now == 0 else abs(shift.excess)
    return Reading(value=empty, words=words, since=shift.since)


def columns(*kinds: str, predicted: bool = False) -> Callable[[Evidence], Reading]:
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
        excess = panel.judged.excess[-1, asked]
        fewer = np.array([panel.subjects[place].kind in ONLY_MORE for place in asked]) & (excess < 0)
        excess = np.where(fewer, 0, np.abs(excess))
        if not np.isfinite(excess).any():
            return Reading(value=float("nan"), words=not_yet(panel))
        out = [panel.shift(asked[n]) for n in np.argsort(-np.nan_to_num(excess)) if excess[n] >= 1]
        judged = len({panel.subjects[p].name for p, e in zip(asked, excess, strict=True) if np.isfinite(e)})
        if not out:
            return Reading(
                value=float(np.nanmax(excess)),
                words=calm(Words(f"{judged} as usual", f"{judged}个正常"), panel),
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
    blamed = causes.of_columns(out, evidence.faulty)
    return Reading(
        value=value,
        words=words,
        cause=blamed.cause,
        contributors=contributors(out),
        since=min(shift.since for shift in out),
        topic=blamed.topic,
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


def calm(words: Words, panel: Panel) -> Words:
    """Of what is as usual: by wider limits, where the calendar's occasion comes for the first time."""
    names = panel.wide()
    return Words(f"{words.en}, {wider(names).en}", f"{words.zh}，{wider(names).zh}") if names else words


def wider(names: Sequence[str]) -> Words:
    """How much wider the limits are around these occasions, and why."""
    return Words(
        f"by limits {FIRST:g} times as wide: nothing is known yet of {', '.join(names)}",
        f"上限放宽至{FIRST:g}倍：{'、'.join(names)}尚无往年数据",
    )


def separable(evidence: Evidence) -> Reading:
    """How much better this week is told from the last than weeks usually are, in limits."""
    found = evidence.separable
    if found is None or len(found.usual) < 3:
        return Reading(
            value=float("nan"),
            words=Words("not judged yet: fewer than four weeks to compare", "暂不判断：可比较的周数不足四周"),
        )
    value = found.excess
    if evidence.panel.wide() and not found.near:  # its limits are wide by then
        value = float(widened(np.asarray(value)))
    words = Words(
        f"of a customer of this week and a like one of the last, it shows in {_pairs(found.now)} of cases "
        f"which is which; usually in {_pairs(found.centre)}",
        f"从本周与上周各取一位相近客户，{_pairs(found.now)}的情况下可辨别其属于哪一周，"
        f"通常为{_pairs(found.centre)}",
    )
    if found.near:
        words = Words(
            f"{words.en}; without what {', '.join(found.near)} changed before, "
            f"by limits {FIRST:g} times as wide",
            f"{words.zh}（已剔除{'、'.join(found.near)}前后曾变化的特征，上限放宽至{FIRST:g}倍）",
        )
    if value >= 1:
        words = Words(
            f"features do not belong together as before: {words.en}", f"特征之间的关系改变：{words.zh}"
        )
    blamed = causes.of_tables(evidence.faulty) if value >= 1 else causes.Blamed()
    named = {feature.name: Words(feature.en, feature.zh) for feature in evidence.card.features}
    return Reading(
        value=value,
        words=words if value >= 1 else calm(words, evidence.panel),
        cause=blamed.cause,
        advice=_MEND_FIRST if blamed.cause else None,
        contributors=tuple(Contributor(name, named.get(name, Words(name, name)), nan) for name in found.by),
        topic=blamed.topic,
    )


def _pairs(auc: float) -> str:
    """What an area under the ROC curve means; by how it is measured, chance is a little below a half."""
    return f"{max(0.5, auc):.0%}"


_MEND_FIRST = Words(
    "Look at that first: it may be all of it. If it is right, nothing is to be done; if not, have it mended "
    "at the source, then `propensity ingest`, `propensity features build` and `propensity monitor run`.",
    "请先核实该情况，它可能就是全部原因。若属实则无需处理；若有误，请在来源处修正，然后依次运行 "
    "`propensity ingest`、`propensity features build`、`propensity monitor run`。",
)


def drift(evidence: Evidence) -> Reading:
    """The share of the model's importance that is further from training than any of its weeks."""
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


_STATES: dict[State, float] = {"holds": 0.0, "excused": 0.5, "unsure": 0.5}  # not lost


def outcomes(*asked: What, partial: bool = False) -> Callable[[Evidence], Reading]:
    """What came of what a release said; of several questions the worse. Those decide who were left alone by
    lot, for whom nothing was bent."""

    def measure(evidence: Evidence) -> Reading:
        found = came(evidence.outcomes, asked, partial) if evidence.outcomes else None
        return found or Reading(float("nan"), _unjudged(evidence))

    return measure


def came(held: Held, asked: Sequence[What], partial: bool) -> Reading | None:
    """0: what was promised holds; .5: not sure, or off and no further than before the release; 1: it is lost;
    2: and was the time before, both times of those left alone by lot. None: nothing is known yet."""
    own = [one for one in held.figures if one.version == held.card.version and one.partial == partial]
    if not own:
        return None
    longest = [one for one in own if one.days == max(other.days for other in own)]

    def of(what: What) -> Reading:
        last, losses = longest[-1], on_end(longest, what)
        if not losses:
            return Reading(_STATES[getattr(last, what)], told(last, what))
        again = len(losses) > 1
        also = [patience(held.card.name, learnt_by(losses))] if again else []
        also += [] if last.by_lot else [HOLD_OUT]
        proven = again and all(one.by_lot for one in losses[-2:])
        return Reading(
            2.0 if proven else 1.0,
            told(last, what),
            also=tuple(also),
            since=losses[0].moment.date(),
            ranks_only=what == "calibration",
        )

    found = [of(what) for what in asked]
    worse = max(found, key=lambda reading: reading.value)
    return replace(worse, ranks_only=any(one.ranks_only for one in found))


def _unjudged(evidence: Evidence) -> Words:
    """Why nothing can be said of outcomes; an error's own words are English, and named by what they mean."""
    why = Words("nothing is known yet of what came", "尚无到期结果")
    if evidence.outcomes is not None and evidence.outcomes.unsaid:
        why = Words(evidence.outcomes.unsaid, "样本不足，尚不能判断部分结果")
    elif evidence.unjoined:
        why = Words(evidence.unjoined, "评分与结果暂时无法关联（日志太短，或目标声明已变）")
    return Words(f"not judged yet: {why.en}", f"暂不判断：{why.zh}")

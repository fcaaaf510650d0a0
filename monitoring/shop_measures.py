"""What the checks of the shop measure: of its tables, its indicators and its decisions."""

from collections.abc import Callable

import numpy as np

from features.describe.say import table as named
from features.words import Words
from monitoring import causes, indicators
from monitoring.evidence import ShopEvidence
from monitoring.findings import EVENT
from monitoring.measures import BROKEN, Reading, calm, contributors, not_yet
from monitoring.panels import Shift
from monitoring.stopped import stopped

_AS_USUAL = Words("as usual", "正常")
_TAKE_OUT = Words(
    "Have the copy taken out of the source's files, then `propensity ingest`, `propensity features build` "
    "and `propensity monitor run`: rows under other ids are counted twice until then.",
    "请从来源文件中去除重复的一份，然后依次运行 `propensity ingest`、`propensity features build`、"
    "`propensity monitor run`：编号不同的重复行在此之前会重复计数。",
)
_FIND = Words(
    "Compare the day's total with the till's own. If rows are missing, have the files sent again and run "
    "`propensity ingest` and `propensity features build`; nothing is counted twice. If it is right, "
    "customers stay away: tell operations.",
    "与业务系统的当日总数核对。若有缺失，请重新送达文件并运行 `propensity ingest` 与 "
    "`propensity features build`（不会重复计数）；若数据无误，则为客户减少：通知运营。",
)
_MEND = Words(
    "See which rows: `propensity rejects list`. Have them sent right, or correct the mapping in shop.toml if "
    "it reads them wrongly, then `propensity ingest` and `propensity features build`; a few are mended by "
    "hand: `propensity rejects export FILE`.",
    "查看是哪些行：`propensity rejects list`。请对方更正后重新送达；若为映射读取有误，请修正shop.toml。"
    "然后运行 `propensity ingest` 与 `propensity features build`；少量行可人工修正："
    "`propensity rejects export 文件`。",
)


def table(*kinds: str) -> Callable[[tuple[ShopEvidence, str]], Reading]:
    """How far the furthest figure of a table stands out, of those kinds."""

    def measure(asked: tuple[ShopEvidence, str]) -> Reading:
        evidence, name = asked
        panel = evidence.received
        gone = stopped(panel, evidence.ended) if "rows" in kinds else {}
        stop, every = gone.get(name), [*(one.shift for one in gone.values()), *panel.out()]
        out = [
            shift
            for shift in every
            if shift.subject.tables == {name}
            and shift.subject.kind in kinds
            and not causes.unnamed(shift, panel)
            and not causes.relieved(shift)
            and (stop is None or shift is stop.shift or shift.subject != stop.shift.subject)
        ]
        if not out:
            nearest = panel.nearest(kinds=kinds, table=name)
            if not np.isfinite(nearest):
                return Reading(value=nearest, words=_of(name, not_yet(panel)))
            return Reading(value=min(nearest, 0.99), words=_of(name, calm(_AS_USUAL, panel)))
        # What pages speaks for all.
        out.sort(key=lambda s: not (stop and s is stop.shift) and not causes.total(s, panel))
        more = len(out) - 1
        words = Words(
            out[0].words.en + (f"; and {more} more" if more else ""),
            out[0].words.zh + (f"；另有{more}项" if more else ""),
        )
        value, cause, advice = max(abs(one.excess) for one in out), None, None
        if causes.total(out[0], panel):
            value = max(value, BROKEN)
        if twice := next((s for s in out if s.excess > 0 and causes.repeats(s, panel)), None):
            cause, advice = _twice(twice), _TAKE_OUT
        elif (loss := causes.lost(name, out, evidence)) is not None:
            why = causes.rejected(out, causes.PART * loss.share)
            cause, advice = (why, _MEND) if why else (loss.words, _FIND)
            value = max(value, BROKEN * loss.share / causes.LOST) if loss.pages else value
        elif (why := causes.rejected(out)) is not None:
            cause, advice = why, _MEND
        elif stop is not None:
            cause, advice = stop.cause, stop.advice
        elif (column := causes.gone(out)) is not None:
            cause, advice = column
        elif (renamed := causes.renamed(out, panel)) is not None:
            cause, advice = renamed
        elif (none := causes.ended(out, panel)) is not None:
            cause, advice = none
        else:
            cause = causes.unit(out) or causes.nothing(out) or causes.moved(out)
        since = min(shift.since for shift in out)
        return Reading(
            value=value,
            words=words,
            cause=cause,
            advice=advice,
            contributors=contributors(out),
            since=since,
            topic=causes.topic(name, since, every),
        )

    return measure


def _of(name: str, words: Words) -> Words:
    said = named(name)
    return Words(f"{said.en}: {words.en}", f"{said.zh}：{words.zh}")


def _twice(shift: Shift) -> Words:
    (source,) = shift.subject.tables
    name = named(source)
    return Words(
        f"{name.en} came twice, under other ids the second time",
        f"{name.zh}重复到达，第二次使用了不同的编号",
    )


def decided(evidence: ShopEvidence) -> Reading:
    """How far the share of an action, or the number of decisions, stands out."""
    panel = evidence.decisions
    if panel is None:
        return Reading(float("nan"), Words("nothing was decided yet", "尚无决策"))
    out = panel.out()
    if not out:
        nearest = panel.nearest()
        as_usual = calm(_AS_USUAL, panel) if np.isfinite(nearest) else not_yet(panel)
        return Reading(nearest, as_usual)
    more = len(out) - 1
    words = out[0].words
    return Reading(
        value=abs(out[0].excess),
        words=Words(
            words.en + (f"; and {more} more" if more else ""), words.zh + (f"；另有{more}项" if more else "")
        ),
        contributors=contributors(out),
        since=min(shift.since for shift in out),
        topic="decisions",
    )


def event(evidence: ShopEvidence) -> Reading:
    """How far a table received more than usual, with nothing to explain it."""
    panel = evidence.received
    out = [s for s in panel.out() if causes.unnamed(s, panel)]
    if not out:
        return Reading(
            value=0.0, words=Words("no rise that the calendar does not know", "没有日历未标注的上升")
        )
    return Reading(
        value=out[0].excess,
        words=out[0].words,
        contributors=contributors(out),
        since=min(shift.since for shift in out),
        topic=EVENT,
    )


def indicator(asked: tuple[ShopEvidence, int]) -> Reading:
    """How far an indicator is on the side that nobody wants."""
    evidence, column = asked
    panel = evidence.indicators
    shift = panel.shift(column)
    name = panel.subjects[column].name.partition(":")[0]
    worse = shift.excess if indicators.named(name).bad == "up" else -shift.excess
    if not np.isfinite(worse):
        return Reading(value=float("nan"), words=not_yet(panel))
    blamed = causes.of_indicator(shift, evidence.received) if abs(worse) >= 1 else causes.Blamed()
    return Reading(
        value=max(0.0, worse),
        words=shift.words if abs(worse) >= 1 else calm(shift.words, panel),
        cause=blamed.cause,
        since=shift.since if abs(worse) >= 1 else None,
        topic=blamed.topic or f"indicator {name}",
        better=max(0.0, -worse),
    )

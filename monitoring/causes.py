"""What is behind what stands out: a table of the log that is at fault, rows that are lost or came twice."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import NamedTuple

import numpy as np

from features.describe.say import TABLES as NAMES
from features.describe.say import day
from features.describe.sheets import why_rejected
from features.words import Words
from monitoring.baseline import YOUNGEST, Float64
from monitoring.evidence import ShopEvidence
from monitoring.findings import DATA, EVENT
from monitoring.panels import Panel, Shift, Subject
from monitoring.received import USUAL

# A third of what the shop lives on, missing on two days: no weather, and too much to wait for a third day.
LOST, LOST_DAYS = 1 / 3, 2
PART = 0.5  # of what is lost, from which on a day counts to it, or a reason is why
NEARLY = 0.2  # of a power of ten: sizes vary
CENTS = 2  # powers of ten by which no price list moves
# Of its share, that a value loses; by which shares may differ; rows that are missed: fewer may be chance.
MOST_OF, ALIKE, FEWEST = 0.9, 0.5, 4
GONE, FILLED = 0.99, 0.5  # shares of rows without a column: it is gone, and it was there
VITAL = ("orders", "order_lines")


class Blamed(NamedTuple):
    """topic: of the table's fault, `event`, or None where no table stands out. cause: what did before."""

    topic: str | None = None
    cause: Words | None = None


def unnamed(shift: Shift, panel: Panel) -> bool:
    """Whether a table simply received more than usual: a sale or a show, more likely than a fault."""
    return _risen(shift) and not repeats(shift, panel)


def repeats(shift: Shift, panel: Panel) -> bool:
    """Whether the table of a shift has more rows than usual that say the same as another."""
    others = [other for other in panel.out() if other.subject.tables == shift.subject.tables]
    return any(other.subject.kind == "repeated" and other.excess > 0 for other in others)


def relieved(shift: Shift) -> bool:
    """Whether fewer rows than usual are rejected, or are of the night, which nobody minds: hours that moved
    bring others there."""
    return shift.subject.kind in ("rejected", "night") and shift.excess < 0


def rejected(out: Iterable[Shift], least: float = 0.0) -> Words | None:
    """Why rows that came are not in the log, if such a share of them is not."""
    for shift in out:
        if shift.subject.kind == "rejected" and shift.now >= least:
            why = why_rejected(shift.subject.value)
            return Words(
                f"the rows came, but break the table's contract: {why.en}",
                f"数据已到达，但不符合约定：{why.zh}",
            )
    return None


def topic(table: str, since: date, out: Iterable[Shift]) -> str:
    """Of a table's fault, by what stood out of all tables: those which began within a day are one fault, of
    the table that others follow."""
    same = {
        name
        for shift in out
        if not _risen(shift) and abs((shift.since - since).days) <= 1
        for name in shift.subject.tables
    }
    vital = [name for name in VITAL if name in {table, *same}]
    return f"{DATA} {(vital or sorted({table, *same}))[0]}"


def of_columns(out: Sequence[Shift], faulty: Mapping[str, Sequence[Shift]]) -> Blamed:
    """Of features: a fault of their tables explains them for as long as it is in their windows."""
    tables = frozenset().union(*(shift.subject.tables for shift in out))
    every = _all(faulty)
    own = [shift for shift in every if shift.subject.tables & tables]
    return _blamed(own, min(shift.since for shift in out), every)


def of_tables(faulty: Mapping[str, Sequence[Shift]]) -> Blamed:
    """Of all features together: whatever table is at fault."""
    shifts = _all(faulty)
    return _blamed(shifts, max((shift.since for shift in shifts), default=date.max), shifts)


def of_indicator(shift: Shift, panel: Panel) -> Blamed:
    """Of an indicator: a table that it is counted from, and that stands out on the same days."""
    days = (panel.last - shift.since).days + 1
    every = [other for place in range(-min(days, len(panel.native)), 0) for other in panel.out(place)]
    same = [other for other in every if other.subject.tables & shift.subject.tables]
    return _blamed(same, shift.since, every)


def _all(faulty: Mapping[str, Sequence[Shift]]) -> list[Shift]:
    return [shift for found in faulty.values() for shift in found]


def _risen(shift: Shift) -> bool:
    return shift.subject.kind == "rows" and shift.excess > 0


def _blamed(shifts: Sequence[Shift], since: date, every: Sequence[Shift]) -> Blamed:
    """By those of some tables; every: all that stood out."""
    if not shifts:
        return Blamed()
    # A cause comes first, and an older one has been told before: the last before it, or of that day.
    before = [shift for shift in shifts if shift.since <= since]
    if not before:
        return Blamed(_topic(max(shifts, key=lambda shift: abs(shift.excess)), every))
    last = max(before, key=lambda shift: (shift.since, abs(shift.excess)))
    on, what = day(last.since), last.words
    said = Words(f"the log, since {on.en}: {what.en}", f"日志，自{on.zh}起：{what.zh}")
    return Blamed(_topic(last, every), said)


def _topic(shift: Shift, every: Iterable[Shift]) -> str:
    if _risen(shift):
        return EVENT
    (table,) = shift.subject.tables
    return topic(table, shift.since, every)


def total(shift: Shift, panel: Panel) -> bool:
    """Whether what the shop lives on came every day and now not at all, a column that most rows had is in
    none, or sizes are a hundred times what they were, or that part: no chance does that to a day that stands
    out, however few rows it has. Days that stood out say nothing of habits.

    Of other tables nothing may come for reasons of its own: no campaign, no new customer.
    """
    column = panel.subjects.index(shift.subject)
    start = (shift.since - panel.last).days + len(panel.native) - 1
    told = np.isfinite(panel.native[:start, column]) & ~panel.judged.out[:start, column]
    if panel.fresh is not None:
        told &= panel.fresh[:start, column]
    before = panel.native[:start, column][told]
    if shift.subject.kind == "rows" and shift.subject.tables <= {*VITAL}:
        before = before[np.flatnonzero(before)[0] :] if before.any() else before[:0]  # since it comes
        return shift.now == 0 and len(before) >= YOUNGEST and bool((before > 0).all())
    if shift.subject.kind == "size" and min(shift.now, shift.was) > 0:
        return abs(float(np.log10(shift.now / shift.was))) >= CENTS - NEARLY
    return (
        shift.subject.kind == "empty"
        and shift.now >= GONE
        and len(before) >= YOUNGEST
        and float(before.max()) <= FILLED
    )


def unit(out: Iterable[Shift]) -> Words | None:
    """A size that is ten, a hundred or a thousand times what it was, or that part of it: another unit."""
    for shift in out:
        if shift.subject.kind == "size" and shift.now > 0 and shift.was > 0:
            power = float(np.log10(shift.now / shift.was))
            times = round(power)
            if times and abs(power - times) < NEARLY:
                what, factor = shift.subject.words, f"{10 ** abs(times):,}"
                large = times > 0
                return Words(
                    f"another unit: {what.en} is about {factor} times as {'large' if large else 'small'}",
                    f"单位可能改变：{what.zh}约为此前的{factor}{'倍' if large else '分之一'}",
                )
    return None


def nothing(out: Iterable[Shift]) -> Words | None:
    """A table that brings rows, and brought none on the last day."""
    if any(shift.subject.kind == "rows" and shift.now == 0 for shift in out):
        return Words(
            "nothing came: a file is missing, or the source stopped", "没有数据到达：文件缺失，或数据源已停止"
        )
    return None


def moved(out: Iterable[Shift]) -> Words | None:
    """Far more rows of the small hours than before: a clock or a time zone."""
    for shift in out:
        if shift.subject.kind == "night" and shift.excess > 0:
            return Words(
                "the hours moved: the source's clock or its time zone may have changed, or a job at night "
                "stamps its own time",
                "时间整体偏移：来源的时钟或时区可能已改变，或夜间任务写入了自身时间",
            )
    return None


def gone(out: Iterable[Shift]) -> tuple[Words, Words] | None:
    """Columns that rows had and hardly any has now: what happened at the source, and what to do."""
    columns = [
        shift.subject.name
        for shift in out
        if shift.subject.kind == "empty" and shift.now >= GONE and shift.was <= FILLED
    ]
    if not columns:
        return None
    en, zh = ", ".join(columns), "、".join(columns)
    return (
        Words(
            f"{en} is not filled any more: the source renamed it, dropped it or sends it empty",
            f"{zh}已不再有值：来源改了列名、删了该列，或只发送空值",
        ),
        Words(
            f"Look for {en} in the head of the source's newest file. If it has another name, correct it in "
            "shop.toml; if it is not there, have the file sent again with it. Then `propensity ingest`, "
            "`propensity features build` and `propensity monitor run`.",
            f"在最新来源文件的表头中查找{zh}：若已改名，修正shop.toml中的列名；若已缺失，请对方补齐后重新送达。"
            "然后依次运行 `propensity ingest`、`propensity features build`、`propensity monitor run`。",
        ),
    )


def renamed(out: Iterable[Shift], panel: Panel) -> tuple[Words, Words] | None:
    """A value that no row has any more since one began that never was, with about as many rows: another name
    for it, and what to do. Small shops are looked at over all of those days: one day says little."""
    for shift in out:
        column, new = shift.subject.name, shift.subject.value
        if shift.subject.kind != "unseen" or not new:
            continue
        place = panel.subjects.index(shift.subject)
        start = int(np.flatnonzero(~(panel.native[:, place] > 0))[-1]) + 1  # it is not there from the first
        began, rows = slice(start, None), _rows(panel, shift.subject)
        share, several = _share(panel, place, rows, began), float(rows[began].sum())
        found: list[tuple[float, str]] = []
        for other, one in enumerate(panel.subjects):
            if one.kind != "share" or not one.name.startswith(f"{column}."):
                continue
            was = _share(panel, other, rows, slice(max(0, start - USUAL), start))
            gone = was * several >= FEWEST and _share(panel, other, rows, began) <= was * (1 - MOST_OF)
            larger, apart = max(was, share), abs(was - share)
            if gone and apart <= max(ALIKE * larger, 3 * (larger / several) ** 0.5):
                found.append((apart, one.value))
        if found:
            return _renamed(column, min(found)[1], new)
    return None


def ended(out: Iterable[Shift], panel: Panel) -> tuple[Words, Words] | None:
    """A value that no row of the last day has, and no other took its place: what is lost, and what to do."""
    for shift in out:
        if shift.subject.kind != "share" or shift.excess > 0 or shift.now != 0:
            continue
        rows = _rows(panel, shift.subject)
        if shift.was * float(np.median(rows[-1 - USUAL : -1])) < FEWEST:
            continue
        what = shift.subject.words
        rows_zh = what.zh.removesuffix("的占比")
        return (
            Words(
                f"no {what.en} came: a file or a source is missing, or it ended",
                f"{rows_zh}未到达：文件或来源缺失，或该业务已停止",
            ),
            Words(
                f"Ask the source's owner for {what.en}. If they are missing, have the files sent again, then "
                "`propensity ingest` and `propensity features build`; nothing is counted twice. If it ended, "
                "nothing is to be done.",
                f"请向数据源负责人核实{rows_zh}。若有缺失，请重新送达文件并运行 `propensity ingest` 与 "
                "`propensity features build`（不会重复计数）；若业务已停止，无需处理。",
            ),
        )
    return None


def _rows(panel: Panel, of: Subject) -> Float64:
    """[days]: how many rows its table received."""
    place = next(n for n, one in enumerate(panel.subjects) if one.kind == "rows" and one.tables == of.tables)
    return np.nan_to_num(panel.native[:, place])


def _share(panel: Panel, place: int, rows: Float64, days: slice) -> float:
    """Of all rows of those days."""
    return float((np.nan_to_num(panel.native[days, place]) * rows[days]).sum() / max(rows[days].sum(), 1))


def _renamed(column: str, old: str, new: str) -> tuple[Words, Words]:
    return (
        Words(
            f"{column}: {old} stopped when {new} began, with about as many rows: it seems to be renamed",
            f"{column}：{old}不再出现，同时出现数量相当的{new}，可能是改名",
        ),
        Words(
            f"Ask the source's owner whether {old} is called {new} now. If so, map {new} to {old} in "
            "shop.toml, then `propensity ingest` and `propensity features build`: models know the old name "
            "alone. If not, one ended as the other began: nothing is to be done.",
            f"请向数据源负责人确认{old}是否改称{new}。若是，请在shop.toml中将{new}映射为{old}，然后运行 "
            "`propensity ingest` 与 `propensity features build`：模型只认识旧名称。"
            "若不是，则为一项结束、另一项开始，无需处理。",
        ),
    )


class Loss(NamedTuple):
    """share: of the rows that such days bring, that are missing since it stands out; a_day: how many. alone:
    days say so by themselves, and not only together, when the figure stands out by 1 and no more."""

    share: float
    a_day: float
    days: int
    words: Words
    alone: bool

    @property
    def pages(self) -> bool:
        """Whether it is too much to wait."""
        return self.alone and self.share >= LOST and self.days >= LOST_DAYS


def lost(table: str, out: Iterable[Shift], evidence: ShopEvidence) -> Loss | None:
    """What is missing of a table that the shop lives on, told and graded by its orders where those stand out,
    too; None of another, or if it does not stand out so."""
    if table not in VITAL or not any(_fallen(shift) for shift in out):
        return None
    fallen = [shift for shift in evidence.received.out() if _fallen(shift)]
    every = [shift for name in VITAL for shift in fallen if name in shift.subject.tables]
    return _loss(every[0], evidence) if every else None


def _fallen(shift: Shift) -> bool:
    return shift.subject.kind == "rows" and shift.excess < 0


def _loss(shift: Shift, evidence: ShopEvidence) -> Loss:
    panel = evidence.received
    days = (panel.last - shift.since).days + 1
    column = panel.subjects.index(shift.subject)
    share, a_day = _missing(panel, column, days)
    before = _missing(panel, column, days + 1)
    if before[0] > share * (1 - PART / (days + 1)):  # it takes two days to stand out: that was the first
        days, (share, a_day) = days + 1, before
    (table,) = shift.subject.tables
    name, since = NAMES.get(table, Words(table, table)), day(panel.last - timedelta(days=days - 1))
    en = [f"lost {name.en}: about {a_day:,.0f} a day since {since.en}, {share:.0%} of what is due"]
    zh = [f"{name.zh}缺失：自{since.zh}起每天约{a_day:,.0f}条，占应有的{share:.0%}"]
    parts = [
        other.subject.words
        for other in panel.out()
        if other.subject.kind == "share" and other.excess < 0 and table in other.subject.tables
    ]
    if parts:
        en.append("above all " + ", ".join(part.en for part in parts[:2]))
        zh.append("主要是" + "、".join(part.zh for part in parts[:2]))
    elif share < 1:
        en.append("of all kinds alike: a part of the feed is missing, or customers stay away")
        zh.append("各类均等减少：数据部分缺失，或客户减少")
    fewer = _fewer(evidence.indicators, days)
    if fewer:
        en.append(f"{fewer:.0%} fewer customers were active")
        zh.append(f"活跃客户减少{fewer:.0%}")
    return Loss(share, a_day, days, Words("; ".join(en), "；".join(zh)), alone=shift.excess < -1)


def _missing(panel: Panel, column: int, days: int) -> tuple[float, float]:
    """Of a count, on the last days: the share that is missing of what was expected, and how much a day."""
    came = float(np.nan_to_num(panel.native[-days:, column]).sum())
    due = float(np.expm1(np.nan_to_num(panel.judged.expected[-days:, column])).sum())
    return max(0.0, 1 - came / max(due, 1e-9)), max(0.0, due - came) / days


def _fewer(panel: Panel, days: int) -> float:
    """The share of active customers that is missing, where that stands out too."""
    for column, subject in enumerate(panel.subjects):
        if subject.name == "active_customers" and panel.judged.excess[-1, column] <= -1:
            return _missing(panel, column, days)[0]
    return 0.0

"""Daily figures of one subject side by side, judged against their baseline, and told in words.

A panel is made of a release's profiles (a feature's level, spread, unknowns and values never seen), of what
the log's tables received, or of the business indicators. What stands out on a day is a `Shift`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pyarrow as pa

from features.definitions import Feature
from features.moments import DAY
from features.words import Words
from monitoring.baseline import LAG, TRAIL, Bool, Float64, Int64, Judged, judge, keeping
from monitoring.histograms import Histograms
from monitoring.indicators import named
from monitoring.occasions import Occasions, closed
from monitoring.profiles import PROBABILITY, Profiles
from monitoring.received import CHANCE, STEADY, Figure, Kind, Received, angle, share
from serving.cards import ModelCard

MEMBERS = "members"  # of the population: how many there are
# Changes of a feature below which nobody cares: standard deviations of its ranks in training; shares' angles.
LEAST_LEVEL, LEAST_SHARE, LEAST_ROWS = 0.1, 0.2, 0.2
LEAST_NEW = 0.35  # 3 % beyond all that training saw: a few customers always are
# Of features of the calendar alone, all that is judged: whether they are known. They are the same for every
# customer, and what moves them was named ahead: a feast is neither a fault at the source nor another shop.
CALENDAR, KNOWN = frozenset({"calendar"}), "empty"
SETTLES = 60  # days after the log's start at which even a growing feature changes slowly from day to day
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Subject:
    """What one column of a panel is. kind: of figure. weight: its share of the model's importance.

    tables: of the log, that it comes from. value: that is counted of a column; of what is unseen, the newest.
    """

    name: str
    kind: str
    words: Words
    weight: float = 0.0
    tables: frozenset[str] = frozenset()
    value: str = ""


@dataclass(frozen=True)
class Shift:
    """What stands out. excess: 1 is at the limit; negative: below. was, now: what people read; of rows, was
    is what was due on that day. peak: what it was on one of the two days before, where that is why it stands
    out, and it is back by now."""

    subject: Subject
    excess: float
    was: float
    now: float
    since: date
    peak: float | None = None

    @property
    def words(self) -> Words:
        """One phrase with its figures."""
        en, zh = _SAID.get(self.subject.kind, _SAID["share"])
        show = _SHOWN.get(self.subject.kind, _percent)
        was, last, name = show(self.was), show(self.now), self.subject.words
        now = last if self.peak is None else show(self.peak)
        en, zh = en.format(name=name.en, was=was, now=now), zh.format(name=name.zh, was=was, now=now)
        if self.peak is not None:
            en, zh = f"{en}; {last} on the last day", f"{zh}；最近一天为{last}"
        return Words(en, zh)


@dataclass(frozen=True)
class Panel:
    """first: the first day, whole days since 1970. native: [days, figures] as people read them. idle: bool
    [days], on which the shop may do no business at all."""

    first: int
    subjects: tuple[Subject, ...]
    native: Float64
    judged: Judged
    fresh: Bool | None = None  # [days, figures]: False where a value is an earlier day's; None: none is
    idle: Bool | None = None

    @property
    def last(self) -> date:
        """The day of the last row."""
        return _EPOCH + timedelta(days=self.first + len(self.native) - 1)

    def out(self, place: int = -1) -> list[Shift]:
        """What stands out on the day at a place, the furthest first."""
        excess = np.nan_to_num(self.judged.excess[place])
        found = np.flatnonzero(np.abs(excess) >= 1)
        return [self.shift(int(column), place) for column in found[np.argsort(-np.abs(excess[found]))]]

    def shift(self, column: int, place: int = -1) -> Shift:
        """One figure on the day at a place, standing out or not."""
        place = place % len(self.native)
        out = self.judged.out[:, column]
        start = place
        while start > 0 and out[start - 1]:
            start -= 1
        before = self.native[max(0, start - LAG - TRAIL) : max(1, start - LAG + 1), column]
        known = before[np.isfinite(before)]
        was, now = float(known.mean()) if len(known) else float("nan"), float(self.native[place, column])
        expected = float(self.judged.expected[place, column])
        if self.subjects[column].kind == "rows" and np.isfinite(expected):  # of a Wednesday, or of a holiday
            was = float(np.expm1(expected))
        lately = self.native[max(0, place - 2) : place, column]
        peak = float(max(lately, key=lambda value: abs(value - was), default=now))
        back = bool(out[place]) and abs(now - was) < abs(peak - was) / 2
        return Shift(
            self.subjects[column],
            float(self.judged.excess[place, column]),
            was,
            now,
            _EPOCH + timedelta(days=self.first + start),
            peak if back else None,
        )

    def until(self, place: int) -> "Panel":
        """The same up to and with the day at a place: what was known then."""
        judged = Judged(
            self.judged.excess[: place + 1],
            self.judged.expected[: place + 1],
            self.judged.values[: place + 1],
            self.judged.wide,
        )
        fresh = None if self.fresh is None else self.fresh[: place + 1]
        idle = None if self.idle is None else self.idle[: place + 1]
        return Panel(self.first, self.subjects, self.native[: place + 1], judged, fresh, idle)

    def wide(self, place: int = -1) -> tuple[str, ...]:
        """The occasions that come for the first time around the day at a place: its limits are wider."""
        return self.judged.wide.get(place % len(self.native), ())

    def nearest(self, place: int = -1, kinds: Sequence[str] = (), table: str | None = None) -> float:
        """How near the nearest figure of those kinds (of a table alone) is to its limit; nan where none could
        be judged."""
        own = np.array([table in (None, *subject.tables) for subject in self.subjects], bool)
        excess = np.abs(self.judged.excess[place, own & self.columns(kinds)])
        return float(np.nanmax(excess)) if np.isfinite(excess).any() else float("nan")

    def columns(self, kinds: Sequence[str]) -> Bool:
        """Of the figures, those of some kinds; of none: all."""
        return np.array([not kinds or subject.kind in kinds for subject in self.subjects], bool)


def of_release(
    profiles: Profiles,
    card: ModelCard,
    declared: Mapping[str, Feature],
    occasions: Occasions,
    starts: int,
    tables: Callable[[str], frozenset[str]],
) -> Panel:
    """How the release's members look from day to day. starts: the log's first day; tables: of a feature."""
    first, days = int(profiles.days[0]), profiles.days - profiles.days[0]
    level, spread = positions(profiles.reference, profiles.counts)
    known = np.maximum(profiles.rows[:, None] - profiles.nulls, 1)
    rows = np.maximum(profiles.rows[:, None], 1)
    empty, new = profiles.nulls / rows, profiles.news / known
    mean = np.where(profiles.rows[:, None] > profiles.nulls, profiles.sums / known, np.nan)
    values = [level, spread, angle(empty), angle(new)]
    natives = [mean, mean, empty, new]
    kinds = ("level", "spread", "empty", "new")
    shape = known.shape
    few = np.maximum(LEAST_NEW, CHANCE / np.sqrt(known))  # of five customers one is a fifth
    least = [*(np.full(shape, size) for size in (LEAST_LEVEL, LEAST_LEVEL, LEAST_SHARE)), few]
    words = {feature.name: Words(feature.en, feature.zh) for feature in card.features}
    words[PROBABILITY] = _PREDICTED
    total = sum(card.importance.values()) or 1.0
    subjects = [
        Subject(
            name,
            kind,
            words[name],
            1.0 if name == PROBABILITY else card.importance.get(name, 0.0) / total,
            tables(name) if name in declared else frozenset(),
        )
        for kind in kinds
        for name in profiles.columns
    ]
    figures = np.column_stack([*values, np.log1p(profiles.rows)])
    figures[:, [n for n, one in enumerate(subjects) if one.tables == CALENDAR and one.kind != KNOWN]] = np.nan
    settled = [min(reach(name, declared) // DAY, SETTLES) for name in profiles.columns]
    since = np.array([*settled * len(kinds), 0], np.int64) + starts - first
    return _panel(
        first,
        days,
        (*subjects, Subject(MEMBERS, "rows", _MEMBERS)),
        figures,
        np.column_stack([*natives, profiles.rows]),
        np.column_stack([*least, np.full(len(days), LEAST_ROWS)]),
        since,
        occasions,
    )


def of_received(received: Received, occasions: Occasions) -> Panel:
    """What the tables received from day to day."""
    subjects = tuple(
        Subject(
            ".".join(filter(None, (f.table, f.column, f.value if f.kind == "share" else ""))),
            f.kind,
            f.words,
            tables=frozenset({f.table}),
            value=f.value,
        )
        for f in received.figures
    )
    native = received.values.copy()
    for column, figure in enumerate(received.figures):
        back = np.expm1 if figure.kind in ("rows", "size") else share
        native[:, column] = back(native[:, column])
    since = np.zeros(len(subjects), np.int64)
    idle = _idle(received, occasions)
    moves = np.array([f.kind not in STEADY for f in received.figures]) & ~_nothing(received, idle)
    anew = received.anew()
    judged = judge(
        received.values, received.first, received.least(anew), occasions, since, later=(),
        fresh=received.fresh, closed=closed(occasions), moves=moves, anew=anew,
    )  # fmt: skip
    return Panel(received.first, subjects, native, judged, received.fresh, idle)


def of_indicators(table: pa.Table, first: int, last: int, occasions: Occasions) -> Panel:
    """The business indicators, as `indicators.daily` gives them, of the days from first to last."""
    from monitoring.counting import VIEWS

    days = last - first + 1
    figures: list[Figure] = []
    subjects: list[Subject] = []
    keys = sorted({*zip(table["name"].to_pylist(), table["segment"].to_pylist(), strict=True)})
    values, native = np.full((2, days, len(keys)), np.nan)
    rows = np.zeros((days, len(keys)), np.int64)
    names, segments = (table[column].to_numpy(zero_copy_only=False) for column in ("name", "segment"))
    day = table["day"].cast(pa.int32()).to_numpy() - first
    for column, (name, segment) in enumerate(keys):
        own = (names == name) & (segments == segment) & (day >= 0) & (day < days)
        native[day[own], column] = table["value"].to_numpy()[own]
        rows[day[own], column] = table["n"].to_numpy()[own]
        indicator = named(name)
        kind = _SCALES[indicator.unit]
        figures.append(Figure(name, kind))
        key = f"{name}:{segment}" if segment else name
        said = Words(*(f"{text} ({segment})" if segment else text for text in indicator.words))
        tables = frozenset().union(*(VIEWS[view].of for view in indicator.events))
        subjects.append(Subject(key, "share" if kind == "share" else "count", said, tables=tables))
        own_native = native[:, column]
        values[:, column] = angle(own_native) if kind == "share" else np.log1p(np.maximum(own_native, 0))
    seen = Received(first, tuple(figures), values, rows, np.isfinite(values))
    judged = judge(
        values,
        first,
        seen.least(),
        occasions,
        np.zeros(len(keys), np.int64),
        later=(),
        closed=closed(occasions),
        moves=~_nothing(seen, _idle(seen, occasions)),
    )
    return Panel(first, tuple(subjects), native, judged)


def _idle(seen: Received, occasions: Occasions) -> Bool:
    """[days], on which the shop may do no business at all."""
    return np.isin(np.arange(seen.first, seen.first + len(seen.values)), [*keeping(occasions)])


def _nothing(seen: Received, idle: Bool) -> Bool:
    """[days, figures], whether of what is counted there was none, and no reason for it: a sale or a show is
    none, a holiday, or that the shop is closed, may be."""
    counted = np.array([figure.kind == "rows" for figure in seen.figures], bool)
    return counted & ~idle[:, None] & (np.nan_to_num(seen.values, nan=1.0) <= 0)


def of_decisions(rates: Sequence[tuple[int, str, int]], first: int, last: int, occasions: Occasions) -> Panel:
    """How many decisions a day took, and the share of each action, from (day, action, several)."""
    days = last - first + 1
    actions = sorted({action for _, action, _ in rates})
    several = np.zeros((days, len(actions)), np.int64)
    for day, action, number in rates:
        if 0 <= day - first < days:
            several[day - first, actions.index(action)] += number
    total = several.sum(axis=1)
    shares = np.where(total[:, None] > 0, several / np.maximum(total, 1)[:, None], np.nan)
    figures = (Figure("decisions", "rows"), *(Figure("decisions", "share", "action", one) for one in actions))
    subjects = (
        Subject("decisions", "count", Words("decisions of the day", "当日决策数")),
        *(Subject(one, "share", Words(f"decisions for {one}", f"决策为{one}的占比")) for one in actions),
    )
    values = np.column_stack([np.log1p(total), angle(shares)])
    rows = np.repeat(total[:, None], len(figures), axis=1)
    least = Received(first, figures, values, rows, np.isfinite(values)).least()
    judged = judge(
        values, first, least, occasions, np.zeros(len(figures), np.int64), later=(), closed=closed(occasions)
    )
    return Panel(first, subjects, np.column_stack([total, shares]), judged)


# How an indicator's changes compare: as a share's angle, or as logarithms of what is counted.
_SCALES: dict[str, Kind] = {
    "share": "share", "orders": "rows", "customers": "rows", "cases": "rows", "money": "size",
    "points": "size",
}  # fmt: skip


def positions(reference: Histograms, counts: Int64) -> tuple[Float64, Float64]:
    """Where the rows of histograms lie in a reference: level and spread, [days, columns] each.

    A row's rank is the share of the reference below it, ties at the middle. Level: the mean rank, from the
    reference's, in its standard deviations: of a normal feature about what its mean moved by. Spread: the
    same of the rank's distance from the middle. No single value, however large, moves either by more than
    its row's share. nan where nothing is known.
    """
    share = reference.counts / np.maximum(reference.counts.sum(axis=1, keepdims=True), 1)
    rank = np.cumsum(share, axis=1) - share / 2
    total = counts.sum(axis=2)
    found = []
    for place in (rank, np.abs(2 * rank - 1)):
        mean = (share * place).sum(axis=1)
        deviation = np.sqrt(np.maximum((share * place**2).sum(axis=1) - mean**2, 1e-4))
        sums = np.einsum("dcb,cb->dc", counts, place)
        with np.errstate(invalid="ignore", divide="ignore"):
            found.append((sums / total - mean) / deviation)
    return found[0], found[1]


def reach(name: str, declared: Mapping[str, Feature]) -> timedelta:
    """How far back a feature looks: its window, the longest of its inputs', a year for all of history."""
    feature = declared.get(name)
    if feature is None:
        return timedelta(0)
    if feature.inputs:
        return max(reach(other, declared) for other in feature.inputs)
    return timedelta(days=365 if feature.window is None else feature.window)


def _panel(
    first: int,
    days: Int64,
    subjects: tuple[Subject, ...],
    values: Float64,
    native: Float64,
    least: Float64,
    since: Int64,
    occasions: Occasions,
) -> Panel:
    """Days without figures become rows of nan."""
    shape = (int(days[-1]) + 1, len(subjects))
    whole, shown, cared = np.full((3, *shape), np.nan)
    whole[days], shown[days], cared[days] = values, native, least
    return Panel(first, subjects, shown, judge(whole, first, cared, occasions, since))


UNKNOWN = "–"  # of a day on which nothing was counted
_PREDICTED = Words("the predicted probability", "预测概率")
_MEMBERS = Words("customers to speak of", "目标客群人数")


def _percent(value: float) -> str:
    return UNKNOWN if value != value else f"{value:.1%}"


def _plain(value: float) -> str:
    if value != value:
        return UNKNOWN
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


_SHOWN: dict[str, Callable[[float], str]] = dict.fromkeys(
    ("level", "spread", "rows", "size", "count"), _plain
)
_SAID: dict[str, Words] = {
    "level": Words("{name}: {now} on average, {was} before", "{name}：均值{now}，此前{was}"),
    "spread": Words(
        "{name}: spread otherwise than before (average {now}, {was} before)",
        "{name}：分布形状改变（均值{now}，此前{was}）",
    ),
    "empty": Words("{name}: {now} not known, {was} before", "{name}：缺失{now}，此前{was}"),
    "new": Words(
        "{name}: {now} outside what training saw, {was} before", "{name}：{now}超出训练范围，此前{was}"
    ),
    "count": Words("{name}: {now}, {was} before", "{name}：{now}，此前{was}"),
    "rows": Words("{name}: {now}, {was} expected", "{name}：{now}，应有{was}"),
    "share": Words("{name}: {now}, {was} before", "{name}：{now}，此前{was}"),
}

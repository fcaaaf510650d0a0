"""What features tell of what came, at which distance: what tells a later time better knows more than it may.

What was known at a moment gets old: of honest features the first day is told hardly better than the second,
and no horizon later on better than the next one. Two ways to tell who knew more, both in AUC, beyond chance:
* Peeking: more of the first day than of the second, as the third shows, or of that weekday a week later; or
  more of the horizon than of those after it, once it is reckoned how many are lost from one to the next.
* Foreseeing: from the earliest moments, more of some horizon months later than of the next one, or of the
  same season a year before it. So a list shows that was made of what a horizon brought, and that rows or a
  declaration carry as if it had been known all along; wherever it was made, it fits that time alone. Those
  of whom a feature is known are looked at by themselves, too: so the others do not hide a list of some.

Few rows prove little: of 2,300 customers, a list of everybody's last order is found for certain if it holds
three in ten of them or more, and in one draw of three if it holds one in seven; mixed with others' honest
values of the same feature, from seven in ten on (`test_foresight` measures it). What tells of all times
alike, such as everybody's total over the whole log, is by its power no other than an honest trait, and shows
in neither.

Where nearly all who stay away are lost, a list of who came tells later horizons as an honest feature does
that knows who is lost already, and may pass.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.stats import rankdata

from features.moments import DAY, from_us, to_us
from training import pooled
from training.labels import labels
from training.samples import Dataset
from training.target import Label
from training.targets import Target

Numbers = NDArray[np.float64]
Windows = tuple[tuple[int, int], ...]  # in days after a moment: first, end

ROWS = 40_000  # at most, that powers are measured on
# Of AUC: more than honest features of the public logs reach, chance included, less than
# the lists that the tests plant. Items per order of a week of spring tell Online Retail's autumn .07 better.
AHEAD = 0.1
STEADY = 0.06  # the same where a third window tells how fast honest features fade: they reach half of it
WORTH_TELLING = 0.02  # of AUC: less is not told as the largest
PLAIN = (7, 14, 28, 56, 90)  # days over which every feature is asked about orders, whatever the target asks
RHYTHM = 56  # days after the moment that a horizon is held against, at least
SURE = 5.0  # standard errors: with hundreds of features, chance would reach three now and then
FIRST_DAYS = ((0, 1), (1, 2), (2, 3), (7, 8))  # windows, in days after the moment
LEAST = 50  # of each kind of outcome: with fewer there is no power to speak of
EARLIEST = 4  # moments that look months ahead
SPAN = 28  # days of a horizon that is looked for from afar, at least: nobody keeps lists of single weeks
YEAR = 364  # days: the same season, on the same weekday


@dataclass(frozen=True)
class Excess:
    """By how much more of AUC a feature tells of some time than it could if it did not look ahead.

    allowed: how much honest features may have. of: the label by which it shows. start: when the time begins
    that was foreseen months before; None: at the moment itself.
    """

    feature: str
    gap: float
    allowed: float
    of: Label
    start: datetime | None = None

    @property
    def share(self) -> float:
        """Of what is allowed: 1 and less is."""
        return self.gap / self.allowed


def looked(target: Target, data: Dataset, orders: pa.Table | None = None) -> list[Excess]:
    """The largest excess of each feature that has any, beyond chance, worth telling; the largest first.

    orders: the log's, where the target's event is another. Whatever the target asks, a feature is asked about
    orders, too, over several horizons: what was made of the orders of four weeks tells of each of these weeks
    alike, and so shows in no week's figures.
    """
    every: dict[str, Excess] = {}
    asked = _asked(target, data, orders)
    for one in (*_peeking(asked, data), *_foreseeing(asked, data)):
        if one.feature not in every or one.share > every[one.feature].share:
            every[one.feature] = one
    return sorted(every.values(), key=lambda one: (-one.share, one.feature))


@dataclass(frozen=True)
class _Asked:
    """A label over so many days, and the events that it is made of."""

    target: Target
    tables: Mapping[str, pa.Table]

    def over(self, days: int) -> "_Asked":
        return replace(self, target=replace(self.target, horizon_days=days))


def _asked(target: Target, data: Dataset, orders: pa.Table | None) -> list[_Asked]:
    """The target's own label, and each of PLAIN about orders that it does not ask anyhow."""
    label: Label = "order" if target.label in ("overdue", "no_order") else target.label
    own = _Asked(replace(target, label=label), data.events)  # a silence has no day
    if orders is None:
        orders = data.events.get("orders")
    if orders is None:
        return [own]
    plain = replace(target, label="order", returned=True, categories=())
    asked = [_Asked(replace(plain, horizon_days=days), {"orders": orders}) for days in PLAIN]
    return [own, *(one for one in asked if one.target.asks != own.target.asks)]


def _windows(days: int) -> Windows:
    """The horizon and those after it: two, to tell how fast what is known gets old, and for eight weeks at
    least, since where customers come by a rhythm its turn is as plain later on as now."""
    return tuple((n * days, (n + 1) * days) for n in range(max(3, -(-RHYTHM // days))))


def _peeking(asked: Sequence[_Asked], data: Dataset) -> Iterator[Excess]:
    """What tells of the first days, or of the horizon, more than of those after."""
    by, first_days = data.timeline.known_by, set[Label]()
    # What is asked of rows at the same moments, which are ranked once for all.
    together: dict[tuple[datetime, ...], list[tuple[_Asked, Windows, float]]] = {}
    for place, one in enumerate(asked):
        windows = _windows(one.target.horizon_days)
        every = [(windows, STEADY)]
        if place == 0:  # its own horizon is asked about in a short log, too
            every.append((windows[:2], AHEAD))
        if one.target.label not in first_days:
            every.append((FIRST_DAYS, AHEAD))
            first_days.add(one.target.label)
        for windows, allowed in every:
            together.setdefault(_until(data, by - windows[-1][1] * DAY), []).append((one, windows, allowed))
    for moments, questions in together.items():
        if not moments:
            continue
        sample, answers = _Sample(data, moments), list[tuple[_Told, float, Label]]()
        for one, windows, allowed in questions:
            starts = [{moment: moment + first * DAY for moment in moments} for first, _ in windows]
            told = sample.told(one, windows[0][1], starts)
            if told.enough.all():
                answers.append((told, allowed, one.target.label))
        for column, name in enumerate(data.features if answers else ()):
            order = sample.order(column)
            for told, allowed, label in answers:
                if gap := _peeked(told, order):
                    yield Excess(name, gap, allowed, label)


def _peeked(told: "_Told", order: Numbers) -> float:
    """By how much a feature tells of the first window more than of the others; 0 if that may be chance."""
    power = told.power(order)
    first, *others = np.abs(power)
    # Those lost since the first window stay away from the second, too, and nobody can have known them: of all
    # who stay away, those who were lost already are so much less. The more often customers buy, the more of
    # those who stay away are lost, and the faster does what is known of them fade.
    second = others[0] * max(told.silent[1] / told.silent[0], 1.0)
    if len(others) > 1:  # what fades fast has faded as much from the second window to the third
        second = max(second, 2 * others[0] - others[1])
    others[0] = second
    gap = float(first - max(others))
    if gap > WORTH_TELLING and gap > SURE * told.error(order, power, 0, 1 + int(np.argmax(others))):
        return gap
    return 0.0


def _foreseeing(asked: Sequence[_Asked], data: Dataset) -> Iterator[Excess]:
    """What tells, from the earliest moments, more of a later horizon than of the next one and of that season
    a year before; nothing if the data hold no two horizons."""
    spans: dict[tuple[object, ...], _Asked] = {}
    for place, one in enumerate(asked):
        if place and one.target.horizon_days > SPAN:
            continue
        of = one.over(max(one.target.horizon_days, SPAN))
        spans.setdefault(of.target.asks, of)
    when = data.timeline
    moments = sorted({*when.moments, *when.origins})
    for one in spans.values():
        span = one.target.horizon_days * DAY
        starts = [when.known_by - n * span for n in range((when.known_by - moments[0]) // span, 0, -1)]
        if len(starts) < 2:
            continue
        earliest = [moment for moment in moments if moment <= starts[0]][-EARLIEST:]
        logged = from_us(
            min(int(pc.min(table["at"].cast(pa.int64())).as_py()) for table in one.tables.values())
        )
        # Of the last starts, those of which the log has the season before.
        seasons = [start - YEAR * DAY for start in starts if logged <= start - YEAR * DAY]
        every = [dict.fromkeys(earliest, start) for start in (*starts, *seasons)]
        sample = _Sample(data, earliest)
        whole = sample.told(one, span // DAY, every)
        for column, name in enumerate(data.features):
            asked_of = [(whole, sample.order(column))]
            if (known := sample.known(column)) is not None:
                asked_of.append((whole.rows(known), sample.order(column, known)))
            for told, order in asked_of:
                gap, place = _foreseen(told, order, len(starts), len(seasons))
                if gap > WORTH_TELLING:
                    yield Excess(name, gap, AHEAD, one.target.label, starts[place])


def _foreseen(told: "_Told", order: Numbers, starts: int, seasons: int) -> tuple[float, int]:
    """(by how much more than by chance a feature tells one of the later starts better, its place); of windows
    that are the starts, then the seasons of the last of them. 0 where nothing can be told."""
    if not told.enough[0]:
        return 0.0, 0
    later = [place for place in range(1, starts) if told.enough[place]]
    # Of a start, what it is held against: the next horizon, and its season if the log has that.
    before = {place: [0] for place in later}
    for place in later:
        season = place + seasons
        if season >= starts and told.enough[season]:
            before[place].append(season)
    power = told.power(order)
    strength = np.abs(power)
    held = {place: max(of, key=lambda one: strength[one]) for place, of in before.items()}
    best = max(later, key=lambda place: strength[place] - strength[held[place]], default=0)
    gap = float(strength[best] - strength[held.get(best, 0)])
    if gap <= 0 or gap <= SURE * told.error(order, power, best, held[best]):
        return 0.0, 0
    return gap, best


class _Told:
    """Whether the target's event came to some rows in each of some windows after them."""

    def __init__(self, customer: NDArray[np.int64], came: Numbers) -> None:
        self._customer, self._came = customer, came  # [n]; [n, windows], of 0 and 1
        self._ones = came.sum(axis=0)
        self.silent = len(came) - self._ones  # rows to which nothing came, of each window
        self.enough = np.minimum(self._ones, self.silent) >= LEAST

    def rows(self, some: NDArray[np.bool_]) -> "_Told":
        """Of those rows alone."""
        return _Told(self._customer[some], self._came[some])

    def power(self, order: Numbers) -> Numbers:
        """AUC less a half, for each window, of what ranks the rows so; 0 where nothing can be told."""
        ones = self._ones
        with np.errstate(divide="ignore", invalid="ignore"):
            auc = (order @ self._came / ones - (ones + 1) / 2) / (len(self._came) - ones)
        return np.where(self.enough, auc - 0.5, 0.0)

    def error(self, order: Numbers, power: Numbers, one: int, other: int) -> float:
        """The standard error of how much more is told of one window than of another, by customer."""
        ours, theirs = (np.sign(power[w]) * pooled.auc(self._came[:, w], order)[1] for w in (one, other))
        return float(np.sqrt((np.bincount(self._customer, ours - theirs) ** 2).sum()))


class _Sample:
    """The rows of so many customers at some moments as ROWS allow, by moment."""

    def __init__(self, data: Dataset, moments: Sequence[datetime]) -> None:
        whole = [data.at(moment) for moment in moments]
        every = -(-sum(len(part) for part in whole) // ROWS)
        parts = [part.rows(part.customer % every == 0) for part in whole]
        self._data, self._moments = data, moments
        self._counts = [len(part) for part in parts]
        self._customer = np.concatenate([part.customer for part in parts])
        self._known = ~np.isnan(np.concatenate([part.matrix for part in parts]))
        # By what only tells moments apart, as the calendar does, all rank alike. What is not known is lowest.
        self._ranks = np.concatenate(
            [rankdata(np.where(np.isnan(m := part.matrix), -np.inf, m), axis=0) / len(m) for part in parts]
        )

    def told(self, asked: _Asked, days: int, starts: Sequence[Mapping[datetime, datetime]]) -> _Told:
        """starts: of each window, when it starts for the rows of a moment. Each is `days` long."""
        of, by = asked.over(days).target, self._data.timeline.known_by
        ids = pa.array(self._data.ids, pa.string()).take(pa.array(self._customer))
        at = [np.repeat([to_us(start[moment]) for moment in self._moments], self._counts) for start in starts]
        spine = pa.table(
            {
                "customer_id": pa.chunked_array([ids] * len(starts)),
                "moment": pa.array(np.concatenate(at)).cast(pa.timestamp("us", "UTC")),
            }
        )
        every = {start[moment] for start in starts for moment in self._moments}
        came = labels(asked.tables, spine, of, dict.fromkeys(every, by))
        return _Told(self._customer, came.reshape(len(starts), -1).T)

    def known(self, column: int) -> NDArray[np.bool_] | None:
        """The rows of which a feature is known; None: all."""
        known = self._known[:, column]
        return None if known.all() else known

    def order(self, column: int, some: NDArray[np.bool_] | None = None) -> Numbers:
        """Ranks of all rows, or of some, by a feature's ranks among those of their moment."""
        ranks = self._ranks[:, column]
        if some is not None:
            moments = np.split(np.arange(len(ranks)), np.cumsum(self._counts)[:-1])
            own = [ranks[rows[some[rows]]] for rows in moments]
            ranks = np.concatenate([rankdata(one) / len(one) for one in own])
        return np.asarray(rankdata(ranks))


def _until(data: Dataset, until: datetime) -> tuple[datetime, ...]:
    """Every moment of the data to `until`."""
    when = data.timeline
    return tuple(moment for moment in sorted({*when.moments, *when.origins}) if moment <= until)

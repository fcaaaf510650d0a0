"""Training sets: who was in the population at which moment, what was known of them, what came true.

    log's start ... first   known, as of an origin ........ | H | origin
                            (every week whose label has matured by then)

A label of moment m is known at m + H. At an origin, a model may learn from the moments whose labels are
known by then, and is judged by the labels that follow it: so nothing that it learns looks at a day on which
it is judged. A backtest repeats this at several origins; the last of them is the test.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.compute.builds import Build
from features.definitions import WINDOWS, Feature
from features.errors import FeatureError, NotEnoughData
from features.log import Log
from features.moments import DAY, iso, midnight, to_us
from features.settings import Settings
from serving.booster import Rows
from training.buying import Buying
from training.habit import Habit
from training.labels import events, labels, members
from training.targets import TARGETS, Target
from training.treatment import treated

STEP = 7 * DAY  # denser snapshots repeat nearly the same row and label
ORIGINS = 6  # fewer say little about how figures vary with the season
LEAST_ORIGINS = 3  # for a release: one or two may be those that suit a model
BETWEEN = 28 * DAY  # origins: months apart if the log allows, so that they are different times
FIT_MOMENTS = (8, 52)  # fewer is no season at all; more than a year repeats the season at a cost
# Days of log before the first moment, and moments that every origin must have to learn from. A year's windows
# are worth waiting for if half a year is left; without a quarter's there is little to learn from.
WARM_UPS = ((365, 26), (90, FIT_MOMENTS[0]))
LEAST_OF_A_LABEL = 50  # known at an origin, and of the test: with fewer, figures are noise


@dataclass(frozen=True)
class Timeline:
    """When. `moments` and `origins` ascend; `known_by` is the as-of, or the log's end if that is earlier."""

    moments: tuple[datetime, ...]
    origins: tuple[datetime, ...]
    horizon: timedelta
    known_by: datetime

    @property
    def test(self) -> datetime:
        """The last origin."""
        return self.origins[-1]

    def known(self, origin: datetime) -> tuple[datetime, ...]:
        """The moments that a model may learn from at an origin: the last year of those known by then."""
        return tuple(m for m in self.moments if m + self.horizon <= origin)[-FIT_MOMENTS[1] :]


@dataclass(frozen=True)
class Part:
    """Rows by moment, then customer. matrix: float32 [n, features], NaN where not known; label: float64 [n]
    of 0 and 1; customer: int64 [n], a number each; treated: bool [n], contacted within the horizon."""

    matrix: Rows
    label: NDArray[np.float64]
    customer: NDArray[np.int64]
    treated: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.label)

    def rows(self, some: "slice | NDArray[np.bool_]") -> "Part":
        """Those rows; of a slice views, without a copy."""
        return Part(self.matrix[some], self.label[some], self.customer[some], self.treated[some])

    @property
    def base_rate(self) -> float:
        """Share of ones."""
        return float(self.label.mean())


@dataclass(frozen=True)
class Dataset:
    """What a model is learnt from and judged on. `features`: the columns' names."""

    features: tuple[str, ...]
    timeline: Timeline
    ids: tuple[str, ...]  # of the customers' numbers
    _rows: Part  # of all moments and origins; its labels as known by `known_by`
    _at: NDArray[np.int64]  # us, ascending
    _learnt: Mapping[datetime, NDArray[np.int8]]  # by origin: labels as they were known then
    buying: Buying | None = None  # where the target's event is an order
    events: Mapping[str, pa.Table] = field(default_factory=dict)  # that labels are made of
    habit: Habit | None = None  # where the target's event is another than an order
    baseline: tuple[str, ...] = ()  # columns that the target names for a sceptic

    @property
    def cells(self) -> int:
        """Rows x features."""
        return self._rows.matrix.size

    def known(self, origin: datetime) -> Part:
        """What a model may learn from at an origin."""
        moments = self.timeline.known(origin)
        wanted = np.isin(self._at, [to_us(m) for m in moments])
        first, end = np.searchsorted(self._at, [to_us(moments[0]), to_us(moments[-1]) + 1])
        rows: slice | NDArray[np.bool_] = slice(first, end)  # a view, unless origins lie between
        if not wanted[rows].all():
            rows = wanted
        return replace(self._rows.rows(rows), label=self._learnt[origin].astype(np.float64))

    def at(self, origin: datetime) -> Part:
        """What a model is judged on at an origin."""
        first, end = np.searchsorted(self._at, [to_us(origin), to_us(origin) + 1])
        return self._rows.rows(slice(first, end))

    def without_events(self) -> "Dataset":
        """The same once labels are made: the log's events take more memory than most training sets."""
        return replace(self, events={})

    def of(self, places: Sequence[int]) -> "Dataset":
        """With those features alone, by their places."""
        rows = replace(self._rows, matrix=np.ascontiguousarray(self._rows.matrix[:, places]))
        return replace(self, features=tuple(self.features[place] for place in places), _rows=rows)

    def moments(self, of: Sequence[datetime]) -> NDArray[np.datetime64]:
        """The moment (UTC) of each row of a part that holds those moments: [n]."""
        wanted = np.isin(self._at, [to_us(moment) for moment in of])
        return self._at[wanted].astype("datetime64[us]")


def timeline(target: Target, build: Build, as_of: datetime, origins: int = ORIGINS) -> Timeline:
    """The moments and origins, from the build's. NotEnoughData says how much log is lacking.

    The test is the last moment whose label is mature by the as-of. From there back, moments at least a week
    apart count, as long as the log holds a quarter before them, and the whole window that defines the
    population. Origins (at most so many) lie a month apart, or the horizon if that is longer; closer if there
    would be less of them.
    """
    horizon = target.horizon_days * DAY
    known_by = min(as_of, build.complete_until)
    usable = [m for m in build.moments if m + horizon <= known_by]
    for warm_up, least in WARM_UPS:
        first = build.log_starts_at + max(target.population.days, warm_up) * DAY
        weekly = _apart([m for m in usable if m >= first], STEP)
        able = [m for m in weekly if sum(k + horizon <= m for k in weekly) >= least]
        step = max(BETWEEN, horizon)
        while len(found := _apart(able, step)[-origins:]) < origins and step > STEP:
            step -= STEP
        if len(found) == origins:
            break
    if not found:
        raise NotEnoughData(_too_short(target, build, first, known_by, len(weekly)))
    when = Timeline(tuple(m for m in weekly if m + horizon <= found[-1]), tuple(found), horizon, known_by)
    return replace(when, moments=tuple(m for m in when.moments if m >= when.known(found[0])[0]))


def _too_short(target: Target, build: Build, first: datetime, known_by: datetime, usable: int) -> str:
    """What is lacking by a moment, and what helps: a later as-of, where the log reaches as far."""
    needed = 2 * target.horizon_days * DAY + (FIT_MOMENTS[0] - 1) * STEP
    over = f"snapshots over {needed.days} days or more"
    start = f"{iso(first)} (the log's start and {(first - build.log_starts_at).days} days)"
    # The first snapshot and the origin may each lie up to a week further on.
    enough = midnight(first + needed + 2 * STEP)
    helps = []
    if known_by < enough:
        later = f"train as of {iso(enough)} or later (--as-of)"
        helps.append(later if enough <= build.complete_until else "ingest a longer log")
    if known_by < first:
        return (
            f"{target.name}: as of {iso(known_by)} is before the first usable day, {start}, from which on it "
            f"needs {over}: {' or '.join(helps)}"
        )
    helps += [
        "train a target with a shorter horizon",
        "run `propensity features build` for earlier moments",
    ]
    return (
        f"{target.name} needs {over} between {start} and {iso(known_by)}: {FIT_MOMENTS[0]} weeks to learn "
        f"from, whose labels take {target.horizon_days} days, as does the one to be judged by. These "
        f"{(known_by - first).days} days hold {usable} usable snapshots of build {build.id}: "
        f"{', '.join(helps[:-1])}, or {helps[-1]}"
    )


def _apart(moments: Sequence[datetime], step: timedelta) -> list[datetime]:
    """The last of the moments (ascending), and of those before it as many as lie `step` apart."""
    kept: list[datetime] = []
    for moment in reversed(moments):
        if not kept or moment <= kept[-1] - step:
            kept.append(moment)
    return kept[::-1]


def columns(
    build: Build, features: Mapping[str, Feature], when: Timeline
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(the features to learn from, those left out), in the build's order.

    A window that reaches back beyond the log's start grows with the log: its value depends on the date, so
    what it meant when the model was fitted is not what it means later. Left out, unless the log holds the
    whole window at the first moment that is fitted on. What the build has and nobody declares any more is
    neither.
    """
    held = (when.moments[0] - build.log_starts_at) / DAY
    declared = [name for name in build.features if name in features]
    learnt = tuple(name for name in declared if reach(features[name], features) <= held)
    return learnt, tuple(name for name in declared if name not in learnt)


def reach(feature: Feature, features: Mapping[str, Feature]) -> int:
    """Days of history that a feature's value depends on in a log that has just begun.

    The time since the first event is the log's age for every old customer, so it counts as the longest
    window. Gaps become more certain with time, but not longer on average: 0.
    """
    if feature.inputs:
        return max(reach(features[name], features) for name in feature.inputs)
    return feature.window or (max(WINDOWS) if feature.measure == "since_first" else 0)


def read(
    settings: Settings, log: Log, build: Build, target: Target, when: Timeline, names: Sequence[str]
) -> Dataset:
    """Population and labels from the log, features through Feast. NotEnoughData where a label is rare.

    The log's events stay with it, until `without_events`.
    """
    moments = sorted({*when.moments, *when.origins})
    tables = events(log, target)
    spine, rows, ids = _rows(settings, log, tables, build, target, moments, when.known_by, names)
    at = spine["moment"].cast(pa.int64()).to_numpy()
    habit = Habit.of(tables, target, ids)
    buying = Buying.of(log, target)
    data = Dataset(tuple(names), when, ids, rows, at, {}, buying, tables, habit, target.baseline)
    # The test first: where one moment has too few, more moments to learn from would not help.
    _enough(data.at(when.test).label, f"after {iso(when.test)}", target)
    learnt = {}
    for origin in when.origins:
        of = when.known(origin)
        here = pa.concat_tables([spine.filter(pc.equal(spine["moment"], pa.scalar(m))) for m in of])
        known = labels(tables, here, target, dict.fromkeys(of, origin))
        _enough(known, f"known on {iso(origin)}", target, len(of))
        learnt[origin] = known.astype(np.int8)  # of six origins, an eighth of their memory
    return replace(data, _learnt=learnt)


def judged(
    settings: Settings, log: Log, build: Build, target: Target, moment: datetime, names: Sequence[str]
) -> tuple[Part, tuple[str, ...]]:
    """Everybody of the population at one moment, with the labels as known today, and their ids [n]."""
    tables = events(log, target)
    _, part, ids = _rows(settings, log, tables, build, target, [moment], log.complete_until, names)
    _enough(part.label, f"after {iso(moment)}", target)
    return part, tuple(ids[number] for number in part.customer)


def _rows(
    settings: Settings,
    log: Log,
    tables: Mapping[str, pa.Table],
    build: Build,
    target: Target,
    moments: Sequence[datetime],
    known_by: datetime,
    names: Sequence[str],
) -> tuple[pa.Table, Part, tuple[str, ...]]:
    """(customer_id and moment of every row, the rows, the ids of their customers' numbers)."""
    spine = pa.concat_tables([members(build, target, moment) for moment in moments])
    label = labels(tables, spine, target, dict.fromkeys(moments, known_by))
    from features import store  # loads Feast, which plans need not

    matrix, done = np.empty((len(spine), len(names)), np.float32), 0
    for table in store.retrieved(settings, build, spine, names):
        if not table.select(spine.column_names).equals(spine.slice(done, len(table))):
            raise FeatureError(f"other rows came back than those of the spine from {done} on")
        for place, name in enumerate(names):
            matrix[done : done + len(table), place] = table[name].to_numpy()
        done += len(table)
    if done != len(spine):
        raise FeatureError(f"{done} rows came back for a spine of {len(spine)}")
    coded = spine["customer_id"].combine_chunks().dictionary_encode()
    customer = coded.indices.to_numpy().astype(np.int64)
    flags = np.zeros(len(spine), np.bool_)
    if target.adjusted:
        flags = treated(log, spine, target.horizon_days * DAY, known_by)
    return spine, Part(matrix, label, customer, flags), tuple(coded.dictionary.to_pylist())


def _enough(label: NDArray[np.float64], when: str, target: Target, moments: int = 1) -> None:
    """NotEnoughData, with what would help, if ones or zeros are rare among the labels of so many moments."""
    ones = int(label.sum())
    zeros = len(label) - ones
    if min(ones, zeros) < LEAST_OF_A_LABEL:
        raise NotEnoughData(
            f"{target.name} has {ones:,} ones and {zeros:,} zeros {when}: {LEAST_OF_A_LABEL} of each kind "
            f"are needed. {remedy(target, ones, zeros, moments)}"
        )


def remedy(target: Target, ones: int, zeros: int, moments: int) -> str:
    """What brings more of the kind that is rare: mostly another question or more customers. A longer log has
    more moments, which helps where those learnt from are few, and does not enlarge the one judged by.

    ones, zeros: of the labels of so many moments; 1: of the moment that it is judged by.
    """
    wider = f"a wider population than {target.population.words.en}"
    if target.population.feature is None:
        wider = "a log of more customers"
    log = "A longer log has more moments, and not more customers at one."
    if moments > 1:
        log = f"Only {moments} moments could be learnt from then: fewer --origins or a longer log have more."
    if ones + zeros < 2 * LEAST_OF_A_LABEL:
        return f"The population is too small: take {wider}. {log}"
    if target.label == "overdue":
        return f"Take another horizon than {target.horizon_days} days, or {wider}. {log}"
    # The longer the horizon, the more often the event comes, and the less often its absence is a 1.
    longer = (zeros if target.label == "no_order" else ones) < LEAST_OF_A_LABEL
    others = [
        other.name
        for other in TARGETS
        if other.asks == (target.label, other.horizon_days, *target.asks[2:])
        and other.horizon_days != target.horizon_days
        and (other.horizon_days > target.horizon_days) == longer
    ]
    named = f" ({', '.join(others)})" if others else ""
    way = "longer" if longer else "shorter"
    goods = ", more categories" if longer and target.categories else ""
    return f"Take a {way} horizon than {target.horizon_days} days{named}{goods}, or {wider}. {log}"

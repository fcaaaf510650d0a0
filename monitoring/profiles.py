"""Daily profiles: what a release's customers looked like on each day, and what they were told.

    home/profiles/<release>/<version>/reference.parquet   a row a column: its edges, training's histogram
    home/profiles/<release>/<version>/2017-12.parquet     a row a day and column: its histogram
    home/profiles/<release>/<version>/counted.json        what the log knew on each day, when last counted

Columns are the features that the release reads and `probability`; rows are the members of its target's
population. The day that is published is counted from its snapshot, as it is answered from. Other days are
computed from the log as it was known then, and not kept but as their histograms: two years of a shop are
megabytes. A day is counted once (`profiling.py`); a run that was cut short goes on where it stopped. Where
the log tells otherwise of whole days by now, as a file was mended, the last ones since are counted anew. A
file that is damaged is as if it were not there, until its days are counted again.
"""

import io
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.compute.builds import Build, first_difference
from features.definitions.units import CODES
from features.errors import FeatureMismatch
from features.files import NO_JSON, write_atomically
from features.moments import to_us
from features.settings import Settings
from monitoring.histograms import BINS, Edges, Float32, Float64, Histograms, Int64
from serving.models import Model

PROBABILITY, REFERENCE = "probability", "reference"
AGAIN = 10  # days that are counted anew: older ones stand in no reference, and a few teach little
_log = logging.getLogger("propensity.monitoring")


@dataclass(frozen=True)
class Profiles:
    """All days of one release, oldest first; a histogram's columns are `columns`.

    reference: of the training window. days: whole UTC days since 1970, strictly ascending, gaps where nothing
    was counted. rows: int64 [days]. counts: [days, columns, BINS + 1]; nulls, news, zeros: [days, columns];
    sums: float64 [days, columns].
    """

    columns: tuple[str, ...]
    edges: Edges
    reference: Histograms
    days: Int64
    rows: Int64
    counts: Int64
    nulls: Int64
    news: Int64
    zeros: Int64
    sums: Float64

    def day(self, place: int) -> Histograms:
        """The histograms of the day at a place of `days`."""
        return Histograms(
            int(self.rows[place]),
            self.counts[place],
            self.nulls[place],
            self.zeros[place],
            self.news[place],
            self.sums[place],
        )

    def until(self, day: int) -> "Profiles":
        """The days up to and with that one."""
        keep = int(np.searchsorted(self.days, day, side="right"))
        cut = {name: getattr(self, name)[:keep] for name in _DAILY}
        return replace(self, **cut)

    def replaced(self, day: int, seen: Histograms) -> "Profiles":
        """The same, with another day's histograms in place of that day's."""
        place = int(np.searchsorted(self.days, day))
        changed = {}
        for name in _DAILY[1:]:
            changed[name] = getattr(self, name).copy()
            changed[name][place] = getattr(seen, name)
        return replace(self, **changed)


_DAILY = ("days", "rows", "counts", "nulls", "news", "zeros", "sums")


class _Counted(msgspec.Struct, frozen=True):
    """digests: of the build's log; until: when that was complete."""

    until: datetime
    digests: Mapping[str, Mapping[str, str]]


class Store:
    """Where the profiles of one release lie."""

    def __init__(self, settings: Settings, model: Model) -> None:
        self.model = model
        self.columns = (*(feature.name for feature in model.card.features), PROBABILITY)
        self.folder = settings.home / "profiles" / model.card.name / model.card.version

    def reference(self) -> tuple[Edges, Histograms] | None:
        """The edges, and the training's histograms; None before the first backfill."""
        path = self.folder / f"{REFERENCE}.parquet"
        if not path.exists():
            return None
        if (table := _read_whole(path)) is None:
            return None
        used = table["used"].to_numpy()
        # An older file has neither: its days were counted as if all were codes, and go on so.
        none = np.zeros(len(used), np.float32)
        step, slack = (table[n].to_numpy() if n in table.column_names else none for n in ("step", "slack"))
        edges = Edges.padded(_lists(table["upper"], np.float32), used, table["exact"].to_numpy(), step, slack)
        return edges, _histograms(table)

    def keep_reference(self, values: Float32, codes: Collection[str] = (), apart: float = 0.0) -> Edges:
        """Fix the edges by the rows of a matrix, in the order of `columns`; once for a release.

        codes: names of columns whose values are codes, beside those that their units say so of. apart: days
        between the moments of the rows: what is counted in days was on all days between what it was then.
        """
        units = {one.name: one.unit for one in self.model.card.features}
        coded = [n for n, name in enumerate(self.columns) if units.get(name) in CODES or name in codes]
        slack = {n: apart for n, name in enumerate(self.columns) if units.get(name) == "days"}
        edges = Edges.of(values, coded, slack)
        seen = edges.count(values)
        table = _table(self.columns, [(0, seen)])
        table = table.append_column("upper", _list_array([*edges.each()], "float32"))
        table = table.append_column("used", [edges.used]).append_column("exact", [edges.exact])
        table = table.append_column("step", [edges.step]).append_column("slack", [edges.slack])
        for month in self._months():  # what was counted between edges that are gone
            month.unlink()
        _write(self.folder / f"{REFERENCE}.parquet", table)
        return edges

    def days(self) -> set[int]:
        """The days that are counted."""
        return {
            day
            for path in self._months()
            if (table := _read_whole(path, ["day"])) is not None
            for day in table["day"].unique().to_pylist()
        }

    def add(self, counted: Mapping[int, Histograms]) -> None:
        """Add days to their months' files; a day that is there already stays as it was."""
        for month, days in groupby(sorted(counted), key=_month):
            path = self.folder / f"{month}.parquet"
            old = [table] if path.exists() and (table := _read_whole(path)) is not None else []
            there = set(old[0]["day"].unique().to_pylist()) if old else set()
            new = [(day, counted[day]) for day in days if day not in there]
            if new:
                _write(path, pa.concat_tables([*old, _table(self.columns, new)]).sort_by("day"))

    def drop(self, days: Collection[int]) -> None:
        """Forget days, so that they are counted anew."""
        for month in {_month(day) for day in days}:
            path = self.folder / f"{month}.parquet"
            if path.exists() and (table := _read_whole(path)) is not None:
                _write(path, table.filter(~pc.field("day").isin(list(days))))

    def outdated(self, build: Build, until: datetime) -> set[int]:
        """Days that were counted, and of which the log tells otherwise now. until: when it is complete."""
        path = self.folder / "counted.json"
        if not path.exists():
            return set()
        try:
            old = msgspec.json.decode(path.read_bytes(), type=_Counted)
        except NO_JSON as error:
            _log.warning("%s is damaged (%s): the last days are counted anew", path, error)
            days = self.days()
            return {day for day in days if day >= max(days) - AGAIN}
        if old.digests == build.digests:
            return set()
        ended = f"{min(old.until, until):%Y-%m-%d}"  # of that day more may have come
        changed = first_difference(*(_whole(of, ended) for of in (old.digests, build.digests)))
        days = self.days()
        since = max(days, default=0) + 1 if changed is None else day_of(changed)
        published = day_of(build.moments[-1])  # whose own day may have been mended
        return {day for day in days if day == published or day >= max(since, max(days) - AGAIN)}

    def keep_counted(self, build: Build, until: datetime) -> None:
        """What all days are of."""
        write_atomically(self.folder / "counted.json", msgspec.json.encode(_Counted(until, build.digests)))

    def read(self, since: int = 0, until: int | None = None) -> Profiles:
        """The days from `since` up to and with `until`. FeatureMismatch if nothing was ever counted."""
        found = self.reference()
        if found is None:
            card = self.model.card
            raise FeatureMismatch(
                f"{card.name} {card.version} has no profiles: run `propensity monitor backfill`"
            )
        until = np.iinfo(np.int64).max if until is None else until
        months = [path for path in self._months() if _month(since) <= path.stem]
        tables = [table for path in months if (table := _read_whole(path)) is not None]
        table = pa.concat_tables(tables) if tables else _table(self.columns, [])
        day = table["day"].to_numpy()
        table = table.filter(pa.array((day >= since) & (day <= until)))
        shape = (len(table) // len(self.columns), len(self.columns))

        def column(name: str) -> Int64:
            return np.asarray(table[name].to_numpy()).reshape(shape)

        return Profiles(
            self.columns,
            *found,
            days=column("day")[:, 0],
            rows=column("rows")[:, 0],
            counts=_lists(table["counts"], np.int64).reshape(*shape, BINS + 1),
            nulls=column("nulls"),
            news=column("news"),
            zeros=column("zeros"),
            sums=column("sums").astype(np.float64),
        )

    def _months(self) -> list[Path]:
        return sorted(self.folder.glob("????-??.parquet"))


def _read_whole(path: Path, columns: list[str] | None = None) -> pa.Table | None:
    """What a file holds; None of one that cannot be read, or is of another month than its name says."""
    try:
        table = pq.read_table(path, columns=columns, partitioning=None)
        days = {*table["day"].unique().to_pylist()}
    except (pa.ArrowInvalid, KeyError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk, and not of what it holds
            raise
        why = str(error).partition("\n")[0]
    else:
        if path.stem == REFERENCE or {_month(day) for day in days} == {path.stem}:
            return table
        why = "days of another month"
    _log.warning("%s is damaged (%s): its days are counted again", path, why)
    return None


def _whole(digests: Mapping[str, Mapping[str, str]], ended: str) -> dict[str, dict[str, str]]:
    """Of the days before one."""
    return {table: {day: of for day, of in days.items() if day < ended} for table, days in digests.items()}


def day_of(moment: datetime) -> int:
    """Whole UTC days since 1970."""
    return to_us(moment) // 86_400_000_000


def _month(day: int) -> str:
    return str(np.datetime64(int(day), "D").astype("datetime64[M]"))


def _table(columns: Sequence[str], days: Sequence[tuple[int, Histograms]]) -> pa.Table:
    seen = [histograms for _, histograms in days]

    def all_of(arrays: Iterable[NDArray[Any]], kind: type) -> pa.Array:
        return pa.array(np.concatenate([np.empty(0, kind), *arrays]))

    return pa.table(
        {
            "day": all_of((np.full(len(columns), day, np.int64) for day, _ in days), np.int64),
            "name": pa.array([*columns] * len(days), pa.string()),
            "rows": all_of((np.full(len(columns), one.rows, np.int64) for one in seen), np.int64),
            "nulls": all_of((one.nulls for one in seen), np.int64),
            "zeros": all_of((one.zeros for one in seen), np.int64),
            "news": all_of((one.news for one in seen), np.int64),
            "sums": all_of((one.sums for one in seen), np.float64),
            "counts": _list_array([row for one in seen for row in one.counts], "int64"),
        }
    )


def _histograms(table: pa.Table) -> Histograms:
    nulls, zeros, news, sums = (table[name].to_numpy() for name in ("nulls", "zeros", "news", "sums"))
    counts = _lists(table["counts"], np.int64).reshape(-1, BINS + 1)
    return Histograms(int(table["rows"][0].as_py()), counts, nulls, zeros, news, sums)


def _list_array(rows: Sequence[NDArray[Any]], kind: str) -> pa.ListArray:
    ends = np.cumsum([0, *(len(row) for row in rows)]).astype(np.int32)
    values = np.concatenate(rows) if rows else np.empty(0)
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(values.astype(kind)))


def _lists(column: pa.ChunkedArray, kind: type) -> NDArray[Any]:
    return np.asarray(column.combine_chunks().flatten().to_numpy(zero_copy_only=False)).astype(
        kind, copy=False
    )


def _write(path: Path, table: pa.Table) -> None:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    write_atomically(path, sink.getvalue())

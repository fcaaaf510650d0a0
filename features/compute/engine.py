"""The log -> snapshots of every feature, in buckets of customers, on every core of this machine."""

import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path
from threading import Lock

import pyarrow as pa
import pyarrow.parquet as pq

from features import duck
from features.compute import plan
from features.compute.builds import Build, Digests
from features.compute.snapshots import Snapshot
from features.definitions import Feature, catalogue, feature_hash
from features.errors import LogError, UsageError
from features.files import locked, write_atomically
from features.log import Log
from features.moments import iso
from features.settings import Settings
from features.shop import Shop, shop_of
from features.tables import TABLES

BUCKET = 50_000  # customers computed at once by a core, and
ROWS_AT_ONCE = 300_000  # customers x moments: bounds memory
MOMENTS_AT_ONCE = 32  # snapshots that a build writes side by side, from one reading of the log
Progress = Callable[[str, int, int], None]


def available(log: Log, features: Mapping[str, Feature]) -> dict[str, Feature]:
    """The features whose tables the log has; a table that a shop lacks takes its features with it."""
    known: dict[str, Feature] = {}

    def has(feature: Feature) -> bool:
        if feature.table is not None:
            return feature.table in log.tables
        return all(has(features[name]) for name in feature.inputs)

    for name, feature in features.items():
        if has(feature):
            known[name] = feature
    return known


@dataclass(frozen=True)
class _Plan:
    """What a build of the log and declarations of today needs."""

    build: Build
    log: Log
    shop: Shop
    features: Mapping[str, Feature]
    digests: Digests  # of the tables that decide the values
    linked: Mapping[datetime, Path]  # snapshots that an earlier build has
    lacking: list[datetime]  # to be computed


def missing(settings: Settings, moments: Sequence[datetime]) -> tuple[Build, list[datetime]]:
    """The build that today's log and declarations make, and the moments that must be computed for it.

    Writes nothing. UsageError for a moment after the log's end: nobody knew that yet. LogError if the log
    was ingested for another zone or currency.
    """
    planned = _plan(settings, moments)
    return planned.build, planned.lacking


def _plan(settings: Settings, moments: Sequence[datetime]) -> _Plan:
    log, shop = Log.open(settings), shop_of(settings)
    if log.shop != shop.of_log:
        raise LogError(
            f"the log was ingested for a shop with {log.shop}, shop.toml now says {shop.of_log}: "
            "run `propensity ingest` again"
        )
    late = [m for m in moments if m > log.complete_until]
    if late:
        raise UsageError(
            f"the log is complete until {iso(log.complete_until)}: "
            f"features as of {iso(late[0])} would be guesses"
        )
    features = available(log, catalogue(shop.declared("FEATURES")))
    hashes = {name: feature_hash(feature, features, shop.of_log) for name, feature in features.items()}
    id = Build.id_of(log.fingerprint, hashes)
    folder = settings.home / "snapshots" / id
    done = Build.open(settings, id).moments if (folder / "manifest.json").exists() else ()
    whole = Build(
        id=id,
        folder=folder,
        log=log.fingerprint,
        log_starts_at=log.starts_at,
        complete_until=log.complete_until,
        features=hashes,
        moments=tuple(sorted({*moments, *done})),
    )
    wanted = set(moments) - set(done)
    known = log.digests if wanted else {}
    digests = {table: known[table] for table in ("customers", *plan.tables(features)) if table in known}
    earlier = whole.earlier(digests) if wanted else {}
    linked = {moment: path for moment, path in earlier.items() if moment in wanted}
    return _Plan(whole, log, shop, features, digests, linked, sorted(wanted - set(linked)))


def build(
    settings: Settings,
    moments: Sequence[datetime],
    progress: Progress | None = None,
    current: bool = True,
) -> tuple[Build, int]:
    """Compute what is missing of the moments' snapshots; return the build and the number of new snapshots.

    One process at a time; others wait. current: make it the build that commands use. Errors as `missing`.
    Snapshots of an earlier build that a change of the log cannot have touched are linked, not computed.
    """
    with locked(settings.home / "snapshots" / ".lock"):
        planned = _plan(settings, moments)
        result = planned.build
        result.folder.mkdir(parents=True, exist_ok=True)
        if planned.linked or planned.lacking:
            write_atomically(result.folder / "digests.json", json.dumps(planned.digests).encode())
        for moment, path in planned.linked.items():
            result.path(moment).unlink(missing_ok=True)
            os.link(path, result.path(moment))
        at_once = range(0, len(planned.lacking), MOMENTS_AT_ONCE)
        for turn, start in enumerate(at_once):
            _write(
                settings,
                planned,
                planned.lacking[start : start + MOMENTS_AT_ONCE],
                _part_of(progress, turn, len(at_once)),
            )
        result.write_manifest(current)
    return result, len(planned.lacking)


def _part_of(progress: Progress | None, turn: int, turns: int) -> Progress | None:
    """Progress of one turn as part of all."""
    if progress is None:
        return None
    return lambda what, done, total: progress(what, turn * total + done, turns * total)


def _write(
    settings: Settings, planned: _Plan, moments: Sequence[datetime], progress: Progress | None
) -> None:
    """Compute the snapshots of these moments and put each in its place once all are whole."""
    from features.compute import shard  # loads numba, which a build with nothing to compute need not wait for

    arguments = (planned.log, planned.shop, planned.features, moments)
    if settings.engine == "spark":
        from features.compute import spark

        scratch = planned.build.folder.parent / ".spark"
        tables = spark.compute(spark.session(settings), scratch, *arguments, _bucket(moments), progress)
    else:
        tables = compute(*arguments, progress=progress)
    with ExitStack() as open_files:
        snapshots = {
            moment: open_files.enter_context(
                Snapshot(planned.build.path(moment), shard.schema(planned.features))
            )
            for moment in moments
        }
        for moment, table in tables:
            snapshots[moment].add(table)
    for snapshot in snapshots.values():
        snapshot.publish()


def compute(
    log: Log,
    shop: Shop,
    features: Mapping[str, Feature],
    moments: Sequence[datetime],
    bucket: int | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[datetime, pa.Table]]:
    """Yield (moment, table) for every bucket of customers and every moment; customers ascending.

    A table: as `shard.compute` says. bucket: customers computed at once, by default what ROWS_AT_ONCE allows.
    Buckets are computed side by side, one a core, and yielded in order.
    """
    from features.compute import shard

    if any(a >= b for a, b in pairwise(moments)):
        raise UsageError("moments must ascend, each named once")
    for feature in features.values():
        if feature.table not in (None, "calendar"):
            plan.input_of(feature)  # refuses what cannot be measured, before anything is read
    customers = shard.known_customers(log.read("customers", ["customer_id", "known_at"]))
    reader = _Reader(log, features)
    cores = len(os.sched_getaffinity(0))
    # Small buckets pay twice at their edges; too few leave a core without work.
    bucket = bucket or min(_bucket(moments), max(5_000, -(-len(customers) // (2 * cores))))
    starts = range(0, len(customers), bucket)

    def one(start: int) -> list[pa.Table]:
        here = customers.slice(start, bucket)
        return shard.compute(here, reader.read(here), features, moments, shop)

    with ThreadPoolExecutor(cores) as pool:
        running: deque[Future[list[pa.Table]]] = deque()
        for number, start in enumerate(starts):
            running.append(pool.submit(one, start))
            if len(running) > cores:  # one waits, so that no core does while results are taken away
                yield from zip(moments, running.popleft().result(), strict=True)
            if progress:
                progress("features", number, len(starts))
        while running:
            yield from zip(moments, running.popleft().result(), strict=True)
    if progress:
        progress("features", len(starts), len(starts))


def _bucket(moments: Sequence[datetime]) -> int:
    return max(1, min(BUCKET, ROWS_AT_ONCE // max(1, len(moments))))


class _Reader:
    """Reads the columns that the features need, of a range of customers, as far as files allow a range.

    Ingestion writes every table by customer, so the rows of a range of customers are few groups of the file.
    A group at the edge of two ranges is read once.
    """

    def __init__(self, log: Log, features: Mapping[str, Feature]) -> None:
        self.files: dict[str, list[tuple[Path, pq.FileMetaData]]] = {}
        self.columns: dict[str, list[str]] = {}
        for table in plan.tables(features):
            self.columns[table] = plan.columns(table, plan.of_table(features, table))
            self.files[table] = [(path, pq.read_metadata(path)) for path in log.paths(table)]
        self.left: dict[tuple[Path, int], pa.Table] = {}
        self.locks: dict[tuple[Path, int], Lock] = {}

    def read(self, customers: pa.Table) -> dict[str, pa.Table]:
        """The events of these customers, ascending by customer_id, and perhaps of others; the calendar."""
        first, last = (customers["customer_id"][place].as_py() for place in (0, -1))
        result = {}
        for table, files in self.files.items():
            parts = []
            for path, metadata in files:
                groups = _groups(metadata, first, last)
                cut = [some for some in (groups[:1], groups[1:-1], groups[1:][-1:]) if some]
                for some in cut or [[]]:
                    read = partial(self._rows, table, path, metadata, some)
                    parts.append(self._shared((path, some[0]), read) if len(some) == 1 else read())
            result[table] = pa.concat_tables(parts)
        return result

    def _shared(self, edge: tuple[Path, int], read: Callable[[], pa.Table]) -> pa.Table:
        """A group at the edge of a range: read, and left for the other side, which takes it away."""
        with self.locks.setdefault(edge, Lock()):
            if edge in self.left:
                return self.left.pop(edge)
            self.left[edge] = table = read()
            return table

    def _rows(self, table: str, path: Path, metadata: pq.FileMetaData, groups: list[int]) -> pa.Table:
        types = {column: TABLES[table].columns[column].type for column in self.columns[table]}
        text = [column for column, type in types.items() if type == "text"]
        money = [column for column, type in types.items() if type == "money"]
        others = [column for column in types if column not in money]
        with pq.ParquetFile(path, metadata=metadata, read_dictionary=text) as file:
            rows = file.read_row_groups(groups, columns=others, use_threads=False)
        if money:
            read = _money(path, metadata, groups, money)
            for column in money:
                rows = rows.append_column(column, read[column])
        return rows


def _money(path: Path, metadata: pq.FileMetaData, groups: list[int], columns: list[str]) -> pa.Table:
    """Columns of money of those row groups. DuckDB reads decimals in a third of pyarrow's time."""
    sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    starts = list(accumulate(sizes, initial=0))
    within = [f"file_row_number BETWEEN {starts[g]} AND {starts[g + 1] - 1}" for g in groups]
    names = ", ".join(f'"{column}"' for column in columns)
    connection = duck.shared()
    found = connection.sql(
        f"""SELECT {names} FROM read_parquet('{path}', hive_partitioning = false, file_row_number = true)
            WHERE {" OR ".join(within) or "false"}"""
    ).to_arrow_table()
    connection.close()
    return found


def _groups(metadata: pq.FileMetaData, first: str, last: str) -> list[int]:
    """The row groups that may hold customers of first..last; all of a file that is not by customer."""
    column = metadata.schema.names.index("customer_id") if "customer_id" in metadata.schema.names else None
    wanted = []
    for group in range(metadata.num_row_groups):
        known = None if column is None else metadata.row_group(group).column(column).statistics
        if known is None or not known.has_min_max or (known.min <= last and known.max >= first):
            wanted.append(group)
    return wanted

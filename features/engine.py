"""The log -> snapshots of every feature, in buckets of customers, on every core of this machine."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from features import plan, shard
from features.builds import Build
from features.definitions import Feature, catalogue, feature_hash
from features.errors import LogError, UsageError
from features.files import locked
from features.log import Log
from features.moments import iso
from features.settings import Settings
from features.shop import Shop, shop_of
from features.tables import TABLES

BUCKET = 50_000  # customers computed at once by a core, and
ROWS_AT_ONCE = 600_000  # customers x moments: bounds memory
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


def missing(settings: Settings, moments: Sequence[datetime]) -> tuple[Build, list[datetime]]:
    """The build that today's log and declarations make, and which of the moments it still lacks.

    Writes nothing. UsageError for a moment after the log's end: nobody knew that yet. LogError if the log
    was ingested for another zone or currency.
    """
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
    return whole, sorted(set(moments) - set(done))


def build(
    settings: Settings,
    moments: Sequence[datetime],
    progress: Progress | None = None,
    current: bool = True,
) -> tuple[Build, int]:
    """Compute what is missing of the moments' snapshots; return the build and the number of new snapshots.

    One process at a time; others wait. current: make it the build that commands use. Errors as `missing`.
    """
    with locked(settings.home / "snapshots" / ".lock"):
        result, lacking = missing(settings, moments)
        if lacking:
            log, shop = Log.open(settings), shop_of(settings)
            features = available(log, catalogue(shop.declared("FEATURES")))
            result.folder.mkdir(parents=True, exist_ok=True)
            with ExitStack() as open_files:
                writers = {
                    moment: open_files.enter_context(
                        pq.ParquetWriter(
                            _unfinished(result, moment), shard.schema(features), compression="zstd"
                        )
                    )
                    for moment in lacking
                }
                for moment, table in compute(log, shop, features, lacking, progress=progress):
                    writers[moment].write_table(table)
            for moment in lacking:
                with _unfinished(result, moment).open("rb") as file:
                    os.fsync(file.fileno())
                _unfinished(result, moment).replace(result.path(moment))
        result.write_manifest(current)
    return result, len(lacking)


def _unfinished(build: Build, moment: datetime) -> Path:
    return build.path(moment).with_suffix(".writing")


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
    if any(a >= b for a, b in pairwise(moments)):
        raise UsageError("moments must ascend, each named once")
    for feature in features.values():
        if feature.table not in (None, "calendar"):
            plan.input_of(feature)  # refuses what cannot be measured, before anything is read
    known = log.read("customers", ["customer_id", "known_at"])
    customers = known.group_by("customer_id").aggregate([("known_at", "min")]).sort_by("customer_id")
    customers = customers.rename_columns({"known_at_min": "known_at"})
    reader = _Reader(log, features)
    bucket = bucket or max(1, min(BUCKET, ROWS_AT_ONCE // max(1, len(moments))))
    starts = range(0, len(customers), bucket)

    def one(start: int) -> list[pa.Table]:
        here = customers.slice(start, bucket)
        return shard.compute(reader.read(here), features, moments, shop)

    cores = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(cores) as pool:
        running: deque[Future[list[pa.Table]]] = deque()
        for number, start in enumerate(starts):
            running.append(pool.submit(one, start))
            if len(running) >= cores:
                yield from zip(moments, running.popleft().result(), strict=True)
            if progress:
                progress("features", number, len(starts))
        while running:
            yield from zip(moments, running.popleft().result(), strict=True)
    if progress:
        progress("features", len(starts), len(starts))


class _Reader:
    """Reads the columns that the features need, of a range of customers, as far as files allow a range.

    Ingestion writes every table by customer, so the rows of a range of customers are few groups of the file.
    """

    def __init__(self, log: Log, features: Mapping[str, Feature]) -> None:
        self.files: dict[str, list[tuple[Path, pq.FileMetaData]]] = {}
        self.columns: dict[str, list[str]] = {}
        for table in plan.tables(features):
            self.columns[table] = plan.columns(table, plan.of_table(features, table))
            self.files[table] = [(path, pq.read_metadata(path)) for path in log.paths(table)]

    def read(self, customers: pa.Table) -> dict[str, pa.Table]:
        """The events of these customers, ascending by customer_id, and perhaps of others; the calendar."""
        first, last = (customers["customer_id"][place].as_py() for place in (0, -1))
        result = {"customers": customers}
        for table, files in self.files.items():
            columns = self.columns[table]
            text = [c for c in columns if TABLES[table].columns[c].type == "text"]
            parts = []
            for path, metadata in files:
                with pq.ParquetFile(path, metadata=metadata, read_dictionary=text) as file:
                    groups = _groups(metadata, first, last)
                    parts.append(file.read_row_groups(groups, columns=columns, use_threads=False))
            result[table] = pa.concat_tables(parts)
        return result


def _groups(metadata: pq.FileMetaData, first: str, last: str) -> list[int]:
    """The row groups that may hold customers of first..last; all of a file that is not by customer."""
    column = metadata.schema.names.index("customer_id") if "customer_id" in metadata.schema.names else None
    wanted = []
    for group in range(metadata.num_row_groups):
        known = None if column is None else metadata.row_group(group).column(column).statistics
        if known is None or not known.has_min_max or (known.min <= last and known.max >= first):
            wanted.append(group)
    return wanted

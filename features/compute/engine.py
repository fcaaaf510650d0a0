"""The log -> snapshots of every feature, in buckets of customers, on every core of this machine."""

import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pyarrow as pa

from features.compute import plan
from features.compute.builds import Build, Digests
from features.compute.reader import Reader
from features.compute.snapshots import Snapshot
from features.definitions import Feature, catalogue, feature_hash
from features.errors import LogError, UsageError
from features.files import locked, write_atomically
from features.log import Log
from features.moments import iso
from features.settings import Settings
from features.shop import Shop, shop_of

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
            f"features as of {iso(late[0])} would be guesses. "
            f"The last moment there can be: PROPENSITY_AS_OF={iso(log.complete_until)}, or --as-of"
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
    cores = len(os.sched_getaffinity(0))
    # Small buckets pay twice at their edges; too few leave a core without work.
    bucket = bucket or min(_bucket(moments), max(5_000, -(-len(customers) // (2 * cores))))
    ranges = [customers.slice(start, bucket) for start in range(0, len(customers), bucket)]
    reader = Reader(log, features, [here["customer_id"] for here in ranges])

    def one(number: int) -> list[pa.Table]:
        return shard.compute(ranges[number], reader.read(number), features, moments, shop)

    with ThreadPoolExecutor(cores) as pool:
        running: deque[Future[list[pa.Table]]] = deque()
        for number in range(len(ranges)):
            running.append(pool.submit(one, number))
            if len(running) > cores:  # one waits, so that no core does while results are taken away
                yield from zip(moments, running.popleft().result(), strict=True)
            if progress:
                progress("features", number, len(ranges))
        while running:
            yield from zip(moments, running.popleft().result(), strict=True)
    if progress:
        progress("features", len(ranges), len(ranges))


def _bucket(moments: Sequence[datetime]) -> int:
    return max(1, min(BUCKET, ROWS_AT_ONCE // max(1, len(moments))))

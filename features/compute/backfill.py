"""New features over the past: only their columns are computed, at every moment of the current build.

The new build is made of the old build's columns and the new ones, and is the very one that `engine.build`
would compute anew: value for value, byte for byte.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime

import pyarrow as pa
import pyarrow.parquet as pq

from features.compute import engine, plan, shard
from features.compute.builds import Build, first_difference
from features.compute.snapshots import Snapshot
from features.definitions import Feature, catalogue, feature_hash, tables_of
from features.errors import FeatureError, LogError, UsageError
from features.files import locked, write_atomically
from features.log import Log
from features.moments import iso
from features.settings import Settings
from features.shop import Shop, shop_of

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Backfill:
    """What a backfill makes, or would make. new: columns to compute. lacking: moments to compute them at."""

    old: Build
    build: Build
    features: Mapping[str, Feature]  # of the new build
    new: tuple[str, ...]
    lacking: tuple[datetime, ...]
    log: Log
    shop: Shop


def planned(settings: Settings, names: Sequence[str] = ()) -> Backfill:
    """What is new in the declarations, or of that only `names`, over the build's moments. Writes nothing.

    A feature that is declared differently than in the build is new; one that is no longer declared goes.
    UsageError for a name that is not declared or that the log lacks a table for; LogError if the log is no
    longer what the build's snapshots were computed from.
    """
    log, shop, old = Log.open(settings), shop_of(settings), Build.open(settings)
    _require_same(log, shop, old)
    declared = catalogue(shop.declared("FEATURES"))
    known = engine.available(log, declared)
    for name in names:
        if name not in declared:
            raise UsageError(f"no feature {name} is declared: `propensity features list` shows them all")
        if name not in known:
            tables = ", ".join(sorted(tables_of(declared[name], declared) - log.tables))
            raise UsageError(f"feature {name} needs tables that the log lacks: {tables}")
    hashes = {name: feature_hash(feature, known, shop.of_log) for name, feature in known.items()}
    new = tuple(n for n in known if old.features.get(n) != hashes[n] and (not names or n in names))
    features = {n: f for n, f in known.items() if n in new or old.features.get(n) == hashes[n]}
    kept = {name: hashes[name] for name in features}
    id = Build.id_of(log.fingerprint, kept)
    folder = settings.home / "snapshots" / id
    done = Build.open(settings, id).moments if (folder / "manifest.json").exists() else ()
    build = replace(
        old,
        id=id,
        folder=folder,
        log=log.fingerprint,
        complete_until=log.complete_until,
        features=kept,
        moments=tuple(sorted({*old.moments, *done})),
    )
    lacking = tuple(moment for moment in old.moments if moment not in done)
    return Backfill(old, build, features, new, lacking, log, shop)


def backfill(
    settings: Settings, names: Sequence[str] = (), progress: Progress | None = None
) -> tuple[Backfill, bool]:
    """Make that build, and make it the current one; (what was made, whether anything was to be done).

    One process at a time; others wait. Killed, it leaves the old build in force. Errors as `planned`.
    """
    with locked(settings.home / "snapshots" / ".lock"):
        made = planned(settings, names)
        if made.build.id == made.old.id:
            return made, False
        made.build.folder.mkdir(parents=True, exist_ok=True)
        digests = made.log.digests
        read = {t: digests[t] for t in ("customers", *plan.tables(made.features)) if t in digests}
        write_atomically(made.build.folder / "digests.json", json.dumps(read).encode())
        for start in range(0, len(made.lacking), engine.MOMENTS_AT_ONCE):
            _write(made, made.lacking[start : start + engine.MOMENTS_AT_ONCE], progress)
        made.build.write_manifest()
        return made, True


def _write(made: Backfill, moments: Sequence[datetime], progress: Progress | None) -> None:
    """Compute the new columns at these moments, beside the old ones as they lie in the old build's files."""
    schema = shard.schema(made.features)
    computed = _with_inputs(made.features, made.new)
    with ExitStack() as open_files:
        snapshots = {m: open_files.enter_context(Snapshot(made.build.path(m), schema)) for m in moments}
        old = {m: _Rows(made.old, m, [n for n in schema.names if n not in made.new]) for m in moments}
        if made.new:
            for moment, table in engine.compute(made.log, made.shop, computed, moments, progress=progress):
                before = old[moment].take(len(table))
                if not before["customer_id"].equals(table["customer_id"]):
                    raise _other_customers(made.old, moment)
                columns = [(table if n in made.new else before)[n] for n in schema.names]
                snapshots[moment].add(pa.table(columns, schema=schema))
        for moment in moments:  # what is left: everything if nothing is new, else nothing
            for rest in old[moment].rest():
                if made.new:
                    raise _other_customers(made.old, moment)
                snapshots[moment].add(rest.select(schema.names))
    for snapshot in snapshots.values():
        snapshot.publish()


def _with_inputs(features: Mapping[str, Feature], names: Sequence[str]) -> dict[str, Feature]:
    """The named features and all that they are computed from: an expression reads float64, not columns."""
    wanted = list(names)
    for name in wanted:
        wanted += [i for i in features[name].inputs if i not in wanted]
    return {name: feature for name, feature in features.items() if name in wanted}


class _Rows:
    """A snapshot's rows, a few at a time and in their order: the whole of many would not fit in memory."""

    def __init__(self, build: Build, moment: datetime, columns: Sequence[str]) -> None:
        self._file = pq.ParquetFile(build.path(moment))
        self._batches: Iterator[pa.RecordBatch] = self._file.iter_batches(columns=list(columns))
        self._held = self._file.schema_arrow.empty_table().select(list(columns))

    def take(self, rows: int) -> pa.Table:
        """The next rows; fewer at the end."""
        while len(self._held) < rows and (batch := next(self._batches, None)) is not None:
            self._held = pa.concat_tables([self._held, pa.Table.from_batches([batch])])
        taken, self._held = self._held.slice(0, rows), self._held.slice(rows)
        return taken

    def rest(self) -> Iterator[pa.Table]:
        """All rows that are left."""
        if len(self._held):
            yield self._held
        for batch in self._batches:
            yield pa.Table.from_batches([batch])
        self._file.close()


def _other_customers(build: Build, moment: datetime) -> FeatureError:
    return FeatureError(
        f"the snapshot of {iso(moment)} in build {build.id} has other customers than the log: "
        "run `propensity features build`"
    )


def _require_same(log: Log, shop: Shop, old: Build) -> None:
    """LogError unless the log knew the same at all the build's moments, of the tables that it read."""
    if log.shop != shop.of_log:
        raise LogError("the log was ingested for another zone or currency: run `propensity ingest` again")
    if log.fingerprint == old.log:
        return
    digests = log.digests
    until = first_difference(old.digests, {t: digests[t] for t in old.digests if t in digests})
    if log.starts_at != old.log_starts_at or (until is not None and old.moments and old.moments[-1] >= until):
        since = iso(until) if until is not None and until.year > 1 else "its beginning"
        raise LogError(
            f"the log has changed since build {old.id}, in what was known from {since} on: "
            "run `propensity features build`, which computes the new features too"
        )

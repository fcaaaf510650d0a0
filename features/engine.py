"""Declarations -> one plan for the kernel -> a table for every moment, in buckets of customers.

DuckDB reads the log and evaluates the declarations' conditions; the kernel does the windows; expressions
are computed in float64 over its results; everything is cast once to float32, which training and serving read.
"""

import ast
import operator
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features import duck, kernel
from features.builds import KEYS, Build
from features.definitions import CALENDAR, Feature, catalogue, feature_hash
from features.errors import FeatureError, LogError, UsageError
from features.files import locked
from features.log import Log
from features.moments import DAY_US, iso, to_us
from features.settings import Settings
from features.shop import Shop, shop_of
from features.tables import LOCAL, TABLES, Type

BUCKET = 50_000  # customers computed at once: bounds memory
Progress = Callable[[str, int, int], None]
Float64 = NDArray[np.float64]
_Key = tuple[str, str | None, str | None, tuple[str, ...] | None]  # kind, column, where, vocabulary
_CODED = ("mode", "last")


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
                        pq.ParquetWriter(_unfinished(result, moment), _schema(features), compression="zstd")
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
    bucket: int = BUCKET,
    progress: Progress | None = None,
) -> Iterator[tuple[datetime, pa.Table]]:
    """Yield (moment, table) for every bucket of customers and every moment; customers ascending.

    A table: customer_id, moment, known_at, one float32 column a feature (NaN: null). A customer is in it
    from the moment on at which anything is known of her.
    """
    known = log.read("customers", ["customer_id", "known_at"]).sort_by("customer_id")
    ids, since = known["customer_id"], known["known_at"].cast(pa.int64()).to_numpy()
    buckets = range(0, len(ids), bucket)
    grid = np.array([to_us(m) for m in moments], np.int64)
    if np.any(np.diff(grid) <= 0):
        raise UsageError("moments must ascend, each named once")
    connection = duck.connect()
    for number, start in enumerate(buckets):
        if progress:
            progress("features", number, len(buckets))
        here = ids.slice(start, bucket)
        first_known = since[start : start + len(here)]
        spine = np.arange(len(here) + 1, dtype=np.int64) * len(grid)
        columns = _columns(connection, log, shop, features, here, spine, np.tile(grid, len(here)))
        for m, moment in enumerate(moments):
            present = first_known <= grid[m]
            rows = {name: values[m :: len(grid)][present] for name, values in columns.items()}
            stamp = pa.array([grid[m]], pa.int64()).cast(pa.timestamp("us", "UTC"))[0]
            count = int(present.sum())
            keys = [here.filter(pa.array(present)), pa.repeat(stamp, count), pa.repeat(stamp, count)]
            yield moment, pa.table([*keys, *rows.values()], schema=_schema(features))
    if progress:
        progress("features", len(buckets), len(buckets))


def _schema(features: Mapping[str, Feature]) -> pa.Schema:
    stamp = pa.timestamp("us", "UTC")
    keys = zip(KEYS, (pa.string(), stamp, stamp), strict=True)
    return pa.schema([*keys, *((name, pa.float32()) for name in features)])


def _columns(
    connection: duckdb.DuckDBPyConnection,
    log: Log,
    shop: Shop,
    features: Mapping[str, Feature],
    ids: pa.ChunkedArray,
    spine: NDArray[np.int64],
    moments: NDArray[np.int64],
) -> dict[str, NDArray[np.float32]]:
    """Every feature's values, rows by customer then moment."""
    values: dict[str, Float64] = {}
    connection.register("wanted", pa.table({"customer_id": ids, "code": np.arange(len(ids))}))
    for table in sorted({f.table for f in features.values() if f.table}):
        here = {name: f for name, f in features.items() if f.table == table}
        if table == "calendar":
            values.update(_calendar(connection, log, shop, here, moments))
            continue
        values.update(_Events(connection, log, shop, table, here).compute(len(ids), spine, moments))
    while len(values) < len(features):  # expressions, in the order that their inputs become known
        for name, feature in features.items():
            if name not in values and all(i in values for i in feature.inputs):
                assert feature.expression is not None
                values[name] = evaluate(feature.expression, values)
    return {name: values[name].astype(np.float32) for name in features}


def _calendar(
    connection: duckdb.DuckDBPyConnection,
    log: Log,
    shop: Shop,
    features: Mapping[str, Feature],
    moments: NDArray[np.int64],
) -> dict[str, Float64]:
    """The calendar's features: the same for every customer, so computed once a moment."""
    once, row = np.unique(moments, return_inverse=True)
    m = once[:, None]
    result: dict[str, Float64] = {}
    for name, feature in features.items():
        events = connection.sql(
            f"""SELECT epoch_us("at") AS at_us, epoch_us(known_at) AS known, epoch_us("until") AS until_us
                FROM {_local(log, shop, "calendar")} WHERE {feature.where or "true"}"""
        ).fetchnumpy()
        at, known, until = (np.asarray(events[c], np.int64) for c in ("at_us", "known", "until_us"))
        here = known <= m
        if feature.measure not in CALENDAR:
            here = here & (at <= m)
        if feature.measure == "until_next":
            nearest = np.where(here & (at > m), at, _NEVER).min(axis=1, initial=_NEVER)
            value = np.where(nearest == _NEVER, np.nan, (nearest - once) / DAY_US)
        elif feature.measure == "since_last":
            last = np.where(here, at, kernel.NOTHING).max(axis=1, initial=kernel.NOTHING)
            value = _null(last, (once - last) / DAY_US)
        elif feature.measure == "running":
            value = (here & (at <= m) & (m < until)).sum(axis=1).astype(np.float64)
        else:
            span = kernel.FOREVER if feature.window is None else feature.window * DAY_US
            inside = (at > m) & (at <= m + span) if feature.measure == "ahead" else at > m - span
            value = (here & inside).sum(axis=1).astype(np.float64)
        result[name] = value[row]
    return result


_NEVER = np.iinfo(np.int64).max


def _local(log: Log, shop: Shop, table: str) -> str:
    """SQL of a table's rows, each with `local_at`, the event's time in the shop's zone."""
    files = ", ".join(f"'{path}'" for path in log.paths(table))
    return f"""(SELECT *, "at" AT TIME ZONE '{shop.zone.key}' AS local_at
                FROM read_parquet([{files}], hive_partitioning = false))"""


class _Events:
    """One table's events of one bucket of customers, with what the features measure as plain columns."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        log: Log,
        shop: Shop,
        table: str,
        features: Mapping[str, Feature],
    ) -> None:
        self.features = features
        self.scale = 10.0**shop.exponent
        self.types: dict[str, Type] = {c: column.type for c, column in TABLES[table].columns.items()}
        self.types |= dict.fromkeys(LOCAL, "integer")
        self.inputs: dict[_Key, str] = {}
        for feature in features.values():
            self.inputs.setdefault(self._input(feature), f"c{len(self.inputs)}")
        select = [self._sql(*key, shop.exponent) + f" AS {name}" for key, name in self.inputs.items()]
        self.rows = connection.sql(
            f"""SELECT code, epoch_us(greatest("at", known_at)) AS enter, epoch_us("at") AS at_us,
                       (local_at::DATE - DATE '1970-01-01')::INTEGER AS local_day, {", ".join(select)}
                FROM {_local(log, shop, table)} JOIN wanted USING (customer_id)
                ORDER BY code, enter, at_us"""
        ).to_arrow_table()

    @staticmethod
    def _input(feature: Feature) -> _Key:
        """What a feature needs of each event: several windows and measures share it."""
        kind = {"count": "sum", "days": "distinct"}.get(feature.measure, feature.measure)
        if kind.startswith(("gap", "since")):
            kind = "history"
        column = "" if feature.measure == "days" else feature.column
        return kind, column, feature.where, feature.vocabulary

    def _sql(
        self,
        kind: str,
        column: str | None,
        where: str | None,
        vocabulary: tuple[str, ...] | None,
        exponent: int,
    ) -> str:
        holds = f"coalesce({where}, false)" if where else "true"
        named = LOCAL.get(column or "", f'"{column}"')
        if kind == "history":
            return f"({holds})"
        if kind == "distinct":
            return f"CASE WHEN {holds} THEN {named} END" if column else f"({holds})"
        if kind in _CODED:
            if (type := self.types.get(column or "")) in ("moment", "map"):
                raise FeatureError(f"{kind} of {column}: it has no number, this is a {type}")
            if vocabulary is not None:
                words = ", ".join("'" + word.replace("'", "''") + "'" for word in vocabulary)
                named = f"list_position([{words}], {named}) - 1"
            return f"CASE WHEN {holds} THEN {named} END::DOUBLE"
        if column is None:
            return f"CASE WHEN {holds} THEN 1 ELSE 0 END::BIGINT"
        type = self.types.get(column)
        if type not in ("money", "integer"):
            raise FeatureError(f"{kind} of {column}: only money and whole numbers are summed, this is {type}")
        value = f"({named} * {10**exponent})::BIGINT" if type == "money" else named
        other = "0" if kind == "sum" else str(kernel.NOTHING)
        return f"CASE WHEN {holds} THEN coalesce({value}, {other}) ELSE {other} END::BIGINT"

    def compute(
        self, customers: int, spine: NDArray[np.int64], moments: NDArray[np.int64]
    ) -> dict[str, Float64]:
        """Run the kernel once for each kind of measure."""
        code = self.rows["code"].to_numpy()
        offsets = np.searchsorted(code, np.arange(customers + 1)).astype(np.int64)
        enter, at = self.rows["enter"].to_numpy(), self.rows["at_us"].to_numpy()
        by_at = np.lexsort((at, code)).astype(np.int64)
        days = self.rows["local_day"].to_numpy().astype(np.int32)
        result: dict[str, Float64] = {}
        for kind in ("sum", "max", "distinct"):
            wanted = {n: f for n, f in self.features.items() if self._input(f)[0] == kind}
            if not wanted:
                continue
            keys = list(dict.fromkeys(self._input(f) for f in wanted.values()))
            spans = list(dict.fromkeys(f.window for f in wanted.values()))
            windows = np.array([kernel.FOREVER if s is None else s * DAY_US for s in spans], np.int64)
            data = np.column_stack([self._data(key, days) for key in keys])
            if kind == "sum":
                out = kernel.sums(offsets, enter, at, by_at, spine, moments, windows, data)
            elif kind == "max":
                out = kernel.maxima(offsets, enter, at, spine, moments, windows, data)
            else:
                out = kernel.distinct(offsets, enter, at, by_at, spine, moments, windows, data)
            for name, feature in wanted.items():
                raw = out[spans.index(feature.window), keys.index(self._input(feature))]
                money = feature.column is not None and self.types[feature.column] == "money"
                scale = self.scale if money and kind != "distinct" else 1.0
                result[name] = _null(raw, raw / scale)
        for key in self.inputs:
            wanted = {n: f for n, f in self.features.items() if self._input(f) == key}
            spans = list(dict.fromkeys(f.window for f in wanted.values()))
            windows = np.array([kernel.FOREVER if s is None else s * DAY_US for s in spans], np.int64)
            if key[0] == "history":
                out = kernel.history(offsets, enter, at, days, spine, moments, self._data(key, days))
                result |= {n: _from_history(f.measure, out, moments) for n, f in wanted.items()}
            elif key[0] == "last":
                lasts = kernel.lasts(offsets, enter, at, spine, moments, windows, self._numbers(key))
                result |= {n: lasts[spans.index(f.window)] for n, f in wanted.items()}
            elif key[0] == "mode":
                numbers = self._numbers(key)
                levels, codes = np.unique(numbers, return_inverse=True)
                codes = np.where(np.isnan(numbers), -1, codes).astype(np.int32)
                modes = kernel.modes(offsets, enter, at, by_at, spine, moments, windows, codes)
                levels = np.append(levels, np.nan)  # code -1: none
                result |= {n: levels[modes[spans.index(f.window)]] for n, f in wanted.items()}
        return result

    def _numbers(self, key: _Key) -> Float64:
        """A column as numbers, NaN where it does not count."""
        return np.asarray(self.rows[self.inputs[key]].to_numpy(), np.float64)

    def _data(self, key: _Key, days: NDArray[np.int32]) -> NDArray[Any]:
        column = self.rows[self.inputs[key]]
        if key[0] != "distinct":
            return np.asarray(column.to_numpy())
        if key[1] == "":  # local days where the condition holds
            start = days.min() if len(days) else 0
            return np.where(column.to_numpy(), days - start, -1).astype(np.int32)
        codes = column.combine_chunks().dictionary_encode().indices
        return np.asarray(codes.fill_null(-1).to_numpy(zero_copy_only=False), np.int32)


def _null(raw: NDArray[np.int64], value: Float64) -> Float64:
    return np.where(raw == kernel.NOTHING, np.nan, value)


def _from_history(measure: str, out: NDArray[np.int64], moments: NDArray[np.int64]) -> Float64:
    """Kernel's [7, r] -> one measure. Standard deviation of the gaps: population, from exact sums."""
    last, first, number, total, squares, median2, longest = out
    if measure == "since_last":
        return _null(last, (moments - last) / DAY_US)
    if measure == "since_first":
        return _null(first, (moments - first) / DAY_US)
    if measure == "gap_median":
        return _null(median2, median2 / 2)
    if measure == "gap_max":
        return _null(longest, longest / 1)
    n = np.where(number == kernel.NOTHING, 1, number)
    if measure == "gap_mean":
        return _null(number, total / n)
    # n * squares - total^2 is an exact integer: no cancellation.
    return _null(number, np.sqrt(np.where(number == kernel.NOTHING, 0, n * squares - total * total)) / n)


_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda a, b: np.where(np.asarray(b) == 0, np.nan, np.divide(a, b)),  # never infinite
}
_FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {"min": np.minimum, "max": np.maximum}  # null of null


def evaluate(expression: str, values: Mapping[str, Float64]) -> Float64:
    """An expression over columns, in float64. What has no finite value (a division by zero) is null."""

    def walk(node: ast.expr) -> Any:
        if isinstance(node, ast.BinOp):
            return _OPERATORS[type(node.op)](walk(node.left), walk(node.right))
        if isinstance(node, ast.UnaryOp):
            return -walk(node.operand)
        if isinstance(node, ast.Call):
            assert isinstance(node.func, ast.Name)
            return _FUNCTIONS[node.func.id](*map(walk, node.args))
        if isinstance(node, ast.Name):
            return values[node.id]
        assert isinstance(node, ast.Constant)
        return np.float64(node.value)  # type: ignore[arg-type]

    with np.errstate(all="ignore"):
        result = np.asarray(walk(ast.parse(expression, mode="eval").body), np.float64)
    return np.where(np.isfinite(result), result, np.nan)

"""The pure core, Arrow in, Arrow out: events of some customers -> every feature of theirs at every moment.

The engine calls it for one range of customers after another, Spark for the customers of a partition. DuckDB
evaluates the declarations' conditions, the kernel does the windows, expressions are computed in float64 over
its results, and everything is cast once to float32, which training and serving read.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features import duck
from features.compute import kernel, plan
from features.compute.builds import KEYS
from features.compute.expressions import Float64, evaluate
from features.compute.plan import Input
from features.definitions import CALENDAR, Feature
from features.moments import DAY_US, offsets_of, to_us
from features.shop import Shop

BLOCK = 12_000  # customers x moments whose results are held in float64 at once: they stay in the caches
_NEVER = np.iinfo(np.int64).max
Int64 = NDArray[np.int64]


def compute(
    customers: pa.Table,
    events: Mapping[str, pa.Table],
    features: Mapping[str, Feature],
    moments: Sequence[datetime],
    shop: Shop,
) -> list[pa.Table]:
    """One table a moment: customer_id, moment, known_at, one float32 column a feature (NaN: null).

    customers: as `known_customers` gives them. events: of every table that a feature measures the columns
    that `plan.columns` names, in any order of rows; rows of other customers are left out; the whole
    `calendar`. A customer is in a table from the moment on at which anything is known of her.
    """
    ids = customers["customer_id"].combine_chunks()
    grid = np.array([to_us(m) for m in moments], np.int64)
    out = _reused((len(features), len(grid), len(ids)))
    same: dict[str, Float64] = {}  # for every customer
    parts: list[_Events] = []
    for table in plan.tables(features):
        here = plan.of_table(features, table)
        if table == "calendar":
            same = _calendar(events[table], here, grid, shop)
        else:
            parts.append(_Events(table, events[table], here, ids, shop))
    block = max(1, BLOCK // max(1, len(grid)))
    for start in range(0, len(ids), block):
        end = min(start + block, len(ids))
        number = end - start
        values = {name: np.repeat(column, number) for name, column in same.items()}
        spine = np.arange(number + 1, dtype=np.int64) * len(grid)
        places = np.arange(number * len(grid), dtype=np.int64).reshape(len(grid), number).T.ravel()
        for part in parts:
            values |= part.values(start, end, spine, grid, places)
        while len(values) < len(features):  # expressions, in the order that their inputs become known
            for name, feature in features.items():
                if name not in values and all(i in values for i in feature.inputs):
                    assert feature.expression is not None
                    values[name] = evaluate(feature.expression, values)
        for place, name in enumerate(features):
            out[place, :, start:end] = values[name].reshape(len(grid), number)
    since = customers["known_at"].cast(pa.int64()).to_numpy()
    return [_table(ids, since, int(moment), out[:, m], features) for m, moment in enumerate(grid)]


def _reused(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """An array in memory of Arrow's pool, which the next shard has again: fresh pages would cost a tenth."""
    buffer = pa.allocate_buffer(4 * int(np.prod(shape)))
    return np.frombuffer(buffer, np.float32).reshape(shape)


def known_customers(rows: pa.Table) -> pa.Table:
    """customer_id, each once, ascending, and the known_at since when anything is known of her."""
    known = rows.group_by("customer_id").aggregate([("known_at", "min")]).sort_by("customer_id")
    return known.select(["customer_id", "known_at_min"]).rename_columns(["customer_id", "known_at"])


def schema(features: Mapping[str, Feature]) -> pa.Schema:
    """Of every snapshot."""
    stamp = pa.timestamp("us", "UTC")
    keys = zip(KEYS, (pa.string(), stamp, stamp), strict=True)
    return pa.schema([*keys, *((name, pa.float32()) for name in features)])


def _table(
    ids: pa.Array, since: Int64, moment: int, values: NDArray[np.float32], features: Mapping[str, Feature]
) -> pa.Table:
    """The snapshot of one moment: those who are known by then."""
    present = since <= moment
    if not present.all():
        ids, values = ids.filter(pa.array(present)), values[:, present]
    stamp = pa.repeat(pa.scalar(moment, pa.int64()).cast(pa.timestamp("us", "UTC")), len(ids))
    return pa.table([ids, stamp, stamp, *values], schema=schema(features))


class _Events:
    """One table's events of one shard, by customer and time, with what the features measure as arrays."""

    def __init__(
        self, table: str, rows: pa.Table, features: Mapping[str, Feature], ids: pa.Array, shop: Shop
    ) -> None:
        self.table, self.exponent = table, shop.exponent
        self.wanted: dict[Input, dict[str, Feature]] = {}
        for name, feature in features.items():
            self.wanted.setdefault(plan.input_of(feature), {})[name] = feature
        who, dictionary = _codes(rows["customer_id"])
        code = _taken(pc.fill_null(pc.index_in(dictionary, ids), -1).to_numpy(), who)
        rows, code = _of_shard(rows.drop_columns("customer_id"), code)
        at, known = _microseconds(rows["at"]), _microseconds(rows["known_at"])
        enter = np.maximum(at, known)
        in_order, happened_in_order = kernel.ordered(code, enter, at)
        if not in_order:
            order = np.lexsort((at, enter, code))
            rows, code, at, enter = rows.take(pa.array(order)), code[order], at[order], enter[order]
            _, happened_in_order = kernel.ordered(code, enter, at)
        self.rows, self.at, self.enter = rows, at, enter
        self.by_at = np.arange(len(at)) if happened_in_order else np.lexsort((at, code))
        self.offsets = np.searchsorted(code, np.arange(len(ids) + 1)).astype(np.int64)
        self.days = np.zeros(len(at), np.int32)
        if plan.needs_local(features):
            self.local = _local(at, shop)
            self.days = (self.local // DAY_US).astype(np.int32)
            local_at = pa.array(self.local).view(pa.timestamp("us"))
            rows = rows.append_column("local_at", local_at)
        self.holds = _conditions(rows, [feature.where for feature in features.values()])
        self._prepare()

    def _prepare(self) -> None:
        """The arrays that the kernel's passes read: columns of one kind side by side."""
        self.passes: list[tuple[list[Input], Int64, list[int | None], Any, Any]] = []
        for kind, type in (("count", np.uint8), ("sum", np.int64), ("max", np.int64), ("distinct", np.int32)):
            keys = [key for key in self.wanted if key.kind == kind]
            if keys:
                data = np.empty((len(keys), len(self.at)), type)
                for c, key in enumerate(keys):
                    data[c] = getattr(self, f"_{kind}")(key)
                if kind == "distinct":
                    self._add(keys, data, int(data.max(initial=0)) + 1)
                else:
                    self._add(keys, data, np.array([self._divisor(key) for key in keys]))
        for key in self.wanted:
            if key.kind == "last":
                self._add([key], self._numbers(key), None)
            elif key.kind == "mode":
                numbers = self._numbers(key)
                known, codes = np.unique(numbers, return_inverse=True)
                codes = np.where(np.isnan(numbers), -1, codes).astype(np.int32)
                self._add([key], codes, np.append(known, np.nan))  # code -1: none
            elif key.kind == "history":
                self._add([key], self._where(key), None)

    def _add(self, keys: list[Input], data: Any, levels: Any) -> None:
        spans = list(dict.fromkeys(f.window for key in keys for f in self.wanted[key].values()))
        windows = np.array([kernel.FOREVER if s is None else s * DAY_US for s in spans], np.int64)
        self.passes.append((keys, windows, spans, data, levels))

    def values(self, start: int, end: int, spine: Int64, grid: Int64, places: Int64) -> dict[str, Float64]:
        """The features of customers start..end: rows by moment, then customer."""
        result: dict[str, Float64] = {}
        events = (self.offsets[start : end + 1], self.enter, self.at)
        rows = (spine, np.tile(grid, end - start), places)
        edges: dict[tuple[int | None, ...], Any] = {}
        for keys, windows, spans, data, more in self.passes:
            kind = keys[0].kind
            if kind == "history":
                out = kernel.history(*events, self.days, *rows, data)
                moments = np.repeat(grid, end - start)
                for name, feature in self.wanted[keys[0]].items():
                    result[name] = _from_history(feature.measure, out, moments)
                continue
            if kind in ("count", "sum"):
                if tuple(spans) not in edges:
                    edges[tuple(spans)] = kernel.edges(*events, self.by_at, *rows, windows)
                values = kernel.sums(*events, self.by_at, *rows, windows, *edges[tuple(spans)], data, more)
            elif kind == "distinct":
                values = kernel.distinct(*events, self.by_at, *rows, windows, data, more)
            elif kind == "max":
                values = kernel.maxima(*events, *rows, windows, data, more)
            elif kind == "last":
                values = kernel.lasts(*events, *rows, windows, data)[:, None]
            else:
                codes = kernel.modes(*events, self.by_at, *rows, windows, data, len(more))
                values = more[codes][:, None]
            for c, key in enumerate(keys):
                for name, feature in self.wanted[key].items():
                    result[name] = values[spans.index(feature.window), c]
        return result

    def _divisor(self, key: Input) -> float:
        """Minor units in a unit of the column: what the kernel's integers are divided by."""
        money = key.column and plan.type_of(self.table, key.column) == "money"
        return 10.0**self.exponent if money else 1.0

    def _where(self, key: Input) -> NDArray[np.bool_]:
        return self.holds[key.where]

    _count = _where

    def _sum(self, key: Input) -> Int64:
        """A column's exact integers, 0 where it is null or the condition does not hold."""
        assert key.column is not None
        return self._exact(key.column, 0) * self._where(key)

    def _max(self, key: Input) -> Int64:
        assert key.column is not None
        return np.where(self._where(key), self._exact(key.column, kernel.NOTHING), kernel.NOTHING)

    def _distinct(self, key: Input) -> NDArray[np.int32]:
        """A code an event, -1 where the column is null or the condition does not hold."""
        assert key.column is not None
        if key.column == "":
            codes = self.days - self.days.min() if len(self.days) else self.days
        elif self._is_local(key.column):
            codes = self._exact(key.column, 0).astype(np.int32)
        else:
            codes, _ = _codes(self.rows[key.column])
        return np.where(self._where(key), codes, -1).astype(np.int32)

    def _numbers(self, key: Input) -> Float64:
        """A column as numbers, of a vocabulary its codes; NaN where it does not count."""
        assert key.column is not None
        type = plan.type_of(self.table, key.column)
        if key.vocabulary is not None:
            codes, dictionary = _codes(self.rows[key.column])
            places = pc.index_in(dictionary, pa.array(key.vocabulary, dictionary.type))
            numbers = _taken(places.cast(pa.float64()).to_numpy(zero_copy_only=False), codes, np.nan)
        elif type == "real":
            numbers = self.rows[key.column].to_numpy()
        else:
            exact = self._exact(key.column, kernel.NOTHING)
            numbers = _null(exact, exact / self._divisor(key))
        return np.where(self._where(key), numbers, np.nan)

    def _is_local(self, column: str) -> bool:
        return column in ("hour", "weekday")

    def _exact(self, column: str, null: int) -> Int64:
        """A column of money (in minor units) or whole numbers as int64."""
        if column == "hour":
            return self.local // (DAY_US // 24) % 24
        if column == "weekday":
            return (self.days.astype(np.int64) + 3) % 7 + 1  # 1970-01-01 was a Thursday
        values = self.rows[column].combine_chunks()
        if plan.type_of(self.table, column) != "money":
            return np.asarray(pc.fill_null(values, null).to_numpy(zero_copy_only=False), np.int64)
        if values.type.scale != self.exponent:
            values = values.cast(pa.decimal128(18, self.exponent))
        # 18 digits fit in the lower half of each little-endian 128 bits.
        halves = np.frombuffer(values.buffers()[1], np.int64)
        exact = halves[2 * values.offset : 2 * (values.offset + len(values)) : 2]
        if values.null_count:
            exact = np.where(values.is_null().to_numpy(zero_copy_only=False), null, exact)
        return exact


def _codes(column: pa.ChunkedArray) -> tuple[NDArray[np.int32], pa.Array]:
    """(code of each row, -1 for null; the values of the codes)."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    whole = column.unify_dictionaries().combine_chunks()
    codes = pc.fill_null(whole.indices, -1).to_numpy(zero_copy_only=False)
    return codes.astype(np.int32, copy=False), whole.dictionary


def _taken(values: NDArray[Any], codes: NDArray[np.int32], missing: float = -1) -> NDArray[Any]:
    """values[codes], `missing` for code -1."""
    return np.append(values, np.asarray(missing, values.dtype))[codes]


def _of_shard(rows: pa.Table, code: NDArray[np.int32]) -> tuple[pa.Table, NDArray[np.int32]]:
    """Without the rows of other customers (code -1); without a copy where these come before and after."""
    inside = np.flatnonzero(code >= 0)
    if len(inside) == len(code):
        return rows, code
    if len(inside) and inside[-1] - inside[0] + 1 == len(inside):
        return rows.slice(inside[0], len(inside)), code[inside[0] : inside[-1] + 1]
    return rows.take(pa.array(inside)), code[inside]


def _microseconds(column: pa.ChunkedArray) -> Int64:
    return np.asarray(column.cast(pa.int64()).to_numpy(), np.int64)


def _local(at: Int64, shop: Shop) -> Int64:
    """Microseconds since 1970-01-01 00:00 on the shop's clock."""
    if not len(at):
        return at
    starts, shifts = offsets_of(shop.zone, int(at.min()), int(at.max()))
    return np.asarray(kernel.shifted(at, starts, shifts))


@cache
def _database() -> Any:
    """One a process, since opening it takes longer than asking it; every shard has its own cursor."""
    return duck.connect(threads=1)


def _conditions(rows: pa.Table, wheres: Sequence[str | None]) -> dict[str | None, NDArray[np.bool_]]:
    """Where each condition holds, row by row; null counts as false."""
    result: dict[str | None, NDArray[np.bool_]] = {None: np.ones(len(rows), np.bool_)}
    named = {f"c{n}": where for n, where in enumerate(dict.fromkeys(w for w in wheres if w))}
    if named:
        used = plan.words(named.values())
        relation = rows.select([c for c in rows.column_names if c in used] or rows.column_names[:1])
        connection = _database().cursor()
        connection.register("events", relation)
        select = ", ".join(f"({where}) AS {name}" for name, where in named.items())
        found = connection.sql(f"SELECT {select} FROM events").to_arrow_table()
        connection.close()
        for name, where in named.items():
            result[where] = pc.fill_null(found[name].cast(pa.bool_()), False).to_numpy()  # in SQL: slower
    return result


def _calendar(rows: pa.Table, features: Mapping[str, Feature], grid: Int64, shop: Shop) -> dict[str, Float64]:
    """The calendar's features, a value a moment: they are the same for every customer."""
    m = grid[:, None]
    at, known, until = (_microseconds(rows[c]) for c in ("at", "known_at", "until"))
    rows = rows.append_column("local_at", pa.array(_local(at, shop)).view(pa.timestamp("us")))
    holds = _conditions(rows, [feature.where for feature in features.values()])
    result: dict[str, Float64] = {}
    for name, feature in features.items():
        here = (known <= m) & holds[feature.where]
        if feature.measure not in CALENDAR:
            here &= at <= m
        if feature.measure == "until_next":
            nearest = np.where(here & (at > m), at, _NEVER).min(axis=1, initial=_NEVER)
            result[name] = np.where(nearest == _NEVER, np.nan, (nearest - grid) / DAY_US)
        elif feature.measure == "since_last":
            last = np.where(here, at, kernel.NOTHING).max(axis=1, initial=kernel.NOTHING)
            result[name] = _null(last, (grid - last) / DAY_US)
        elif feature.measure == "running":
            result[name] = (here & (at <= m) & (m < until)).sum(axis=1).astype(np.float64)
        else:
            span = kernel.FOREVER if feature.window is None else feature.window * DAY_US
            inside = (at > m) & (at <= m + span) if feature.measure == "ahead" else at > m - span
            result[name] = (here & inside).sum(axis=1).astype(np.float64)
    return result


def _null(raw: Int64, value: Float64) -> Float64:
    return np.where(raw == kernel.NOTHING, np.nan, value)


def _from_history(measure: str, out: Int64, moments: Int64) -> Float64:
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

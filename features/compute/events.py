"""The events of one table, of one range of customers, as the arrays that the kernel's passes read."""

from collections.abc import Iterator, Mapping
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features import duck
from features.compute import kernel, plan, walks
from features.compute.plan import Input
from features.definitions import Feature
from features.errors import FeatureError
from features.moments import DAY_US, offsets_of
from features.rules import Float64
from features.shop import Shop
from features.tables import CORRECTED, LOCAL, PRECISION, TABLES, TOTAL, hour_of

Int64 = NDArray[np.int64]


class Events:
    """One table's events of one shard, by customer and time, with what the features measure as arrays."""

    def __init__(
        self, table: str, rows: pa.Table, features: Mapping[str, Feature], ids: pa.Array, shop: Shop
    ) -> None:
        self.table, self.exponent = table, shop.exponent
        self.wanted: dict[Input, dict[str, Feature]] = {}
        for name, feature in features.items():
            self.wanted.setdefault(plan.input_of(feature), {})[name] = feature
        self.windows = np.array(sorted(set(map(_length, features.values()))), np.int64)
        self.lengths = {key: sorted(set(map(_length, here.values()))) for key, here in self.wanted.items()}
        who, dictionary = _codes(rows["customer_id"])
        code = _taken(pc.fill_null(pc.index_in(dictionary, ids), -1).to_numpy(), who)
        rows, code = _of_shard(rows.drop_columns("customer_id"), code)
        at, known = microseconds(rows["at"]), microseconds(rows["known_at"])
        enter = np.maximum(at, known)
        in_order, happened_in_order = kernel.ordered(code, enter, at)
        if not in_order:
            order = np.lexsort((at, enter, code))
            rows, code, at, enter = rows.take(pa.array(order)), code[order], at[order], enter[order]
            _, happened_in_order = kernel.ordered(code, enter, at)
        self.rows, self.at, self.enter = rows, at, enter
        self.by_at = np.arange(len(at)) if happened_in_order else np.lexsort((at, code))
        self.offsets = np.append(0, np.cumsum(np.bincount(code, minlength=len(ids))))
        self.days = np.zeros(len(at), np.int32)
        if plan.needs_local(features):
            self.local = local(at, shop)
            self.days = (self.local // DAY_US).astype(np.int32)
            local_at = pa.array(self.local).view(pa.timestamp("us"))
            rows = rows.append_column("local_at", local_at)
        self.timed = _timed(rows)
        self.exact: dict[str, pa.Array] = {}  # columns as `_exact` found them, with their nulls
        self.holds, self.open = conditions(rows, features, shop)
        self._prepare()

    def _prepare(self) -> None:
        """What the kernel's passes read: of each input an array, and a number or values beside it."""
        self.passes: dict[Input, tuple[Any, Any]] = {}
        for key in self.wanted:
            data: Any
            beside: Any = None
            if key.kind in ("count", "history"):
                data, beside = self._where(key), 1.0
            elif key.kind in ("sum", "max"):
                data, beside = getattr(self, f"_{key.kind}")(key), self._divisor(key)
            elif key.kind == "distinct":
                data = self._distinct(key)
                beside = int(data.max(initial=0)) + 1
            else:
                data = self._numbers(key)
                if key.kind == "mode":
                    known, codes = np.unique(data, return_inverse=True)
                    data = np.where(np.isnan(data), -1, codes).astype(np.int32)
                    beside = np.append(known, np.nan)  # code -1: none
            self.passes[key] = data, beside

    def values(self, start: int, end: int, grid: Int64) -> Iterator[tuple[str, Float64]]:
        """The features of customers start..end, [moments, customers] each."""
        offsets = self.offsets[start : end + 1]
        events = (offsets, self.enter, self.at)
        spans = kernel.spans(*events, grid, self.windows)
        edges = kernel.edges(offsets, spans, len(grid))
        for key, (data, beside) in self.passes.items():
            here, m = self.wanted[key], len(grid)
            lengths = self.lengths[key]
            which = np.searchsorted(self.windows, lengths)
            if key.kind == "history":
                for name, found in self._history(key, offsets, spans, grid):
                    yield name, self._known(key, found[None], offsets, spans, edges, which)[0]
                continue
            windows = self.windows[which]
            if key.kind in ("count", "sum"):
                values = kernel.sums(offsets, spans, *edges, which, data, beside)
            elif key.kind == "distinct":
                values = kernel.distinct(offsets, spans, m, which, data, beside)
            elif key.kind == "max":
                values = walks.maxima(*events, grid, windows, data, beside)
            elif key.kind == "last":
                values = walks.lasts(*events, grid, windows, data)
            else:
                values = beside[walks.modes(*events, self.by_at, grid, windows, data, len(beside))]
            values = self._known(key, values, offsets, spans, edges, which)
            for name, feature in here.items():
                yield name, values[lengths.index(_length(feature))]

    def _known(
        self, key: Input, values: Float64, offsets: Int64, spans: NDArray[np.uint32], edges: Any, which: Any
    ) -> Float64:
        """The values, null where an event in the window may belong to them or not: nobody knows its hour."""
        if key.where not in self.open:
            return values
        doubtful = kernel.sums(offsets, spans, *edges, which, self.open[key.where], 1.0) > 0
        return np.where(doubtful, np.nan, values)

    def _history(
        self, key: Input, offsets: Int64, spans: NDArray[np.uint32], grid: Int64
    ) -> Iterator[tuple[str, Float64]]:
        features, matching = self.wanted[key], self._where(key)
        last, first = kernel.times(offsets, spans, self.at, len(grid), matching)
        if any(feature.measure.startswith("gap") for feature in features.values()):
            gaps = walks.gaps(offsets, self.enter, self.days, grid, matching)
        for name, feature in features.items():
            if feature.measure.startswith("gap"):
                yield name, _of_gaps(feature.measure, gaps)
            else:
                at = last if feature.measure == "since_last" else first
                yield name, or_null(at, (grid[:, None] - at) / DAY_US)

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
        exact = self._exact(key.column, 0)
        return exact if key.where is None else exact * self._where(key)

    def _max(self, key: Input) -> Int64:
        assert key.column is not None
        return np.where(self._where(key), self._exact(key.column, kernel.NOTHING), kernel.NOTHING)

    def _distinct(self, key: Input) -> NDArray[np.int32]:
        """A code an event, -1 where the column is null or the condition does not hold."""
        assert key.column is not None
        if key.column == "":
            codes = self.days - self.days.min() if len(self.days) else self.days
        elif self._is_local(key.column):
            codes = self._exact(key.column, -1).astype(np.int32)
        else:
            codes, _ = _codes(self.rows[key.column])
        return np.where(self._where(key), codes, -1).astype(np.int32, copy=False)

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
            numbers = or_null(exact, exact / self._divisor(key))
        return np.where(self._where(key), numbers, np.nan)

    def _is_local(self, column: str) -> bool:
        return column in LOCAL

    def _exact(self, column: str, null: int) -> Int64:
        """A column of money (in minor units) or whole numbers as int64."""
        if column == "hour":
            hours = self.local // (DAY_US // 24) % 24
            return hours if self.timed is None else np.where(self.timed, hours, null)
        if column == "weekday":
            return (self.days.astype(np.int64) + 3) % 7 + 1  # 1970-01-01 was a Thursday
        if column not in self.exact:  # several measures of a column ask for it
            values = self.rows["amount" if column == TOTAL else column]
            if column == TOTAL and self.rows[CORRECTED].null_count < len(values):
                values = pc.coalesce(self.rows[CORRECTED], values)
            if plan.type_of(self.table, column) == "money":
                minor = values.cast(pa.decimal64(18, self.exponent)).combine_chunks()
                self.exact[column] = minor.view(pa.int64())
            else:
                self.exact[column] = values.combine_chunks().cast(pa.int64())
        return np.asarray(pc.fill_null(self.exact[column], null).to_numpy())


def _length(feature: Feature) -> int:
    """Of its window, in microseconds."""
    return int(kernel.FOREVER) if feature.window is None else feature.window * DAY_US


def _codes(column: pa.ChunkedArray) -> tuple[NDArray[np.int32], pa.Array]:
    """(code of each row, -1 for null; the values of the codes)."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    whole = column.unify_dictionaries().combine_chunks()
    codes = pc.fill_null(whole.indices, -1).to_numpy(zero_copy_only=False)
    return codes.astype(np.int32, copy=False), whole.dictionary


def _taken(values: NDArray[Any], codes: NDArray[np.int32], missing: float = -1) -> NDArray[Any]:
    """values[codes], `missing` for code -1."""
    return np.append(values, np.asarray(missing, values.dtype)).take(codes, mode="wrap")


def _of_shard(rows: pa.Table, code: NDArray[np.int32]) -> tuple[pa.Table, NDArray[np.int32]]:
    """Without the rows of other customers (code -1); without a copy where these come before and after."""
    inside = np.flatnonzero(code >= 0)
    if len(inside) == len(code):
        return rows, code
    if len(inside) and inside[-1] - inside[0] + 1 == len(inside):
        return rows.slice(inside[0], len(inside)), code[inside[0] : inside[-1] + 1]
    return rows.take(pa.array(inside)), code[inside]


def microseconds(column: pa.ChunkedArray) -> Int64:
    """Times as whole numbers, since 1970."""
    return np.asarray(column.cast(pa.int64()).to_numpy(), np.int64)


def local(at: Int64, shop: Shop) -> Int64:
    """Microseconds since 1970-01-01 00:00 on the shop's clock."""
    if not len(at):
        return at
    starts, shifts = offsets_of(shop.zone, int(at.min()), int(at.max()))
    return np.asarray(kernel.shifted(at, starts, shifts))


def _timed(rows: pa.Table) -> NDArray[np.bool_] | None:
    """Of each event whether its hour is known; None: of all, as in most logs, so that nothing need ask."""
    if PRECISION not in rows.column_names or rows[PRECISION].null_count == len(rows):
        return None
    return np.asarray(rows[PRECISION].is_null().to_numpy())


def conditions(
    rows: pa.Table, features: Mapping[str, Feature], shop: Shop
) -> tuple[dict[str | None, NDArray[np.bool_]], dict[str | None, NDArray[np.bool_]]]:
    """Where each feature's condition holds, row by row; and, of conditions on the hour, where that is open.

    Null counts as false, but where the hour is not known and decides: there nobody knows. Only conditions
    that are open somewhere are among the latter. features: of one table.

    FeatureError names the feature whose condition cannot be read, where it is declared, and what DuckDB said;
    or that asks the clock or chance.
    """
    wheres = [feature.where for feature in features.values()]
    for name, feature in features.items():
        if feature.where and (asked_of := plan.restless(feature.where)):
            raise FeatureError(
                f"{shop.place(name, 'FEATURES')}: the `where` of feature {name} asks {asked_of}, which "
                "answers otherwise on another day: what was known at a moment may depend on that moment alone"
            )
    result: dict[str | None, NDArray[np.bool_]] = {None: np.ones(len(rows), np.bool_)}
    unknown: dict[str | None, NDArray[np.bool_]] = {}
    named = {f"c{n}": where for n, where in enumerate(dict.fromkeys(w for w in wheres if w))}
    if named:
        used = plan.words(named.values())
        table = next(feature.table for feature in features.values())
        assert table is not None
        asked, timed = sorted(used & {*LOCAL}), _timed(rows)
        if asked:
            used |= {"local_at"} if timed is None else {"local_at", PRECISION}
        relation = rows.select([c for c in rows.column_names if c in used] or rows.column_names[:1])
        connection = duck.shared()
        connection.register("rows", relation)
        of_day = {"hour": hour_of(table, timed is not None), "weekday": "isodow(local_at)"}
        local = "".join(f", {of_day[name]} AS {name}" for name in asked)
        connection.execute(f"CREATE TEMP VIEW events AS SELECT *{local} FROM rows")
        select = ", ".join(f"({where}) AS {name}" for name, where in named.items())
        try:
            found = connection.sql(f"SELECT {select} FROM events").fetchnumpy()
        except duckdb.Error:
            raise _unreadable(connection, features, shop) from None
        finally:
            connection.close()
        for name, where in named.items():
            result[where] = np.ma.filled(found[name], False).astype(np.bool_, copy=False)
            if timed is not None and "hour" in plan.words([where]):
                open_ = np.ma.getmaskarray(found[name]) & ~timed
                unknown |= {where: open_} if open_.any() else {}
    return result, unknown


def _unreadable(
    connection: duckdb.DuckDBPyConnection, features: Mapping[str, Feature], shop: Shop
) -> FeatureError:
    """Of the first feature whose condition alone fails too: all are asked at once, and DuckDB names none."""
    for name, feature in features.items():
        if feature.where is None:
            continue
        try:
            connection.sql(f"SELECT ({feature.where}) FROM events").fetchnumpy()
        except duckdb.Error as error:
            assert feature.table is not None
            *able, last = [c for c in TABLES[feature.table].columns if c != "customer_id"] + ["local_at"]
            why = ""
            if "customer_id" in plan.words([feature.where]):
                why = "; whose a row is, no condition may ask: what is known of a customer goes into tags"
            return FeatureError(
                f"{shop.place(name, 'FEATURES')}: the `where` of feature {name} cannot be read: "
                f"{str(error).splitlines()[0]} (where={feature.where!r}; "
                f"of {feature.table} it can read {', '.join(able)} and {last}{why})"
            )
    return FeatureError("the `where` of these features cannot be read together: " + ", ".join(features))


def or_null(raw: Int64, value: Float64) -> Float64:
    """The value, or null where the kernel found nothing."""
    return np.where(raw == kernel.NOTHING, np.nan, value)


def _of_gaps(measure: str, gaps: Int64) -> Float64:
    """Of the kernel's `gaps` one measure. Standard deviation: population, from exact sums."""
    number, total, squares, median2, longest = gaps
    if measure == "gap_median":
        return or_null(median2, median2 / 2)
    if measure == "gap_max":
        return or_null(longest, longest / 1)
    n = np.where(number == kernel.NOTHING, 1, number)
    if measure == "gap_mean":
        return or_null(number, total / n)
    # n * squares - total^2 is an exact integer: no cancellation.
    return or_null(number, np.sqrt(np.where(number == kernel.NOTHING, 0, n * squares - total * total)) / n)

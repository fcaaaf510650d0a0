"""The pure core, Arrow in, Arrow out: events of some customers -> every feature of theirs at every moment.

The engine calls it for one range of customers after another, Spark for the customers of a partition. DuckDB
evaluates the declarations' conditions, the kernel does the windows, expressions are computed in float64 over
its results, and everything is cast once to float32, which training and serving read.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.compute import plan, seasons
from features.compute.builds import KEYS
from features.compute.events import Events, Int64
from features.compute.expressions import evaluate
from features.definitions import Feature
from features.moments import to_us
from features.rules import Float64
from features.shop import Shop

BLOCK = 24_000  # customers x moments whose results are held in float64 at once: more leave the caches


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
    parts: list[Events] = []
    for table in plan.tables(features):
        here = plan.of_table(features, table)
        if table == "calendar":
            columns = seasons.values(events[table], here, grid, shop)
            same = {name: column[:, None] for name, column in columns.items()}
        else:
            parts.append(Events(table, events[table], here, ids, shop))
    place = {name: number for number, name in enumerate(features)}
    expressions = _expressions(features)
    block = max(1, BLOCK // max(1, len(grid)))
    for start in range(0, len(ids) if moments else 0, block):
        end = min(start + block, len(ids))
        measured = chain(same.items(), *(part.values(start, end, grid) for part in parts))
        for name, values in _with_expressions(measured, expressions):
            out[place[name], :, start:end] = values
    since = customers["known_at"].cast(pa.int64()).to_numpy()
    return list(_tables(ids, since, grid, out, schema(features)))


def _expressions(features: Mapping[str, Feature]) -> dict[str, Feature]:
    """Those that are expressions, in the order in which their inputs become known."""
    known = {name for name, feature in features.items() if feature.expression is None}
    result: dict[str, Feature] = {}
    while len(known) < len(features):
        for name, feature in features.items():
            if name not in known and all(i in known for i in feature.inputs):
                result[name] = feature
                known.add(name)
    return result


def _with_expressions(
    measured: Iterable[tuple[str, Float64]], expressions: Mapping[str, Feature]
) -> Iterator[tuple[str, Float64]]:
    """What is measured, then the expressions. Only what these read is kept: the rest stays in the caches."""
    inputs = {name for feature in expressions.values() for name in feature.inputs}
    exact: dict[str, Float64] = {}
    for name, values in measured:
        if name in inputs:
            exact[name] = values
        yield name, values
    for name, feature in expressions.items():
        assert feature.expression is not None
        values = evaluate(feature.expression, exact)
        if name in inputs:
            exact[name] = values
        yield name, values


def _reused(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """An array in memory of Arrow's pool, which the next shard has again: fresh pages would cost time."""
    buffer = pa.allocate_buffer(4 * int(np.prod(shape)))
    return np.frombuffer(buffer, np.float32).reshape(shape)


def known_customers(rows: pa.Table) -> pa.Table:
    """customer_id, each once, ascending, and the known_at since when anything is known of her."""
    ids = rows["customer_id"]
    if pc.all(pc.less(ids[:-1], ids[1:])).as_py():  # as one source alone writes them
        return rows.select(["customer_id", "known_at"])
    known = rows.group_by("customer_id").aggregate([("known_at", "min")]).sort_by("customer_id")
    return known.select(["customer_id", "known_at_min"]).rename_columns(["customer_id", "known_at"])


def schema(features: Mapping[str, Feature]) -> pa.Schema:
    """Of every snapshot."""
    stamp = pa.timestamp("us", "UTC")
    keys = zip(KEYS, (pa.string(), stamp, stamp), strict=True)
    return pa.schema([*keys, *((name, pa.float32()) for name in features)])


def _tables(
    ids: pa.Array, since: Int64, grid: Int64, out: NDArray[np.float32], shape: pa.Schema
) -> Iterator[pa.Table]:
    """The snapshot of each moment, of those who are known by then; out: [features, moments, ids]."""
    values, n = pa.array(out.reshape(-1)), len(ids)
    for place, moment in enumerate(grid):
        stamp = pa.array(np.full(n, moment)).view(pa.timestamp("us", "UTC"))
        starts = range(place * n, len(values), len(grid) * n)
        columns = [values.slice(start, n) for start in starts]
        table = pa.Table.from_arrays([ids, stamp, stamp, *columns], schema=shape)
        present = since <= moment
        yield table if present.all() else table.filter(pa.array(present))

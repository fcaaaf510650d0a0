"""Random logs of every table of the customer log, made from the tables' own contracts.

A table or a column that is new in `features/tables.py` is in them by itself; so is a value that a feature's
condition asks for. A row depends on its table and number only, so that a failing log can be made smaller.
"""

import random
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import duckdb
import pyarrow as pa
from hypothesis import strategies as st

from features import duck
from features.definitions import FEATURES, WINDOWS
from features.ingestion.ingest import arrow_schema
from features.moments import parse_moment
from features.tables import PRECISION, TABLES, Table

MOMENTS = [parse_moment(d) for d in ("2017-06-04", "2017-12-03", "2018-06-30")]
CUSTOMERS = ("1", "01", "b")
START, SPAN = parse_moment("2017-01-01"), timedelta(days=600)
MOST_ROWS = 14  # of one table
Rows = dict[str, list[dict[str, Any]]]

_BEHIND = [m - timedelta(days=w) for m in MOMENTS for w in (0, *WINDOWS)]
_AHEAD = [m + timedelta(days=w) for m in MOMENTS for w in (0, *WINDOWS)]
_NEAR = [timedelta(microseconds=us) for us in (-1, 0, 1)]


def logs() -> st.SearchStrategy[Rows]:
    """Events of three customers in every table, often at the edge of a window, some known late."""
    sizes = st.fixed_dictionaries({name: st.integers(0, MOST_ROWS) for name in TABLES if name != "customers"})
    return st.builds(log_of, st.integers(0, 2**32), sizes)


def log_of(seed: int, sizes: Mapping[str, int]) -> Rows:
    """The log of a seed: for each table the rows of that many that keep its contract."""
    drawn = {
        name: [_row(TABLES[name], random.Random(f"{seed} {name} {n}"), n) for n in range(size)]
        for name, size in sizes.items()
    }
    with duck.connect() as connection:
        return with_customers({n: _kept(connection, TABLES[n], rows) for n, rows in drawn.items()})


def with_customers(rows: Rows) -> Rows:
    """Add the customers table: each known since her first known event of any table."""
    known: dict[str, datetime] = {}
    for table, events in rows.items():
        for e in events if "customer_id" in TABLES[table].columns else ():
            known[e["customer_id"]] = min(known.get(e["customer_id"], e["known_at"]), e["known_at"])
    return {**rows, "customers": [{"customer_id": c, "at": k, "known_at": k} for c, k in known.items()]}


def _row(table: Table, draw: random.Random, n: int) -> dict[str, Any]:
    ahead = table.name == "calendar" and draw.random() < 0.6
    edge = draw.choice(_AHEAD if ahead else _BEHIND) + draw.choice(_NEAR)
    at = edge if draw.random() < 0.5 else START + SPAN * draw.random()
    late = timedelta(days=120) * draw.random() if ahead or draw.random() < 0.4 else timedelta(0)
    row: dict[str, Any] = {}
    for name, column in sorted(table.columns.items(), key=lambda named: named[0] != "ref"):
        # A day without a time makes features of hours null: else no larger log would have any of them.
        if not column.required and draw.random() < (0.8 if name == PRECISION else 0.3):
            row[name] = None
            continue
        match column.type:
            case "text":
                row[name] = draw.choice(_values(table.name, name))
            case "moment":
                row[name] = at + timedelta(hours=draw.choice([0, 1, 30, 1000]))
            case "money":
                # Only what has a `ref`, so it was drawn first, may lower money.
                row[name] = (
                    Decimal(draw.randrange(100_000)) / 100 * (draw.choice([1, -1] if row.get("ref") else [1]))
                )
            case "integer":
                row[name] = draw.randrange(11)
            case "real":
                row[name] = draw.choice([0.0, 0.25, 1.0])
            case "map":
                row[name] = None
    row |= {
        key: str(n) for key in table.key if key.endswith("_id") and key not in ("customer_id", "source_id")
    }
    row |= {"line": n} if "line" in table.columns else {}
    if "customer_id" in table.columns:
        row["customer_id"] = draw.choice(CUSTOMERS)
    if "at" in table.columns:
        row |= {"at": at, "known_at": at - late if ahead else at + late}
    return row


@cache
def _values(table: str, column: str) -> tuple[str, ...]:
    """Texts that may stand in a column: what a rule allows, else what features ask for, and two more."""
    of_table = [f for f in FEATURES if f.table == table]
    if allowed := _named(column, [rule for _, rule in TABLES[table].rules]):
        return allowed
    codes = [v for f in of_table if f.column == column for v in f.vocabulary or ()]
    return tuple(dict.fromkeys((*codes, *_named(column, [f.where for f in of_table if f.where]), "x", "y")))


def _named(column: str, conditions: Iterable[str]) -> tuple[str, ...]:
    """Texts that SQL conditions compare a column with."""
    lists = [
        found for sql in conditions for found in re.findall(rf"\b{column} (?:=|in) (\(.*?\)|'[^']*')", sql)
    ]
    return tuple(dict.fromkeys(text for found in lists for text in re.findall(r"'([^']*)'", found)))


def _kept(
    connection: duckdb.DuckDBPyConnection, table: Table, rows: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The rows that keep the table's rules, each key once."""
    rules = " AND ".join(f"({rule})" for _, rule in table.rules) or "true"
    key = ", ".join(f'"{c}"' for c in table.key)
    drawn = pa.Table.from_pylist(rows, schema=arrow_schema(table, 2))
    drawn = drawn.append_column("place", pa.array(range(len(rows)), pa.int64()))
    connection.register("drawn", drawn)
    places = connection.sql(f"SELECT min(place) FROM drawn WHERE {rules} GROUP BY {key} ORDER BY ALL")
    return [rows[place] for (place,) in places.fetchall()]

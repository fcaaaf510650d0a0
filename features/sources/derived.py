"""What follows from a shop's readings together: orders from lines, returns and their orders, people.

* Lines without orders: an order is the sum of its lines. Orders without amounts: the same. So is, beside a file
  of orders, one that only lines tell of: else its money would be in no order. Lines without a customer or a time
  have those of their order, and its fate. Without an order id, a customer's day is the order.
* A return is a row of its own with negative money. Its `ref` is the order that it returns: the one that the
  file names; else its own id, if goods were sold under that id; else the latest earlier order of the same
  customer with as many of the same product (without lines: of as much money); else `unknown`, with a note.
  A return in a file of orders that names no customer is of whom that order is.
  Each return is also a case, opened and closed. An order that was cancelled stays, and a return of all of it follows.
* A customer is known from the first thing that is known of her.
"""

import hashlib
import json
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from features.errors import SourceError
from features.moments import iso
from features.shop import Shop
from features.sources import Source
from features.sources.bounds import bounds_of, last_of
from features.sources.customers import customers
from features.sources.declared import MADE, Declared, Match, Reading
from features.sources.loading import load
from features.sources.parsed import WHERE_FROM, parsed
from features.sources.raw import literal, quoted
from features.sources.sales import (
    AND_ALONE,
    CASES,
    MATCHED_LINES,
    MATCHED_ORDERS,
    NOWHERE,
    NUMBERS,
    ORDER_OF_ID,
    ORDERS,
    ORDERS_AMOUNTS_OF_LINES,
    ORDERS_OF_LINES,
    order_lines,
    read_lines,
    read_orders,
)
from features.sources.values import MACROS, Habits, number
from features.tables import TABLES

if TYPE_CHECKING:
    import duckdb

VERSION = 11  # raise whenever the same mapping would give another log
EVENTS = tuple(
    name for name, table in TABLES.items() if {"customer_id", "known_at"} <= set(table.columns)
    and name not in ("customers", "identities", "order_lines")
)  # fmt: skip


def source(shop: Shop, declared: Declared, as_of: datetime | None = None) -> Source:
    """The readings as a `Source`. `prepare` loads the raw files; DuckDB finds what is wrong in any SQL then.

    as_of: what now is; the same files give another log of another one. None: the clock says it.
    """
    tables = {r.table for r in declared.readings}
    has_orders, has_lines = "orders" in tables, "order_lines" in tables
    amounts = any("amount" in r.values for r in declared.readings if r.table == "orders")
    made: dict[str, str] = {}
    if "products" in tables:
        made["products"] = _plain("products", declared)
    if has_lines:
        made["order_lines"] = order_lines("products" in tables, summed=not (has_orders and amounts))
    if has_orders:
        made["orders"] = (ORDERS if amounts else ORDERS_AMOUNTS_OF_LINES) + (AND_ALONE if has_lines else "")
    elif has_lines:
        made["orders"] = ORDERS_OF_LINES
    for table in EVENTS:
        if table in tables and table != "orders":
            made[table] = _plain(table, declared)
    if "orders" in made:
        cases = f" UNION ALL BY NAME {made['cases']}" if "cases" in made else ""
        made["cases"] = CASES + cases
    events = [t for t in EVENTS if t in made]
    if events:
        made["customers"] = customers(events, "customers" in tables)
    if events or "identities" in tables:
        made["identities"] = _identities(declared, events)
    if "calendar" in tables:
        made["calendar"] = _plain("calendar", declared)
    dated = {r.table for r in declared.readings if "at" in r.values or r.delivered is not None}
    files = dict.fromkeys(path for r in declared.readings for _, path in r.files)
    until = _complete_until(declared, ["orders"] if "orders" in made else events or list(made)[:1])
    last = last_of(declared.complete_until, as_of)
    facts = [VERSION, declared.zone, shop.mappings[declared.name], *([iso(last)] if as_of else [])]
    text = json.dumps(facts, default=str, sort_keys=True)
    return Source(
        name=declared.name,
        files=tuple(files),
        tables=made,
        complete_until=until,
        prepare=partial(_prepare, declared, shop.currency, has_orders and amounts, last),
        version=hashlib.sha256(text.encode()).hexdigest(),
        timeless=frozenset(tables - dated),
    )


def _prepare(
    declared: Declared,
    currency: str,
    whole_orders: bool,
    last: datetime,
    connection: "duckdb.DuckDBPyConnection",
) -> None:
    """Load the raw files, and parse them into `_<table>_read`. SourceError names the declaration that fails."""
    from duckdb import Error, OutOfMemoryException

    _macros(connection, declared.readings[0].habits)
    connection.execute("CREATE OR REPLACE TABLE _zones AS SELECT name FROM pg_timezone_names()")
    raws: dict[object, str] = {}
    loaded: list[tuple[Reading, str]] = []
    for reading in declared.readings:
        key = (reading.files, reading.format)
        if key not in raws:
            raws[key] = f"_raw_{len(raws)}"
            load(connection, raws[key], list(reading.files), reading.format)
        _check_sql(connection, reading, raws[key])
        loaded.append((reading, raws[key]))
    bounds = bounds_of(connection, declared, loaded, last)
    accounted: set[str] = set()  # whose unreadable records were told
    seen: set[str] = set()
    for reading, raw in loaded:
        sql = parsed(reading, raw, bounds[reading.table])
        if not reading.accounts:
            sql = f"SELECT * REPLACE (NULL AS _file, NULL AS _line) FROM ({sql}) WHERE _aside IS NULL"
        elif raw not in accounted:
            sql += f" UNION ALL BY NAME SELECT _file, _line, _reject, _raw AS _given FROM {raw}_broken"
        accounted.add(raw)
        first = reading.table not in seen
        seen.add(reading.table)
        how = (
            f"CREATE OR REPLACE TABLE _{reading.table}_read AS"
            if first
            else f"INSERT INTO _{reading.table}_read BY NAME"
        )
        try:
            connection.execute(f"{how} {sql}")
        except OutOfMemoryException:
            raise  # no fault of the declaration
        except Error as error:
            raise SourceError(
                f"{reading.where} cannot be read: {str(error).splitlines()[0]} "
                "Raw columns are text: in SQL, number(x) reads a number and TRY_CAST gives null where a cast would fail"
            ) from None
    if "orders" in seen:
        connection.execute(f"CREATE OR REPLACE TABLE _orders AS {read_orders(declared, whole_orders)}")
        connection.execute("DROP TABLE _orders_read")
        connection.execute(ORDER_OF_ID)
    if "order_lines" in seen:
        connection.execute(f"CREATE OR REPLACE TABLE _lines AS {read_lines(declared.name, 'orders' in seen)}")
        connection.execute("DROP TABLE _order_lines_read")
        connection.execute(NUMBERS)
        connection.execute(MATCHED_LINES)
    else:
        connection.execute(
            "CREATE OR REPLACE TABLE _matched (return_id VARCHAR, amount DECIMAL(38, 10), ref VARCHAR)"
        )
    if "orders" in seen:
        connection.execute(MATCHED_ORDERS)


def _macros(connection: "duckdb.DuckDBPyConnection", habits: Habits) -> None:
    """What the SQL of a mapping may call."""
    for macro in MACROS:
        connection.execute(macro)
    connection.execute(f"CREATE OR REPLACE TEMP MACRO number(x) AS {number('x::VARCHAR', habits)}")


def check_sql(reading: Reading) -> None:
    """SourceError if any SQL of a reading cannot be said of its raw columns; reads no row."""
    from features import duck

    columns = ", ".join(f"{quoted(c)} VARCHAR" for c in reading.raw_columns)
    with duck.connect() as connection:
        _macros(connection, reading.habits)
        connection.execute(f"CREATE TABLE raw ({columns}, _more VARCHAR, _file VARCHAR, _line BIGINT)")
        _check_sql(connection, reading, "raw")


def _check_sql(connection: "duckdb.DuckDBPyConnection", reading: Reading, raw: str) -> None:
    """Each SQL of the operator by itself, so that an error names its key."""
    from duckdb import Error

    given = [(v.where, v.given) for v in reading.values.values() if v.form == "sql"]
    given += [(m.where, m.sql) for rules in reading.conditions.values() for _, m in rules]
    given += [(m.where, m.sql) for m in (reading.returns, reading.cancelled) if isinstance(m, Match)]
    for where, sql in given:
        try:
            connection.execute(f"SELECT ({sql}) FROM {raw} LIMIT 0").fetchall()
        except Error as error:
            text = " ".join(line for line in str(error).splitlines()[:3] if line)
            raise SourceError(
                f"{where} is {sql!r}: {text}. It has: {', '.join(reading.raw_columns[:40])}"
            ) from None


def _plain(table: str, declared: Declared) -> str:
    """A table that is what was read; an event without an id is named by its file and line."""
    id = MADE.get(table)
    columns = ", ".join(
        f"coalesce({quoted(c)}, {literal(declared.name)} || ':' || _file || ':' || _line) AS {quoted(c)}"
        if c == id
        else quoted(c)
        for c in TABLES[table].columns
    )
    return f"SELECT {columns}, {', '.join(WHERE_FROM)} FROM _{table}_read"


def _identities(declared: Declared, events: list[str]) -> str:
    """Of this source's own customers, and of link files: an id of a source is a customer's."""
    parts = []
    linked = any(r.table == "identities" for r in declared.readings)
    if events:
        # What a link file says already is no second row: that one says since when.
        said = "SELECT source, source_id, customer_id FROM _identities_read WHERE _reject IS NULL AND _aside IS NULL"
        known = f"ANTI JOIN ({said}) USING (source, source_id, customer_id)" if linked else ""
        prefix = next((r.prefix for r in declared.readings), "")
        parts.append(
            f"""FROM (SELECT {literal(declared.name)} AS source, substr(customer_id, {len(prefix) + 1}) AS source_id, customer_id,
                       "at", known_at, {NOWHERE} FROM customers WHERE starts_with(customer_id, {literal(prefix)})) {known}"""
        )
    if linked:
        since = '(SELECT min("at") FROM customers)' if events else "NULL::TIMESTAMPTZ"
        columns = f"""source, source_id, customer_id, coalesce("at", {since}) AS "at", coalesce(known_at, "at", {since}) AS known_at"""
        parts.append(f"SELECT {columns}, {', '.join(WHERE_FROM)} FROM _identities_read")
    return " UNION ALL BY NAME ".join(parts)


def _complete_until(declared: Declared, tables: list[str]) -> str:
    """As declared; else the last midnight that everything of the source had happened by, or of whole days the
    first by which it had."""
    zone = literal(declared.zone)
    if declared.complete_until:
        given = literal(declared.complete_until)
        day = len(declared.complete_until) == 10
        return f"SELECT {given}::TIMESTAMP AT TIME ZONE {zone}" if day else f"SELECT {given}::TIMESTAMPTZ"
    union = " UNION ALL ".join(f"SELECT known_at FROM {t}" for t in tables)
    last = f"(max(known_at) AT TIME ZONE {zone})::DATE"
    if declared.whole_days:  # what has no time is known at the midnight itself
        last = f"((max(known_at) AT TIME ZONE {zone}) - INTERVAL 1 MICROSECOND)::DATE + 1"
    return f"SELECT ({last})::TIMESTAMP AT TIME ZONE {zone} FROM ({union})"

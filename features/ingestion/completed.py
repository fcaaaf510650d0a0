"""What follows for mended rows from the others of their source, by the rules of `sources/sales.py`.

A line gets what the catalogue says of its product. A return that names no order takes back the one that the
source's own returns would: of its own id, if goods were sold under it; else the latest earlier one of the same
customer with as many of the same product, or as much money; else `unknown`. So does a return of the source
itself that found no order, or an earlier one, while the sale that it takes back was rejected: unless it is
mended late, for then the log was used as it was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from features.ingestion.canonical import arrow_schema, names, order, save
from features.ingestion.mended import BACK, MENDED
from features.ingestion.parts import Part
from features.sources.corrected import ADDS
from features.sources.raw import literal
from features.sources.sales import MATCHED_LINES, MATCHED_ORDERS
from features.tables import TABLES

CATALOGUE = ("category", "department", "brand")
_SALE = "ref IS NULL AND amount >= 0"


@dataclass(frozen=True)
class Rules:
    """Of a mapping: whether it reads orders, whether its files name what a return takes back, its zone."""

    orders: bool
    refers: bool
    zone: str


def complete_lines(
    connection: duckdb.DuckDBPyConnection,
    parts: Sequence[Part],
    folded: Path,
    exponent: int,
    rules: Mapping[str, Rules],
) -> bool:
    """CREATE TABLE more_lines: the mended lines, with what `mended` says of them; write them again if they
    change. False if there are none."""
    lines, place = TABLES["order_lines"], folded / "order_lines" / f"{MENDED}.parquet"
    if not place.exists():
        return False
    (part,) = (part for part in parts if part.source == MENDED)
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE more_lines AS
            WITH of AS (
                SELECT order_id, line, m.* EXCLUDE (_row, "table")
                FROM read_parquet('{part.path("order_lines")}', file_row_number = true) p
                     JOIN mended m ON m._row = p.file_row_number AND m."table" = 'order_lines'),
            every AS (FROM of UNION ALL SELECT * REPLACE (order_id || '{BACK}' AS order_id, true AS refers) FROM of)
            SELECT l.*, b.source, b.reject, coalesce(b.late, false) AS late, coalesce(b.refers, true) AS refers,
                   b.channel, b.store_id
            FROM '{place}' l LEFT JOIN every b USING (order_id, line)"""
    )
    before = connection.execute("SELECT count(*), sum(hash(m)) FROM more_lines m").fetchall()
    for source, rule in rules.items():
        own, products = (folded / t / f"{source}.parquet" for t in ("order_lines", "products"))
        here = f"source = {literal(source)}"
        if products.exists():
            filled = ", ".join(f"{c} = coalesce(m.{c}, p.{c})" for c in CATALOGUE)
            connection.execute(
                f"UPDATE more_lines m SET {filled} FROM '{products}' p WHERE m.product_id = p.product_id AND {here}"
            )
        _match_lines(connection, own if own.exists() else None, here, source, rule)
    if connection.execute("SELECT count(*), sum(hash(m)) FROM more_lines m").fetchall() != before:
        _write(connection, "more_lines", place, lines.name, exponent)
    return True


def _match_lines(
    connection: duckdb.DuckDBPyConnection, own: Path | None, here: str, source: str, rule: Rules
) -> None:
    """Of the mended returns of a source: their order, and what they are called."""
    returns = f"{here} AND (amount < 0 OR items < 0) AND NOT refers"
    if not connection.execute(f"SELECT 1 FROM more_lines WHERE {returns} LIMIT 1").fetchall():
        return
    sold = f"SELECT order_id, customer_id, product_id, \"at\", items, amount, ref FROM more_lines WHERE {here} AND {_SALE} AND items >= 0"
    if own:
        sold += f" UNION ALL SELECT order_id, customer_id, product_id, \"at\", items, amount, ref FROM '{own}' WHERE {_SALE} AND items >= 0"
    day = f"""strftime("at" AT TIME ZONE {literal(rule.zone)}, '%Y-%m-%d')"""
    name = "order_id" if rule.orders else f"order_id || ':return:' || {day}"
    unnamed = f"starts_with(order_id, {literal(f'{source}:')})"
    connection.execute(
        f"""UPDATE more_lines SET order_id = {name}, ref = CASE WHEN ref IS NULL AND NOT {unnamed} THEN order_id ELSE ref END
            WHERE {returns} AND order_id IN (SELECT order_id FROM ({sold}))"""
    )
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE _lines AS
            SELECT 'sold' AS _file, NULL::BIGINT AS _line, false AS _return, true AS _ok, * FROM ({sold})
            WHERE customer_id IN (SELECT customer_id FROM more_lines WHERE {returns})
            UNION ALL BY NAME
            SELECT 'mended' AS _file, rowid AS _line, true AS _return, true AS _ok, order_id, customer_id, product_id,
                   "at", items, amount, ref FROM more_lines WHERE {returns}"""
    )
    connection.execute(MATCHED_LINES)
    connection.execute(
        "UPDATE more_lines m SET ref = f.ref FROM _matched f WHERE f._file = 'mended' AND m.rowid = f._line"
    )


def match_orders(
    connection: duckdb.DuckDBPyConnection, rows: str, folded: Path, rules: Mapping[str, Rules]
) -> None:
    """The same of the mended orders in the table `rows`, which has `source` and `refers` beside its columns."""
    for source in rules:
        here = f"source = {literal(source)}"
        returns = f"{here} AND amount < 0 AND NOT refers AND NOT contains(order_id, '{ADDS}')"
        if not connection.execute(f"SELECT 1 FROM {rows} WHERE {returns} LIMIT 1").fetchall():
            continue
        columns = 'order_id, customer_id, "at", amount'
        own, lines = (folded / t / f"{source}.parquet" for t in ("orders", "order_lines"))
        sold = f"SELECT {columns} FROM {rows} WHERE {here} AND {_SALE}"
        if own.exists():
            sold += f" UNION ALL SELECT {columns} FROM '{own}' WHERE {_SALE}"
        refs = [f"'{lines}'"] if lines.exists() else []
        refs += ["more_lines"] if (folded / "order_lines" / f"{MENDED}.parquet").exists() else []
        of_lines = " UNION ALL ".join(
            f"SELECT order_id, amount::DECIMAL(38, 10), ref FROM {each} WHERE ref IS NOT NULL" for each in refs
        )
        connection.execute(
            f"""CREATE OR REPLACE TABLE _matched AS
                SELECT NULL::VARCHAR AS return_id, NULL::DECIMAL(38, 10) AS amount, NULL::VARCHAR AS ref WHERE false
                {f"UNION ALL {of_lines}" if of_lines else ""}"""
        )
        connection.execute(
            f"""CREATE OR REPLACE TEMP TABLE _orders AS
                SELECT 'sold' AS _file, NULL::BIGINT AS _line, false AS _return, true AS _ok, NULL::VARCHAR AS ref, *
                FROM ({sold}) WHERE customer_id IN (SELECT customer_id FROM {rows} WHERE {returns})
                UNION ALL BY NAME
                SELECT 'mended' AS _file, rowid AS _line, true AS _return, true AS _ok, NULL::VARCHAR AS ref, {columns}
                FROM {rows} WHERE {returns}"""
        )
        connection.execute(MATCHED_ORDERS)
        connection.execute(
            f"UPDATE {rows} m SET ref = f.ref FROM _matched_orders f WHERE f._file = 'mended' AND m.rowid = f._line"
        )


def add_cases(
    connection: duckdb.DuckDBPyConnection, rows: str, folded: Path, exponent: int
) -> None:
    """Open a case for each return among the mended orders in the table `rows`, as `sales.CASES` does."""
    cases, place = TABLES["cases"], folded / "cases" / f"{MENDED}.parquet"
    kept = f"UNION ALL BY NAME FROM '{place}'" if place.exists() else ""
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE opened AS
            SELECT * FROM (
                SELECT order_id AS case_id, customer_id, "at", known_at, precision, 'return' AS kind, 'opened' AS change,
                       channel, ref, NULL::VARCHAR AS reason
                FROM {rows} WHERE ref IS NOT NULL AND amount <= 0 AND NOT contains(order_id, '{ADDS}')
                {kept})"""
    )
    _write(connection, "opened", place, cases.name, exponent)


def _write(
    connection: duckdb.DuckDBPyConnection, rows: str, place: Path, name: str, exponent: int
) -> None:
    """A table of rows as a file of the generation, if there are any."""
    table, written = TABLES[name], place.with_name(f".{place.name}")
    select = f"SELECT {names(table.columns)} FROM {rows} ORDER BY {order(table)}"
    if save(connection.sql(select), (written, arrow_schema(table, exponent))):
        written.replace(place)  # a part's own file may lie there: it stays as it is
    else:
        place.unlink(missing_ok=True)

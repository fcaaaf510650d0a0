"""Mended rows in a folding: what they mend, and the money of a mended line.

A mended line joins the lines that its own source has of the order. Where an order is the sum of its lines,
that line's money was missing in `orders` too, and comes in as a row of its own:

* The source has the order: a correction, `<order>:mended:<line>` with the order as its `ref`. It counts as no
  order, and in every sum of money, once the line and the order are known.
* Nobody has it, for all its lines were rejected: the order itself, the sum of those that were mended.

An order whose total was given had the money all along, and gets neither. A rejected line tells which it is:
where the order is a sum, the line was kept with the order's channel and store in `_order`.
"""

from collections.abc import Sequence
from pathlib import Path

import duckdb

from features.ingestion.canonical import arrow_schema, names, order, save
from features.ingestion.parts import Account, Part
from features.tables import TABLES

MENDED = "mended"  # the source of mended rows
CORRECTS = "corrects the total of its order"
SUM = "an order that is the sum of mended lines"
OF_ONE_CUSTOMER = ("orders", "order_lines")  # rows of one order
TWO_CUSTOMERS = "an order of two customers"  # as `sources/sales.py` says it of one source's lines
# A rejected row's name, as long as it stands where it stands: for mending.
REJECT_ID = """md5(concat_ws(chr(31), source, "table", coalesce(file, ''), coalesce(line, -1), row))"""


def read(connection: duckdb.DuckDBPyConnection, parts: Sequence[Part], taken: Sequence[Path]) -> None:
    """CREATE TABLE mended: of each accepted mended row its table, `_row` (its place in the part), the reject
    that it mends, and that reject's source.

    taken: the files of mended rows.
    """
    connection.execute('CREATE TABLE mended ("table" VARCHAR, _row BIGINT, reject VARCHAR, source VARCHAR)')
    for part in parts:
        for table in part.tables if part.source == MENDED and taken else ():
            connection.execute(
                f"""INSERT INTO mended SELECT '{table}', o.file_row_number, t.reject, t.source
                    FROM read_parquet({[str(path) for path in taken]}, filename = true,
                                      file_row_number = true, union_by_name = true) t
                         JOIN read_parquet('{part.origins(table)}', file_row_number = true) o
                         ON parse_filename(t.filename, true) = o.file AND t.file_row_number = o.line"""
            )


def refuse_second_customers(
    connection: duckdb.DuckDBPyConnection, table: str, rows: str, others: Sequence[str]
) -> None:
    """Add to `dropped` the mended rows that give an order another customer than it has, or two; they mend
    nothing.

    rows: SQL of the mended rows of the table, with `_row`. others: of the other sources' orders and lines.
    """
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE given AS SELECT * FROM {rows} ANTI JOIN dropped USING (_row)"
    )
    nothing = "SELECT order_id, customer_id FROM given WHERE false"
    of = (f"SELECT order_id, customer_id FROM {each} SEMI JOIN given USING (order_id)" for each in others)
    has = " UNION ".join([nothing, *of])
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE refused AS
            WITH has AS ({has})
            SELECT _row FROM given SEMI JOIN has USING (order_id) ANTI JOIN has USING (order_id, customer_id)
            UNION ALL
            SELECT _row FROM given ANTI JOIN has USING (order_id)
            WHERE order_id IN (SELECT order_id FROM given GROUP BY order_id
                               HAVING min(customer_id) <> max(customer_id))"""
    )
    connection.execute(f"INSERT INTO dropped SELECT _row, '{TWO_CUSTOMERS}' FROM refused")
    connection.execute(f"""DELETE FROM mended WHERE "table" = '{table}' AND _row IN (FROM refused)""")


def add_money(
    connection: duckdb.DuckDBPyConnection,
    parts: Sequence[Part],
    folded: Path,
    exponent: int,
    account: Account,
) -> None:
    """Add the orders that mended lines make or correct to the folded mended orders, and to the account.

    folded: the folder of the generation's tables, which are whole but for these rows.
    """
    lines, orders = TABLES["order_lines"], TABLES["orders"]
    kept = folded / lines.name / f"{MENDED}.parquet"
    there = [str(path) for path in sorted((folded / orders.name).glob("*.parquet"))]
    if not kept.exists() or not there:
        return
    (part,) = (part for part in parts if part.source == MENDED)
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE money AS
            WITH known AS (
                SELECT order_id, channel, store_id, known_at, parse_filename(filename, true) AS source
                FROM read_parquet({there}, filename = true, hive_partitioning = false)),
            sole AS (  -- of a record that could not be read, which says no channel
                SELECT source, min(channel) AS channel FROM known GROUP BY source
                HAVING count(DISTINCT channel) = 1),
            rejected AS (
                SELECT {REJECT_ID} AS reject,
                       row->>'$._order.channel' AS channel, row->>'$._order.store_id' AS store_id
                FROM read_parquet({[str(each.rejects) for each in parts]})
                WHERE "table" = '{lines.name}' AND json_exists(row, '$._order')),
            line AS (
                SELECT k.*, m.source, coalesce(r.channel, o.channel) AS channel, r.store_id
                FROM '{kept}' k
                JOIN (SELECT order_id, line, file_row_number AS _row
                      FROM read_parquet('{part.path(lines.name)}', file_row_number = true))
                     USING (order_id, line)
                JOIN mended m USING (_row) JOIN rejected r USING (reject)
                LEFT JOIN sole o ON o.source = m.source
                WHERE m."table" = '{lines.name}')
            SELECT l.order_id || ':mended:' || l.line AS order_id, l.customer_id, l."at",
                   greatest(l.known_at, o.known_at) AS known_at, o.channel, o.store_id, l.amount, l.discount,
                   l.order_id AS ref, '{CORRECTS}' AS note
            FROM line l JOIN known o USING (order_id, source)
            UNION ALL
            SELECT order_id, any_value(customer_id), min("at"), max(known_at), min(channel), min(store_id),
                   sum(amount), sum(discount), max(ref), '{SUM}'
            FROM line ANTI JOIN known USING (order_id) GROUP BY order_id
            HAVING min(channel) IS NOT NULL AND count(DISTINCT customer_id) = 1"""
    )
    notes = connection.execute("SELECT note, count(*) FROM money GROUP BY note").fetchall()
    if not notes:
        return
    for note, rows in notes:
        account[orders.name, None, True, note, False] += rows
    place = folded / orders.name / f"{MENDED}.parquet"
    before = f"UNION ALL SELECT {names(orders.columns)} FROM '{place}'" if place.exists() else ""
    rows = connection.sql(
        f"SELECT * FROM (SELECT {names(orders.columns)} FROM money {before}) ORDER BY {order(orders)}"
    )
    written = place.with_name(f".{place.name}")
    save(rows, (written, arrow_schema(orders, exponent)))
    written.replace(place)  # a part's own file may lie there: it stays as it is

"""Mended rows in a folding: which rejects they mend, and which give an order a second customer.

What they bring to the money of orders: `additions.py`.
"""

from collections.abc import Sequence
from pathlib import Path

import duckdb

from features.ingestion.parts import Part, holders
from features.ingestion.records import RAW, RECORD
from features.sources.corrected import ADDS, PLACES
from features.sources.raw import literal, quoted
from features.sources.sales import TWO_CUSTOMERS

MENDED = "mended"  # the source of mended rows
BACK = ":cancelled"  # ends the id of what takes back an order that was cancelled
ORPHAN = "of a mended order that is not taken in"
NO_CHANNEL = "no channel"
OF_RETURNS = "a sale under the order_id of a return"  # by the rules that return would be called otherwise
OF_ONE_CUSTOMER = ("orders", "order_lines")  # rows of one order
# A rejected row's name, as long as it stands where it stands: for mending. `_fate` follows from the rest.
_NAMED = """regexp_replace(row, ',"_fate":(null|\\{[^}]*\\})', '')"""
REJECT_ID = f"""md5(concat_ws(chr(31), source, "table", coalesce(file, ''), coalesce(line, -1), {_NAMED}))"""


def read(connection: duckdb.DuckDBPyConnection, parts: Sequence[Part], taken: Sequence[Path]) -> None:
    """CREATE TABLE mended: of each accepted mended row its table, `_row` (its place in the part), the reject
    that it mends, that reject's source, whether it is `late`: known from a moment that no file says, whether
    the log was `used` before, and what the correction says of its order: `refers` (it names the order that it
    takes back), channel, store_id.

    taken: the files of mended rows.
    """
    connection.execute(
        """CREATE TABLE mended
           ("table" VARCHAR, _row BIGINT, reject VARCHAR, source VARCHAR, late BOOLEAN, used BOOLEAN, refers BOOLEAN,
            channel VARCHAR, store_id VARCHAR)"""
    )
    if not taken:
        return
    given = f"""read_parquet({[str(path) for path in taken]}, filename = true, file_row_number = true,
                             union_by_name = true)"""
    have = {name for name, *_ in connection.execute(f"DESCRIBE SELECT * FROM {given}").fetchall()}
    told = [
        sql
        for c, sql in (("known_from", "known_from IS NOT NULL"), ("known_said", "known_said"))
        if c in have
    ]
    places = ", ".join(f"nullif(trim(t.{c}), '')" if c in have else "NULL" for c in PLACES)
    for part in parts:
        for table in part.tables if part.source == MENDED else ():
            connection.execute(
                f"""INSERT INTO mended SELECT '{table}', o.file_row_number, t.reject, t.source,
                           coalesce({" OR ".join(told) or "false"}, false),
                           {"t.used IS DISTINCT FROM false" if "used" in have else "true"},
                           {"nullif(trim(t.ref), '') IS NOT NULL" if "ref" in have else "false"}, {places}
                    FROM {given} t
                         JOIN read_parquet('{part.origins(table)}', file_row_number = true) o
                         ON parse_filename(t.filename, true) = o.file AND t.file_row_number = o.line"""
            )
    for part in parts:  # what takes back an order that was cancelled is mended with it
        for table in OF_ONE_CUSTOMER if part.source == MENDED else ():
            if table in part.tables:
                rows = f"(SELECT *, file_row_number AS _row FROM read_parquet('{part.path(table)}', file_row_number = true))"
                line = "AND b.line = p.line" if table == "order_lines" else ""
                connection.execute(
                    f"""INSERT INTO mended SELECT m.* REPLACE (b._row AS _row, true AS refers)
                        FROM mended m JOIN {rows} p USING (_row) JOIN {rows} b ON b.order_id = p.order_id || '{BACK}' {line}
                        WHERE m."table" = '{table}'"""
                )
    if {"file", "row", RECORD} <= have:
        _follow(connection, parts, given)


def _follow(connection: duckdb.DuckDBPyConnection, parts: Sequence[Part], taken: str) -> None:
    """A version that reads more of a row names its reject otherwise: then the correction mends what stands in
    the same place of the same file, if that has the same record still. taken: SQL of the mended rows."""
    paths = [str(part.rejects) for part in parts if part.source != MENDED]
    if not paths or connection.execute("SELECT count(*) FROM mended").fetchall() == [(0,)]:
        return
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE named AS
            SELECT {REJECT_ID} AS reject, source, "table", file, line, {RAW} AS record
            FROM read_parquet({paths}, hive_partitioning = false)"""
    )
    same = f"""t.source = n.source AND t."table" = n."table" AND t.file = n.file
               AND TRY_CAST(t."row" AS BIGINT) = n.line + 1 AND t.{quoted(RECORD)} = n.record"""
    connection.execute(
        f"""UPDATE mended SET reject = now.reject
            FROM (SELECT t.reject AS before, n.reject FROM {taken} t JOIN named n ON {same}) now
            WHERE mended.reject = now.before AND mended.reject NOT IN (SELECT reject FROM named)"""
    )
    connection.execute("DROP TABLE named")


def drop_orphans(connection: duckdb.DuckDBPyConnection, table: str, part: Part, rows: str) -> None:
    """Add to `dropped` the rows that take back mended rows which are dropped or rejected themselves.

    rows: SQL of the mended rows of the table, with `_row`.
    """
    key = ("order_id", "line") if table == "order_lines" else ("order_id",)
    same = " AND ".join(f"o.{c} = b._{c}" for c in key)
    line = ", line AS _line" if table == "order_lines" else ""
    connection.execute(
        f"""INSERT INTO dropped
            SELECT _row, '{ORPHAN}' FROM (
                SELECT _row, order_id[:-{len(BACK) + 1}] AS _order_id{line} FROM {rows} ANTI JOIN dropped USING (_row)
                JOIN (SELECT file, file_row_number AS _row FROM read_parquet(
                          '{part.origins(table)}', file_row_number = true)) USING (_row)
                WHERE file IS NULL AND ends_with(order_id, '{BACK}')) b
            WHERE NOT EXISTS (FROM (FROM {rows} ANTI JOIN dropped USING (_row)) o WHERE {same})"""
    )
    connection.execute(
        f"""DELETE FROM mended WHERE "table" = '{table}'
            AND _row IN (SELECT _row FROM dropped WHERE reason = '{ORPHAN}')"""
    )


def of_sums(parts: Sequence[Part]) -> str:
    """SQL of the rejected lines whose order is the sum of its lines: reject, channel and store of the order."""
    return f"""SELECT {REJECT_ID} AS reject, row->>'$._order.channel' AS channel,
                      row->>'$._order.store_id' AS store_id
               FROM read_parquet({[str(part.rejects) for part in parts]}, hive_partitioning = false)
               WHERE "table" = 'order_lines' AND json_exists(row, '$._order')"""


def only_channels(parts: Sequence[Part]) -> str:
    """SQL of the sources whose orders have all one channel, with it."""
    of = [
        f"SELECT {literal(p.source)} AS source, channel FROM '{p.path('orders')}'"
        for p in holders(parts, "orders")
        if p.source != MENDED
    ]
    orders = " UNION ALL ".join(of) or "SELECT NULL AS source, NULL AS channel"
    return f"""SELECT source, min(channel) AS channel FROM ({orders}) GROUP BY source
               HAVING count(DISTINCT channel) = 1"""


def refuse_nowhere(
    connection: duckdb.DuckDBPyConnection, rows: str, parts: Sequence[Part], others: Sequence[str]
) -> None:
    """Add to `dropped` the mended lines of whose order, the sum of its lines, nothing says the channel.

    rows: SQL of the mended lines, with `_row`. others: of all orders, and of the other sources' lines.
    """
    has = " UNION ".join(f"SELECT order_id FROM {each}" for each in others)
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE refused AS
            SELECT _row, order_id, coalesce(m.channel, r.channel, c.channel) AS channel
            FROM {rows} v ANTI JOIN dropped USING (_row) JOIN mended m USING (_row)
                 JOIN ({of_sums(parts)}) r USING (reject) LEFT JOIN ({only_channels(parts)}) c ON c.source = m.source
            WHERE m."table" = 'order_lines' AND order_id NOT IN ({has})"""
    )
    connection.execute(
        "DELETE FROM refused WHERE order_id IN (SELECT order_id FROM refused WHERE channel IS NOT NULL)"
    )
    connection.execute(f"INSERT INTO dropped SELECT _row, '{NO_CHANNEL}' FROM refused")
    connection.execute(
        """DELETE FROM mended WHERE "table" = 'order_lines' AND _row IN (SELECT _row FROM refused)"""
    )


def refuse_sales_of_returns(
    connection: duckdb.DuckDBPyConnection, rows: str, parts: Sequence[Part]
) -> None:
    """Add to `dropped` the mended lines of goods sold, under an id under which their source brings goods back alone.

    rows: SQL of the mended lines, with `_row`.
    """
    own = [
        f"SELECT {literal(part.source)} AS source, order_id, ref IS NULL AS sold FROM '{part.path('order_lines')}'"
        for part in holders(parts, "order_lines")
        if part.source != MENDED
    ]
    if not own:
        return
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE refused AS
            WITH wanted AS (SELECT _row, m.source, order_id FROM {rows} v ANTI JOIN dropped USING (_row)
                            JOIN mended m USING (_row)
                            WHERE m."table" = 'order_lines' AND v.ref IS NULL AND v.amount >= 0 AND v.items >= 0)
            SELECT _row FROM wanted JOIN (
                SELECT source, order_id FROM ({" UNION ALL ".join(own)}) SEMI JOIN wanted USING (source, order_id)
                GROUP BY ALL HAVING NOT bool_or(sold)) USING (source, order_id)"""
    )
    connection.execute(f"INSERT INTO dropped SELECT _row, '{OF_RETURNS}' FROM refused")
    connection.execute(
        """DELETE FROM mended WHERE "table" = 'order_lines' AND _row IN (SELECT _row FROM refused)"""
    )


def refuse_second_customers(
    connection: duckdb.DuckDBPyConnection, table: str, rows: str, others: Sequence[str]
) -> None:
    """Add to `dropped` the mended rows that give an order another customer than it has, or two; they mend
    nothing.

    rows: SQL of the mended rows of the table, with `_row`. others: of the other sources' orders and lines.
    """
    # What adds to an order is of that order, and so is what takes it back.
    order = f"""CASE WHEN contains(order_id, '{ADDS}') THEN ref
                     ELSE regexp_replace(order_id, ':cancelled$', '') END AS order_id"""
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE given AS
            SELECT * REPLACE ({order}) FROM {rows} ANTI JOIN dropped USING (_row)"""
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

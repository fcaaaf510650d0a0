"""Mended rows that a folding does not take in, for they would falsify an order. They mend nothing."""

from collections.abc import Mapping, Sequence

import duckdb

from features.ingestion.canonical import names
from features.ingestion.completed import Rules
from features.ingestion.mended import BACK, MENDED, REJECT_ID, of_sums, only_channels
from features.ingestion.parts import Part, holders
from features.sources.corrected import ADDS
from features.sources.raw import literal
from features.sources.sales import TWO_CUSTOMERS
from features.tables import Table

ORPHAN = "of a mended order that is not taken in"
NO_CHANNEL = "no channel"
OTHERWISE = ", that says otherwise"  # of a second row with a key: then it is no repetition
GONE = "its row is rejected no more"  # the file was put right, or has it no more: what it says now holds
OF_RETURNS = "a sale under the order_id of a return"  # by the rules that return would be called otherwise


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
                SELECT _row, order_id[:-{len(BACK) + 1}] AS _order_id{line}
                FROM {rows} ANTI JOIN dropped USING (_row)
                JOIN (SELECT file, file_row_number AS _row FROM read_parquet(
                          '{part.origins(table)}', file_row_number = true)) USING (_row)
                WHERE file IS NULL AND ends_with(order_id, '{BACK}')) b
            WHERE NOT EXISTS (FROM (FROM {rows} ANTI JOIN dropped USING (_row)) o WHERE {same})"""
    )
    connection.execute(
        f"""DELETE FROM mended WHERE "table" = '{table}'
            AND _row IN (SELECT _row FROM dropped WHERE reason = '{ORPHAN}')"""
    )


def drop_gone(connection: duckdb.DuckDBPyConnection, table: str) -> None:
    """Add to `dropped` the rows whose reject is gone: what the source's files say by now holds."""
    gone = f"""FROM mended WHERE "table" = '{table}' AND gone"""
    connection.execute(
        f"INSERT INTO dropped SELECT _row, '{GONE}' FROM ({gone}) ANTI JOIN dropped USING (_row)"
    )
    connection.execute(f"DELETE {gone}")


def refuse_moved(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    rows: str,
    parts: Sequence[Part],
    earlier: Sequence[str],
) -> None:
    """Of the `dropped` rows whose key a row of a source has, those that were given that key by hand, and say
    something else under it, are no repetitions: say so; they mend nothing.

    rows: SQL of the mended rows of the table, with `_row`. earlier: of the sources' own.
    """
    key = [c for c in table.key if table.columns[c].type != "moment"]
    said = [
        c for c in table.columns if c in ("customer_id", "product_id", "items", "amount", "kind", "change")
    ]
    if len(key) < len(table.key) or not said or not connection.execute("FROM dropped LIMIT 1").fetchall():
        return
    rejects = [str(part.rejects) for part in parts if part.source != MENDED]
    was = ", ".join(f"row->>'$.{c}' AS _{c}" for c in key)
    moved = " OR ".join(f"r._{c} IS DISTINCT FROM v.{c}::VARCHAR" for c in key)
    same = " AND ".join(f"v.{c} IS NOT DISTINCT FROM e.{c}" for c in (*key, *said))
    has = " UNION ALL BY NAME ".join(f"SELECT {names((*key, *said))} FROM {each}" for each in earlier)
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE refused AS
            SELECT v._row
            FROM {rows} v SEMI JOIN (FROM dropped WHERE starts_with(reason, 'the same ')) USING (_row)
            JOIN (SELECT _row, reject FROM mended WHERE "table" = '{table.name}' AND NOT gone) m USING (_row)
            JOIN (SELECT {REJECT_ID} AS reject, {was}
                  FROM read_parquet({rejects}, hive_partitioning = false)) r USING (reject)
            WHERE ({moved}) AND NOT EXISTS (FROM ({has}) e WHERE {same})"""
    )
    connection.execute(f"UPDATE dropped SET reason = reason || '{OTHERWISE}' WHERE _row IN (FROM refused)")
    connection.execute(f"""DELETE FROM mended WHERE "table" = '{table.name}' AND _row IN (FROM refused)""")


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
                 JOIN ({of_sums(parts)}) r USING (reject)
                 LEFT JOIN ({only_channels(parts)}) c ON c.source = m.source
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
    connection: duckdb.DuckDBPyConnection, rows: str, parts: Sequence[Part], rules: Mapping[str, Rules]
) -> None:
    """Add to `dropped` the mended lines of goods sold under an id that only brings goods back there; add that
    return to `renamed` instead (see `yielding.py`) where clean files would have called it after its one day,
    and nobody has used the log.

    rows: SQL of the mended lines, with `_row`.
    """
    own = [
        f"""SELECT {literal(part.source)} AS source, order_id, ref IS NULL AS sold, {_day(part, rules)} AS day
            FROM '{part.path("order_lines")}'"""
        for part in holders(parts, "order_lines")
        if part.source != MENDED
    ]
    given = [
        f"""SELECT order_id FROM '{part.path("orders")}' POSITIONAL JOIN '{part.origins("orders")}'
            WHERE file IS NOT NULL"""
        for part in holders(parts, "orders")
        if part.source != MENDED
    ]
    of_file = " UNION ALL ".join(given) or "SELECT NULL::VARCHAR WHERE false"
    if not own:
        return
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE refused AS
            WITH wanted AS (SELECT _row, m.source, order_id, used FROM {rows} v ANTI JOIN dropped USING (_row)
                            JOIN mended m USING (_row)
                            WHERE m."table" = 'order_lines' AND v.ref IS NULL AND v.amount >= 0
                                  AND v.items >= 0)
            SELECT _row, source, order_id, day,
                   used OR day IS NULL OR order_id IN ({of_file}) AS wrong
            FROM wanted JOIN (
                SELECT source, order_id, CASE WHEN count(DISTINCT day) = 1 THEN min(day) END AS day
                FROM ({" UNION ALL ".join(own)})
                SEMI JOIN wanted USING (source, order_id)
                GROUP BY ALL HAVING NOT bool_or(sold)) USING (source, order_id)"""
    )
    connection.execute(
        """INSERT INTO renamed
           SELECT DISTINCT source, order_id, order_id || ':return:' || day,
                  CASE WHEN NOT starts_with(order_id, source || ':') THEN order_id END
           FROM refused WHERE NOT wrong"""
    )
    connection.execute("DELETE FROM refused WHERE NOT wrong")
    connection.execute(f"INSERT INTO dropped SELECT _row, '{OF_RETURNS}' FROM refused")
    connection.execute(
        """DELETE FROM mended WHERE "table" = 'order_lines' AND _row IN (SELECT _row FROM refused)"""
    )


def _day(part: Part, rules: Mapping[str, Rules]) -> str:
    """SQL: the day of a row as its source has days; null if no mapping says it."""
    if part.source not in rules:
        return "NULL"
    return f"""strftime("at" AT TIME ZONE {literal(rules[part.source].zone)}, '%Y-%m-%d')"""


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

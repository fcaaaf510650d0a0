"""Mended rows in a folding: which rejects they mend.

Which of them are refused: `refusals.py`; what they bring to the money of orders: `additions.py`.
"""

from collections.abc import Sequence
from pathlib import Path

import duckdb

from features.ingestion.parts import Part, holders
from features.ingestion.records import RAW, RECORD
from features.sources.corrected import ADDS, PLACES
from features.sources.raw import literal, quoted

MENDED = "mended"  # the source of mended rows
INBOX = "inbox"  # a source of our own
BACK = ":cancelled"  # ends the id of what takes back an order that was cancelled
# The order that a mended row of `orders` is of, or adds to.
ORDER = f"CASE WHEN contains(order_id, '{ADDS}') THEN ref ELSE order_id END"
OF_ONE_CUSTOMER = ("orders", "order_lines")  # rows of one order
# Reasons of the folding: those rejects are in no part.
_FOLDED = (
    "^(the same .* as a row of |another (customer|day)''s |a second row with the same .*, of one person)"
)
# A rejected row's name, as long as it stands where it stands: for mending. `_fate` follows from the rest.
_NAMED = """regexp_replace(row, ',"_fate":(null|\\{[^}]*\\})', '')"""
REJECT_ID = f"""md5(concat_ws(chr(31), source, "table", coalesce(file, ''), coalesce(line, -1), {_NAMED}))"""


def read(connection: duckdb.DuckDBPyConnection, parts: Sequence[Part], taken: Sequence[Path]) -> None:
    """CREATE TABLE mended: of each accepted mended row its table, `_row` (its place in the part), the reject
    that it mends, that reject's source, whether it is `late`: known from a moment that no file says, whether
    the log was `used` before, what the correction says of its order: `refers` (it names the order that it
    takes back), channel, store_id; whether the reject is `gone`: the source's files have its row no more, or
    have it right.

    taken: the files of mended rows. Of every row in them the table `corrections` tells the same, with its
    `file` and `line` there, from when on it is known, and the file whence its row came: `read_from`.
    """
    connection.execute(
        """CREATE TABLE mended
           ("table" VARCHAR, _row BIGINT, reject VARCHAR, source VARCHAR, late BOOLEAN, used BOOLEAN,
            refers BOOLEAN, channel VARCHAR, store_id VARCHAR, gone BOOLEAN)"""
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
    places = ", ".join(f"nullif(trim(t.{c}), '') AS {c}" if c in have else f"NULL AS {c}" for c in PLACES)
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE corrections AS
            SELECT parse_filename(t.filename, true) AS file, t.file_row_number AS line, t.reject, t.source,
                   coalesce({" OR ".join(told) or "false"}, false) AS late,
                   {"t.used IS DISTINCT FROM false" if "used" in have else "true"} AS used,
                   {"nullif(trim(t.ref), '') IS NOT NULL" if "ref" in have else "false"} AS refers, {places},
                   {"t.known_from" if "known_from" in have else "NULL"} AS known_from,
                   {"t.file" if "file" in have else "NULL"} AS read_from, false AS gone
            FROM {given} t"""
    )
    if {"file", "row", RECORD} <= have:
        _follow(connection, parts, given)
    for part in parts:
        for table in part.tables if part.source == MENDED else ():
            connection.execute(
                f"""INSERT INTO mended BY NAME
                    SELECT '{table}' AS "table", file_row_number AS _row,
                           c.* EXCLUDE (file, line, known_from, read_from)
                    FROM corrections c JOIN read_parquet('{part.origins(table)}', file_row_number = true) o
                         ON c.file = o.file AND c.line = o.line"""
            )
    for part in parts:  # what takes back an order that was cancelled is mended with it
        for table in OF_ONE_CUSTOMER if part.source == MENDED else ():
            if table in part.tables:
                file = f"read_parquet('{part.path(table)}', file_row_number = true)"
                rows = f"(SELECT *, file_row_number AS _row FROM {file})"
                line = "AND b.line = p.line" if table == "order_lines" else ""
                connection.execute(
                    f"""INSERT INTO mended SELECT m.* REPLACE (b._row AS _row, true AS refers)
                        FROM mended m JOIN {rows} p USING (_row)
                             JOIN {rows} b ON b.order_id = p.order_id || '{BACK}' {line}
                        WHERE m."table" = '{table}'"""
                )


def _follow(connection: duckdb.DuckDBPyConnection, parts: Sequence[Part], taken: str) -> None:
    """A version that reads more of a row names its reject otherwise, and so does a file that has more rows
    before it: then the correction mends the same record in the same file, in the same place if it is there
    several times. What is found nowhere is `gone`. taken: SQL of the mended rows."""
    paths = [str(part.rejects) for part in parts if part.source != MENDED]
    if not paths:
        return
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE named AS
            SELECT {REJECT_ID} AS reject, source, "table", file, line, {RAW} AS record,
                   count(*) OVER (PARTITION BY source, "table", file, record) AS alike
            FROM read_parquet({paths}, hive_partitioning = false)"""
    )
    same = f"""t.source = n.source AND t."table" = n."table" AND t.file = n.file
               AND t.{quoted(RECORD)} = n.record
               AND (n.alike = 1 OR TRY_CAST(t."row" AS BIGINT) = n.line + 1)"""
    connection.execute(
        f"""UPDATE corrections c SET reject = now.reject
            FROM (SELECT t.reject AS before, n.reject FROM {taken} t JOIN named n ON {same}) now
            WHERE c.reject = now.before AND c.reject NOT IN (SELECT reject FROM named)"""
    )
    there = [part.source for part in parts if part.source != MENDED and part.source != INBOX]
    connection.execute(
        f"""UPDATE corrections SET gone = true
            WHERE reject NOT IN (SELECT reject FROM named) AND list_contains({there}, source)
                  AND reject IN (SELECT reject FROM {taken} WHERE NOT regexp_matches(reason, '{_FOLDED}'))"""
    )
    connection.execute("DROP TABLE named")


def of_sums(parts: Sequence[Part]) -> str:
    """SQL of the rejected lines whose order is the sum of its lines: reject, channel, store of the order.

    lone: it is so only where no file gave that order.
    """
    return f"""SELECT {REJECT_ID} AS reject, row->>'$._order.channel' AS channel,
                      row->>'$._order.store_id' AS store_id,
                      coalesce((row->>'$._order.lone')::BOOL, false) AS lone
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

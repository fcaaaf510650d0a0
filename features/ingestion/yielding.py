"""What rows of the sources themselves become beside mended ones, as in clean files.

An order that is the sum of its lines, for its row in the file of orders was rejected, yields to that row. A
return under whose number goods were sold, as a mended line tells, is called after its day.
Not if somebody had used the log as it was: then such a row is refused if it says otherwise.
"""

from collections.abc import Sequence
from pathlib import Path

import duckdb

from features.ingestion.canonical import write_again
from features.ingestion.mended import BACK, MENDED, ORDER
from features.ingestion.parts import Part
from features.sources.corrected import ADDS
from features.sources.raw import literal

USED = "the log was used with the sum of its lines as the order"


def replace_sums(
    connection: duckdb.DuckDBPyConnection, rows: str, parts: Sequence[Part], folded: Path, exponent: int
) -> None:
    """Add to the table `replaced` (source, order_id); take those orders out of their sources' folded files,
    and the mended rows that are them by now out of `dropped`. Add to `dropped` what comes too late.

    rows: SQL of the mended orders, with `_row`.
    """
    said = f"""SELECT v._row, {ORDER} AS order_id, m.source, m.used, amount,
                      contains(order_id, '{ADDS}') AS adds
               FROM {rows} v JOIN mended m ON m._row = v._row AND m."table" = 'orders' AND NOT m.gone"""
    for part in parts:
        path = folded / "orders" / f"{part.source}.parquet"
        if part.source == MENDED or not path.exists():
            continue
        here = f"source = {literal(part.source)}"
        of_file = f"""(SELECT order_id FROM '{part.path("orders")}' POSITIONAL JOIN '{part.origins("orders")}'
                       WHERE file IS NOT NULL)"""
        connection.execute(
            f"""CREATE OR REPLACE TEMP TABLE sums AS
                SELECT order_id, amount FROM '{path}'
                WHERE order_id IN (SELECT order_id FROM ({said}) WHERE {here})
                      AND regexp_replace(order_id, '{BACK}$', '') NOT IN {of_file}"""
        )
        _returns_of_days(connection, part, said, here)
        late = f"""SELECT _row FROM ({said}) s JOIN sums USING (order_id)
                   WHERE {here} AND used AND (adds OR s.amount <> sums.amount)"""
        connection.execute(f"CREATE OR REPLACE TEMP TABLE refused AS {late}")
        connection.execute("DELETE FROM dropped WHERE _row IN (FROM refused)")
        connection.execute(f"INSERT INTO dropped SELECT _row, '{USED}' FROM refused")
        connection.execute("""DELETE FROM mended WHERE "table" = 'orders' AND _row IN (FROM refused)""")
        ours = f"SELECT order_id FROM ({said}) SEMI JOIN sums USING (order_id) WHERE {here} AND NOT used"
        connection.execute(
            f"INSERT INTO replaced SELECT DISTINCT {literal(part.source)}, order_id FROM ({ours})"
        )
        _without(connection, path, "order_id", exponent)
    connection.execute(
        f"""DELETE FROM dropped WHERE starts_with(reason, 'the same ') AND _row IN (
                SELECT _row FROM ({said}) SEMI JOIN replaced USING (source, order_id))"""
    )


def _returns_of_days(connection: duckdb.DuckDBPyConnection, part: Part, said: str, here: str) -> None:
    """A mended order of what came back on a customer's day: the lines of that day are its, and so called."""
    lines = part.path("order_lines") if "order_lines" in part.tables else None
    if lines is None:
        return
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE days AS
            SELECT DISTINCT l.order_id, s.order_id AS name, alone FROM (
                SELECT order_id, bool_and(ref IS NOT NULL) AS alone
                FROM '{lines}' GROUP BY 1 HAVING bool_or(ref IS NOT NULL)) l
            JOIN (SELECT order_id FROM ({said}) WHERE {here} AND adds AND NOT used
                  AND starts_with(order_id, source || ':') AND ends_with(order_id, ':return')) s
            ON regexp_replace(l.order_id, ':return:[0-9-]+$', '') || ':return' = s.order_id"""
    )
    source = literal(part.source)
    connection.execute(f"INSERT INTO renamed SELECT {source}, order_id, name, NULL FROM days")
    connection.execute(f"INSERT INTO replaced SELECT {source}, order_id FROM days WHERE alone")


def drop_cases(connection: duckdb.DuckDBPyConnection, folded: Path, exponent: int) -> None:
    """Take the cases of replaced orders out: a mended return opens its own."""
    for (source,) in connection.execute("SELECT DISTINCT source FROM replaced").fetchall():
        path = folded / "cases" / f"{source}.parquet"
        if path.exists():
            _without(connection, path, "case_id", exponent)


def _without(connection: duckdb.DuckDBPyConnection, path: Path, key: str, exponent: int) -> None:
    """Write a folded file again without the rows of replaced orders, if it has any."""
    of = f"WHERE source = {literal(path.stem)}"
    gone = f"{key} IN (SELECT order_id FROM replaced {of})"
    if connection.execute(f"SELECT 1 FROM '{path}' WHERE {gone} LIMIT 1").fetchall():
        write_again(connection, f"(FROM '{path}' WHERE NOT {gone})", path, exponent)


def rename_returns(connection: duckdb.DuckDBPyConnection, folded: Path, exponent: int) -> None:
    """Give the returns in the table `renamed` (source, order_id, name, ref) the name that they have in clean
    files: goods were sold under theirs, as a mended row tells. A ref of null stays as it was."""
    for (source,) in connection.execute("SELECT DISTINCT source FROM renamed ORDER BY 1").fetchall():
        for table, key in (("order_lines", "order_id"), ("orders", "order_id"), ("cases", "case_id")):
            path = folded / table / f"{source}.parquet"
            if path.exists():
                rows = f"""(SELECT p.* REPLACE (coalesce(r.name, p.{key}) AS {key},
                                                coalesce(r.ref, p.ref) AS ref)
                            FROM '{path}' p LEFT JOIN (FROM renamed WHERE source = {literal(source)}) r
                            ON p.{key} = r.order_id AND p.ref IS NOT NULL)"""
                write_again(connection, rows, path, exponent)

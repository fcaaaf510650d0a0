"""One source's raw files -> a part: every row cast, judged by its table's contract, accounted for.

DuckDB streams: what exceeds its memory goes to files beside the part, so files may be larger than memory.
"""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

from features import duck
from features.errors import SourceError
from features.ingestion.canonical import ORIGIN, REJECTS, arrow_schema, names, order, save, sql_type
from features.ingestion.parts import Account, Part
from features.ingestion.refusals import OTHERWISE
from features.moments import from_us, iso
from features.shop import Shop
from features.sources import Source
from features.tables import OURS, TABLES, Table

Progress = Callable[[str, int, int], None]

KEPT = "_reason IS NULL AND _aside IS NULL"
A = {"moment": "a moment", "money": "an amount of money", "integer": "a whole number", "real": "a number"}


def stage(
    shop: Shop,
    source: Source,
    stamp: str,
    place: Path,
    scratch: Path,
    memory: int,
    progress: Progress | None = None,
) -> Part:
    """Write the part of a source at `place`. SourceError if a file cannot be read as the source says."""
    folder, work = scratch / f"staging-{source.name}", scratch / "work"
    folder.mkdir(parents=True)
    account: Account = Counter()
    connection = duck.connect(memory=memory, folder=work)
    try:
        connection.execute(
            "CREATE TABLE rejects (_file VARCHAR, _line BIGINT, _reason VARCHAR, _row VARCHAR, "
            '"table" VARCHAR, place INTEGER)'
        )
        if source.prepare:
            if progress:
                progress(f"{source.name}: files", 0, len(source.tables))
            source.prepare(connection)
        for done, (name, sql) in enumerate(source.tables.items()):
            if progress:
                progress(f"{source.name}: {name}", done, len(source.tables))
            happened = "known_at" if name in source.timeless else "at"
            _table(connection, TABLES[name], sql, shop.exponent, folder, account, happened)
        until, starts = _span(connection, source, "orders" in source.tables)
        save(
            connection.sql(
                f"""SELECT '{source.name}', "table", _file, _line, _reason, _row, false
                    FROM rejects ORDER BY place, _file, _line, _row"""
            ),
            (folder / "rejects.parquet", REJECTS),
            empty=True,
        )
    except (duckdb.OutOfMemoryException, OSError) as error:
        if isinstance(error, OSError) and "Out of Memory" not in str(error):
            raise  # while rows stream out of DuckDB, its errors come through Arrow
        raise SourceError(
            f"{source.name} cannot be taken in with {memory / 1e6:.0f} MB of memory, or its disk is full: "
            f"set PROPENSITY_MEMORY higher ({str(error).splitlines()[0]})"
        ) from error
    finally:
        connection.close()
        shutil.rmtree(work, ignore_errors=True)
    facts: dict[str, Any] = {
        "stamp": stamp,
        "inputs": [path.name for path in source.files],
        "starts_at": starts,
        "complete_until": until,
    }
    return Part.seal(folder, place, facts, account)


def _table(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    sql: str,
    exponent: int,
    folder: Path,
    account: Account,
    happened: str,
) -> None:
    """Write one table's accepted rows and their origins; keep its rejects; add to the account."""
    name = table.name
    staged = f"{name}_staged"
    judge(connection, table, sql, exponent, staged, happened)
    connection.execute(f"CREATE VIEW {name} AS SELECT {names(table.columns)} FROM {staged} WHERE {KEPT}")
    save(
        connection.sql(
            f"""SELECT {names(table.columns)}, _file, _line, _note FROM {staged}
                WHERE {KEPT} ORDER BY {order(table)}"""
        ),
        (folder / f"{name}.parquet", arrow_schema(table, exponent)),
        (folder / "origins" / f"{name}.parquet", ORIGIN),
    )
    fates = connection.execute(
        f"""SELECT _file, {KEPT}, coalesce(_reason, _aside, _note, ''), _aside IS NOT NULL, count(*)
            FROM {staged} GROUP BY ALL ORDER BY ALL"""
    ).fetchall()
    for file, accepted, what, aside, rows in fates:
        account[name, file, accepted, what, aside] += rows
    connection.execute(
        f"""INSERT INTO rejects SELECT _file, _line, _reason, _row, '{name}', {list(TABLES).index(name)}
            FROM {staged} WHERE _reason IS NOT NULL"""
    )


def judge(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    sql: str,
    exponent: int,
    staged: str,
    happened: str = "at",
) -> None:
    """CREATE TABLE `staged`: cast columns, _file, _line, _note, _aside, _reason, _row (the given one).

    happened: the column that a row without a time lacks, in the words of its mapping.
    """
    given = connection.sql(sql).columns
    unsaid = [f"NULL AS {column}" for column in OURS if column in table.columns and column not in given]
    sql = f"SELECT *, {', '.join(unsaid)} FROM ({sql})" if unsaid else sql
    columns = table.columns.items()
    cast = [f'TRY_CAST(raw."{c}" AS {sql_type(column.type, exponent)}) AS "{c}"' for c, column in columns]
    reject, aside = (f"raw.{c}::VARCHAR" if c in given else "NULL::VARCHAR" for c in ("_reject", "_aside"))
    problems = [f"WHEN {aside} IS NOT NULL THEN NULL", f"WHEN {reject} IS NOT NULL THEN {reject}"]
    problems += [
        f'WHEN raw."{c}" IS NOT NULL AND "{c}" IS NULL THEN \'{c} is not {A[column.type]}\''
        for c, column in columns
        if column.type not in ("text", "map")
    ]
    lacks = {c: happened if c == "at" else c for c, column in columns if column.required}
    problems += [f"WHEN coalesce(\"{c}\"::VARCHAR, '') = '' THEN 'no {said}'" for c, said in lacks.items()]
    problems += [f"WHEN ({rule}) IS NOT TRUE THEN '{reason}'" for reason, rule in table.rules]
    judged = f"""(SELECT *, CASE {" ".join(problems)} END AS _reason
                  FROM (SELECT raw, {", ".join(cast)}, raw._file::VARCHAR AS _file,
                               raw._line::BIGINT AS _line, raw._note::VARCHAR AS _note,
                               {aside} AS _aside FROM ({sql}) raw))"""
    given_row = "CASE WHEN _reason IS NOT NULL THEN to_json(raw)::VARCHAR END AS _row"
    connection.execute(f"CREATE TABLE {staged} AS SELECT * EXCLUDE (raw), {given_row} FROM {judged}")
    # Keys are long and seldom repeated: their hashes find the few rows that a window must compare.
    key = names(table.key)
    connection.execute(
        f"""CREATE OR REPLACE TABLE repeated AS SELECT hash({key}) AS h FROM {staged} WHERE {KEPT}
            GROUP BY h HAVING count(*) > 1"""
    )
    if connection.execute("SELECT count(*) FROM repeated").fetchall() == [(0,)]:
        return
    suspect = f"{KEPT} AND hash({key}) IN (FROM repeated)"
    reason = f"a second row with the same {', '.join(table.key)}"
    said = f"to_json(struct_pack({', '.join(f'{c} := {quoted}' for c, quoted in _packed(table))}))"
    connection.execute(f"DELETE FROM {staged} WHERE {suspect}")
    connection.execute(
        f"""INSERT INTO {staged} BY NAME SELECT * EXCLUDE (raw), {given_row}
            FROM (SELECT * REPLACE (CASE WHEN row_number() OVER same = 1 THEN NULL
                                         WHEN {said} = first_value({said}) OVER same THEN '{reason}'
                                         ELSE '{reason}{OTHERWISE}' END AS _reason)
                  FROM {judged} WHERE {suspect} WINDOW same AS (PARTITION BY {key} ORDER BY _file, _line))"""
    )


def _packed(table: Table) -> list[tuple[str, str]]:
    return [(f"_{column}", names([column])) for column in table.columns]


def _span(
    connection: duckdb.DuckDBPyConnection, source: Source, orders: bool
) -> tuple[str | None, str | None]:
    """Until when the source is complete, and when its orders start; None if it does not say."""
    (until,) = connection.execute(f"SELECT epoch_us(({source.complete_until})::TIMESTAMPTZ)").fetchall()[0]
    starts = None
    if orders:
        (starts,) = connection.execute('SELECT epoch_us(min("at")) FROM orders').fetchall()[0]
    return until and iso(from_us(until)), starts and iso(from_us(starts))

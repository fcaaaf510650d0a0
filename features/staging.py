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
from features.canonical import ORIGIN, REJECTS, arrow_schema, names, order, save, sql_type
from features.errors import SourceError
from features.moments import from_us, iso
from features.parts import Account, Part
from features.shop import Shop
from features.sources import Source
from features.tables import TABLES, Table

Progress = Callable[[str, int, int], None]

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
            _table(connection, TABLES[name], sql, shop.exponent, folder, account)
        until, starts = _span(connection, source, "orders" in source.tables)
        save(
            connection.sql(
                f"""SELECT '{source.name}', "table", _file, _line, _reason, _row, false
                    FROM rejects ORDER BY place, _file, _line, _row"""
            ),
            (folder / "rejects.parquet", REJECTS),
            empty=True,
        )
    except duckdb.OutOfMemoryException as error:
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
) -> None:
    """Write one table's accepted rows and their origins; keep its rejects; add to the account."""
    name = table.name
    _judge(connection, table, sql, exponent)
    kept = "_reason IS NULL AND _aside IS NULL"
    connection.execute(f"CREATE TABLE {name} AS SELECT {names(table.columns)} FROM staged WHERE {kept}")
    save(
        connection.sql(
            f"""SELECT {names(table.columns)}, _file, _line, _note FROM staged
                WHERE {kept} ORDER BY {order(table)}"""
        ),
        (folder / f"{name}.parquet", arrow_schema(table, exponent)),
        (folder / "origins" / f"{name}.parquet", ORIGIN),
    )
    fates = connection.execute(
        f"""SELECT _file, {kept}, coalesce(_reason, _aside, _note, ''), _aside IS NOT NULL, count(*)
            FROM staged GROUP BY ALL ORDER BY ALL"""
    ).fetchall()
    for file, accepted, what, aside, rows in fates:
        account[name, file, accepted, what, aside] += rows
    connection.execute(
        f"""INSERT INTO rejects SELECT _file, _line, _reason, _row, '{name}', {list(TABLES).index(name)}
            FROM staged WHERE _reason IS NOT NULL"""
    )
    connection.execute("DROP TABLE staged")


def _judge(connection: duckdb.DuckDBPyConnection, table: Table, sql: str, exponent: int) -> None:
    """CREATE TABLE staged: cast columns, _file, _line, _note, _reason (null: accepted), _row (as given)."""
    columns = table.columns.items()
    cast = [f'TRY_CAST(raw."{c}" AS {sql_type(column.type, exponent)}) AS "{c}"' for c, column in columns]
    given = connection.sql(sql).columns
    reject, aside = (f"raw.{c}::VARCHAR" if c in given else "NULL::VARCHAR" for c in ("_reject", "_aside"))
    problems = [f"WHEN {aside} IS NOT NULL THEN NULL", f"WHEN {reject} IS NOT NULL THEN {reject}"]
    problems += [
        f'WHEN raw."{c}" IS NOT NULL AND "{c}" IS NULL THEN \'{c} is not {A[column.type]}\''
        for c, column in columns
        if column.type not in ("text", "map")
    ]
    problems += [
        f"WHEN coalesce(\"{c}\"::VARCHAR, '') = '' THEN 'no {c}'" for c, column in columns if column.required
    ]
    problems += [f"WHEN ({rule}) IS NOT TRUE THEN '{reason}'" for reason, rule in table.rules]
    key, repeated = names(table.key), f"a second row with the same {', '.join(table.key)}"
    connection.execute(
        f"""
        CREATE TABLE staged AS
        WITH typed AS (SELECT raw, {", ".join(cast)}, raw._file::VARCHAR AS _file,
                              raw._line::BIGINT AS _line, raw._note::VARCHAR AS _note,
                              {aside} AS _aside FROM ({sql}) raw),
             judged AS (SELECT *, CASE {" ".join(problems)} END AS _broken FROM typed),
             unique_ AS (
                 SELECT *, CASE WHEN _broken IS NULL AND _aside IS NULL AND _nth > 1
                                THEN '{repeated}' ELSE _broken END AS _reason
                 FROM (SELECT *, row_number() OVER
                                 (PARTITION BY {key}, _broken IS NULL AND _aside IS NULL
                                  ORDER BY _file, _line) AS _nth
                       FROM judged))
        SELECT * EXCLUDE (raw, _broken, _nth),
               CASE WHEN _reason IS NOT NULL THEN to_json(raw)::VARCHAR END AS _row
        FROM unique_"""
    )


def _span(
    connection: duckdb.DuckDBPyConnection, source: Source, orders: bool
) -> tuple[str | None, str | None]:
    """Until when the source is complete, and when its orders start; None if it does not say."""
    (until,) = connection.execute(f"SELECT epoch_us(({source.complete_until})::TIMESTAMPTZ)").fetchall()[0]
    starts = None
    if orders:
        (starts,) = connection.execute('SELECT epoch_us(min("at")) FROM orders').fetchall()[0]
    return until and iso(from_us(until)), starts and iso(from_us(starts))

"""Rows that broke a contract: look at them, hand them out to be mended, take the mended ones in.

    rejects/<generation>/<source>.parquet   what the log in force did not take in; `mended` once it was
    rejects/taken/<number>-<sha>.parquet    mended rows as a person gave them back, each with its reject's id

Mended rows are a source of their own, `mended`, under the same contracts; in the log it yields to the sources
of the shop, so a row that the shop's own files bring after all is there once. Its origin leads back to the
reject, and from there to the file and line. Of several corrections of one reject the last one counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from features import duck
from features.errors import UsageError
from features.files import locked, sha256
from features.ingestion.folding import MENDED, REJECT_ID
from features.ingestion.ingest import Ingested, manifest_of, take, taken_of
from features.settings import Settings
from features.sources import Source
from features.tables import TABLES

# Of a row handed out: what says which one it is. The columns of its table follow.
HEAD = ("reject", "source", "table", "file", "line", "reason")


@dataclass(frozen=True)
class Reason:
    """How many rows of a table a source could not bring for a reason, and how many of them were mended."""

    source: str
    table: str
    reason: str
    rows: int
    mended: int


def reasons(settings: Settings) -> list[Reason]:
    """What was rejected and why, the most frequent first."""
    with_rejects = duck.connect()
    rows = with_rejects.execute(
        f"""SELECT source, "table", reason, count(*), count(*) FILTER (WHERE mended)
            FROM {_files(settings)} GROUP BY ALL ORDER BY 4 DESC, source, "table", reason"""
    ).fetchall()
    with_rejects.close()
    return [Reason(*row) for row in rows]


def export(settings: Settings, path: Path, source: str | None = None, table: str | None = None) -> int:
    """Write the rows that wait for mending as CSV, with the columns as they were given; return how many.

    Correct the columns after `reason`, leave those before, and give the file to `take_in`.
    """
    connection = duck.connect()
    where = "NOT mended"
    for column, value in (("source", source), ("table", table)):
        if value is not None:
            where += f" AND \"{column}\" = '{value.replace(chr(39), chr(39) * 2)}'"
    rows = f"(SELECT *, {REJECT_ID} AS reject FROM {_files(settings)} WHERE {where})"
    present = {t for (t,) in connection.execute(f'SELECT DISTINCT "table" FROM {rows}').fetchall()}
    columns = dict.fromkeys(c for name, t in TABLES.items() if name in present for c in t.columns)
    given = "".join(f", row->>'$.{c}' AS {_own(c)}" for c in columns)
    head = ", ".join(f'"{c}"' for c in HEAD)
    path.parent.mkdir(parents=True, exist_ok=True)
    (count,) = connection.execute(
        f"""COPY (SELECT {head}{given} FROM {rows} ORDER BY source, "table", file, line)
            TO '{str(path).replace(chr(39), chr(39) * 2)}' (HEADER, DELIMITER ',')"""
    ).fetchall()[0]
    connection.close()
    return int(count)


def take_in(settings: Settings, path: Path, dry_run: bool = False) -> Ingested:
    """Take mended rows into the log. The same file again changes nothing.

    UsageError if the file is not one that `export` wrote, or if a row in it belongs to no reject.
    """
    folder = settings.home / "rejects" / "taken"
    with locked(folder / ".lock"):
        before = taken_of(settings)
        sha = sha256(path)[:16]
        if any(one.stem.endswith(sha) for one in before):
            return take(settings, [_source(before)])
        fresh = folder / f"{len(before) + 1:06}-{sha}.parquet"
        writing = folder / f".{fresh.name}"
        try:
            _read(settings, path, before, writing)
            writing.rename(fresh)
            done = take(settings, [_source([*before, fresh])], dry_run=dry_run)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
        finally:
            writing.unlink(missing_ok=True)
        if dry_run:
            fresh.unlink()
        return done


def _files(settings: Settings) -> str:
    """SQL: every reject of the log in force. UsageError if there is no log."""
    manifest = manifest_of(settings)
    if "generation" not in manifest:
        raise UsageError("there is no customer log, so nothing was rejected: run `propensity ingest`")
    folder = settings.home / "rejects" / manifest["generation"]
    return f"read_parquet('{folder}/*.parquet', hive_partitioning = false)"


def _own(column: str) -> str:
    """A table's column in the CSV, apart from ours."""
    return f'"given {column}"' if column in HEAD else f'"{column}"'


def _read(settings: Settings, path: Path, before: Sequence[Path], fresh: Path) -> None:
    """The CSV as parquet, text as it is; an empty cell is null."""
    connection = duck.connect()
    name = str(path).replace("'", "''")
    try:
        connection.execute(
            f"CREATE TABLE mended AS FROM read_csv('{name}', header = true, all_varchar = true, nullstr = '')"
        )
    except duckdb.Error as error:
        raise UsageError(f"{path} cannot be read as CSV: {str(error).splitlines()[0]}") from None
    columns = [name for name, *_ in connection.execute("DESCRIBE mended").fetchall()]
    if columns[: len(HEAD)] != list(HEAD):
        raise UsageError(
            f"{path} does not begin with the columns {', '.join(HEAD)}: "
            "correct a file that `propensity rejects export` wrote, and leave those as they are"
        )
    known = f"SELECT {REJECT_ID} FROM {_files(settings)}"
    if before:
        known += f" UNION ALL SELECT reject FROM read_parquet({[str(one) for one in before]})"
    line, unknown = connection.execute(
        f"""SELECT min(n), count(*) FROM (SELECT *, row_number() OVER () AS n FROM mended)
            WHERE reject IS NULL OR reject NOT IN ({known})"""
    ).fetchall()[0]
    if unknown:
        raise UsageError(
            f"{path}: {unknown} rows, the first of them row {line}, belong to no row that was rejected: "
            "export again; rows of your own come in through a source"
        )
    fresh.parent.mkdir(parents=True, exist_ok=True)
    connection.execute(f"COPY mended TO '{fresh}' (FORMAT parquet)")
    connection.close()


def _source(files: Sequence[Path]) -> Source:
    """The mended rows as a source: its line is a row of a taken file, which names the reject."""
    rows = f"""(SELECT *, parse_filename(filename, true) AS _file, file_row_number AS _line, NULL AS _note
                FROM read_parquet({[str(path) for path in files]}, union_by_name = true, filename = true,
                                  file_row_number = true)
                QUALIFY row_number() OVER
                        (PARTITION BY reject ORDER BY filename DESC, file_row_number DESC) = 1)"""
    connection = duck.connect()
    have = {name for name, *_ in connection.execute(f"DESCRIBE SELECT * FROM {rows}").fetchall()}
    tables = {t for (t,) in connection.execute(f'SELECT DISTINCT "table" FROM {rows}').fetchall()}
    connection.close()
    sql = {}
    for name in sorted(tables & set(TABLES), key=list(TABLES).index):
        given = {c: _own(c) if _own(c).strip('"') in have else "NULL" for c in TABLES[name].columns}
        for column, of in TABLES[name].columns.items():
            if of.type == "map":  # written as JSON
                given[column] = f"CAST(TRY_CAST({given[column]} AS JSON) AS MAP(VARCHAR, VARCHAR))"
        select = ", ".join(f'{value} AS "{column}"' for column, value in given.items())
        sql[name] = f"""SELECT {select}, _file, _line, _note FROM {rows} WHERE "table" = '{name}'"""
    events = [t for t in sql if {"customer_id", "known_at"} <= set(TABLES[t].columns) and t != "customers"]
    if events:  # who has no row but a mended one is a customer too
        who = " UNION ALL ".join(f"SELECT customer_id, known_at FROM {t}" for t in events)
        derived = f"""SELECT customer_id, min(known_at)::VARCHAR AS "at", min(known_at)::VARCHAR AS known_at,
                      NULL::MAP(VARCHAR, VARCHAR) AS attributes, NULL::VARCHAR AS _file,
                      NULL::BIGINT AS _line, NULL AS _note FROM ({who}) GROUP BY customer_id"""
        own = sql.pop("customers", None)
        sql["customers"] = (
            f"FROM ({own}) UNION ALL BY NAME FROM ({derived}) ANTI JOIN ({own}) USING (customer_id)"
            if own
            else derived
        )
    return Source(MENDED, tuple(files), sql, "SELECT NULL::TIMESTAMPTZ")

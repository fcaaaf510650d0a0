"""Raw files as one DuckDB table of text: a row a record, with `_file` and `_line`; what cannot be read is kept.

Everything stays text as given, so that "00123" is not 123. Files stream through DuckDB, which puts on disk what
does not fit its memory. `raw.py` knows how each is written.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import SourceError
from features.sources.raw import BLOCK, Format, columns_of, duckdb_reads, json_path, literal, opened, quoted

if TYPE_CHECKING:
    import duckdb

LONGEST_LINE = 1 << 24  # bytes
_ABSENT = "\x01absent\x01"  # what no field says: an empty field too many must be told from none


def load(
    connection: "duckdb.DuckDBPyConnection", table: str, files: list[tuple[str, Path]], how: Format
) -> None:
    """CREATE TABLE `table` (text columns, _file, _line from 0) and `table_broken` (_file, _line, _reject, _raw).

    files: (name that the account shows, path). A column that a file lacks is null in its rows.
    """
    from duckdb import Error, OutOfMemoryException

    columns: dict[str, None] = {}
    for _, path in files:
        columns.update(dict.fromkeys(columns_of(path, how)))
    wanted = ", ".join(f"{quoted(c)} VARCHAR" for c in columns)
    connection.execute(
        f"CREATE OR REPLACE TABLE {table} ({wanted}, _more VARCHAR, _file VARCHAR, _line BIGINT)"
    )
    connection.execute(
        f"CREATE OR REPLACE TABLE {table}_broken (_file VARCHAR, _line BIGINT, _reject VARCHAR, _raw VARCHAR)"
    )
    read = {"csv": _load_csv, "parquet": _load_parquet, "jsonl": _load_jsonl}
    for name, path in files:
        try:
            read[how.kind_of(path)](connection, table, name, path, how)
        except OutOfMemoryException:
            raise  # no fault of the file
        except Error as error:
            raise SourceError(f"{path.name} cannot be read: {str(error).splitlines()[0]}") from None


def _load_parquet(
    connection: "duckdb.DuckDBPyConnection", table: str, name: str, path: Path, how: Format
) -> None:
    texts = ", ".join(f"{quoted(c)}::VARCHAR AS {quoted(c)}" for c in columns_of(path, how))
    connection.execute(
        f"""INSERT INTO {table} BY NAME SELECT {texts}, {literal(name)} AS _file, file_row_number AS _line
            FROM read_parquet({literal(path)}, file_row_number = true)"""
    )


def _load_jsonl(
    connection: "duckdb.DuckDBPyConnection", table: str, name: str, path: Path, how: Format
) -> None:
    keys = columns_of(path, how)
    texts = ", ".join(f"{_json_text(k)} AS {quoted(k)}" for k in keys)
    with duckdb_reads(path, how) as readable:
        records = f"""(SELECT json, row_number() OVER () - 1 AS _line, {literal(name)} AS _file
                       FROM read_ndjson_objects({literal(readable)}, ignore_errors = true))"""
        connection.execute(
            f"""INSERT INTO {table} BY NAME SELECT {texts}, _file, _line FROM {records}
                WHERE json_type(json) = 'OBJECT'"""
        )
        connection.execute(
            f"""INSERT INTO {table}_broken SELECT _file, _line, 'not a JSON object', json::VARCHAR FROM {records}
                WHERE json_type(json) IS DISTINCT FROM 'OBJECT'"""
        )


def _json_text(key: str) -> str:
    """SQL: the text of a key, or of a key in an object: `customer.id`."""
    text = f"json_extract_string(json, {literal(json_path(key))})"
    if "." not in key:
        return text
    return f"coalesce({text}, json_extract_string(json, {literal(json_path(*key.split('.', 1)))}))"


def _load_csv(
    connection: "duckdb.DuckDBPyConnection", table: str, name: str, path: Path, how: Format
) -> None:
    """The dialect is declared, never sniffed here: another sample of the same file must not read otherwise."""
    names = columns_of(path, how)
    # One more column than the header: what lands there is a record with too many fields.
    types = ", ".join(f"{literal(c)}: 'VARCHAR'" for c in (*names, "_more"))
    given = ", ".join(f"nullif({quoted(c)}, '') AS {quoted(c)}" for c in names)
    connection.execute("DROP TABLE IF EXISTS reject_errors")
    connection.execute("DROP TABLE IF EXISTS reject_scans")
    file = f"_file = {literal(name)}"
    with duckdb_reads(path, how) as readable:
        connection.execute(
            f"""INSERT INTO {table} BY NAME
                SELECT {given}, _more, {literal(name)} AS _file, row_number() OVER () - 1 AS _line
                FROM read_csv({literal(readable)}, auto_detect = false,
                    header = {str(how.header is None).lower()}, skip = {how.skip}, nullstr = '{_ABSENT}',
                    delim = {literal(how.separator)}, quote = {literal(how.quote)}, escape = {literal(how.quote)},
                    columns = {{{types}}}, null_padding = true, strict_mode = false, parallel = false,
                    max_line_size = {LONGEST_LINE}, buffer_size = {2 * LONGEST_LINE}, store_rejects = true)"""
        )
    # The reader counts lines with the header and those that it could not read; we count records, from 0.
    first = how.skip + (2 if how.header is None else 1)
    connection.execute(
        f"""CREATE OR REPLACE TABLE _unreadable AS
            SELECT *, line - nth + 1 AS before FROM (
                SELECT line::BIGINT - {first} AS line, any_value(lower(error_type::VARCHAR)) AS what,
                       any_value(trim(csv_line, chr(10) || chr(13))) AS csv,
                       row_number() OVER (ORDER BY line) AS nth FROM reject_errors GROUP BY line)"""
    )
    if connection.execute("SELECT count(*) FROM _unreadable").fetchall() != [(0,)]:
        connection.execute(
            f"""UPDATE {table} t SET _line = t._line + p.nth FROM (
                    SELECT r._line, u.nth FROM (SELECT _line FROM {table} WHERE {file}) r
                    ASOF JOIN _unreadable u ON r._line >= u.before) p WHERE {file} AND t._line = p._line"""
        )
        connection.execute(
            f"INSERT INTO {table}_broken SELECT {literal(name)}, line, 'unreadable: ' || what, csv FROM _unreadable"
        )
    # A separator that ends most records is how the file is written. One that ends a few is an odd field, whose
    # neighbours would be read one column off.
    connection.execute(
        f"""UPDATE {table} SET _more = NULL WHERE {file} AND _more = ''
            AND (SELECT 2 * count(*) FILTER (_more IS NOT NULL) > count(*) FROM {table} WHERE {file})"""
    )
    _keep_rests(connection, table, file, names, path, how)
    _set_aside(connection, table, f"{file} AND _more IS NOT NULL", "unreadable: more fields than the header")
    last = f"{file} AND _line = (SELECT max(_line) FROM {table} WHERE {file})"
    fields = " || ".join(f"coalesce({quoted(c)}, '')" for c in names)
    if how.quote and connection.execute(
        f"SELECT contains({fields}, chr(10)) FROM {table} WHERE {last}"
    ).fetchall() == [(True,)]:
        with opened(path) as stream:
            quotes = sum(block.count(how.quote.encode()) for block in iter(lambda: stream.read(BLOCK), b""))
        if quotes % 2:  # it swallowed every line up to the end of the file
            _set_aside(connection, table, last, "unreadable: a quoted field that does not end")


def _keep_rests(
    connection: "duckdb.DuckDBPyConnection",
    table: str,
    file: str,
    names: tuple[str, ...],
    path: Path,
    how: Format,
) -> None:
    """Make `_more` all that follows the columns of a record; DuckDB keeps the first field of it."""
    columns = ", ".join(quoted(c) for c in names)
    rows = connection.execute(
        f"SELECT _line, {columns} FROM {table} WHERE {file} AND _more IS NOT NULL"
    ).fetchall()
    if not rows:
        return
    import pyarrow as pa

    from features.sources.overlong import rests

    found = rests(path, how, {line: fields for line, *fields in rows})
    whole = pa.table(
        {"line": pa.array(found.keys(), pa.int64()), "rest": pa.array(found.values(), pa.string())}
    )
    connection.register("rests", whole)
    connection.execute(f"UPDATE {table} t SET _more = rest FROM rests WHERE {file} AND t._line = rests.line")
    connection.unregister("rests")


def _set_aside(connection: "duckdb.DuckDBPyConnection", table: str, which: str, reason: str) -> None:
    connection.execute(
        f"INSERT INTO {table}_broken SELECT _file, _line, {literal(reason)}, to_json(t)::VARCHAR FROM {table} t WHERE {which}"
    )
    connection.execute(f"DELETE FROM {table} WHERE {which}")

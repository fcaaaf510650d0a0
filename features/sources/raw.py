"""Raw files as one DuckDB table of text: a row a record, with `_file` and `_line`; what cannot be read is kept.

CSV in any encoding, parquet and JSON lines; gzip, zstd and zip. Everything stays text as given, so that
"00123" is not 123; what an object inside a JSON line holds is a column such as `customer.id`. Files stream through DuckDB, which puts on disk what does not fit its memory. Only what
DuckDB cannot read itself (zip, encodings other than UTF-8) is first rewritten, in blocks, to a temporary file.
"""

import codecs
import csv
import io
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from features.errors import SourceError

if TYPE_CHECKING:
    import duckdb

BLOCK = 1 << 20
LONGEST_LINE = 1 << 24  # bytes
KINDS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
PACKED = (".gz", ".zst", ".zip")
ENCODINGS = ("utf-8", "gb18030", "cp1252", "latin-1")  # tried in this order; latin-1 reads anything
UTF8 = ("utf-8", "utf-8-sig", "ascii")


@dataclass(frozen=True)
class Format:
    """How files of one kind are written. `header`: the columns' names, where the files have none."""

    kind: str | None = None  # csv, parquet, jsonl; None: by the file's name
    encoding: str = "utf-8"
    separator: str = ","
    quote: str = '"'
    header: tuple[str, ...] | None = None
    skip: int = 0  # lines before the header

    def kind_of(self, path: Path) -> str:
        """`csv`, `parquet` or `jsonl`. SourceError for a file that is none of them."""
        if self.kind:
            return self.kind
        kind = KINDS.get(suffix_of(path))
        if kind is None:
            raise SourceError(
                f"{path.name} is not a kind of file that is read: {', '.join(KINDS)}, each also with "
                f'{", ".join(PACKED)}; save a workbook as CSV (UTF-8), or say `format = "csv"`'
            )
        return kind


def suffix_of(path: Path) -> str:
    """What a file's name says of its kind; of a zip whose own name does not, that of the one file in it."""
    suffix = next((s for s in reversed([s.lower() for s in path.suffixes]) if s not in PACKED), "")
    if path.suffix.lower() == ".zip" and suffix not in KINDS:
        try:
            with zipfile.ZipFile(path) as archive:
                inside = _members(archive)
        except (OSError, zipfile.BadZipFile):  # said where it is read
            return suffix
        within = Path(inside[0]).suffix.lower() if len(inside) == 1 else suffix
        return suffix if within == ".parquet" else within  # which is not read as a stream
    return suffix


def _members(archive: zipfile.ZipFile) -> list[str]:
    return [n for n in archive.namelist() if not n.endswith("/") and not n.startswith("__MACOSX/")]


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked. A zip must hold one file. SourceError for one that is cut off or damaged."""
    try:
        with _unpacked(path) as stream:
            yield stream
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        if getattr(error, "errno", None) is not None:  # of the machine, such as a full disk
            raise
        raise SourceError(
            f"{path.name} cannot be unpacked, it may be cut off: {error}. Deliver it again"
        ) from None


@contextmanager
def _unpacked(path: Path) -> Iterator[IO[bytes]]:
    import pyarrow as pa

    if path.suffix.lower() == ".zip":
        with zipfile.ZipFile(path) as archive:
            inside = _members(archive)
            if len(inside) != 1:
                raise SourceError(f"{path.name} holds {len(inside)} files: expected one; unpack it first")
            with archive.open(inside[0]) as stream:
                yield stream
    else:
        compression = {".gz": "gzip", ".zst": "zstd"}.get(path.suffix.lower())
        with pa.input_stream(str(path), compression=compression) as stream:
            yield stream


def encoding_of(path: Path) -> str:
    """The encoding that a text file looks like, by its first block."""
    with opened(path) as stream:
        head = stream.read(BLOCK)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    for encoding in ENCODINGS:
        try:
            codecs.getincrementaldecoder(encoding)().decode(head)
        except UnicodeDecodeError:
            continue
        runs = re.findall(rb"[\x80-\xff]+", re.sub(rb"[\x81-\xfe]\d[\x81-\xfe]\d", b"", head))
        alone = sum(len(run) == 1 for run in runs)  # as in Müller: a Chinese character is two such bytes
        if encoding == "gb18030" and 2 * alone > len(runs):
            continue
        if encoding == "cp1252" and not re.search(rb"[\x80-\x9f]", head):  # such as its €; else they are one
            continue
        return encoding
    raise AssertionError("latin-1 reads anything")


def columns_of(path: Path, how: Format) -> tuple[str, ...]:
    """A file's columns. A name given twice gets a number, a missing one is `column_3`."""
    kind = how.kind_of(path)
    if kind == "parquet":
        import pyarrow.parquet as pq

        return tuple(pq.read_schema(path).names)
    if kind == "jsonl":
        from duckdb import Error

        from features import duck

        with duck.connect() as connection, _readable(path, how) as readable:
            records = f"(SELECT json FROM read_ndjson_objects({literal(readable)}, ignore_errors = true))"
            try:
                rows = connection.execute(
                    f"SELECT DISTINCT unnest(json_keys(json)) AS key FROM {records} ORDER BY key"
                ).fetchall()
                keys = [str(key) for (key,) in rows]
                for key in keys.copy():  # of an object in it: `customer.id`
                    inside = f"json_extract(json, {literal(_json_path(key))})"
                    rows = connection.execute(
                        f"""SELECT DISTINCT unnest(json_keys({inside})) AS key FROM {records}
                            WHERE json_type({inside}) = 'OBJECT' ORDER BY key"""
                    ).fetchall()
                    keys += [name for (sub,) in rows if (name := f"{key}.{sub}") not in keys]
            except Error as error:
                raise SourceError(f"{path.name} cannot be read as JSON lines: {error}") from None
        return tuple(keys)
    if how.header is not None:
        return how.header
    return _named(first_records(path, how, 1)[0])


def first_records(path: Path, how: Format, count: int, size: int = BLOCK) -> list[list[str]]:
    """The first records of a CSV file, the header among them, as text, of its first `size` bytes."""
    with opened(path) as stream:
        head = bytearray()
        while len(head) < size and (block := stream.read(BLOCK)):
            head += block
    text = (
        codecs.getincrementaldecoder(how.encoding)("surrogateescape")
        .decode(bytes(head))
        .removeprefix("\ufeff")
    )
    lines = text.splitlines(keepends=True)[how.skip :]
    reader = csv.reader(
        io.StringIO("".join(lines), newline=""),
        delimiter=how.separator,
        quotechar=how.quote or None,
        quoting=csv.QUOTE_MINIMAL if how.quote else csv.QUOTE_NONE,
    )
    records = [record for record, _ in zip(reader, range(count), strict=False)]
    if not records:
        raise SourceError(f"{path.name} is empty: expected at least a header")
    return records


def _named(names: list[str]) -> tuple[str, ...]:
    given: list[str] = []
    taken: set[str] = set()
    for place, name in enumerate(names, start=1):
        name = base = name.strip() or f"column_{place}"
        twice = 2
        while name.lower() in taken:  # SQL does not tell ID from id
            name, twice = f"{base}_{twice}", twice + 1
        taken.add(name.lower())
        given.append(name)
    return tuple(given)


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
    with _readable(path, how) as readable:
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
    text = f"json_extract_string(json, {literal(_json_path(key))})"
    if "." not in key:
        return text
    return f"coalesce({text}, json_extract_string(json, {literal(_json_path(*key.split('.', 1)))}))"


def _json_path(*keys: str) -> str:
    return "$" + "".join('."{}"'.format(key.replace('"', '""')) for key in keys)


def _load_csv(
    connection: "duckdb.DuckDBPyConnection", table: str, name: str, path: Path, how: Format
) -> None:
    """The dialect is declared, never sniffed here: another sample of the same file must not read otherwise."""
    names = columns_of(path, how)
    # One more column than the header: what lands there is a record with too many fields.
    types = ", ".join(f"{literal(c)}: 'VARCHAR'" for c in (*names, "_more"))
    connection.execute("DROP TABLE IF EXISTS reject_errors")
    connection.execute("DROP TABLE IF EXISTS reject_scans")
    file = f"_file = {literal(name)}"
    with _readable(path, how) as readable:
        connection.execute(
            f"""INSERT INTO {table} BY NAME
                SELECT *, {literal(name)} AS _file, row_number() OVER () - 1 AS _line
                FROM read_csv({literal(readable)}, auto_detect = false,
                    header = {str(how.header is None).lower()}, skip = {how.skip}, nullstr = '',
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


@contextmanager
def _readable(path: Path, how: Format) -> Iterator[Path]:
    """A file that DuckDB reads: this one, or its text as UTF-8 in a temporary one."""
    if path.suffix.lower() != ".zip" and codecs.lookup(how.encoding).name in UTF8:
        yield path
        return
    with tempfile.NamedTemporaryFile(suffix=".csv") as copy:
        decoder = codecs.getincrementaldecoder(how.encoding)("surrogateescape")
        with opened(path) as stream:
            while block := stream.read(BLOCK):
                # A byte that is no text of that encoding stays as it is, so that DuckDB refuses its record alone.
                copy.write(decoder.decode(block).encode("utf-8", "surrogateescape"))
            copy.write(decoder.decode(b"", final=True).encode("utf-8", "surrogateescape"))
        copy.flush()
        yield Path(copy.name)


def quoted(name: str) -> str:
    """A column's name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: object) -> str:
    """A text in SQL."""
    return "'" + str(text).replace("'", "''") + "'"

"""Raw files: how each is written, unpacked and encoded, which columns it has, and a copy that DuckDB reads.

CSV in any encoding, parquet and JSON lines; gzip, zstd and zip. What an object inside a JSON line holds is a
column such as `customer.id`. Only what DuckDB cannot read itself (zip, encodings other than UTF-8) is first
rewritten, in blocks, to a temporary file. `loading.py` makes a table of them.
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
    pass

BLOCK = 1 << 20
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

        with duck.connect() as connection, duckdb_reads(path, how) as readable:
            records = f"(SELECT json FROM read_ndjson_objects({literal(readable)}, ignore_errors = true))"
            try:
                rows = connection.execute(
                    f"SELECT DISTINCT unnest(json_keys(json)) AS key FROM {records} ORDER BY key"
                ).fetchall()
                keys = [str(key) for (key,) in rows]
                for key in keys.copy():  # of an object in it: `customer.id`
                    inside = f"json_extract(json, {literal(json_path(key))})"
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


def json_path(*keys: str) -> str:
    """A key of a JSON object, or a key in an object in it, as DuckDB writes such paths."""
    return "$" + "".join('."{}"'.format(key.replace('"', '""')) for key in keys)


@contextmanager
def duckdb_reads(path: Path, how: Format) -> Iterator[Path]:
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

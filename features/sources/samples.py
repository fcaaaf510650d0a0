"""Unknown files: which belong together, how they are written, a name for tomorrow's, and a sample of them all."""

import csv
import glob
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import SourceError
from features.sources.guesses import SURE, formats_of, local_time
from features.sources.loading import load
from features.sources.raw import (
    BLOCK,
    KINDS,
    Format,
    columns_of,
    encoding_of,
    first_records,
    literal,
    opened,
    quoted,
    suffix_of,
)
from features.sources.values import NULLS

if TYPE_CHECKING:
    import duckdb

SAMPLE = 20_000  # rows that are looked at, of all files of one kind together
FEWEST = 200  # rows of each file, however many there are
HEAD = 8 * BLOCK  # bytes of a text file, for those rows
TITLES = 20  # lines before a header, at the most
SEPARATORS = (",", ";", "\t", "|")
_DIGITS = re.compile(r"\d{4}(?:[-_.年月]\d+)+|\d+(?:[-.年月]\d+)*")
_DATE = 4  # digits that make a number in a name a date, of which tomorrow's file has another
_LAST = re.compile(r"(\.\w+)*")  # what follows the last number of a name: tomorrow's file has the next one


def matched(given: Iterable[Path]) -> list[Path]:
    """Paths as given, and what patterns such as data/*.csv find. SourceError if one finds nothing."""
    found: dict[Path, None] = {}
    for path in given:
        if path.exists() or not glob.has_magic(str(path)):
            found[path] = None
            continue
        base = Path(path.anchor)
        files = sorted(base.glob(str(path.relative_to(base))))
        if not files:
            raise SourceError(f"no file is named like {path}")
        found.update(dict.fromkeys(files))
    return list(found)


def files_in(given: Iterable[Path]) -> list[Path]:
    """Files as given, and those of folders that are of a kind that is read. SourceError if one is not there."""
    files: dict[Path, None] = {}
    for path in given:
        if path.is_dir():
            inside = [p for p in sorted(path.rglob("*")) if p.is_file() and not p.name.startswith(".")]
            files.update(dict.fromkeys(p for p in inside if suffix_of(p) in KINDS))
            if not any(suffix_of(p) in KINDS for p in inside):
                raise SourceError(
                    f"the folder {path} holds no file of a kind that is read: {', '.join(KINDS)}"
                )
        elif path.is_file():
            files[path] = None
        else:
            raise SourceError(f"there is no file {path}")
    return list(files)


def left_out(given: Iterable[Path]) -> list[str]:
    """Names of files in folders that are of no kind that is read, such as workbooks."""
    inside = [p for path in given if path.is_dir() for p in sorted(path.rglob("*")) if p.is_file()]
    return [p.name for p in inside if not p.name.startswith(".") and suffix_of(p) not in KINDS]


def patterns(names: list[str], folder: Path, known: Iterable[str]) -> tuple[list[str], list[str]]:
    """Globs that find these files and those that will come: names differ in digits, hold a date, or end in a number.

    known: the names of all files of this kind. Second: names that stay as they are although a pattern would fit,
    as it would find files of another kind, too.
    """
    stems: dict[str, list[str]] = {}
    for name in names:
        stems.setdefault(_DIGITS.sub("0", name), []).append(name)
    found: list[str] = []
    fixed: list[str] = []
    for alike in stems.values():
        runs = [_DIGITS.findall(name) for name in alike]
        moves = [len(set(n)) > 1 or sum(c.isdigit() for c in n[0]) >= _DATE for n in zip(*runs, strict=True)]
        given = _DIGITS.split(alike[0])
        if runs[0] and _LAST.fullmatch(given[-1]):
            moves[-1] = True
        parts = [glob.escape(part) for part in given]
        pattern = parts[0]
        for move, run, part in zip(moves, runs[0], parts[1:], strict=True):
            pattern += ("[0-9]*" if move else run) + part
        others = {str(p.relative_to(folder)) for p in folder.glob(pattern) if p.is_file()} - set(known)
        if not any(moves):
            found += alike
        elif others:
            found += alike
            fixed += alike
        else:
            found.append(pattern)
    return found, fixed


def sniff(path: Path) -> Format:
    """Kind, encoding, separator and header of a file."""
    suffix = path.suffix.lower()
    with opened(path) as stream:
        head = stream.read(4)
    if head[:4] == b"PAR1":
        return Format(kind=None if suffix == ".parquet" else "parquet")
    if Format().kind_of(path) == "jsonl":
        return Format()
    encoding = encoding_of(path)
    best = max(SEPARATORS, key=lambda s: _regular(path, Format(encoding=encoding, separator=s)))
    skip = _titles(path, Format(encoding=encoding, separator=best))
    how = Format(encoding=encoding, separator=best, skip=skip)
    first = first_records(path, how, 1)[0]
    if any(
        re.fullmatch(r"\s*[-+]?[\d.,:/ -]*\d\s*", cell) for cell in first
    ):  # a name is no number, nor a time
        return Format(
            encoding=encoding,
            separator=best,
            skip=skip,
            header=tuple(f"column_{n}" for n in range(1, len(first) + 1)),
        )
    return how


def _titles(path: Path, how: Format) -> int:
    """Lines before the header, such as a report's title: those less filled than most records that follow."""
    records = first_records(path, how, 200)
    filled = [sum(bool(cell.strip()) for cell in record) for record in records]
    usual = max(set(filled), key=filled.count)
    header = next((n for n, cells in enumerate(filled[:TITLES]) if cells >= 0.6 * usual), 0)
    titles = [record for record in records[:header] if record]
    return header if usual > 1 and not any("\n" in cell for record in titles for cell in record) else 0


def _regular(path: Path, how: Format) -> float:
    """How regular the records are under a separator: the share with the usual number of fields, 0 for one field."""
    try:
        widths = [len(record) for record in first_records(path, how, 200)]
    except (csv.Error, UnicodeError, SourceError):  # not this dialect, no text, or nothing in it
        return 0.0
    usual = max(set(widths), key=widths.count)
    return 0.0 if usual < 2 else widths.count(usual) / len(widths) + usual / 1000


def looked_at(files: int) -> int:
    """How many rows of each of that many files are looked at."""
    return max(FEWEST, SAMPLE // files)


def look(connection: "duckdb.DuckDBPyConnection", paths: list[Path], how: Format) -> tuple[str, ...]:
    """Rows of every file as table `sample`: their columns, all text, and `_file`, the file's place in `paths`."""
    import pyarrow as pa

    names = columns_of(paths[0], how)
    rows = looked_at(len(paths))
    kind = how.kind_of(paths[0])
    if kind == "jsonl":
        load(connection, "sample", [(str(n), path) for n, path in enumerate(paths)], how)
        return names
    columns = ", ".join(f"{quoted(c)} VARCHAR" for c in names)
    connection.execute(f"CREATE OR REPLACE TABLE sample ({columns}, _file VARCHAR)")
    for n, path in enumerate(paths):
        there = columns_of(path, how)
        if kind == "parquet":
            texts = ", ".join(f"{quoted(c)}::VARCHAR AS {quoted(c)}" for c in there)
            source = f"(SELECT {texts} FROM read_parquet({literal(path)}) LIMIT {rows})"
            connection.execute(f"INSERT INTO sample BY NAME SELECT *, '{n}' AS _file FROM {source}")
            continue
        records = first_records(path, how, rows, HEAD)
        records = [r for r in records[how.header is None :] if len(r) == len(there)]
        head = pa.table({c: pa.array([r[m] for r in records], pa.string()) for m, c in enumerate(there)})
        connection.register("head", head)
        connection.execute(f"INSERT INTO sample BY NAME SELECT *, '{n}' AS _file FROM head")
        connection.unregister("head")
    return names


def alike(
    connection: "duckdb.DuckDBPyConnection", names: Iterable[str], order_id: str | None
) -> list[tuple[int, ...]]:
    """The files of `sample` in groups that one reading can read: one format of each time, order ids or none.

    A file that several formats read (every day before the 13th) goes with most of the others.
    """
    marks: dict[int, list[str]] = {}
    for name in names:
        by_file = _formats(connection, name)
        timed = {file: read for file, (rows, read) in by_file.items() if rows and read}
        if timed and len(timed) == sum(1 for rows, _ in by_file.values() if rows):
            left = dict(timed)
            while left:
                best = max(
                    dict.fromkeys(f for read in left.values() for f in read),
                    key=lambda f: sum(f in r for r in left.values()),
                )
                for file in [file for file, read in left.items() if best in read]:
                    marks.setdefault(file, []).append(f"{name}: {best}")
                    del left[file]
        for file, (rows, _) in by_file.items():
            marks.setdefault(file, []).append(f"{name}: empty" if name == order_id and not rows else "")
    groups: dict[tuple[str, ...], list[int]] = {}
    for file in sorted(marks):
        groups.setdefault(tuple(m for m in marks[file] if m), []).append(file)
    return [tuple(files) for files in groups.values()]


def _formats(connection: "duckdb.DuckDBPyConnection", name: str) -> dict[int, tuple[int, tuple[str, ...]]]:
    """Of each file: rows with a value, and the formats that read them."""
    x = quoted(name)
    given = f"trim({x}) NOT IN ({', '.join(literal(n) for n in NULLS)})"
    tried = ("", *formats_of(name))
    counts = ", ".join(f"count(*) FILTER ({given} AND {local_time(x, f)} IS NOT NULL)" for f in tried)
    rows = connection.execute(
        f"SELECT _file::INT, count(*) FILTER ({given}), {counts} FROM sample GROUP BY ALL ORDER BY 1"
    ).fetchall()
    return {
        file: (n, tuple(f for f, read in zip(tried, counts, strict=True) if n and read >= SURE * n))
        for file, n, *counts in rows
    }


def empty_in(connection: "duckdb.DuckDBPyConnection", name: str) -> list[int]:
    """The files of `sample` in which a column is empty, if it is filled in others."""
    x = quoted(name)
    rows = connection.execute(
        f"""SELECT _file::INT, count(*) FILTER (trim({x}) NOT IN ({", ".join(literal(n) for n in NULLS)}))
            FROM sample GROUP BY ALL ORDER BY 1"""
    ).fetchall()
    empty = [file for file, n in rows if not n]
    return empty if len(empty) < len(rows) else []

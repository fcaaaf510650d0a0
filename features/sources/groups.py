"""Files in groups that one reading can read, and the names of the sources that are made of them."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import SourceError
from features.shop import BUNDLED_SOURCES, CALENDAR
from features.sources.found import Found, find, roles_of
from features.sources.guesses import profile
from features.sources.raw import Format, columns_of
from features.sources.samples import alike, look, sniff

if TYPE_CHECKING:
    import duckdb


def grouped(
    connection: "duckdb.DuckDBPyConnection",
    files: list[Path],
    folder: Path,
    notes: list[str],
    read: Mapping[Path, str],
) -> list[Found]:
    """The files in groups that one reading can read, each looked at; notes: of files among them that are none.

    read: what mappings read already, which are groups of their own.
    """
    kinds: dict[tuple[Format, tuple[str, ...], str | None], list[Path]] = {}
    for path in files:
        try:
            how = sniff(path)
            kind = (how, tuple(sorted(columns_of(path, how))), read.get(path.resolve()))
            kinds.setdefault(kind, []).append(path)
        except SourceError as error:
            if len(files) == 1:
                raise
            notes.append(f"left out: {error}")
    if not kinds:
        raise SourceError("; ".join(notes))
    found = []
    for (how, _, _), paths in kinds.items():
        groups: list[tuple[int, ...]] = []
        if len(paths) > 1:
            columns = look(connection, paths, how)
            named = roles_of([profile(connection, "sample", c) for c in columns]).get("order_id")
            groups = alike(connection, columns, named.column.name if named else None)
        for group in groups or [(*range(len(paths)),)]:
            found.append(find(connection, [paths[n] for n in group], how, folder, len(groups) > 1))
    return found


def common(parts: list[tuple[str, ...]]) -> Iterator[str]:
    """What several paths have in common, from their root on."""
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            return
        yield level[0]


def name_of(path: Path, taken: list[str]) -> str:
    """The name of a source; none that is taken, or that is ours."""
    name = re.sub(r"[^a-z0-9]+", "_", path.name.split(".")[0].lower()).strip("_")
    name = name if re.match(r"[a-z]", name) else f"files_{name}".rstrip("_")
    name = f"{name}_log" if name in (*BUNDLED_SOURCES, CALENDAR) else name
    return next(n for n in (name, *(f"{name}_{i}" for i in range(2, 999))) if n not in taken)

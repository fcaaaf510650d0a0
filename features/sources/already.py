"""What a shop's mappings read by now, so that a proposal adds what is missing and repeats nothing."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import PropensityError, UsageError
from features.files import expanded
from features.shop import Shop
from features.sources.found import ids
from features.sources.mapping import declaration
from features.sources.samples import look

if TYPE_CHECKING:
    import duckdb


def read_by(shop: Shop | None) -> dict[Path, str]:
    """File -> the mapping that reads it, of every mapping whose files are there."""
    found: dict[Path, str] = {}
    if shop is None:
        return found
    for name in shop.mappings:
        try:
            readings = declaration(shop, name).readings
        except PropensityError:  # said when it is used
            continue
        for reading in readings:
            found.update((path.resolve(), name) for _, path in reading.files)
    return found


def named_already(files: Iterable[Path], read: Mapping[Path, str]) -> list[str]:
    """A line for each mapping that reads some of these files."""
    of: dict[str, list[str]] = {}
    for path in files:
        if name := read.get(path.resolve()):
            of.setdefault(name, []).append(path.name)
    return [
        f"[mapping.{name}] reads {', '.join(some[:3])}{' ...' if len(some) > 3 else ''} already: left as it is"
        for name, some in of.items()
    ]


def customers_of(connection: "duckdb.DuckDBPyConnection", shop: Shop) -> dict[str, frozenset[str]]:
    """Of each mapping of a shop, the customers in its files, as far as they can be read."""
    found: dict[str, frozenset[str]] = {}
    for name in shop.mappings:
        try:
            for reading in declaration(shop, name).readings:
                value = reading.values.get("customer_id")
                if value and value.form == "column" and not value.prefix and reading.files:
                    look(connection, [path for _, path in reading.files], reading.format)
                    found[name] = found.get(name, frozenset()) | ids(connection, value.given)
        except PropensityError:  # of another mapping: that is said when it is used
            continue
    return found


def owner_of(paths: Iterable[Path], read: Mapping[Path, str]) -> str | None:
    """The mapping that reads most of these files; None if none reads any."""
    names = [read[path.resolve()] for path in paths if path.resolve() in read]
    return max(names, key=names.count) if names else None


def below(patterns: Iterable[str], folder: Path, shop: Shop, name: str) -> list[str]:
    """Patterns below a folder, as they are written in a mapping whose files lie elsewhere."""
    given = expanded(shop.mappings[name].get("folder", "."))
    root = (given if given.is_absolute() else shop.folder / given).resolve()
    whole = [folder / pattern for pattern in patterns]
    return [str(path.relative_to(root) if path.is_relative_to(root) else path) for path in whole]


def without(text: str, name: str) -> str:
    """A shop.toml without its [mapping.NAME]. UsageError if it is written so that a person must take it out."""
    kept: list[str] = []
    ours = False
    for line in text.splitlines(keepends=True):
        if header := re.match(r"\s*\[\[?\s*([^\]]+?)\s*\]", line):
            ours = header[1] == f"mapping.{name}" or header[1].startswith(f"mapping.{name}.")
        if not ours:
            kept.append(line)
    left = "".join(kept)
    wanted = tomllib.loads(text)
    wanted.get("mapping", {}).pop(name, None)
    try:
        found = tomllib.loads(left)
    except tomllib.TOMLDecodeError:
        found = {}
    for one in (wanted, found):
        if not one.get("mapping", True):
            del one["mapping"]
    if found != wanted:
        raise UsageError(f"[mapping.{name}] cannot be told from what stands around it: take it out by hand")
    return left

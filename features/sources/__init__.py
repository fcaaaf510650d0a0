"""Where logs come from: one module a source, each giving a `Source` for `features.ingest`."""

import importlib
from dataclasses import dataclass
from pathlib import Path

from features.errors import UsageError
from features.shop import Shop

BUNDLED = ("complete_journey",)


@dataclass(frozen=True)
class Source:
    """Raw files, and how each canonical table reads from them.

    tables: canonical table -> SQL giving its columns (any type; ingestion casts them) and `_file`, `_line`
        (from 0: the row of a raw file that this row accounts for; null if derived from other tables) and
        `_note` (what is special about a row that is kept, or null). Taken in order: a later one may read the accepted rows of an earlier one by the table's name.
    complete_until: SQL giving the moment up to which everything of this source is in the log; null if it
        says nothing of time (a catalogue). A source may bring some tables only, and no orders if another does.
    """

    name: str
    files: tuple[Path, ...]
    tables: dict[str, str]
    complete_until: str


def open_source(shop: Shop, name: str, folder: Path | None = None) -> Source:
    """The source of that name. UsageError if there is none; SourceError for files absent or unreadable."""
    if name not in BUNDLED:
        raise UsageError(f"there is no source {name!r}; there are: {', '.join(BUNDLED)}")
    found: Source = importlib.import_module(f"features.sources.{name}").source(shop, folder)
    return found

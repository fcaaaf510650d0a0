"""Where logs come from: a bundled module or a shop's own `[mapping.NAME]`, each giving a `Source`."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import UsageError
from features.shop import BUNDLED_SOURCES, CALENDAR, Shop
from features.toml import nearest

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Source:
    """Raw files, and how each canonical table reads from them.

    tables: canonical table -> SQL giving its columns (any type; ingestion casts them), `_file` and `_line`
        (from 0: the row of a raw file that this row accounts for; null if derived from other tables) and
        `_note` (what is special about a row that is kept, or null). Taken in order: a later one may read the
        accepted rows of an earlier one by the table's name. The SQL may also give `_aside` (why a row that is
        in order is not for the log: anonymous, not a product), `_reject` (why it cannot be used) and, of a line
        whose order is the sum of its lines, `_order`: what else that order has (see `ingestion/additions.py`).
    complete_until: SQL giving the moment up to which everything of this source is in the log; null if it
        says nothing of time (a catalogue). A source may bring some tables only, and no orders if another does.
    prepare: run once on the connection before the tables, for what they read beside the files.
    version: of the declarations that decide the rows, beside the files: another one is ingested again.
    timeless: tables whose rows say no `at` but `known_at`, which stands for it.
    """

    name: str
    files: tuple[Path, ...]
    tables: dict[str, str]
    complete_until: str
    prepare: "Callable[[duckdb.DuckDBPyConnection], None] | None" = None
    version: str = ""
    timeless: frozenset[str] = frozenset()


def open_source(shop: Shop, name: str, folder: Path | None = None, as_of: datetime | None = None) -> Source:
    """The source of that name. UsageError if there is none; SourceError for files absent or unreadable.

    as_of: what now is, after which nothing happened; None: the clock says it.
    """
    if name in shop.mappings:
        module = "mapping"
    elif name in BUNDLED_SOURCES or (name == CALENDAR and shop.calendar is not None):
        module = name
    else:
        there = (*shop.mappings, *BUNDLED_SOURCES)
        raise UsageError(f"there is no source {name!r}{nearest(name, there)} There are: {', '.join(there)}")
    opened = importlib.import_module(f"features.sources.{module}").source
    found: Source = opened(shop, name, folder, as_of) if module == "mapping" else opened(shop, folder)
    return found

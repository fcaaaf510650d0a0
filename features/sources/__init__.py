"""Where logs come from: one module a source, each giving a `Source` for `features.ingest`."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Source:
    """Raw files, and how each canonical table reads from them.

    tables: canonical table -> SQL giving its columns (any type; ingestion casts them) and `_file`, `_line`
        (from 0: the row of a raw file that this row accounts for; null if derived from other tables) and
        `_note` (what is special about a row that is kept, or null). Taken in order: a later one may read the accepted rows of an earlier one by the table's name.
    complete_until: SQL giving the moment up to which everything is in the log.
    """

    name: str
    files: tuple[Path, ...]
    tables: dict[str, str]
    complete_until: str

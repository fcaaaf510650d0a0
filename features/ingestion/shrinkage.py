"""Rows that a source gave the log before and gives no more: a file that vanished, or was cut off.

The log is what the files say, for files are corrected on purpose too; so this is told, and nothing is kept.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from features import duck
from features.ingestion.canonical import names
from features.ingestion.mended import INBOX, MENDED
from features.ingestion.parts import Part
from features.log import DERIVED_TAGS, LEDGER
from features.shop import Shop
from features.tables import TABLES


@dataclass(frozen=True)
class Shrunk:
    """How many rows of a table a source gives no more; `since`: the shop's day of the first, if dated."""

    source: str
    table: str
    rows: int
    since: str | None


def shrunk(
    shop: Shop, parts: Iterable[Part], before: dict[str, Path], memory: int, work: Path
) -> tuple[Shrunk, ...]:
    """The tables of which the parts lack rows, by their keys, that the parts before had.

    Tables that are derived from others say nothing of their own.
    before: source -> the folder of its part; one that is gone tells nothing. work: for what exceeds memory.
    """
    found = []
    connection = duck.connect(memory=memory, folder=work)
    for part in parts:
        place = before.get(part.source)
        if (
            part.source in (MENDED, INBOX, DERIVED_TAGS, LEDGER)
            or place is None
            or not (place / "part.json").exists()
        ):
            continue
        old = Part.open(place)
        for name, facts in old.tables.items():
            derived = not any(table == name and file for table, file, *_ in old.account)
            if derived or part.tables.get(name) == facts or not old.path(name).exists():
                continue
            table = TABLES[name]
            day = f"""(min("at") AT TIME ZONE '{shop.zone.key}')::DATE::VARCHAR"""
            rest = f"ANTI JOIN {_rows(part, name)} USING ({names(table.key)})" if name in part.tables else ""
            rows, since = connection.execute(
                f"SELECT count(*), {day if 'at' in table.columns else 'NULL'} FROM {_rows(old, name)} {rest}"
            ).fetchall()[0]
            if rows:
                found.append(Shrunk(part.source, name, rows, since))
    connection.close()
    return tuple(found)


def _rows(part: Part, table: str) -> str:
    return f"(FROM read_parquet('{part.path(table)}', hive_partitioning = false))"

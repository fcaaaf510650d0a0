"""Of which days the rejected rows are: their own dates may be what is wrong, or cannot be read.

Files are written day by day: a row is of the day of the accepted row before it in its file, or of the next
one if there is none before. Of a file that was rejected whole nothing is known.
"""

import json
from typing import NamedTuple

from features import duck
from features.ingestion.mended import MENDED
from features.ingestion.offenders import missing
from features.ingestion.parts import Part
from features.log import Log
from features.shop import Shop
from features.sources.raw import literal
from features.tables import TABLES


class Rejected(NamedTuple):
    """How many rows of a day (whole days since 1970, of the shop's zone) the log lacks for a reason."""

    table: str
    day: int
    reason: str
    rows: int


def rejected_days(log: Log, shop: Shop) -> list[Rejected]:
    """Of the rows that the log lacks and nobody mended; without those that it has from elsewhere."""
    home = log.folder.parents[1]
    paths = sorted((home / "rejects" / log.fingerprint).glob("*.parquet"))
    if not paths:  # a home that was restored without them
        return []
    sources = json.loads((log.folder / "manifest.json").read_text("utf-8"))["sources"]
    found: list[Rejected] = []
    with duck.connect() as connection:
        for path in paths:
            place = home / "parts" / path.stem / str(sources.get(path.stem, {}).get("part"))
            if path.stem == MENDED or not (place / "part.json").exists():
                continue
            part = Part.open(place)
            rows = f"""(FROM read_parquet({literal(str(path))}, hive_partitioning = false)
                        WHERE NOT mended AND file IS NOT NULL)"""
            reasons: dict[str, list[str]] = {}
            asked = f'SELECT DISTINCT "table", reason FROM {rows} ORDER BY ALL'
            for table, reason in connection.execute(asked).fetchall():
                if table in part.tables and "at" in TABLES[table].columns and missing(table, reason):
                    reasons.setdefault(table, []).append(reason)
            for table, why in reasons.items():
                sql = _days(rows, part, table, shop)
                found += [Rejected(table, *row) for row in connection.execute(sql, [table, why]).fetchall()]
    return found


def _days(rejects: str, part: Part, table: str, shop: Shop) -> str:
    """SQL of day, reason, rows; of a table ($1) and reasons ($2)."""
    day = f"""("at" AT TIME ZONE {literal(shop.zone.key)})::DATE - DATE '1970-01-01'"""
    return f"""
        WITH rejects AS (FROM {rejects} WHERE "table" = $1 AND list_contains($2, reason)),
             near AS (SELECT o.file, o.line, {day} AS day  -- a table may have a line of its own
                      FROM read_parquet({literal(str(part.path(table)))}, hive_partitioning = false)
                           POSITIONAL JOIN read_parquet({literal(str(part.origins(table)))}) o
                      WHERE o.file IN (SELECT file FROM rejects) AND o.line IS NOT NULL)
        SELECT coalesce(before.day, after.day) AS of, reason, count(*)
        FROM rejects r
             ASOF LEFT JOIN near before ON r.file = before.file AND r.line >= before.line
             ASOF LEFT JOIN near after ON r.file = after.file AND r.line <= after.line
        WHERE of IS NOT NULL GROUP BY ALL ORDER BY ALL"""

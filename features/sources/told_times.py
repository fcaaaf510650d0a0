"""Columns beside the time of a row: when it became known, and the zone that its time is of.

Without the first, what came weeks late is known as it happened, and a model learns from what nobody knew; without
the second, a sale in New York is hours off.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zoneinfo import available_timezones

from features.sources.guesses import EPOCHS, LOADED, RECEIVED, Column, Guess, local_time
from features.sources.proposed import time
from features.sources.raw import quoted
from features.sources.sheet import text

if TYPE_CHECKING:
    import duckdb

ZONE = r"(?i)(^|[_ .-])(tz|time.?zone)$|zone$|timezone|zeitzone|fuseau|zona.?horaria|时区"
OFFSETS = 14  # hours that two clocks may be apart
SOON = 31  # days within which most rows come, if they come as they happen
WRITTEN = "only where rows came day by day: of a load of everything at once, nothing was known before"


@dataclass(frozen=True)
class Told:
    """zone: of each row's time. known: when it was there; `soon`: never before it happened, and mostly soon after."""

    zone: Column | None = None
    known: Column | None = None
    soon: bool = False


def told(connection: "duckdb.DuckDBPyConnection", columns: list[Column], roles: Mapping[str, Guess]) -> Told:
    """What the columns of `sample` say of that."""
    if "at" not in roles:
        return Told()
    at = roles["at"].column
    free = [c for c in columns if c.rows and c.name not in {g.column.name for g in roles.values()}]
    local = at.format is not None and at.format not in EPOCHS and not at.offset
    zones = available_timezones() if local else set()
    zone = next((c for c in free if re.search(ZONE, c.name) and any(str(v) in zones for v, _ in c.top)), None)
    late = [c for c in free if c.format is not None and re.search(RECEIVED, c.name, re.IGNORECASE)]
    if not late or at.format is None:
        return Told(zone)
    known = late[0]
    x, y = (local_time(quoted(c.name), c.format or "") for c in (at, known))
    early, lag, days, usual = connection.execute(
        f"""SELECT count(*) FILTER (y + INTERVAL {OFFSETS} HOUR < x), median(date_diff('hour', x, y)) / 24,
                   count(DISTINCT y::DATE), count(DISTINCT x::DATE)
            FROM (SELECT {x} AS x, {y} AS y FROM sample) WHERE x IS NOT NULL AND y IS NOT NULL"""
    ).fetchall()[0]
    soon = not early and lag is not None and lag <= SOON and days >= 0.1 * usual
    return Told(zone, known, bool(soon and known.filled > 0.99))


def with_told(lines: list[str], of: Told, roles: Mapping[str, Guess]) -> tuple[list[str], list[str]]:
    """Readings with what is told beside their times, and what to say of it. lines: of one file's readings."""
    said: list[str] = []
    done: list[str] = []
    at = text(roles["at"].column.name) if "at" in roles else None
    itself = of.known and any(line.startswith("at = ") and text(of.known.name) in line for line in lines)
    for line in lines:
        done.append(line)
        comment = "# " if line.startswith("# files = ") else ""
        if of.zone and line.removeprefix(comment).startswith("files = "):
            known = sum(n for v, n in of.zone.top if str(v) in available_timezones())
            doubt = "" if known == of.zone.rows else "  # DECIDE: not all are names of zones"
            done.append(f"{comment}zone = {{ column = {text(of.zone.name)} }}{doubt}")
            said.append(f"  {of.zone.name} is the zone of each row's time")
        if of.known and not itself and at and line.startswith("at = ") and at in line:
            value = f"known_at = {''.join(time(of.known))}"
            if of.soon:
                done.append(f"{value}  # DECIDE: when a row came here; without this line, when it happened")
            else:
                done.append(f"# {value}   # DECIDE: {WRITTEN}")
            said.append(
                f"  {of.known.name} is when a row came, so when it was known{'' if of.soon else ': ' + WRITTEN}"
            )
    return done, list(dict.fromkeys(said))


def warehouse(column: Column) -> bool:
    """Whether it says when a row was written into a warehouse."""
    return column.format is not None and bool(re.search(LOADED, column.name, re.IGNORECASE))

"""Which dates a source's rows may have: a slip such as 2071 or 1900 must not move the log's beginning or end.

* Nothing happened after the day that follows the ingestion (of UTC: a till's zone may be wrong by hours), which
  is now or, for a log of the past, PROPENSITY_AS_OF: else a till whose clock is a year ahead would end the log.
  Where `complete_until` is declared later, that holds, for a log of the future is somebody's simulation.
* Rows that stand decades apart from most rows of their table are slips too, or mean "unknown"; a declared
  `first_day` says how old rows may be, and then they may.

A day is the same in every run of it, and what was taken in stays as it is: a part is made once of its files,
and of PROPENSITY_AS_OF, if that says what now is.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from features.moments import DAY, iso, midnight, parse_moment
from features.settings import clock
from features.sources.declared import Declared, Reading
from features.sources.raw import literal
from features.sources.values import moment

if TYPE_CHECKING:
    import duckdb

DECADES = 20  # years without any row, between slips and the others
LATER = "dated after it was taken in"
BEFORE = f"dated {DECADES} years or more before the others"
AFTER = f"dated {DECADES} years or more after the others"
AHEAD = ("calendar",)  # what may lie ahead


@dataclass(frozen=True)
class Bounds:
    """What rows of one table may be dated. first_day: as declared, in the source's zone. years: of most rows."""

    first_day: str | None = None
    last: datetime | None = None
    years: tuple[int, int] | None = None

    def cases(self, zone: str) -> str:
        """SQL: `WHEN ... THEN reason` over a parsed row with `at` and `known_at`."""
        cases = []
        if self.first_day:
            first = f"{literal(self.first_day)}::TIMESTAMP AT TIME ZONE {literal(zone)}"
            cases.append(f"""WHEN "at" < {first} THEN 'before the first day of the source'""")
        if self.years:
            year, (first_year, last_year) = """year("at" AT TIME ZONE 'UTC')""", self.years
            if not self.first_day:
                cases.append(f"WHEN {year} < {first_year} THEN '{BEFORE}'")
            cases.append(f"WHEN {year} > {last_year} THEN '{AFTER}'")
        if self.last:
            cases.append(
                f"""WHEN greatest("at", known_at) > '{iso(self.last)}'::TIMESTAMPTZ THEN '{LATER}'"""
            )
        return " ".join(cases)


def last_of(complete_until: str | None = None, as_of: datetime | None = None) -> datetime:
    """The end of tomorrow, of UTC, or of the day after a declared end of the log, whichever is later.

    as_of: what now is; None: the clock says it.
    """
    tomorrow = midnight(as_of or clock()) + 2 * DAY
    if complete_until is None:
        return tomorrow
    declared = complete_until if len(complete_until) > 10 else f"{complete_until}T00:00:00Z"
    return max(tomorrow, parse_moment(declared) + timedelta(days=2))


def bounds_of(
    connection: "duckdb.DuckDBPyConnection",
    declared: Declared,
    raws: Iterable[tuple[Reading, str]],
    last: datetime,
) -> dict[str, Bounds]:
    """The bounds of each table, by all rows that its readings have. raws: (reading, its table of text)."""
    from duckdb import Error, OutOfMemoryException

    years: dict[str, dict[int, int]] = {}
    for reading, raw in raws:
        counted = years.setdefault(reading.table, {})
        if "at" in reading.values and reading.table not in AHEAD:
            at = moment(reading.values["at"])[0]
            try:
                rows = connection.execute(
                    f"""SELECT year(_at AT TIME ZONE 'UTC'), count(*) FROM (SELECT {at} AS _at FROM {raw})
                        WHERE _at IS NOT NULL GROUP BY ALL"""
                ).fetchall()
            except OutOfMemoryException:
                raise
            except Error:  # of the operator's SQL: said where the rows are read
                continue
            for year, count in rows:
                counted[year] = counted.get(year, 0) + count
    return {
        table: Bounds(declared.first_day)
        if table in AHEAD
        else Bounds(declared.first_day, last, most(counted))
        for table, counted in years.items()
    }


def most(years: Mapping[int, int]) -> tuple[int, int] | None:
    """The first and the last year of most rows, if others stand decades apart.

    >>> most({1900: 3, 2022: 40, 2024: 50, 2071: 1}), most({1999: 1, 2011: 5})
    ((2022, 2024), None)
    """
    spans: list[list[int]] = []
    for year in sorted(years):
        if spans and year - spans[-1][-1] < DECADES:
            spans[-1].append(year)
        else:
            spans.append([year])
    if len(spans) < 2:
        return None
    best = max(spans, key=lambda span: sum(years[year] for year in span))
    return best[0], best[-1]

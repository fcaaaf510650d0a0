"""The calendar as the baselines read it: sales, holidays and live events, each with what came before."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from features.log import Log
from features.moments import DAY_US

# An occasion that comes more often than this is a weekday's habit, and learned as such.
_RARE_DAYS = 45
CLOSED = "closed"  # the kind, in the calendar, of days on which the shop does no business
OWN_DAYS = ("holiday", CLOSED)  # kept on whole days, as the shop's zone has them
_OBSERVED = " (observed)"  # how `holidays` names a day off that makes up for a holiday on a weekend


class Occasion(NamedTuple):
    """One occurrence: whole days since 1970, the first and the last of its days. kind: as the calendar has
    it; CLOSED: the shop does no business on them."""

    first: int
    last: int
    kind: str = "sale"


Occasions = Mapping[str, tuple[Occasion, ...]]  # name -> its occurrences, oldest first


def of_log(log: Log, without: frozenset[str] = frozenset()) -> Occasions:
    """What the log's calendar holds, days in UTC. {} without one. without: names to leave out.

    Days that touch are one occurrence (a week of holidays); what comes every week is left out. A day of a
    shop far from UTC touches two of them, in every year the same: days before and after count to it anyway.
    Holidays and days on which the shop is closed are the shop's own, of a zone within 12 hours of UTC.
    """
    if "calendar" not in log.tables:
        return {}
    rows = log.read("calendar", ["kind", "name", "at", "until"]).to_pydict()
    found: dict[str, list[Occasion]] = {}
    columns = (rows[name] for name in ("kind", "name", "at", "until"))
    for kind, name, at, until in zip(*columns, strict=True):
        name = name.removesuffix(_OBSERVED)
        if name not in without:
            since, end = int(at.timestamp() * 1e6), int(until.timestamp() * 1e6)
            first, last = since // DAY_US, -(-end // DAY_US) - 1
            if kind in OWN_DAYS:
                first, last = (since + DAY_US // 2) // DAY_US, (end + DAY_US // 2) // DAY_US - 1
            found.setdefault(name, []).append(Occasion(first, max(first, last), kind))
    times = {name: joined(sorted(days)) for name, days in sorted(found.items())}
    return {name: days for name, days in times.items() if not usual(days)}


def closed(occasions: Occasions) -> frozenset[int]:
    """The days on which the shop does no business."""
    shut = (one for times in occasions.values() for one in times if one.kind == CLOSED)
    return frozenset(day for one in shut for day in range(one.first, one.last + 1))


def amid(occasions: Occasions, first: int, last: int) -> tuple[str, ...]:
    """Those of which a day is among these."""
    return tuple(
        name
        for name, times in occasions.items()
        if any(one.first <= last and first <= one.last for one in times)
    )


def joined(days: list[Occasion]) -> tuple[Occasion, ...]:
    """Ascending days, those that touch in one."""
    whole: list[Occasion] = []
    for day in days:
        if whole and day.first <= whole[-1].last + 1 and day.kind == whole[-1].kind:
            whole[-1] = whole[-1]._replace(last=max(day.last, whole[-1].last))
        else:
            whole.append(day)
    return tuple(whole)


def usual(days: tuple[Occasion, ...]) -> bool:
    """Whether it comes so often that it is a habit of the weekday."""
    return len(days) > 3 and float(np.median(np.diff([day.first for day in days]))) < _RARE_DAYS

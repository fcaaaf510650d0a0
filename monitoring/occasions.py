"""The calendar as the baselines read it: sales, holidays and live events, each with what came before."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from features.log import Log
from features.moments import DAY_US

# An occasion that comes more often than this is a weekday's habit, and learned as such.
_RARE_DAYS = 45
_OBSERVED = " (observed)"  # how `holidays` names a day off that makes up for a holiday on a weekend


class Occasion(NamedTuple):
    """One occurrence: whole days since 1970, the first and the last of its days."""

    first: int
    last: int


Occasions = Mapping[str, tuple[Occasion, ...]]  # name -> its occurrences, oldest first


def of_log(log: Log, without: frozenset[str] = frozenset()) -> Occasions:
    """What the log's calendar holds, days in UTC. {} without one. without: names to leave out.

    Days that touch are one occurrence (a week of holidays); what comes every week is left out. A day of a
    shop far from UTC touches two of them, in every year the same: days before and after count to it anyway.
    """
    if "calendar" not in log.tables:
        return {}
    rows = log.read("calendar", ["name", "at", "until"]).to_pydict()
    found: dict[str, list[Occasion]] = {}
    for name, at, until in zip(rows["name"], rows["at"], rows["until"], strict=True):
        name = name.removesuffix(_OBSERVED)
        if name not in without:
            first = int(at.timestamp() * 1e6) // DAY_US
            last = max(first, int(-(-until.timestamp() * 1e6 // DAY_US)) - 1)
            found.setdefault(name, []).append(Occasion(first, last))
    times = {name: joined(sorted(days)) for name, days in sorted(found.items())}
    return {name: days for name, days in times.items() if not usual(days)}


def joined(days: list[Occasion]) -> tuple[Occasion, ...]:
    """Ascending days, those that touch in one."""
    whole: list[Occasion] = []
    for day in days:
        if whole and day.first <= whole[-1].last + 1:
            whole[-1] = Occasion(whole[-1].first, max(day.last, whole[-1].last))
        else:
            whole.append(day)
    return tuple(whole)


def usual(days: tuple[Occasion, ...]) -> bool:
    """Whether it comes so often that it is a habit of the weekday."""
    return len(days) > 3 and float(np.median(np.diff([day.first for day in days]))) < _RARE_DAYS

"""When a message goes: at once, after the quiet hours, or at the hour that the customer prefers.

All times of day are the customer's; where no feature knows the zone, the shop's. Pure.
"""

from bisect import bisect_left
from datetime import UTC, datetime, time, timedelta, tzinfo
from functools import lru_cache
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from features.moments import DAY, iso
from features.words import Words

Why = Literal["now", "quiet_hours", "preferred_hour", "in_order"]
WORDS: dict[Why, Words] = {
    "now": Words("At once", "立即发送"),
    "quiet_hours": Words("After the quiet hours of the customer's day", "避开客户当地的免打扰时段"),
    "in_order": Words("In its order among the messages of its bundle", "按组合行动中的先后顺序发送"),
    "preferred_hour": Words("At the hour at which the customer is usually there", "在客户通常活跃的时段发送"),
}
Quiet = tuple[time, time]


class Slot(NamedTuple):
    """When to send, UTC, and why then. text: that moment as answers write it."""

    at: datetime
    why: Why
    text: str


class Night(NamedTuple):
    """The quiet hours of whoever a message is for, in the zone of that day; None: there are none."""

    zone: str = "UTC"
    quiet: Quiet | None = None

    def over(self, moment: datetime) -> datetime:
        """The first moment from that one on at which it may go."""
        return slot(moment, self.zone, self.quiet).at


def is_quiet(quiet: Quiet | None, local: time) -> bool:
    """Whether a time of day is in the quiet hours: from the first until before the second.

    >>> is_quiet((time(21), time(9)), time(8, 59)), is_quiet((time(21), time(9)), time(9))
    (True, False)
    """
    if quiet is None:
        return False
    start, end = quiet
    local = local.replace(tzinfo=None)
    return start <= local < end if start < end else local >= start or local < end


@lru_cache(maxsize=4096)  # a plan asks for everybody at one moment: as many answers as zones and hours
def slot(now: datetime, zone: str, quiet: Quiet | None, hour: int | None = None) -> Slot:
    """The first moment from now on that is not quiet and, if an hour is preferred, lies in it.

    Where the preferred hour is quiet from end to end, the first moment that is not quiet.
    """
    there = ZoneInfo(zone)
    free = _free(now, there, quiet)
    if hour is not None and free.astimezone(there).hour != hour:
        for day in range(3):
            begins = _at(free.astimezone(there) + day * DAY, time(hour), free)
            wanted = _free(begins, there, quiet) if begins is not None else free
            if wanted.astimezone(there).hour == hour:
                return Slot(wanted, "preferred_hour", iso(wanted))
    return Slot(free, "now" if free == now else "quiet_hours", iso(free))


def in_order(moment: datetime, night: Night) -> Slot:
    """What has its order among others: the first moment from that one on that is not quiet, at any hour."""
    at = night.over(moment)
    return Slot(at, "in_order", iso(at))


def _free(moment: datetime, zone: ZoneInfo, quiet: Quiet | None) -> datetime:
    """The first moment from this one on that is not quiet."""
    local = moment.astimezone(zone)
    if quiet is None or not is_quiet(quiet, local.time()):
        return moment
    for day in range(3):
        ends = _at(local + day * DAY, quiet[1], moment)
        if ends is not None and not is_quiet(quiet, ends.astimezone(zone).time()):
            return ends
    return moment + timedelta(days=1)  # not reached: quiet hours end every day


def _at(day: datetime, clock: time, after: datetime) -> datetime | None:
    """That time of that local day, UTC, if it is after a moment: the first, where clocks go back over it; the
    moment of the change, where they go forward over it, as that time does not come."""
    first, second = (
        datetime.combine(day.date(), clock.replace(fold=fold), day.tzinfo).astimezone(UTC) for fold in (0, 1)
    )
    if second < first:  # by the offset after the change, and by the one before it
        first = second = _changed(second, first, day.tzinfo)
    return min((one for one in (first, second) if one > after), default=None)


def _changed(before: datetime, after: datetime, zone: tzinfo | None) -> datetime:
    """When clocks were changed between two moments, to the second."""
    offset, seconds = before.astimezone(zone).utcoffset(), int((after - before).total_seconds())

    def differs(second: int) -> bool:
        return (before + timedelta(seconds=second)).astimezone(zone).utcoffset() != offset

    return before + timedelta(seconds=bisect_left(range(seconds), True, key=differs))

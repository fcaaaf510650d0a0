"""Moments: UTC, microseconds. As-of is an argument everywhere; only `Settings.now` looks at a clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import msgspec

from features.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DAY = timedelta(days=1)
DAY_US = 86_400_000_000
_encoder = msgspec.json.Encoder()  # writes it as we do, in a tenth of the time of `isoformat`
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SUNDAY = datetime(1970, 1, 4, tzinfo=UTC)


def parse_moment(text: str) -> datetime:
    """Read `2017-12-03` (00:00 UTC) or an RFC 3339 time with its offset.

    >>> parse_moment("2017-12-03").isoformat()
    '2017-12-03T00:00:00+00:00'
    >>> parse_moment("2017-12-03T01:00:00+01:00").isoformat()
    '2017-12-03T00:00:00+00:00'
    """
    try:
        moment = datetime.fromisoformat(text)
        utc = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # the latter: in UTC it is before the year 1, or after 9999
        raise UsageError(f"{text!r} is not a moment: write 2017-12-03 or 2017-12-03T00:00:00+00:00") from None
    if moment.tzinfo is None and len(text) > 10:
        raise UsageError(f"{text!r} has no offset: append Z or +08:00, so that it means one moment only")
    return utc


def to_us(moment: datetime) -> int:
    """Microseconds since 1970-01-01 00:00 UTC, exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_us(microseconds: int) -> datetime:
    """The inverse of `to_us`."""
    return _EPOCH + timedelta(microseconds=int(microseconds))


def midnight(moment: datetime) -> datetime:
    """The last 00:00 UTC at or before the moment."""
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def grid(start: datetime, end: datetime, every: timedelta = 7 * DAY) -> list[datetime]:
    """Moments in steps of `every` counted from one Sunday, 1970-01-04, and `end`; oldest first.

    The same moments whatever `end` is, so that what was built for yesterday's serves today too. None lies
    before `start`.

    >>> [m.day for m in grid(parse_moment("2017-12-01"), parse_moment("2017-12-31"))]
    [3, 10, 17, 24, 31]
    >>> [m.day for m in grid(parse_moment("2017-12-10"), parse_moment("2017-12-27"))]
    [10, 17, 24, 27]
    """
    if every <= timedelta(0):
        raise UsageError(f"a grid needs a positive step, not {every}")
    if start > end:
        return []
    first, last = -((_SUNDAY - start) // every), (end - _SUNDAY) // every
    moments = [_SUNDAY + k * every for k in range(first, last + 1)]
    return moments if moments and moments[-1] == end else [*moments, end]


def iso(moment: datetime) -> str:
    """RFC 3339 in UTC, as every file and answer writes it: `2017-12-03T00:00:00Z`."""
    if moment.tzinfo is not UTC:  # most are, and it is asked with every answer
        moment = moment.astimezone(UTC)
    return _encoder.encode(moment)[1:-1].decode()


def offsets_of(zone: ZoneInfo, first: int, last: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(moments from which an offset holds, the offsets), in microseconds, covering first to last.

    The first entry is at or before `first`. ZoneInfo does not tell its changes; they are looked for day by
    day, and then by halving.
    """
    import numpy as np  # the command line reads moments, and must start at once

    start, end = first // DAY_US, last // DAY_US + 1
    known = [(start * DAY_US, _shift(zone, start * DAY_US))]
    for day in range(start, end):
        before, after = day * DAY_US, (day + 1) * DAY_US
        while _shift(zone, before) != _shift(zone, after) and after - before > 1:
            middle = (before + after) // 2
            if _shift(zone, middle) == _shift(zone, before):
                before = middle
            else:
                after = middle
        if after - before == 1:
            known.append((after, _shift(zone, after)))
    return np.array([k for k, _ in known], np.int64), np.array([s for _, s in known], np.int64)


@lru_cache(maxsize=100_000)
def _shift(zone: ZoneInfo, moment: int) -> int:
    """Microseconds that the zone is ahead of UTC at a moment."""
    shift = from_us(moment).astimezone(zone).utcoffset()
    assert shift is not None
    return shift // timedelta(microseconds=1)

"""When a message goes: never at night, at the customer's own hour, wherever the clocks change."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from features.moments import parse_moment
from serving.sending import is_quiet, slot

NIGHT = (time(21), time(9))


@pytest.mark.parametrize(
    ("now", "hour", "expected", "why"),
    [
        ("2017-12-03T20:59:59-05:00", None, "2017-12-03T20:59:59-05:00", "now"),
        ("2017-12-03T21:00:00-05:00", None, "2017-12-04T09:00:00-05:00", "quiet_hours"),
        ("2017-12-04T08:59:59-05:00", None, "2017-12-04T09:00:00-05:00", "quiet_hours"),
        ("2017-12-03T21:00:00-05:00", 18, "2017-12-04T18:00:00-05:00", "preferred_hour"),
        ("2017-12-03T18:30:00-05:00", 18, "2017-12-03T18:30:00-05:00", "now"),
        ("2017-12-03T19:00:00-05:00", 18, "2017-12-04T18:00:00-05:00", "preferred_hour"),
        ("2017-12-03T19:00:00-05:00", 23, "2017-12-03T19:00:00-05:00", "now"),
        ("2017-12-03T22:00:00-05:00", 23, "2017-12-04T09:00:00-05:00", "quiet_hours"),
    ],
)
def test_a_slot_by_hand(now: str, hour: int | None, expected: str, why: str) -> None:
    """A message at three in the night costs the customer; one at the usual hour is read."""
    moments = [datetime.fromisoformat(of).astimezone(UTC) for of in (now, expected)]
    found = slot(moments[0], "America/New_York", NIGHT, hour)
    assert (found.at, found.why, parse_moment(found.text)) == (moments[1], why, moments[1])


@pytest.mark.parametrize(
    ("zone", "now", "end", "hour", "expected"),
    [
        ("America/New_York", "2025-03-08T23:17:00-05:00", time(2, 30), None, "2025-03-09T03:00:00-04:00"),
        ("America/New_York", "2025-03-09T01:59:00-05:00", time(2), None, "2025-03-09T03:00:00-04:00"),
        ("America/Havana", "2025-03-08T23:17:00-05:00", time(0, 30), None, "2025-03-09T01:00:00-04:00"),
        ("Australia/Lord_Howe", "2025-10-04T23:17:00+10:30", time(2, 15), None, "2025-10-05T02:30:00+11:00"),
        ("Australia/Lord_Howe", "2025-10-04T23:17:00+10:30", time(1), 2, "2025-10-05T02:30:00+11:00"),
        ("America/New_York", "2025-03-08T23:17:00-05:00", time(1), 2, "2025-03-10T02:00:00-04:00"),
    ],
)
def test_quiet_hours_that_end_in_what_clocks_skip_end_when_they_are_changed(
    zone: str, now: str, end: time, hour: int | None, expected: str
) -> None:
    """Else everybody of that zone gets the message of the day a day late, once a year."""
    asked, told = (datetime.fromisoformat(of).astimezone(UTC) for of in (now, expected))
    assert slot(asked, zone, (time(22), end), hour).at == told


def test_every_slot_is_the_one_that_trying_each_minute_finds() -> None:
    """Also where clocks are changed, by an hour or by half of one, within the quiet hours or at their end."""
    random = np.random.default_rng(1)
    zones = ("America/New_York", "Asia/Shanghai", "Asia/Kathmandu", "Australia/Lord_Howe")
    nights = (None, NIGHT, (time(1, 30), time(2, 30)), (time(0), time(2, 15)), (time(9, 30), time(8)))
    for _ in range(150):
        zone, quiet = zones[random.integers(len(zones))], nights[random.integers(len(nights))]
        now = datetime(2017, random.choice([3, 4, 10, 11]), random.integers(1, 29), tzinfo=UTC)
        now += timedelta(minutes=int(random.integers(1440)))
        hour = None if random.random() < 0.3 else int(random.integers(24))
        free = wanted = now
        while is_quiet(quiet, free.astimezone(ZoneInfo(zone)).time()):
            free += timedelta(minutes=1)
        wanted, why = free, "now" if free == now else "quiet_hours"
        if hour is not None and free.astimezone(ZoneInfo(zone)).hour != hour:
            for minute in range(1, 49 * 60):
                local = (free + timedelta(minutes=minute)).astimezone(ZoneInfo(zone))
                if local.hour == hour and not is_quiet(quiet, local.time()):
                    wanted, why = local.astimezone(UTC), "preferred_hour"
                    break
        assert slot(now, zone, quiet, hour)[:2] == (wanted, why), (now, zone, quiet, hour)

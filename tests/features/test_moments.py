"""Moments as they are written: one that is none is said to be none, wherever it comes from."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis.strategies import datetimes, timezones

from features.errors import UsageError
from features.moments import iso, parse_moment


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2017-12-03T24:30:00Z", "today", ""]
)
def test_what_is_no_moment_in_utc_is_refused(text: str) -> None:
    """Else a cursor or an option of before the year 1 in UTC, which has none, is a fault of ours."""
    with pytest.raises(UsageError, match="is not a moment"):
        parse_moment(text)


def test_the_first_and_the_last_moment_are_read() -> None:
    for text in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"):
        assert iso(parse_moment(text)) == text


@given(datetimes(timezones=timezones()))
def test_a_moment_is_written_in_utc_to_the_microsecond(moment: datetime) -> None:
    """Else an answer tells another moment than the log holds, or two ways to write one."""
    try:
        utc = moment.astimezone(UTC)
    except OverflowError:  # in no year of UTC
        return
    assert iso(moment) == utc.isoformat().removesuffix("+00:00") + "Z"
    assert parse_moment(iso(moment)) == utc


@pytest.mark.parametrize("text", ["2017-12-03T00:00:00", "0001-01-01T00:00"])
def test_a_time_without_its_offset_is_refused(text: str) -> None:
    """Else it means another moment on another machine."""
    with pytest.raises(UsageError, match="has no offset"):
        parse_moment(text)

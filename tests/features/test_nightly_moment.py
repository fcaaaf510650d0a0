"""The moment that nobody names: a night's commands need no option, in whatever zone the shop's days are."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from dirty import TILL, bring_in, run, write_shop

from features.log import Log
from features.moments import iso, midnight, parse_moment
from features.settings import Settings

DAY = timedelta(days=1)


def shop_of(folder: Path, zone: str, until: str) -> Settings:
    """A till that sells ten times a day, whose last full day ends with `until`."""
    end = datetime.fromisoformat(until)
    days = [(end - n * DAY).date() for n in range(1, 60)]
    rows = "".join(f"{day}-{n},c{n},{day} 1{n}:00,5\n" for day in sorted(days) for n in range(10))
    mapping = f"[mapping.till]\ncomplete_until = {until}\n{TILL}"
    settings = write_shop(folder, mapping, {"orders.csv": "no,who,day,paid\n" + rows}, zone=zone)
    bring_in(settings)
    return settings


@pytest.mark.parametrize(
    ("zone", "now", "last"),
    [
        ("Asia/Shanghai", "2025-08-31T02:00:00+08:00", "2025-08-30T00:00:00Z"),
        ("America/New_York", "2025-08-31T02:00:00-04:00", "2025-08-31T00:00:00Z"),
        ("Europe/Berlin", "2025-08-31T02:00:00+02:00", "2025-08-30T00:00:00Z"),
        ("Pacific/Auckland", "2025-08-31T02:00:00+12:00", "2025-08-30T00:00:00Z"),
    ],
)
def test_a_night_needs_no_moment_in_any_zone(tmp_path: Path, zone: str, now: str, last: str) -> None:
    """Else the nightly run of every shop east of Greenwich stops at its second command."""
    settings = shop_of(tmp_path, zone, "2025-08-31")
    for dry in (["--dry-run"], []):
        built = run(settings, "features", "build", *dry, PROPENSITY_AS_OF=now)
        assert built.exit_code == 0, built.output
        assert f"to {last}" in built.output
        said = " ".join(built.output.split())
        complete = iso(Log.open(settings).complete_until)
        assert f"the last is of {last}, and not of today: the log is complete until {complete}" in said
    assert "published" in built.output, "and it can be served"
    named = run(settings, "features", "build", "--as-of", now, PROPENSITY_AS_OF=now)
    assert named.exit_code == 2, "a moment that somebody names is not another one"
    assert f"features as of {iso(parse_moment(now))} would be guesses" in " ".join(named.output.split())


def test_what_is_of_today_is_no_news(tmp_path: Path) -> None:
    """The night of a shop whose days are those of UTC is as it was: its last midnight, and no word of it."""
    settings = shop_of(tmp_path, "UTC", "2025-08-31")
    built = run(settings, "features", "build", PROPENSITY_AS_OF="2025-08-31T02:00:00Z")
    assert built.exit_code == 0, built.output
    assert "to 2025-08-31T00:00:00Z" in built.output
    assert "not of today" not in built.output
    exact = run(settings, "features", "build", PROPENSITY_AS_OF="2025-08-30T10:00:00Z")
    assert "to 2025-08-30T10:00:00Z" in exact.output, "a moment of the past is taken as it is"


def test_a_log_that_stands_still_is_said_and_served_as_it_is(tmp_path: Path) -> None:
    """Else a night whose files did not come fails, and says nothing of which day it could still serve."""
    settings = shop_of(tmp_path, "UTC", "2025-08-31")
    now = parse_moment("2025-09-04T02:00:00Z")
    built = run(settings, "features", "build", PROPENSITY_AS_OF=iso(now))
    assert built.exit_code == 0, built.output
    assert "the last is of 2025-08-31T00:00:00Z, and not of today" in " ".join(built.output.split())
    assert Log.open(settings).latest(Settings(as_of=now)) == midnight(parse_moment("2025-08-31"))

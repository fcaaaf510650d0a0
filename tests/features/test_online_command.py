"""`propensity online`: what an operator sees and does, in either store."""

import json

import pytest
from builds_by_hand import MOMENT, NAMES, MakeBuild, constant, weeks
from click.testing import CliRunner, Result

import propensity
from features.moments import DAY, iso
from features.online import Fresh, OnlineRows, publish, write_overlay
from features.settings import Settings


@pytest.fixture
def home(stored: Settings) -> Settings:
    return stored


def run(home: Settings, *arguments: str) -> Result:
    patience = str(home.online_timeout.total_seconds() * 1000)
    environment = {
        "PROPENSITY_HOME": str(home.home),
        "PROPENSITY_ONLINE": home.online,
        "PROPENSITY_ONLINE_TIMEOUT_MS": patience,
    }
    return CliRunner().invoke(propensity.main, ["online", *arguments], env=environment)


def test_status_shows_what_is_served_and_where_a_rollback_goes(home: Settings, make_build: MakeBuild) -> None:
    """Else: an operator rolls back without knowing to what."""
    nothing = run(home, "status")
    assert (nothing.exit_code, "propensity features build" in nothing.output) == (1, True)
    build, moments = weeks(make_build, 3)
    for moment in moments:
        publish(home, build, moment)
    rows = OnlineRows.open(home)
    one = Fresh(constant(7)[1][0], MOMENT + 30 * DAY)
    write_overlay(home, rows.current(), {"c000001": one, "new": one})
    lines = [" ".join(line.split()) for line in run(home, "status").output.splitlines()]
    features = len(NAMES)
    assert lines[-3:] == [
        f"{build.id} {iso(moments[2])} 50 {features} 2 served now",
        f"{build.id} {iso(moments[1])} 50 {features} 0 a rollback goes here",
        f"{build.id} {iso(moments[0])} 50 {features} 0 kept",
    ]


def test_a_rollback_says_what_it_would_do_does_it_and_refuses_where_there_is_nothing(
    home: Settings, make_build: MakeBuild
) -> None:
    """Else: in the night, the one command that must work is the one that nobody dares to try."""
    build, moments = weeks(make_build, 2)
    for moment in moments:
        publish(home, build, moment)
    rows = OnlineRows.open(home)
    planned = run(home, "rollback", "--dry-run")
    assert planned.exit_code == 0
    assert f"would serve {build.id}@20171203T000000Z (50 customers) again" in planned.output
    assert rows.current().moment == moments[1]
    done = run(home, "rollback")
    assert f"serving {build.id}@20171203T000000Z" in done.output
    assert f"{build.id}@20171210T000000Z is withdrawn" in done.output
    assert rows.current().moment == moments[0]
    assert "withdrawn" in run(home, "status").output
    for more in ((), ("--dry-run",)):
        refused = run(home, "rollback", *more)
        assert (refused.exit_code, "nothing from before" in refused.output) == (1, True)


def test_show_prints_what_is_served_of_one_customer_with_what_came_since(
    home: Settings, make_build: MakeBuild
) -> None:
    """Else: whoever doubts a score cannot see what it was made of."""
    build, (moment,) = weeks(make_build, 1)
    publish(home, build, moment)
    fresh = Fresh(constant(7)[1][0], MOMENT + DAY)
    write_overlay(home, OnlineRows.open(home).current(), {"c000001": fresh})
    row = json.loads(run(home, "show", "c000001", "--json").output)
    assert (row["customer_id"], row["known_at"]) == ("c000001", iso(MOMENT + DAY))
    assert list(row["features"]) == list(NAMES)
    assert row["features"][NAMES[0]] == float(fresh.row[0])
    shown = run(home, "show", "c000001").output
    assert f"c000001, known {iso(MOMENT + DAY)}" in shown
    assert all(name in shown for name in NAMES)
    refused = run(home, "show", "1")
    assert (refused.exit_code, "1: no such customer among the 50" in refused.output) == (1, True)

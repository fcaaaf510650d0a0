"""The calendar: what lies ahead may be known before, but never before it was."""

from datetime import date, timedelta
from pathlib import Path

import pytest
from dirty import bring_in, write_shop

from features.describe import measure
from features.errors import SettingsError
from features.ingestion.ingest import ingest
from features.log import Log
from features.moments import parse_moment
from features.settings import BUNDLED_SHOPS, Settings
from features.shop import Shop
from features.sources.calendar import KNOWN_DAYS, events_of
from monitoring import occasions

MAPPING = """
[mapping.web]
[[mapping.web.read]]
table = "orders"
files = "orders.csv"
[mapping.web.read.columns]
order_id = "no"
customer_id = "who"
at = "when"
amount = "paid"
channel = { value = "web" }
"""
CALENDAR = """
[calendar]
countries = ["CN"]
festivals = ["618", "11.11", "12.12"]
[[calendar.events]]
name = "Live evening"
kind = "live"
from = 2024-03-08T20:00:00
until = 2024-03-08T22:00:00
announced = 2024-03-01
[[calendar.events]]
name = "Clearance"
kind = "sale"
from = 2024-08-01
until = 2024-08-03
"""


def shop(folder: Path, calendar: str = CALENDAR) -> Settings:
    files = {"orders.csv": "no,who,when,paid\n1,a,2024-01-01 10:00,1\n"}
    return write_shop(folder, MAPPING + calendar, files, zone="Asia/Shanghai", currency="CNY")


def test_a_calendar_is_a_source_of_its_own_and_reaches_beyond_the_log(tmp_path: Path) -> None:
    made = shop(tmp_path)
    bring_in(made, "web")
    log = bring_in(made, "calendar")
    rows = {r["event_id"]: r for r in log.rows("calendar")}
    spring = rows["CN:2024-02-10"]
    assert (spring["name"], spring["kind"]) == ("Chinese New Year (Spring Festival) 春节", "holiday")
    assert (spring["at"], spring["until"]) == (
        parse_moment("2024-02-10T00:00:00+08:00"),
        parse_moment("2024-02-13T00:00:00+08:00"),
    )
    assert rows["618:2024"]["at"] == parse_moment("2024-06-18T00:00:00+08:00")
    ahead = [r["at"] - log.log.complete_until for r in rows.values()]
    assert max(ahead) > timedelta(days=400)
    assert sum(count for count in log.fates("calendar").values()) == len(rows), "every event is accounted for"
    assert measure(made).complete_until == Log.open(made).complete_until, (
        "it is described, though it ends nowhere"
    )


def test_nothing_is_known_before_it_could_be(tmp_path: Path) -> None:
    """Days off that were decreed for one year (the epidemic of 2020) would else be known a year early."""
    made = shop(tmp_path)
    bring_in(made, "web")
    rows = bring_in(made, "calendar").rows("calendar")
    own = {r["name"]: r for r in rows if r["event_id"].startswith("own:")}
    assert own["Live evening"]["known_at"] == parse_moment("2024-03-01T00:00:00+08:00")
    assert own["Live evening"]["until"] == parse_moment("2024-03-08T22:00:00+08:00")
    assert own["Clearance"]["known_at"] == own["Clearance"]["at"], "not announced: known when it begins"
    assert own["Clearance"]["until"] == parse_moment("2024-08-04T00:00:00+08:00"), (
        "its last day is a whole one"
    )
    for row in rows:
        if not row["event_id"].startswith("own:"):
            assert row["known_at"] == row["at"] - timedelta(days=KNOWN_DAYS)
    assert not any("substituted" in r["name"] or "Extended" in r["name"] for r in rows)


def test_an_event_added_later_changes_no_other(tmp_path: Path) -> None:
    made = shop(tmp_path)
    bring_in(made, "web")
    before = bring_in(made, "calendar").rows("calendar")
    text = (made.shop / "shop.toml").read_text("utf-8")
    more = '[[calendar.events]]\nname = "Later"\nkind = "sale"\nfrom = 2025-01-05\n'
    (made.shop / "shop.toml").write_text(text + more, "utf-8")
    after = bring_in(made, "calendar").rows("calendar")
    assert [r for r in after if "Later" not in r["name"]] == before


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('["CN"]', '["XX"]', "for 'XX' an ISO code such as CN"),
        ('["CN"]', '["GB-LON"]', "GB-ENG"),
        ('"618"', '"6.18"', "festivals is .*expected some of 618"),
        (
            'kind = "live"',
            'kind = "party"',
            r"events\[1\]\.kind is 'party': expected one of holiday, sale, live",
        ),
        (
            "from = 2024-08-01",
            'from = "2024-08-01"',
            r"events\[2\]\.from is '2024-08-01': expected a date or a time, without quotes",
        ),
        ("until = 2024-08-03", "until = 2024-07-03", r"events\[2\]\.until .*after `from`"),
        ("until = 2024-08-03", "until = 9999-12-31", r"events\[2\]\.until .*years 2 to 9998"),
        ("from = 2024-08-01", "from = 0001-01-01T00:00:00+14:00", r"events\[2\]\.from .*years 2 to 9998"),
        ("until = 2024-08-03", "till = 2024-08-03", "unknown key 'till'; did you mean 'until'"),
    ],
)
def test_what_is_wrong_in_a_calendar_is_named(tmp_path: Path, old: str, new: str, says: str) -> None:
    """Else whoever writes it reads a page of our code's places, or has a calendar that he did not mean."""
    made = shop(tmp_path, CALENDAR.replace(old, new))
    with pytest.raises(SettingsError, match=says):
        bring_in(made, "calendar")


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "America/New_York"])
def test_a_day_on_which_the_shop_is_closed_is_the_shops_own(tmp_path: Path, zone: str) -> None:
    """Else: orders that are lost the day before or after are excused, too."""
    text = '[calendar]\n[[calendar.events]]\nname = "closed"\nkind = "closed"\nfrom = 2024-12-24\nuntil = 2024-12-25\n'
    files = {"orders.csv": "no,who,when,paid\n1,a,2024-01-01 10:00,1\n"}
    made = write_shop(tmp_path, MAPPING + text, files, zone=zone, currency="CNY")
    ingest(made)
    days = occasions.closed(occasions.of_log(Log.open(made)))
    assert sorted(date(1970, 1, 1) + timedelta(days=day) for day in days) == [
        date(2024, 12, 24),
        date(2024, 12, 25),
    ]


def test_files_of_a_folder_are_taken_in_with_the_calendar(tmp_path: Path) -> None:
    """Else: a shop with one source and a calendar is told that the folder may be either's."""
    made = shop(tmp_path)
    (made.shop / "orders.csv").rename(tmp_path / "orders.csv")
    ingest(made, folder=tmp_path)
    assert {"orders", "calendar"} <= {*Log.open(made).tables}


def test_the_demos_shop_knows_its_holidays_and_when_it_is_closed() -> None:
    """Else: the first Christmas of the demo is a fault, and joins the message of every real one."""
    events = {event.name: event for event in events_of(Shop.load(BUNDLED_SHOPS / "complete_journey"))}
    assert {"Christmas Day", "Thanksgiving Day"} <= events.keys()
    assert events["closed on Christmas Day"].kind == "closed"

"""Whoever brings files in must see what is wrong with them, and a scheduler that something is."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from deliveries import deliver, order
from dirty import bring_in, write_shop

from features.errors import SourceError
from features.ingestion.ingest import take
from features.moments import parse_moment
from features.settings import Settings
from propensity import main

SHOP = """
[mapping.web]
[[mapping.web.read]]
table = "orders"
files = "orders.csv"
[mapping.web.read.columns]
order_id = "no"
customer_id = "who"
at = { column = "when", format = "%d/%m/%Y" }
amount = "paid"
channel = { value = "web" }
[[mapping.web.read]]
table = "interactions"
files = "visits.csv"
optional = true
[mapping.web.read.columns]
customer_id = "who"
at = "when"
kind = "what"
channel = { value = "web" }
"""
HEAD = "no,who,when,paid\n"


def _ingest(settings: Settings, *more: str) -> Result:
    here = {"PROPENSITY_HOME": str(settings.home), "PROPENSITY_SHOP": str(settings.shop)}
    return CliRunner().invoke(main, ["ingest", *more], env=here)


def _rows(first: int, last: int, day: str, id: str = "") -> str:
    return "".join(f"{id or n},c{n},{day},5\n" for n in range(first, last))


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_more_than_a_fifth_rejected_is_a_warning_with_a_value_as_it_was_given(
    tmp_path: Path, more: list[str]
) -> None:
    """A wrong format took 98 of 100 rows and exited 0: a scheduler went on, and nobody saw a value."""
    text = HEAD + _rows(0, 8, "13/01/2024") + _rows(8, 100, "2024-01-13 [red]" + "x" * 60)
    settings = write_shop(tmp_path, SHOP, {"orders.csv": text})
    result = _ingest(settings, *more)
    assert result.exit_code == 3, result.output
    flat = " ".join(result.output.split())
    assert "WARNING: 92 of the 100 rows of web for orders were rejected (92%)" in flat
    assert "2024-01-13 [red]" + "x" * 23 + "…" in flat, "as given, cut short, and no markup"
    assert "x" * 24 not in flat
    assert "orders.csv 9 at is not a moment" in flat, "the ninth row below the header"
    assert settings.home.joinpath("log/CURRENT").exists() is (not more), "the rest is in the log"
    if not more:
        assert _ingest(settings).exit_code == 3, "the same files again are no better"
        kept = [p for p in settings.home.rglob("*.json") if "[red]" in p.read_text("utf-8")]
        assert kept == [], "a value of a person stays in the rejects"


def test_a_file_that_may_lack_is_no_error_where_it_does(tmp_path: Path) -> None:
    log = bring_in(write_shop(tmp_path, SHOP, {"orders.csv": HEAD + _rows(0, 3, "13/01/2024")}))
    assert "interactions" not in log.log.tables
    optional = SHOP.replace('"orders.csv"', '"orders.csv"\noptional = true')
    with pytest.raises(SourceError, match="all of them are optional"):
        bring_in(write_shop(tmp_path / "none", optional, {}))


def test_a_few_rejected_rows_and_repeated_ones_are_no_warning(tmp_path: Path) -> None:
    """A shop that sends all its orders every day would be warned every day."""
    text = HEAD + _rows(0, 10, "13/01/2024") * 3 + _rows(10, 12, "no day")
    settings = write_shop(tmp_path, SHOP, {"orders.csv": text})
    result = _ingest(settings)
    assert (result.exit_code, "WARNING" in result.output) == (0, False), result.output
    assert "no day" in result.output


def test_when_every_row_is_rejected_the_error_shows_one(tmp_path: Path) -> None:
    settings = write_shop(tmp_path, SHOP, {"orders.csv": HEAD + _rows(0, 3, "2024-01-13")})
    with pytest.raises(SourceError, match="orders.csv, row 1: at is not a moment = 2024-01-13"):
        bring_in(settings)


def test_each_reason_shows_the_field_that_it_speaks_of_and_the_words_that_are_known(tmp_path: Path) -> None:
    files = {
        "orders.csv": HEAD + _rows(0, 20, "13/01/2024") + "5,c5,14/01/2024,5\n21,c1,14/01/2024,one\n,c2,,7\n",
        "visits.csv": "who,when,what\n" + "c1,2024-01-14 10:00,view\n" * 9 + "c1,2024-01-14 10:00,PV\n",
    }
    log = bring_in(write_shop(tmp_path, SHOP, files))
    shown = {(s.reason, s.file, s.row): (s.value, s.expected) for s in log.done.samples}
    assert shown == {
        ("a second row with the same order_id, that says otherwise", "orders.csv", 21): ("5", ""),
        ("amount is not an amount of money", "orders.csv", 22): (
            "one",
            "an amount as 12.50, or as its `decimal` says",
        ),
        ("no order_id", "orders.csv", 23): ("", "a value of order_id"),
        ("unknown kind of interaction", "visits.csv", 10): ("PV", "visit, view, cart, comment, live, login"),
    }
    assert log.done.lost == {}


def test_a_key_that_is_none_is_a_loss_and_the_same_again_is_not(tmp_path: Path) -> None:
    """Else a mapping that takes the shop's number for the order's keeps one order a shop, and exits 0."""
    files = {
        "orders.csv": HEAD + _rows(0, 20, "13/01/2024"),
        "orders_2.csv": HEAD + _rows(0, 20, "13/01/2024"),
    }
    shop = SHOP.replace('"orders.csv"', '"orders*.csv"')
    assert bring_in(write_shop(tmp_path / "again", shop, files)).done.lost == {}
    wrong = {**files, "orders_2.csv": HEAD + _rows(20, 40, "14/01/2024", id="7")}
    (of,) = bring_in(write_shop(tmp_path / "wrong", shop, wrong)).done.lost.values()
    assert of == (20, 40)


def test_what_two_fields_say_together_is_shown_together(tmp_path: Path) -> None:
    rows = [order(str(n), "a", "2017-01-02") for n in range(5)]
    rows += [order("9", "a", "2017-01-09", known_at="2017-01-08T00:00:00Z")]
    done = take(Settings(home=tmp_path / "home"), [deliver(tmp_path / "till", "till", {"orders": rows})])
    (sample,) = done.samples
    assert sample.reason == "known before it happened"
    assert sample.value == "at = 2017-01-09T12:00:00Z, known_at = 2…"


GIVEN = """
[mapping.till]
complete_until = 2024-06-01
[[mapping.till.read]]
table = "orders"
files = "a_*.csv"
decimal = ","
[mapping.till.read.columns]
order_id = { column = "no", prefix = "t:" }
customer_id = "who"
at = { join = ["day", "hour"], format = "%d/%m/%Y:%H.%M" }
amount = "paid"
channel = { value = "store" }
[[mapping.till.read]]
table = "orders"
files = "b_*.csv"
[mapping.till.read.columns]
order_id = "no"
customer_id = "who"
at = { column = "when", format = "%Y/%m/%d %H:%M" }
amount = "paid"
known_at = "told"
channel = { value = "store" }
"""
A_1 = """no,who,day,hour,paid
1,ann,03/02/2024,09.30,"5,50"
2,bob,03/02/2124,09.30,"5,50"
"""
B_1 = """no,who,when,told,paid
4,ann,2024/02/05 10:00,,5
5,bob,1924/02/05 10:00,,5
6,bob,2024/02/05 10:00,2024-02-04T10:00:00Z,5
"""


def test_what_is_shown_of_a_rejected_row_is_what_stands_in_its_file(tmp_path: Path) -> None:
    """A person looks for 03/02/2124 in the file, and does not find 2124-02-03 14:30:00+00."""
    settings = write_shop(tmp_path, GIVEN, {"a_1.csv": A_1, "b_1.csv": B_1}, zone="America/New_York")
    shown = {(s.file, s.row): (s.reason, s.value) for s in bring_in(settings).done.samples}
    assert shown["a_1.csv", 2][1] == "03/02/2124:09.30", shown
    assert shown["b_1.csv", 2][1] == "1924/02/05 10:00", shown
    reason, value = shown["b_1.csv", 3]
    assert reason == "known before it happened"
    assert "(as read)" in value, "what we have in our own way of writing it alone says so"


CASES = """
[mapping.desk]
[[mapping.desk.read]]
table = "cases"
files = "cases.csv"
[mapping.desk.read.columns]
case_id = "no"
customer_id = "who"
at = { column = "opened", format = "%d.%m.%Y" }
kind = { value = "complaint" }
change = { value = "opened" }
[[mapping.desk.read]]
table = "cases"
files = "cases.csv"
where = "closed is not null"
[mapping.desk.read.columns]
case_id = "no"
customer_id = "who"
at = { column = "closed", format = "%d.%m.%Y" }
kind = { value = "complaint" }
change = { value = "closed" }
"""


def test_the_time_at_fault_is_shown_where_a_file_is_read_twice(tmp_path: Path) -> None:
    """A case that is closed in 2124 was shown with the day on which it was opened, which is right."""
    rows = "no,who,opened,closed\n1,ann,03.02.2024,05.02.2024\n2,bob,04.02.2024,06.02.2124\n"
    files = {"cases.csv": rows, "orders.csv": HEAD + _rows(0, 5, "03/02/2024")}
    (sample,) = bring_in(write_shop(tmp_path, SHOP + CASES, files)).done.samples
    assert (sample.table, sample.row, sample.value) == ("cases", 2, "06.02.2124")


def test_an_unknown_zone_is_at_fault_and_not_the_time(tmp_path: Path) -> None:
    """Else somebody looks for what is wrong with a time that is right; one with an offset needs no zone."""
    times = [
        ("2024-01-13 10:00", "Europe/Berlin"), ("2024-01-13 10:00", "Mars/Base"), ("2024-01-13 10:00", ""),
        ("2024-01-13T10:00:00+02:00", "Mars/Base"), ("yesterday", "Mars/Base"),
    ]  # fmt: skip
    rows = "".join(f"{n},c{n},{at},5,{zone}\n" for n, (at, zone) in enumerate(times))
    shop = SHOP.replace('"when", format = "%d/%m/%Y" }', '"when", zone = { column = "tz" } }')
    settings = write_shop(tmp_path, shop, {"orders.csv": f"{HEAD.strip()},tz\n{rows}"})
    log = bring_in(settings)
    assert log.fates("orders") == {
        "accepted": 2, "rejected: at is not a moment": 1, "rejected: the zone of at is not known": 2,
    }  # fmt: skip
    of_zone, of_time = sorted(log.done.samples, key=lambda s: -s.rows)
    assert (of_zone.value, of_time.value) == ("Mars/Base", "yesterday")
    assert of_zone.expected.startswith("a zone as Europe/Berlin")
    sheet = tmp_path / "sheet.csv"
    here = {"PROPENSITY_HOME": str(settings.home), "PROPENSITY_SHOP": str(settings.shop)}
    CliRunner().invoke(main, ["rejects", "export", str(sheet)], env=here)
    text = sheet.read_text("utf-8-sig")
    assert text.count("2024-01-13 10:00") >= 2
    sheet.write_text(text.replace("2024-01-13 10:00,", "2024-01-13 10:00:00+01:00,"), "utf-8-sig")
    result = CliRunner().invoke(main, ["rejects", "take", str(sheet)], env=here)
    assert result.exit_code in (0, 3), result.output
    mended = [row for row in bring_in(settings).rows("orders") if row["order_id"] in "12"]
    assert [row["at"] for row in mended] == [parse_moment("2024-01-13T09:00:00Z")] * 2

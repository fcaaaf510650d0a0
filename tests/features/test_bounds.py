"""Slips of dates: a single row of 2071 or of 1900 must move neither end of the log."""

import csv
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from dirty import TILL, bring_in, write_shop

from features.describe import measure
from features.describe.verdict import judge
from features.ingestion.rejects import export, in_vain, take_in
from features.log import Log
from features.moments import iso, parse_moment
from features.settings import Settings, clock
from features.sources.bounds import AFTER, BEFORE, LATER
from propensity import main


def mapping(more: str = "") -> str:
    return f"[mapping.till]\n{more}\n{TILL}"


def orders(*odd: str) -> str:
    days = [f"2024-0{1 + n % 6}-1{n % 9}" for n in range(30)]
    return "no,who,day,paid\n" + "".join(f"{n},c{n % 9},{day},5\n" for n, day in enumerate([*days, *odd]))


def test_a_slip_of_a_date_moves_neither_end_of_the_log_and_a_rerun_gives_the_same_bytes(
    tmp_path: Path,
) -> None:
    """Else one typing error ends the log in 2071: every label is mature, and every customer has lapsed."""
    soon = f"{clock() + timedelta(days=30):%Y-%m-%d}"
    settings = write_shop(tmp_path, mapping(), {"orders.csv": orders("2071-03-04", "1900-01-01", soon)})
    log = bring_in(settings)
    rejected = {f"rejected: {why}": 1 for why in (AFTER, BEFORE, LATER)}
    assert log.fates("orders") == {"accepted": 30, **rejected}
    assert (f"{log.log.starts_at:%Y-%m}", f"{log.log.complete_until:%Y-%m}") == ("2024-01", "2024-06")
    assert {s.value[:4] for s in log.done.samples} == {"2071", "1900", soon[:4]}
    assert not bring_in(settings).done.changed
    shutil.rmtree(settings.home / "parts")
    assert bring_in(settings).log.fingerprint == log.log.fingerprint
    mended = tmp_path / "mended.csv"
    assert export(settings, mended) == 3
    rows = list(csv.DictReader(mended.read_text("utf-8").splitlines()))
    for row in rows:
        row["at"] = row["at"].replace("1900-", "2024-").replace("2071-", "2061-")
    with mended.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    assert in_vain(take_in(settings, mended)) == 1, "2061 is no better than 2071"
    assert len(Log.open(settings).read("orders")) == 31
    assert Log.open(settings).complete_until == log.log.complete_until


@pytest.mark.parametrize(
    ("more", "odd", "kept"),
    [
        ("first_day = 1980-01-01", "1991-05-05", 31),  # declared: then it may be old
        ("complete_until = 2090-01-01", f"{clock() + timedelta(days=40):%Y-%m-%d}", 31),  # a simulation
        ("", "2010-05-05", 31),  # a long pause is none of decades
        ("first_day = 2024-01-01", "2010-05-05", 30),
    ],
)
def test_what_is_declared_holds(tmp_path: Path, more: str, odd: str, kept: int) -> None:
    settings = write_shop(tmp_path, mapping(more), {"orders.csv": orders(odd)})
    assert len(bring_in(settings).rows("orders")) == kept


NOW = parse_moment("2024-06-19")  # of a log of the past: the clock is years later
AHEAD = ["2025-06-17"] * 10  # a quarter of the rows


def _ingest(settings: Settings, *more: str) -> tuple[int, str]:
    here = {"PROPENSITY_HOME": str(settings.home), "PROPENSITY_SHOP": str(settings.shop)}
    here |= {"PROPENSITY_AS_OF": iso(settings.as_of)} if settings.as_of else {}
    result = CliRunner().invoke(main, ["ingest", *more], env=here)
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result.exit_code, " ".join(result.output.split())


def test_rows_dated_after_now_never_end_the_log_however_many_they_are(tmp_path: Path) -> None:
    """A till a year ahead ended the log a year too late, exit code 0: labels were mature, and all lapsed."""
    settings = replace(write_shop(tmp_path, mapping(), {"orders.csv": orders(*AHEAD)}), as_of=NOW)
    for words in (["--dry-run"], [], []):
        code, text = _ingest(settings, *words)
        assert code == 3, text
        assert (
            "10 rows of till for orders are dated after the day on which they came, up to 2025-06-17" in text
        )
        assert "(the first: orders.csv, row 31)" in text
        assert "propensity rejects export" in text
        assert "[mapping.till] where its data ends: complete_until = 2025-06-17" in text
    log = Log.open(settings)
    assert f"{log.complete_until:%Y-%m}" == "2024-06"
    assert bring_in(settings).fates("orders") == {"accepted": 30, f"rejected: {LATER}": 10}
    assert any("dated after the day" in f.what.en for f in judge(measure(settings)).findings)
    again = replace(settings, home=tmp_path / "again")
    assert bring_in(again).log.fingerprint == log.fingerprint, "the same files, and the same now"
    toml = settings.shop / "shop.toml"
    meant = "[mapping.till]\ncomplete_until = 2025-06-17\n"
    toml.write_text(toml.read_text("utf-8").replace("[mapping.till]\n", meant), "utf-8")
    assert (_ingest(settings)[0], len(Log.open(settings).read("orders"))) == (0, 40)


def test_mended_rows_that_were_dated_after_now_are_warned_of_no_more(tmp_path: Path) -> None:
    """Else the nightly run warns for ever of what somebody put right."""
    settings = replace(write_shop(tmp_path, mapping(), {"orders.csv": orders(*AHEAD)}), as_of=NOW)
    assert _ingest(settings)[0] == 3
    sheet = tmp_path / "mended.csv"
    assert export(settings, sheet) == 10
    sheet.write_text(sheet.read_text("utf-8").replace("2025-06-17", "2024-06-17"), "utf-8")
    take_in(settings, sheet)
    assert len(Log.open(settings).read("orders")) == 40
    code, text = _ingest(settings)
    assert (code, "WARNING" in text) == (0, False), text


def test_what_a_replay_took_for_the_future_is_taken_in_when_now_is_later(tmp_path: Path) -> None:
    """Else whoever once ingested a log with an early PROPENSITY_AS_OF has lost its later half for good."""
    settings = write_shop(tmp_path, mapping(), {"orders.csv": orders()})
    whole = bring_in(replace(settings, home=tmp_path / "whole")).log
    early = bring_in(replace(settings, as_of=parse_moment("2024-03-20"))).log
    assert (len(early.read("orders")), f"{early.complete_until:%Y-%m}") == (15, "2024-03")
    for now in (NOW, None):
        assert bring_in(replace(settings, as_of=now)).log.fingerprint == whole.fingerprint
    assert bring_in(replace(settings, as_of=parse_moment("2024-03-20"))).log.fingerprint == early.fingerprint


@pytest.mark.parametrize("zone", ["America/New_York", "Pacific/Kiritimati"])
@pytest.mark.parametrize(
    "never", ["9999-12-31 23:59:59", "9999-12-31", "0001-01-01", "9999-12-31T23:59:59-12:00"]
)
def test_what_ends_never_can_be_read_again(tmp_path: Path, never: str, zone: str) -> None:
    """Else one offer that is open for ever, as many systems write it, ends every run that reads the log."""
    more = """
        [[mapping.till.read]]
        table = "contacts"
        files = "contacts.csv"
        [mapping.till.read.columns]
        contact_id = "no"
        customer_id = "who"
        at = "day"
        until = "end"
        action = { value = "news" }
        channel = { value = "mail" }
        [[mapping.till.read]]
        table = "calendar"
        files = "calendar.csv"
        [mapping.till.read.columns]
        event_id = "no"
        kind = { value = "sale" }
        name = "no"
        at = "day"
        until = "end"
        """
    ends = "" if never < "2024" else f"1,ann,2024-01-02,{never}\n"
    files = {
        "orders.csv": orders(),
        "contacts.csv": f"no,who,day,end\n1,ann,2024-01-02,{never}\n2,ann,2024-01-02,2024-01-05\n",
        "calendar.csv": f"no,who,day,end\n2,,{never},9999-12-31\n{ends}",
    }
    log = bring_in(write_shop(tmp_path, mapping() + more, files, zone))
    assert log.fates("contacts") == {"accepted": 2}
    assert {row["until"].year for row in log.rows("contacts")} == {int(never[:4]), 2024}
    assert max(row["until"].year for row in log.rows("calendar")) == 9999
    assert {row["at"].year for row in log.rows("calendar")} <= {int(never[:4]), 2024}

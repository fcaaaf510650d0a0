"""Slips of dates: a single row of 2071 or of 1900 must move neither end of the log."""

import csv
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from dirty import TILL, bring_in, write_shop

from features.ingestion.rejects import export, in_vain, take_in
from features.log import Log
from features.settings import clock
from features.sources.bounds import AFTER, BEFORE, LATER


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

"""Orders that are mended by hand, and their lines, which say neither a customer nor a time themselves."""

import csv
from pathlib import Path
from typing import Any

import pytest
from builds_by_hand import MOMENT, NAMES, constant, write_build
from click.testing import CliRunner
from dirty import bring_in, write_shop
from test_mended import _give_back

from features.ingestion import rejects
from features.ingestion.ingest import Ingested
from features.log import Log
from features.settings import Settings
from propensity import main
from propensity.erasing import erase

MAPPING = """
[mapping.shop]
[[mapping.shop.read]]
table = "orders"
files = "orders.csv"
[mapping.shop.read.columns]
order_id = "no"
customer_id = "who"
at = "when"
amount = "total"
channel = { value = "store" }
[mapping.shop.read.cancelled]
column = "state"
values = ["cancelled"]
[[mapping.shop.read]]
table = "order_lines"
files = "lines.csv"
[mapping.shop.read.columns]
order_id = "no"
product_id = "item"
items = "n"
amount = "paid"
"""
ORDERS = """no,who,when,total,state
1,ann,2024-01-05 10:00,10.00,
2,bob,2024-01-06 10:00,12.00,
3,cid,2024-01-07 10:00,9.00,
4,ann,2024-01-08 10:00,-4.00,
5,dot,2024-01-09 10:00,5.00,cancelled
6,eve,2024-02-10 10:00,8.00,
"""
LINES = """no,item,n,paid
1,tea,1,4.00
1,cup,2,6.00
2,tea,3,12.00
3,pot,1,9.00
4,tea,1,4.00
5,cup,1,5.00
6,tea,2,8.00
"""
BROKEN = {  # of each order one cell that nobody can read
    "2,bob,2024-01-06": "2,bob,2024-71-06",
    "3,cid,2024-01-07 10:00,9.00": "3,xid,2024-01-07 10:00,9z00",
    "4,ann,2024-01-08 10:00,-4.00": "4,ann,2024-01-08 10:00,-4z00",
    "5,dot,2024-01-09 10:00,5.00": "5,dot,2024-01-09 10:00,5z00",
}
RIGHT = {
    "2": {"at": "2024-01-06 10:00"},
    "3": {"customer_id": "cid", "amount": "9.00"},
    "4": {"amount": "-4.00"},
    "5": {"amount": "5.00"},
}


def _shop(folder: Path, orders: str = ORDERS, lines: str = LINES) -> Settings:
    settings = write_shop(folder, MAPPING, {"orders.csv": orders, "lines.csv": lines})
    bring_in(settings)
    return settings


def _broken() -> str:
    text = ORDERS
    for right, wrong in BROKEN.items():
        assert right in text
        text = text.replace(right, wrong)
    return text


def _waiting(settings: Settings, path: Path) -> list[dict[str, str]]:
    rejects.export(settings, path)
    return list(csv.DictReader(path.read_text("utf-8").splitlines()))


def _mend(
    settings: Settings,
    path: Path,
    orders: dict[str, dict[str, str]],
    lines: dict[str, dict[str, str]] | None = None,
) -> Ingested:
    """Order -> what is right of it, in rejected orders; the same, of rejected lines."""
    right = {"orders": orders, "order_lines": lines or {}}
    rows = [row | right[row["table"]].get(row["order_id"], {}) for row in _waiting(settings, path)]
    return _give_back(settings, path, rows)


def _rows(settings: Settings, table: str) -> list[dict[str, Any]]:
    return sorted(Log.open(settings).read(table).to_pylist(), key=lambda r: [str(v) for v in r.values()])


def test_lines_come_in_with_their_order_once_that_is_mended(tmp_path: Path) -> None:
    """Else what was bought in a mended order is in no feature, and "its order is not there" is said of it."""
    clean, dirty = _shop(tmp_path / "clean"), _shop(tmp_path / "dirty", _broken())
    done = _mend(dirty, tmp_path / "a.csv", RIGHT)
    assert rejects.in_vain(done) == 0, done.account
    for table in ("orders", "order_lines", "cases", "identities"):
        assert _rows(dirty, table) == _rows(clean, table), table
    assert {r.rows - r.mended for r in rejects.reasons(dirty)} == {0}
    told = {c.what: c.rows for c in done.account if (c.source, c.table) == ("mended", "order_lines")}
    assert told == {"came in with their mended order": 4}
    command = ["rejects", "take", str(tmp_path / "a.csv")]
    env = {"PROPENSITY_HOME": str(dirty.home), "PROPENSITY_SHOP": str(dirty.shop)}
    assert "4 lines came in with their mended orders" in CliRunner().invoke(main, command, env=env).output
    assert not bring_in(dirty).done.changed


def test_lines_of_an_order_that_was_mended_late_are_known_with_it(tmp_path: Path) -> None:
    """Else the log says of the past what nobody knew then, and every earlier snapshot is another one."""
    settings = _shop(tmp_path, _broken())
    write_build(settings, NAMES, {MOMENT: constant(1)})
    before, until = _rows(settings, "order_lines"), Log.open(settings).complete_until
    _mend(settings, tmp_path / "a.csv", RIGHT)
    after = _rows(settings, "order_lines")
    assert [row for row in after if row["order_id"] in ("1", "6")] == before
    assert {row["order_id"] for row in after if row["known_at"] == until} == {"2", "3", "4", "5"}
    assert len(after) == 7


def test_lines_that_are_delivered_after_their_order_was_mended_come_in_too(tmp_path: Path) -> None:
    """Else tomorrow's lines of an order that was mended today are rejected for ever."""
    settings = _shop(tmp_path, _broken(), LINES.replace("3,pot,1,9.00\n", ""))
    _mend(settings, tmp_path / "a.csv", RIGHT)
    (settings.shop / "lines.csv").write_text(LINES, "utf-8")
    bring_in(settings)
    (line,) = (row for row in _rows(settings, "order_lines") if row["order_id"] == "3")
    assert (line["customer_id"], line["product_id"]) == ("cid", "pot")
    (settings.shop / "orders.csv").write_text(ORDERS, "utf-8")  # put right after all: that holds, once
    bring_in(settings)
    assert _rows(settings, "order_lines") == _rows(_shop(tmp_path / "clean"), "order_lines")


def test_a_line_that_is_no_better_waits_although_its_order_was_mended(tmp_path: Path) -> None:
    """Else a row that breaks the contract is in the log."""
    lines = LINES.replace("2,tea,3,12.00", "2,tea,3,12z00\n2,cup,0,0.00")
    settings = _shop(tmp_path, _broken(), lines)
    _mend(settings, tmp_path / "a.csv", RIGHT)
    waiting = _waiting(settings, tmp_path / "b.csv")
    assert {(r["order_id"], r["product_id"]) for r in waiting} == {("2", "tea"), ("2", "cup")}


@pytest.mark.parametrize("wrong", ["77", "2"])
def test_a_mended_line_has_the_customer_and_the_time_of_its_order(tmp_path: Path, wrong: str) -> None:
    """Else it is "left out: anonymous", with exit 0, and the goods are lost. 2: mended in the same sheet."""
    lines = LINES.replace("1,cup,2,6.00", f"{wrong},cup,2x,6.00").replace("2,tea,3,12.00", "2,tea,3,12z00")
    settings, clean = _shop(tmp_path, _broken(), lines), _shop(tmp_path / "clean")
    rows = _waiting(settings, tmp_path / "a.csv")
    for row in rows:
        if row["table"] == "orders":
            row |= RIGHT[row["order_id"]]
        elif row["product_id"] == "cup" and row["order_id"] == wrong:
            row |= {"order_id": "1", "items": "2"}
        elif row["order_id"] == "2":
            row["amount"] = "12.00"
    assert {r["customer_id"] for r in rows if r["table"] == "order_lines"} == {""}, "not the order's old one"
    done = _give_back(settings, tmp_path / "a.csv", rows)
    assert rejects.in_vain(done) == 0, done.account

    def unnumbered(settings: Settings) -> list[dict[str, Any]]:
        return [{**row, "line": None} for row in _rows(settings, "order_lines")]

    key = str
    assert sorted(unnumbered(settings), key=key) == sorted(unnumbered(clean), key=key)
    assert not bring_in(settings).done.changed


def test_what_a_mended_row_lacks_is_told_as_not_taken_in(tmp_path: Path) -> None:
    """Else exit 0 is said of a purchase that is nowhere."""
    lines = LINES.replace("1,cup,2,6.00", "77,cup,2x,6.00")
    settings = _shop(tmp_path, _broken(), lines)
    nobody = {"3": {"customer_id": "", "amount": "9.00"}}
    done = _mend(settings, tmp_path / "a.csv", nobody, {"77": {"items": "2"}})
    told = {(c.table, c.what) for c in done.account if c.source == "mended" and not c.accepted}
    assert told == {
        ("orders", "not mended: no customer_id"),
        ("order_lines", "not mended: its order is not among the orders"),
    }
    assert rejects.in_vain(done) == 2


def test_who_came_in_by_mending_alone_has_an_account_and_can_be_erased_by_it(tmp_path: Path) -> None:
    """Else `erase --source shop --id cid` says that nobody of that id is there, and keeps her."""
    settings = _shop(tmp_path, _broken())
    _mend(settings, tmp_path / "a.csv", RIGHT)
    assert _rows(settings, "identities") == _rows(_shop(tmp_path / "clean"), "identities")
    assert erase(settings, None, ("shop", "cid")).removed
    held = [r for t in ("orders", "order_lines", "identities") for r in _rows(settings, t)]
    assert "cid" not in {row["customer_id"] for row in held}

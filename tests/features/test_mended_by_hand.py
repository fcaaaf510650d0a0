"""Corrections that say more than the cell at fault, and files that change after them."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from builds_by_hand import MOMENT, NAMES, constant, write_build
from dirty import bring_in, write_shop
from test_mended import RECEIPT_LINES, STATED, TOTALS, _give_back, _money

from features.ingestion import rejects
from features.ingestion.ingest import Ingested
from features.log import Log
from features.settings import Settings

NUMBERED = RECEIPT_LINES.format(total="") + 'line = "nr"\n'
HEAD = "bon,nr,who,when,item,paid\n"
ONE = HEAD + "1,1,ann,2024-01-05 10:00,tea,4.00\n2,1,ann,2024-01-06 10:00,cup,5z00\n"
CATALOGUE = """[[mapping.till.read]]
table = "products"
files = "products.csv"
[mapping.till.read.columns]
product_id = "item"
category = "group"
"""


def _mend(settings: Settings, path: Path, how: Callable[[dict[str, str]], dict[str, str]]) -> Ingested:
    """Every waiting row, as `how` changes it."""
    rejects.export(settings, path)
    rows = [row | how(row) for row in csv.DictReader(path.read_text("utf-8").splitlines())]
    return _give_back(settings, path, rows)


def _told(done: Ingested) -> set[str]:
    return {c.what for c in done.account if c.source == "mended" and c.table == "order_lines"}


def test_a_line_moved_to_where_another_stands_is_refused_and_waits(tmp_path: Path) -> None:
    """Else "accepted" is said of a purchase that is nowhere. Where the same stands there, it is there."""
    settings = write_shop(tmp_path, NUMBERED, {"lines.csv": ONE})
    bring_in(settings)
    done = _mend(settings, tmp_path / "a.csv", lambda row: {"order_id": "1", "amount": "5.00"})
    assert rejects.in_vain(done) == 1
    assert _told(done) == {"not mended: the same order_id, given line as a row of till, that says otherwise"}
    assert [r.mended for r in rejects.reasons(settings)] == [0]
    same = {"order_id": "1", "at": "2024-01-05 10:00", "product_id": "tea", "amount": "4.00"}
    assert rejects.in_vain(_mend(settings, tmp_path / "b.csv", lambda row: same)) == 0
    assert _money(settings, "order_lines") == {"1": 4.0}


def test_whoever_moves_a_line_is_told_that_its_number_may_be_left_out(tmp_path: Path) -> None:
    """ "What no other row has there" helps nobody who does not know that the number is ours to give."""
    settings = write_shop(tmp_path, NUMBERED, {"lines.csv": ONE})
    bring_in(settings)
    done = _mend(
        settings, tmp_path / "a.csv", lambda row: {"order_id": "1", "amount": "5.00", "customer_id": "ann"}
    )
    assert any("`given line` empty" in s.expected for s in done.samples), done.samples
    cells = {"order_id": "1", "amount": "5.00", "given line": ""}
    assert rejects.in_vain(_mend(settings, tmp_path / "b.csv", lambda row: cells)) == 0
    assert _money(settings, "order_lines") == {"1": 9.0}


@pytest.mark.parametrize("number", ["1", "7"])
def test_a_file_that_was_put_right_holds_and_what_was_mended_of_it_goes(tmp_path: Path, number: str) -> None:
    """Else the goods are there twice: by hand, and by the file, under whichever number it has the line."""
    settings = write_shop(tmp_path, NUMBERED, {"lines.csv": ONE})
    bring_in(settings)
    _mend(settings, tmp_path / "a.csv", lambda row: {"amount": "5.00"})
    assert _money(settings, "orders") == {"1": 4.0, "2": 5.0}
    right = ONE.replace("2,1,ann,2024-01-06 10:00,cup,5z00", f"2,{number},ann,2024-01-06 10:00,cup,6.00")
    (settings.shop / "lines.csv").write_text(right, "utf-8")
    done = bring_in(settings).done
    assert rejects.in_vain(done) == 0, done.account
    assert _money(settings, "orders") == _money(settings, "order_lines") == {"1": 4.0, "2": 6.0}


def test_what_was_mended_stays_mended_when_its_file_has_more_rows_before_it(tmp_path: Path) -> None:
    """Else a day's work of corrections is lost with the next delivery of the same file."""
    settings = write_shop(tmp_path, NUMBERED, {"lines.csv": ONE})
    bring_in(settings)
    _mend(settings, tmp_path / "a.csv", lambda row: {"amount": "5.00"})
    more = ONE.replace(HEAD, HEAD + "0,1,bob,2024-01-04 10:00,pot,1.00\n")
    (settings.shop / "lines.csv").write_text(more, "utf-8")
    bring_in(settings)
    assert _money(settings, "order_lines") == {"0": 1.0, "1": 4.0, "2": 5.0}
    assert [(r.rows, r.mended) for r in rejects.reasons(settings)] == [(1, 1)]


def test_what_was_mended_stays_when_its_receipt_has_another_row_before_it(tmp_path: Path) -> None:
    """Else the number that the row had is another row's by now, and the goods are in no order."""
    lines = ONE.replace("2,1,ann,2024-01-06 10:00,cup", "1,2,ann,2024-01-05 10:00,cup")
    settings = write_shop(tmp_path, RECEIPT_LINES.format(total=""), {"lines.csv": lines})
    bring_in(settings)
    _mend(settings, tmp_path / "a.csv", lambda row: {"amount": "5.00"})
    more = lines.replace(HEAD, HEAD + "1,0,ann,2024-01-05 10:00,pot,1.00\n")
    (settings.shop / "lines.csv").write_text(more, "utf-8")
    done = bring_in(settings).done
    assert rejects.in_vain(done) == 0, done.account
    assert _money(settings, "order_lines") == _money(settings, "orders") == {"1": 10.0}


def test_a_line_is_of_the_category_of_the_product_that_it_has_by_now(tmp_path: Path) -> None:
    """Else tea is sold as a cup: the sheet's category is that of the product which was wrong."""
    files = {"lines.csv": ONE, "products.csv": "item,group\ntea,teas\ncup,cups\n"}
    settings = write_shop(tmp_path, NUMBERED + CATALOGUE, files)
    bring_in(settings)
    _mend(settings, tmp_path / "a.csv", lambda row: {"product_id": "tea", "amount": "5.00"})
    lines = Log.open(settings).read("order_lines").to_pylist()
    assert [(r["product_id"], r["category"]) for r in lines] == [("tea", "teas"), ("tea", "teas")]


@pytest.mark.parametrize("used", [False, True])
def test_a_mended_product_describes_all_lines_of_it(tmp_path: Path, used: bool) -> None:
    """Else only half of a category's sales count. Not of lines that somebody has used without it; those that
    were known after the log's end nobody has."""
    lines = ONE + "3,1,bob,2024-01-05 11:00,cup,2.00\n4,1,bob,2024-01-07 10:00,cup,2.00\n"
    files = {"lines.csv": lines, "products.csv": "item,group\n,cups\n"}
    settings = write_shop(tmp_path, NUMBERED + CATALOGUE, files)
    bring_in(settings)
    if used:
        write_build(settings, NAMES, {MOMENT: constant(1)})
    right = {"order_lines": {"amount": "5.00"}, "products": {"product_id": "cup"}}
    assert rejects.in_vain(_mend(settings, tmp_path / "a.csv", lambda row: right[row["table"]])) == 0
    found = {r["order_id"]: r["category"] for r in Log.open(settings).read("order_lines").to_pylist()}
    assert found == {"1": None, "2": "cups", "3": None if used else "cups", "4": "cups"}


@pytest.mark.parametrize("used", [False, True])
def test_a_total_that_a_file_gives_is_the_order_and_not_the_sum_of_its_lines(
    tmp_path: Path, used: bool
) -> None:
    """Else what the till took (13.00, with a line that no file has) is lost, and "accepted" is said of it."""
    lines = "bon,who,when,item,paid\n1,ann,2024-01-05 10:00,tea,4.00\n3,bob,2024-03-01 10:00,tea,9.00\n"
    stated = STATED.replace("13.00", "13.00,spilt").replace("2,ann,2024-01-06 10:00,6.00\n", "")
    settings = write_shop(
        tmp_path, RECEIPT_LINES.format(total=TOTALS), {"lines.csv": lines, "totals.csv": stated}
    )
    bring_in(settings)
    assert _money(settings, "orders") == {"1": 4.0, "3": 9.0}
    if used:
        write_build(settings, NAMES, {MOMENT: constant(1)})
    row = {"order_id": "1", "customer_id": "ann", "at": "2024-01-05 10:00", "amount": "13.00"}
    done = _mend(settings, tmp_path / "a.csv", lambda _: row)
    assert rejects.in_vain(done) == (1 if used else 0), done.account
    assert _money(settings, "orders") == {"1": 4.0 if used else 13.0, "3": 9.0}

"""Rows that leave the log must be told, and rows that only stand elsewhere in their file must not."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from dirty import TILL, bring_in, rewrite, write_shop
from test_mended import LINES, RECEIPT_LINES, STATED

from features.ingestion import rejects
from features.ingestion.shrinkage import Shrunk
from features.settings import Settings
from propensity import main
from propensity.erasing import erase

VISITS = """
[mapping.web]
[[mapping.web.read]]
table = "interactions"
files = "visits.csv"
[mapping.web.read.columns]
customer_id = "who"
at = "when"
kind = { value = "visit" }
channel = { value = "web" }
"""
VISIT_ROWS = ["ann,2024-01-05 10:00", "bob,2024-01-06 10:00", "bob,2024-01-06 10:00"]


def _ingest(settings: Settings) -> tuple[int, str]:
    here = {"PROPENSITY_HOME": str(settings.home), "PROPENSITY_SHOP": str(settings.shop)}
    result = CliRunner().invoke(main, ["ingest"], env=here)
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result.exit_code, " ".join(result.output.split())


def _mend(settings: Settings, path: Path, mended: dict[str, dict[str, str]]) -> None:
    """Product -> its corrected cells."""
    rejects.export(settings, path)
    rewrite(path, lambda row: mended.get(f"{row['order_id']}:{row['product_id']}", {}))
    assert rejects.in_vain(rejects.take_in(settings, path)) == 0


@pytest.fixture
def shop(tmp_path: Path) -> Settings:
    files = {"lines.csv": LINES, "totals.csv": STATED}
    settings = write_shop(tmp_path, RECEIPT_LINES.format(total=""), files)
    bring_in(settings)
    return settings


@pytest.mark.parametrize(
    "after",
    [
        LINES.replace("2,ann,2024-01-06 10:00,tea,5z00\n2,ann,2024-01-06 10:00,cup,1x00\n", ""),
        LINES.replace("5z00", "5y00").replace("1x00", "1y00"),
    ],
)
def test_a_mended_row_whose_file_has_it_no_more_is_told(shop: Settings, tmp_path: Path, after: str) -> None:
    """The log lost rows that it had, exit code 0: whoever mended them believes that they are there."""
    _mend(shop, tmp_path / "a.csv", {"2:tea": {"amount": "5.00"}, "2:cup": {"amount": "1.00"}})
    (tmp_path / "shop" / "lines.csv").write_text(after)
    code, text = _ingest(shop)
    assert code == 3, text
    assert (
        "2 rows of till for order_lines that the log had are in its files no more, the earliest of 2024-01-06"
        in text
    )
    assert "2 of them had been mended" in text, text
    assert not bring_in(shop).done.shrunk, "it is told once"


def test_a_file_that_is_put_right_lost_nothing(shop: Settings, tmp_path: Path) -> None:
    """Numbers of lines are ours: whoever corrects a file as it was mended is told that rows are gone."""
    cells = {"1:cup": {"order_id": "3", "amount": "3.00", "customer_id": "bob", "given line": ""}}
    _mend(shop, tmp_path / "a.csv", cells)
    right = LINES.replace("1,ann,2024-01-05 10:00,cup,3x00", "3,bob,2024-01-05 10:00,cup,3.00")
    (tmp_path / "shop" / "lines.csv").write_text(right)
    assert not bring_in(shop).done.shrunk


def test_rows_before_others_change_no_row(tmp_path: Path) -> None:
    """An export that has its newest row first would be told to have lost every event of the log."""
    head = "who,when\n"
    orders = "no,who,day,paid\n1,ann,2024-01-04,5\n2,bob,2024-01-05,6\n"
    files = {"visits.csv": head + "\n".join(VISIT_ROWS) + "\n", "orders.csv": orders}
    settings = write_shop(tmp_path, "[mapping.till]\n" + TILL + VISITS, files)
    bring_in(settings)
    visits = tmp_path / "shop" / "visits.csv"
    visits.write_text(head + "\n".join(["cid,2024-01-05 09:00", *VISIT_ROWS]) + "\n")
    assert not bring_in(settings).done.shrunk
    visits.write_text(head + "\n".join(["cid,2024-01-05 09:00", *VISIT_ROWS[:2]]) + "\n")
    assert bring_in(settings).done.shrunk == (Shrunk("web", "interactions", 1, "2024-01-06"),)


def test_rows_at_the_top_of_a_receipt_change_its_lines_numbers_alone(shop: Settings, tmp_path: Path) -> None:
    lines = tmp_path / "shop" / "lines.csv"
    lines.write_text(LINES.replace("1,ann,2024-01-05 10:00,pot,6.00\n", ""))
    assert bring_in(shop).done.shrunk == (Shrunk("till", "order_lines", 1, "2024-01-05"),)
    lines.write_text(LINES)
    bring_in(shop)
    lines.write_text(
        LINES.replace(
            "1,ann,2024-01-05 10:00,tea,4.00\n1,ann,2024-01-05 10:00,cup,3x00\n",
            "1,ann,2024-01-05 10:00,tea,4.00\n",
        )
    )
    assert not bring_in(shop).done.shrunk, "the last line has another number now"


def test_a_correction_that_does_not_count_any_more_is_told(shop: Settings, tmp_path: Path) -> None:
    """Its row waits again, and another has its place: the count of rows is what it was."""
    _mend(shop, tmp_path / "a.csv", {"1:cup": {"amount": "3.00"}})
    lines = tmp_path / "shop" / "lines.csv"
    head, rest = LINES.split("\n", 1)
    lines.write_text(f"{head}\n1,ann,2024-01-05 10:00,jam,2.00\n{rest}")
    brought = bring_in(shop)
    there = [r["product_id"] for r in brought.rows("order_lines") if r["order_id"] == "1"]
    gone = () if "cup" in there else (Shrunk("till", "order_lines", 1, "2024-01-05", 1),)
    assert brought.done.shrunk == gone


def test_rows_of_a_time_that_was_complete_are_told_unless_they_say_when_they_came(tmp_path: Path) -> None:
    """They change what was known on past days, and so what a model learned from: silently."""
    head = "no,who,day,paid\n"
    first = "2,bob,2024-02-05,6\n3,ann,2024-03-05,6\n"
    settings = write_shop(tmp_path, "[mapping.till]\n" + TILL, {"orders.csv": head + first})
    assert not bring_in(settings).done.late
    erase(settings, "bob")
    orders = tmp_path / "shop" / "orders.csv"
    orders.write_text(head + "4,cid,2024-01-09,6\n" + first + "5,cid,2024-04-09,6\n")
    code, text = _ingest(settings)
    assert (code, "note: 1 rows of till for orders, the earliest of 2024-01-09, are new" in text) == (
        0,
        True,
    ), text
    toml = settings.shop / "shop.toml" if settings.shop else tmp_path
    dated = toml.read_text().replace('files = "orders.csv"', 'files = "orders.csv"\ndelivered = 2024-05-01')
    toml.write_text(dated)
    bring_in(settings)
    orders.write_text(orders.read_text() + "6,dan,2024-01-10,6\n")
    assert not bring_in(settings).done.late

"""Mended rows of customers and products: what was known before stays, and what cannot be said is refused."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from dirty import TILL, bring_in, rewrite, write_shop

from features.compute.engine import build
from features.errors import UsageError
from features.ingestion import rejects
from features.log import Log
from features.moments import parse_moment
from features.settings import Settings
from propensity import main

MEMBERS = (
    "[mapping.till]\n"
    + TILL
    + """
[[mapping.till.read]]
table = "customers"
files = "members.csv"
attributes = ["city"]
[mapping.till.read.columns]
customer_id = "who"
at = "since"
"""
)
FILES = {
    "orders.csv": "no,who,day,paid\n1,a,2024-01-10,5\n2,b,2024-01-20,5\n3,a,2024-04-10,5\n",
    "members.csv": "who,since,city\na,2023-13-02,Leeds\nb,2023-12-30,York\n",
}
THEN = parse_moment("2024-03-01")


def _mended(settings: Settings, path: Path, **cells: str) -> None:
    rejects.export(settings, path)
    rewrite(path, lambda row: cells)


def test_a_customer_mended_after_a_build_leaves_earlier_snapshots_as_they_were(tmp_path: Path) -> None:
    """Else a model learns from what nobody knew then, although the sheet's words say otherwise."""
    settings = write_shop(tmp_path, MEMBERS, FILES)
    bring_in(settings)
    end = Log.open(settings).complete_until
    before, _ = build(settings, [THEN])
    known = before.read(THEN, ["customer_id", "days_known"]).to_pylist()
    _mended(settings, tmp_path / "a.csv", at="2023-06-01")
    done = rejects.take_in(settings, tmp_path / "a.csv")
    assert rejects.in_vain(done) == 0
    after, _ = build(settings, [THEN, end])
    assert after.read(THEN, ["customer_id", "days_known"]).to_pylist() == known
    since = {
        r["customer_id"]: r["days_known"] for r in after.read(end, ["customer_id", "days_known"]).to_pylist()
    }
    assert since["a"] == (end - parse_moment("2023-05-31T23:00:00Z")).days, "the log's end knows it"
    cities = [
        dict(r["attributes"] or ())
        for r in Log.open(settings).read("customers").to_pylist()
        if r["customer_id"] == "a"
    ]
    assert {"city": "Leeds"} in cities
    assert sum(r["known_at"] < end for r in Log.open(settings).read("customers").to_pylist()) == 2


def test_a_customer_mended_before_any_build_is_as_if_right_at_once(tmp_path: Path) -> None:
    settings = write_shop(tmp_path, MEMBERS, FILES)
    bring_in(settings)
    _mended(settings, tmp_path / "a.csv", at="2023-06-01")
    rejects.take_in(settings, tmp_path / "a.csv")
    (row,) = (r for r in Log.open(settings).read("customers").to_pylist() if r["customer_id"] == "a")
    assert row["at"] == parse_moment("2023-05-31T23:00:00Z")
    assert dict(row["attributes"]) == {"city": "Leeds"}


@pytest.mark.parametrize("broken", ['{"city": ', "[1]", "Leeds"])
def test_attributes_that_are_broken_in_the_sheet_are_refused(tmp_path: Path, broken: str) -> None:
    """Else the row counts as mended, and what was known of the customer is nothing."""
    settings = write_shop(tmp_path, MEMBERS, FILES)
    bring_in(settings)
    _mended(settings, tmp_path / "a.csv", at="2023-06-01", attributes=broken)
    done = rejects.take_in(settings, tmp_path / "a.csv")
    assert rejects.in_vain(done) == 1
    (sample,) = (s for s in done.samples if s.file == "a.csv")
    assert "attributes is not a JSON object" in sample.reason
    assert [r.mended for r in rejects.reasons(settings) if r.table == "customers"] == [0]


GOODS = """[mapping.till]
[[mapping.till.read]]
table = "order_lines"
files = "lines*.csv"
[mapping.till.read.columns]
order_id = "no"
customer_id = "who"
at = "day"
product_id = "what"
amount = "paid"
channel = { value = "store" }
[[mapping.till.read]]
table = "products"
files = "goods.csv"
[mapping.till.read.columns]
product_id = "sku"
category = "kind"
"""


def test_a_product_mended_after_a_build_holds_for_later_lines_and_the_words_say_so(tmp_path: Path) -> None:
    """Else it counts as accepted, changes nothing for ever, and nobody is told."""
    files = {
        "lines.csv": "no,who,day,what,paid\n1,a,2024-01-10,tea,5\n2,b,2024-02-20,rice,5\n",
        "goods.csv": "sku,kind\n,drinks\nrice,food\n",
    }
    settings = write_shop(tmp_path, GOODS, files)
    bring_in(settings)
    end = Log.open(settings).complete_until
    build(settings, [end])
    _mended(settings, tmp_path / "a.csv", product_id="tea")
    env = {"PROPENSITY_HOME": str(settings.home), "PROPENSITY_SHOP": str(settings.shop)}
    taken = CliRunner().invoke(main, ["rejects", "take", str(tmp_path / "a.csv")], env=env)
    assert taken.exit_code == 0, taken.output
    assert "1 mended products hold for lines that are known after" in taken.output
    (settings.shop / "lines2.csv").write_text("no,who,day,what,paid\n3,a,2024-04-10,tea,5\n")
    lines = {r["order_id"]: r["category"] for r in bring_in(settings).rows("order_lines")}
    assert lines == {"1": None, "2": "food", "3": "drinks"}


def test_an_old_sheet_taken_again_says_nothing_of_what_was_mended_since(tmp_path: Path) -> None:
    """Else whoever takes last week's sheet again looks for a row that does not wait."""
    settings = write_shop(tmp_path, MEMBERS, FILES)
    bring_in(settings)
    old = tmp_path / "old.csv"
    _mended(settings, old, at="soon")
    assert rejects.in_vain(rejects.take_in(settings, old)) == 1
    assert rejects.in_vain(rejects.take_in(settings, old)) == 1, "it waits still"
    _mended(settings, tmp_path / "new.csv", at="2023-06-01")
    rejects.take_in(settings, tmp_path / "new.csv")
    assert rejects.in_vain(rejects.take_in(settings, old)) == 0


def test_a_column_that_was_renamed_is_named_once_and_nothing_is_taken(tmp_path: Path) -> None:
    """Else every row is told to lack its time, and whoever mended them looks at each."""
    settings = write_shop(tmp_path, MEMBERS, FILES)
    bring_in(settings)
    sheet = tmp_path / "a.csv"
    _mended(settings, sheet, at="2023-06-01")
    sheet.write_text(sheet.read_text().replace(",at,", ",since,"))
    with pytest.raises(UsageError, match="no column at, but since, which no sheet has"):
        rejects.take_in(settings, sheet)
    assert [r.mended for r in rejects.reasons(settings) if r.table == "customers"] == [0]


SCORES = """
[[mapping.till.read]]
table = "scores"
files = "scores.csv"
scores = ["credit"]
[mapping.till.read.columns]
customer_id = "who"
known_at = "asked"
"""


def test_a_score_without_its_time_lacks_the_column_that_its_mapping_names(tmp_path: Path) -> None:
    """Its file has no `at`: nobody can find what `no at` means."""
    files = FILES | {"scores.csv": "who,credit,asked\na,0.5,\nb,0.5,2024-02-01\n"}
    brought = bring_in(write_shop(tmp_path, MEMBERS + SCORES, files))
    assert brought.fates("scores") == {"accepted": 1, "rejected: no known_at": 1}
    assert brought.fates("orders") == {"accepted": 3}


def test_every_column_of_a_table_stands_apart_from_its_type() -> None:
    lines = CliRunner().invoke(main, ["ingest", "--tables", "interactions"]).output.splitlines()
    assert any(line.split()[:2] == ["interaction_id", "text"] for line in lines)

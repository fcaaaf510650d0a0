"""What a proposal, and an error, say of what they cannot decide. Else a person searches for hours."""

from pathlib import Path

import pytest
from dirty import TILL, bring_in, write_shop

from features.errors import SettingsError, SourceError
from features.moments import parse_moment
from features.sources.propose import propose

REPORT = "Sales report,,,\nprinted 2024-02-01\n\nReceipt,Member,When,Total\n" + "".join(
    f"{n},{1000 + n % 50},2024-01-1{n % 9} 10:00,{n}.50\n" for n in range(1, 100)
)


def test_lines_before_the_header_are_skipped(tmp_path: Path) -> None:
    """A till's report begins with its title; else the file has one column, of that name."""
    (tmp_path / "report.csv").write_text(REPORT)
    proposal = propose([tmp_path / "report.csv"])
    assert "skip = 3 " in proposal.toml
    log = bring_in(write_shop(tmp_path / "a", proposal.toml, {}))
    assert log.fates("orders") == {"accepted": 99}


def test_a_header_further_below_is_named_with_its_line(tmp_path: Path) -> None:
    text = "Sales of May\n\nno,who,day,paid\n1,ann,2024-01-02,1\n"
    settings = write_shop(tmp_path, "[mapping.till]\n" + TILL, {"orders.csv": text})
    with pytest.raises(SourceError, match="say `skip = 2`"):
        bring_in(settings)


def test_another_currency_says_how_to_convert(tmp_path: Path) -> None:
    mapping = "[mapping.till]\n" + TILL.replace(
        'files = "orders.csv"', 'files = "orders.csv"\ncurrency = "USD"'
    )
    settings = write_shop(tmp_path, mapping, {"orders.csv": "no,who,day,paid\n1,ann,2024-01-02,1\n"})
    with pytest.raises(SettingsError, match=r"Convert them: .*number\(amount\)"):
        bring_in(settings)


def test_when_a_warehouse_wrote_a_row_is_no_time_of_knowing_by_itself(tmp_path: Path) -> None:
    """A load of three years in one night would make everything unknown before that night."""
    rows = "".join(f"{n},{n % 9},2024-01-1{n % 9} 10:00,{n}.50,2024-07-01 03:00:00\n" for n in range(40))
    (tmp_path / "o.csv").write_text("order_id,customer_id,order_date,total,loaded_at\n" + rows)
    proposal = propose([tmp_path / "o.csv"])
    assert '# known_at = "loaded_at"   # DECIDE: only where rows came day by day' in proposal.toml
    log = bring_in(write_shop(tmp_path / "a", proposal.toml, {}))
    assert log.fates("orders") == {"accepted": 40}


def test_a_file_of_tags_is_one(tmp_path: Path) -> None:
    """Else what staff noted of customers is left out, or made an attribute without a time."""
    rows = "".join(
        f"{1000 + n % 50},高价值,2024-03-1{n % 9} 10:00,{'取消' if n > 90 else '打标'}\n" for n in range(100)
    )
    (tmp_path / "标签.csv").write_text("会员编号,标签,打标时间,操作\n" + rows)
    proposal = propose([tmp_path / "标签.csv"])
    toml = "[mapping.till]\n" + TILL + proposal.toml
    log = bring_in(write_shop(tmp_path / "a", toml, {"orders.csv": "no,who,day,paid\n1,1000,2024-01-02,1\n"}))
    assert log.fates("tags") == {"accepted": 100}
    assert {r["change"] for r in log.rows("tags")} == {"set", "removed"}


@pytest.mark.parametrize(("day", "hour"), [("{d:02}.01.2024", "1{h}:30"), ("2024-01-{d:02}", "1{h}:30:00")])
def test_a_day_and_its_time_in_two_columns_are_one_time(tmp_path: Path, day: str, hour: str) -> None:
    """Tills write them so; else every sale is known at midnight, and nobody buys in the evening."""
    rows = "".join(
        f"{n};c{n % 9};{day.format(d=1 + n % 28)};{hour.format(h=n % 9)};5,50\n" for n in range(60)
    )
    (tmp_path / "kasse.csv").write_text("Bon-Nr;Kunde;Datum;Uhrzeit;Betrag\n" + rows)
    log = bring_in(write_shop(tmp_path / "a", propose([tmp_path / "kasse.csv"]).toml, {}))
    at = {r["order_id"]: r["at"] for r in log.rows("orders")}
    assert (len(at), at["31"]) == (60, parse_moment("2024-01-04T14:30:00Z"))


def test_a_column_called_cat_is_the_category(tmp_path: Path) -> None:
    """Else no feature of categories is made for a shop that calls them so."""
    path = tmp_path / "catalogue.csv"
    path.write_text("sku,cat,brand\n" + "".join(f"P{n},c{n % 4},b{n % 3}\n" for n in range(40)), "utf-8")
    lines = tmp_path / "lines.csv"
    rows = (f"{n},c{n % 9},2024-01-{1 + n % 28:02},P{n},1,5\n" for n in range(40))
    lines.write_text("order_id,customer_id,order_date,sku,quantity,amount\n" + "".join(rows), "utf-8")
    assert 'category = "cat"' in propose([lines, path]).toml

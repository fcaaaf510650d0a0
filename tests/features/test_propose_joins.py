"""What a proposal sees across the files of several systems: who is who, and whose sales are whose."""

import random
from decimal import Decimal
from pathlib import Path

import pytest
from dirty import bring_in, write_shop

from features.moments import parse_moment
from features.sources.propose import propose

WEB_HEAD = "order_id,customer_id,order_date,total\n"
TILL_HEAD = "Bon;Kundennr;Verkauft am;Artikel;Menge;Einzelpreis;Eingang\n"


def _till(n: int, day: str = "{d:02}.01.2024 10:00", come: str = "{d:02}.02.2024 03:00") -> str:
    return "".join(
        f"B{i};{i % 40:05d};{day.format(d=1 + i % 28)};P{i % 9};1;2,50;{come.format(d=1 + i % 28)}\n"
        for i in range(n)
    )


def _web(n: int, who: str = "u{n}") -> str:
    return "".join(f"W{i},{who.format(n=i % 40)},2024-01-{1 + i % 28:02} 09:00:00,5.00\n" for i in range(n))


def test_sales_of_a_till_without_order_ids_are_a_source_of_their_own_beside_orders(tmp_path: Path) -> None:
    """In one mapping with the web shop's orders, every sale of the till was a line of no order."""
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "web_orders.csv").write_text(WEB_HEAD + _web(60, "{n:05d}"))
    rows = "".join(f"{i % 40:05d},2024-01-{1 + i % 28:02},P{i % 9},1,2.50\n" for i in range(120))
    (raw / "till.csv").write_text("customer_id,order_date,sku,quantity,unit_price\n" + rows)
    (raw / "goods.csv").write_text("sku,category\n" + "".join(f"P{i},tea\n" for i in range(9)))
    proposal = propose([raw])
    assert proposal.names == ("raw", "till")
    assert "they would count twice" in proposal.toml
    log = bring_in(write_shop(tmp_path, proposal.toml, {}))
    orders = log.rows("orders")
    assert {r["order_id"] for r in log.rows("order_lines")} <= {r["order_id"] for r in orders}
    assert sum(r["amount"] for r in orders) == Decimal("5.00") * 60 + Decimal("2.50") * 120
    assert {r["category"] for r in log.rows("order_lines")} == {"tea"}, "the catalogue is where its lines are"


def test_when_it_was_sold_is_no_time_of_receipt_and_a_bon_is_an_order(tmp_path: Path) -> None:
    """Five slips of dates made the day of receipt the day of sale, and a customer's day one order."""
    slips = "X1;00001;31.02.2024 10:00;P1;1;2,50;01.02.2024 03:00\n"
    (tmp_path / "kasse.csv").write_text(TILL_HEAD + _till(300) + slips)
    toml = propose([tmp_path / "kasse.csv"]).toml
    assert 'order_id = "Bon"' in toml
    assert 'at = { column = "Verkauft am", format = "%d.%m.%Y %H:%M" }' in toml
    assert (
        'known_at = { column = "Eingang", format = "%d.%m.%Y %H:%M" }  # DECIDE: when a row came here' in toml
    )
    log = bring_in(write_shop(tmp_path / "a", toml, {}))
    (row,) = (r for r in log.rows("orders") if r["order_id"] == "B0")
    assert (row["at"], row["known_at"]) == (
        parse_moment("2024-01-01T10:00:00Z"), parse_moment("2024-02-01T03:00:00Z"),
    )  # fmt: skip


@pytest.mark.parametrize(
    "come", ["01.07.2024 03:00", "{d:02}.01.2023 03:00"], ids=["one load of all", "before it was sold"]
)
def test_a_time_of_receipt_that_cannot_be_when_rows_came_is_left_to_a_person(
    tmp_path: Path, come: str
) -> None:
    """Else nothing is known before one night, or every row is rejected."""
    (tmp_path / "kasse.csv").write_text(TILL_HEAD + _till(200, come=come))
    toml = propose([tmp_path / "kasse.csv"]).toml
    assert '# known_at = { column = "Eingang", format = "%d.%m.%Y %H:%M" }   # DECIDE: only where' in toml
    assert bring_in(write_shop(tmp_path / "a", toml, {})).fates("order_lines") == {"accepted": 200}


@pytest.mark.parametrize(
    ("odd", "doubt"), [("", ""), ("Mars/Base", "  # DECIDE: not all are names of zones")]
)
def test_a_column_of_zones_is_that_of_each_rows_time(tmp_path: Path, odd: str, doubt: str) -> None:
    """Else a sale in New York is six hours off, and on another day."""
    zones = ["Europe/Berlin", "America/New_York"]
    rows = "".join(
        f"{i},c{i % 9},2024-01-1{i % 9} 20:00:00,5,{odd if odd and i == 7 else zones[i % 2]},"
        f"2024-01-1{i % 9}T23:00:00+00:00\n"
        for i in range(60)
    )
    (tmp_path / "web.csv").write_text("order_no,user,created,total,tz,exported_at\n" + rows)
    toml = propose([tmp_path / "web.csv"]).toml
    assert f'zone = {{ column = "tz" }}{doubt}\n' in toml
    assert 'known_at = "exported_at"  # DECIDE' in toml
    log = bring_in(write_shop(tmp_path / "a", toml, {}))
    at = {r["order_id"]: r["at"] for r in log.rows("orders")}
    assert at["0"] == parse_moment("2024-01-10T19:00:00Z")
    assert "1" not in at, "at 01:00 the next day in UTC: not yet exported, so the account says it"
    assert log.fates("orders")["rejected: known before it happened"] >= 29


def _three_systems(folder: Path, card: str = "L{n}", pos: str = "{n:05d}", web: str = "u{n}") -> list[Path]:
    """A till, a web shop, a survey of card holders, and a file that links the three."""
    folder.mkdir()
    (folder / "kasse.csv").write_text(TILL_HEAD + _till(300))
    (folder / "web_orders.csv").write_text(WEB_HEAD + _web(80))
    answers = "".join(f"{card.format(n=i)},2024-01-{1 + i % 28:02} 10:00:00,{i % 11}\n" for i in range(30))
    (folder / "nps.csv").write_text("card,time,score\n" + answers)
    rows = "".join(
        f"{card.format(n=i)},{pos.format(n=i)},{web.format(n=i) if i < 20 else ''},2024-01-05 10:00:00\n"
        for i in range(30)
    )
    (folder / "loyalty.csv").write_text("card,till_customer,web_user,linked_at\n" + rows)
    return [folder]


def test_a_file_of_three_systems_ids_links_the_people(tmp_path: Path) -> None:
    """It was a stub of `source = "..."`: 300 people stayed 820, and nothing said which column is whose."""
    proposal = propose(_three_systems(tmp_path / "raw", pos="{n}"))
    said = "\n".join(proposal.notes)
    assert "card: of 30 ids looked at 30 in nps.csv" in said
    assert "till_customer: of 30 ids looked at 30 in kasse.csv" in said
    assert "web_user: of 20 ids looked at 20 in web_orders.csv" in said
    assert "none of these customer ids" not in proposal.toml, "who is who says it"
    log = bring_in(write_shop(tmp_path, proposal.toml, {}))
    assert log.done.merged == 50, "of 30 people with cards, and 20 of them on the web"


def test_numbers_that_any_system_may_have_link_nobody_by_themselves(tmp_path: Path) -> None:
    """Numbers from 1 on are in every file: taken for links they would make one person of three."""
    folder = tmp_path / "raw"
    _three_systems(folder, "{n}", "{n}", "{n}")
    (folder / "kasse.csv").write_text(
        TILL_HEAD + "".join(f"B{i};{i % 40};01.01.2024 10:00;P;1;2,50;\n" for i in range(99))
    )
    (folder / "web_orders.csv").write_text(WEB_HEAD + _web(80, "{n}"))
    toml = propose([folder]).toml
    assert "# DECIDE: two columns meet the same file" in toml
    assert '# table = "identities"' in toml
    assert bring_in(write_shop(tmp_path, toml, {})).done.merged == 0


def test_files_that_share_no_customer_are_asked_about_once(tmp_path: Path) -> None:
    """One sentence of forty words stood at eight readings, and paired a survey with a chat group."""
    folder = tmp_path / "raw"
    _three_systems(folder)
    (folder / "loyalty.csv").unlink()
    cases = "".join(f"K{i};{i:05d};0{1 + i % 9}.01.2024 10:00;Preis\n" for i in range(30))
    (folder / "reklamationen.csv").write_text("Nr;Kundennr;eröffnet;Grund\n" + cases)
    toml = propose([folder]).toml
    asked = [line for line in toml.splitlines() if "none of these customer ids" in line]
    assert len(asked) == 2, asked
    assert all("none of these customer ids is in reklamationen.csv, kasse.csv. If" in line for line in asked)


@pytest.mark.parametrize("name", ["angelegt", "created_at", "Erfasst am", "joined", "注册日期"])
def test_since_when_the_shop_knows_people_is_when_they_are_known(tmp_path: Path, name: str) -> None:
    """As an attribute it is no time: 611 of 800 customers who had not bought yet were left out of the log."""
    draw = random.Random(1)
    rows = "".join(
        f"{i:05d};{draw.choice(['Ulm', 'Jena'])};{1950 + i};{1 + i % 28:02}.05.2022\n" for i in range(40)
    )
    (tmp_path / "kunden.csv").write_text(f"Kundennr;Ort;Geburtsjahr;{name}\n" + rows)
    (tmp_path / "kasse.csv").write_text(TILL_HEAD + _till(10))
    log = bring_in(
        write_shop(tmp_path / "a", propose([tmp_path / "kunden.csv", tmp_path / "kasse.csv"]).toml, {})
    )
    assert log.fates("customers") == {"accepted": 40}

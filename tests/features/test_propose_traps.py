"""What a proposal got wrong without a word: tomorrow's file, a cancellation, one person as two."""

import tomllib
import zipfile
from pathlib import Path

import pytest
from dirty import bring_in, write_shop

from features.errors import SourceError
from features.moments import parse_moment
from features.sources.propose import propose
from propensity.shops import tables_text

HEAD = "order_id,customer_id,date,total\n"


def _sales(first: int, last: int, who: str = "c{n}") -> str:
    return "".join(f"{n},{who.format(n=n)},2024-01-{1 + n % 28:02},5\n" for n in range(first, last))


@pytest.mark.parametrize(
    ("name", "next_one"),
    [
        ("orders_0.csv", "orders_1.csv"),
        ("orders_05.csv", "orders_06.csv"),
        ("export1.csv.zip", "export2.csv.zip"),
    ],
)
def test_a_single_file_with_a_short_number_has_tomorrows_found_too(
    tmp_path: Path, name: str, next_one: str
) -> None:
    """Else the next day's orders are ignored without a word."""
    raw = tmp_path / "raw"
    raw.mkdir()
    _write(raw / name, HEAD + _sales(10, 20))
    settings = write_shop(tmp_path, propose([raw / name]).toml, {})
    assert len(bring_in(settings).rows("orders")) == 10
    _write(raw / next_one, HEAD + _sales(20, 25))
    assert len(bring_in(settings).rows("orders")) == 15


def _write(path: Path, text: str, member: str = "inside.csv") -> None:
    if path.suffix != ".zip":
        path.write_text(text)
        return
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, text)


def test_a_number_that_does_not_end_the_name_stays(tmp_path: Path) -> None:
    _write(tmp_path / "till2_sales.csv", HEAD + _sales(10, 20))
    assert 'files = ["till2_sales.csv"]' in propose([tmp_path]).toml


def test_a_zip_is_read_by_the_name_of_the_file_in_it(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    _write(raw / "export.zip", HEAD + _sales(10, 20))
    (raw / "broken.zip").write_bytes(b"PK no zip")
    _write(raw / "letters.zip", "hello", "letter.docx")
    proposal = propose([raw])
    assert any("broken.zip, letters.zip" in note for note in proposal.notes), proposal.notes
    assert len(bring_in(write_shop(tmp_path, proposal.toml, {})).rows("orders")) == 10


def _cancelled(sometimes: str = "") -> str:
    rows = ["order_id,customer_id,created_at,total,state,cancelled_at"]
    for n in range(40):
        gone = n % 4 == 0
        when = f"2024-02-{1 + n % 28:02}T09:00:00Z" if gone else sometimes if n == 1 else ""
        rows.append(f"{n},c{n},2024-01-{1 + n % 28:02}T09:00:00Z,5,{'CANCELLED' if gone else 'DONE'},{when}")
    return "\n".join(rows) + "\n"


def test_a_cancelled_order_is_known_to_be_when_it_was(tmp_path: Path) -> None:
    """Taken back at once, a model would know of it before anybody did."""
    (tmp_path / "orders.csv").write_text(_cancelled())
    proposal = propose([tmp_path / "orders.csv"])
    assert "Not placed" not in proposal.toml
    orders = bring_in(write_shop(tmp_path, proposal.toml, {})).rows("orders")
    back = [row for row in orders if row["ref"]]
    assert len(back) == 10
    assert all(row["known_at"].month == 2 for row in back), "when it was cancelled, not when it was placed"


def test_a_time_that_others_have_too_is_not_when_they_were_cancelled(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text(_cancelled(sometimes="2024-02-02T09:00:00Z"))
    toml = propose([tmp_path / "orders.csv"]).toml
    assert 'at = "cancelled_at"' not in toml
    assert "DECIDE: no time says when they were" in toml


@pytest.mark.parametrize(
    ("theirs", "declared"),
    [
        ("{n:05d}", '# customer_id = { column = "customer_id", clean = ["trim"], pad = 5 }'),
        ("{n}", '# customer_id = { column = "customer_id", clean = ["trim", "whole"] }'),
    ],
)
def test_a_reading_to_fill_in_writes_ids_as_the_others_do(tmp_path: Path, theirs: str, declared: str) -> None:
    """Else one person is two: one who buys, and one who has a score."""
    (tmp_path / "sales.csv").write_text(HEAD + _sales(95, 125, theirs))
    form = "{n}" if "pad" in declared else "{n}.0"
    scores = "".join(f"{form.format(n=n)},0.{n}\n" for n in range(95, 125))
    (tmp_path / "risk_20240131.csv").write_text("customer_id,churn_score\n" + scores)
    proposal = propose([tmp_path])
    assert '# table = "scores"' in proposal.toml
    assert declared in proposal.toml, proposal.toml


def test_each_file_that_is_not_placed_leaves_a_reading_to_fill_in(tmp_path: Path) -> None:
    """Else what nobody knew is forgotten; and the shop's sales are called after its errors."""
    _write(tmp_path / "fehler.csv", "Code,Text\n7,Bon klemmt\n8,Kasse offen\n")
    _write(tmp_path / "Beschwerden.zip", "Wer,Text\nAnna,zu spät\n", "Beschwerden.csv")
    _write(tmp_path / "nummern.csv", "7,8\n9,10\n")
    _write(tmp_path / "kasse.csv", HEAD + _sales(10, 20))
    files = [tmp_path / name for name in ("Beschwerden.zip", "fehler.csv", "nummern.csv", "kasse.csv")]
    proposal = propose(files)
    assert proposal.name == "kasse"
    for name in ("Beschwerden.zip", "fehler.csv", "nummern.csv"):
        assert f'# files = ["{name}"]' in proposal.toml
    assert '# table = "cases"' in proposal.toml
    assert proposal.toml.count('# table = "..."') == 2
    assert proposal.toml.count("DECIDE: not placed") == 3
    log = bring_in(write_shop(tmp_path / "s", proposal.toml, {}))
    assert len(log.rows("orders")) == 10


@pytest.mark.parametrize("theirs", ["{n}", "{n:05d}"])
def test_a_few_ids_without_their_zeros_are_given_them(tmp_path: Path, theirs: str) -> None:
    """Else one id in fifty that was typed by hand keeps the two files apart, and nobody is told."""
    raw = tmp_path / "raw"
    raw.mkdir()
    ids = [f"{n:05d}" for n in range(1, 101)]
    ids[41], ids[71] = "42", "72"
    rows = "".join(f"{n},{id},2024-01-{1 + n % 28:02},5\n" for n, id in enumerate(ids))
    (raw / "till.csv").write_text(HEAD + rows)
    people = "".join(f"{theirs.format(n=n)},2023-01-01,Bonn\n" for n in range(1, 101))
    (raw / "people.csv").write_text("customer_id,registered,city\n" + people)
    proposal = propose([raw])
    assert any(
        "2 of 100 customer_ids" in note and "2 of them are in people.csv" in note for note in proposal.notes
    )
    log = bring_in(write_shop(tmp_path, proposal.toml, {}))
    assert {row["customer_id"] for row in log.rows("orders")} == {f"{n:05d}" for n in range(1, 101)}
    assert {row["customer_id"] for row in log.rows("customers")} == {f"{n:05d}" for n in range(1, 101)}


def test_an_id_that_is_there_with_and_without_zeros_is_told(tmp_path: Path) -> None:
    """One customer as two is seen by nobody else; whether it is one, no file says."""
    ids = [*(f"{n:05d}" for n in range(1, 101)), "42"]
    rows = "".join(f"{n},{id},2024-01-{1 + n % 28:02},5\n" for n, id in enumerate(ids))
    (tmp_path / "till.csv").write_text(HEAD + rows)
    proposal = propose([tmp_path])
    assert any("as 42 and 00042" in note for note in proposal.notes), proposal.notes
    assert "pad = " not in proposal.toml, "a person decides"


def test_scores_beside_other_things_ask_for_their_name(tmp_path: Path) -> None:
    """What is taken off its # must be a mapping, and what --tables says of it true."""
    (tmp_path / "sales.csv").write_text(HEAD + _sales(0, 30))
    rows = "".join(
        f"c{n},2024-0{month}-{1 + n % 28:02},0.{n},because of {n}\n" for n in range(30) for month in (1, 2)
    )
    (tmp_path / "risk.csv").write_text("customer_id,day,churn_score,why\n" + rows)
    proposal = propose([tmp_path])
    text = proposal.toml
    filled = text[text.index("# [[mapping") : text.index("# Its columns")].replace("# ", "")
    assert 'name = { value = "..." }' in filled
    assert tomllib.loads(filled)
    log = bring_in(write_shop(tmp_path, f"{text}\n{filled.replace('...', 'risk')}", {}))
    assert {row["name"] for row in log.rows("scores")} == {"risk"}
    (line,) = [line for line in tables_text("scores").splitlines() if line.startswith("  name ")]
    assert line.endswith("required")


def test_a_currency_is_asked_about_where_it_is_to_be_said(tmp_path: Path) -> None:
    rows = "".join(f"{n},c{n},2024-01-{1 + n % 28:02},5,GBP\n" for n in range(30))
    (tmp_path / "sales.csv").write_text("order_id,customer_id,date,total,currency\n" + rows)
    toml = propose([tmp_path / "sales.csv"]).toml
    assert '# currency = { column = "currency" }   # DECIDE' in toml
    ready = toml.replace("# currency = ", "currency = ")
    assert len(bring_in(write_shop(tmp_path, ready, {})).rows("orders")) == 30


LIVE = "订单编号,买家ID,下单时间,商品编码,商品数量,实付金额,订单状态,退款时间\n" + "".join(
    (f"{1000 + n},b1,2024/01/02 10:00:00,G1,1,￥9.00,待付款,\n" if n % 30 == 0 else "")
    + f"{n},b{n % 9},2024/01/{1 + n % 28:02} 10:00:00,G{n % 5},{'２' if n % 9 == 0 else 2},"
    + (f"￥１０{n:02}．５０,已退款,2024/03/01 09:00:00\n" if n % 8 == 0 else f"￥{n}.50,交易成功,\n")
    for n in range(1, 90)
)


def test_wide_digits_are_digits_and_an_order_is_a_sale_until_it_was_refunded(tmp_path: Path) -> None:
    """Else a tenth of a live show is lost, and a model reads from an order that it will come back."""
    path = tmp_path / "订单.csv"
    path.write_bytes(LIVE.encode("gbk"))
    log = bring_in(write_shop(tmp_path / "a", propose([path]).toml, {}, "Asia/Shanghai", "CNY"))
    assert sum(log.fates("order_lines").values()) == 91
    assert log.fates("order_lines")["aside: not paid"] == 2
    assert not any(fate.startswith("rejected") for fate in log.fates("order_lines"))
    orders = {r["order_id"]: r for r in log.rows("orders")}
    assert (str(orders["8"]["amount"]), str(orders["8:cancelled"]["amount"])) == ("1008.50", "-1008.50")
    assert (orders["8:cancelled"]["ref"], orders["8:cancelled"]["known_at"].month) == ("8", 3)


def test_people_with_tags_are_people(tmp_path: Path) -> None:
    """Else a webshop's customers lose their city, for one column of theirs is called Tags."""
    rows = "".join(f"{n},Leeds,gold,vip,2023-01-0{1 + n % 9} 10:00\n" for n in range(40))
    (tmp_path / "customers_export.csv").write_text("Customer ID,City,Level,Tags,Created At\n" + rows)
    toml = propose([tmp_path / "customers_export.csv"]).toml
    assert ('table = "customers"' in toml, 'attributes = ["City", "Level", "Tags"]' in toml) == (True, True)


def _webshop() -> str:
    rows = "Name,Email,Financial Status,Created at,Total,Discount Amount,"
    rows += "Lineitem quantity,Lineitem price,Lineitem sku,Id,Customer ID\n"
    for n in range(1, 80):
        lines, at = 1 + n % 3, f"2024-02-{1 + n % 28:02} 10:00:00 +0100"
        status = "partially_refunded" if n == 7 else "refunded" if n == 8 else "paid"
        for line in range(lines):
            first = f"c@x,{status},{at},{5 * lines + 2}.00,0.00" if not line else ",,,,"
            rows += f"#{n},{first},2,2.50,SKU-{n % 5},{f'55{n:03},{n % 9}' if not line else ','}\n"
    return rows


def test_an_export_that_tells_an_order_on_its_first_line_alone_keeps_the_other_lines(tmp_path: Path) -> None:
    """Else two lines of three are of nobody, and what a basket holds is what stands in it first."""
    path = tmp_path / "orders_export_1.csv"
    path.write_text(_webshop())
    log = bring_in(write_shop(tmp_path / "a", propose([path]).toml, {}))
    lines, orders = log.rows("order_lines"), {r["order_id"]: r for r in log.rows("orders")}
    assert len(lines) == sum(1 + n % 3 for n in range(1, 80))
    assert (str(orders["#8"]["amount"]), str(orders["#8:cancelled"]["amount"])) == ("17.00", "-17.00")
    assert (str(orders["#7"]["amount"]), "#7:cancelled" in orders) == ("12.00", False)
    assert {str(r["amount"]) for r in lines} == {"5.00"}
    assert all(r["customer_id"] and r["at"] for r in lines)
    assert orders["#8"]["at"] == parse_moment("2024-02-09T09:00:00Z"), "+0100 after a blank is an offset"


def test_a_tills_rows_of_one_receipt_are_added_up_and_said_so(tmp_path: Path) -> None:
    """Else only the first row of each receipt is a sale, and a shop sells a third of what it did."""
    rows = "".join(
        f"{n},c{n % 9},2024-01-{1 + n % 28:02} 10:00,{amount}\n"
        for n in range(40)
        for amount in (5, "2.50", 1)
    )
    (tmp_path / "till.csv").write_text("receipt_no,customer_id,time,total\n" + rows)
    proposal = propose([tmp_path / "till.csv"])
    assert "add_up = true               # an order id comes several times" in proposal.toml
    log = bring_in(write_shop(tmp_path / "a", proposal.toml, {}))
    assert {str(row["amount"]) for row in log.rows("orders")} == {"8.50"}
    assert (len(log.rows("orders")), sum(log.fates("orders").values())) == (40, 120)
    assert not any(fate.startswith("rejected") for fate in log.fates("orders"))


def test_rows_of_one_receipt_that_name_two_customers_are_not_added_up(tmp_path: Path) -> None:
    """Two tills that number alike: added up, one customer has what two have bought."""
    rows = "".join(f"{n},{who}{n % 9},2024-01-{1 + n % 28:02} 10:00,5\n" for n in range(40) for who in "ab")
    (tmp_path / "till.csv").write_text("receipt_no,customer_id,time,total\n" + rows)
    toml = propose([tmp_path / "till.csv"]).toml
    assert "add_up" not in toml
    added = toml.replace('table = "orders"', 'table = "orders"\nadd_up = true')
    with pytest.raises(SourceError, match="an order of two customers"):
        bring_in(write_shop(tmp_path / "a", added, {}))

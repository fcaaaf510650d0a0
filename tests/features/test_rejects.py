"""A row that was mended by hand must come in once, and the count of rows must still add up."""

import csv
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from builds_by_hand import MOMENT, NAMES, constant, write_build
from click.testing import CliRunner
from deliveries import deliver, order
from dirty import TILL, bring_in, rewrite, write_shop

from features.errors import UsageError
from features.ingestion import rejects
from features.ingestion.ingest import Ingested, take
from features.log import Log
from features.moments import parse_moment
from features.settings import Settings
from propensity import main
from propensity.erasing import erase


def _till(folder: Path, amount: str = "1,50") -> object:
    rows = [
        order("1", "a", "2017-01-02"),
        order("2", "007", "2017-01-10", amount),
        order("3", "c", "2017-01-11", "-1"),
    ]
    return deliver(folder, "till", {"orders": rows})


def _account(done: Ingested, source: str) -> dict[tuple[bool, str], int]:
    return {(c.accepted, c.what): c.rows for c in done.account if (c.source, c.table) == (source, "orders")}


@pytest.fixture
def shop(tmp_path: Path) -> Settings:
    settings = Settings(home=tmp_path / "home")
    take(settings, [_till(tmp_path / "till")])
    return settings


def _mend(path: Path, **corrections: str) -> None:
    """Column -> value, in every row of order 2."""
    # As a spreadsheet writes it.
    rewrite(path, lambda row: corrections if row["order_id"] == "2" else {}, encoding="utf-8-sig")


def test_a_mended_row_comes_in_once_and_the_account_adds_up(shop: Settings, tmp_path: Path) -> None:
    path = tmp_path / "rejects.csv"
    assert rejects.export(shop, path) == 2
    _mend(path, amount="1.50")
    before = Log.open(shop).fingerprint
    assert rejects.take_in(shop, path, dry_run=True).tables["orders"] == 2
    assert Log.open(shop).fingerprint == before
    done = rejects.take_in(shop, path)
    rows = {
        r["order_id"]: (r["customer_id"], str(r["amount"])) for r in Log.open(shop).read("orders").to_pylist()
    }
    assert rows == {"1": ("a", "10.00"), "2": ("007", "1.50")}
    assert "007" in Log.open(shop).read("customers")["customer_id"].to_pylist()
    assert _account(done, "till") == {
        (True, ""): 1,
        (False, "mended: amount is not an amount of money"): 1,
        (False, "negative money without a ref"): 1,
    }
    assert _account(done, "mended") == {(True, ""): 1}, "a row that came back as it went out is no correction"
    found = {(r.source, r.reason): (r.rows, r.mended) for r in rejects.reasons(shop)}
    assert found["till", "amount is not an amount of money"] == (1, 1)
    assert not rejects.take_in(shop, path).changed, "the same file again is nothing new"
    assert rejects.export(shop, tmp_path / "rest.csv") == 1, "what waits: the till's other row"


def test_a_row_mended_after_a_build_is_known_from_the_logs_end_on(shop: Settings, tmp_path: Path) -> None:
    """Else a past snapshot, and a model that learns from it, knows what no decision of that day could."""
    path = tmp_path / "rejects.csv"
    rejects.export(shop, path)
    _mend(path, amount="1.50")
    as_filed = rejects.take_in(shop, path, dry_run=True)
    write_build(shop, NAMES, {MOMENT: constant(1)})
    done = rejects.take_in(shop, path)
    assert as_filed.generation != done.generation
    log = Log.open(shop)
    (mended,) = [r for r in log.read("orders").to_pylist() if r["order_id"] == "2"]
    assert (mended["at"], mended["known_at"]) == (parse_moment("2017-01-10T12:00:00Z"), log.complete_until)
    _mend(path, amount="1.50", known_at="2017-01-10T13:00:00Z")  # who mends it knows since when it was known
    rejects.take_in(shop, path)
    (stated,) = [r for r in Log.open(shop).read("orders").to_pylist() if r["order_id"] == "2"]
    assert stated["known_at"] == parse_moment("2017-01-10T13:00:00Z")


def test_the_last_correction_counts_and_the_shops_own_row_beats_it(shop: Settings, tmp_path: Path) -> None:
    path = tmp_path / "rejects.csv"
    rejects.export(shop, path)
    for amount in ("1.50", "1.60"):
        _mend(path, amount=amount)
        rejects.take_in(shop, path)
    amounts = {r["order_id"]: str(r["amount"]) for r in Log.open(shop).read("orders").to_pylist()}
    assert amounts == {"1": "10.00", "2": "1.60"}
    done = take(shop, [_till(tmp_path / "again", "1.70")])
    amounts = {r["order_id"]: str(r["amount"]) for r in Log.open(shop).read("orders").to_pylist()}
    assert amounts == {"1": "10.00", "2": "1.70"}
    assert _account(done, "mended")[False, "not mended: the same order_id as a row of till"] == 1


def test_corrections_that_are_no_better_leave_their_rows_waiting_and_say_why(
    shop: Settings, tmp_path: Path
) -> None:
    """Else whoever mends in vain gets a traceback, and does not learn why."""
    path = tmp_path / "rejects.csv"
    rejects.export(shop, path)
    _mend(path, amount="ten")
    done = rejects.take_in(shop, path)
    assert _account(done, "mended") == {(False, "not mended: amount is not an amount of money"): 1}
    told = {(s.file, s.row, s.value) for s in done.samples if s.source == "mended"}
    assert told == {("rejects.csv", 1, "ten")}, "the row of the file that was given back"
    assert rejects.in_vain(done) == 1
    found = [(r.source, r.rows, r.mended) for r in rejects.reasons(shop)]
    assert found == [("till", 1, 0), ("till", 1, 0)], "one row that is wrong is one reject"
    rejects.export(shop, tmp_path / "again.csv")
    _mend(tmp_path / "again.csv", amount="2.50")
    done = rejects.take_in(shop, tmp_path / "again.csv")
    assert (rejects.in_vain(done), _account(done, "mended")) == (0, {(True, ""): 1})
    assert sorted(Log.open(shop).read("orders")["order_id"].to_pylist()) == ["1", "2"]


def test_a_mended_row_stays_mended_when_other_customers_rows_come_and_go(tmp_path: Path) -> None:
    """Else it is handed out again under another name, and mending it again puts the sale in the log twice."""
    head = "no,who,day,paid\n"
    web = TILL.replace("till", "a_web").replace("orders.csv", "web.csv")
    mapping = f"[mapping.a_web]\n{web}[mapping.till]\n{TILL}"
    files = {"web.csv": f"{head}1,ann,2024-01-02,5\n", "orders.csv": f"{head}1,zoe,2024-01-03,6\n"}
    settings = write_shop(tmp_path, mapping, files)
    bring_in(settings)
    csv_file = tmp_path / "mend.csv"
    assert rejects.export(settings, csv_file) == 1
    csv_file.write_text(csv_file.read_text("utf-8").replace(",1,zoe,", ",T1,zoe,"), "utf-8")
    rejects.take_in(settings, csv_file)
    for rows in ("1,zoe,2024-01-03,6\n2,ann,2024-01-01,7\n3,bob,2024-01-01,8\n", "1,zoe,2024-01-03,6\n"):
        (tmp_path / "shop" / "orders.csv").write_text(head + rows, "utf-8")
        log = bring_in(settings)
        assert rejects.export(settings, tmp_path / "again.csv") == 0
        assert [r["order_id"] for r in log.rows("orders") if r["customer_id"] == "zoe"] == ["T1"]


def test_rows_that_nobody_rejected_are_refused(shop: Settings, tmp_path: Path) -> None:
    path = tmp_path / "rejects.csv"
    rejects.export(shop, path)
    _mend(path, reject="invented")
    with pytest.raises(UsageError, match="row 1, belong to no row"):
        rejects.take_in(shop, path)
    (tmp_path / "own.csv").write_text("order_id,amount\n7,1.00\n")
    with pytest.raises(UsageError, match="lacks the columns"):
        rejects.take_in(shop, tmp_path / "own.csv")
    assert rejects.reasons(shop)[0].mended == 0


def test_a_sheet_of_which_some_rows_are_nobodys_any_more_is_taken_but_for_those(tmp_path: Path) -> None:
    """After an erasure all the work in an older sheet was refused, for two rows of sixty-two."""
    rows = "no,who,day,paid\n1,ann,2024-01-01,5\n2,bob,2024-01-02,x6\n3,cid,2024-01-03,x7\n"
    settings = write_shop(tmp_path, "[mapping.till]\n" + TILL, {"orders.csv": rows})
    bring_in(settings)
    path = tmp_path / "a.csv"
    assert rejects.export(settings, path) == 2
    path.write_text(path.read_text("utf-8").replace(",x6,", ",6,").replace(",x7,", ",7,"), "utf-8")
    erase(settings, "bob")
    here = {"PROPENSITY_HOME": str(settings.home), "PROPENSITY_SHOP": str(settings.shop)}
    for _ in range(2):
        result = CliRunner().invoke(main, ["rejects", "take", str(path)], env=here)
        output = " ".join(result.output.split())
        assert (result.exit_code, "WARNING: 1 rows of" in output) == (3, True), output
        assert "no better than before" not in output, output
    assert sorted(Log.open(settings).read("orders")["order_id"].to_pylist()) == ["1", "3"]
    (taken,) = (settings.home / "rejects" / "taken").glob("*.parquet")
    assert "bob" not in str(pq.read_table(taken).to_pylist()), "who was erased stays erased"


def test_an_export_says_how_amounts_with_a_decimal_comma_are_read_back(tmp_path: Path) -> None:
    """Beside amounts with a point 12.505 was typed, and taken for twelve thousand."""
    head, more = "no,who,day,paid\n1,ann,2024-01-01,5\n", "2,bob,2024-01-02,x6\n"
    for decimal, said in ((",", True), (".", False)):
        mapping = f'[mapping.till]\ndecimal = "{decimal}"\n' + TILL
        settings = write_shop(tmp_path / f"of{ord(decimal)}", mapping, {"orders.csv": head + more})
        bring_in(settings)
        here = {"PROPENSITY_HOME": str(settings.home), "PROPENSITY_SHOP": str(settings.shop)}
        result = CliRunner().invoke(main, ["rejects", "export", str(tmp_path / "a.csv")], env=here)
        assert ("12.505 is twelve thousand" in result.output) == said, result.output


def test_the_commands(shop: Settings, tmp_path: Path) -> None:
    def run(*words: str) -> str:
        result = CliRunner().invoke(main, ["rejects", *words], env={"PROPENSITY_HOME": str(shop.home)})
        assert result.exit_code == 0, result.output
        return result.output

    assert "negative money without a ref" in run("list")
    assert "2 rows" in run("export", str(tmp_path / "r.csv"), "--table", "orders", "--source", "till")
    _mend(tmp_path / "r.csv", amount="2.00")
    assert "mended: amount is not an amount of money" in run("take", str(tmp_path / "r.csv"))


def test_where_no_row_waits_a_file_without_rows_is_handed_out_and_taken(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    take(settings, [deliver(tmp_path / "till", "till", {"orders": [order("1", "a", "2017-01-02")]})])
    path = tmp_path / "none.csv"
    shown = CliRunner().invoke(
        main, ["rejects", "export", str(path)], env={"PROPENSITY_HOME": str(settings.home)}
    )
    assert (shown.exit_code, "no row waits" in shown.output) == (0, True), shown.output
    assert len(path.read_text().splitlines()) == 1
    assert rejects.take_in(settings, path).tables["orders"] == 1


GERMAN = """
[mapping.kasse]
zone = "Europe/Berlin"
decimal = ","
[[mapping.kasse.read]]
table = "orders"
files = "kasse.csv"
separator = ";"
[mapping.kasse.read.columns]
order_id = "Bon"
customer_id = "Kunde"
at = { column = "Tag", format = "%d.%m.%Y %H:%M" }
amount = { column = "Cent", scale = 100 }
discount = "Rabatt"
channel = { value = "store" }
[mapping.kasse.read.reject]
"a test" = "Kunde = 'test'"
"""
RECEIPTS = (
    "Bon;Kunde;Tag;Cent;Rabatt\n"
    + "".join(f"{n};k{n};01.02.2024 10:00;1250;0,50\n" for n in range(1, 8))
    + '8;"k8";32.02.2024 10:00;1.250;0,75\n9;007;03.02.2024 10:00;12S0;0,25\n10;test;03.02.2024 10:00;100;0\n'
)


def _spreadsheet(path: Path, corrections: dict[str, dict[str, str]], encoding: str, separator: str) -> None:
    """Order id -> column -> value, saved as a spreadsheet of another country saves it."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, rows[0], delimiter=separator)
        writer.writeheader()
        writer.writerows(row | corrections.get(row["order_id"], {}) for row in rows)


@pytest.mark.parametrize(("encoding", "separator"), [("utf-8", ","), ("gb18030", ";"), ("utf-16", "\t")])
def test_what_is_handed_out_comes_back_exactly_however_it_is_written(
    tmp_path: Path, encoding: str, separator: str
) -> None:
    """12,50 handed out as nothing, or taken back as 1250.00, is money that nobody paid."""
    settings = write_shop(tmp_path, GERMAN, {"kasse.csv": RECEIPTS}, "Europe/London", "EUR")
    bring_in(settings)
    path = tmp_path / "out.csv"
    assert rejects.export(settings, path) == 3
    out = {r["order_id"]: r for r in csv.DictReader(path.read_text("utf-8").splitlines())}
    assert (out["8"]["at"], out["8"]["known_at"], out["8"]["row"]) == ("32.02.2024 10:00", "", "8")
    assert (out["9"]["amount"], out["9"]["customer_id"]) == ("12S0", "007")
    assert '"Cent":"12S0"' in out["9"]["as in the file"]
    assert float(out["8"]["amount"]) == 12.5
    corrections = {"8": {"at": "02.02.2024 10:00", "channel": "网"}, "9": {"amount": "1250"}}
    _spreadsheet(path, corrections, encoding, separator)
    done = rejects.take_in(settings, path)
    assert rejects.in_vain(done) == 0
    rows = {r["order_id"]: r for r in Log.open(settings).read("orders").to_pylist()}
    assert sorted(rows) == sorted(map(str, range(1, 10))), "the test order came back as it was: it stays out"
    eighth, ninth = rows["8"], rows["9"]
    assert eighth["at"] == eighth["known_at"] == parse_moment("2024-02-02T09:00:00Z"), "the time of the file"
    assert (str(eighth["amount"]), str(eighth["discount"]), eighth["channel"]) == ("12.50", "0.75", "网")
    assert ninth["at"] == parse_moment("2024-02-03T09:00:00Z")
    assert (str(ninth["amount"]), str(ninth["discount"]), ninth["customer_id"]) == ("12.50", "0.25", "007")


def test_a_correction_may_be_written_as_the_log_writes_it_and_a_day_is_known_at_its_end(
    tmp_path: Path,
) -> None:
    settings = write_shop(tmp_path, GERMAN, {"kasse.csv": RECEIPTS}, "Europe/London", "EUR")
    bring_in(settings)
    path = tmp_path / "out.csv"
    rejects.export(settings, path)
    _spreadsheet(path, {"8": {"at": "2024-02-02", "discount": "1.25"}}, "utf-8", ",")
    rejects.take_in(settings, path)
    (row,) = (r for r in Log.open(settings).read("orders").to_pylist() if r["order_id"] == "8")
    assert row["at"] == parse_moment("2024-02-01T23:00:00Z")
    assert row["known_at"] == parse_moment("2024-02-02T23:00:00Z")
    assert str(row["discount"]) == "1.25"


COMMAS = """
[mapping.kasse]
decimal = ","
[[mapping.kasse.read]]
table = "orders"
files = "kasse.csv"
separator = ";"
[mapping.kasse.read.columns]
order_id = "Bon"
customer_id = "Kunde"
at = "Tag"
amount = "Betrag"
channel = { value = "store" }
"""


@pytest.mark.parametrize(
    ("written", "unread", "read"),
    [
        ("12.505", "12505.00", None),  # a thousandfold one way: over 78.18 nobody knows which was meant
        ("1.234", "1234.00", None),
        ("12,505", None, None),  # never rounded
        ("78,18", "78.18", "78.18"),
        ("1.234,50", "1234.50", "1234.50"),
        ("12.50", "12.50", "12.50"),
        ("1234", "1234.00", "1234.00"),
    ],
)
def test_an_amount_is_read_alike_whether_its_cell_was_empty_or_unreadable(
    tmp_path: Path, written: str, unread: str | None, read: str | None
) -> None:
    """Of two cells of one file 12.505 was twelve thousand in one and 12.51 in the other."""
    files = {
        "kasse.csv": "Bon;Kunde;Tag;Betrag\n1;a;2024-02-01;5,00\nempty;a;2024-02-02;\n"
        "word;a;2024-02-02;zwölf\nread;a;2024-13-02;78,18\n"
    }
    settings = write_shop(tmp_path, COMMAS, files, "Europe/Berlin", "EUR")
    bring_in(settings)
    path = tmp_path / "out.csv"
    assert rejects.export(settings, path) == 3
    amount = {"amount": written}
    _spreadsheet(
        path, {"empty": amount, "word": amount, "read": {**amount, "at": "2024-02-02"}}, "utf-8", ","
    )
    done = rejects.take_in(settings, path)
    rows = {r["order_id"]: str(r["amount"]) for r in Log.open(settings).read("orders").to_pylist()}
    wanted = {"1": "5.00", "empty": unread, "word": unread, "read": read}
    assert rows == {id: amount for id, amount in wanted.items() if amount}
    refused = list(wanted.values()).count(None)
    assert rejects.in_vain(done) == refused
    if refused:
        (sample,) = (s for s in done.samples if s.file == "out.csv")
        assert (sample.reason, sample.rows) == ("amount is not a clear amount of money", refused)
        assert "1.234" in sample.expected


def _holds(home: Path, text: str) -> list[str]:
    found = []
    for path in sorted(p for p in home.rglob("*") if p.is_file()):
        rows = repr(pq.read_table(path, partitioning=None).to_pylist()) if path.suffix == ".parquet" else ""
        if text.encode() in path.read_bytes() + rows.encode():
            found.append(str(path.relative_to(home)))
    return found


@pytest.mark.parametrize("mended", ["no better", "accepted", "its reject is gone"])
def test_an_erasure_finds_a_correction_that_names_another_customer(tmp_path: Path, mended: str) -> None:
    """A spreadsheet makes 241 of 000241: the row, its money and its record are still that person's."""
    rows = "20;002417539753;01.02.2024 10:00;77S7;0\n21;002417539753;01.02.2024 11:00;100;0\n"
    rows += "22;00241999;01.02.2024 10:00;88S8;0\n"
    settings = write_shop(tmp_path, GERMAN, {"kasse.csv": RECEIPTS + rows}, "Europe/London", "EUR")
    bring_in(settings)
    path = tmp_path / "out.csv"
    rejects.export(settings, path)
    amount = "77x77" if mended == "no better" else "7777"
    corrections = {"20": {"customer_id": "2417539753", "amount": amount}, "22": {"amount": "8888"}}
    _spreadsheet(path, corrections, "utf-8", ",")
    rejects.take_in(settings, path)
    taken = settings.home / "rejects" / "taken"
    assert _holds(taken, "002417539753"), "or this test could not fail"
    if mended == "its reject is gone":
        kept = RECEIPTS + "".join(f"{row}\n" for row in rows.splitlines() if "77S7" not in row)
        (tmp_path / "shop" / "kasse.csv").write_text(kept)
        bring_in(settings)
    dry = erase(settings, "002417539753", dry_run=True)
    erase(settings, "002417539753")
    assert _holds(settings.home, "2417539753") == []
    assert Log.open(settings).damaged() == []
    assert (
        str({r["order_id"]: r["amount"] for r in Log.open(settings).read("orders").to_pylist()}["22"])
        == "88.88"
    )
    assert (dry.removed["corrections"], erase(settings, "002417539753").removed) == (1, {})
    assert not bring_in(settings).done.changed
    assert _holds(settings.home, "2417539753") == []


CANCELS = f"""[mapping.till]
{TILL}[mapping.till.read.cancelled]
column = "state"
values = ["cancelled"]
at = "gone"
[[mapping.till.read]]
table = "identities"
files = "links.csv"
[mapping.till.read.columns]
source = {{ value = "till" }}
source_id = "card"
customer_id = "who"
at = "since"
"""
CANCELLED = """no,who,day,paid,state,gone
1,ann,2024-01-02,5,paid,
2,bob,2024-01-03,6,cancelled,2024-99-13
3,cleo,2024-01-04,x,cancelled,2024-01-09
4,dora,2024-01-05,y,cancelled,
5,eve,2024-02-05,8,paid,
"""


def _cancels(folder: Path) -> Settings:
    files = {"orders.csv": CANCELLED, "links.csv": "card,who,since\nann,ann,2023-01-01\nA7,ann,2023-01-01\n"}
    settings = write_shop(folder, CANCELS, files)
    bring_in(settings)
    return settings


def test_a_cancelled_order_is_handed_out_as_one_and_stays_cancelled(tmp_path: Path) -> None:
    """Else it counts as a sale for ever; and a time that cannot be read is no time at which it was bought."""
    settings, path = _cancels(tmp_path), tmp_path / "a.csv"
    assert rejects.export(settings, path) == 3
    with path.open(newline="", encoding="utf-8") as file:
        out = {r["order_id"]: r for r in csv.DictReader(file)}
    assert {id: r["cancelled"] for id, r in out.items()} == {"2": "2024-99-13", "3": "2024-01-09", "4": "yes"}
    assert out["2"]["reason"] == "cancelled is not a moment"
    corrections = {"2": {"cancelled": "never"}, "3": {"amount": "7"}, "4": {"amount": "9"}}
    _spreadsheet(path, corrections, "utf-8", ",")
    done = rejects.take_in(settings, path)
    assert {c.what for c in done.account if c.source == "mended" and not c.accepted} == {
        "not mended: cancelled is not a moment"
    }
    _spreadsheet(path, {"2": {"cancelled": "no"}}, "utf-8", ",")
    assert rejects.in_vain(rejects.take_in(settings, path)) == 0
    orders = Log.open(settings).read("orders").to_pylist()
    taken_back = [r for r in orders if r["amount"] < 0]
    back = {r["order_id"]: (str(r["amount"]), r["ref"], f"{r['at']:%m-%d}") for r in taken_back}
    assert back == {"3:cancelled": ("-7.00", "3", "01-09"), "4:cancelled": ("-9.00", "4", "01-05")}
    assert {r["case_id"] for r in Log.open(settings).read("cases").to_pylist()} == {*back}
    assert {"2", "3", "4"} < {r["order_id"] for r in orders}


def test_what_the_table_calls_rejected_is_what_waits(tmp_path: Path) -> None:
    """Else 293 rows of a file that was taken in whole wait for somebody who finds nothing wrong with them."""
    settings = _cancels(tmp_path)
    assert {r.table: r.rows for r in rejects.reasons(settings)}.keys() == {"orders"}
    named = Log.open(settings).read("identities").to_pylist()
    whose = {(r["source_id"], r["customer_id"]) for r in named}
    assert whose >= {("ann", "ann"), ("A7", "ann"), ("eve", "eve")}
    assert len(named) == len({r["source_id"] for r in named})

"""A row that was mended by hand must come in once, and the count of rows must still add up."""

import csv
import shutil
from collections import Counter
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from contracts import Answers, answers, same
from deliveries import deliver, order
from dirty import bring_in, write_shop

from features.compute.engine import available
from features.compute.reference import compute
from features.definitions import catalogue
from features.errors import UsageError
from features.inbox import Arrival, Inbox
from features.ingestion import rejects
from features.ingestion.ingest import Ingested, take
from features.log import Log
from features.moments import parse_moment
from features.settings import Settings
from features.shop import Shop
from features.sources import derived_tags
from propensity import main
from propensity.steps import take_inbox


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
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if row["order_id"] == "2":
            row |= corrections
    with path.open("w", newline="", encoding="utf-8-sig") as file:  # as a spreadsheet writes it
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


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


def test_the_commands(shop: Settings, tmp_path: Path) -> None:
    def run(*words: str) -> str:
        result = CliRunner().invoke(main, ["rejects", *words], env={"PROPENSITY_HOME": str(shop.home)})
        assert result.exit_code == 0, result.output
        return result.output

    assert "negative money without a ref" in run("list")
    assert "2 rows" in run("export", str(tmp_path / "r.csv"), "--table", "orders", "--source", "till")
    _mend(tmp_path / "r.csv", amount="2.00")
    assert "mended: amount is not an amount of money" in run("take", str(tmp_path / "r.csv"))


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


RECEIPT_LINES = """
[mapping.till]
{total}[[mapping.till.read]]
table = "order_lines"
files = "lines.csv"
[mapping.till.read.columns]
order_id = "bon"
customer_id = "who"
at = "when"
product_id = "item"
amount = "paid"
channel = {{ value = "store" }}
"""
LINES = """bon,who,when,item,paid
1,ann,2024-01-05 10:00,tea,4.00
1,ann,2024-01-05 10:00,cup,3x00
1,ann,2024-01-05 10:00,pot,6.00
2,ann,2024-01-06 10:00,tea,5z00
2,ann,2024-01-06 10:00,cup,1x00
3,bob,2024-03-01 10:00,tea,9.00
"""
TOTALS = """[[mapping.till.read]]
table = "orders"
files = "totals.csv"
[mapping.till.read.columns]
order_id = "bon"
customer_id = "who"
at = "when"
amount = "total"
channel = { value = "store" }
"""
STATED = """bon,who,when,total
1,ann,2024-01-05 10:00,13.00
2,ann,2024-01-06 10:00,6.00
3,bob,2024-03-01 10:00,9.00
"""


def _lines_shop(folder: Path, total: str = "") -> Settings:
    files = {"lines.csv": LINES, "totals.csv": STATED}
    settings = write_shop(folder, RECEIPT_LINES.format(total=total), files)
    bring_in(settings)
    return settings


def _mend_lines(settings: Settings, path: Path, amounts: dict[str, str], **more: str) -> Ingested:
    """Product -> its amount, in rejected lines."""
    rejects.export(settings, path)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        for row in rows:
            name = f"{row['order_id']}:{row['product_id']}"
            writer.writerow(row | ({"amount": amounts[name], **more} if name in amounts else {}))
    return rejects.take_in(settings, path)


def _money(settings: Settings, table: str) -> dict[str, float]:
    """Order -> its money; of orders with what corrects them."""
    found: Counter[str] = Counter()
    for row in Log.open(settings).read(table).to_pylist():
        found[row["ref"] or row["order_id"]] += float(row["amount"])
    return dict(found)


def test_a_mended_line_joins_its_order_and_the_total_follows_in_a_row_of_its_own(tmp_path: Path) -> None:
    """Else goods that were bought are in no feature, or an order's total is not what its lines say."""
    settings = _lines_shop(tmp_path)
    before = {r["order_id"]: r for r in Log.open(settings).read("orders").to_pylist()}
    done = _mend_lines(settings, tmp_path / "a.csv", {"1:cup": "3.00"})
    assert rejects.in_vain(done) == 0
    assert _money(settings, "order_lines") == _money(settings, "orders") == {"1": 13.0, "3": 9.0}
    after = {r["order_id"]: r for r in Log.open(settings).read("orders").to_pylist()}
    assert {id: after[id] for id in before} == before, "nothing is updated in place"
    (more,) = after.keys() - before.keys()
    assert (after[more]["ref"], str(after[more]["amount"]), after[more]["channel"]) == ("1", "3.00", "store")
    told = {(c.what, c.rows) for c in done.account if (c.source, c.table) == ("mended", "orders")}
    assert told == {("corrects the total of its order", 1)}
    assert not rejects.take_in(settings, tmp_path / "a.csv").changed, "twice is once"
    assert not bring_in(settings).done.changed


def test_an_order_of_mended_lines_alone_is_an_order(tmp_path: Path) -> None:
    """Else a purchase whose every price was misspelt stays lost although it was mended."""
    settings = _lines_shop(tmp_path)
    _mend_lines(settings, tmp_path / "a.csv", {"2:tea": "5.00", "2:cup": "1.00"})
    (row,) = (r for r in Log.open(settings).read("orders").to_pylist() if r["order_id"] == "2")
    assert (str(row["amount"]), row["ref"], row["channel"]) == ("6.00", None, "store")
    assert _money(settings, "order_lines") == _money(settings, "orders")


def test_a_total_that_was_stated_has_the_lines_money_already(tmp_path: Path) -> None:
    """Else it is counted twice."""
    settings = _lines_shop(tmp_path, TOTALS)
    stated = _money(settings, "orders")
    _mend_lines(settings, tmp_path / "a.csv", {"1:cup": "3.00", "2:tea": "5.00", "2:cup": "1.00"})
    assert _money(settings, "order_lines") == _money(settings, "orders") == stated


def test_the_shops_own_line_beats_the_mended_one_and_its_correction(tmp_path: Path) -> None:
    settings = _lines_shop(tmp_path)
    _mend_lines(settings, tmp_path / "a.csv", {"1:cup": "3.00"})
    (tmp_path / "shop" / "lines.csv").write_text(LINES.replace("3x00", "2.50"))
    done = bring_in(settings).done
    assert _money(settings, "order_lines") == _money(settings, "orders") == {"1": 12.5, "3": 9.0}
    told = {c.what for c in done.account if c.source == "mended" and not c.accepted}
    assert told == {"not mended: the same order_id, line as a row of till"}


def test_a_line_mended_late_leaves_earlier_snapshots_as_they_were(tmp_path: Path) -> None:
    """Else a model learns from goods that nobody knew of; and engine and reference agree on what it adds."""
    settings = _lines_shop(tmp_path)
    shop = Shop.load(settings.shop)
    moments = [parse_moment(f"2024-0{month}-01") for month in (2, 3)]

    def values() -> Answers:
        log = Log.open(settings)
        features = available(log, catalogue())
        found = answers(log, shop, features, moments)
        slow = {(m, id): v for m in moments for id, v in compute(log, shop, features, m).items()}
        same(found, {key: {name: v[name] for name in features} for key, v in slow.items()})
        return found

    before = values()
    _mend_lines(settings, tmp_path / "a.csv", {"1:cup": "3.00"}, known_at="2024-02-15T00:00:00Z")
    after = values()
    then, now = ((moment, "ann") for moment in moments)
    same({then: before[then]}, {then: after[then]})
    assert [after[now][name] for name in ("spend_90d", "orders_90d", "lines_90d")] == [13, 1, 3]
    assert [before[now][name] for name in ("spend_90d", "orders_90d", "lines_90d")] == [10, 1, 2]


def _rewrite(path: Path, corrections: dict[str, dict[str, str]]) -> None:
    """Order:product -> column -> value, in a file of rejected lines."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(row | corrections.get(f"{row['order_id']}:{row['product_id']}", {}) for row in rows)


def _taken(settings: Settings, path: Path) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["rejects", "take", str(path)], env=_env(settings))
    return result.exit_code, result.output


def _env(settings: Settings) -> dict[str, str]:
    return {"PROPENSITY_HOME": str(settings.home), "PROPENSITY_SHOP": str(settings.shop)}


def test_a_later_correction_that_is_no_better_leaves_the_earlier_one_in_the_log(tmp_path: Path) -> None:
    """Else a second, spoilt file takes out of the log what the first one had mended."""
    settings = _lines_shop(tmp_path)
    path = tmp_path / "a.csv"
    rejects.export(settings, path)
    out = path.read_bytes()
    _rewrite(path, {"1:cup": {"amount": "3.00"}, "2:tea": {"amount": "5.00"}})
    assert _taken(settings, path)[0] == 0
    good, generation = _money(settings, "order_lines"), Log.open(settings).fingerprint
    assert good == {"1": 13.0, "2": 5.0, "3": 9.0}
    bad = tmp_path / "bad.csv"
    bad.write_bytes(out)
    _rewrite(bad, {"1:cup": {"amount": "three"}, "2:tea": {"amount": "five"}})
    for _ in range(2):
        code, text = _taken(settings, bad)
        assert (code, "2 corrections are no better" in text) == (3, True), text
        assert (_money(settings, "order_lines"), Log.open(settings).fingerprint) == (good, generation)
        assert sum(r.mended for r in rejects.reasons(settings)) == 2
    assert not bring_in(settings).done.changed
    _rewrite(bad, {"1:cup": {"amount": "4.00"}})
    assert _taken(settings, bad)[0] == 3, "one of two is no better still"
    assert _money(settings, "order_lines")["1"] == 14.0, "the last good one counts"


@pytest.mark.parametrize("total", ["", TOTALS])
def test_a_correction_that_gives_an_order_a_second_customer_is_refused(tmp_path: Path, total: str) -> None:
    """Else a spreadsheet that makes 287 of 00287 brings a customer who does not exist into the log."""
    lines = LINES.replace("ann", "00287")
    files = {"lines.csv": lines, "totals.csv": STATED.replace("ann", "00287")}
    settings = write_shop(tmp_path, RECEIPT_LINES.format(total=total), files)
    bring_in(settings)
    generation, path = Log.open(settings).fingerprint, tmp_path / "a.csv"
    rejects.export(settings, path)
    _rewrite(path, {"1:cup": {"amount": "3.00", "customer_id": "287"}})
    code, text = _taken(settings, path)
    assert (code, "an order of two customers" in text) == (3, True), text
    assert Log.open(settings).fingerprint == generation, "nothing else changes: no customer 287 either"
    assert sum(r.mended for r in rejects.reasons(settings)) == 0
    _rewrite(path, {"1:cup": {"customer_id": "00287"}, "2:tea": {"amount": "5.00"}})
    assert _taken(settings, path)[0] == 0
    good = _money(settings, "order_lines")
    _rewrite(path, {"1:cup": {"customer_id": "287"}, "2:cup": {"amount": "1.00", "customer_id": "287"}})
    assert _taken(settings, path)[0] == 3
    assert _money(settings, "order_lines") == good == {"1": 13.0, "2": 5.0, "3": 9.0}


def test_parts_that_are_gone_are_taken_in_anew_with_what_was_mended_told_and_derived(tmp_path: Path) -> None:
    """Else a home that lost its parts says "nothing new" and can never again be built on."""
    settings = _lines_shop(tmp_path)
    _mend_lines(settings, tmp_path / "a.csv", {"1:cup": "3.00"})
    at = parse_moment("2024-02-01")
    row = {"interaction_id": "1", "kind": "visit", "channel": "web"}
    with closing(Inbox(settings)) as inbox:
        inbox.accept([Arrival("web", "1", b"d", "ann", at, [("interactions", row)])], at)
    take_inbox(settings)
    tag = {"customer_id": ["ann"], "at": [at], "tag": ["weekly"], "change": ["set"]}
    pq.write_table(pa.table(tag), tmp_path / derived_tags.FILE)
    take(settings, [derived_tags.source(tmp_path)])
    generation = Log.open(settings).fingerprint
    assert {"interactions", "order_lines"} <= Log.open(settings).tables
    shutil.rmtree(settings.home / "parts")
    done = bring_in(settings, "till").done
    assert (done.changed, done.generation) == (True, generation)
    shutil.rmtree(settings.home / "parts" / "till")
    assert rejects.take_in(settings, tmp_path / "a.csv").generation == generation, "another source's, too"
    (damaged,) = (settings.home / "parts" / "till").glob("*/order_lines.parquet")
    damaged.unlink()
    assert bring_in(settings).done.changed
    assert not bring_in(settings).done.changed

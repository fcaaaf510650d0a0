"""Mended lines of receipts. If these fail, goods that were bought are in no feature, or are counted twice."""

import csv
import json
import re
import shutil
from collections import Counter
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builds_by_hand import MOMENT, NAMES, constant, write_build
from click.testing import CliRunner
from contracts import Answers, answers, same
from dirty import bring_in, rewrite, write_shop

from features.compute.engine import available
from features.compute.reference import compute
from features.definitions import catalogue
from features.inbox import Arrival, Inbox
from features.ingestion import rejects
from features.ingestion.ingest import Ingested, take
from features.log import Log
from features.moments import DAY, parse_moment
from features.settings import Settings
from features.shop import Shop
from features.sources import derived_tags
from propensity import main
from propensity.erasing import erase
from propensity.steps import take_inbox

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
MORE = """4,ann,2024-02-20 10:00,tea,7z00
4,ann,2024-02-20 11:00,cup,2z00
4,ann,2024-02-20 10:00,pot,1.00
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
    _rewrite(path, {name: {"amount": amount, **more} for name, amount in amounts.items()})
    return rejects.take_in(settings, path)


def _money(settings: Settings, table: str) -> dict[str, float]:
    """Order -> its money; of orders with what corrects them."""
    found: Counter[str] = Counter()
    for row in Log.open(settings).read(table).to_pylist():
        found[row["ref"] or row["order_id"]] += float(row["amount"])
    return dict(found)


def test_a_mended_line_joins_its_order_and_the_total_follows(tmp_path: Path) -> None:
    """Else goods that were bought are in no feature, or an order's total is not what its lines say."""
    settings = _lines_shop(tmp_path)
    done = _mend_lines(settings, tmp_path / "a.csv", {"1:cup": "3.00"})
    assert rejects.in_vain(done) == 0
    assert _money(settings, "order_lines") == _money(settings, "orders") == {"1": 13.0, "3": 9.0}
    assert sorted(Log.open(settings).read("orders")["order_id"].to_pylist()) == ["1", "3"]
    told = {(c.what, c.rows) for c in done.account if (c.source, c.table) == ("mended", "orders")}
    assert told == {("added to an order of its source", 1)}
    assert not rejects.take_in(settings, tmp_path / "a.csv").changed, "twice is once"
    assert not bring_in(settings).done.changed


@pytest.mark.parametrize("table", ["order_lines", "orders"])
def test_once_features_were_built_the_money_comes_in_a_row_of_its_own(tmp_path: Path, table: str) -> None:
    """Else what was known before changes. The order of a customer's day is one order, also then."""
    mapping = RECEIPT_LINES.format(total="").replace('order_id = "bon"\n', "")
    if table == "orders":
        mapping = mapping.replace("order_lines", "orders").replace('product_id = "item"\n', "")
    settings = write_shop(tmp_path, mapping, {"lines.csv": LINES})
    bring_in(settings)
    write_build(settings, NAMES, {MOMENT: constant(1)})
    before = {r["order_id"]: r for r in Log.open(settings).read("orders").to_pylist()}
    path, until = tmp_path / "a.csv", Log.open(settings).complete_until
    rejects.export(settings, path)
    path.write_text(path.read_text("utf-8").replace(",3x00,", ",3.00,"), "utf-8")
    done = rejects.take_in(settings, path)
    assert rejects.in_vain(done) == 0, done.account
    assert _money(settings, "orders") == {"till:ann:2024-01-05": 13.0, "till:bob:2024-03-01": 9.0}
    after = {r["order_id"]: r for r in Log.open(settings).read("orders").to_pylist()}
    assert {id: after[id] for id in before} == before, "nothing is updated in place"
    (more,) = after.keys() - before.keys()
    assert (after[more]["ref"], str(after[more]["amount"]), after[more]["channel"]) == (
        "till:ann:2024-01-05",
        "3.00",
        "store",
    )
    assert after[more]["known_at"] == until
    told = {
        (c.what, c.rows)
        for c in done.account
        if (c.source, c.table) == ("mended", "orders")
        if c.file is None
    }
    assert told == {("corrects the total of its order", 1)}


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
    assert told == {"not mended: its row is rejected no more"}


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


def test_the_largest_order_is_what_clean_files_would_have_made_it_once_that_is_known(tmp_path: Path) -> None:
    """Else a good customer's largest order stays what a misspelt price left of it."""
    dirty = _lines_shop(tmp_path / "dirty")
    right = re.sub(r"(\d)[xz]00", r"\1.00", LINES + MORE)
    clean = write_shop(tmp_path / "clean", RECEIPT_LINES.format(total=""), {"lines.csv": right})
    (tmp_path / "dirty" / "shop" / "lines.csv").write_text(LINES + MORE)
    for settings in (dirty, clean):
        bring_in(settings)
    write_build(dirty, NAMES, {MOMENT: constant(1)})
    shop, until = Shop.load(dirty.shop), Log.open(dirty).complete_until
    moments = [parse_moment("2024-02-01"), until, until + 40 * DAY]
    names = [f"order_max_{w}d" for w in (30, 90, 365)] + ["spend_90d", "orders_90d", "order_value_90d"]

    def values(settings: Settings) -> Answers:
        log = Log.open(settings)
        features = available(log, catalogue())
        found = answers(log, shop, features, moments)
        slow = {(m, id): v for m in moments for id, v in compute(log, shop, features, m).items()}
        same(found, {key: {name: v[name] for name in features} for key, v in slow.items()})
        return {key: {name: found[key][name] for name in names} for key in found if key[1] == "ann"}

    before, expected = values(dirty), values(clean)
    for amounts in (
        {"1:cup": "3.00"},
        {"4:tea": "7.00"},
        {"2:tea": "5.00", "2:cup": "1.00", "4:cup": "2.00"},
    ):
        _mend_lines(dirty, tmp_path / "a.csv", amounts)
    after = values(dirty)
    assert before != expected
    same(after, {key: (before if key[0] < until else expected)[key] for key in after})


def _rewrite(path: Path, corrections: dict[str, dict[str, str]]) -> None:
    """Order:product -> column -> value, in a file of rejected lines."""
    rewrite(path, lambda row: corrections.get(f"{row['order_id']}:{row['product_id']}", {}))


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
    """Else a slip of the hand (288 for 00287) brings a customer who does not exist into the log."""
    lines = LINES.replace("ann", "00287")
    files = {"lines.csv": lines, "totals.csv": STATED.replace("ann", "00287")}
    settings = write_shop(tmp_path, RECEIPT_LINES.format(total=total), files)
    bring_in(settings)
    generation, path = Log.open(settings).fingerprint, tmp_path / "a.csv"
    rejects.export(settings, path)
    _rewrite(path, {"1:cup": {"amount": "3.00", "customer_id": "288"}})
    code, text = _taken(settings, path)
    assert (code, "an order of two customers" in text) == (3, True), text
    assert Log.open(settings).fingerprint == generation, "nothing else changes: no customer 288 either"
    assert sum(r.mended for r in rejects.reasons(settings)) == 0
    _rewrite(path, {"1:cup": {"customer_id": "00287"}, "2:tea": {"amount": "5.00"}})
    assert _taken(settings, path)[0] == 0
    good = _money(settings, "order_lines")
    _rewrite(path, {"1:cup": {"customer_id": "288"}, "2:cup": {"amount": "1.00", "customer_id": "288"}})
    assert _taken(settings, path)[0] == 3
    assert _money(settings, "order_lines") == good == {"1": 13.0, "2": 5.0, "3": 9.0}


def test_zeros_that_a_spreadsheet_drops_from_an_id_are_put_back(tmp_path: Path) -> None:
    """Else mending order 00287 in a spreadsheet, which shows 287, gives it to a customer unheard of."""
    files = {"lines.csv": LINES.replace("ann", "00287"), "totals.csv": STATED.replace("ann", "00287")}
    settings = write_shop(tmp_path, RECEIPT_LINES.format(total=""), files)
    bring_in(settings)
    path = tmp_path / "a.csv"
    rejects.export(settings, path)
    before = set(Log.open(settings).read("customers", ["customer_id"])["customer_id"].to_pylist())
    _rewrite(path, {"1:cup": {"amount": "3.00", "customer_id": "287"}})
    assert _taken(settings, path)[0] == 0
    assert set(Log.open(settings).read("customers", ["customer_id"])["customer_id"].to_pylist()) == before
    assert _money(settings, "order_lines")["1"] == 13.0


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


TWO_ZONES = """
[mapping.web]
[[mapping.web.read]]
table = "orders"
files = "here.csv"
[mapping.web.read.columns]
order_id = "id"
customer_id = "who"
at = "when"
amount = "paid"
channel = {{ value = "web" }}
[[mapping.web.read]]
table = "orders"
files = "there*.csv"
zone = {zone}
[mapping.web.read.columns]
order_id = "id"
customer_id = "who"
at = "when"
amount = "paid"
channel = {{ value = "web" }}
"""


@pytest.mark.parametrize("zone", ['"America/New_York"', '{ column = "tz" }'])
def test_a_mended_time_is_of_the_zone_of_the_reading_that_rejected_it(tmp_path: Path, zone: str) -> None:
    """Else an order of New York is 12 hours early in a shop of Shanghai, and on another day."""
    head = "id,who,when,paid,tz\n"
    rows = [
        f"{n},ann,2023-05-{day},1.00,America/New_York\n"
        for n, day in ((3, "01 10:00:00"), (4, "32 10:00:00"))
    ]
    whole_day = "5,ann,2023-05-07,wrong,America/New_York\n"
    files = {
        "here.csv": head + "1,ann,2023-05-01 10:00:00,1.00,\n2,ann,2023-05-32 10:00:00,1.00,\n",
        "there1.csv": head + "".join(rows) + whole_day,
    }
    settings = write_shop(tmp_path, TWO_ZONES.format(zone=zone), files, "Asia/Shanghai", "CNY")
    bring_in(settings)
    path = tmp_path / "a.csv"
    rejects.export(settings, path)
    out = {r["order_id"]: r for r in csv.DictReader(path.read_text("utf-8").splitlines())}
    assert out["5"]["at"] == "2023-05-07", "a day, of the file's zone"
    path.write_text(path.read_text("utf-8").replace("05-32", "05-06").replace("wrong", "2.00"), "utf-8")
    rejects.take_in(settings, path)
    at = {r["order_id"]: (r["at"], r["known_at"]) for r in Log.open(settings).read("orders").to_pylist()}
    assert at["2"][0] == parse_moment("2023-05-06T02:00:00Z")
    assert at["4"][0] == parse_moment("2023-05-06T14:00:00Z")
    assert at["5"] == (parse_moment("2023-05-07T04:00:00Z"), parse_moment("2023-05-08T04:00:00Z"))


@pytest.mark.parametrize("table", ["orders", "order_lines"])
def test_a_mended_row_without_an_order_id_is_of_its_customers_day(tmp_path: Path, table: str) -> None:
    """Else a file without order ids cannot be mended: `no order_id`, whatever one writes."""
    mapping = RECEIPT_LINES.format(total="").replace('order_id = "bon"\n', "")
    if table == "orders":
        mapping = mapping.replace("order_lines", "orders").replace('product_id = "item"\n', "")
    lines = "who,when,item,paid\nann,2024-01-05,tea,4.00\nann,2024-01-32,cup,3.00\nbob,2024-03-01,tea,9.00\n"
    settings = write_shop(tmp_path, mapping, {"lines.csv": lines})
    bring_in(settings)
    path = tmp_path / "a.csv"
    rejects.export(settings, path)
    path.write_text(path.read_text("utf-8").replace("2024-01-32,", "2024-01-31,", 1), "utf-8")
    done = rejects.take_in(settings, path)
    assert rejects.in_vain(done) == 0, done.account
    expected = {"till:ann:2024-01-05": 4.0, "till:ann:2024-01-31": 3.0, "till:bob:2024-03-01": 9.0}
    assert _money(settings, table) == _money(settings, "orders") == expected


def test_a_record_that_could_not_be_read_is_handed_out_and_can_be_filled_in(tmp_path: Path) -> None:
    """Else nobody knows what the line was, and the purchase stays lost."""
    more = '1,ann,2024-01-05 10:00,cup, blue,3.00\n4,cleo,2024-01-05 10:00,pot, red,"big, old",2.00\n'
    settings = write_shop(tmp_path, RECEIPT_LINES.format(total=""), {"lines.csv": LINES + more})
    bring_in(settings)
    path = tmp_path / "a.csv"
    rejects.export(settings, path, table="order_lines")
    rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
    broken = [r for r in rows if r["reason"].startswith("unreadable")]
    record = {
        "bon": "1",
        "who": "ann",
        "when": "2024-01-05 10:00",
        "item": "cup",
        "paid": " blue",
        "_more": "3.00",
    }
    one, two = (json.loads(r["as in the file"]) for r in broken)
    assert (one, two["_more"]) == (record, '"big, old",2.00'), "all that stands there"
    for row, (order, who, money) in zip(broken, [("1", "ann", "3.00"), ("4", "cleo", "2.00")], strict=True):
        row |= {
            "order_id": order,
            "customer_id": who,
            "at": "2024-01-05 10:00",
            "product_id": "x",
            "amount": money,
        }
    done = _give_back(settings, path, broken)
    assert rejects.in_vain(done) == 0, done.account
    assert _money(settings, "order_lines") == _money(settings, "orders") == {"1": 13.0, "4": 2.0, "3": 9.0}
    broken[0]["given line"] = "first"
    done = _give_back(settings, path, broken[:1])
    told = {c.what for c in done.account if c.source == "mended" and not c.accepted}
    assert told == {"not mended: given line is not a whole number"}, "as the column is called there"
    assert "ann" in str(_rejected(settings))
    erase(settings, "cleo")
    assert "cleo" not in str(_rejected(settings)), "a line that nobody could read names people, too"


def _give_back(settings: Settings, path: Path, rows: list[dict[str, str]]) -> Ingested:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return rejects.take_in(settings, path)


def _rejected(settings: Settings) -> list[object]:
    paths = [*settings.home.glob("rejects/**/*.parquet"), *settings.home.glob("parts/*/*/rejects.parquet")]
    return [pq.read_table(path, partitioning=None).to_pylist() for path in paths]


def test_a_mended_line_joins_an_order_of_its_lines_alone_and_no_stated_total(tmp_path: Path) -> None:
    """Else a sale that only lines tell of stays short, or a stated total has a line's money twice."""
    mapping = RECEIPT_LINES.format(total=TOTALS)
    stated = STATED.replace("1,ann,2024-01-05 10:00,13.00\n2,ann,2024-01-06 10:00,6.00\n", "")
    lines = LINES + "3,bob,2024-03-01 11:00,cup,3x00\n"
    settings = write_shop(tmp_path, mapping, {"lines.csv": lines, "totals.csv": stated})
    bring_in(settings)
    mended = {"1:cup": "3.00", "2:tea": "5.00", "2:cup": "1.00", "3:cup": "2.00"}
    done = _mend_lines(settings, tmp_path / "a.csv", mended)
    assert _money(settings, "orders") == {"1": 13.0, "2": 6.0, "3": 9.0}
    assert _money(settings, "order_lines") == {"1": 13.0, "2": 6.0, "3": 11.0}
    assert {r["channel"] for r in Log.open(settings).read("orders").to_pylist()} == {"store"}
    assert done.suspicions == ()

"""Mended lines of a source with two channels: returns find their order, and what nobody says is refused."""

import csv
import json
from pathlib import Path

from builds_by_hand import MOMENT, NAMES, constant, write_build
from contracts import answers
from dirty import bring_in, write_shop
from test_mended import _give_back, _mend_lines

from features.definitions import catalogue
from features.ingestion import rejects
from features.ingestion.ingest import Ingested
from features.log import Log
from features.moments import parse_moment
from features.settings import Settings
from features.shop import Shop

TWO_CHANNELS = """
[mapping.till]
[[mapping.till.read]]
table = "order_lines"
files = "lines.csv"
[mapping.till.read.columns]
order_id = "bon"
customer_id = "who"
at = "when"
product_id = "item"
amount = "paid"
channel = "where"
"""
IN_CHANNELS = """bon,who,when,item,paid,where
1,ann,2024-01-05 10:00,tea,4.00,web
2,bob,2024-01-06 10:00,tea,5.00,store
3,ann,2024-01-07 10:00,cup,6.00,store,spilt
4,bob,2024-03-01 10:00,cup,-5.00,store,spilt
5,cleo,2024-03-02 10:00,pot,-1.00,store
"""
SOLD_AND_RETURNED = "5,cleo,2024-03-02 10:00,cup,9z00,store\n"


def _filled(settings: Settings, path: Path, **more: str) -> Ingested:
    """The records of `IN_CHANNELS` that could not be read, filled in, but for their channel."""
    rejects.export(settings, path)
    rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
    for row in rows:
        given = json.loads(row["as in the file"])
        row |= {"order_id": given["bon"], "customer_id": given["who"], "at": given["when"]}
        row |= {"product_id": given["item"], "amount": given["paid"], **more}
    return _give_back(settings, path, rows)


def test_a_line_of_which_nobody_says_the_channel_is_refused_and_never_lost(tmp_path: Path) -> None:
    """Else "accepted" is said of a purchase that is in no order."""
    settings = write_shop(tmp_path, TWO_CHANNELS, {"lines.csv": IN_CHANNELS})
    bring_in(settings)
    done = _filled(settings, tmp_path / "a.csv")
    assert rejects.in_vain(done) == 2
    assert {c.what for c in done.account if c.source == "mended"} == {"not mended: no channel"}
    assert sum(r.mended for r in rejects.reasons(settings)) == 0, "they wait"
    done = _filled(settings, tmp_path / "a.csv", channel="store")
    assert rejects.in_vain(done) == 0, done.account
    orders = {r["order_id"]: r for r in Log.open(settings).read("orders").to_pylist()}
    found = {id: (str(r["amount"]), r["channel"], r["ref"]) for id, r in orders.items()}
    assert (found["3"], found["4"]) == (("6.00", "store", None), ("-5.00", "store", "unknown"))


def test_a_return_that_is_mended_late_finds_its_order_and_changes_nothing_before(tmp_path: Path) -> None:
    """Else it is a purchase of negative money, or the past knows of it."""
    lines = IN_CHANNELS.replace("4,bob,2024-03-01 10:00,cup", "4,bob,2024-03-01 10:00,tea")
    lines = lines.replace("3,ann,2024-01-07 10:00,cup", "3,cleo,2024-01-07 10:00,pot")
    settings = write_shop(tmp_path, TWO_CHANNELS, {"lines.csv": lines})
    bring_in(settings)
    write_build(settings, NAMES, {MOMENT: constant(1)})
    before = {t: Log.open(settings).read(t).to_pylist() for t in ("orders", "order_lines", "cases")}
    until = Log.open(settings).complete_until
    done = _filled(settings, tmp_path / "a.csv", channel="store")
    assert rejects.in_vain(done) == 0, done.account
    log = Log.open(settings)
    for table, rows in before.items():
        after = log.read(table).to_pylist()
        assert [r for r in rows if r not in after] == [], table
        assert {r["known_at"] for r in after if r not in rows} == {until}, table
    cases = [r for r in log.read("cases").to_pylist() if r["case_id"] == "4"]
    told = {(r["customer_id"], r["ref"], r["kind"], r["change"], r["known_at"]) for r in cases}
    assert told == {("bob", "2", "return", change, until) for change in ("opened", "closed")}


def test_a_sale_under_the_number_of_a_return_is_a_sale_and_the_return_is_of_it(tmp_path: Path) -> None:
    """Else the return becomes part of a purchase, or a receipt that was returned cannot be mended."""
    settings = write_shop(tmp_path, TWO_CHANNELS, {"lines.csv": IN_CHANNELS + SOLD_AND_RETURNED})
    bring_in(settings)
    done = _mend_lines(settings, tmp_path / "a.csv", {"5:cup": "9.00"})
    assert rejects.in_vain(done) == 0, done.account
    log = Log.open(settings)
    money = {r["order_id"]: (str(r["amount"]), r["ref"]) for r in log.read("orders").to_pylist()}
    assert (money["5"], money["5:return:2024-03-02"]) == (("9.00", None), ("-1.00", "5"))
    assert {r["ref"] for r in log.read("cases").to_pylist()} == {"5"}


RETURNED = """bon,who,when,item,paid,where
1,ann,2024-01-05 10:00,tea,4.00,store
1,ann,2024-01-05 10:00,cup,6.00,store
2,ann,2024-01-06 10:00,pot,9.00,store
1,ann,31.02.2024,tea,-4.00,store
2,ann,31.02.2024,pot,-9.00,store
1,ann,2024-01-20 10:00,cup,-6.00,store
9,bob,2024-03-01 10:00,tea,5.00,store
"""


def test_returns_without_a_time_are_of_their_own_receipts_once_that_is_given(tmp_path: Path) -> None:
    """Else two returns of one day become one, of one receipt; or a return meets a sale, and is none."""
    settings = write_shop(tmp_path / "dirty", TWO_CHANNELS, {"lines.csv": RETURNED})
    clean = write_shop(
        tmp_path / "clean", TWO_CHANNELS, {"lines.csv": RETURNED.replace("31.02.2024", "2024-01-20 10:00")}
    )
    bring_in(clean)
    bring_in(settings)
    path = tmp_path / "a.csv"
    rejects.export(settings, path)
    rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
    assert [row["order_id"] for row in rows] == ["1", "2"]
    done = _give_back(settings, path, [row | {"at": "2024-01-20 10:00"} for row in rows])
    assert rejects.in_vain(done) == 0, done.account
    for table in ("orders", "order_lines", "cases"):
        held, wanted = (
            sorted(
                tuple(str(v) for c, v in r.items() if c != "line")
                for r in Log.open(home).read(table).to_pylist()
            )
            for home in (settings, clean)
        )
        assert held == wanted, table


def test_a_line_of_a_return_that_is_mended_late_is_no_second_return(tmp_path: Path) -> None:
    """Else whoever mends after a build makes customers return more often, and the order is short of it."""
    lines = RETURNED.replace("1,ann,31.02.2024,tea,-4.00", "1,ann,2024-01-20 10:00,tea,-4z00")
    settings = write_shop(tmp_path, TWO_CHANNELS, {"lines.csv": lines})
    bring_in(settings)
    write_build(settings, NAMES, {MOMENT: constant(1)})
    until = Log.open(settings).complete_until
    done = _mend_lines(settings, tmp_path / "a.csv", {"1:tea": "-4.00"})
    assert rejects.in_vain(done) == 0, done.account
    log = Log.open(settings)
    assert sum(r["amount"] for r in log.read("orders").to_pylist() if "1" in (r["order_id"], r["ref"])) == 0
    features = {name: catalogue()[name] for name in ("returns_365d", "refunds_365d", "order_max_365d")}
    told = answers(log, Shop.load(settings.shop), features, [until])[until, "ann"]
    assert told == {"returns_365d": 1, "refunds_365d": -10, "order_max_365d": 10}


def test_once_the_log_was_used_a_sale_under_the_number_of_a_return_is_refused(tmp_path: Path) -> None:
    """Else what was known before changes."""
    settings = write_shop(tmp_path, TWO_CHANNELS, {"lines.csv": IN_CHANNELS + SOLD_AND_RETURNED})
    bring_in(settings)
    write_build(settings, NAMES, {MOMENT: constant(1)})
    done = _mend_lines(settings, tmp_path / "a.csv", {"5:cup": "9.00"})
    assert {c.what for c in done.account if c.source == "mended"} == {
        "not mended: a sale under the order_id of a return"
    }


def test_the_files_moment_of_knowing_is_handed_out_beside_a_time_that_cannot_be_read(tmp_path: Path) -> None:
    """Else the order is known at once, before the shop could know it."""
    mapping = TWO_CHANNELS + 'known_at = "heard"\n'
    lines = "bon,who,when,item,paid,where,heard\n1,ann,2024-01-05 10:00,tea,4.00,web,2024-01-09 10:00\n"
    lines += "2,ann,31.02.2024,tea,5.00,web,2024-03-09 10:00\n3,ann,2024-03-01 10:00,tea,5.00,web,soon\n"
    settings = write_shop(tmp_path, mapping, {"lines.csv": lines})
    bring_in(settings)
    path = tmp_path / "a.csv"
    rejects.export(settings, path)
    rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
    assert [(r["at"], r["known_at"][:16]) for r in rows] == [
        ("31.02.2024", "2024-03-09 10:00"),
        ("2024-03-01 10:00:00+00", "soon"),
    ]
    rows[0]["at"] = "2024-03-01"
    _give_back(settings, path, rows)
    (row,) = (r for r in Log.open(settings).read("orders").to_pylist() if r["order_id"] == "2")
    assert row["known_at"] == parse_moment("2024-03-09T10:00:00Z")

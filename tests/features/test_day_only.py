"""Days without a time. If these fail, a till that prints dates makes night owls of all its customers."""

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from contracts import Answers, answers, same
from dirty import TILL, Brought, bring_in, write_shop

from features.compute.engine import available
from features.compute.reference import compute
from features.contracts import declaration_problems, value_problems
from features.definitions import Feature, catalogue
from features.describe import judge, measure
from features.describe.absent import remarks
from features.files import sha256
from features.ingestion import rejects
from features.moments import parse_moment
from features.settings import Settings
from features.shop import Shop
from features.tables import OURS
from features.words import Words

WEB = """[[mapping.web.read]]
table = "orders"
files = "web.csv"
[mapping.web.read.columns]
order_id = "no"
customer_id = "who"
at = "when"
amount = "paid"
channel = { value = "web" }
"""
DAYS = "no,who,day,paid\n1,bob,2024-03-01,5\n2,cat,2024-03-02,6\n3,cat,2024-01-02,7\n"
TIMES = "no,who,when,paid\nw1,ann,2024-03-01 18:10,5\nw2,cat,2024-03-02 19:00,6\nw3,ann,2024-03-01 09:10,7\n"
LINES = """[[mapping.till.read]]
table = "order_lines"
files = "lines.csv"
[mapping.till.read.columns]
order_id = "no"
customer_id = "who"
at = "day"
product_id = "what"
amount = "paid"
channel = { value = "store" }
"""
NAMES = ("order_hour_365d", "evening_orders_30d", "evening_orders_90d", "orders_30d", "order_weekday_365d")


def _values(log: Brought, *moments: str) -> Answers:
    """What features say, by the engine; the reference agrees."""
    shop, at = Shop.load(log.settings.shop), [parse_moment(m) for m in moments]
    features = available(log.log, catalogue())
    found = answers(log.log, shop, features, at)
    slow = {(m, id): v for m in at for id, v in compute(log.log, shop, features, m).items()}
    same(found, {key: {name: v[name] for name in features} for key, v in slow.items()})
    return found


def test_hours_are_not_known_where_only_the_day_is_and_known_where_sources_mix(tmp_path: Path) -> None:
    """Half past six on the web is an evening; a date on a receipt is neither midnight nor "by day"."""
    settings = write_shop(tmp_path, TILL + WEB, {"orders.csv": DAYS, "web.csv": TIMES})
    found = _values(bring_in(settings), "2024-03-10T00:00:00Z")
    seen = {id: [found[m, id][name] for name in NAMES] for m, id in found}
    nan = pytest.approx(float("nan"), nan_ok=True)
    assert seen["ann"] == [9, 1, 1, 2, 5], "18:10 and 09:10 on a Friday"
    assert seen["bob"] == [nan, nan, nan, 1, 5]
    assert seen["cat"] == [19, nan, nan, 2, 6], "the hour of what is known; how many evenings is not known"


def test_a_day_counts_when_it_is_over_and_leaves_the_window_with_its_order(tmp_path: Path) -> None:
    """A till's day that is not over cannot be known, and what left the window is no doubt any more."""
    log = bring_in(write_shop(tmp_path, TILL + WEB, {"orders.csv": DAYS, "web.csv": TIMES}))
    at = [parse_moment(m) for m in ("2024-03-01T20:00:00Z", "2024-03-02T20:00:00Z", "2024-05-20T00:00:00Z")]
    found = _values(log, *(str(m) for m in at))
    assert (at[0], "bob") not in found, "her first order is of a day that is not over"
    assert found[at[1], "cat"]["evening_orders_7d"] == 1, "of today's receipt nothing is known yet"
    assert found[at[2], "cat"]["evening_orders_30d"] == 0, "nothing happened: that is known"
    late = [r["known_at"] for r in log.rows("orders") if r["precision"] == "day"]
    assert sorted(late) == [parse_moment(f"2024-{d}") for d in ("01-03", "03-02", "03-03")]


def test_a_log_says_which_features_it_cannot_tell_and_why(tmp_path: Path) -> None:
    """Else an operator sees an empty column, and looks for the fault in the wrong place."""
    features = catalogue()
    (tmp_path / "a").mkdir()
    only = bring_in(write_shop(tmp_path / "a", TILL, {"orders.csv": DAYS}))
    lacking = {(a.table, a.column): a.features for a in measure(only.settings).absent}
    assert {"order_hour_365d", "evening_orders_7d"} <= {*lacking["orders", "hour"]}
    assert "order_weekday_365d" not in lacking["orders", "hour"]
    assert remarks(only.log, features)["evening_orders_7d"].en == "empty: no times of orders (only days)"
    mixed = bring_in(write_shop(tmp_path / "b", TILL + WEB, {"orders.csv": DAYS, "web.csv": TIMES}))
    facts = measure(mixed.settings)
    assert ("orders", "hour") not in {(a.table, a.column) for a in facts.absent}
    said = " ".join(f.what.en for f in judge(facts).findings)
    assert (
        "3 of 6 orders are known by their day alone: evening_orders_{7,30,90,365}d, order_hour_365d" in said
    )
    note = remarks(mixed.log, features)["order_hour_365d"]
    assert note == Words(
        "not known where only the day is (3 of 6 orders)", "仅有日期时未知（6条订单中的3条）"
    )


def test_an_order_of_lines_and_its_return_are_of_their_day(tmp_path: Path) -> None:
    lines = "no,who,day,what,paid\n1,ann,2024-03-01,tea,5\n1,ann,2024-03-01,cup,2\n2,ann,2024-03-03,tea,-5\n"
    log = bring_in(write_shop(tmp_path, LINES, {"lines.csv": lines}))
    for table in ("orders", "order_lines", "cases"):
        assert {r["precision"] for r in log.rows(table)} == {"day"}, table


def test_a_cancellation_of_a_day_is_known_when_that_is_over(tmp_path: Path) -> None:
    """Known from its midnight on, it would tell a model in the morning what is cancelled in the evening."""
    cancelled = '[mapping.web.read.cancelled]\ncolumn = "state"\nvalues = ["x"]\nat = "until"\n'
    orders = (
        "no,who,when,paid,state,until\n1,ann,2024-03-01 18:10,5,x,2024-03-03\n2,ann,2024-03-09 18:10,5,,\n"
    )
    log = bring_in(write_shop(tmp_path, WEB + cancelled, {"web.csv": orders}))
    (back,) = (r for r in log.rows("orders") if r["ref"] == "1")
    days = parse_moment("2024-03-03"), parse_moment("2024-03-04")
    assert (back["at"], back["known_at"], back["precision"]) == (*days, "day")


def test_a_mended_day_stays_a_day_and_a_time_that_a_person_gives_is_one(tmp_path: Path) -> None:
    days = DAYS + "4,dan,2024-03-04,5z\n5,eve,2024-03-04,5z\n"
    settings, path = write_shop(tmp_path, TILL, {"orders.csv": days}), tmp_path / "a.csv"
    bring_in(settings)
    rejects.export(settings, path)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert "precision" not in rows[0]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        for row in rows:
            time = {"at": "2024-03-04 12:30"} if row["order_id"] == "5" else {}
            writer.writerow(row | {"amount": "5"} | time)
    assert rejects.in_vain(rejects.take_in(settings, path)) == 0
    found = {r["order_id"]: (r["precision"], r["known_at"]) for r in bring_in(settings).rows("orders")}
    assert found["4"] == ("day", parse_moment("2024-03-05"))
    assert found["5"] == (None, parse_moment("2024-03-04T12:30:00Z"))


def test_a_part_from_before_the_column_is_still_read(tmp_path: Path) -> None:
    """Else everybody must find the files of years again to go on with today's."""
    settings = write_shop(tmp_path, TILL + WEB, {"orders.csv": DAYS, "web.csv": TIMES})
    bring_in(settings)
    _forget_the_column(settings, "till")
    log = bring_in(settings, "web")
    assert not log.done.changed
    (tmp_path / "shop" / "web.csv").write_text(TIMES + "w4,ann,2024-03-05 18:10,5\n")
    log = bring_in(settings, "web")
    assert {r["order_id"]: r["precision"] for r in log.rows("orders")} == dict.fromkeys(
        ("1", "2", "3", "w1", "w2", "w3", "w4")
    )


def test_a_log_from_before_the_column_gives_what_it_gave(tmp_path: Path) -> None:
    """Else a home cannot build until everything was ingested again."""
    log = bring_in(write_shop(tmp_path, WEB, {"web.csv": TIMES}))
    before = _values(log, "2024-03-10T00:00:00Z")
    (path,) = log.log.paths("orders")
    table = pq.read_table(path).drop_columns([*OURS])
    path.unlink()  # the part's own file is the same
    pq.write_table(table, path)
    shop, features = Shop.load(log.settings.shop), available(log.log, catalogue())
    same(before, answers(log.log, shop, features, [parse_moment("2024-03-10T00:00:00Z")]))


def test_a_log_of_which_one_source_is_older_than_the_column_passes_its_check(tmp_path: Path) -> None:
    """Else `propensity check` ends in a stack trace on a log that builds, and checks nothing."""
    brought = bring_in(write_shop(tmp_path, TILL + WEB, {"orders.csv": DAYS, "web.csv": TIMES}))
    log, shop = brought.log, Shop.load(brought.settings.shop)
    features = available(log, catalogue())
    (old,) = (path for path in log.paths("orders") if path.stem == "web")
    table = pq.read_table(old).drop_columns([*OURS])
    old.unlink()  # the part's own file is the same
    pq.write_table(table, old)
    moment = parse_moment("2024-03-10T00:00:00Z")
    assert value_problems(log, shop, features, [moment], ["ann", "bob", "cat"]) == []
    assert set(log.read("orders")["precision"].to_pylist()) == {None, "day"}


def _forget_the_column(settings: Settings, source: str) -> None:
    """Make a part as an earlier version wrote it."""
    for part in (settings.home / "parts" / source).iterdir():
        path = part / "orders.parquet"
        table = pq.read_table(path).drop_columns([*OURS])
        path.unlink()  # the log's own file is the same
        pq.write_table(table, path)
        facts = json.loads((part / "part.json").read_text())
        facts["files"]["orders"]["sha256"] = sha256(path)
        (part / "part.json").write_text(json.dumps(facts))


def test_a_condition_on_the_clock_is_told_to_ask_for_the_hour() -> None:
    """`local_at` of a day is its midnight: its hour would make a purchase of the night of it."""
    night = Feature(
        name="night", words=Words("At night", "夜间"), unit="orders", measure="count", table="orders",
        where="hour(local_at) < 6", window=30,
    )  # fmt: skip
    assert any("write `hour`" in problem for problem in declaration_problems({"night": night}))

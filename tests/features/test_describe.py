"""`propensity log describe`: a data engineer and an operations lead must be able to believe every number."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from dirty import LINES, bring_in, write_shop
from hypothesis import given
from hypothesis import strategies as st
from logs import OF_LOG, write_log

import propensity
from features.describe import as_json, judge, measure, render
from features.describe.facts import Facts
from features.describe.gaps import find_gaps
from features.describe.sheets import fates, months, states, why_rejected
from features.errors import LogError
from features.ingestion.folding import JOINED_PERSON
from features.ingestion.scrubbing import LINKED
from features.log import Log
from features.moments import DAY, iso, parse_moment
from features.settings import Settings
from features.sources.corrected import NO_OBJECT, UNCLEAR

START = parse_moment("2017-01-02T05:00:00Z")  # a Monday, 00:00 in New York
HOSTILE = "<script>alert(1)</script>&\"'"


@pytest.fixture(scope="session")
def real(journey: Settings) -> Facts:
    return measure(journey)


def test_every_month_of_the_real_log_is_as_pandas_counts_it(journey: Settings, real: Facts) -> None:
    log = Log.open(journey)
    orders = log.read("orders", ["customer_id", "at", "amount"]).to_pandas()
    orders["month"] = orders["at"].dt.tz_convert("America/New_York").dt.strftime("%Y-%m")
    own = pd.concat([orders, log.read("responses", ["customer_id", "at"]).to_pandas()])
    own["month"] = own["at"].dt.tz_convert("America/New_York").dt.strftime("%Y-%m")
    contacts = log.read("contacts", ["at"]).to_pandas()["at"].dt.tz_convert("America/New_York")
    touched = contacts.dt.strftime("%Y-%m").value_counts()
    first = orders.groupby("customer_id")["month"].min().value_counts()
    inside = [month for month in real.months if month.days]
    assert [f"{m.start:%Y-%m}" for m in inside] == sorted(orders["month"].unique())
    for month in inside:
        name = f"{month.start:%Y-%m}"
        here = orders[orders["month"] == name]
        assert month.orders == len(here)
        assert month.sales == sum(here["amount"], Decimal())
        assert month.active == own[own["month"] == name]["customer_id"].nunique()
        assert month.new == first.get(name, 0)
        assert month.events == len(own[own["month"] == name]) + touched.get(name, 0)
        assert month.days == month.length
    assert [m.events for m in real.months if not m.days] == [touched["2016-11"], touched["2016-12"]]


def test_what_the_real_log_is_is_told(journey: Settings, real: Facts) -> None:
    orders = Log.open(journey).read("orders", ["customer_id", "amount"]).to_pandas()
    per_customer = orders["customer_id"].value_counts()
    assert (real.buyers, real.one_time) == (len(per_customer), (per_customer == 1).sum())
    assert (real.customers, real.days, real.orders) == (2_469, 365, len(orders))
    assert real.sales == sum(orders["amount"], Decimal())
    assert (real.raw, real.rejected, real.anonymous) == (1_571_130 + 536, 5_859, (0, 0))  # its calendar
    assert real.rows("order_lines") == 1_463_448
    (reject,) = [account for account in real.accounts if not account.accepted]
    assert (reject.what, reject.rows, reject.file) == ("neither quantity nor money", 5_859, "transactions")
    lines = pq.read_table(journey.home / "rejects" / real.log / "complete_journey.parquet")["line"]
    assert reject.first_line == min(lines.to_pylist())
    (late,) = [part for part in real.parts if part.late]
    assert (late.table, late.late, late.late_median) == ("responses", 2_102, 24 * 60)
    assert [(c.channel, c.unknown, c.default) for c in real.consents] == [("mail", 2_469, True)]
    assert judge(real).enough


def test_the_only_day_without_an_order_in_the_real_log_is_christmas(real: Facts) -> None:
    """Else: campaign answers, which come in bursts, bury the one day that somebody should ask about."""
    assert [(gap.table, gap.first, gap.last, gap.found) for gap in real.gaps] == [
        ("orders", date(2017, 12, 25), date(2017, 12, 25), 0)
    ]


def order(number: int, customer: str, at: datetime, amount: str, **more: Any) -> dict[str, Any]:
    return {
        "order_id": f"o{number}", "customer_id": customer, "at": at, "known_at": at, "channel": "store",
        "amount": Decimal(amount), "discount": Decimal(0), **more,
    }  # fmt: skip


def steady(days: int, buyers: int, without: Iterable[int] = (), a_day: int = 15) -> list[dict[str, Any]]:
    """`a_day` orders on each day but Sundays and those in `without`, by `buyers` customers in turn."""
    closed = set(without)
    times = [
        START + day * DAY + timedelta(hours=10, minutes=minute)
        for day in range(days)
        if day % 7 != 6 and day not in closed
        for minute in range(a_day)
    ]
    return [order(number, f"c{number % buyers}", at, "9.90") for number, at in enumerate(times)]


def write_manifest(
    home: Settings,
    log: Log,
    days: int,
    accounts: Mapping[str, Iterable[Any]],
    starts_at: datetime = START,
) -> None:
    """Make it the log in force, complete for so many days, with each source's account of its rows."""
    states = {"starts_at": iso(starts_at), "complete_until": iso(START + days * DAY)}
    sources = {name: {"stamp": "", "account": list(account), **states} for name, account in accounts.items()}
    manifest = {"shop": OF_LOG, "files": log.files, "sources": sources, **states}
    (log.folder / "manifest.json").write_text(json.dumps(manifest))
    (home.home / "log" / "CURRENT").write_text("by-hand")


def described(
    home: Settings,
    tables: Mapping[str, Iterable[Mapping[str, Any]]],
    days: int,
    account: Iterable[tuple[Any, ...]] = (),
    source: str = "part0",
    starts_at: datetime = START,
) -> Facts:
    """Counts of a log of these rows."""
    log = write_log(home.home / "log" / "by-hand", tables)
    write_manifest(home, log, days, {source: account}, starts_at)
    return measure(home)


def test_a_planted_gap_late_rows_and_returns_are_found_as_they_were_planted(home: Settings) -> None:
    gone = {*range(60, 63), 100}  # three days in a row, and a Wednesday
    orders = steady(140, 600, gone)
    for number in range(7):  # five match, one names what is not there, one is no return
        ref = "lost" if number == 5 else f"o{number}"
        amount = "3.00" if number == 6 else "-4.00"
        at = START + 80 * DAY + timedelta(hours=number)
        orders.append(order(900_000 + number, f"c{number}", at, amount, ref=ref))
    for row, lateness in zip(orders[:10], [1, 1, 2, 2, 2, 2, 2, 48, 48, 72], strict=True):
        row["known_at"] = row["at"] + timedelta(hours=lateness)
    facts = described(home, {"orders": orders}, 140)
    monday = date(2017, 1, 2)
    assert [(g.first, g.last, g.found, g.usual) for g in facts.gaps] == [
        (monday + 60 * timedelta(1), monday + 61 * timedelta(1), 0, 30),  # the third day is a Sunday
        (monday + 100 * timedelta(1), monday + 100 * timedelta(1), 0, 15),
    ]
    (part,) = facts.parts
    assert (part.rows, part.late, part.late_median, part.late_p95) == (len(orders), 10, 120, 72 * 60)
    assert (facts.returns, facts.returned, facts.unmatched) == (6, Decimal("24.00"), 1)
    bought = len(orders) - 7
    assert (facts.orders, facts.sales) == (bought, bought * Decimal("9.90"))
    assert (facts.days, facts.buyers, facts.look_alikes) == (140, 600, 0)
    said = " ".join(finding.what.en for finding in judge(facts).findings)
    assert "2 gaps that look like missing deliveries" in said
    assert "16.7% of the returns are of an order that the log lacks (1 of 6)" in said


def test_orders_that_were_delivered_twice_under_new_ids_are_noticed(home: Settings) -> None:
    orders = steady(30, 50)
    again = [dict(row, order_id=f"again{row['order_id']}") for row in orders[:20]]
    facts = described(home, {"orders": orders + again}, 30)
    assert facts.look_alikes == 20
    assert any("20 orders repeat another's" in finding.what.en for finding in judge(facts).findings)


@pytest.mark.parametrize(
    ("buyers", "days", "enough"), [(500, 180, True), (499, 180, False), (500, 179, False), (499, 179, False)]
)
def test_under_500_buyers_or_180_days_it_says_that_there_is_not_enough(
    home: Settings, buyers: int, days: int, enough: bool
) -> None:
    """Else: somebody trains on a handful of customers, and believes the figures."""
    facts = described(home, {"orders": steady(days, buyers)}, days)
    assert (facts.buyers, facts.days) == (buyers, days)
    verdict = judge(facts)
    assert verdict.enough == enough
    stops = " ".join(f"{f.what.en} {f.do.en}" for f in verdict.findings if f.weight == "stop")
    assert ("not enough" in verdict.words.en) == ("不足" in verdict.words.zh) == (not enough)
    assert ("499 customers with an order, 1 fewer than 500" in stops) == (buyers < 500)
    assert ("179 days of orders, 1 fewer than 180" in stops) == (days < 180)
    assert ("wait 1 day" in stops) == (days < 180)
    result = CliRunner().invoke(propensity.main, ["log", "describe"], env={"PROPENSITY_HOME": str(home.home)})
    assert result.exit_code == (0 if enough else 3)
    assert ("There is not enough to model" in result.output) == (not enough)


def test_what_the_log_lacks_is_told_by_table_and_by_column(home: Settings) -> None:
    """Else: features are missing, or are 0 for everybody, and nobody knows why."""
    facts = described(home, {"orders": steady(30, 50)}, 30)
    lacking = {(absent.table, absent.column): absent.features for absent in facts.absent}
    assert "contacts_30d" in lacking["contacts", None]
    assert "days_since_response" in lacking["responses", None]
    assert "private_share_30d" in lacking["order_lines", None], "an expression goes with its input's table"
    assert "stores_30d" in lacking["orders", "store_id"], "a column without a value is as good as absent"
    assert sum(map(len, lacking.values())) == len({name for names in lacking.values() for name in names})
    assert "returns_30d" in lacking["orders", "ref"]
    assert "orders_30d" not in lacking["orders", "ref"], "a log without returns lacks no orders"
    without = {name for names in lacking.values() for name in names}
    assert not {"order_max_7d", "order_max_365d"} & without, "nor does one in which nothing was corrected"


def test_a_discount_that_no_row_has_is_not_known_to_be_none(home: Settings) -> None:
    """Else it is `in the log: yes`, and everybody is told to care for no discount that nobody wrote down."""
    facts = described(home, {"orders": steady(30, 50)}, 30)
    lacking = {(absent.table, absent.column): absent.features for absent in facts.absent}
    assert {"discount_30d", "discount_share_30d"} <= set(lacking["orders", "discount"])
    one = [row | {"discount": Decimal(number == 7)} for number, row in enumerate(steady(30, 50))]
    facts = described(home, {"orders": one}, 30)
    assert ("orders", "discount") not in {(absent.table, absent.column) for absent in facts.absent}


def test_contacts_consents_and_merged_ids_are_counted_as_they_are_in_force(home: Settings) -> None:
    base = {"at": START, "known_at": START}
    customers = [base | {"customer_id": f"c{n}"} for n in range(10)]
    contacts = [
        base | {"contact_id": f"k{n}", "customer_id": f"c{n}", "action": "a", "channel": "sms",
                "propensity": 0.5 if n < 3 else None}
        for n in range(8)
    ]  # fmt: skip
    consents = [
        {"customer_id": f"c{n}", "channel": "sms", "purpose": purpose, "status": status,
         "at": START + day * DAY, "known_at": START + day * DAY}
        for n, purpose, status, day in [
            (0, "marketing", "granted", 0), (1, "marketing", "granted", 0), (1, "marketing", "withdrawn", 3),
            (2, "marketing", "withdrawn", 1), (2, "marketing", "granted", 2), (3, "service", "granted", 0),
        ]
    ]  # fmt: skip
    identities = [
        base | {"source": source, "source_id": id, "customer_id": customer}
        for source, id, customer in [
            ("crm", "1", "c1"),
            ("web", "9", "c1"),
            ("crm", "4", "c4"),
            ("web", "4", "c4"),
            ("crm", "2", "c2"),
            ("crm", "2", "c3"),
        ]
    ]  # fmt: skip
    tables = {
        "orders": steady(30, 10), "customers": customers, "contacts": contacts, "consents": consents,
        "identities": identities,
    }  # fmt: skip
    facts = described(home, tables, 30)
    assert (facts.contacts, facts.with_propensity) == (8, 3)
    assert (facts.several_ids, facts.shared_ids) == (1, 1), "c4 has the same id in both systems"
    told = {c.channel: (c.granted, c.withdrawn, c.unknown, c.default) for c in facts.consents}
    assert told == {"mail": (0, 0, 10, True), "sms": (2, 1, 7, None)}


def test_the_anonymous_the_repeated_and_the_broken_are_told_apart(home: Settings) -> None:
    account = [
        ("orders", "tills.csv", True, "", 600), ("orders", "tills.csv", False, "no customer_id", 300),
        ("orders", "tills.csv", False, "a second row with the same order_id", 70),
        ("orders", "tills.csv", False, "amount is not an amount of money", 30),
        ("orders", "tills.csv", False, "no sale: bad debt", 500, True),
        ("products", "products.csv", True, "", 500), ("customers", None, True, "", 50),
        ("customers", None, False, "no customer_id", 9),  # of no raw file: counted where it came from
    ]  # fmt: skip
    facts = described(home, {"orders": steady(30, 50)}, 30, account)
    assert (facts.raw, facts.rejected, facts.anonymous, facts.repeated) == (2000, 400, (300, 1000), 70)
    said = " ".join(finding.what.en for finding in judge(facts).findings)
    assert "30.0% of the rows name no customer (300 of 1,000)" in said
    assert "1.5% of the rows broke a contract (30 of 2,000)" in said


def test_a_row_that_was_mended_is_not_called_left_out(home: Settings) -> None:
    account = [
        ("orders", "tills.csv", True, "", 600), ("orders", "tills.csv", False, "mended: no amount", 3, True),
        ("orders", "a.csv", False, "not mended: no amount", 2, True),
    ]  # fmt: skip
    shown = fates(described(home, {"orders": steady(30, 50)}, 30, account))
    told = {(row[0].en, row[1].en, row[2]) for row in shown.rows}
    assert told == {("mended", "no amount", 3), ("not mended", "no amount", 2)}


def test_a_row_with_an_impossible_date_makes_no_gap_of_decades_and_no_endless_page(home: Settings) -> None:
    orders = steady(250, 600)
    for number, year in enumerate(("0002", "1970", "2199")):
        at = parse_moment(f"{year}-01-01T12:00:00Z")
        orders.append(order(800_000 + number, "c1", at, "9.90"))
    facts = described(home, {"orders": orders}, 250, starts_at=parse_moment("0002-01-01T12:00:00Z"))
    assert facts.gaps == ()
    assert (facts.begins, facts.days) == (date(2017, 1, 2), 250)
    assert len(facts.months) == 9 + 3
    assert sum(month.orders for month in facts.months) == facts.orders == len(orders)
    verdict = judge(facts)
    assert verdict.enough
    said = " ".join(finding.what.en for finding in verdict.findings)
    assert "2 of 3,228 orders are dated before 2 Jan 2017 (the first 1 Jan 2, 07:03), and none" in said
    assert "Orders from 2 Jan 2017 (2 odd ones before, from 1 Jan 2, 07:03 on)" in states(facts).en


def test_a_month_that_the_log_ends_in_counts_the_days_that_it_names(home: Settings) -> None:
    """Else one source that ends later fills the last month: 12 days with the sales of 14 look like growth."""
    orders = steady(130, 600)
    ends = START + 130 * DAY  # 12 May, 00:00
    late = [order(900_000 + n, f"c{n}", ends + timedelta(hours=n), "7") for n in range(40)]
    facts = described(home, {"orders": [*orders, *late]}, 130)
    *_, last, after = facts.months
    assert (last.start, last.days, after.start, after.days) == (date(2017, 5, 1), 11, date(2017, 5, 1), 0)
    assert last.orders == sum(row["at"] >= parse_moment("2017-05-01T04:00:00Z") for row in orders)
    assert (after.orders, after.sales) == (40, Decimal(280))
    shown = [row[0].en for row in months(facts).rows]
    assert shown[-2:] == ["May 2017 (11 of 31 days)", "May 2017 (outside the log's days)"]


def test_a_shop_that_starts_slowly_begins_with_its_first_order(home: Settings) -> None:
    """Else its first months are cut off, its first orders are called slips, and two beginnings are told."""
    slow = [order(900_000 + n, f"s{n}", START + n * 60 * DAY, "5") for n in range(5)]
    later = [row | {"at": (at := row["at"] + 300 * DAY), "known_at": at} for row in steady(500, 600)]
    facts = described(home, {"orders": [*slow, *later]}, 800)
    assert len(slow) * 1000 < facts.orders, "fewer than one in a thousand"
    assert (facts.begins, facts.early, facts.days) == (date(2017, 1, 2), 0, 800)
    assert "Orders from 2 Jan 2017, 00:00, complete" in states(facts).en
    assert not [f for f in judge(facts).findings if "wrong date" in f.what.en]


def test_products_without_a_category_are_told_with_one_of_them(tmp_path: Path) -> None:
    """Else what is bought of a product that the catalogue forgot is of no category, and nobody knows."""
    lines = "no,who,when,what,n,price,cat\n" + "".join(
        f"{n},c{n},2024-01-0{1 + n},{what},1,5,{category}\n"
        for n, (what, category) in enumerate([("tea", "food"), ("pot", ""), ("cup", "home")])
    )
    shop = write_shop(tmp_path, LINES.format(more='category = "cat"'), {"lines.csv": lines})
    bring_in(shop)
    known = [f.what for f in judge(measure(shop)).findings if f.weight == "know"]
    assert any("1 of 3 products that were sold have no category, such as pot" in one.en for one in known)
    assert any("3种售出商品中有1种没有类目（如pot）" in one.zh for one in known)


def test_without_a_log_it_says_what_to_do(home: Settings) -> None:
    with pytest.raises(LogError, match="propensity ingest"):
        measure(home)
    assert not home.home.exists()


class _Reader(HTMLParser):
    """Keeps what a browser would load, and whether the tags match."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.loads += [
            f"{tag} {name}={value}" for name, value in attrs if name in ("src", "href", "data", "action")
        ]
        if tag not in ("meta", "input", "br", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_stands_alone_and_no_name_in_the_log_can_write_into_it(
    home: Settings, language: str
) -> None:
    """Else: a source's or a channel's name runs in the browser of whoever reads the page."""
    contact = {
        "contact_id": "1", "customer_id": "c1", "at": START, "known_at": START,
        "action": HOSTILE, "channel": HOSTILE,
    }  # fmt: skip
    account = [("orders", HOSTILE, False, HOSTILE, 7), ("orders", HOSTILE, False, f"no {HOSTILE}", 7)]
    facts = described(home, {"orders": steady(120, 50, {40}), "contacts": [contact]}, 120, account, HOSTILE)
    facts = replace(
        facts,
        shop=HOSTILE,
        parts=tuple(replace(part, source=HOSTILE) for part in facts.parts),
        gaps=tuple(replace(gap, source=HOSTILE, holidays=(HOSTILE,)) for gap in facts.gaps),
    )
    assert facts.gaps
    text = render(facts, judge(facts), language)
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert (reader.open, reader.loads, reader.scripts) == ([], [], 0)
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert not re.search(r"(?:https?:)?//[\w.]+|url\(|@import", text)
    assert text.index("not enough to model") < text.index("What to look at") < text.index("Month by month")
    for words in (judge(facts).words, *(finding.do for finding in judge(facts).findings)):
        assert words.en != words.zh


def test_the_terminal_shows_the_verdict_first_in_both_languages_and_takes_names_as_they_are(
    journey: Settings, home: Settings, tmp_path: Path
) -> None:
    environment = {"PROPENSITY_HOME": str(journey.home)}
    page = tmp_path / "log.html"
    plain = CliRunner().invoke(propensity.main, ["log", "describe", "--out", str(page)], env=environment)
    assert plain.exit_code == 0
    assert "There is enough to model: 2,469 buyers in 365 days" in plain.output
    assert "USD 4,596,040" in page.read_text("utf-8")
    chinese = CliRunner().invoke(propensity.main, ["log", "describe", "--language", "zh"], env=environment)
    assert "数据足够建模：365天内有2,469位买家" in chinese.output
    described(home, {"orders": steady(20, 5)}, 20, [("orders", "f", False, "[red]odd[/red]", 3)])
    odd = CliRunner().invoke(propensity.main, ["log", "describe"], env={"PROPENSITY_HOME": str(home.home)})
    assert "[red]odd[/red]" in odd.output


def test_the_json_holds_every_number_and_exact_money(real: Facts) -> None:
    told = json.loads(as_json(real, judge(real)))
    assert told["enough"] is True
    assert told["facts"]["sales"] == str(real.sales)
    assert len(told["facts"]["months"]) == len(real.months)
    assert {"en", "zh"} == set(told["verdict"])


LEVEL, SEED = st.integers(20, 500), st.integers(0, 99)


@given(weeks=st.integers(12, 60), level=LEVEL, closed=st.integers(0, 6), seed=SEED)
def test_a_shop_that_is_closed_one_day_a_week_has_no_gap(
    weeks: int, level: int, closed: int, seed: int
) -> None:
    """Else: every Sunday is reported, and the report is not read again."""
    counts = np.random.default_rng(seed).poisson(level, 7 * weeks)
    counts[closed::7] = 0
    assert find_gaps("orders", "s", date(2017, 1, 1), counts.astype(np.int64)) == []


@given(
    weeks=st.integers(20, 60), level=LEVEL, length=st.integers(1, 60), start=st.integers(0, 400), seed=SEED
)  # fmt: skip
def test_a_missing_stretch_is_found_to_the_day_wherever_it_lies_and_however_long_it_is(
    weeks: int, level: int, length: int, start: int, seed: int
) -> None:
    """Else: two months without a delivery look like a quiet season, and a model learns it."""
    counts = np.random.default_rng(seed).poisson(level, 7 * weeks).astype(np.int64)
    length = min(length, 7 * weeks - 70)
    first = start % (7 * weeks - length + 1)
    counts[first : first + length] = 0
    (gap,) = find_gaps("orders", "s", date(2017, 1, 1), counts)
    assert (gap.first, gap.days) == (date(2017, 1, 1) + timedelta(first), length)
    assert gap.found == 0
    assert gap.usual == pytest.approx(level * length, rel=0.5)


def test_a_delivery_that_broke_off_is_a_gap_and_a_slow_day_is_not() -> None:
    counts = np.full(100, 200, np.int64)
    counts[50], counts[70] = 10, 60
    (gap,) = find_gaps("orders", "s", date(2017, 1, 1), counts)
    assert (gap.first, gap.found, gap.usual) == (date(2017, 2, 20), 10, 200)


def test_each_source_is_judged_alone(home: Settings) -> None:
    """Else: one shop's missing file hides behind the other's orders."""
    orders = steady(100, 50, a_day=30)
    for row in orders[1::2]:  # these become the second source's
        if (row["at"] - START) // DAY == 50:
            row["at"] += DAY
            row["known_at"] += DAY
    log = write_log(home.home / "log" / "by-hand", {"orders": orders}, parts=2)
    write_manifest(home, log, 100, {"part0": [], "part1": []})
    (gap,) = measure(home).gaps
    assert (gap.source, gap.first, gap.found, gap.usual) == ("part1", date(2017, 2, 21), 0, 15)


@pytest.mark.parametrize("reason", [JOINED_PERSON, LINKED, NO_OBJECT, f"amount{UNCLEAR}"])
def test_why_a_row_is_not_in_the_log_is_told_in_chinese_too(reason: str) -> None:
    """Else the page turns to English where a row needs somebody."""
    told = why_rejected(reason)
    assert told.en == reason
    assert re.search("[\u4e00-\u9fff]{4}", told.zh)

"""A shop's unknown files come in by one mapping: nothing lost, nothing merged, nothing invented."""

import gzip
import sys
import unicodedata
import zipfile
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dirty import bring_in, write_shop
from hypothesis import example, given, settings
from hypothesis import strategies as st

from features import duck
from features.errors import PropensityError, SettingsError, SourceError
from features.moments import parse_moment
from features.shop import Shop
from features.sources import open_source
from features.sources.values import MACROS, NULLS, Habits, number

CONNECTION = duck.connect()
ORDERS = """
[mapping.web]
[[mapping.web.read]]
table = "orders"
files = "orders*"
{more}
[mapping.web.read.columns]
order_id = "no"
customer_id = "who"
at = "when"
amount = "paid"
channel = {{ value = "web" }}
"""
LINES = """
[mapping.web]
[[mapping.web.read]]
table = "order_lines"
files = "lines*.csv"
[mapping.web.read.columns]
order_id = "no"
customer_id = "who"
at = "when"
product_id = "what"
items = "n"
amount = {{ product_of = ["n", "price"] }}
channel = {{ value = "web" }}
{more}
"""


def test_ids_stay_as_given_and_a_bom_and_quoted_newlines_do_no_harm(tmp_path: Path) -> None:
    """Were "00123" read as 123, two people would be one."""
    text = '\ufeffno,who,when,paid,remark\r\n1,00123,2024-01-01 10:00,5,"a\nb, ""c"""\r\n2,123,2024-01-02 10:00,6,\r\n'
    log = bring_in(write_shop(tmp_path, ORDERS.format(more=""), {"orders.csv": text}))
    assert {r["customer_id"]: r["amount"] for r in log.rows("orders")} == {
        "00123": Decimal(5),
        "123": Decimal(6),
    }
    assert {(r["source"], r["source_id"]) for r in log.rows("identities")} == {
        ("web", "00123"),
        ("web", "123"),
    }


def test_a_product_of_a_million_and_more_is_an_amount(tmp_path: Path) -> None:
    """Else: a shop that counts in rupiah, won or dong, or one price in the wrong unit, stops the ingestion."""
    text = "no,who,when,what,n,price\n1,a,2024-01-01,tv,-3,1783646.5\n2,b,2024-01-01,car,2,900000000.25\n"
    log = bring_in(write_shop(tmp_path, LINES.format(more=""), {"lines.csv": text}))
    amounts = {row["customer_id"]: row["amount"] for row in log.rows("order_lines")}
    assert amounts == {"a": Decimal("-5350939.50"), "b": Decimal("1800000000.50")}


@pytest.mark.parametrize("encoding", ["gb18030", "latin-1", "utf-16", "utf-8"])
@pytest.mark.parametrize("packed", ["", ".gz", ".zst", ".zip"])
def test_encodings_separators_and_packed_files(tmp_path: Path, encoding: str, packed: str) -> None:
    name = "Müller" if encoding == "latin-1" else "张三"
    content = f"no;who;when;paid\n1;{name};2024-01-01T10:00:00Z;1,50\n".encode(encoding)
    path = tmp_path / "shop" / f"orders.csv{packed}"
    mapping = ORDERS.format(more=f'encoding = "{encoding}"\nseparator = ";"\ndecimal = ","')
    made = write_shop(tmp_path, mapping, {})
    if packed == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("export.csv", content)
    elif packed == ".zst":
        with pa.output_stream(str(path), compression="zstd") as stream:
            stream.write(content)
    else:
        path.write_bytes(gzip.compress(content) if packed else content)
    (row,) = bring_in(made).rows("orders")
    assert (row["customer_id"], row["amount"]) == (name, Decimal("1.50"))


def test_records_that_cannot_be_read_are_rejected_alone_each_on_its_line(tmp_path: Path) -> None:
    """A broken line must neither stop the ingestion nor vanish."""
    text = (
        b"no,who,when,paid\n1,a,2024-01-01,1\n2,b\xff\xfe,2024-01-01,2\n3,c,2024-01-01,3,9\n"
        b'4,d,2024-01-01,4\n5,"never closed,2024-01-01,5\n6,f,2024-01-01,6\n'
    )
    log = bring_in(write_shop(tmp_path, ORDERS.format(more=""), {"orders.csv": text}))
    assert sorted(r["order_id"] for r in log.rows("orders")) == ["1", "4"]
    rejects = pq.read_table(log.settings.home / "rejects" / log.log.fingerprint / "web.parquet").to_pylist()
    assert {(r["line"], r["reason"]) for r in rejects} == {
        (1, "unreadable: invalid encoding"),
        (2, "unreadable: more fields than the header"),
        (4, "unreadable: a quoted field that does not end"),
    }


def test_ids_that_one_file_writes_as_a_decimal_are_made_one_only_where_that_is_declared(
    tmp_path: Path,
) -> None:
    files = {
        "orders_1.csv": "no,who,when,paid\n1,17850,2024-01-01,1\n",
        "orders_2.csv": "no,who,when,paid\n2,17850.0,2024-01-02,1\n",
    }
    as_it_is = bring_in(write_shop(tmp_path / "a", ORDERS.format(more=""), files))
    assert {r["customer_id"] for r in as_it_is.rows("orders")} == {"17850", "17850.0"}
    declared = ORDERS.format(more="").replace('"who"', '{ column = "who", clean = ["trim", "whole"] }')
    assert {
        r["customer_id"] for r in bring_in(write_shop(tmp_path / "b", declared, files)).rows("orders")
    } == {"17850"}


def test_a_day_without_a_time_is_known_when_it_is_over(tmp_path: Path) -> None:
    """Else a feature of that morning would know the evening's order."""
    text = "no,who,when,paid\n1,a,2024-03-31,5\n2,b,2024-03-31 09:30,6\n"
    day, time = bring_in(write_shop(tmp_path / "a", ORDERS.format(more=""), {"orders.csv": text})).rows(
        "orders"
    )
    assert (day["at"], day["known_at"]) == (
        parse_moment("2024-03-31T00:00:00Z"),
        parse_moment("2024-03-31T23:00:00Z"),
    )
    assert time["at"] == time["known_at"] == parse_moment("2024-03-31T08:30:00Z"), (
        "British summer began that night"
    )
    early = bring_in(write_shop(tmp_path / "b", ORDERS.format(more='known = "start"'), {"orders.csv": text}))
    assert early.rows("orders")[0]["known_at"] == parse_moment("2024-03-31T00:00:00Z")


def test_times_of_several_zones_and_formats(tmp_path: Path) -> None:
    text = (
        "no,who,when,paid,tz\n1,a,31/12/2024 08:00,1,Asia/Shanghai\n2,a,31/12/2024,1,America/New_York\n"
        "3,a,31/12/2024 08:00,1,Mars/Olympus\n4,a,12/31/2024 08:00,1,Asia/Shanghai\n"
    )
    at = '{ column = "when", format = ["%d/%m/%Y %H:%M", "%d/%m/%Y"], zone = { column = "tz" } }'
    mapping = ORDERS.format(more="").replace('at = "when"', f"at = {at}")
    log = bring_in(write_shop(tmp_path, mapping, {"orders.csv": text}))
    rows = {r["order_id"]: r for r in log.rows("orders")}
    assert rows["1"]["at"] == parse_moment("2024-12-31T00:00:00Z")
    assert rows["2"]["known_at"] == parse_moment("2025-01-01T05:00:00Z")
    assert log.fates("orders") == {"accepted": 2, "rejected: at is not a moment": 2}


def test_clocks_that_change_give_what_is_documented(tmp_path: Path) -> None:
    text = (
        "no,who,when,paid\n1,a,2024-10-27 01:30,1\n2,a,2024-03-31 01:30,1\n3,a,2024-10-27T01:30:00+01:00,1\n"
    )
    rows = {
        r["order_id"]: r["at"]
        for r in bring_in(write_shop(tmp_path, ORDERS.format(more=""), {"orders.csv": text})).rows("orders")
    }
    assert rows["1"] == parse_moment("2024-10-27T01:30:00Z"), "given twice: the later one"
    assert rows["2"] == parse_moment("2024-03-31T01:30:00Z"), "left out: as long after the change"
    assert rows["3"] == parse_moment("2024-10-27T00:30:00Z"), "an offset leaves no doubt"


@pytest.mark.parametrize(
    ("written", "decimal", "amount"),
    [
        ("1,234.50", ".", "1234.50"), ("1.234,50", ",", "1234.50"), ("¥12.00", ".", "12.00"), ("12.00 元", ".", "12.00"),
        ("-1,234.50", ".", "-1234.50"), ("(3.00)", ".", "-3.00"), ("3.00-", ".", "-3.00"), ("¥-3", ".", "-3"),
        ("1 234,5", ",", "1234.5"), ("1e2", ".", "100"), (" 7 ", ".", "7"), ("CNY 7", ".", "7"), ("−5", ".", "-5"),
        ("1,23", ".", None), ("1.23", ",", None), ("$12.00", ".", None), ("12 EUR", ".", None), ("1-2", ".", None),
        ("12abc", ".", None), ("1,2345", ".", None),
    ],
)  # fmt: skip
def test_money_as_people_write_it_or_not_at_all(written: str, decimal: str, amount: str | None) -> None:
    """A hundredfold amount from a misread comma would go unnoticed for months."""
    assert _number(written, decimal) == (None if amount is None else Decimal(amount))


def _number(written: str, decimal: str) -> Decimal | None:
    habits = Habits("UTC", None, decimal, "CNY", "end", NULLS)
    with CONNECTION.cursor() as connection:
        for macro in MACROS:
            connection.execute(macro)
        ((value,),) = connection.execute(
            f"SELECT {number('x', habits)} FROM (SELECT $1 AS x)", [written]
        ).fetchall()
    return value


@settings(max_examples=40, deadline=None)
@given(
    cents=st.integers(-(10**11), 10**11),
    decimal=st.sampled_from([".", ","]),
    grouped=st.booleans(),
    sign=st.sampled_from(["", "¥", "CNY "]),
)
def test_money_written_and_read_is_the_same(cents: int, decimal: str, grouped: bool, sign: str) -> None:
    whole, rest = divmod(abs(cents), 100)
    digits = f"{whole:,}" if grouped else str(whole)
    if decimal == ",":
        digits = digits.replace(",", ".")
    written = f"{'-' if cents < 0 else ''}{sign}{digits}{decimal}{rest:02d}"
    assert _number(written, decimal) == Decimal(cents) / 100


SPACES = "".join(c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c) == "Zs")


@pytest.mark.parametrize("blank", [" ", "\xa0", "\u3000 \xa0", "\u2003null\xa0"])
def test_an_id_of_spaces_alone_is_nobody_and_is_counted(tmp_path: Path, blank: str) -> None:
    """Else all rows that a spreadsheet padded with no-break spaces are one big customer, or vanish unseen."""
    text = f'no,who,when,paid\n1,a,2024-01-01,1\n2,"{blank}",2024-01-01,1\n3,"\xa0a",2024-01-01,1\n'
    log = bring_in(write_shop(tmp_path, ORDERS.format(more=""), {"orders.csv": text}))
    assert {r["customer_id"] for r in log.rows("orders")} == {"a", "\xa0a"}, "other ids stay as given"
    assert log.fates("orders") == {"accepted": 2, "aside: anonymous: no customer id": 1}


@settings(max_examples=4, deadline=None)
@example(ids=["\xa0"])
@example(ids=["\xa0a", "a", "a\u3000"])
@given(
    ids=st.lists(
        st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8),
        min_size=1,
        max_size=20,
        unique=True,
    )
)
def test_different_ids_stay_different(tmp_path_factory: pytest.TempPathFactory, ids: list[str]) -> None:
    ids = [i for i in ids if i.strip(SPACES) not in NULLS]
    rows = "".join(f'{n},"{i.replace(chr(34), chr(34) * 2)}",2024-01-01,1\n' for n, i in enumerate(ids))
    made = write_shop(
        tmp_path_factory.mktemp("ids"),
        ORDERS.format(more=""),
        {"orders.csv": "no,who,when,paid\n0x,sure,2024-01-01,1\n" + rows},
    )
    assert {r["customer_id"] for r in bring_in(made).rows("orders")} == {"sure", *ids}


def test_minor_units_and_other_currencies(tmp_path: Path) -> None:
    text = "no,who,when,paid,cur\n1,a,2024-01-01,1250,GBP\n2,a,2024-01-01,900,EUR\n"
    mapping = ORDERS.format(more='currency = { column = "cur" }').replace(
        '"paid"', '{ column = "paid", scale = 100 }'
    )
    log = bring_in(write_shop(tmp_path, mapping, {"orders.csv": text}))
    assert [r["amount"] for r in log.rows("orders")] == [Decimal("12.50")]
    assert log.fates("orders") == {"accepted": 1, "rejected: not in GBP, the currency of the shop": 1}
    with pytest.raises(SettingsError, match="currency is 'EUR': expected GBP"):
        bring_in(write_shop(tmp_path / "b", ORDERS.format(more='currency = "EUR"'), {"orders.csv": text}))


def test_without_an_order_id_the_day_of_a_customer_is_the_order(tmp_path: Path) -> None:
    text = "who,when,paid\na,2024-01-01,1.50\na,2024-01-01,2\na,2024-01-02,3\nb,2024-01-01,4\n,2024-01-01,9\nb,2024-01-01,x\n"
    mapping = ORDERS.format(more="").replace('order_id = "no"\n', "")
    log = bring_in(write_shop(tmp_path, mapping, {"orders.csv": text}))
    assert {r["order_id"]: r["amount"] for r in log.rows("orders")} == {
        "web:a:2024-01-01": Decimal("3.50"), "web:a:2024-01-02": Decimal(3), "web:b:2024-01-01": Decimal(4),
    }  # fmt: skip
    assert log.fates("orders") == {
        "accepted: without an order id: the customer's day is the order": 3,
        "aside: joined to the order that an earlier row began: nothing is lost": 1,
        "aside: anonymous: no customer id": 1,
        "rejected: amount is not an amount of money": 1,
    }


def test_two_sources_without_order_ids_keep_their_own_sales_of_one_day(tmp_path: Path) -> None:
    """Else sales of one source are rejected, or its lines hang on the other's order."""
    lines = LINES.format(more="").replace("web", "till").replace('order_id = "no"\n', "")
    text = "no,who,when,what,n,price\n1,a,2024-01-01 10:00,x,1,2.00\n1,a,2024-01-02 10:00,x,-1,2.00\n"
    mapping = ORDERS.format(more="").replace('order_id = "no"\n', "") + lines
    files = {"orders.csv": "who,when,paid\na,2024-01-01,1.50\na,2024-01-02,-1\n", "lines.csv": text}
    log = bring_in(write_shop(tmp_path, mapping, files))
    assert log.done.samples == (), "nothing is rejected"
    assert {r["order_id"]: r["amount"] for r in log.rows("orders")} == {
        "web:a:2024-01-01": Decimal("1.50"), "web:a:2024-01-02:return": Decimal(-1),
        "till:a:2024-01-01": Decimal(2), "till:a:2024-01-02": Decimal(-2),
    }  # fmt: skip


def test_rows_of_two_customers_are_not_added_up_to_the_order_of_one(tmp_path: Path) -> None:
    """Else one customer's sale is in another's history, and the account says that nothing is lost."""
    text = "no,who,when,paid\n1,a,2024-01-01,1\n1,b,2024-01-01,2\n2,a,2024-01-02,3\n2,a,2024-01-02,4\n"
    log = bring_in(write_shop(tmp_path, ORDERS.format(more="add_up = true"), {"orders.csv": text}))
    assert {r["order_id"]: r["amount"] for r in log.rows("orders")} == {"2": Decimal(7)}
    assert log.fates("orders") == {
        "accepted": 1,
        "aside: joined to the order that an earlier row began: nothing is lost": 1,
        "rejected: an order of two customers": 2,
    }
    (sample,) = log.done.samples
    assert str(sample).startswith("orders.csv, row 1: an order of two customers = 1 (and orders.csv, row 2);")


RETURNS = """no,who,when,what,n,price
1,a,2024-01-01 10:00,x,3,2.00
1,a,2024-01-01 10:00,y,1,5.00
2,a,2024-01-05 10:00,x,1,2.00
C3,a,2024-01-09 10:00,x,-2,2.00
C4,a,2024-01-09 11:00,z,-1,2.00
C5,b,2024-01-09 11:00,x,-1,2.00
6,a,2024-01-10 10:00,y,2,5.00
6,a,2024-01-10 10:30,y,-1,5.00
"""


def test_returns_are_rows_of_their_own_matched_to_the_latest_order_that_fits(tmp_path: Path) -> None:
    log = bring_in(write_shop(tmp_path, LINES.format(more=""), {"lines.csv": RETURNS}))
    orders = {r["order_id"]: (r["amount"], r["ref"]) for r in log.rows("orders")}
    assert orders == {
        "1": (Decimal(11), None),
        "2": (Decimal(2), None),
        "C3": (Decimal(-4), "1"),  # two x: order 2 had only one
        "C4": (Decimal(-2), "unknown"),
        "C5": (Decimal(-2), "unknown"),  # another customer's
        "6": (Decimal(10), None),
        "6:return:2024-01-10": (Decimal(-5), "6"),
    }
    assert {(r["case_id"], r["kind"], r["change"], r["ref"]) for r in log.rows("cases")} == {
        (i, "return", "opened", orders[i][1]) for i in ("C3", "C4", "C5", "6:return:2024-01-10")
    }
    assert log.fates("order_lines") == {
        "accepted": 4,
        "accepted: a return, matched to its order": 1,
        "accepted: a return without an earlier order that it fits": 2,
        "accepted: a return within the hour: cancelled at once": 1,
    }
    assert sum(r["amount"] for r in log.rows("orders")) == sum(r["amount"] for r in log.rows("order_lines"))


def test_returns_as_a_flag_and_cancelled_orders(tmp_path: Path) -> None:
    """A cancelled order was once an order: before the cancellation it must look like one."""
    text = (
        "no,who,when,paid,state,cancelled\n1,a,2024-01-01 10:00,10,done,\n2,a,2024-01-02 10:00,20,cancelled,2024-01-04 09:00\n"
        "3,a,2024-01-05 10:00,8,refund,\n4,b,2024-01-05 10:00,7,cancelled,\n"
    )
    more = """[mapping.web.read.returns]
column = "state"
values = ["refund"]
[mapping.web.read.cancelled]
column = "state"
values = ["cancelled"]
at = "cancelled"
"""
    log = bring_in(write_shop(tmp_path, ORDERS.format(more="") + more, {"orders.csv": text}))
    rows = {r["order_id"]: r for r in log.rows("orders")}
    assert {i: (r["amount"], r["ref"]) for i, r in rows.items()} == {
        "1": (10, None), "2": (20, None), "2:cancelled": (-20, "2"), "3": (-8, "2"), "4": (7, None), "4:cancelled": (-7, "4"),
    }  # fmt: skip
    assert rows["2:cancelled"]["at"] == parse_moment("2024-01-04T09:00:00Z")
    assert {r["case_id"] for r in log.rows("cases")} == {"2:cancelled", "3", "4:cancelled"}
    assert log.fates("orders")["accepted: cancelled, and nothing says when: taken back at once"] == 1


BOTH = """
[mapping.web]
[[mapping.web.read]]
table = "orders"
files = "orders.csv"
[mapping.web.read.columns]
order_id = "id"
customer_id = "who"
at = "when"
channel = {{ value = "web" }}
{amount}
[[mapping.web.read]]
table = "order_lines"
files = "items.csv"
[mapping.web.read.columns]
order_id = "order"
product_id = "sku"
items = "n"
amount = "sum"
[[mapping.web.read]]
table = "products"
files = "products.csv"
[mapping.web.read.columns]
product_id = "sku"
category = "kind"
"""


@pytest.mark.parametrize("amount", ["", 'amount = "total"'])
def test_orders_and_lines_in_files_of_their_own(tmp_path: Path, amount: str) -> None:
    files = {
        "orders.csv": "id,who,when,total\n1,a,2024-01-01 10:00,7\n2,,2024-01-02 10:00,3\n3,c,2024-01-03 10:00,1\n",
        "items.csv": "order,sku,n,sum\n1,x,1,4\n1,y,1,3\n2,x,1,3\n3,x,1,1\n9,x,1,5\n",
        "products.csv": "sku,kind\nx,tea\n",
    }
    log = bring_in(write_shop(tmp_path, BOTH.format(amount=amount), files))
    assert {r["order_id"]: r["amount"] for r in log.rows("orders")} == {"1": Decimal(7), "3": Decimal(1)}
    assert {(r["order_id"], r["customer_id"], r["category"]) for r in log.rows("order_lines")} == {
        ("1", "a", "tea"), ("1", "a", None), ("3", "c", "tea"),
    }  # fmt: skip
    assert log.fates("order_lines") == {
        "accepted": 3,
        "aside: its order: anonymous: no customer id": 1,
        "rejected: its order is not among the orders": 1,
    }


def test_an_order_of_two_customers_is_nobodys(tmp_path: Path) -> None:
    text = "no,who,when,what,n,price\n1,a,2024-01-01,x,1,2\n1,b,2024-01-01,x,1,2\n2,b,2024-01-01,x,1,2\n"
    log = bring_in(write_shop(tmp_path, LINES.format(more=""), {"lines.csv": text}))
    assert log.fates("order_lines") == {"accepted": 1, "rejected: an order of two customers": 2}


def test_conditions_say_what_is_left_out_and_why(tmp_path: Path) -> None:
    more = """[mapping.web.read.aside]
"a fee" = "what = 'fee'"
[mapping.web.read.reject]
"a test" = "who like 'test%'"
[mapping.web.read.note]
"dear" = "number(price) > 100"
"""
    text = "no,who,when,what,n,price\n1,a,2024-01-01,x,1,200\n1,a,2024-01-01,fee,1,2\n2,test1,2024-01-01,fee,1,2\n3,,2024-01-01,x,1,2\n"
    log = bring_in(write_shop(tmp_path, LINES.format(more=more), {"lines.csv": text}))
    assert log.fates("order_lines") == {
        "accepted: dear": 1, "aside: a fee": 1, "aside: anonymous: no customer id": 1, "rejected: a test": 1,
    }  # fmt: skip


def test_parquet_json_lines_and_a_nested_zone(tmp_path: Path) -> None:
    """A file that holds 17850 as an integer, another as a float: text as given, no rounding in between."""
    made = write_shop(tmp_path, ORDERS.format(more=""), {
        "orders_3.jsonl": '{"no": "3", "who": "007", "when": "2024-01-03T00:00:00Z", "paid": 1.5}\n{broken\n',
    })  # fmt: skip
    at = datetime(2024, 1, 1, 12)
    pq.write_table(
        pa.table({"no": [1], "who": [17850], "when": [at], "paid": [0.1 + 0.2]}),
        made.shop / "orders_1.parquet",
    )
    pq.write_table(
        pa.table({"no": [2], "who": [17850.5], "when": [at], "paid": [2.0]}), made.shop / "orders_2.parquet"
    )
    log = bring_in(made)
    assert [(r["customer_id"], r["amount"]) for r in sorted(log.rows("orders"), key=lambda r: r["order_id"])] == [
        ("17850", Decimal("0.30")), ("17850.5", Decimal(2)), ("007", Decimal("1.50")),
    ]  # fmt: skip
    assert log.fates("orders") == {"accepted": 3, "rejected: not a JSON object": 1}


SCORES = (
    ORDERS.format(more="")
    + """
[[mapping.web.read]]
table = "scores"
files = "scores_*.csv"
delivered = { file_name = "scores_%Y%m%d.csv" }
scores = ["propensity", "segment"]
[mapping.web.read.columns]
customer_id = "who"
"""
)


def test_external_scores_are_known_from_their_delivery(tmp_path: Path) -> None:
    """A score of May must not teach a model of March."""
    files = {
        "orders.csv": "no,who,when,paid\n1,a,2024-01-01,1\n",
        "scores_20240510.csv": "who,propensity,segment\na,0.7,gold\nb,,silver\n",
    }
    log = bring_in(write_shop(tmp_path, SCORES, files))
    known = parse_moment("2024-05-10T23:00:00Z")
    assert {(r["customer_id"], r["name"], r["value"], r["label"], r["known_at"]) for r in log.rows("scores")} == {
        ("a", "propensity", 0.7, None, known), ("a", "segment", None, "gold", known), ("b", "segment", None, "silver", known),
    }  # fmt: skip
    assert log.fates("scores") == {"accepted": 1, "aside: no propensity": 1}
    undated = SCORES.replace('delivered = { file_name = "scores_%Y%m%d.csv" }', "")
    with pytest.raises(SettingsError, match="does not say when its scores were known"):
        bring_in(write_shop(tmp_path / "b", undated, files))


def test_attributes_links_and_prefixes(tmp_path: Path) -> None:
    """Two systems that both count from 1 must not make one person of two; a link file must."""
    mapping = (
        ORDERS.format(more="").replace("[mapping.web]\n", '[mapping.web]\ncustomer_prefix = "web:"\n')
        + """
[[mapping.web.read]]
table = "customers"
files = "people.csv"
attributes = ["age"]
[mapping.web.read.columns]
customer_id = "id"
[[mapping.web.read]]
table = "identities"
files = "links.csv"
[mapping.web.read.columns]
source = { value = "web" }
source_id = "web"
customer_id = { column = "card", prefix = "card:" }
"""
    )
    files = {
        "orders.csv": "no,who,when,paid\n1,7,2024-01-01,1\n",
        "people.csv": "id,age\n7,40\n8,50\n",
        "links.csv": "web,card\n7,99\n",
    }
    log = bring_in(write_shop(tmp_path, mapping, files))
    (person,) = (r for r in log.rows("customers") if r["attributes"])
    assert dict(person["attributes"]) == {"age": "40"}
    linked = {
        r["customer_id"] for r in log.rows("identities") if (r["source"], r["source_id"]) == ("web", "7")
    }
    assert linked == {person["customer_id"]} == {r["customer_id"] for r in log.rows("orders")}
    assert linked <= {"web:7", "card:99"}, "never the bare 7, which may be another system's"
    assert log.fates("customers") == {
        "accepted": 1,
        "aside: nothing says since when this customer is known": 1,
    }


def test_every_other_table_can_be_mapped(tmp_path: Path) -> None:
    mapping = (
        ORDERS.format(more="")
        + """
[[mapping.web.read]]
table = "interactions"
files = "visits.csv"
[mapping.web.read.columns]
customer_id = "who"
at = { column = "ms", format = "epoch_ms" }
kind = { column = "what", map = { "浏览" = "view", "PV" = "visit" } }
channel = { value = "app" }
[[mapping.web.read]]
table = "cases"
files = "complaints.csv"
[mapping.web.read.columns]
case_id = "id"
customer_id = "who"
at = "opened"
kind = { value = "complaint" }
change = { value = "opened" }
[[mapping.web.read]]
table = "cases"
files = "complaints.csv"
where = "closed is not null"
[mapping.web.read.columns]
case_id = "id"
customer_id = "who"
at = "closed"
kind = { value = "complaint" }
change = { value = "closed" }
[[mapping.web.read]]
table = "consents"
files = "consents.csv"
[mapping.web.read.columns]
customer_id = "who"
at = "when"
channel = "how"
purpose = { value = "marketing" }
status = { column = "yes", map = { "1" = "granted", "0" = "withdrawn" } }
"""
    )
    files = {
        "orders.csv": "no,who,when,paid\n1,a,2024-01-01,1\n",
        "visits.csv": "who,ms,what\na,1704103200000,PV\na,1704103201000,浏览\na,1704103201000,dance\n",
        "complaints.csv": "id,who,opened,closed\nk1,a,2024-01-02 10:00,2024-01-03 10:00\nk2,a,2024-01-04 10:00,\n",
        "consents.csv": "who,when,how,yes\na,2024-01-01 08:00,sms,1\na,2024-02-01 08:00,sms,0\n",
    }
    log = bring_in(write_shop(tmp_path, mapping, files))
    assert [(r["kind"], r["at"]) for r in log.rows("interactions")] == [
        ("visit", parse_moment("2024-01-01T10:00:00Z")), ("view", parse_moment("2024-01-01T10:00:01Z")),
    ]  # fmt: skip
    assert log.fates("interactions")["rejected: unknown kind of interaction"] == 1
    assert [(r["case_id"], r["change"]) for r in log.rows("cases")] == [
        ("k1", "opened"),
        ("k1", "closed"),
        ("k2", "opened"),
    ]
    assert [r["status"] for r in log.rows("consents")] == ["granted", "withdrawn"]


def test_a_new_file_in_the_folder_lets_the_log_grow(tmp_path: Path) -> None:
    made = write_shop(
        tmp_path,
        ORDERS.format(more=""),
        {"orders_0101.csv": "no,who,when,paid\n1,a,2024-01-01 10:00,1\n2,a,2024-01-02 12:00,1\n"},
    )
    first = bring_in(made)
    assert first.log.complete_until == parse_moment("2024-01-02T00:00:00Z"), "the last day is not over"
    (made.shop / "orders_0102.csv").write_text("paid,when,who,no\n3,2024-01-03 18:00,b,3\n")
    second = bring_in(made)
    assert {r["order_id"] for r in second.rows("orders")} == {"1", "2", "3"}
    assert second.log.complete_until == parse_moment("2024-01-03T00:00:00Z")
    assert not bring_in(made).done.changed


def test_another_mapping_of_the_same_files_is_ingested_again(tmp_path: Path) -> None:
    made = write_shop(
        tmp_path, ORDERS.format(more=""), {"orders.csv": "no,who,when,paid\n1,a,2024-01-01,100\n"}
    )
    assert bring_in(made).rows("orders")[0]["amount"] == 100
    text = (made.shop / "shop.toml").read_text("utf-8").replace('"paid"', '{ column = "paid", scale = 100 }')
    (made.shop / "shop.toml").write_text(text, "utf-8")
    assert bring_in(made).rows("orders")[0]["amount"] == 1


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"no"', '"Number"', r"columns\.order_id: orders\.csv has no column 'Number'.*It has: no, who, when, paid"),
        ('"when"', '"wehn"', r"columns\.at: .*'wehn'; did you mean 'when'\?"),
        ('order_id = "no"', 'orderid = "no"', r"has 'orderid', which orders has not; did you mean 'order_id'\?"),
        ('channel = { value = "web" }', "", r'columns lacks channel.*channel = \{ value = "store" \}'),
        ('"orders*"', '"order_*.csv"', r"files: .*order_\*\.csv matches no file"),
        ('table = "orders"', 'table = "order"', r"table is 'order': expected one of .*; did you mean 'orders'\?"),
        ('table = "orders"', 'table = "orders"\nseperator = ";"', r"unknown key 'seperator'; did you mean 'separator'\?"),
        ('table = "orders"', 'table = "orders"\nonse = true', r"unknown key 'onse'; did you mean 'once'\?"),
        ('table = "orders"', 'table = "orders"\nzone = "London"', r"zone is 'London': expected an IANA time zone"),
        ('table = "orders"', 'table = "orders"\nwhere = "whoo = 1"', r"where is .*whoo"),
        ('at = "when"', 'at = { column = "when", format = "dd/mm" }', r"at\.format is 'dd/mm': expected"),
        ('"paid"', '{ sql = "paid::INT + nothing" }', r"amount is 'paid::INT \+ nothing'.*nothing"),
        ('"paid"', '{ column = "paid", value = "1" }', r"amount has column and value .*expected exactly one"),
        ("[mapping.web]", "[mapping.web]\ncomplete_until = 2024-01-01T00:00:00", r"complete_until .*offset"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_mapping_is_named_with_the_remedy(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    made = write_shop(
        tmp_path,
        ORDERS.format(more="").replace(old, new),
        {"orders.csv": "no,who,when,paid\n1,a,2024-01-01,1\n"},
    )
    with pytest.raises(PropensityError, match=says) as caught:
        bring_in(made)
    assert "mapping.web" in str(caught.value)
    assert isinstance(caught.value, SettingsError | SourceError)


@pytest.mark.parametrize(("declared", "written"), [("utf-8", "gb18030"), ("gb18030", "utf-8")])
def test_a_wrong_encoding_is_said_and_not_shown_as_broken_names(
    tmp_path: Path, declared: str, written: str
) -> None:
    mapping = ORDERS.format(more=f'encoding = "{declared}"').replace('"no"', '"订单号"')
    text = "订单号,who,when,paid,备注说明\n1,a,2024-01-01,1,张三来过\n".encode(written)
    made = write_shop(tmp_path, mapping, {"orders.csv": ""})
    (made.shop / "orders.csv").write_bytes(text)
    with pytest.raises(SourceError, match=rf"orders\.csv is not {declared}; it looks like {written}"):
        bring_in(made)


def test_a_cast_that_fails_in_the_middle_of_a_file_says_where_and_what_to_do(tmp_path: Path) -> None:
    mapping = ORDERS.format(more="").replace('"paid"', '{ sql = "paid::INT" }')
    with pytest.raises(SourceError, match=r"mapping\.web\.read\[1\].*number\(x\)"):
        bring_in(write_shop(tmp_path, mapping, {"orders.csv": "no,who,when,paid\n1,a,2024-01-01,one\n"}))


@settings(max_examples=25, deadline=None)
@given(
    moment=st.datetimes(datetime(1990, 1, 1), datetime(2037, 1, 1)).map(lambda d: d.replace(microsecond=0)),
    zone=st.sampled_from(["Asia/Shanghai", "Europe/London", "America/New_York", "Asia/Kathmandu"]),
)
def test_local_times_mean_what_pythons_zones_say(moment: datetime, zone: str) -> None:
    """Away from the hours of a change, which are documented."""
    from features.sources.values import moment as sql_of
    from features.sources.values import read_value

    local = moment.replace(tzinfo=ZoneInfo(zone))
    if any((local + timedelta(hours=h)).utcoffset() != local.utcoffset() for h in (-3, 3)):
        return
    value = read_value("here", "x", "moment", Habits(zone, None, ".", "CNY", "end", NULLS))
    with CONNECTION.cursor() as connection:
        at, day, _ = sql_of(value)
        ((found, is_day),) = connection.execute(
            f"SELECT epoch({at}), {day} FROM (SELECT $1 AS x)", [moment.isoformat(" ")]
        ).fetchall()
    assert (found, is_day) == (local.timestamp(), False)


def test_the_bundled_mapping_reads(tmp_path: Path) -> None:
    """Its declarations, without its files."""
    from features.settings import BUNDLED_SHOPS
    from features.sources.mapping import declaration

    shop = Shop.load(BUNDLED_SHOPS / "online_retail")
    assert declaration(shop, "online_retail", find=False).readings[0].table == "order_lines"
    with pytest.raises(SourceError, match=r"--from FOLDER"):
        open_source(shop, "online_retail", tmp_path)


def test_what_means_nothing_in_one_column_may_be_an_id_in_another(tmp_path: Path) -> None:
    """A till writes 0 for no customer, and has an order 0, too."""
    mapping = ORDERS.format(more="").replace('"who"', '{ column = "who", null = ["0", "散客"] }')
    text = "no,who,when,paid\n0,a,2024-01-01,5\n1,0,2024-01-01,5\n2,散客,2024-01-01,5\n"
    log = bring_in(write_shop(tmp_path, mapping, {"orders.csv": text}))
    assert log.fates("orders") == {"accepted": 1, "aside: anonymous: no customer id": 2}
    assert [r["order_id"] for r in log.rows("orders")] == ["0"]


def test_a_prefix_of_one_column_stands_in_place_of_the_sources(tmp_path: Path) -> None:
    """A file of links names the other system's customers: with the wrong prefix nobody is found again."""
    links = """
[[mapping.web.read]]
table = "identities"
files = "links.csv"
[mapping.web.read.columns]
source = { value = "web" }
source_id = "who"
customer_id = { column = "card", prefix = "card:" }
"""
    mapping = (
        ORDERS.format(more="").replace("[mapping.web]", '[mapping.web]\ncustomer_prefix = "web:"') + links
    )
    files = {"orders.csv": "no,who,when,paid\n1,a,2024-01-01,5\n", "links.csv": "who,card\na,77\nb,78\n"}
    log = bring_in(write_shop(tmp_path, mapping, files))
    told = {(r["source_id"], r["customer_id"]) for r in log.rows("identities")}
    assert told >= {("b", "card:78")}
    merged = log.log.merges().to_pylist()
    assert {m["customer_id"] for m in merged} | {m["canonical_id"] for m in merged} == {"web:a", "card:77"}


def test_where_leaves_out_what_it_cannot_say_of_as_sql_does(tmp_path: Path) -> None:
    mapping = ORDERS.format(more="where = \"state <> 'test'\"")
    text = "no,who,when,paid,state\n1,a,2024-01-01,5,paid\n2,a,2024-01-02,5,test\n3,a,2024-01-03,5,\n"
    log = bring_in(write_shop(tmp_path, mapping, {"orders.csv": text}))
    assert log.fates("orders") == {"accepted": 1, "aside: `where` does not hold": 2}


def test_files_that_systems_hide_are_not_read(tmp_path: Path) -> None:
    """A file on its way, or a Mac's ._orders.csv, holds half a row or none."""
    mapping = ORDERS.format(more="").replace('"orders*"', '"*.csv"')
    files = {"orders.csv": "no,who,when,paid\n1,a,2024-01-01,5\n", "._orders.csv": "\x00\x05"}
    assert bring_in(write_shop(tmp_path, mapping, files)).fates("orders") == {"accepted": 1}

"""Ids, times and money of a mapping, however files write them: the same means the same, nothing else does."""

import gzip
import sys
import unicodedata
import zipfile
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from dirty import LINES, ORDERS, bring_in, write_shop
from hypothesis import example, given, settings
from hypothesis import strategies as st

from features import duck
from features.errors import SettingsError
from features.moments import parse_moment
from features.sources.values import MACROS, NULLS, Habits, number

CONNECTION = duck.connect()


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
    assert log.fates("orders") == {
        **{"accepted": 2, "rejected: at is not a moment": 1, "rejected: the zone of at is not known": 1}
    }


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


@settings(max_examples=40)
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


@settings(max_examples=4)
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


@settings(max_examples=25)
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


def test_a_product_of_a_million_and_more_is_an_amount(tmp_path: Path) -> None:
    """Else: a shop that counts in rupiah, won or dong, or one price in the wrong unit, stops the ingestion."""
    text = "no,who,when,what,n,price\n1,a,2024-01-01,tv,-3,1783646.5\n2,b,2024-01-01,car,2,900000000.25\n"
    log = bring_in(write_shop(tmp_path, LINES.format(more=""), {"lines.csv": text}))
    amounts = {row["customer_id"]: row["amount"] for row in log.rows("order_lines")}
    assert amounts == {"a": Decimal("-5350939.50"), "b": Decimal("1800000000.50")}

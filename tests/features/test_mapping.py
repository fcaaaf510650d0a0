"""A shop's unknown files come in by one mapping: nothing lost, nothing merged, nothing invented."""

from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dirty import LINES, ORDERS, bring_in, write_shop

from features.errors import PropensityError, SettingsError, SourceError, UsageError
from features.moments import parse_moment
from features.shop import Shop
from features.sources import open_source


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


def test_an_empty_field_too_many_is_odd_unless_most_records_have_it(tmp_path: Path) -> None:
    """`Berlin, Mitte` without quotes shifts all that follows by a column: a sum would be read as a shop."""
    text = "no,who,when,paid,shop\n1,a,2024-01-01,1,x\n2,b,2024-01-01,2,y\n3,c, d,2024-01-01,3,\n4,e,2024-01-01,4\n"
    log = bring_in(write_shop(tmp_path / "odd", ORDERS.format(more=""), {"orders.csv": text}))
    assert log.fates("orders") == {"accepted": 3, "rejected: unreadable: more fields than the header": 1}
    (kept,) = pq.read_table(log.settings.home / "rejects" / log.log.fingerprint / "web.parquet").to_pylist()
    assert kept["line"] == 2
    usual = "no,who,when,paid\n1,a,2024-01-01,1,\n2,b,2024-01-01,2,\n3,c,2024-01-01,3\n"
    log = bring_in(write_shop(tmp_path / "usual", ORDERS.format(more=""), {"orders.csv": usual}))
    assert log.fates("orders") == {"accepted": 3}


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


@pytest.mark.parametrize(("day", "until"), [("2024-01-02 12:00", "2024-01-03"), ("2024-01-02", "2024-01-03")])
def test_files_of_whole_days_are_complete_a_day_earlier(tmp_path: Path, day: str, until: str) -> None:
    """Else: features of a shop that sends a file a night are always a day older than what it knows."""
    files = {"orders_0102.csv": f"no,who,when,paid\n1,a,{day},1\n"}
    made = write_shop(tmp_path, ORDERS.format(more="").replace("web]", "web]\nwhole_days = true", 1), files)
    assert bring_in(made).log.complete_until == parse_moment(until)
    mapping = (made.shop / "shop.toml").read_text("utf-8")
    (made.shop / "shop.toml").write_text(
        mapping.replace("whole_days", "complete_until = 2024-01-02\nwhole_days")
    )
    with pytest.raises(SettingsError, match="no such key beside complete_until"):
        bring_in(made)


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
        ("[mapping.web]", "[mapping.web]\ncomplete_until = 2024-01-01T00:00:00",
         r"complete_until is 2024-01-01T00:00:00: expected a time with its offset"),
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


@pytest.mark.parametrize("where", ['folder = "~nobody-of-this-name"', 'files = "~nobody-of-this-name/o*"'])
def test_a_folder_of_a_user_whom_nobody_knows_is_told(tmp_path: Path, where: str) -> None:
    """Else a typo behind ~ ends in a traceback."""
    mapping = ORDERS.format(more="")
    if where.startswith("folder"):
        mapping = mapping.replace("[mapping.web]", f"[mapping.web]\n{where}", 1)
    else:
        mapping = mapping.replace('files = "orders*"', where)
    made = write_shop(tmp_path, mapping, {"orders.csv": "no,who,when,paid\n1,a,2024-01-01T10:00:00Z,5\n"})
    with pytest.raises(UsageError, match="of a user whom this machine does not know"):
        bring_in(made)

"""A first mapping, by looking: what it writes must bring the files in as it stands, and say why."""

import tomllib
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from dirty import Brought, bring_in, write_shop
from logs import real_data

import propensity
from features.errors import SourceError
from features.settings import Settings
from features.sources.propose import propose
from features.sources.samples import sniff


def proposed(folder: Path, *files: Path, zone: str = "Europe/London", currency: str = "GBP") -> Brought:
    """Ingest what is proposed, unedited."""
    return bring_in(write_shop(folder, propose(list(files)).toml, {}, zone=zone, currency=currency))


def test_online_retail_comes_in_as_it_is_proposed(tmp_path: Path) -> None:
    """The dirtiest log: its returns must be seen, and no line lost. One invoice in twenty."""
    raw = real_data("online_retail") / "transactions.parquet"
    small = tmp_path / "transactions.parquet"
    duckdb.sql(f"COPY (FROM '{raw}' WHERE hash(InvoiceNo) % 20 = 1) TO '{small}' (FORMAT parquet)")
    proposal = propose([small])
    assert 'prefix = "C"' in proposal.toml
    log = proposed(tmp_path, small)
    fates = log.fates("order_lines")
    (counts,) = duckdb.sql(
        f"""SELECT count(*), count(*) FILTER (WHERE CustomerID IS NULL),
                   count(*) FILTER (WHERE CustomerID IS NOT NULL AND InvoiceNo LIKE 'C%') FROM '{small}'"""
    ).fetchall()
    assert sum(fates.values()) == counts[0]
    assert fates["aside: anonymous: no customer id"] == counts[1]
    assert sum(n for fate, n in fates.items() if "a return" in fate) == counts[2]
    assert not any(fate.startswith("rejected") for fate in fates)


def test_cdnow_comes_in_as_it_is_proposed(tmp_path: Path) -> None:
    """No order id, days without a time, ids with leading zeros."""
    raw = real_data("cdnow") / "transactions.parquet"
    log = proposed(tmp_path, raw, zone="America/New_York", currency="USD")
    (expected,) = duckdb.sql(
        f"SELECT count(DISTINCT (customer_id, date)), sum(amount::DECIMAL(18, 2)), min(customer_id) FROM '{raw}'"
    ).fetchall()
    orders = log.log.read("orders")
    amounts = orders["amount"].to_pylist()
    assert (len(orders), sum(amounts), min(orders["customer_id"].to_pylist())) == expected
    assert sum(log.fates("orders").values()) == 69_659
    assert all(
        k > a for a, k in zip(orders["at"].to_pylist()[:50], orders["known_at"].to_pylist()[:50], strict=True)
    )


def test_complete_journey_comes_in_as_it_is_proposed(tmp_path: Path) -> None:
    """Ids are recognised by other names, three discounts are added up. One household in fifty."""
    raw = real_data("complete_journey") / "transactions.parquet"
    small = tmp_path / "transactions.parquet"
    duckdb.sql(f"COPY (FROM '{raw}' WHERE household_id % 50 = 1) TO '{small}' (FORMAT parquet)")
    log = proposed(tmp_path, small, zone="America/New_York", currency="USD")
    (expected,) = duckdb.sql(
        f"""SELECT count(DISTINCT basket_id), sum(sales_value::DECIMAL(18, 2)),
                   sum(retail_disc::DECIMAL(18, 2) + coupon_disc::DECIMAL(18, 2) + coupon_match_disc::DECIMAL(18, 2))
            FROM '{small}' WHERE quantity <> 0 OR sales_value <> 0 OR retail_disc <> 0 OR coupon_disc <> 0 OR coupon_match_disc <> 0"""
    ).fetchall()
    orders = log.log.read("orders")
    assert (len(orders), sum(orders["amount"].to_pylist()), sum(orders["discount"].to_pylist())) == expected
    assert set(log.fates("order_lines")) == {"accepted", "rejected: neither quantity nor money"}


CHINESE = "订单号,会员编号,支付时间,实付金额,订单状态\n" + "".join(
    f"{n},{n % 7:05d},2024/0{1 + n % 6}/1{n % 9} 10:30,¥{n}.50,{'已退款' if n % 5 == 0 else '已完成'}\n"
    for n in range(1, 41)
)


def test_a_chinese_export_is_read_by_its_chinese_names(tmp_path: Path) -> None:
    path = tmp_path / "订单.csv"
    path.write_bytes(CHINESE.encode("gb18030"))
    log = proposed(tmp_path, path, zone="Asia/Shanghai", currency="CNY")
    orders = {r["order_id"]: r for r in log.rows("orders")}
    assert len(orders) == 48
    assert (orders["1"]["amount"], orders["1"]["customer_id"]) == (Decimal("1.50"), "00001")
    came_back = orders["40:cancelled"]
    assert orders["40"]["amount"] == -came_back["amount"] == Decimal("40.50"), (
        "已退款: it was sold, and came back"
    )
    assert came_back["ref"] == "40"


@pytest.mark.parametrize(
    ("text", "separator", "encoding", "header"),
    [
        (b"\xef\xbb\xbfid;a\n1;2,5\n", ";", "utf-8", None),
        ("id\ta\n1\t张\n".encode("gb18030"), "\t", "gb18030", None),
        ("id|a\n1|Müller\n".encode("latin-1"), "|", "latin-1", None),
        ("id,a\n1,é\n".encode("utf-16"), ",", "utf-16", None),
        (b"00004,19970101,29.33\n00004,19970118,29.73\n", ",", "utf-8", ("column_1", "column_2", "column_3")),
    ],
)
def test_sniffing(
    tmp_path: Path, text: bytes, separator: str, encoding: str, header: tuple[str, ...] | None
) -> None:
    (tmp_path / "f.csv").write_bytes(text)
    how = sniff(tmp_path / "f.csv")
    assert (how.separator, how.encoding, how.header) == (separator, encoding, header)


def test_dirty_ids_and_ambiguous_days_are_said(tmp_path: Path) -> None:
    rows = "".join(f"{n},{n % 9}.0,0{1 + n % 9}/0{1 + n % 8}/2024,{n}\n" for n in range(50))
    (tmp_path / "o.csv").write_text("order_id,customer_id,date,total\n" + rows)
    proposal = propose([tmp_path / "o.csv"])
    assert 'customer_id = { column = "customer_id", clean = ["trim", "whole"] }' in proposal.toml
    assert "DECIDE: %m/%d/%Y reads every value as well" in proposal.toml
    assert any("different values, each" in note for note in proposal.notes), "how sure, and why"


def test_files_of_one_kind_are_one_reading_and_strangers_are_said(tmp_path: Path) -> None:
    for day in ("01", "02"):
        (tmp_path / f"sales_{day}.csv").write_text(
            f"order_id,customer_id,date,total\n{day},a,2024-01-{day},5\n"
        )
    (tmp_path / "odd.csv").write_text("colour,shape\nred,round\n")
    proposal = propose(sorted(tmp_path.glob("*.csv")))
    assert proposal.toml.count("\ntable = ") == 1
    assert proposal.toml.count('# table = "..."') == 1, "a reading to fill in for the stranger"
    assert 'files = ["sales_[0-9]*.csv"]' in proposal.toml
    assert any("not placed" in note for note in proposal.notes)
    with pytest.raises(SourceError, match="colour, shape"):
        propose([tmp_path / "odd.csv"])


def test_the_command_writes_a_shop_that_ingests_and_says_what_is_next(tmp_path: Path) -> None:
    pq.write_table(pa.table({"order_id": ["1", "2"], "customer_id": ["a", "a"], "date": ["2024-01-01", "2024-01-02"], "total": [1.5, 2.0]}), tmp_path / "sales.parquet")  # fmt: skip
    out = tmp_path / "myshop" / "shop.toml"
    home = {"PROPENSITY_HOME": str(tmp_path / "home"), "PROPENSITY_SHOP": str(out.parent)}
    command = ["ingest", "--propose", str(tmp_path / "sales.parquet"), "--out", str(out)]
    dry = CliRunner().invoke(propensity.main, [*command, "--dry-run"], env=home)
    assert (dry.exit_code, out.exists()) == (0, False)
    done = CliRunner().invoke(propensity.main, command, env=home)
    assert done.exit_code == 0, done.output
    assert "propensity ingest sales" in done.output.splitlines()[-1]
    ingested = CliRunner().invoke(propensity.main, ["ingest", "sales"], env=home)
    assert ingested.exit_code == 0, ingested.output
    again = CliRunner().invoke(propensity.main, command, env=home)
    assert (again.exit_code, "already" in again.output) == (0, True)
    assert Settings.from_env(home).shop == out.parent


@pytest.mark.parametrize(
    ("content", "says"), [(b"", "is empty"), (b"\xff\xfe\x00", "is empty"), (b'"a\nb', "could be placed")]
)
def test_a_file_that_is_none_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "odd.csv"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=says):
        propose([path])


def test_tomorrows_file_is_found_and_another_kind_is_not(tmp_path: Path) -> None:
    """Were the names fixed, every day's sales after the first mapping would be missing, and nobody told."""
    text = "order_id,customer_id,date,total\n{n},a,2024-01-0{n},5\n"
    pos = tmp_path / "raw" / "pos"
    pos.mkdir(parents=True)
    for n in (1, 2):
        (pos / f"till2_2024-01-0{n}.csv").write_text(text.format(n=n))
    (pos / ".hidden").write_text("")
    (pos / "remarks.docx").write_text("")
    proposal = propose([pos])
    assert proposal.name == "pos"
    assert 'files = ["till2_[0-9]*.csv"]' in proposal.toml
    shop = write_shop(tmp_path, proposal.toml, {}, zone="Europe/London", currency="GBP")
    assert len(bring_in(shop).rows("orders")) == 2
    (pos / "till2_2024-01-03.csv").write_text(text.format(n=3))
    assert len(bring_in(shop).rows("orders")) == 3
    (pos / "till2_2024-01-04.csv").write_text("colour,shape\nred,round\n")
    assert "till2_2024-01-03.csv" in propose([pos]).toml
    assert "named alike" in propose([pos]).toml


def test_files_that_are_written_otherwise_are_read_otherwise_and_that_is_said(tmp_path: Path) -> None:
    """Looking at one file of three would lose the orders of the others, or put them into the wrong month."""
    head = "order_id,customer_id,date,total,remark\n"
    (tmp_path / "a1.csv").write_text(head + "".join(f"{n},c{n},{n}/01/2024,5,\n" for n in range(10, 30)))
    (tmp_path / "a2.csv").write_text(
        head + "".join(f"2{n},c{n},2024-02-{n},5,x\n" for n in range(30, 10, -1) if n < 29)
    )
    (tmp_path / "a3.csv").write_text(head + "".join(f",c{n},{n}/03/2024,5,\n" for n in range(10, 30)))
    files = sorted(tmp_path.glob("*.csv"))
    proposal = propose(files)
    assert proposal.toml.count("table = ") == 3
    assert "DECIDE: the same columns as another reading" in proposal.toml
    log = proposed(tmp_path, *files)
    assert not [fate for fate in log.fates("orders") if fate.startswith("rejected")], proposal.toml
    months = [r["at"].strftime("%m") for r in log.rows("orders")]
    assert {m: months.count(m) for m in sorted(set(months))} == {"01": 20, "02": 18, "03": 20}


def test_a_column_that_only_some_files_fill_is_mapped_and_said(tmp_path: Path) -> None:
    for n, store in ((1, ""), (2, "s1")):
        (tmp_path / f"o_{n}.csv").write_text(
            f"order_id,customer_id,date,total,store_id\n{n},a,2024-01-0{n},5,{store}\n"
        )
    proposal = propose(sorted(tmp_path.glob("o_*.csv")))
    assert 'store_id = "store_id"' in proposal.toml
    assert "# DECIDE: store_id is empty in 1 of 2 files: o_1.csv" in proposal.toml
    assert any("store_id is empty in 1 of 2 files" in note for note in proposal.notes)


def test_times_as_chinese_spreadsheets_write_them(tmp_path: Path) -> None:
    path = tmp_path / "订单.csv"
    path.write_text(
        "订单号,会员编号,支付时间,实付金额\n1,a,2024/3/5 下午 2:05,1\n2,b,2024/3/6 上午 12:30,2\n3,b,2024/3/16 中午 11:50,2\n",
        "utf-8",
    )
    log = proposed(tmp_path, path, zone="Asia/Shanghai", currency="CNY")
    assert [r["at"].strftime("%d %H:%M") for r in log.rows("orders")] == ["05 06:05", "05 16:30", "16 03:50"]


@pytest.mark.parametrize(
    ("file", "text", "table", "line"),
    [
        ("groups.csv", "会员编号,时间,群名称,入群退群\na,2024-01-01 10:00,g,甲\nb,2024-01-01 11:00,g,乙\n", "memberships",
         '# change = { column = "入群退群", map = { "乙" = "...", "甲" = "..." } }  # joined, left'),
        ("optin.csv", "customer_id,date,channel,consent\na,2024-01-01,sms,vielleicht\n", "consents", '# at = "date"'),
    ],
)  # fmt: skip
def test_a_file_of_other_things_gets_a_reading_to_fill_in(
    tmp_path: Path, file: str, text: str, table: str, line: str
) -> None:
    """Told only that it was not placed, a first user would have to guess at tables, columns and words."""
    (tmp_path / file).write_text(text, "utf-8")
    (tmp_path / "sales.csv").write_text("order_id,customer_id,date,total\n1,a,2024-01-01,5\n")
    proposal = propose([tmp_path / "sales.csv", tmp_path / file])
    assert f'# table = "{table}"' in proposal.toml
    assert line in proposal.toml
    filled = proposal.toml[proposal.toml.index("# [[mapping") : proposal.toml.index("# Its columns")]
    tomllib.loads("\n".join(row.removeprefix("# ") for row in filled.splitlines()))
    assert len(bring_in(write_shop(tmp_path, proposal.toml, {})).rows("orders")) == 1


SALES = "order_id,customer_id,date,total\n"


def _sales(first: int, last: int, who: str = "c{n}") -> str:
    return "".join(f"{first}{n},{who.format(n=n)},2024-01-{1 + n % 28:02},5\n" for n in range(first, last))


@pytest.mark.parametrize(
    ("file", "text", "table", "lines"),
    [
        ("links.csv", "member_id,openid\n" + "".join(f"m{n},o{n}\n" for n in range(30)), "identities",
         ['# source_id = "openid"', '# customer_id = "member_id"']),
        ("risk_20240131.csv", "customer_id,churn_score,segment\n" + "".join(f"m{n},0.{n},{'ab'[n % 2]}\n" for n in range(30)), "scores",
         ['# scores = ["churn_score", "segment"]', "# delivered = "]),
    ],
)  # fmt: skip
def test_links_and_scores_are_not_taken_for_what_people_are(
    tmp_path: Path, file: str, text: str, table: str, lines: list[str]
) -> None:
    """As attributes of customers, ids would link nobody, and a score would be no feature, and known forever."""
    (tmp_path / file).write_text(text)
    (tmp_path / "people.csv").write_text("customer_id,city,churn_risk\nm1,Ulm,1\nm2,Bonn and more,2\n" + "".join(f"p{n},town {n},1\n" for n in range(30)))  # fmt: skip
    (tmp_path / "sales.csv").write_text(SALES + _sales(0, 30, "m{n}"))
    proposal = propose([tmp_path])
    assert f'# table = "{table}"' in proposal.toml
    assert all(line in proposal.toml for line in lines), proposal.toml
    assert 'attributes = ["city", "churn_risk"]' in proposal.toml, "people with a city stay people"
    assert any(f"it is like {table}" in note for note in proposal.notes)
    begins = proposal.toml.index("# [[mapping")
    commented = proposal.toml[begins : proposal.toml.index("# Its columns")].splitlines()
    filled = "\n".join(line.removeprefix("# ") for line in commented)
    tomllib.loads(filled)
    ready = filled.replace('value = "..."', 'value = "wechat"')
    log = bring_in(write_shop(tmp_path / "new", f"{proposal.toml}\n{ready}", {}))
    assert len([r for r in log.rows(table) if r.get("source", "wechat") == "wechat"]) in (30, 60)


def test_ids_of_two_systems_that_never_meet_are_asked_about(tmp_path: Path) -> None:
    """Else number 17 of the till and number 17 of the web shop are one person one day."""
    for name, who in (("till", "t{n}"), ("web", "w{n}"), ("again", "t{n}")):
        head = SALES if name != "web" else "order_no,user_id,paid_time,paid\n"
        (tmp_path / f"{name}.csv").write_text(head + _sales(len(name), 40, who))
    alike = propose([tmp_path / "till.csv", tmp_path / "again.csv"])
    assert "customer_prefix" not in alike.toml
    both = propose([tmp_path / "till.csv", tmp_path / "web.csv"])
    assert both.toml.count("none of these customer ids is in till.csv") == 1
    out = tmp_path / "shop" / "shop.toml"
    for name in ("till", "web", "again"):
        result = CliRunner().invoke(
            propensity.main, ["ingest", "--propose", str(tmp_path / f"{name}.csv"), "--out", str(out)]
        )
        assert result.exit_code == 0, result.output
    text = out.read_text("utf-8")
    assert '# customer_prefix = "web:"   # DECIDE: none of these customer ids is in till.' in text
    assert '# customer_prefix = "again:"   # DECIDE: none of these customer ids is in web.' in text


@pytest.mark.parametrize("nobody", ["散客", "guest", "Anonymous", "0", "0000"])
def test_ids_that_mean_nobody_are_no_customer(tmp_path: Path, nobody: str) -> None:
    (tmp_path / "sales.csv").write_text(SALES + _sales(0, 20) + _sales(100, 110, nobody))
    proposal = propose([tmp_path / "sales.csv"])
    assert f"taken for no customer: {nobody}" in " ".join(proposal.notes)
    log = proposed(tmp_path, tmp_path / "sales.csv")
    assert log.fates("orders") == {"accepted": 20, "aside: anonymous: no customer id": 10}


def test_files_may_be_a_folder_or_a_pattern(tmp_path: Path) -> None:
    for n in (1, 2):
        (tmp_path / f"pos_{n}.csv").write_text(SALES + _sales(n * 10, n * 10 + 5))
    (tmp_path / "odd.csv").write_text("colour,shape\nred,round\n")
    proposal = propose([tmp_path / "pos_*.csv"])
    assert 'files = ["pos_[0-9]*.csv"]' in proposal.toml
    assert not any("colour" in note for note in proposal.notes)
    assert propose([tmp_path]).toml.count("\ntable = ") == 1
    with pytest.raises(SourceError, match="no file is named like"):
        propose([tmp_path / "nothing_*.csv"])

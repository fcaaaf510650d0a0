"""A first mapping of several systems and of other things than orders: it must bring them in as it stands."""

import json
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from dirty import Brought, bring_in, write_shop

from features.moments import parse_moment
from features.sources.propose import propose

DAY = 86_400
NEW_YEAR = 1_704_067_200  # 2024-01-01, in seconds since 1970
MEMBERS = [f"{n:05d}" for n in range(1, 31)]


def write(folder: Path, name: str, header: str, rows: list[str], encoding: str = "utf-8") -> None:
    (folder / name).write_bytes("\n".join([header, *rows, ""]).encode(encoding))


def of_all(fields: Callable[[int, str], tuple[object, ...]], separator: str = ",") -> list[str]:
    """A row of each member."""
    return [separator.join(map(str, fields(n, m))) for n, m in enumerate(MEMBERS)]


def ingested(folder: Path, toml: str = "", zone: str = "Asia/Shanghai", currency: str = "CNY") -> Brought:
    """What is proposed for a folder, unedited; toml: that, if it is at hand."""
    toml = toml or propose([folder / "raw"]).toml
    return bring_in(write_shop(folder, toml, {}, zone=zone, currency=currency))


def every_kind(raw: Path) -> None:
    raw.mkdir()
    orders = of_all(
        lambda n, m: (
            f"DD{n}",
            m,
            f"2024/01/{1 + n % 28:02d} 10:30",
            f"￥{n}.50",
            "门店小程序"[2 * (n % 2) :][:3],
        )
    )
    orders = [row.replace("门店小", "门店") for row in orders]
    write(raw, "订单.csv", "订单编号,会员编号,支付时间,实付金额,渠道", orders, "gbk")
    people = of_all(lambda n, m: (m, "张三", "2023-05-01 09:00:00", "上海"))
    write(raw, "注册会员.csv", "会员编号,姓名,注册时间,城市", people)
    said = of_all(lambda n, m: (m, "2024-01-02 08:00:00", ("邮件", "短信")[n % 2], "否是是"[n % 3]))
    write(raw, "consents.csv", "member_id,time,how,opt_in", said)
    cases = of_all(
        lambda n, m: (
            *(f"G{n}", m, "2024-01-03 10:00"),
            *("2024-01-09 11:00" if n % 3 else "", ("咨询", "投诉")[n % 2]),
        )
    )
    write(raw, "工单.csv", "工单号,会员编号,受理时间,结案时间,类型", cases)
    coupons = of_all(
        lambda n, m: (
            *(f"C{n}", m, "ten_off", NEW_YEAR + n * DAY),
            *("" if n % 2 else NEW_YEAR + (n + 1) * DAY, 10),
        )
    )
    write(raw, "coupons.csv", "coupon_id,member_id,coupon_name,issued_at,used_at,face_value", coupons)
    scores = of_all(lambda n, m: (m, f"2024-01-1{n % 9}", n % 11))
    write(raw, "nps_2024.csv", "member_id,date,score", scores)
    groups = of_all(lambda n, m: (m, "一群", "2024-01-04 10:00", "" if n % 3 else "2024-01-20 10:00"))
    write(raw, "groups.csv", "会员编号,群名称,入群时间,退群时间", groups)
    sent = of_all(lambda n, m: (m, "2024-01-05 09:00:00", "spring", 0.05))
    write(raw, "sms_campaign.csv", "member_id,sent_at,campaign,cost", sent)
    events = [
        {"user_id": m, "ts": (NEW_YEAR + n * DAY) * 1000, "event": ["page_view", "加购", "login"][n % 3]}
        for n, m in enumerate(MEMBERS)
    ]
    (raw / "visits.jsonl").write_text("\n".join(map(json.dumps, events)), "utf-8")


def test_every_kind_of_file_comes_in_as_it_is_proposed(tmp_path: Path) -> None:
    """Else a shop's consents, complaints and coupons stay outside until somebody has learnt our tables."""
    every_kind(tmp_path / "raw")
    log = ingested(tmp_path)
    expected = {
        **{"orders": 30, "customers": 30, "consents": 30, "contacts": 60, "responses": 15, "surveys": 30},
        **{"interactions": 30, "memberships": 40, "cases": 50},
    }
    assert {table: len(log.rows(table)) for table in expected} == expected
    assert Counter((r["kind"], r["change"]) for r in log.rows("cases")) == {
        **{("complaint", "opened"): 15, ("question", "opened"): 15},
        **{("complaint", "closed"): 10, ("question", "closed"): 10},
    }
    said = {(r["channel"], r["status"]) for r in log.rows("consents")}
    assert said == {(channel, status) for channel in ("sms", "email") for status in ("granted", "withdrawn")}
    assert {r["kind"] for r in log.rows("interactions")} == {"view", "cart", "login"}
    assert min(r["at"] for r in log.rows("interactions")) == parse_moment("2024-01-01T00:00:00Z")
    assert {r["channel"] for r in log.rows("orders")} == {"store", "mini_program"}
    attributes = str([r["attributes"] for r in log.rows("customers")])
    assert "上海" in attributes
    assert "张三" not in attributes, "a name is no attribute that a model should see"


def test_numbers_as_the_french_and_germans_write_them(tmp_path: Path) -> None:
    """Else 1 234,56 is rejected, and 1.234,56 too; pieces are whole, and show no decimal sign."""
    raw = tmp_path / "raw"
    raw.mkdir()
    head = "Numéro ticket;Code client;Date vente;Référence;Quantité;Montant TTC"
    for n, amount in enumerate(["1 234,56", "1.234,56", "1\u202f234,56", "12,50", "1\u00a0234,56 €"]):
        rows = of_all(lambda k, m: (f"T{n}{k}", m, f"0{1 + k % 9}/03/2024", f"REF{k}", 1 + k, amount), ";")  # noqa: B023
        write(raw, f"caisse{'abcde'[n]}.csv", head, rows)
    log = ingested(tmp_path, zone="Europe/Paris", currency="EUR")
    assert log.fates("order_lines") == {"accepted": 150}
    amounts = Counter(r["amount"] for r in log.rows("order_lines"))
    assert amounts == {Decimal("1234.56"): 120, Decimal("12.50"): 30}


def two_systems(folder: Path, till: str = "T{n}") -> None:
    folder.mkdir()
    orders = [f"{n},w{n % 25},2024-01-0{1 + n % 9},10,web" for n in range(100, 200)]
    write(folder, "orders.csv", "order_id,customer_id,date,total,channel", orders)
    lines = [f"{n},S{k},1,5" for n in range(199, 99, -1) for k in (1, 2)]
    write(folder, "lines.csv", "order_id,sku,qty,price", lines)
    sold = [f"{till.format(n=n)},t{n % 25},2024-01-0{1 + n % 9} 10:00,S1,1,5" for n in range(100, 150)]
    write(folder, "till.csv", "receipt_no,customer_id,time,sku,qty,price", sold)


def test_lines_whose_orders_are_not_there_are_another_systems(tmp_path: Path) -> None:
    """Else the till's lines are in the log, and its orders are not: half of the customers never bought."""
    two_systems(tmp_path / "raw")
    proposal = propose([tmp_path / "raw"])
    assert proposal.names == ("raw", "till")
    assert "# 100 of 100 order ids looked at are orders of orders.csv" in proposal.toml
    assert "# none of 50 order ids looked at is in orders.csv: another system's" in proposal.toml
    assert any("none of 50 order ids" in note for note in proposal.notes)
    log = ingested(tmp_path, proposal.toml)
    orders = {r["order_id"]: r["amount"] for r in log.rows("orders")}
    assert len(orders) == 150
    assert set(orders) == {r["order_id"] for r in log.rows("order_lines")}
    assert {r["customer_id"] for r in log.rows("order_lines")} == {f"{s}{n}" for s in "wt" for n in range(25)}
    (tmp_path / "raw" / "orders.csv").write_text("")
    (tmp_path / "raw" / "more.xlsx").write_bytes(b"PK")
    alone = propose([tmp_path / "raw"])
    assert any("lines without a customer, and their orders are not found" in note for note in alone.notes)
    assert alone.toml.count("\ntable = ") == 1
    assert "left out: orders.csv is empty: expected at least a header" in alone.notes
    assert any("save a workbook as CSV): more.xlsx" in note for note in alone.notes)


def test_two_systems_that_number_alike_do_not_take_each_others_orders(tmp_path: Path) -> None:
    """Else the till's receipt 117 is refused as a second row of the web's order 117."""
    raw = tmp_path / "raw"
    two_systems(raw, till="{n}")
    (raw / "till.csv").write_text(
        (raw / "till.csv").read_text("utf-8").replace(",sku,qty,price", ",x,y,paid")
    )
    proposal = propose([raw])
    assert 'order_id = { column = "receipt_no", prefix = "till:" }' in proposal.toml
    assert "50 order ids are in orders.csv too, of other customers" in proposal.toml
    log = ingested(tmp_path, proposal.toml)
    assert len(log.rows("orders")) == 150
    assert not [fate for fate in log.fates("orders") if fate.startswith("rejected")]


def test_one_id_written_in_three_ways_is_one_person(tmp_path: Path) -> None:
    """Else 00101, 101 and 101.0 are three customers, each with a third of the orders."""
    raw = tmp_path / "raw"
    raw.mkdir()
    for name, form in (("web", "{n:05d}"), ("till", "{n}.0"), ("app", " {n} ")):
        column = {"web": "paid", "till": "total", "app": "amount"}[name]
        rows = [f"{name}{n},{form.format(n=n)},2024-01-0{1 + n % 9},5" for n in range(95, 125)]
        write(raw, f"{name}.csv", f"order_id,customer_id,date,{column}", rows)
    proposal = propose([raw])
    assert 'customer_id = { column = "customer_id", clean = ["trim", "whole"], pad = 5 }' in proposal.toml
    assert any("which writes them with 5 digits" in note for note in proposal.notes)
    assert "# looks like orders, as app.csv does, and no order id is in both" in proposal.toml
    log = ingested(tmp_path, proposal.toml)
    assert Counter(r["customer_id"] for r in log.rows("orders")) == {f"{n:05d}": 3 for n in range(95, 125)}


def test_rows_that_are_there_again_are_counted_and_never_added_up(tmp_path: Path) -> None:
    """Else an export that was appended twice doubles every amount; equal lines may be two pieces: asked."""
    raw = tmp_path / "raw"
    raw.mkdir()
    orders = [f"{n},c{n % 9},2024-01-0{1 + n % 9},5" for n in range(30)]
    write(raw, "orders.csv", "order_id,customer_id,date,total", orders + orders[:12])
    lines = [f"r{n},c{n % 9},2024-01-0{1 + n % 9},S{n},1,5" for n in range(30)]
    write(raw, "till.csv", "receipt_no,customer_id,time,sku,qty,price", lines + lines[:4])
    toml = propose([raw]).toml
    assert "once = true                 # 12 of 42 rows looked at are there again" in toml
    assert "# once = true               # DECIDE: 4 of 34 rows looked at are there again" in toml
    assert "add_up" not in toml
    log = ingested(tmp_path, toml)
    assert sum(r["amount"] for r in log.rows("orders") if r["order_id"].isdigit()) == 150
    assert log.fates("orders")["aside: the same row again"] == 12


def test_files_as_other_programs_write_them_come_in_as_they_are_proposed(tmp_path: Path) -> None:
    """Else refunds are sales, an object of JSON is a customer, and Windows' euro sign rejects its amount."""
    raw = tmp_path / "raw"
    raw.mkdir()
    orders = of_all(
        lambda n, m: (f"F{n}", m, f"1{n % 9}/01/2024", f"{n + 1} 000,50 €", "Magasin"), separator=";"
    )
    write(raw, "commandes.csv", "N° commande;N° client;Date commande;Montant TTC;Canal", orders, "cp1252")
    refunds = of_all(lambda n, m: (f"T{n}", f"F{n}", m, "2024-05-02 11:00:00", "5.00"))
    write(raw, "退款.csv", "退款单号,原订单号,会员编号,退款时间,退款金额", refunds)
    people = of_all(lambda n, m: (m, "1900-01-01" if n % 4 == 0 else "2022-01-02", "Lyon"))
    write(raw, "clients.csv", "id_client,date_inscription,ville", people)
    carts = [
        {"id": f"J{n}", "customer": {"id": m}, "created_at": "2024-02-01T10:00:00Z", "total": 12.5}
        for n, m in enumerate(MEMBERS)
    ]
    (raw / "orders.jsonl").write_text("\n".join(map(json.dumps, carts)), "utf-8")
    events = of_all(lambda n, m: (m, (NEW_YEAR + n) * 1000, ("PV", "search", "加购")[n % 3], n))
    write(raw, "page_events.csv", "uid,timestamp_ms,event_type,duration_ms", events)
    log = ingested(tmp_path, zone="Europe/Paris", currency="EUR")
    amounts = {r["order_id"]: (r["customer_id"], r["amount"], r["ref"]) for r in log.rows("orders")}
    assert len(amounts) == 90
    assert amounts["F1"] == ("00002", Decimal("2000.50"), None)
    assert amounts["T1"] == ("00002", Decimal("-5.00"), "F1")
    assert amounts["J1"] == ("00002", Decimal("12.50"), None)
    since = {r["customer_id"]: r["at"].year for r in log.rows("customers")}
    assert (since["00001"], since["00002"]) == (2024, 2022), "1900 is no time at which anybody came"
    assert log.fates("interactions") == {"accepted": 20, "aside: another kind of event": 10}


def test_a_log_of_messages_says_what_was_sent_and_what_was_opened(tmp_path: Path) -> None:
    """Else nobody learns which message was read, although the file says when."""
    raw = tmp_path / "raw"
    raw.mkdir()
    orders = of_all(lambda n, m: (f"D{n}", m, f"2024-01-{1 + n % 28:02} 10:30", "茶", 1 + n % 3, 9.9))
    write(raw, "订单.csv", "订单号,会员号,下单时间,商品,数量,金额", orders, "gbk")
    sent = of_all(
        lambda n, m: (
            f"m{n}",
            m,
            f"2024-02-{1 + n % 28:02} 09:00",
            f"2024-03-{1 + n % 28:02} 10:00" * (n % 2),
        )
    )
    write(raw, "wecom.csv", "msg_id,member_id,sent_at,opened_at", sent)
    friends = of_all(lambda n, m: (m, f"导购{n % 3}", "2024-01-04 10:00", "2024-01-20 10:00" * (n % 3 == 0)))
    write(raw, "企微客户联系.csv", "会员号,添加导购,添加时间,删除时间", friends, "gbk")
    log = ingested(tmp_path)
    assert {r["change"] for r in log.rows("memberships")} == {"joined", "left"}
    assert {r["channel"] for r in log.rows("contacts")} == {"wechat"}
    assert {table: len(log.rows(table)) for table in ("orders", "order_lines", "contacts", "responses")} == {
        "orders": 30, "order_lines": 30, "contacts": 30, "responses": 15,
    }  # fmt: skip
    assert {(r["product_id"], r["items"]) for r in log.rows("order_lines")} == {
        ("茶", 1),
        ("茶", 2),
        ("茶", 3),
    }
    opened = {r["contact_id"]: r["at"] for r in log.rows("responses") if r["kind"] == "open"}
    assert opened.keys() == {f"m{n}" for n in range(1, 30, 2)}
    assert all(r["at"] < opened[r["contact_id"]] for r in log.rows("contacts") if r["contact_id"] in opened)


@pytest.mark.parametrize("number", ["no", "No.", "id", "编号"])
@pytest.mark.parametrize("file", ["complaints.csv", "tickets.csv"])
def test_a_case_that_is_only_called_by_its_number_is_closed_by_it(
    tmp_path: Path, file: str, number: str
) -> None:
    """Else the row that closes a case opens another, and the customer complains for ever."""
    raw = tmp_path / "raw"
    raw.mkdir()
    orders = [f"{n},c{n % 9},2024-01-0{1 + n % 9},5" for n in range(30)]
    write(raw, "orders.csv", "order_id,customer_id,date,total", orders)
    rows = [
        f"{case},c{case % 9},2024-0{month}-{1 + case:02} 10:00,{status}"
        for case in range(20)
        for month, status in ((1, "open"), (2, "closed"))[: 1 + (case > 0)]
    ]
    write(raw, file, f"{number},customer_id,time,status", rows)
    log = ingested(tmp_path)
    changes = Counter((row["case_id"], row["change"]) for row in log.rows("cases"))
    assert changes == {
        **{(str(case), "opened"): 1 for case in range(20)},
        **{(str(case), "closed"): 1 for case in range(1, 20)},
    }


def test_ids_of_another_system_that_are_only_called_a_number_are_no_attribute(tmp_path: Path) -> None:
    """As what a customer is like they link nobody; the same for all, they would make one person of all."""
    raw = tmp_path / "raw"
    raw.mkdir()
    orders = [f"{n},m{n % 30},2024-01-0{1 + n % 9},5" for n in range(60)]
    write(raw, "orders.csv", "order_id,customer_id,date,total", orders)
    write(raw, "identities.csv", "member_id,no", [f"m{n},o{n}" for n in range(30)])
    toml = propose([raw]).toml
    assert '# table = "identities"' in toml
    assert '# source_id = "no"' in toml
    assert 'attributes = ["no"]' not in toml


@pytest.mark.parametrize(
    "days",
    [
        {"Geburtsdatum": "07.08.1980", "Eintritt": "03.02.2023", "Austritt": "01.03.2024"},
        {"Geburtsdatum": "07.08.1980", "Austritt": "01.03.2024"},
        {"Geburtsdatum": "07.08.1980"},
        {"Eintritt": "03.02.2023"},
    ],
)
def test_a_list_of_members_is_of_customers_and_a_birthday_is_no_time(
    tmp_path: Path, days: dict[str, str]
) -> None:
    """Else every member was sent a message on the day of his birth, and a newsletter nobody wrote."""
    raw = tmp_path / "raw"
    raw.mkdir()
    write(
        raw,
        "kasse.csv",
        "Bonnummer;Kundennummer;Datum;Betrag",
        of_all(lambda n, m: (n, m, "05.01.2024", "5,00"), ";"),
    )
    people = of_all(lambda n, m: (m, "Anna", "Kurz", "10115", *days.values(), "ja", "Mitte"), ";")
    head = ["Kundennummer", "Vorname", "Nachname", "PLZ", *days, "Newsletter", "Stammfiliale"]
    write(raw, "mitglieder.csv", ";".join(head), people)
    toml = propose([raw]).toml
    assert "Geburtsdatum" not in toml
    assert "Vorname" not in toml
    log = ingested(tmp_path, toml, zone="Europe/Berlin", currency="EUR")
    assert log.fates("customers") == {"accepted": 30}
    assert not log.rows("contacts")
    if "Eintritt" in days:
        assert {row["known_at"].year for row in log.rows("customers")} == {2023}

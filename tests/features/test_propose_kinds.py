"""A first mapping of several systems and of other things than orders: it must bring them in as it stands."""

import json
from collections import Counter
from decimal import Decimal
from pathlib import Path

from dirty import Brought, bring_in, write_shop

from features.sources.propose import propose

DAY = 86_400
NEW_YEAR = 1_704_067_200  # 2024-01-01, in seconds since 1970
MEMBERS = [f"{n:05d}" for n in range(1, 31)]


def write(folder: Path, name: str, header: str, rows: list[str], encoding: str = "utf-8") -> None:
    (folder / name).write_bytes("\n".join([header, *rows, ""]).encode(encoding))


def ingested(folder: Path, zone: str = "Asia/Shanghai") -> Brought:
    """What is proposed for a folder, unedited."""
    return bring_in(write_shop(folder, propose([folder / "raw"]).toml, {}, zone=zone, currency="CNY"))


def test_every_kind_of_file_comes_in_as_it_is_proposed(tmp_path: Path) -> None:
    """Else: a shop's consents, complaints and coupons stay outside until somebody has learnt our tables."""
    raw = tmp_path / "raw"
    raw.mkdir()
    write(raw, "订单.csv", "订单编号,会员编号,支付时间,实付金额,渠道",
          [f"DD{n},{m},2024/01/{1 + n % 28:02d} 10:30,￥{n}.50,{'门店' if n % 2 else '小程序'}" for n, m in enumerate(MEMBERS)], "gbk")  # fmt: skip
    write(
        raw,
        "注册会员.csv",
        "会员编号,姓名,注册时间,城市",
        [f"{m},张三,2023-05-01 09:00:00,上海" for m in MEMBERS],
    )
    write(raw, "consents.csv", "member_id,time,how,opt_in", [f"{m},2024-01-02 08:00:00,{'短信' if n % 2 else '邮件'},{'是' if n % 3 else '否'}" for n, m in enumerate(MEMBERS)])  # fmt: skip
    write(raw, "工单.csv", "工单号,会员编号,受理时间,结案时间,类型", [f"G{n},{m},2024-01-03 10:00,{'2024-01-09 11:00' if n % 3 else ''},{'投诉' if n % 2 else '咨询'}" for n, m in enumerate(MEMBERS)])  # fmt: skip
    write(raw, "coupons.csv", "coupon_id,member_id,coupon_name,issued_at,used_at,face_value",
          [f"C{n},{m},ten_off,{NEW_YEAR + n * DAY},{'' if n % 2 else NEW_YEAR + (n + 1) * DAY},10" for n, m in enumerate(MEMBERS)])  # fmt: skip
    write(raw, "nps_2024.csv", "member_id,date,score", [f"{m},2024-01-1{n % 9},{n % 11}" for n, m in enumerate(MEMBERS)])  # fmt: skip
    write(raw, "groups.csv", "会员编号,群名称,入群时间,退群时间", [f"{m},一群,2024-01-04 10:00,{'2024-01-20 10:00' if n % 3 == 0 else ''}" for n, m in enumerate(MEMBERS)])  # fmt: skip
    write(raw, "sms_campaign.csv", "member_id,sent_at,campaign,cost", [f"{m},2024-01-05 09:00:00,spring,0.05" for m in MEMBERS])  # fmt: skip
    write(raw, "visits.jsonl", json.dumps({"user_id": "00001", "ts": NEW_YEAR * 1000 + 1, "event": "page_view"}), [
        json.dumps({"user_id": m, "ts": (NEW_YEAR + n * DAY) * 1000, "event": ["page_view", "加购", "login"][n % 3]}) for n, m in enumerate(MEMBERS)])  # fmt: skip
    log = ingested(tmp_path)
    counts = {t: len(log.rows(t)) for t in ("orders", "customers", "consents", "contacts", "responses", "surveys", "interactions", "memberships")}  # fmt: skip
    assert counts == {
        "orders": 30, "customers": 30, "consents": 30, "contacts": 60, "responses": 15, "surveys": 30, "interactions": 31,
        "memberships": 40,
    }  # fmt: skip
    kinds = Counter((r["kind"], r["change"]) for r in log.rows("cases"))
    assert kinds == {("complaint", "opened"): 15, ("question", "opened"): 15, ("complaint", "closed"): 10, ("question", "closed"): 10}  # fmt: skip
    assert {(r["channel"], r["status"]) for r in log.rows("consents")} >= {
        ("sms", "granted"),
        ("email", "withdrawn"),
    }
    assert {r["kind"] for r in log.rows("interactions")} == {"view", "cart", "login"}
    assert min(r["at"] for r in log.rows("interactions")).isoformat() == "2024-01-01T00:00:00+00:00"
    assert {r["channel"] for r in log.rows("orders")} == {"store", "mini_program"}
    ((_, attributes),) = {tuple(r["attributes"]) for r in log.rows("customers")} and {("", str(r["attributes"])) for r in log.rows("customers")}  # fmt: skip
    assert "上海" in attributes and "张三" not in attributes, "a name is no attribute that a model should see"


def test_numbers_as_the_french_and_germans_write_them(tmp_path: Path) -> None:
    """Else: 1 234,56 is rejected, and 1.234,56 too; pieces are whole, and show no decimal sign."""
    raw = tmp_path / "raw"
    raw.mkdir()
    written = ["1 234,56", "1.234,56", "1\u202f234,56", "12,50", "1\u00a0234,56 €"]
    for n, amount in enumerate(written):
        rows = [f"T{n}{k};{k:05d};0{1 + k % 9}/13/2024;REF{k};{k};{amount}".replace("/13/", "/03/") for k in range(1, 21)]  # fmt: skip
        write(
            raw, f"caisse{'abcde'[n]}.csv", "Numéro ticket;Code client;Date vente;Référence;Quantité;Montant TTC", rows
        )  # fmt: skip
    toml = propose([raw]).toml
    log = bring_in(write_shop(tmp_path, toml, {}, zone="Europe/Paris", currency="EUR"))
    assert log.fates("order_lines") == {"accepted": 100}
    assert Counter(r["amount"] for r in log.rows("order_lines")) == {Decimal("1234.56"): 80, Decimal("12.50"): 20}  # fmt: skip


def two_systems(folder: Path, till: str = "T{n}") -> None:
    folder.mkdir()
    write(folder, "orders.csv", "order_id,customer_id,date,total,channel", [f"{n},w{n % 25},2024-01-0{1 + n % 9},10,web" for n in range(100, 200)])  # fmt: skip
    write(folder, "lines.csv", "order_id,sku,qty,price", [f"{n},S{k},1,5" for n in range(199, 99, -1) for k in (1, 2)])  # fmt: skip
    write(folder, "till.csv", "receipt_no,customer_id,time,sku,qty,price", [f"{till.format(n=n)},t{n % 25},2024-01-0{1 + n % 9} 10:00,S1,1,5" for n in range(100, 150)])  # fmt: skip


def test_lines_whose_orders_are_not_there_are_another_systems(tmp_path: Path) -> None:
    """Else: the till's lines are in the log, and its orders are not: half of the customers never bought."""
    two_systems(tmp_path / "raw")
    proposal = propose([tmp_path / "raw"])
    assert proposal.names == ("raw", "till")
    assert "# 100 of 100 order ids looked at are orders of orders.csv" in proposal.toml
    assert "# none of 50 order ids looked at is in orders.csv: another system's" in proposal.toml
    assert any("none of 50 order ids" in note for note in proposal.notes)
    log = ingested(tmp_path)
    orders = {r["order_id"]: r["amount"] for r in log.rows("orders")}
    assert len(orders) == 150 and set(orders) == {r["order_id"] for r in log.rows("order_lines")}
    assert {r["customer_id"] for r in log.rows("order_lines")} == {f"{s}{n}" for s in "wt" for n in range(25)}
    (tmp_path / "raw" / "orders.csv").unlink()
    alone = propose([tmp_path / "raw"])
    assert any("lines without a customer, and their orders are not found" in note for note in alone.notes)
    assert alone.toml.count("\ntable = ") == 1


def test_two_systems_that_number_alike_do_not_take_each_others_orders(tmp_path: Path) -> None:
    """Else: the till's receipt 117 is refused as a second row of the web's order 117."""
    raw = tmp_path / "raw"
    two_systems(raw, till="{n}")
    (raw / "till.csv").write_text(
        (raw / "till.csv").read_text("utf-8").replace(",sku,qty,price", ",x,y,paid")
    )
    proposal = propose([raw])
    assert 'order_id = { column = "receipt_no", prefix = "till:" }' in proposal.toml
    assert "50 order ids are in orders.csv too, of other customers" in proposal.toml
    log = ingested(tmp_path)
    assert len(log.rows("orders")) == 150
    assert not [fate for fate in log.fates("orders") if fate.startswith("rejected")]


def test_one_id_written_in_three_ways_is_one_person(tmp_path: Path) -> None:
    """Else: 00101, 101 and 101.0 are three customers, each with a third of the orders."""
    raw = tmp_path / "raw"
    raw.mkdir()
    for name, form in (("web", "{n:05d}"), ("till", "{n}.0"), ("app", " {n} ")):
        column = {"web": "paid", "till": "total", "app": "amount"}[name]
        rows = [f"{name}{n},{form.format(n=n)},2024-01-0{1 + n % 9},5" for n in range(95, 125)]
        write(raw, f"{name}.csv", f"order_id,customer_id,date,{column}", rows)
    proposal = propose([raw])
    assert 'customer_id = { column = "customer_id", clean = ["trim", "whole"], pad = 5 }' in proposal.toml
    assert any("which writes them with 5 digits" in note for note in proposal.notes)
    log = ingested(tmp_path)
    assert Counter(r["customer_id"] for r in log.rows("orders")) == {f"{n:05d}": 3 for n in range(95, 125)}


def test_rows_that_are_there_again_are_counted_and_never_added_up(tmp_path: Path) -> None:
    """Else: an export that was appended twice doubles every amount; equal lines may be two pieces, so it is asked."""
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
    log = ingested(tmp_path)
    assert sum(r["amount"] for r in log.rows("orders") if r["order_id"].isdigit()) == 150
    assert log.fates("orders")["aside: the same row again"] == 12

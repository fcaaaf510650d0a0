"""Orders, their lines and what came back, by a mapping: each sale once, and whose it is."""

from decimal import Decimal
from pathlib import Path

import pytest
from dirty import LINES, ORDERS, bring_in, write_shop

from features.moments import parse_moment


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
        (i, "return", change, orders[i][1])
        for i in ("C3", "C4", "C5", "6:return:2024-01-10")
        for change in ("opened", "closed")
    }, "given back is seen to: else every customer who ever returned something has an open case for ever"
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

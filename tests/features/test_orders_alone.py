"""Orders that only their lines tell of, beside a file of other orders: their money must not vanish.

A till writes lines, and the web shop a file of orders. Read in one mapping, the till's sales were lines of
orders that nobody had: of 3,884 orders 2,984 were gone, and the account said "accepted".
"""

from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner
from dirty import LINES, ORDERS, Brought, bring_in, write_shop

from propensity import main

MAPPING = ORDERS.format(more="") + LINES.format(more="").replace("[mapping.web]\n", "", 1)
LINES_HEAD = "no,who,when,what,n,price\n"
WEB = "no,who,when,paid\nW1,a,2024-01-01 09:00,20\nW2,b,2024-01-02 09:00,30\n"
NAMED = LINES_HEAD + (
    "W1,a,2024-01-01 09:00,x,2,10\n"  # the web's own line: its order's total is given
    "B1,a,2024-01-03 10:00,x,3,2.00\nB1,a,2024-01-03 10:00,y,1,5.00\n"
    "B2,b,2024-01-04 10:00,x,1,2.00\n"
    "B3,a,2024-01-09 10:00,x,-2,2.00\n"  # comes back, from B1
    "B2,b,2024-01-08 10:00,x,-1,2.00\n"  # the same, under the order's own id
)
ALONE = "an order of its lines alone"


def _whole(log: Brought) -> None:
    """Every line has its order, and no money of a line is lost."""
    orders = {r["order_id"]: r["amount"] for r in log.rows("orders")}
    lines = log.rows("order_lines")
    assert {r["order_id"] for r in lines} <= set(orders)
    assert sum(orders.values()) >= sum(r["amount"] for r in lines)
    assert log.done.suspicions == ()


@pytest.mark.parametrize("amount", ['amount = "paid"', ""], ids=["orders say amounts", "their lines do"])
def test_an_order_that_no_file_of_orders_has_is_the_sum_of_its_lines(tmp_path: Path, amount: str) -> None:
    mapping = MAPPING.replace('amount = "paid"', amount)
    web = WEB if amount else WEB.replace("W2,b,2024-01-02 09:00,30\n", "")
    log = bring_in(write_shop(tmp_path, mapping, {"orders.csv": web, "lines.csv": NAMED}))
    orders = {r["order_id"]: (r["amount"], r["channel"], r["ref"]) for r in log.rows("orders")}
    orders.pop("W2", None)
    assert orders == {
        "W1": (Decimal(20), "web", None),
        "B1": (Decimal(11), "web", None),
        "B2": (Decimal(2), "web", None),
        "B3": (Decimal(-4), "web", "B1"),
        "B2:return:2024-01-08": (Decimal(-2), "web", "B2"),
    }
    assert {r["case_id"] for r in log.rows("cases")} == {"B3", "B2:return:2024-01-08"}
    assert log.fates("order_lines") == {
        "accepted": 1,
        f"accepted: {ALONE}": 3,
        f"accepted: a return, matched to its order; {ALONE}": 2,
    }
    _whole(log)


def test_beside_orders_they_are_what_a_mapping_of_lines_alone_makes_of_them(tmp_path: Path) -> None:
    """Amount, time, channel and returns are those of the same file, read without the web's orders."""
    till = NAMED.replace("W1,a,2024-01-01 09:00,x,2,10\n", "")
    beside = bring_in(write_shop(tmp_path / "a", MAPPING, {"orders.csv": WEB, "lines.csv": till}))
    alone = bring_in(write_shop(tmp_path / "b", LINES.format(more=""), {"lines.csv": till}))
    web = {"W1", "W2"}
    assert [r for r in beside.rows("orders") if r["order_id"] not in web] == alone.rows("orders")
    assert beside.rows("order_lines") == alone.rows("order_lines")


def test_a_customers_day_of_lines_alone_is_an_order_too(tmp_path: Path) -> None:
    """A till without order ids: 2,984 days of customers were lines of no order."""
    mapping = MAPPING.replace('order_id = "no"\n', "").replace(
        'customer_id = "who"', 'order_id = "no"\ncustomer_id = "who"', 1
    )
    log = bring_in(write_shop(tmp_path, mapping, {"orders.csv": WEB, "lines.csv": NAMED}))
    made = {r["order_id"]: r["amount"] for r in log.rows("orders") if ":" in r["order_id"]}
    assert made == {
        "web:a:2024-01-01": 20, "web:a:2024-01-03": 11, "web:b:2024-01-04": 2, "web:a:2024-01-09": -4,
        "web:b:2024-01-08": -2,
    }  # fmt: skip
    assert (
        log.fates("order_lines")[f"accepted: without an order id: the customer's day is the order; {ALONE}"]
        == 4
    )
    _whole(log)


def test_lines_with_ids_beside_orders_of_customers_days_are_orders(tmp_path: Path) -> None:
    """A till with receipt numbers, a kiosk with days: 400 orders of the till were absent, with no word."""
    mapping = MAPPING.replace('order_id = "no"\n', "", 1)
    kiosk = "who,when,paid\na,2024-01-03,1.50\na,2024-01-04,-1\n"
    log = bring_in(write_shop(tmp_path, mapping, {"orders.csv": kiosk, "lines.csv": NAMED}))
    assert {r["order_id"]: r["amount"] for r in log.rows("orders")} == {
        "web:a:2024-01-03": Decimal("1.50"), "web:a:2024-01-04:return": -1,
        "W1": 20, "B1": 11, "B2": 2, "B3": -4, "B2:return:2024-01-08": -2,
    }  # fmt: skip
    _whole(log)


def test_days_that_orders_and_lines_both_have_are_not_counted_twice(tmp_path: Path) -> None:
    mapping = MAPPING.replace('order_id = "no"\n', "")
    orders = "who,when,paid\na,2024-01-03,9\na,2024-01-04,-2\n"
    lines = LINES_HEAD + "1,a,2024-01-03,x,1,9\n1,a,2024-01-04,x,-1,2\n"
    log = bring_in(write_shop(tmp_path, mapping, {"orders.csv": orders, "lines.csv": lines}))
    want = {"web:a:2024-01-03": Decimal(9), "web:a:2024-01-04:return": Decimal(-2)}
    assert {r["order_id"]: r["amount"] for r in log.rows("orders")} == want
    assert {r["order_id"]: r["amount"] for r in log.rows("order_lines")} == want


def test_lines_that_cannot_be_an_order_are_rejected_with_the_reason(tmp_path: Path) -> None:
    """Without a time, an amount or a channel nobody can say what was sold: the account says so, per line."""
    lines = LINES_HEAD + (
        "N1,a,,x,1,2\nN2,a,2024-01-03,x,1,\nN3,a,2024-01-03,x,1,zz\nN4,a,2024-01-03,x,1,2\nW1,a,,x,1,2\n"
    )
    mapping = MAPPING.replace(
        'channel = { value = "web" }\n\n', "channel = { sql = \"CASE WHEN no <> 'N4' THEN 'web' END\" }\n\n"
    )
    assert "N4" in mapping
    log = bring_in(write_shop(tmp_path, mapping, {"orders.csv": WEB, "lines.csv": lines}))
    assert log.fates("order_lines") == {
        "accepted": 1,
        "rejected: its order is not among the orders": 1,
        "rejected: no amount": 1,
        "rejected: amount is not an amount of money": 1,
        "rejected: its order is not among the orders, and no line of it says a channel": 1,
    }
    _whole(log)


def test_lines_share_the_fate_of_an_order_that_its_file_has(tmp_path: Path) -> None:
    """An order that was put aside or rejected is no sale by its lines: they were lines of no order."""
    web = WEB + "T1,a,2024-01-05,5\nX1,a,2024-01-05,zz\nO1,,2024-01-05,7\n"
    lines = LINES_HEAD + "".join(f"{no},a,2024-01-05,x,1,5\n" for no in ("T1", "X1", "O1"))
    orders = ORDERS.format(more="") + '[mapping.web.read.aside]\n"a test" = "no = \'T1\'"\n'
    mapping = orders + LINES.format(more="").replace("[mapping.web]\n", "", 1)
    log = bring_in(write_shop(tmp_path, mapping, {"orders.csv": web, "lines.csv": lines}))
    assert log.fates("order_lines") == {
        "aside: its order: a test": 1,
        "aside: its order: anonymous: no customer id": 1,
        "rejected: its order is not among the orders": 1,
    }
    _whole(log)


def test_a_cancellation_that_only_lines_tell_of_is_an_order(tmp_path: Path) -> None:
    more = "[mapping.web.read.cancelled]\nsql = \"what = 'c'\"\n"
    mapping = ORDERS.format(more="") + LINES.format(more=more).replace("[mapping.web]\n", "", 1)
    lines = LINES_HEAD + "W1,a,2024-01-01 09:00,c,2,10\nB1,a,2024-01-05 09:00,c,1,4\n"
    log = bring_in(write_shop(tmp_path, mapping, {"orders.csv": WEB, "lines.csv": lines}))
    assert {r["order_id"]: (r["amount"], r["ref"]) for r in log.rows("orders")} == {
        "W1": (20, None), "W1:cancelled": (-20, "W1"), "W2": (30, None),
        "B1": (4, None), "B1:cancelled": (-4, "B1"),
    }  # fmt: skip
    _whole(log)


def test_a_line_whose_order_is_nowhere_is_never_silent(tmp_path: Path) -> None:
    """An order that breaks the contract is rejected after its lines were read: exit code 3, by name."""
    mapping = ORDERS.format(more="").replace('amount = "paid"', 'amount = "paid"\nknown_at = "told"')
    mapping += LINES.format(more="").replace("[mapping.web]\n", "", 1)
    web = "no,who,when,paid,told\nW1,a,2024-01-01 09:00,20,2023-12-31\nW2,b,2024-01-02 09:00,30,2024-01-03\n"
    settings = write_shop(tmp_path, mapping, {"orders.csv": web, "lines.csv": NAMED})
    env = {"PROPENSITY_HOME": str(settings.home), "PROPENSITY_SHOP": str(settings.shop)}
    for words in (["--dry-run"], [], []):
        done = CliRunner().invoke(main, ["ingest", *words], env=env)
        said = " ".join(done.output.split())
        assert done.exit_code == 3, said
        assert "1 order lines of web are of 1 orders that the log has not, such as W1" in said
    done = CliRunner().invoke(main, ["log", "describe"], env=env)
    assert "that the log has not" in " ".join(done.output.split()), done.output

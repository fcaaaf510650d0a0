"""Refunds in a file of their own. Else money that went back counts as spent, or is nobody's."""

from pathlib import Path

from dirty import TILL, bring_in, write_shop

from features.moments import parse_moment
from features.sources.propose import propose

REFUNDS = """[[mapping.till.read]]
table = "orders"
files = "refunds.csv"
[mapping.till.read.columns]
order_id = "id"
ref = "of"
at = "on"
amount = "back"
[mapping.till.read.returns]
sql = "true"
"""
FILES = {
    "orders.csv": "no,who,day,paid\n1,ann,2024-01-02,10\n2,bob,2024-01-03,8\n3,,2024-01-03,8\n",
    "refunds.csv": "id,of,on,back\nr1,1,2024-02-02 10:00,4\nr2,9,2024-02-02,1\nr3,3,2024-02-02,8\n",
}


def test_a_refund_is_the_customers_of_the_order_that_it_takes_back(tmp_path: Path) -> None:
    log = bring_in(write_shop(tmp_path, "[mapping.till]\n" + TILL + REFUNDS, FILES))
    refund = {r["order_id"]: r for r in log.rows("orders")}["r1"]
    assert (refund["customer_id"], refund["ref"], str(refund["amount"])) == ("ann", "1", "-4.00")
    assert (refund["at"], refund["channel"]) == (parse_moment("2024-02-02T10:00:00Z"), "store")
    assert log.fates("orders") == {
        "accepted": 2,
        "accepted: a return, matched to its order": 1,
        "aside: anonymous: no customer id": 1,
        "aside: anonymous: its order has no customer id": 1,
        "rejected: the order that it takes back is not among the orders": 1,
    }
    assert [(r["ref"], r["change"]) for r in log.rows("cases")] == [("1", "closed"), ("1", "opened")]


def test_a_file_of_refunds_is_proposed_as_what_it_is(tmp_path: Path) -> None:
    """As no customer stands in it, it was left out: every order that came back counted in full."""
    orders = "".join(
        f"#{n},c{n % 9},2024-01-{1 + n % 28:02} 10:00,9.00,{'refunded' if n < 9 else 'paid'}\n"
        for n in range(1, 60)
    )
    (tmp_path / "orders.csv").write_text("order_id,customer_id,date,total,status\n" + orders)
    refunds = "".join(f"R{n},#{n},2024-02-0{n % 9 + 1}T10:00:00+01:00,{n}.00\n" for n in range(1, 9))
    (tmp_path / "refunds.csv").write_text("Refund ID,Order,Refunded at,Refund amount\n" + refunds)
    toml = propose([tmp_path / "orders.csv", tmp_path / "refunds.csv"]).toml
    log = bring_in(write_shop(tmp_path / "a", toml, {}))
    back = {
        r["order_id"]: (r["ref"], str(r["amount"]), r["customer_id"]) for r in log.rows("orders") if r["ref"]
    }
    assert back == {f"R{n}": (f"#{n}", f"-{n}.00", f"c{n}") for n in range(1, 9)}

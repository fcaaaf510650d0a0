"""Several files of customers. Else a segment or a fairness check knows half of what the shop knows."""

from pathlib import Path

from dirty import TILL, bring_in, write_shop

from features.moments import parse_moment

MEMBERS = """[mapping.till]
[[mapping.till.read]]
table = "customers"
files = "members_*.csv"
attributes = ["city", "level"]
delivered = { file_name = "members_%Y%m%d.csv" }
[mapping.till.read.columns]
customer_id = "who"
[[mapping.till.read]]
table = "customers"
files = "crm.csv"
attributes = ["age", "level"]
[mapping.till.read.columns]
customer_id = "id"
at = "since"
"""
FILES = {
    "orders.csv": "no,who,day,paid\n1,ann,2024-01-02,1\n2,bob,2024-03-01,1\n",
    "members_20240110.csv": "who,city,level\nann,Leeds,gold\nbob,York,\n",
    "members_20240210.csv": "who,city,level\nann,,silver\nann,Hull,silver\nbob,NULL,red\nbob,NULL,red\n",
    "crm.csv": "id,since,age,level\nann,2024-01-20,40,tin\nbob,2023-12-31,50,\ncleo,2024-02-02,60,tin\n",
}


def test_what_was_known_last_counts_column_by_column_and_nothing_erases(tmp_path: Path) -> None:
    """Ann was gold, then tin, then silver; no later file says where she lives, so she lives there still."""
    brought = bring_in(write_shop(tmp_path, MEMBERS + TILL, FILES))
    rows = {r["customer_id"]: r for r in brought.rows("customers")}
    told = {id: {k: v for k, v in r["attributes"] if v} for id, r in rows.items()}
    assert told == {
        "ann": {"city": "Leeds", "level": "silver", "age": "40"},
        "bob": {"city": "York", "level": "red", "age": "50"},
        "cleo": {"level": "tin", "age": "60"},
    }
    assert rows["bob"]["at"] == parse_moment("2023-12-31T00:00:00Z")
    assert brought.fates("customers") == {
        "accepted": 3,
        "aside: joined to what an earlier row says of the customer: nothing is lost": 4,
        "rejected: a second row with the same customer_id, that says otherwise": 1,
        "rejected: a second row with the same customer_id": 1,
    }

"""What was mended is as if it had been right at once. If this fails, a mended log knows other customers."""

import csv
import random
from collections import Counter
from pathlib import Path
from typing import Any

from contracts import answers, same
from dirty import bring_in, write_shop

from features.compute.engine import available
from features.definitions import catalogue
from features.ingestion import rejects
from features.log import Log
from features.moments import parse_moment
from features.settings import Settings
from features.shop import Shop

READ = """[[mapping.{till}.read]]
table = "{table}"
files = "{till}/{table}.csv"
{habits}[mapping.{till}.read.columns]
at = "when"
customer_id = "who"
{columns}channel = {{ value = "store" }}
"""
# How a till may write: tables, whether it numbers what it sells, which columns they have, what else is said.
PAID, OF_LINES = 'amount = "paid"\n', 'product_id = "item"\nitems = "n"\n'
TILLS = {
    "lines": {"order_lines": (True, PAID + OF_LINES, "")},
    "lines_of_days": {"order_lines": (False, PAID + OF_LINES, "")},
    "orders": {"orders": (True, PAID, "")},
    "orders_of_days": {"orders": (False, PAID, "")},
    "added_up": {"orders": (True, PAID, "add_up = true\n")},
    "both": {"orders": (True, PAID, ""), "order_lines": (True, PAID + OF_LINES, "")},
    "amounts_in_lines": {"orders": (True, "", ""), "order_lines": (True, PAID + OF_LINES, "")},
    "both_of_days": {"orders": (False, PAID, ""), "order_lines": (False, PAID + OF_LINES, "")},
}
HEAD = ("bon", "who", "when", "item", "n", "paid")


def _mapping() -> str:
    text = ""
    for till, tables in TILLS.items():
        text += f"[mapping.{till}]\n"
        for table, (numbered, columns, habits) in tables.items():
            columns += 'order_id = "bon"\n' if numbered else ""
            text += READ.format(till=till, table=table, habits=habits, columns=columns)
    return text


def _bought(till: str, draw: random.Random) -> dict[str, list[dict[str, str]]]:
    """Lines, and orders that are their sums. Each till has customers and numbers of its own."""
    lines = []
    for bon in range(60):
        who, day = f"{till}-{draw.choice('abcd')}", f"2024-0{draw.randrange(1, 4)}-0{draw.randrange(1, 7)}"
        at = f"{day} {draw.randrange(9, 18):02}:00"
        for _ in range(draw.randrange(1, 4)):
            row = (f"{till}-{bon}", who, at, draw.choice(["tea", "cup", "pot"]), f"{draw.randrange(1, 4)}")
            lines.append(dict(zip(HEAD, (*row, f"{draw.randrange(1, 900) / 100:.2f}"), strict=True)))
    if till == "added_up":
        return {"order_lines": [], "orders": lines}
    orders: dict[str, dict[str, str]] = {}
    for line in lines:
        order = orders.setdefault(line["bon"], line | {"paid": "0"})
        order["paid"] = f"{float(order['paid']) + float(line['paid']):.2f}"
    return {"order_lines": lines, "orders": list(orders.values())}


def _spoilt(rows: list[dict[str, str]], draw: random.Random, share: float) -> list[dict[str, str]]:
    """Some of their cells as nobody can read them."""
    wrong = {
        "when": lambda x: x.replace("-0", "-7", 1),
        "n": lambda x: f"{x}x",
        "paid": lambda x: x.replace(".", "z"),
    }
    return [
        row | {(c := draw.choice([*wrong])): wrong[c](row[c])} if draw.random() < share else row
        for row in rows
    ]


def _text(rows: list[dict[str, str]]) -> str:
    return "".join(",".join(row) + "\n" for row in (HEAD, *(r.values() for r in rows)))


def _seen(settings: Settings) -> dict[str, Any]:
    """What a log holds, however it came in: lines, orders, and their money with what corrects it."""
    log = Log.open(settings)
    lines: Counter[tuple[Any, ...]] = Counter()
    if "order_lines" in log.tables:
        lines.update(
            tuple(v for c, v in row.items() if c != "line") for row in log.read("order_lines").to_pylist()
        )
    money: Counter[str] = Counter()
    orders = log.read("orders").to_pylist()
    for row in orders:
        money[row["ref"] or row["order_id"]] += row["amount"]
    return {
        "lines": lines,
        "money": money,
        "orders": {(r["order_id"], r["at"], r["known_at"]) for r in orders if not r["ref"]},
    }


def test_a_mended_log_is_the_log_of_clean_files(tmp_path: Path) -> None:
    """Lines, orders and their money, and what features make of them, whichever way a till writes them."""
    draw = random.Random(3)
    bought = {(till, table): rows for till in TILLS for table, rows in _bought(till, draw).items()}
    spoilt = {of: _spoilt(rows, draw, 0.3) for of, rows in bought.items()}
    clean, dirty = (
        write_shop(
            tmp_path / name, _mapping(), {f"{till}/{table}.csv": _text(r) for (till, table), r in of.items()}
        )
        for name, of in (("clean", bought), ("dirty", spoilt))
    )
    bring_in(clean)
    bring_in(dirty)
    path = tmp_path / "a.csv"
    rejects.export(dirty, path)
    names = {"when": "at", "n": "items", "paid": "amount"}
    with path.open(newline="", encoding="utf-8") as file:
        waiting = list(csv.DictReader(file))
    for row in waiting:
        right = bought[row["source"], row["table"]][int(row["row"]) - 1]
        row |= {column: right[name] for name, column in names.items()}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, waiting[0])
        writer.writeheader()
        writer.writerows(waiting)
    done = rejects.take_in(dirty, path)
    assert rejects.in_vain(done) == 0, [c for c in done.account if c.source == "mended"]
    assert {r.rows - r.mended for r in rejects.reasons(dirty)} == {0}
    for what, held in _seen(clean).items():
        assert _seen(dirty)[what] == held, what
    log, shop, moment = Log.open(dirty), Shop.load(dirty.shop), parse_moment("2024-04-20")
    # Of a customer whose first row ever was mended: clean files make her known with that day's last row.
    features = {name: f for name, f in available(log, catalogue()).items() if name != "days_known"}
    same(answers(log, shop, features, [moment]), answers(Log.open(clean), shop, features, [moment]))
    assert not bring_in(dirty).done.changed


# The same of shops that sell in two channels, take goods back, cancel orders, say when a row was known, and
# have a catalogue; some of their records cannot be read at all.
WIDE = (*HEAD, "where", "state", "gone", "heard")
WIDE_READ = """[[mapping.{till}.read]]
table = "{table}"
files = "{till}/{table}.csv"
[mapping.{till}.read.columns]
at = "when"
customer_id = "who"
channel = "where"
{columns}"""
CANCELLED = """[mapping.{till}.read.cancelled]
column = "state"
values = ["cancelled"]
at = "gone"
"""
PRODUCTS = """[[mapping.{till}.read]]
table = "products"
files = "{till}/products.csv"
[mapping.{till}.read.columns]
product_id = "item"
category = "group"
"""
HEARD = {"lines", "orders"}  # whose rows say when they were known
CANCELS = {"lines", "orders", "both", "amounts_in_lines"}
TAKES_BACK = {"lines", "lines_of_days", "orders", "orders_of_days", "both", "both_of_days"}
WIDE_TILLS = [till for till in TILLS if till != "added_up"]


def _wide_mapping() -> str:
    text = ""
    for till in WIDE_TILLS:
        text += f"[mapping.{till}]\n"
        for table, (numbered, columns, _) in TILLS[till].items():
            columns += 'order_id = "bon"\n' if numbered else ""
            columns += 'known_at = "heard"\n' if till in HEARD else ""
            text += WIDE_READ.format(till=till, table=table, columns=columns)
            text += CANCELLED.format(till=till) if till in CANCELS else ""
        text += PRODUCTS.format(till=till) if "order_lines" in TILLS[till] else ""
    return text


def _products(till: str) -> list[str]:
    return [f"{item}-{till}" for item in ("tea", "cup", "pot")]


def _sold(till: str, draw: random.Random) -> dict[str, list[dict[str, str]]]:
    """As `_bought`, with what `WIDE` has more; a third of the receipts bring goods back."""
    lines, orders = [], []
    for bon in range(60):
        back = till in TAKES_BACK and bon % 3 == 2
        month = draw.randrange(3, 5) if back else draw.randrange(1, 4)
        day = f"2024-0{month}-0{draw.randrange(1, 7)}"
        row = {"bon": f"{till}-{bon}", "who": f"{till}-{draw.choice('abcd')}"}
        row["when"] = f"{day} {draw.randrange(9, 18):02}:00"
        gone = till in CANCELS and not back and draw.random() < 0.2
        place = {"where": draw.choice(["store", "web"]), "state": "cancelled" if gone else "paid"}
        place["gone"] = f"{day[:-1]}8 10:00" if gone and draw.random() < 0.7 else ""
        place["heard"] = f"2024-0{month}-09 10:00"
        total = 0
        for item in draw.sample(_products(till), draw.randrange(1, 4)):
            n, cents = draw.randrange(1, 4), draw.randrange(100, 900)
            n, cents = (-n, -cents) if back else (n, cents)
            lines.append(row | {"item": item, "n": str(n), "paid": f"{cents / 100:.2f}"} | place)
            total += cents
        orders.append(row | {"item": "", "n": "", "paid": f"{total / 100:.2f}"} | place)
    return {"order_lines": lines, "orders": orders}


def _wide_text(till: str, rows: list[dict[str, str]], draw: random.Random | None) -> str:
    """A file; with `draw`, some of its cells, or whole records, cannot be read."""
    text = [",".join(WIDE)]
    for row in rows:
        if draw is not None and draw.random() < 0.3:
            which = draw.choice(["when", "paid", "all", "gone" if row["gone"] else "paid"])
            wrong = {"when": "2024-71-01 10:00", "gone": "2024-99-08 10:00", "paid": "z"}
            row = row | ({"heard": f"{row['heard']},more"} if which == "all" else {which: wrong[which]})
        text.append(",".join(row.values()))
    return "\n".join(text) + "\n"


def test_so_it_is_with_channels_returns_cancellations_a_catalogue_and_records_that_cannot_be_read(
    tmp_path: Path,
) -> None:
    """Else an order is lost, a return is a purchase, a cancelled one a sale, and all is "accepted"."""
    draw = random.Random(5)
    sold = {
        (till, table): rows
        for till in WIDE_TILLS
        for table, rows in _sold(till, draw).items()
        if table in TILLS[till]
    }
    files = {
        f"{till}/products.csv": "item,group\n" + "".join(f"{p},{p[:3]}s\n" for p in _products(till))
        for till in WIDE_TILLS
    }
    clean, dirty = (
        write_shop(
            tmp_path / name,
            _wide_mapping(),
            files | {f"{t}/{table}.csv": _wide_text(t, rows, how) for (t, table), rows in sold.items()},
        )
        for name, how in (("clean", None), ("dirty", draw))
    )
    bring_in(clean)
    bring_in(dirty)
    path = tmp_path / "a.csv"
    rejects.export(dirty, path)
    with path.open(newline="", encoding="utf-8") as file:
        waiting = list(csv.DictReader(file))
    for row in waiting:
        right = sold[row["source"], row["table"]][int(row["row"]) - 1]
        of = row["source"]
        row |= {"at": right["when"], "amount": right["paid"]}
        if right["gone"]:
            row["cancelled"] = right["gone"]
        if row["reason"].startswith("unreadable"):
            row |= {"customer_id": right["who"], "channel": right["where"]}
            row["order_id"] = right["bon"] if TILLS[of][row["table"]][0] else ""
            row["known_at"] = right["heard"] if of in HEARD else ""
            row["cancelled"] = right["gone"] or ("yes" if right["state"] == "cancelled" else "")
            if row["table"] == "order_lines":
                row |= {"product_id": right["item"], "items": right["n"]}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, waiting[0])
        writer.writeheader()
        writer.writerows(waiting)
    done = rejects.take_in(dirty, path)
    assert rejects.in_vain(done) == 0, [c for c in done.account if c.source == "mended"]
    assert {r.rows - r.mended for r in rejects.reasons(dirty)} == {0}
    mended, right_log = Log.open(dirty), Log.open(clean)
    for table in ("order_lines", "orders", "cases"):
        held, wanted = (
            {tuple(v for c, v in r.items() if c != "line") for r in log.read(table).to_pylist()}
            for log in (mended, right_log)
        )
        more, lacking = (sorted(map(str, rows)) for rows in (held - wanted, wanted - held))
        assert (more, lacking) == ([], []), table
    assert not bring_in(dirty).done.changed

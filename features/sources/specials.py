"""What a proposed mapping says of rows that are no plain sales: returns, cancellations, refunds, what is unpaid."""

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from features.sources.guesses import SURE, Column, Guess
from features.sources.proposed import id_of, time
from features.sources.raw import literal, quoted
from features.sources.sheet import text
from features.sources.statuses import CANCELLED, RETURNED, Statuses, sold_of
from features.sources.values import NULLS

if TYPE_CHECKING:
    import duckdb

Special = tuple[str, str, tuple[str, ...]]  # a table below a reading: its key, a remark, its lines
CANCELLED_AT = rf"{CANCELLED}|clos|退|revoked"  # a time called so, and there for cancelled orders only
ORIGINAL = r"orig|原|order|订单|commande|bestell|pedido"
REFUNDS: Special = ("returns", "  # the file is of refunds: money that goes back", ('sql = "true"',))


def refunded(roles: dict[str, Guess], columns: list[Column], file: str) -> list[str] | None:
    """If a file is of refunds, written without a sign: a line that names the order which each takes back, if any.

    If the only id is that order's, the refund has none of its own: it would be the order again.
    """
    amount = roles.get("amount") or roles.get("items")
    named = [file, *(roles[r].column.name for r in ("order_id", "at", "amount") if r in roles)]
    if amount is None or amount.column.negative or sum(bool(re.search(RETURNED, n, re.I)) for n in named) < 2:
        return None
    taken = {g.column.name for g in roles.values()}
    free = [c for c in columns if c.name not in taken and c.rows]
    order = next((c for c in free if re.search(ORIGINAL, c.name, re.I)), None)
    own = roles.get("order_id")
    if own is not None and re.search(ORIGINAL, own.column.name, re.I) and order is None:
        order = own.column
        del roles["order_id"]
        its_name = rf"({RETURNED}).*(id|no|num|nr|号)"
        its = next((c for c in free if re.search(its_name, c.name, re.I) and c.distinct == c.rows), None)
        if its is not None:
            roles["order_id"] = Guess(its, own.points, f"the refund's own, by its name {its.name!r}")
    return [f"ref = {id_of(order)}"] if order else []


def returned_letters(connection: "duckdb.DuckDBPyConnection", roles: Mapping[str, Guess]) -> str | None:
    """Letters that order ids begin with whose rows are all negative; None if there are no such."""
    amount = roles.get("items") or roles.get("amount")
    if amount is None or "order_id" not in roles:
        return None
    id, x = quoted(roles["order_id"].column.name), quoted(amount.column.name)
    found = connection.execute(
        f"""SELECT regexp_extract({id}, '^[A-Za-z]+') AS letters, count(*) AS n,
                   avg((starts_with(trim({x}), '-'))::INT) AS negative FROM sample
            WHERE regexp_matches({id}, '^[A-Za-z]+\\d') GROUP BY ALL
            HAVING n >= 3 AND negative > 0.98 ORDER BY n DESC LIMIT 1"""
    ).fetchall()
    return str(found[0][0]) if found else None


def returns(
    connection: "duckdb.DuckDBPyConnection",
    roles: Mapping[str, Guess],
    columns: list[Column],
    said: Statuses | None,
    letters: str | None,
) -> list[Special]:
    """Returns by a letter before the order id, or by a status; negative rows are returns by themselves.

    Each: the key below the reading and its remark, and its lines. An order is cancelled when a time of such a
    name says so: else it would be known to be before it was. letters: see `returned_letters`.
    """
    specials = _asides(said)
    by_letters: Special | None = None
    if letters is not None:
        lines = (f"column = {text(roles['order_id'].column.name)}", f"prefix = {text(letters)}")
        by_letters = ("returns", "  # ids that begin so have negative rows only", lines)
        specials.append(by_letters)
    if said is None:
        timed_alone = _cancelled_by_time(connection, roles, columns)
        return [*specials, timed_alone] if timed_alone else specials
    back, gone = said.of("back"), said.of("gone")
    if partly := said.of("partly"):
        note = f'"came back in part, and how much is not said" = {text(said.is_one_of(partly))}'
        specials.append(("note", "", (note,)))
    column = f"column = {text(said.column)}"
    if letters is not None and back:  # of those only what sales say too is not said already
        status = quoted(said.column)
        rows = connection.execute(
            f"SELECT {status}, {sold_of(roles, letters)} FROM sample GROUP BY ALL"
        ).fetchall()
        sold = {value for value, n in rows if n}
        back = [word for word in back if word in sold]
    if back and _are_the_orders(connection, roles, back):  # a sale until it came back
        lines = (column, f"values = {json.dumps(back + gone, ensure_ascii=False)}")
        remark, timed = _cancelled(connection, roles, columns, back, gone, lines)
        remark = remark or "  # the order stays, and a return of all of it follows"
        return [*specials, ("cancelled", remark, timed)]
    if back and by_letters:
        id = quoted(roles["order_id"].column.name)
        either = f"starts_with({id}, {literal(letters or '')}) OR {said.is_one_of(back)}"
        specials[specials.index(by_letters)] = ("returns", "", (f"sql = {text(either)}",))
    elif back:
        specials.append(("returns", "", (column, f"values = {json.dumps(back, ensure_ascii=False)}")))
    if gone:
        lines = (column, f"values = {json.dumps(gone, ensure_ascii=False)}")
        specials.append(("cancelled", *_cancelled(connection, roles, columns, gone, back, lines)))
    return specials


def refunds(said: Statuses | None) -> list[Special]:
    """What is special about a file of refunds. said: of its column of statuses."""
    return [*_asides(said.of_refunds() if said else None), REFUNDS]


def _asides(said: Statuses | None) -> list[Special]:
    lines = said.asides() if said else ()
    return [("aside", "", lines)] if lines else []


def told_elsewhere(specials: list[Special]) -> list[Special]:
    """What is special about orders, where a file of refunds says what came back: their status need not."""
    kept: list[Special] = []
    for key, remark, lines in specials:
        if key == "note":
            continue
        words = next((json.loads(line[9:]) for line in lines if line.startswith("values = ")), None)
        left = [word for word in words or () if not re.search(RETURNED, word, re.I)]
        if words is None or left == words:
            kept.append((key, remark, lines))
        elif left:
            kept.append((key, "", (lines[0], f"values = {json.dumps(left, ensure_ascii=False)}")))
    return kept


def _are_the_orders(
    connection: "duckdb.DuckDBPyConnection", roles: Mapping[str, Guess], back: list[str]
) -> bool:
    """Whether rows that say that goods came back are the orders themselves, and no rows beside those."""
    if "order_id" not in roles:
        return False
    id, status = (quoted(roles[role].column.name) for role in ("order_id", "status"))
    some = ", ".join(literal(v.strip()) for v in back)
    (beside, rows) = connection.execute(
        f"""SELECT count(*) FILTER (back AND sold), count(*) FILTER (back)
            FROM (SELECT {id}, bool_or(trim({status}) IN ({some})) AS back,
                         bool_or(trim({status}) NOT IN ({some})) AS sold
                  FROM sample WHERE {id} IS NOT NULL GROUP BY ALL)"""
    ).fetchall()[0]
    return bool(beside < 0.5 * rows)


def _cancelled_by_time(
    connection: "duckdb.DuckDBPyConnection", roles: Mapping[str, Guess], columns: list[Column]
) -> Special | None:
    """Without a status: an order is cancelled where a column of such a name has a time, as few have."""
    taken = {guess.column.name for guess in roles.values()}
    for column in columns:
        if column.format is None or column.name in taken or not re.search(CANCELLED, column.name, re.I):
            continue
        there = f"trim({quoted(column.name)}) NOT IN ({', '.join(map(literal, NULLS))})"
        some, rows = connection.execute(f"SELECT count(*) FILTER ({there}), count(*) FROM sample").fetchall()[
            0
        ]
        if 0 < some < 0.5 * rows:
            value, note = time(column)
            return "cancelled", "  # where it has a time", (f"sql = {text(there)}", f"at = {value}{note}")
    return None


def _cancelled(
    connection: "duckdb.DuckDBPyConnection",
    roles: Mapping[str, Guess],
    columns: list[Column],
    gone: list[str],
    back: list[str],
    lines: tuple[str, ...],
) -> tuple[str, tuple[str, ...]]:
    """A remark, and the lines with the time of the cancellation, if a column has it."""
    taken = {guess.column.name for guess in roles.values()}
    status = f"trim({quoted(roles['status'].column.name)})"
    for column in columns:
        if column.format is None or column.name in taken or not re.search(CANCELLED_AT, column.name, re.I):
            continue
        x = quoted(column.name)
        there = f"trim({x}) NOT IN ({', '.join(map(literal, NULLS))})"
        of_gone, all_gone, elsewhere = connection.execute(
            f"""SELECT count(*) FILTER ({there} AND {status} IN ({", ".join(literal(v.strip()) for v in gone)})),
                       count(*) FILTER ({status} IN ({", ".join(literal(v.strip()) for v in gone)})),
                       count(*) FILTER ({there} AND {status} NOT IN ({", ".join(literal(v.strip()) for v in gone + back)}))
                FROM sample"""
        ).fetchall()[0]
        if of_gone >= SURE * all_gone and not elsewhere:
            value, note = time(column)
            return "", (*lines, f"at = {value}{note}")
    return (
        "  # DECIDE: no time says when they were, so they are taken back at once: at = COLUMN, if one does",
        lines,
    )

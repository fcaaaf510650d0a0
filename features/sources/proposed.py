"""Lines of a proposed mapping: how each guessed column is declared, and what a person should know of it."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from features.sources.guesses import EPOCHS, SURE, Column, Guess, rate
from features.sources.raw import Format, literal, quoted
from features.sources.sheet import meanings, text, translated
from features.sources.values import NULLS

if TYPE_CHECKING:
    import duckdb

    from features.sources.found import Found

Special = tuple[str, str, tuple[str, ...]]  # a table below a reading: its key, a remark, its lines
CANCELLED = r"cancel|void|取消|关闭|作废|annul|storn|anulad"
CLOCK = r"time|clock|hour|uhrzeit|zeit|heure|hora|时间|时刻|時刻"
PARTLY = r"part(ial|ly|iel)|teilweise|parcial|部分"
UNPAID = r"unpaid|pending|await|not.?paid|待付款|未付款|待支付|未支付|en.?attente|offen|impag|pendiente"
CANCELLED_AT = rf"{CANCELLED}|clos|退|revoked"  # a time called so, and there for cancelled orders only
RETURNED = r"refund|return|退|rembours|retour|r[üu]ck|devoluci|reembols"
# What tills and shops write where they do not know the customer.
NOBODY = r"散客|散户|匿名\w*|游客|非会员|无|未知|inconnu|anonyme|unbekannt|guest|anonymous|anon|unknown|walk.?in|cash|none|n/?a|-+|\?+"
ORIGINAL = r"orig|原|order|订单|commande|bestell|pedido"
NEVER = r"^(1899-12-3[01]|1900-01-0[01]|1970-01-01|0001-01-01|9999-12-31)|^(1900|1970|9999)/0?1/0?1\b|^0?1[/.]0?1[/.](1900|1970|0001)\b|^31[/.]12[/.]9999\b"
OFTEN = 3  # times as often as other ids: then 0 is nobody's; 00000 may be one of 00000 to 99999


def format_lines(how: Format) -> list[str]:
    """How the files are written, where it is not the usual way."""
    lines = []
    if how.kind:
        lines.append(f"format = {text(how.kind)}")
    if how.encoding != "utf-8":
        lines.append(f"encoding = {text(how.encoding)}")
    if how.separator != ",":
        lines.append(f"separator = {text(how.separator)}")
    if how.skip:
        lines.append(f"skip = {how.skip}                    # lines before the header")
    if how.header:
        lines.append(
            f"header = {json.dumps(how.header)}     # DECIDE: the files have none; give the columns their names"
        )
    return lines


def table_of(roles: Mapping[str, Guess], buyers: bool) -> str | None:
    """The table that a file of sales or goods looks like. buyers: it names each order once.

    Lines without a customer, and orders without an amount, are only of use beside the others: see `joins.py`.
    """
    has = set(roles)
    amount = "amount" in has or {"price", "items"} <= has
    if {"customer_id", "at"} <= has and amount:
        return "order_lines" if "product_id" in has else "orders"
    if {"order_id", "product_id"} <= has and amount and "customer_id" not in has:
        return "order_lines"
    if {"order_id", "customer_id", "at"} <= has and buyers and "product_id" not in has:
        return "orders"
    if "product_id" in has and not {"at", "customer_id"} & has:
        return "products"
    return None


def values(
    roles: Mapping[str, Guess], columns: list[Column], table: str, pads: Mapping[str, int], prefix: str
) -> tuple[list[str], list[str]]:
    """Lines of [columns] of a file of sales or goods, and what to say of them.

    pads: role -> digits that an id must have. prefix: before the order ids.
    """
    lines: list[str] = []
    said: list[str] = []
    for role in _WANTED[table]:
        guess = roles.get(role)
        if role == "amount":
            lines += _amount(roles)
        elif role == "discount":
            lines += _discount(columns)
        elif role == "channel":
            if guess is not None:
                lines.append(f"channel = {_channel(guess.column)}")
            elif "customer_id" in roles:
                lines.append(
                    'channel = { value = "store" }  # DECIDE: where these orders were placed: "web", "store" ...'
                )
        elif role == "order_id" and guess is None:
            lines.append("# no order id was seen: all that a customer buys on one day is one order")
            said.append("  no order id was seen: all that a customer buys on one day is one order")
        elif guess is None:
            continue
        elif role == "at":
            clock = _clock(guess.column, columns)
            value, note = time(guess.column) if clock is None else (clock, "")
            lines.append(f"at = {value}{note}")
            said += [f"  {note.strip(' #')}"] if note else []
            if not guess.column.offset and guess.column.format not in EPOCHS:
                said.append(
                    f"  {guess.column.name} has no offset: say `zone` if its times are not the shop's local ones"
                )
        elif role == "items":
            if guess.column.whole + guess.column.dot_zero > 0.999:
                lines.append(f"items = {text(guess.column.name)}")
            else:
                said.append(f"  {guess.column.name} has fractions: not taken as pieces")
        elif role == "customer_id":
            lines.append(f"{role} = {customer(guess.column, pads.get(role, 0))}")
            if nobody := _nobody(guess.column):
                said.append(f"  taken for no customer: {', '.join(nobody)}")
        else:
            before = prefix if role == "order_id" else ""
            lines.append(f"{role} = {_id(guess.column, pad=pads.get(role, 0), prefix=before)}")
    if "currency" in roles:
        said.append(
            f"  amounts may be in several currencies: `currency = {{ column = {text(roles['currency'].column.name)} }}`"
        )
    return lines, said


_CATALOGUE = ("product_id", "category", "department", "brand")
_SALES = ("order_id", "customer_id", "at", "amount", "discount", "store_id", "channel")
_WANTED = {"products": _CATALOGUE, "orders": _SALES, "order_lines": (*_SALES[:3], "product_id", "items", *_SALES[3:], *_CATALOGUE[1:])}  # fmt: skip


def decimals(roles: Mapping[str, Guess]) -> list[str]:
    """The decimal sign of a file, if it is not the usual one. Whole numbers do not show it."""
    signs = {roles[r].column.decimal for r in ("price", "amount", "items", "discount") if r in roles} - {""}
    if signs == {","}:
        return ['decimal = ","']
    if "," in signs:
        return [
            '# DECIDE: some columns have a decimal comma, others a point: say { column = "...", decimal = "," }'
        ]
    return []


def currencies(roles: Mapping[str, Guess]) -> list[str]:
    """A column of currencies, as a comment: with it, rows of another than the shop's are rejected."""
    if "currency" not in roles:
        return []
    name = text(roles["currency"].column.name)
    return [
        f"# currency = {{ column = {name} }}   # DECIDE: may be several; then what is not in the shop's own is rejected"
    ]


def repetitions(table: str, found: "Found") -> list[str]:
    """What to do with rows that are there again. Equal lines, or orders without an id, may both be sales."""
    lines = []
    if found.again:
        counted = (
            f"{found.again:,} of {found.rows:,} rows looked at are there again, the same in every column"
        )
        sale = table == "order_lines" or (table == "orders" and "order_id" not in found.roles)
        lines.append(
            f"# once = true               # DECIDE: {counted}: written twice, or sold twice?"
            if sale
            else f"once = true                 # {counted}"
        )
    if table == "orders" and found.ids_again:
        lines.append("add_up = true               # an order id comes several times: its rows are added up")
    return lines


def _nobody(column: Column) -> list[str]:
    """Of the most frequent ids those that mean that the customer is not known."""
    words = [v for v, n in column.top if n > 1 and re.fullmatch(NOBODY, str(v).strip(), re.IGNORECASE)]
    others = [n for v, n in column.top if v not in words and v.strip("0 ")]
    zeros = [v for v, n in column.top if not v.strip("0 ") and n > OFTEN * max(others, default=n)]
    return words + zeros


def customer(column: Column, pad: int = 0) -> str:
    """A customer's id; what means nobody is null."""
    nobody = _nobody(column)
    if not nobody:
        return _id(column, pad=pad)
    return f"{_id(column, nobody, pad)}  # DECIDE: taken for no customer; else all of them would be one"


def _id(column: Column, nulls: Sequence[str] = (), pad: int = 0, prefix: str = "") -> str:
    """An id as given; made one only where the values themselves, or those of other files, ask for it."""
    clean = ["whole"] if column.dot_zero else []
    if column.blanks or clean or pad:
        clean = ["trim", *clean]
    more = [f"clean = {json.dumps(clean)}"] if clean else []
    more += [f"pad = {pad}"] if pad else []
    more += [f"prefix = {text(prefix)}"] if prefix else []
    more += [f"null = {json.dumps(nulls, ensure_ascii=False)}"] if nulls else []
    return f"{{ column = {', '.join([text(column.name), *more])} }}" if more else text(column.name)


def _channel(column: Column) -> str:
    means = meanings(column, "channel")
    return translated(column, "channel") if means else text(column.name)


def _amount(roles: Mapping[str, Guess]) -> list[str]:
    if "amount" in roles:
        return [f"amount = {text(roles['amount'].column.name)}"]
    if {"items", "price"} <= set(roles):
        names = f"{text(roles['items'].column.name)}, {text(roles['price'].column.name)}"
        return [f"amount = {{ product_of = [{names}] }}"]
    return []


def _discount(columns: list[Column]) -> list[str]:
    """All discounts together; those that are given as negative numbers are made positive."""
    found = [
        c
        for c in columns
        if (g := rate("discount", c)) and g and not re.search(r"pct|percent|rate|率|%", c.name, re.I)
    ]
    if not found:
        return []
    if len(found) == 1 and not found[0].negative:
        return [f"discount = {text(found[0].name)}"]
    parts = " + ".join(f"coalesce(abs(number({quoted(c.name)})), 0)" for c in found)
    return [f"discount = {{ sql = '{parts}' }}"]


def time(column: Column) -> tuple[str, str]:
    """The declaration of a time, and what a person must decide."""
    format, share = column.times[0]
    name = text(column.name)
    if never := [str(v) for v, _ in column.top if re.search(NEVER, str(v))]:
        how = f", format = {text(format)}" if format else ""
        known = f"{{ column = {name}{how}, null = {json.dumps(never)} }}"
        return known, "  # DECIDE: taken for no time, as databases write it"
    rivals = [f for f, s in column.times[1:] if f and format and s == share and len(f) == len(format)]
    if rivals:
        return (
            f"{{ column = {name}, format = {text(format)} }}",
            f"  # DECIDE: {rivals[0]} reads every value as well",
        )
    if format:
        return f"{{ column = {name}, format = {text(format)} }}", ""
    if column.midnight:
        return f"{{ column = {name}, day = true }}", "  # always 00:00, so days: known when the day is over"
    return name, ""


def _clock(day: Column, columns: list[Column]) -> str | None:
    """The declaration of a day and the time of day that another column has; None if none has it."""
    iso = all(re.fullmatch(r"\d{4}-\d\d-\d\d", str(value)) for value, _ in day.top)
    format = "%Y-%m-%d" if day.format == "" and iso else day.format
    if not format or format in EPOCHS or re.search(r"%[HI]", format) or len(day.times) > 1 and _rival(day):
        return None
    for column in columns:
        given = [str(value).strip() for value, _ in column.top]
        whole = column.rows == day.rows and re.search(CLOCK, column.name, re.I)
        if whole and given and all(re.fullmatch(r"\d{1,2}:\d\d(:\d\d)?", value) for value in given):
            ends = ":%H:%M:%S" if all(value.count(":") == 2 for value in given) else ":%H:%M"
            names = json.dumps([day.name, column.name], ensure_ascii=False)
            return f"{{ join = {names}, format = {text(format + ends)} }}"
    return None


def _rival(day: Column) -> bool:
    """Whether another format reads its days as well: a person must decide it first."""
    format, share = day.times[0]
    return any(f and s == share and len(f) == len(format) for f, s in day.times[1:])


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
    return [f"ref = {_id(order)}"] if order else []


def returns(
    connection: "duckdb.DuckDBPyConnection", roles: Mapping[str, Guess], columns: list[Column]
) -> list[Special]:
    """Returns by a letter before the order id, or by a status; negative rows are returns by themselves.

    Each: the key below the reading and its remark, and its lines. An order is cancelled when a time of such a
    name says so: else it would be known to be before it was.
    """
    amount = roles.get("items") or roles.get("amount")
    if "order_id" in roles and amount:
        id, x = quoted(roles["order_id"].column.name), quoted(amount.column.name)
        found = connection.execute(
            f"""SELECT regexp_extract({id}, '^[A-Za-z]+') AS letters, count(*) AS n,
                       avg((starts_with(trim({x}), '-'))::INT) AS negative FROM sample
                WHERE regexp_matches({id}, '^[A-Za-z]+\\d') GROUP BY ALL
                HAVING n >= 3 AND negative > 0.98 ORDER BY n DESC LIMIT 1"""
        ).fetchall()
        if found:
            column = f"column = {text(roles['order_id'].column.name)}"
            remark = "  # ids that begin so have negative rows only"
            return [("returns", remark, (column, f"prefix = {text(found[0][0])}"))]
    if "status" in roles and amount:
        values = [str(v) for v, _ in roles["status"].column.top]
        back = [v for v in values if re.search(RETURNED, v, re.I)]
        gone = [v for v in values if re.search(CANCELLED, v, re.I) and v not in back]
        specials: list[Special] = []
        unpaid = [v for v in values if re.search(UNPAID, v, re.I) and v not in back + gone]
        if unpaid:
            sql = f"{quoted(roles['status'].column.name)} IN ({', '.join(map(literal, unpaid))})"
            specials.append(("aside", "  # DECIDE: no sales yet", (f'"not paid" = {text(sql)}',)))
        partly = [v for v in back if re.search(PARTLY, v, re.I)]
        if partly:  # nothing says how much
            back = [v for v in back if v not in partly]
            specials.append(("note", "", (_note(roles, partly),)))
        if back and _are_the_orders(connection, roles, back):  # a sale until it came back
            lines = (
                f"column = {text(roles['status'].column.name)}",
                f"values = {json.dumps(back + gone, ensure_ascii=False)}",
            )
            remark, timed = _cancelled(connection, roles, columns, back, gone, lines)
            remark = remark or "  # the order stays, and a return of all of it follows"
            return [*specials, ("cancelled", remark, timed)]
        for key, some in (("returns", back), ("cancelled", gone)):
            lines = (
                f"column = {text(roles['status'].column.name)}",
                f"values = {json.dumps(some, ensure_ascii=False)}",
            )
            if some and key == "cancelled":
                specials.append((key, *_cancelled(connection, roles, columns, some, back, lines)))
            elif some:
                specials.append((key, "", lines))
        return specials
    return []


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


def _note(roles: Mapping[str, Guess], partly: list[str]) -> str:
    sql = f"{quoted(roles['status'].column.name)} IN ({', '.join(map(literal, partly))})"
    return f'"came back in part, and how much is not said" = {text(sql)}'


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

"""Lines of a proposed mapping: how each guessed column is declared, and what a person should know of it."""

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from features.sources.guesses import Column, Guess, rate
from features.sources.raw import Format, quoted

if TYPE_CHECKING:
    import duckdb

CANCELLED = r"cancel|void|取消|关闭|作废"
RETURNED = r"refund|return|退"
# What tills and shops write where they do not know the customer.
NOBODY = r"散客|散户|匿名\w*|游客|非会员|无|guest|anonymous|anon|unknown|walk.?in|cash|none|n/?a|-+|\?+"
OFTEN = 3  # times as often as other ids: then 0 is nobody's; 00000 may be one of 00000 to 99999


def text(text: str) -> str:
    """A text in TOML: a basic string of it is one of JSON's."""
    return json.dumps(text, ensure_ascii=False)


def format_lines(how: Format) -> list[str]:
    """How the files are written, where it is not the usual way."""
    lines = []
    if how.kind:
        lines.append(f"format = {text(how.kind)}")
    if how.encoding != "utf-8":
        lines.append(f"encoding = {text(how.encoding)}")
    if how.separator != ",":
        lines.append(f"separator = {text(how.separator)}")
    if how.header:
        lines.append(
            f"header = {json.dumps(how.header)}     # DECIDE: the files have none; give the columns their names"
        )
    return lines


def values(
    connection: "duckdb.DuckDBPyConnection", roles: dict[str, Guess], columns: list[Column]
) -> tuple[list[str], list[str], str | None]:
    """Lines of [columns], what to say of them, and the table; None if the rows are none that we know."""
    amount = "amount" in roles or {"price", "items"} <= set(roles)
    if {"customer_id", "at"} <= set(roles) and amount:
        table = "order_lines" if "product_id" in roles else "orders"
        wanted = [
            "order_id",
            "customer_id",
            "at",
            "product_id",
            "items",
            "amount",
            "discount",
            "store_id",
            "channel",
        ]
        wanted += ["category", "department", "brand"]
    elif "product_id" in roles and "at" not in roles and "customer_id" not in roles:
        table, wanted = "products", ["product_id", "category", "department", "brand"]
    elif (
        "customer_id" in roles
        and "at" not in roles
        and roles["customer_id"].column.distinct == roles["customer_id"].column.rows
    ):
        return [f"customer_id = {_customer(roles['customer_id'].column)}"], [], "customers"
    else:
        return [], [], None
    lines, said = [], []
    if table == "orders":
        wanted = [w for w in wanted if w not in ("product_id", "items", "category", "department", "brand")]
    for role in wanted:
        guess = roles.get(role)
        if role == "amount":
            lines.append(f"amount = {_amount(connection, roles)}")
        elif role == "discount":
            lines += _discount(columns)
        elif role == "channel" and guess is None:
            lines.append(
                'channel = { value = "store" }  # DECIDE: where these orders were placed: "web", "store" ...'
            )
        elif role == "order_id" and guess is None:
            lines.append("# no order id was seen: all that a customer buys on one day is one order")
            said.append("  no order id was seen: all that a customer buys on one day is one order")
        elif guess is None:
            continue
        elif role == "at":
            value, note = time(guess.column)
            lines.append(f"at = {value}{note}")
            said += [f"  {note.strip(' #')}"] if note else []
            if not guess.column.offset:
                said.append(
                    f"  {guess.column.name} has no offset: say `zone` if its times are not the shop's local ones"
                )
        elif role == "items":
            if guess.column.whole + guess.column.dot_zero > 0.999:
                lines.append(f"items = {text(guess.column.name)}")
            else:
                said.append(f"  {guess.column.name} has fractions: not taken as pieces")
        else:
            customer = role == "customer_id"
            lines.append(f"{role} = {_customer(guess.column) if customer else _id(guess.column)}")
            if customer and (nobody := _nobody(guess.column)):
                said.append(f"  taken for no customer: {', '.join(nobody)}")
    if "currency" in roles:
        said.append(
            f"  amounts may be in several currencies: `currency = {{ column = {text(roles['currency'].column.name)} }}`"
        )
    return lines, said, table


def _nobody(column: Column) -> list[str]:
    """Of the most frequent ids those that mean that the customer is not known."""
    words = [v for v, n in column.top if n > 1 and re.fullmatch(NOBODY, str(v).strip(), re.IGNORECASE)]
    others = [n for v, n in column.top if v not in words and v.strip("0 ")]
    zeros = [v for v, n in column.top if not v.strip("0 ") and n > OFTEN * max(others, default=n)]
    return words + zeros


def _customer(column: Column) -> str:
    """A customer's id; what means nobody is null."""
    nobody = _nobody(column)
    if not nobody:
        return _id(column)
    return f"{_id(column, nobody)}  # DECIDE: taken for no customer; else all of them would be one"


def _id(column: Column, nulls: Sequence[str] = ()) -> str:
    """An id as given; made one only where the values themselves ask for it."""
    clean = (["trim"] if column.blanks else []) + (["whole"] if column.dot_zero else [])
    more = [f"clean = {json.dumps(clean)}"] if clean else []
    more += [f"null = {json.dumps(nulls, ensure_ascii=False)}"] if nulls else []
    return f"{{ column = {', '.join([text(column.name), *more])} }}" if more else text(column.name)


def _amount(connection: "duckdb.DuckDBPyConnection", roles: dict[str, Guess]) -> str:
    if "amount" in roles:
        return text(roles["amount"].column.name)
    return f"{{ product_of = [{text(roles['items'].column.name)}, {text(roles['price'].column.name)}] }}"


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


def returns(
    connection: "duckdb.DuckDBPyConnection", name: str, roles: dict[str, Guess], columns: list[Column]
) -> list[str]:
    """Returns by a letter before the order id, or by a status; negative rows are returns by themselves."""
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
            return [
                f"[mapping.{name}.read.returns]  # ids that begin so have negative rows only",
                f"column = {text(roles['order_id'].column.name)}", f"prefix = {text(found[0][0])}",
            ]  # fmt: skip
    if "status" in roles and amount:
        values = [str(v) for v, _ in roles["status"].column.top]
        back = [v for v in values if re.search(RETURNED, v, re.I)]
        gone = [v for v in values if re.search(CANCELLED, v, re.I) and v not in back]
        lines = []
        for key, some in (("returns", back), ("cancelled", gone)):
            if some:
                lines += [
                    f"[mapping.{name}.read.{key}]",
                    f"column = {text(roles['status'].column.name)}", f"values = {json.dumps(some, ensure_ascii=False)}",
                ]  # fmt: skip
        return lines
    return []

"""Lines of a proposed mapping: how each guessed column is declared, and what a person should know of it."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from features.sources.guesses import EPOCHS, Column, Guess, rate
from features.sources.raw import Format, quoted
from features.sources.sheet import meanings, text, translated

if TYPE_CHECKING:
    from features.sources.found import Found

CLOCK = r"time|clock|hour|uhrzeit|zeit|heure|hora|时间|时刻|時刻"
# What tills and shops write where they do not know the customer.
NOBODY = r"散客|散户|匿名\w*|游客|非会员|无|未知|inconnu|anonyme|unbekannt|guest|anonymous|anon|unknown|walk.?in|cash|none|n/?a|-+|\?+"
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
            lines.append(f"{role} = {id_of(guess.column, pad=pads.get(role, 0), prefix=before)}")
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
    if table == "orders" and found.adds_up:
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
        return id_of(column, pad=pad)
    return f"{id_of(column, nobody, pad)}  # DECIDE: taken for no customer; else all of them would be one"


def id_of(column: Column, nulls: Sequence[str] = (), pad: int = 0, prefix: str = "") -> str:
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

"""The reading of one file, or of files that are read alike: what its rows are, and what each column is taken for."""

import json
import re
from collections.abc import Mapping

from features.sources.found import Found
from features.sources.guesses import BIRTH, Column, Guess
from features.sources.joins import Joined
from features.sources.kinds import propose_kind
from features.sources.leading import order_key, split
from features.sources.proposed import (
    currencies,
    customer,
    decimals,
    format_lines,
    repetitions,
    table_of,
    time,
    values,
)
from features.sources.reasons import mentioned, reasons
from features.sources.sheet import PEOPLE, PERSONAL, Reads, Sheet, attributes, text
from features.sources.skeletons import beside_people, resembled, skeleton, unlike
from features.sources.specials import refunded, refunds
from features.sources.told_times import WRITTEN, warehouse

TO_FILL_IN = "  A reading to fill in is written as a comment"


def table_for(one: Found) -> str | None:
    """Whether a file is of sales or goods; None: of anything else."""
    order = one.roles.get("order_id")
    sale = table_of(one.roles, order is not None and not one.ids_again)
    surely = "product_id" in one.roles or (order is not None and "amount" in one.roles)
    return None if sale and sale != "products" and not surely and others(one) else sale


def others(one: Found) -> list[Reads]:
    """The readings of a file of other things; none if it is not known."""
    who, at = one.roles.get("customer_id"), one.roles.get("at")
    if who is None:
        return []
    id = customer(who.column, one.pads.get("customer_id", 0))
    file = " ".join(one.names)
    return propose_kind(
        Sheet(file, one.columns, who.column, id, lambda c: "".join(time(c)), at.column if at else None)
    )


def read_as(one: Found, name: str, table: str | None, joined: Joined) -> tuple[list[str], list[str]]:
    """The lines of TOML of a file, and what to say of it. table: of sales or goods; None: of anything else."""
    roles, columns = dict(one.roles), one.columns
    if "at" not in roles and "customer_id" in roles and not roles["customer_id"].points:
        del roles[
            "customer_id"
        ]  # guessed by its values alone, and nothing else looks like what a customer did
    begin = [f"[[mapping.{name}.read]]"]
    files = [f"files = {json.dumps(one.patterns, ensure_ascii=False)}", *format_lines(one.how)]
    if one.how.header is not None and columns and "customer_id" not in roles:
        why = (
            "  not placed: it has no header that names its columns: add one, or name them in `header = [...]`"
        )
        return unlike(name, files, columns), [why, TO_FILL_IN]
    prefix = f"{name}:" if one in joined.prefixed else ""
    if table == "order_lines" and (key := order_key(roles, columns)):
        orders, lines_of, where = split(roles, key)
        head, said = _sales(one, name, "orders", orders, columns, prefix, [*files, where])
        more, told = _sales(one, name, "order_lines", lines_of, [], prefix, files)
        return _with_the_rest([*head, "", *more], one, "orders, and the lines of those", [*said, *told])
    if table is not None:
        lines, said = _sales(one, name, table, roles, columns, prefix, [*files, *repetitions(table, one)])
        return _with_the_rest(lines, one, table, said)
    if readings := others(one) if "customer_id" in roles else []:
        lines = []
        asked = [
            f"  {line.removeprefix('# ')}" for of in readings for line in of.head if line.startswith("# ")
        ]
        for of in readings:
            lines += [""] if lines else []
            lines += [*begin, f"table = {text(of.table)}", *files, *repetitions(of.table, one), *of.head]
            lines += [f"[mapping.{name}.read.columns]", *of.lines]
            lines += [f"[mapping.{name}.read.{of.tail[0]}]", *of.tail[1:]] if of.tail else []
        told = reasons(lines, columns, {"customer_id": roles["customer_id"].why})
        return _with_the_rest(
            lines, one, " and ".join(dict.fromkeys(r.table for r in readings)), [*asked, *told]
        )
    who = roles.get("customer_id")
    people = who is not None and who.column.distinct >= 0.99 * who.column.rows
    since = next((c for c in columns if c.format is not None and re.search(PEOPLE, c.name, re.I)), None)
    listed = any(c.rows and re.search(f"{BIRTH}|{PERSONAL}", c.name, re.I) for c in columns)
    if who is not None and people and ("at" not in roles or since is not None or listed):
        like = beside_people(columns, who.column, " ".join(one.patterns)) if since is None else None
        if like is not None:
            notes = [
                f"  one row a customer, but it is like {like}: a reading to fill in is written as a comment",
                f"  Its columns: {', '.join(c.name for c in columns)}",
            ]
            return skeleton(name, like, files, roles, columns, None, _whose(one, roles)), notes
        kept, personal = attributes(columns, {who.column.name, since.name if since else ""})
        lines = [*begin, 'table = "customers"', *files, *repetitions("customers", one)]
        lines += [f"attributes = {json.dumps(kept, ensure_ascii=False)}"] if kept else []
        lines += [f"[mapping.{name}.read.columns]", f"customer_id = {_whose(one, roles)}"]
        lines += [f"at = {''.join(time(since))}"] if since else []
        left = [f"  left out, for they are personal: {', '.join(personal)}"] if personal else []
        return _with_the_rest(
            lines, one, "customers", [*reasons(lines, columns, {"customer_id": who.why}), *left]
        )
    return _as_comment(one, name, files, roles)


def _sales(
    one: Found,
    name: str,
    table: str,
    roles: dict[str, Guess],
    columns: list[Column],
    prefix: str,
    head: list[str],
) -> tuple[list[str], list[str]]:
    """The reading of a file of sales or goods. columns: that may hold discounts."""
    sale = table != "products" and bool(columns)
    takes_back = refunded(roles, columns, one.name) if sale else None
    specials = (one.returns if sale else []) if takes_back is None else refunds(one.statuses)
    status = one.statuses if sale else None
    if status and takes_back is not None:
        status = status.of_refunds()
    found, notes = values(roles, columns, table, one.pads, prefix)
    lines = [
        f"[[mapping.{name}.read]]",
        f"table = {text(table)}",
        *head,
        *decimals(roles),
        *currencies(roles),
    ]
    lines += [f"[mapping.{name}.read.columns]", *found, *(takes_back or ())]
    for key, remark, special in specials:
        lines += [f"[mapping.{name}.read.{key}]{remark}", *special]
    if status and status.doubt:
        lines += status.question(f"mapping.{name}.read")
        notes.append(f"  {status.doubt}")
    return lines, [*_why(roles, lines), *notes]


def _whose(one: Found, roles: Mapping[str, Guess]) -> str | None:
    """The declaration of the customer's id: written as in the readings that need no filling in."""
    who = roles.get("customer_id")
    return customer(who.column, one.pads.get("customer_id", 0)) if who else None


def _as_comment(
    one: Found, name: str, files: list[str], roles: dict[str, Guess]
) -> tuple[list[str], list[str]]:
    """A file that could not be placed: why, and a reading to fill in of what it is most like."""
    lacking = [role for role in ("customer_id", "at", "amount") if role not in roles]
    said = [
        f"  not placed: neither orders, nor products, nor customers were seen in it (no {', '.join(lacking)}).",
        f"  Its columns: {', '.join(c.name for c in one.columns)}",
    ]
    like = resembled(one.columns, " ".join(one.patterns))
    if like is None:
        return unlike(name, files, one.columns), [*said, TO_FILL_IN]
    at = time(roles["at"].column)[0] if "at" in roles else None
    said.append(f"  It is like {like}: a reading to fill in is written as a comment")
    return skeleton(name, like, files, roles, one.columns, at, _whose(one, roles)), said


def _why(roles: Mapping[str, Guess], lines: list[str]) -> list[str]:
    """Why each column that the lines name was taken for what it is."""
    written = "\n".join(lines)
    return [f"  {role:12} <- {g.why}" for role, g in roles.items() if text(g.column.name) in written]


def _with_the_rest(lines: list[str], one: Found, table: str, said: list[str]) -> tuple[list[str], list[str]]:
    """With the columns that no line names."""
    named = mentioned(lines) | {c.name for c in (one.told.known, one.told.zone) if c is not None}
    told = "\n".join(line for line in said if " <- " not in line)
    left = [
        c.name
        for c in one.columns
        if c.name not in named and not re.search(rf"(?<!\w){re.escape(c.name)}(?!\w)", told)
    ]
    for column in one.columns:
        if column.name in left and warehouse(column):
            lines = [*lines, f"# known_at = {''.join(time(column))}   # DECIDE: {WRITTEN}"]
            said = [*said, f"  {column.name} is when a row was written into a warehouse: {WRITTEN}"]
    if left:
        lines = [*lines, f"# Not placed: {', '.join(left)}"]
        said = [*said, f"  not placed: {', '.join(left)}"]
    return lines, [f"  rows are {table}", *said]

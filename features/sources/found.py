"""Files that are read alike, as they were looked at: columns, what they could be, and the ids in them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.sources.guesses import NAMES, Column, Guess, profile, rate
from features.sources.raw import Format, columns_of, literal, quoted
from features.sources.samples import HEAD, empty_in, look, looked_at, patterns
from features.sources.specials import Special, returned_letters, returns
from features.sources.statuses import Statuses, statuses
from features.sources.told_times import Told, told
from features.sources.values import CLEAN, NULLS

if TYPE_CHECKING:
    import duckdb

IDS = ("customer_id", "order_id", "product_id")


@dataclass(eq=False)  # each is itself
class Found:
    """What was seen of files of one kind. `pads`: role -> digits that other files give its ids."""

    paths: list[Path]
    names: list[str]  # below the mapping's folder
    how: Format
    columns: list[Column]
    roles: dict[str, Guess]
    rows: int  # that were looked at
    whole: bool  # those are all rows
    patterns: list[str]
    todo: list[str]
    ids: Mapping[str, frozenset[str]]  # role -> ids as given, without blanks around
    buyers: Mapping[str, str]  # order id -> its customer, where the file says both
    statuses: Statuses | None
    returns: list[Special]
    again: int  # rows that are there again, the same in every column
    ids_again: bool  # an order id comes several times even without those
    adds_up: bool  # so of one customer
    told: Told  # beside the time
    pads: dict[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What people call it."""
        return self.names[0] if len(self.names) == 1 else self.patterns[0]


def find(
    connection: "duckdb.DuckDBPyConnection", paths: list[Path], how: Format, folder: Path, split: bool
) -> Found:
    """Look at files; their rows are `sample`. split: others have the same columns, but are written otherwise."""
    look(connection, paths, how)
    columns = [profile(connection, "sample", c) for c in columns_of(paths[0], how)]
    roles = roles_of(columns)
    names = [str(p.resolve().relative_to(folder)) for p in paths]
    (rows,) = connection.execute("SELECT count(*) FROM sample").fetchall()[0]
    globs, fixed = patterns(names, folder, names)
    todo = []
    if split:
        todo.append(
            "# DECIDE: the same columns as another reading, but times written otherwise, or no order ids: see the files"
        )
    if fixed:
        todo.append(
            "# DECIDE: other files, not looked at or of another kind, are named alike: name tomorrow's files here, "
            "or move the others apart"
        )
    for column in columns:
        if column.rows and (empty := empty_in(connection, column.name)):
            few = ", ".join(names[n] for n in empty[:3]) + (" ..." if len(empty) > 3 else "")
            todo.append(f"# DECIDE: {column.name} is empty in {len(empty)} of {len(names)} files: {few}")
    return Found(
        paths=paths, names=names, how=how, columns=columns, rows=rows,
        whole=rows < looked_at(len(paths)) and all(p.stat().st_size < HEAD // 20 for p in paths),
        patterns=globs, todo=todo, **_by(connection, columns, roles),
    )  # fmt: skip


def found_again(connection: "duckdb.DuckDBPyConnection", one: Found, roles: dict[str, Guess]) -> None:
    """Look at its rows anew, now that its columns are known to be these."""
    look(connection, one.paths, one.how)
    for field_, value in _by(connection, one.columns, roles).items():
        setattr(one, field_, value)


def _by(
    connection: "duckdb.DuckDBPyConnection", columns: list[Column], roles: dict[str, Guess]
) -> dict[str, Any]:
    """The fields of a `Found` that follow from what its columns are; its rows are `sample`."""
    again, ids_again, adds_up = _again(connection, columns, roles)
    letters = returned_letters(connection, roles)
    said = statuses(connection, roles, letters)
    return {
        "roles": roles, "ids": {role: ids(connection, roles[role].column.name) for role in IDS if role in roles},
        "buyers": _buyers(connection, roles), "statuses": said,
        "returns": returns(connection, roles, columns, said, letters),
        "again": again, "ids_again": ids_again, "adds_up": adds_up, "told": told(connection, columns, roles),
    }  # fmt: skip


def roles_of(columns: list[Column]) -> dict[str, Guess]:
    """The best column for each role, none for two roles; what is called so before what only looks so."""
    roles: dict[str, Guess] = {}
    for named in (True, False):
        for role in NAMES:
            taken = {g.column.name for g in roles.values()}
            guesses = [
                g for c in columns if c.name not in taken and (g := rate(role, c)) and g.named == named
            ]
            if guesses and role not in roles:
                roles[role] = max(guesses, key=lambda g: (g.points, g.column.filled))
    return {role: roles[role] for role in NAMES if role in roles}


def ids(connection: "duckdb.DuckDBPyConnection", column: str) -> frozenset[str]:
    """The values of a column of `sample`."""
    x = _id(column)
    rows = connection.execute(f"SELECT DISTINCT {x} FROM sample WHERE {_is_there(x)}").fetchall()
    return frozenset(id for (id,) in rows)


def plain(id: str) -> str:
    """What is left of a number written as 00101, 101 or 101.0: files write the same id so.

    >>> plain("00101"), plain("101.0"), plain("0"), plain("A-07")
    ('101', '101', '0', 'A-07')
    """
    whole = re.sub(r"^(\d+)\.0+$", r"\1", id)
    return (whole.lstrip("0") or "0") if whole.isdigit() else whole


def pad_alike(found: list[Found]) -> list[str]:
    """Note in `pads` whose ids are other files' without the zeros before them; what to say of it."""
    said = []
    for role in IDS:
        having = [f for f in found if f.ids.get(role)]
        full = [f for f in having if f.roles[role].column.padded]
        for one in having:
            if one in full:
                continue
            for other in full:
                here, there = one.ids[role], other.ids[role]
                meet = {plain(id) for id in here} & {plain(id) for id in there}
                digits = other.roles[role].column.padded
                fits = max(len(plain(id)) for id in here) <= digits
                if fits and len(meet) - len(here & there) >= max(2, 0.1 * min(len(here), len(there))):
                    one.pads[role] = digits
                    said.append(
                        f"{one.name}: {len(meet):,} of {len(here):,} {role}s looked at are in {other.name}, "
                        f"which writes them with {digits} digits: zeros are put before them"
                    )
                    break
        for one in full:  # a few of its own ids may lack them
            said += _mended(one, role, [other for other in having if other is not one])
    return said


def _mended(one: Found, role: str, others: list[Found]) -> list[str]:
    """Note in `pads` that its shorter ids lack zeros, if others have them with those; what to say of it."""
    digits = one.roles[role].column.padded
    short = {id: id.rjust(digits, "0") for id in one.ids[role] if id.isdigit() and len(id) < digits}
    for other in others:
        if known := set(short.values()) & as_padded(other, role):
            one.pads[role] = digits
            return [
                f"{one.name}: {len(short):,} of {len(one.ids[role]):,} {role}s looked at have fewer than {digits} "
                f"digits, and {len(known):,} of them are in {other.name} with {digits}: zeros are put before them"
            ]
    both = sorted(id for id, full in short.items() if full in one.ids[role])
    return [
        f"{one.name}: {len(both):,} {role}s are there both ways, as {id} and {short[id]}: if they are the same, "
        f"write pad = {digits} beside the column"
        for id in both[:1]
    ]


def as_padded(found: Found, role: str) -> frozenset[str]:
    """The ids of a reading as its mapping will read them."""
    return frozenset(padded(found, role, id) for id in found.ids.get(role, ()))


def padded(found: Found, role: str, id: str) -> str:
    """One id, so."""
    return whole_id(id, found.pads.get(role, 0))


def whole_id(id: str, digits: int) -> str:
    """An id without a decimal zero, and with zeros before it up to so many digits.

    >>> whole_id("101.0", 5), whole_id("A7", 5)
    ('00101', 'A7')
    """
    whole = re.sub(r"^(\d+)\.0+$", r"\1", id)
    return whole.rjust(digits, "0") if whole.isdigit() else whole


def _id(column: str) -> str:
    return CLEAN["trim"].format(x=quoted(column))


def _is_there(x: str) -> str:
    return f"{x} NOT IN ({', '.join(literal(n) for n in NULLS)})"


def _buyers(connection: "duckdb.DuckDBPyConnection", roles: Mapping[str, Guess]) -> dict[str, str]:
    if not {"order_id", "customer_id"} <= set(roles):
        return {}
    order, customer = (_id(roles[role].column.name) for role in ("order_id", "customer_id"))
    return dict(
        connection.execute(
            f"SELECT {order}, min({customer}) FROM sample WHERE {_is_there(order)} AND {_is_there(customer)} GROUP BY ALL"
        ).fetchall()
    )


def _again(
    connection: "duckdb.DuckDBPyConnection", columns: list[Column], roles: Mapping[str, Guess]
) -> tuple[int, bool, bool]:
    """Rows that repeat an earlier one exactly; whether order ids repeat without those, also of one customer."""
    order, who = (_id(roles[r].column.name) if r in roles else "NULL" for r in ("order_id", "customer_id"))
    every = ", ".join(quoted(c.name) for c in columns)
    again, rows, orders, buyers = connection.execute(
        f"""SELECT coalesce(sum(n - 1), 0), count(id), count(DISTINCT id),
                   count(DISTINCT (id, who)) FILTER (WHERE id IS NOT NULL)
            FROM (SELECT {order} AS id, {who} AS who, count(*) AS n FROM sample GROUP BY id, who, {every})"""
    ).fetchall()[0]
    return int(again), rows > orders, rows > buyers

"""Columns that hold other files' ids: a shop's files name one thing in many ways, and its ids are the same.

A list of customers calls them `Nr`, `id` or `KdNr`, the sales `Mitglied`: no name says that these are the same people.
"""

import re
from typing import TYPE_CHECKING

from features.sources.found import Found, found_again, ids, plain, roles_of
from features.sources.guesses import EPOCHS, MONEY, NAMES, Column, Guess
from features.sources.samples import look
from features.sources.vocabulary import NUMBERS

if TYPE_CHECKING:
    import duckdb

MOST = 0.5  # of the ids of the smaller side: so many must be met where both columns are called alike
NEARLY = 0.9  # and where they are not
LEAST = 3
FEW = 20  # different ids, and characters of each: fewer are also numbers of pieces, days or stores
LONG = 4
ROUNDS = 3  # what one file learns from a second, a third learns from it
POINTS = 2.5  # as sure as a name that only contains the word


def meet(connection: "duckdb.DuckDBPyConnection", found: list[Found]) -> None:
    """Give the files whose customers, or goods, no name showed the column that holds other files'."""
    for _ in range(ROUNDS):
        changed = [
            _met(connection, one, found, role) for role in ("customer_id", "product_id") for one in found
        ]
        if not any(changed):
            return


def _met(connection: "duckdb.DuckDBPyConnection", one: Found, found: list[Found], role: str) -> bool:
    """Whether a file was given such a column now."""
    now = one.roles.get(role)
    others = [f for f in found if f is not one and f.ids.get(role)]
    if (now and now.named) or not others or (role == "product_id" and {"customer_id", "at"} & set(one.roles)):
        return False
    could = [c for c in one.columns if _may_be(c, one, role)]
    if not could:
        return False
    look(connection, one.paths, one.how)
    best: tuple[float, Column, str] | None = None
    for column in could:
        here = {plain(id) for id in ids(connection, column.name)}
        for other in others:
            theirs = other.roles[role].column
            there = {plain(id) for id in other.ids[role]}
            alike = column.name.casefold() == theirs.name.casefold()
            both, least = len(here & there), min(len(here), len(there))
            sold = role == "customer_id" and MONEY & set(one.roles)
            telling = _telling(here) and _names_rows(column) and not sold
            if both < max(LEAST, (MOST if alike else NEARLY) * least) or not (alike or telling):
                continue
            why = f"{both:,} of its {len(here):,} different values are in {theirs.name!r} of {other.name}"
            best = max(
                best or (0.0, column, why), (both / len(here) + alike, column, why), key=lambda b: b[0]
            )
    if best is None or (now and now.column is best[1]):
        if best and now:
            one.roles[role] = Guess(now.column, POINTS, best[2])
        return False
    taken = Guess(best[1], POINTS, best[2])
    rest = roles_of([c for c in one.columns if c is not best[1]])
    rest.pop(role, None)
    found_again(connection, one, {r: {**rest, role: taken}[r] for r in NAMES if r == role or r in rest})
    return True


def _may_be(column: Column, one: Found, role: str) -> bool:
    """Whether a column could hold ids, and no name says of what."""
    if not column.rows or column.format not in (None, "%Y%m%d", *EPOCHS):
        return False
    is_ = next((r for r, guess in one.roles.items() if guess.column is column), None)
    generic = re.search(NUMBERS, column.name, re.IGNORECASE)
    return is_ in (None, role) or bool(generic) or not one.roles[is_].named


def _telling(here: set[str]) -> bool:
    return len(here) >= FEW and sum(len(id) >= LONG or not id.isdigit() for id in here) >= NEARLY * len(here)


def _names_rows(column: Column) -> bool:
    """Whether it is called a number, or is another in every row."""
    return bool(re.search(NUMBERS, column.name, re.IGNORECASE)) or column.distinct >= 0.99 * column.rows

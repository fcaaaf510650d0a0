"""Exports that tell an order by its first line alone: customer, time and total stand there, and nowhere else.

Such a file is read twice: its first lines as orders, all lines as theirs.
"""

from collections.abc import Mapping

from features.sources.guesses import Column, Guess
from features.sources.raw import quoted
from features.sources.sheet import text

NEAR = 0.02  # of shares that are the same but for dirt


def order_key(roles: Mapping[str, Guess], columns: list[Column]) -> Column | None:
    """The column that names the order on every line of such a file; None if it is no such file."""
    if not {"customer_id", "at", "product_id", "items", "price"} <= set(roles):
        return None
    at, who = roles["at"].column, roles["customer_id"].column
    if at.filled > 1 - NEAR or who.filled > at.filled + NEAR:
        return None
    for column in columns:
        lines = column.rows * at.filled  # as many orders as lines that have a time
        if column.filled == 1 and abs(column.distinct - lines) <= NEAR * lines and column is not at:
            return column
    return None


def split(roles: Mapping[str, Guess], key: Column) -> tuple[dict[str, Guess], dict[str, Guess], str]:
    """The roles of the orders and of their lines, and the condition of a first line, as TOML."""
    named = Guess(
        key, roles["at"].points, f"{key.name!r} is on every line, and told by the first of each order"
    )
    of_lines = ("product_id", "items", "price")
    orders = {r: g for r, g in roles.items() if r not in (*of_lines, "order_id")} | {"order_id": named}
    lines = {r: roles[r] for r in of_lines} | {"order_id": named}
    return orders, lines, f"where = {text(quoted(roles['at'].column.name) + ' is not null')}"

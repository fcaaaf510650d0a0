"""Which files of orders and lines belong together, by their ids; whose ids are in none is another system's."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from features.sources.found import Found, as_padded, padded
from features.sources.loading import load
from features.sources.raw import literal, quoted

if TYPE_CHECKING:
    import duckdb

MOST = 0.5  # of the ids: so many must be found for files to belong together
LARGEST = 2_000_000_000  # bytes of files that are read whole for their ids


@dataclass
class Joined:
    """How the files fall into sources. apart: another system's files, each list a source of its own.

    lacking: lines without a customer of their own, of orders that are nowhere. prefixed: whose order ids are other
    orders' too. summed: orders that have lines. said: of a file, for people.
    """

    apart: list[list[Found]] = field(default_factory=list)
    lacking: list[Found] = field(default_factory=list)
    prefixed: list[Found] = field(default_factory=list)
    summed: list[Found] = field(default_factory=list)
    said: list[tuple[Found, str]] = field(default_factory=list)


def join(connection: "duckdb.DuckDBPyConnection", tables: Mapping[str, list[Found]]) -> Joined:
    """tables: the files that look like `orders`, and like `order_lines`."""
    result = Joined()
    orders = [f for f in tables.get("orders", []) if "order_id" in f.roles]
    lines = [f for f in tables.get("order_lines", []) if "order_id" in f.roles]
    lines_of: dict[int, list[Found]] = {id(one): [] for one in orders}
    for one in lines:
        here = as_padded(one, "order_id")
        counts = [(_shared(connection, one, other), other) for other in orders]
        found, best = max(counts, key=lambda of: of[0], default=(0, None))
        if best is not None and found >= MOST * len(here):
            lines_of[id(best)].append(one)
            result.summed.append(best)
            result.said.append(
                (one, f"{found:,} of {len(here):,} order ids looked at are orders of {best.name}")
            )
        elif "customer_id" not in one.roles:
            result.lacking.append(one)
            where = f"{found:,} of {len(here):,} are in {best.name}" if best else "no file of orders is there"
            result.said.append((one, f"lines without a customer, and their orders are not found: {where}"))
        elif best is not None:
            result.apart.append([one])
            result.said.append(
                (
                    one,
                    f"{found or 'none'} of {len(here):,} order ids looked at {'is' if found < 2 else 'are'} in "
                    f"{', '.join(o.name for o in orders[:3])}: another system's, so a source of its own",
                )
            )
    for one in tables.get("order_lines", []):  # lines without ids are of no order that has one
        if orders and one not in lines and "customer_id" in one.roles:
            result.apart.append([one])
            names = ", ".join(o.name for o in orders[:3])
            said = (
                f"DECIDE: no order ids, so they are of no order of {names}: a source of its own, where a customer's "
                "day is the order. If these sales are those orders' lines, leave it out: they would count twice"
            )
            result.said.append((one, said))
    for place, one in enumerate(orders):
        for other in orders[:place]:
            shared = as_padded(one, "order_id") & as_padded(other, "order_id")
            if not shared and {c.name for c in one.columns} != {c.name for c in other.columns}:
                said = f"looks like orders, as {other.name} does, and no order id is in both: read as more of them"
                result.said.append((one, said))
            if len(shared) < max(3, 0.05 * min(len(one.ids["order_id"]), len(other.ids["order_id"]))):
                continue
            if _same_buyers(one, other, shared) >= MOST * len(shared):
                result.said.append(
                    (
                        one,
                        f"{len(shared):,} order ids are in {other.name} too, of the same customers: "
                        "an order is taken once, so leave one of the two out",
                    )
                )
            elif not any(one in some for some in result.apart):
                result.apart.append([one, *lines_of[id(one)]])
                result.prefixed += [one, *lines_of[id(one)]]
                result.said.append(
                    (
                        one,
                        f"{len(shared):,} order ids are in {other.name} too, of other customers: another system's "
                        "numbers, so a source of its own, and a prefix before them",
                    )
                )
    return result


def with_their_goods(sources: list[list[Found]], placed: Mapping[int, str | None]) -> list[list[Found]]:
    """Sources with each catalogue where the lines are that sell most of it: only there it says what was sold."""
    lines = [f for some in sources for f in some if placed[id(f)] == "order_lines"]
    result = [list(some) for some in sources]
    for goods in [f for f in sources[0] if placed[id(f)] == "products"]:
        there = as_padded(goods, "product_id")
        best = max(lines, key=lambda f: len(as_padded(f, "product_id") & there), default=goods)
        result[0].remove(goods)
        result[next(n for n, some in enumerate(sources) if best in some)].append(goods)
    return result


def _shared(connection: "duckdb.DuckDBPyConnection", lines: Found, orders: Found) -> int:
    """How many of the lines' order ids are these orders', and of the same customers if both name them."""
    here = as_padded(lines, "order_id")
    shared = here & as_padded(orders, "order_id")
    if lines.buyers and orders.buyers and shared:
        return _same_buyers(lines, orders, shared)
    large = sum(path.stat().st_size for path in orders.paths) > LARGEST
    if len(shared) >= MOST * len(here) or orders.whole or large:
        return len(shared)
    return _among_all(connection, lines, orders)


def _same_buyers(one: Found, other: Found, shared: frozenset[str]) -> int:
    """Of shared order ids, those of one customer."""
    first, second = (
        {padded(f, "order_id", o): padded(f, "customer_id", c) for o, c in f.buyers.items()}
        for f in (one, other)
    )
    return sum(first.get(order) == second.get(order) for order in shared)


def _among_all(connection: "duckdb.DuckDBPyConnection", lines: Found, orders: Found) -> int:
    """The same by every row of the orders' files, for the first rows of each need not be the same orders'."""
    load(connection, "every_order", list(zip(orders.names, orders.paths, strict=True)), orders.how)
    digits = orders.pads.get("order_id", 0)
    column = f"regexp_replace(trim({quoted(orders.roles['order_id'].column.name)}), '^(\\d+)\\.0+$', '\\1')"
    if digits:
        column = f"CASE WHEN length({column}) < {digits} THEN lpad({column}, {digits}, '0') ELSE {column} END"
    wanted = ", ".join(f"({literal(id)})" for id in sorted(as_padded(lines, "order_id")))
    (count,) = connection.execute(
        f"SELECT count(*) FROM (VALUES {wanted}) t(id) WHERE id IN (SELECT {column} FROM every_order)"
    ).fetchall()[0]
    connection.execute("DROP TABLE every_order")
    return int(count)

"""Whether two systems' customers are the same people: if no id of one is in the other, probably not."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from features.sources.guesses import Guess
from features.sources.raw import literal, quoted
from features.sources.values import NULLS

if TYPE_CHECKING:
    import duckdb

FEW = 20  # ids: of fewer, none need be in another file


def customers(connection: "duckdb.DuckDBPyConnection", roles: Mapping[str, Guess]) -> frozenset[str]:
    """The customers of `sample`."""
    return ids(connection, roles["customer_id"].column.name) if "customer_id" in roles else frozenset()


def ids(connection: "duckdb.DuckDBPyConnection", column: str) -> frozenset[str]:
    """The values of a column of `sample`."""
    x = f"trim({quoted(column)})"
    nulls = ", ".join(literal(n) for n in NULLS)
    rows = connection.execute(f"SELECT DISTINCT {x} FROM sample WHERE {x} NOT IN ({nulls})").fetchall()
    return frozenset(id for (id,) in rows)


def apart(here: frozenset[str], others: Mapping[str, frozenset[str]]) -> list[str]:
    """The names of the others with which these have no id in common."""
    return [name for name, ids in others.items() if min(len(here), len(ids)) >= FEW and not here & ids]


def meet_nobody(others: list[str]) -> str:
    """What to do then."""
    return (
        f"none of these customer ids is in {', '.join(others[:3])}. If another system gave them, the same id may "
        "be another person's one day: give them a customer_prefix in a mapping of their own, and link who is "
        "who by a file of identities"
    )

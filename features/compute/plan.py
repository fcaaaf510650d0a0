"""Declarations -> what must be read of each table, and what the kernel needs of each event."""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from features.definitions import Feature
from features.errors import FeatureError
from features.tables import CORRECTED, LOCAL, PRECISION, TABLES, TOTAL, Type

_EVENT = ("customer_id", "at", "known_at")
_NUMBERS: dict[str, tuple[Type, ...]] = {
    "sum": ("money", "integer"),  # a sum of reals would depend on the order of rows
    "max": ("money", "integer"),
    "mode": ("text", "money", "integer", "real"),
    "last": ("text", "money", "integer", "real"),
}


class Input(NamedTuple):
    """What a feature needs of each event: several windows and measures share one.

    kind: count, sum, max, distinct, mode, last or history, a pass of the kernel each. column: "" for the
    local day.
    """

    kind: str
    column: str | None
    where: str | None
    vocabulary: tuple[str, ...] | None


def input_of(feature: Feature) -> Input:
    """The input of a feature of a table. FeatureError if its column has no such measure."""
    kind: str = "distinct" if feature.measure == "days" else feature.measure
    if feature.measure.startswith(("gap", "since")):
        kind = "history"
    assert feature.table is not None
    if feature.column is not None and kind in _NUMBERS:
        type = type_of(feature.table, feature.column)
        if type not in _NUMBERS[kind]:
            raise FeatureError(
                f"{feature.name}: there is no {feature.measure} of {feature.column}, which is {type}: "
                f"it needs {' or '.join(_NUMBERS[kind])}"
            )
    column = "" if feature.measure == "days" else feature.column
    return Input(kind, column, feature.where, feature.vocabulary)


def type_of(table: str, column: str) -> Type:
    """The type of a column of that table, or of a pseudo-column."""
    if column == TOTAL:
        return "money"
    return "integer" if column in LOCAL else TABLES[table].columns[column].type


def of_table(features: Mapping[str, Feature], table: str) -> dict[str, Feature]:
    """The features that measure that table."""
    return {name: feature for name, feature in features.items() if feature.table == table}


def tables(features: Mapping[str, Feature]) -> list[str]:
    """The tables that the features measure, sorted."""
    return sorted({feature.table for feature in features.values() if feature.table is not None})


def columns(table: str, features: Mapping[str, Feature]) -> list[str]:
    """The columns of the table that its features need, in the table's order."""
    needed = {feature.column for feature in features.values()}
    needed |= {*_EVENT, "until"} if table == "calendar" else {*_EVENT}
    said = words(feature.where for feature in features.values())
    if "hour" in needed | said:
        needed = {*needed, PRECISION}
    if TOTAL in needed:
        needed = {*needed, "amount", CORRECTED}
    return [column for column in TABLES[table].columns if column in needed or column in said]


def needs_local(features: Mapping[str, Feature]) -> bool:
    """Whether any of them reads the shop's own time of an event."""
    return bool({"local_at", *LOCAL} & words(f.where for f in features.values())) or any(
        f.measure == "days" or f.measure.startswith("gap") or f.column in LOCAL for f in features.values()
    )


# DuckDB's functions that are not of their arguments alone, and `age`, which with one of them asks the clock.
_RESTLESS = re.compile(
    r"\b(current_\w+|localtime|localtimestamp)\b|"
    r"\b(now|today|age|random|uuid|uuidv4|uuidv7|gen_random_uuid|get_current_time|get_current_timestamp|"
    r"transaction_timestamp|txid_current|nextval|currval|setval|setseed|getvariable|in_search_path|stats|"
    r"vector_type|sleep_ms|write_log|error)\s*(?=\()",
    re.IGNORECASE,
)


def restless(where: str) -> str | None:
    """What in a condition asks the clock, chance or the session, and so is not the same on another day.

    >>> restless("known_at < NOW() - INTERVAL 9 DAY and kind = 'random(x)'"), restless("local_at > today")
    ('NOW', None)
    """
    found = _RESTLESS.search(re.sub(r"'(?:[^']|'')*'", "''", where))
    return found[0].strip() if found else None


def words(conditions: Iterable[str | None]) -> set[str]:
    """Everything in the conditions that could be a column's name: no function's, `hour(` is none."""
    return {word for where in conditions if where for word in re.findall(r"\b[^\W\d]\w*+(?!\s*\()", where)}

"""What a `[mapping.NAME]` says, read and checked: `mapping.py` reads it, `parsed.py` and `derived.py` follow it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from features.sources.raw import Format
from features.sources.values import Habits, Value

# What a file need not say, a column of the table: the id of an event is then its file and line.
MADE = {
    "contacts": "contact_id", "responses": "response_id", "interactions": "interaction_id", "cases": "case_id",
    "surveys": "survey_id", "calendar": "event_id",
}  # fmt: skip
_ALWAYS_MADE = {
    "orders": ("order_id", "discount", "amount"),
    "order_lines": ("order_id", "line", "items", "discount", "coupon", "customer_id", "at"),
    "customers": ("at",),
    "identities": ("at",),
    "scores": ("at",),
    "tags": ("origin",),
}


def made(table: str) -> tuple[str, ...]:
    """Columns of a table that its files need not have."""
    return ("known_at", *([MADE[table]] if table in MADE else []), *_ALWAYS_MADE.get(table, ()))


@dataclass(frozen=True)
class Match:
    """A condition on a raw row, as SQL; `columns` are the raw columns it names."""

    where: str
    sql: str
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reading:
    """One `[[mapping.NAME.read]]`: files, their format, and what each column of the table reads from."""

    where: str
    table: str
    files: tuple[tuple[str, Path], ...]  # the name that the account shows, path
    format: Format
    values: Mapping[str, Value]
    habits: Habits
    currency: Value | None
    conditions: Mapping[str, tuple[tuple[str, Match], ...]]  # aside, reject, note -> (reason, condition)
    returns: Match | bool  # True: what is negative
    cancelled: Match | None
    cancelled_at: Value | None
    add_up: bool
    once: bool  # exact repetitions of a row are put aside
    lists: tuple[str, ...]  # attributes of customers; scores: raw columns that each become a row
    delivered: tuple[str, str] | None  # ("day", date) or ("file_name", format)
    prefix: str
    raw_columns: tuple[str, ...] = ()  # of all its files
    patterns: tuple[str, ...] = ()  # of its files' names, as declared
    accounts: bool = True  # False for the second score and on of a wide table: the first tells its rows' fate


@dataclass(frozen=True)
class Declared:
    """A whole `[mapping.NAME]`."""

    name: str
    where: str
    zone: str
    readings: tuple[Reading, ...]
    complete_until: str | None  # RFC 3339
    first_day: str | None
    whole_days: bool = False  # the day of the newest row is over

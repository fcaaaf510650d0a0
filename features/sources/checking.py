"""Whether a mapping gives what its tables must have, and its files have the columns and the encoding it names."""

import codecs
from datetime import datetime
from pathlib import Path

from features.errors import SettingsError, SourceError
from features.sources.declared import Declared, Match, Reading, made
from features.sources.raw import UTF8, Format, columns_of, encoding_of, first_records
from features.tables import TABLES
from features.toml import nearest

TITLES = 20  # lines before a header that are looked at


def check_required(declared: Declared) -> None:
    """Each table must get what its contract requires, from a column, a default or another reading."""
    tables = {r.table for r in declared.readings}
    for reading in declared.readings:
        table, has = reading.table, set(reading.values)
        spare = set(made(table))
        if table == "orders" and "order_lines" not in tables:
            spare.remove("amount")
        if table == "order_lines" and "orders" not in tables:
            spare -= {"customer_id", "at"}
        if (
            table == "orders" and "ref" in has
        ):  # of refunds, which are the customer's of the order that comes back
            spare |= {"customer_id", "channel"}
        if table == "scores":
            spare.add("known_at" if "known_at" in has or reading.delivered else "at")
            spare |= {"name"} if reading.lists else set()  # each of them names its column
            if not reading.delivered and not has & {"known_at", "at"}:
                raise SettingsError(
                    f"{reading.where} does not say when its scores were known: give columns.known_at, or "
                    'delivered = 2024-05-01 or { file_name = "scores_%Y%m%d.csv" }'
                )
            if bool(reading.lists) == bool(has & {"value", "label"}):
                raise SettingsError(
                    f"{reading.where}: expected either scores = [columns] or columns.value or .label"
                )
            if not reading.lists and "name" not in has:
                raise SettingsError(f'{reading.where}.columns lacks name: such as {{ value = "nps" }}')
        required = {c for c, column in TABLES[table].columns.items() if column.required}
        if table == "order_lines" and "orders" not in tables:
            required.add("channel")
        for column in sorted(required - has - spare):
            known = f'{{ value = "{"store" if column == "channel" else "..."}" }}'
            raise SettingsError(
                f"{reading.where}.columns lacks {column}, which {table} must have: name its raw column, "
                f"or give every row the same: {column} = {known}"
            )


def _check_encoding(reading: Reading, name: str, path: Path, there: tuple[str, ...], complete: bool) -> None:
    """SourceError if the columns' names are no text of the declared encoding, or look like another one's."""
    how = reading.format
    torn = any("\ud800" <= letter <= "\udfff" for column in there for letter in column)
    if how.kind_of(path) != "csv" or how.header is not None or (complete and not torn):
        return
    seen = encoding_of(path)
    if codecs.lookup(seen).name != how.encoding and not {seen, how.encoding} <= set(UTF8):
        raise SourceError(
            f'{reading.where}: {name} is not {how.encoding}; it looks like {seen}: say `encoding = "{seen}"`'
        )


def _titled(path: Path, how: Format, named: set[str]) -> str:
    """What to say of a file whose header is not its first line."""
    if how.kind_of(path) != "csv" or how.header is not None:
        return ""
    for line, record in enumerate(first_records(path, how, TITLES)):
        if line and named <= {cell.strip().lower() for cell in record}:
            return f". Its header stands {line} lines below: say `skip = {how.skip + line}`"
    return ""


def check_columns(reading: Reading) -> tuple[str, ...]:
    """All raw columns; those that are named must be in every file. SourceError with the nearest one."""
    found: dict[str, None] = {}
    named: list[tuple[str, str]] = [(v.where, c) for v in reading.values.values() for c in v.raw_columns]
    named += [
        (f"{reading.where}.{'attributes' if reading.table == 'customers' else 'scores'}", c)
        for c in reading.lists
    ]
    for match in (reading.returns, reading.cancelled):
        if isinstance(match, Match):
            named += [(match.where, c) for c in match.columns]
    for value in (reading.currency, reading.cancelled_at):
        named += [(value.where, c) for c in value.raw_columns] if value else []
    for name, path in reading.files:
        there = columns_of(path, reading.format)
        found.update(dict.fromkeys(there))
        lower = {c.lower() for c in there}
        if not all(c.isascii() for c in there):
            _check_encoding(reading, name, path, there, all(c.lower() in lower for _, c in named))
        for where, column in named:
            if column.lower() not in lower:
                shown = ", ".join(there[:40])
                raise SourceError(
                    f"{where}: {name} has no column {column!r}{nearest(column, there)} It has: {shown}"
                    f"{_titled(path, reading.format, {c.lower() for _, c in named})}"
                )
        if reading.delivered and reading.delivered[0] == "file_name":
            try:
                datetime.strptime(path.name, reading.delivered[1])  # noqa: DTZ007 - a day, in the shop's zone
            except ValueError:
                raise SourceError(
                    f"{reading.where}.delivered: {path.name} does not read as {reading.delivered[1]!r}"
                ) from None
    return tuple(found)

"""What a file has for a column of a rejected row, as it stands there: for that a person looks in the file.

A row keeps its file's record where a cell could not be read, or was read and is out of bounds; the mapping
says which of its fields a column was read from. Of a row that broke a rule of its table we have what was read
alone, and where a file may write that otherwise, we say so.
"""

import json
from collections.abc import Mapping
from typing import Any

from features import duck
from features.errors import PropensityError
from features.shop import Shop
from features.sources.corrected import readings_of
from features.sources.raw import literal
from features.sources.values import WRITTEN, Value
from features.tables import TABLES

READ = " (as read)"  # after a value that we have in our own way of writing it alone


def as_given(
    shop: Shop, source: str, table: str, row: Mapping[str, Any], file: str | None, column: str
) -> str:
    """The value of a column; '' if the file has none. row: of the rejects. file: whence it came."""
    try:
        given = json.loads(row.get("_given") or "{}")
    except ValueError:
        given = {}
    if not isinstance(given, dict):  # a record that is none: `_given` is its line
        given = {}
    unread = (given.get("unread") or {}).get(column)
    if unread is not None:
        return str(unread)
    record = given.get("file")
    if isinstance(record, dict) and column == "at" and given.get("at") is not None:
        return str(given["at"])
    if isinstance(record, dict) and (value := _value(shop, source, table, file, column)) is not None:
        return _from(record, value)
    read = row.get(column)
    if read is None:
        return ""
    types = {name: column.type for name, column in TABLES[table].columns.items()}
    otherwise = source in shop.mappings and types.get(column) in ("moment", "money")
    return f"{read}{READ}" if otherwise else str(read)


def _value(shop: Shop, source: str, table: str, file: str | None, column: str) -> Value | None:
    """How the mapping reads a column, of a file or of a row of it; None if it is computed from others."""
    try:
        readings = readings_of(shop, source, table)
    except PropensityError:  # a mapping that is broken by now
        return None
    with duck.connect() as connection:
        for reading, which in readings:
            here = f"SELECT coalesce({which}, false) FROM (SELECT {literal(file or '')} AS file)"
            if connection.execute(here).fetchall() == [(True,)]:
                value = reading.values.get(column)
                return value if value is not None and value.form in WRITTEN else None
    return None


def _from(record: Mapping[str, Any], value: Value) -> str:
    names = (value.given,) if value.form == "column" else value.given
    between = " * " if value.form == "product_of" else value.separator
    return between.join(str(record[name]) for name in names if record.get(name) is not None)

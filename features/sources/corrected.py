"""Corrected rows as a reading: canonical cells, and what could not be read before in its file's way."""

from collections.abc import Mapping
from dataclasses import replace

from features.shop import Shop
from features.sources.bounds import Bounds, last_of
from features.sources.declared import Reading
from features.sources.mapping import declaration
from features.sources.parsed import parsed
from features.sources.raw import Format, literal, quoted
from features.sources.values import Habits, Value, number
from features.tables import TABLES

_NO_CONDITIONS = {"aside": (), "reject": (), "note": ()}


def corrected(shop: Shop, source: str, table: str, cells: Mapping[str, str]) -> str:
    """SELECT of a source's corrected rows of a table from `_mended`, as `parsed` gives rows.

    cells: column of the table -> column of `_mended`, which has `unread` too: the columns of a row that were
    handed out as their file gives them, with commas between; and `known_from`, before which a row is not known,
    unless the source's files say when it was.
    """
    written = _written(shop, source, table)
    habits = Habits(shop.zone.key, None, ".", shop.currency, "end", ("",))
    values: dict[str, Value] = {}
    raw: list[str] = []
    for column, name in cells.items():
        x, type, file = quoted(name), TABLES[table].columns[column].type, written.get(column)
        value = Value(f"corrected.{column}", type, "column", column, habits)
        if file and type == "moment":
            of_file = replace(habits, zone=file.habits.zone, known=file.habits.known)
            value = replace(value, habits=of_file, day=file.day, formats=("iso", *file.formats))
        elif file and type not in ("text", "map"):
            given = f"(({number(x, file.habits)}) / {file.scale})::DECIMAL(38, 10)::VARCHAR"
            x = f"CASE WHEN list_contains(string_split(unread, ','), {literal(column)}) THEN coalesce({given}, {x}) ELSE {x} END"
        if type != "map":
            values[column] = value
            raw.append(f"{x} AS {quoted(column)}")
    reading = Reading(
        where=f"the corrected rows of {source}", table=table, files=(), format=Format(), values=values,
        habits=habits, currency=None, conditions=_NO_CONDITIONS, returns=False, cancelled=None,
        cancelled_at=None, add_up=False, once=False, lists=(), delivered=None, prefix="",
    )  # fmt: skip
    mended = f"""(SELECT {", ".join(raw)}, _file, _line FROM _mended
                  WHERE source = {literal(source)} AND "table" = {literal(table)})"""
    columns = ", ".join(quoted(c) for c in TABLES[table].columns)
    rows = f"SELECT {columns}, _file, _line, _note, _aside, _reject, _given FROM ({parsed(reading, mended, Bounds(last=last_of()))})"
    replaced = []
    if "attributes" in cells:
        replaced.append("CAST(TRY_CAST(_mended.attributes AS JSON) AS MAP(VARCHAR, VARCHAR)) AS attributes")
    if "known_at" in TABLES[table].columns and "known_at" not in written:
        since = "TRY_CAST(_mended.known_from AS TIMESTAMPTZ)"
        replaced.append(
            f"CASE WHEN p.known_at IS NOT NULL THEN greatest(p.known_at, {since}) END AS known_at"
        )
    if not replaced:
        return rows
    return f"SELECT p.* REPLACE ({', '.join(replaced)}) FROM ({rows}) p JOIN _mended USING (_file, _line)"


def _written(shop: Shop, source: str, table: str) -> dict[str, Value]:
    """How the source's files write the columns of a table, where one raw column gives it."""
    found: dict[str, Value] = {}
    if source in shop.mappings:
        for reading in declaration(shop, source, find=False).readings:
            if reading.table == table:
                plain = {c: v for c, v in reading.values.items() if v.form == "column"}
                found = {**plain, **found}
    return found

"""The sheet of rejects: what a row shows to whoever mends it, and how the sheet is read back.

Handed out, a column is as the log has it, and one that could not be read as its file gives it. What a line
has from its order (its customer, its time) is empty there, and follows the order: `along.py`. A record that
could not be read is handed out as its file has it, its columns empty, to be filled in.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import duckdb

from features import duck
from features.errors import UsageError
from features.ingestion.ingest import manifest_of
from features.ingestion.mended import MENDED, REJECT_ID
from features.ingestion.records import HEAD, RAW, RECORD, UNREAD, UNREADABLE, in_sheet
from features.moments import iso
from features.settings import Settings
from features.shop import Shop, shop_of
from features.sources.corrected import MORE, OF_ORDERS, PLACES, readings_of, says, zone_of
from features.sources.declared import MADE, Reading
from features.sources.loading import load
from features.sources.raw import literal, quoted
from features.sources.samples import sniff
from features.tables import OURS, PRECISION, TABLES

# Whether it is a return; `apart`: of a receipt under whose number goods were sold, and so one of its own;
# `stated`: of a customer's day of which a file of orders says what came back.
_RETURNS = r"""CASE WHEN row->>'$._fate.returns' = 'true' THEN
    CASE WHEN regexp_matches(row->>'$.order_id', ':return:\d{4}-\d\d-\d\d$') THEN 'apart'
         WHEN ends_with(row->>'$.order_id', ':return') THEN 'stated' ELSE 'true' END END"""


def files(settings: Settings) -> str:
    """SQL: every reject of the log in force. UsageError if there is no log."""
    manifest = manifest_of(settings)
    if "generation" not in manifest:
        raise UsageError("there is no customer log, so nothing was rejected: run `propensity ingest`")
    folder = settings.home / "rejects" / manifest["generation"]
    rows = f"read_parquet('{folder}/*.parquet', hive_partitioning = false)"
    return f"(SELECT * FROM {rows} WHERE source <> '{MENDED}')"


def exported(connection: duckdb.DuckDBPyConnection, settings: Settings, where: str) -> tuple[str, list[str]]:
    """SQL of rejects as they are handed out, with `unread` (the columns given in that way); their columns."""
    rows = f"(SELECT *, {REJECT_ID} AS reject FROM {files(settings)} WHERE {where})"
    present = {t for (t,) in connection.execute(f'SELECT DISTINCT "table" FROM {rows}').fetchall()}
    columns = dict.fromkeys(c for name, t in TABLES.items() if name in present for c in t.columns)
    columns = {c: None for c in columns if c not in OURS}
    if present & {*OF_ORDERS}:
        columns |= dict.fromkeys(MORE)
    given = {c: f"coalesce({UNREAD}->>'$.{c}', row->>'$.{c}')" for c in columns}
    if "order_id" in columns:  # a customer's day follows a correction of either
        day = r"\d{4}-\d\d-\d\d"
        of_day = (
            f"'^' || regexp_escape(source || ':' || (row->>'$.customer_id')) || ':{day}(:return(:{day})?)?$'"
        )
        made = f"regexp_matches(row->>'$.order_id', {of_day})"
        given["order_id"] = f"CASE WHEN ({made}) IS NOT TRUE THEN {given['order_id']} END"
    if "known_at" in columns:  # where it follows from `at`, it follows a correction of that
        at, day = _day(settings)
        broken = f"({UNREAD}->>'$.at') IS NOT NULL"
        given["at"] = f"""CASE WHEN NOT {broken} AND ({day} OR row->>'$.{PRECISION}' = 'day')
                               THEN {at} ELSE {given["at"]} END"""
        apart = "nullif(row->>'$.known_at', row->>'$.at')"  # where `at` is broken, `known_at` stands for it
        given["known_at"] = f"""CASE WHEN {broken} OR ({day}) IS NOT TRUE THEN coalesce(
            {UNREAD}->>'$.known_at', CASE WHEN {broken} THEN row->>'$.known_at' ELSE {apart} END) END"""
    if "order_lines" in present:  # what a line has from its order follows the order
        for c in ("customer_id", "at", "known_at"):
            given[c] = f"CASE WHEN NOT ({_of_order(settings, c)}) THEN {given[c]} END"
    if "cancelled" in columns:
        for c in PLACES:
            given[c] = f"coalesce({given[c]}, row->>'$._order.{c}', {_constants(settings, c)})"
        moment = "TRY_CAST(row->>'$._fate.at' AS TIMESTAMPTZ)"
        day = f"strftime({moment} AT TIME ZONE {_zone(settings)}, '%Y-%m-%d')"
        when = f"CASE WHEN row->>'$._fate.day' = 'true' THEN {day} END, row->>'$._fate.at', 'yes'"
        given["cancelled"] = f"""coalesce({UNREAD}->>'$.cancelled',
            CASE WHEN row->>'$._fate.cancelled' = 'true' THEN coalesce({when}) END)"""
    shown = "".join(f'{sql} AS "{in_sheet(c)}", ' for c, sql in given.items())  # none, if no row was rejected
    # What is empty was not read either; nor was anything of a record that could not be.
    missing = {
        c: f"{UNREADABLE} OR ({UNREAD}->>'$.{c}') IS NOT NULL OR ({sql}) IS NULL" for c, sql in given.items()
    }
    unread = _listed(missing)
    select = f"""(SELECT reject, source, "table", file, line + 1 AS "row", reason, {shown}
                         {RAW} AS "{RECORD}", {unread} AS unread, {_RETURNS} AS returns
                  FROM {rows})"""
    return select, list(columns)


def _listed(columns: Mapping[str, str]) -> str:
    """SQL: the columns of which a condition (SQL) holds, with commas between."""
    cases = (f"CASE WHEN {holds} THEN {literal(c)} END" for c, holds in columns.items())
    return f"concat_ws(',', {', '.join(cases) or 'NULL'})"


def _of_order(settings: Settings, column: str) -> str:
    """SQL over a reject: it is a line that does not say that itself (see `ingestion/along.py`)."""
    shop, of = shop_of(settings), "customer_id" if column == "customer_id" else "at"
    cases = [f"WHEN source = {literal(name)} THEN NOT {says(shop, name, of)}" for name in shop.mappings]
    lines = f"CASE {' '.join(cases)} ELSE false END" if cases else "false"
    return f"\"table\" = 'order_lines' AND coalesce({lines}, false)"


def _day(settings: Settings) -> tuple[str, str]:
    """SQL over a reject: its day, and whether it is one without a time, known when it was over."""
    zone = _zone(settings)
    local = f"(TRY_CAST(row->>'$.at' AS TIMESTAMPTZ) AT TIME ZONE {zone})"
    known = f"(TRY_CAST(row->>'$.known_at' AS TIMESTAMPTZ) AT TIME ZONE {zone})"
    return f"strftime({local}, '%Y-%m-%d')", f"({local} = {local}::DATE AND {known} = {local}::DATE + 1)"


def _zone(settings: Settings) -> str:
    """SQL over a reject: the zone of its times."""
    shop = shop_of(settings)
    record = "(TRY_CAST(row->>'$._given' AS JSON)->'file')"
    cases = [f"WHEN {which} THEN {zone_of(reading, record)}" for reading, which in _readings(shop, [*TABLES])]
    return f"(CASE {' '.join(cases)} ELSE {literal(shop.zone.key)} END)" if cases else literal(shop.zone.key)


def _constants(settings: Settings, column: str) -> str:
    """SQL over a reject that could not be read: what every row of its files has there, or null."""
    cases = [
        f"WHEN {UNREADABLE} AND {which} THEN {literal(reading.values[column].given)}"
        for reading, which in _readings(shop_of(settings), OF_ORDERS)
        if column in reading.values and reading.values[column].form == "value"
    ]
    return f"CASE {' '.join(cases)} END" if cases else "NULL"


def _readings(shop: Shop, tables: Sequence[str]) -> list[tuple[Reading, str]]:
    """The readings of all mappings, each with an SQL condition: a reject is of its files."""
    return [
        (reading, f'source = {literal(name)} AND "table" = {literal(table)} AND {which}')
        for name in shop.mappings
        for table in tables
        for reading, which in readings_of(shop, name, table)
    ]


def read(settings: Settings, path: Path, before: Sequence[Path], fresh: Path, since: datetime | None) -> None:
    """The CSV, in whichever dialect a spreadsheet left it, as parquet: text as it is; an empty cell is null.

    An id whose zeros a spreadsheet dropped (101 of 00101) is the one that was handed out: else the row
    would go to a customer whom nobody knows.
    Every row, in its place: `unchanged` if it came back as it was exported, `unread` as `exported` gives it,
    `typed`: the columns in which it came back otherwise,
    `known_from` (see `known_from`), null where the person says when it was known, which is `known_said`;
    `used`: features had been built.
    """
    connection = duck.connect()
    load(connection, "mended", [(path.name, path)], sniff(path))
    broken = connection.execute("SELECT _line + 1, _reject FROM mended_broken ORDER BY 1").fetchall()
    if broken:
        raise UsageError(f"{path}, row {broken[0][0]}: {broken[0][1]}")
    have = {name for name, *_ in connection.execute("DESCRIBE mended").fetchall()}
    if not {"reject", "source", "table"} <= have:
        raise UsageError(
            f"{path} lacks the columns reject, source and table: correct a file that "
            "`propensity rejects export` wrote, and leave those as they are"
        )
    known = f"SELECT {REJECT_ID} FROM {files(settings)}"
    if before:
        taken = f"read_parquet({[str(one) for one in before]}, union_by_name = true)"
        known += f" UNION ALL SELECT reject FROM {taken} WHERE reject IS NOT NULL"  # erased rows are empty
    strange = f"reject IS NULL OR reject NOT IN ({known})"
    row, unknown = connection.execute(
        f"SELECT min(_line) + 1, count(*) FROM mended WHERE {strange}"
    ).fetchall()[0]
    # They keep their places, and nothing else: they may be of people who were erased.
    emptied = ", ".join(f"{quoted(c)} = NULL" for c in sorted(have - {"table", "_file", "_line", "_more"}))
    connection.execute(f"UPDATE mended SET {emptied} WHERE {strange}")
    sheet, columns = exported(connection, settings, "true")
    connection.execute(f"CREATE TABLE sheet AS FROM {sheet}")  # long SQL, which is asked twice
    _check_columns(connection, path, have, {in_sheet(c) for c in columns})
    texts = {in_sheet(c) for t in TABLES.values() for c, column in t.columns.items() if column.type == "text"}
    zeros = ", ".join(f'{_with_zeros(c)} AS "{c}"' for c in map(in_sheet, columns) if c in have & texts)
    given = f"""(SELECT m.* {f"REPLACE ({zeros})" if zeros else ""}
                 FROM mended m LEFT JOIN sheet e ON e.reject = m.reject)"""
    same = " AND ".join(
        f'm."{c}" IS NOT DISTINCT FROM nullif(e."{c}", \'\')' for c in map(in_sheet, columns) if c in have
    )
    typed = _listed(
        {
            c: f"m.{quoted(in_sheet(c))} IS DISTINCT FROM nullif(e.{quoted(in_sheet(c))}, '')"
            for c in columns
            if in_sheet(c) in have
        }
    )
    said = "m.known_at IS DISTINCT FROM e.known_at" if {"known_at"} <= have & set(columns) else "false"
    since_then = f"CASE WHEN NOT ({said}) THEN {literal(iso(since))} END" if since else "NULL::VARCHAR"
    fresh.parent.mkdir(parents=True, exist_ok=True)
    connection.execute(
        f"""COPY (SELECT m.* EXCLUDE (_file, _line, _more), coalesce(e.unread, '') AS unread,
                         {typed} AS typed, e.returns AS returns,
                         {since_then} AS known_from, {said} AS known_said, {since is not None} AS used,
                         m.reject IS NULL OR e.reject IS NOT NULL AND {same or "true"} AS unchanged
                  FROM {given} m LEFT JOIN sheet e ON e.reject = m.reject ORDER BY _line)
            TO {literal(fresh)} (FORMAT parquet)"""
    )
    corrected = connection.execute(f"SELECT 1 FROM {literal(fresh)} WHERE NOT unchanged LIMIT 1").fetchall()
    connection.close()
    if unknown and not corrected:
        raise UsageError(
            f"{path}: {unknown} rows, the first of them row {row}, belong to no row that was rejected, and "
            "no other was corrected: export again; rows of your own come in through a source"
        )


# What a row of a sheet may do without: it follows from the others, or is what most rows have.
_FOLLOWS = {"known_at", "order_id", "line", "items", "discount", "coupon", "origin"}


def _check_columns(
    connection: duckdb.DuckDBPyConnection, path: Path, have: set[str], every: set[str]
) -> None:
    """UsageError if a column is gone that every row of a table needs: its rows would all lack it.

    have: the sheet's columns. every: those of a whole one.
    """
    rows = 'SELECT DISTINCT "table" FROM mended WHERE reject IS NOT NULL AND "table" IS NOT NULL'
    tables = [table for (table,) in connection.execute(rows).fetchall() if table in TABLES]
    needed = {
        in_sheet(c)
        for table in tables
        for c, column in TABLES[table].columns.items()
        if column.required
        and c not in _FOLLOWS | {MADE.get(table)}
        and not (table == "order_lines" and c in ("customer_id", "at"))  # which its order has
    }
    if lacking := sorted(needed - have):
        known = {*every, *HEAD, RECORD, "_file", "_line", "_more"}
        other = sorted(c for c in have - known if not c.startswith("column_"))
        raise UsageError(
            f"{path} has no column {', '.join(lacking)}"
            + (f", but {', '.join(other)}, which no sheet has" if other else "")
            + ": leave the names of the columns as `propensity rejects export` wrote them"
        )


def _with_zeros(column: str) -> str:
    """SQL: a cell of `m`; as it was handed out in `e`, if it differs by the zeros before a number alone."""
    given, handed = f'm."{column}"', f'e."{column}"'
    dropped = f"regexp_full_match({handed}, '0+[0-9]+') AND {given} = ltrim({handed}, '0')"
    return f"CASE WHEN {dropped} THEN {handed} ELSE {given} END"

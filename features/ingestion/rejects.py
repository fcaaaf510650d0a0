"""Rows that broke a contract: look at them, hand them out to be mended, take the mended ones in.

    rejects/<generation>/<source>.parquet   what the log in force did not take in; `mended` once it was
    rejects/taken/<number>-<sha>.parquet    mended rows as a person gave them back, each with its reject's id

Handed out, a column is as the log has it, and one that could not be read as its file gives it. Taken in, a
time may be written either way; a number that could not be read, or was empty, is one of its file (its decimal
sign, its scale). One typed over a number that was read may be written either way, if both mean the same: else
it is refused, as is an amount with more decimals than the currency has. Rows that come back as they went out
are no corrections.
What a line has from its order (its customer, its time) is empty there, and follows the order: `along.py`.
A record that could not be read is handed out as its file has it, its columns empty, to be filled in.

Mended rows are a source of their own, `mended`, under the same contracts; in the log it yields to the sources
of the shop, so a row that the shop's own files bring after all is there once. Its origin leads back to the
reject, and from there to the file and row.

When is a mended row known? Until features are built of a log, nobody has used what it lacked: then, when its
file says. Afterwards every snapshot up to the log's end was made without it, so it is known from that end on,
as the log stood when it was taken in: what was known before stays as it was. A `known_at` that the mapping
reads, or that the person gives, holds.

What a mended row does to its order: `additions.py`. Of several corrections of one reject the last one counts.
One that is no better is `refused` where it was taken: it never counts, so its reject waits, or stays mended
as an earlier correction has it.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from features import duck
from features.errors import UsageError
from features.files import locked, read_pointer, sha256
from features.ingestion.folding import NOT_MENDED
from features.ingestion.ingest import Count, Ingested, manifest_of, take, taken_of
from features.ingestion.mended import MENDED, REJECT_ID
from features.ingestion.offenders import at_fault, repeated
from features.ingestion.records import HEAD, RAW, RECORD, UNREAD, UNREADABLE, in_sheet
from features.ingestion.taken import corrections
from features.log import Log
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

NO_REJECT = "it belongs to no row that was rejected"


@dataclass(frozen=True)
class Reason:
    """How many rows of a table a source could not bring for a reason, and how many were mended."""

    source: str
    table: str
    reason: str
    rows: int
    mended: int


def reasons(settings: Settings) -> list[Reason]:
    """What was rejected and why, the most frequent first."""
    with_rejects = duck.connect()
    rows = with_rejects.execute(
        f"""SELECT source, "table", reason, count(*), count(*) FILTER (WHERE mended)
            FROM {_files(settings)} GROUP BY ALL ORDER BY 4 DESC, source, "table", reason"""
    ).fetchall()
    with_rejects.close()
    return [Reason(*row) for row in rows]


def export(settings: Settings, path: Path, source: str | None = None, table: str | None = None) -> int:
    """Write the rows that wait for mending as CSV; return how many.

    Correct the columns after `reason`, leave those before, and give the file to `take_in`. `row` is that of
    the source's file, from 1, a header left out.
    """
    connection = duck.connect()
    where = "NOT mended"
    for column, value in (("source", source), ("table", table)):
        if value is not None:
            where += f' AND "{column}" = {literal(value)}'
    exported, columns = _exported(connection, settings, where)
    names = ", ".join(f'"{c}"' for c in (*HEAD, *map(in_sheet, columns), RECORD))
    path.parent.mkdir(parents=True, exist_ok=True)
    (count,) = connection.execute(
        f"""COPY (SELECT {names} FROM {exported} ORDER BY source, "table", file, "row")
            TO {literal(path)} (HEADER, DELIMITER ',')"""
    ).fetchall()[0]
    connection.close()
    return int(count)


def take_in(settings: Settings, path: Path, dry_run: bool = False) -> Ingested:
    """Take mended rows into the log. The same file again changes nothing.

    A row that belongs to no reject (any more: its person was erased, or its file put right) is left out, and
    told in the account (`strangers`). UsageError if the file is not one that `export` wrote, or no other row
    of it was corrected.
    """
    folder = settings.home / "rejects" / "taken"
    shop = shop_of(settings)
    with locked(folder / ".lock"):
        before = taken_of(settings)
        sha = sha256(path)[:16]
        if same := [one for one in before if one.stem.endswith(sha)]:
            done = take(settings, [corrections(shop, before)])
            return replace(done, account=_summed((*done.account, *_refused(same[0], _waiting(settings)))))
        fresh = folder / f"{len(before) + 1:06}-{sha}.parquet"
        writing = folder / f".{fresh.name}"
        try:
            _read(settings, path, before, writing, known_from(settings))
            writing.rename(fresh)
            # Tried first: a correction that is no better must not push an earlier one out of the log.
            done = tried = take(settings, [corrections(shop, [*before, fresh])], dry_run=True)
            if reasons := {line: why for file, line, why in tried.in_vain if file == fresh.stem}:
                rows = pq.read_table(fresh)
                column = pa.array([reasons.get(line) for line in range(len(rows))], pa.string())
                pq.write_table(rows.append_column("refused", column), fresh)
            if reasons or not dry_run:
                done = take(settings, [corrections(shop, [*before, fresh])], dry_run=dry_run)
            account = _summed((*done.account, *_refused(fresh)))
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
        finally:
            writing.unlink(missing_ok=True)
        if dry_run:
            fresh.unlink()
        others = (s for s in done.samples if s.file != fresh.stem)
        named = (
            replace(s, file=path.name, reason=_told(s.table, s.reason))
            for s in tried.samples
            if s.file == fresh.stem
        )
        return replace(done, account=account, samples=(*named, *others))


def _told(table: str, reason: str) -> str:
    """A reason as whoever mends reads it: with the export's names of columns."""
    for column in at_fault(table, reason):
        reason = re.sub(rf"\b{column}\b", in_sheet(column), reason, count=1)
    return reason


def _summed(account: Sequence[Count]) -> tuple[Count, ...]:
    """One count of rows that went one way for one reason."""
    rows: Counter[Count] = Counter()
    for count in account:
        rows[replace(count, rows=0)] += count.rows
    return tuple(replace(count, rows=n) for count, n in rows.items())


def _waiting(settings: Settings) -> set[str]:
    """The rejects that are not mended."""
    with duck.connect() as connection:
        rows = f"SELECT {REJECT_ID} FROM {_files(settings)} WHERE NOT mended"
        return {reject for (reject,) in connection.execute(rows).fetchall()}


def _refused(taken: Path, waiting: set[str] | None = None) -> list[Count]:
    """The corrections of a taken file that were no better, as an account has them.

    waiting: count those of these rejects alone; another sheet may have mended the others since.
    """
    rows = pq.read_table(taken).to_pylist()
    of = [r for r in rows if r.get("refused") and (waiting is None or r["reject"] in waiting)]
    kinds = Counter((r["table"], _told(r["table"], r["refused"])) for r in of)
    kinds.update((r["table"] or "", NO_REJECT) for r in rows if r["reject"] is None)
    return [
        Count(table, taken.stem, False, NOT_MENDED + why, n, True, MENDED)
        for (table, why), n in sorted(kinds.items())
    ]


def strangers(done: Ingested) -> int:
    """How many rows of the file belong to no reject."""
    return sum(count.rows for count in done.account if count.what == NOT_MENDED + NO_REJECT)


def mended_products(done: Ingested) -> int:
    """How many rows of catalogues were mended, in all."""
    return sum(c.rows for c in done.account if (c.source, c.table, c.accepted) == (MENDED, "products", True))


def in_vain(done: Ingested) -> int:
    """How many corrections were no better; not those whose row the shop's own files brought meanwhile."""
    return sum(
        count.rows
        for count in done.account
        if count.what.startswith(NOT_MENDED)
        and count.what != NOT_MENDED + NO_REJECT
        and not repeated(count.what.removeprefix(NOT_MENDED))
    )


def _files(settings: Settings) -> str:
    """SQL: every reject of the log in force. UsageError if there is no log."""
    manifest = manifest_of(settings)
    if "generation" not in manifest:
        raise UsageError("there is no customer log, so nothing was rejected: run `propensity ingest`")
    folder = settings.home / "rejects" / manifest["generation"]
    rows = f"read_parquet('{folder}/*.parquet', hive_partitioning = false)"
    return f"(SELECT * FROM {rows} WHERE source <> '{MENDED}')"


def _exported(connection: duckdb.DuckDBPyConnection, settings: Settings, where: str) -> tuple[str, list[str]]:
    """SQL of rejects as they are handed out, with `unread` (the columns given in that way); their columns."""
    rows = f"(SELECT *, {REJECT_ID} AS reject FROM {_files(settings)} WHERE {where})"
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


def with_commas(settings: Settings, source: str | None = None) -> list[str]:
    """The mappings, or the one, of which files write 12,50 for what the log has as 12.50."""
    shop = shop_of(settings)
    all = [(name, r) for name in shop.mappings for table in TABLES for r, _ in readings_of(shop, name, table)]
    commas = (name for name, r in all if "," in {v.habits.decimal for v in r.values.values()})
    return [name for name in dict.fromkeys(commas) if source in (None, name)]


def known_from(settings: Settings) -> datetime | None:
    """From when on a row that is taken in now is known; None: from when its file says."""
    built = read_pointer(settings.home / "snapshots" / "CURRENT") is not None
    return Log.open(settings).complete_until if built else None


def _read(
    settings: Settings, path: Path, before: Sequence[Path], fresh: Path, since: datetime | None
) -> None:
    """The CSV, in whichever dialect a spreadsheet left it, as parquet: text as it is; an empty cell is null.

    An id whose zeros a spreadsheet dropped (101 of 00101) is the one that was handed out: else the row
    would go to a customer whom nobody knows.
    Every row, in its place: `unchanged` if it came back as it was exported, `unread` as `_exported` gives it,
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
    known = f"SELECT {REJECT_ID} FROM {_files(settings)}"
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
    exported, columns = _exported(connection, settings, "true")
    _check_columns(connection, path, have, {in_sheet(c) for c in columns})
    texts = {in_sheet(c) for t in TABLES.values() for c, column in t.columns.items() if column.type == "text"}
    zeros = ", ".join(f'{_with_zeros(c)} AS "{c}"' for c in map(in_sheet, columns) if c in have & texts)
    given = f"""(SELECT m.* {f"REPLACE ({zeros})" if zeros else ""}
                 FROM mended m LEFT JOIN {exported} e ON e.reject = m.reject)"""
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
                  FROM {given} m LEFT JOIN {exported} e ON e.reject = m.reject ORDER BY _line)
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

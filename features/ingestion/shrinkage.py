"""Rows that a source gave the log before and gives no more, for a file vanished or was cut off; and rows that
it gives only now although they are of a time of which the log had been complete.

The log is what the files say, for files are corrected on purpose too; so this is told, and nothing is kept.
A row that was mended is its source's: once the file has that row no more, or another mistake in it, the
correction mends nothing, and the row leaves the log as well.
What is counted are rows, not the numbers that we give them: those follow a row's place in its file.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from features import duck
from features.ingestion.canonical import names
from features.ingestion.mended import INBOX, MENDED, ORDER
from features.ingestion.parts import Part
from features.ingestion.refusals import GONE, OTHERWISE
from features.log import DERIVED_TAGS, LEDGER
from features.moments import iso
from features.shop import Shop
from features.sources.declared import MADE
from features.sources.derived import EVENTS
from features.sources.mapping import declaration
from features.sources.raw import literal
from features.tables import TABLES

# SQL: a correction does not count for the log has its row; it is rejected, and its reject waits again.
_HAS_IT = f"starts_with(reason, 'the same ') AND NOT ends_with(reason, '{OTHERWISE}')"
_WAITS = f"NOT ({_HAS_IT}) AND reason <> '{GONE}'"


@dataclass(frozen=True)
class Shrunk:
    """How many rows of a table a source gives no more; `since`: the shop's day of the first, if dated.

    mended: how many of them had been mended.
    """

    source: str
    table: str
    rows: int
    since: str | None
    mended: int = 0


@dataclass(frozen=True)
class Late:
    """Rows of a table, new and known before `until`, where the log ended: of a source that does not say when
    its rows came. `since`: the shop's day of the first."""

    source: str
    table: str
    rows: int
    since: str
    until: datetime


@dataclass(frozen=True)
class Mendings:
    """The corrections of a generation: their part, and its rejects, which tell which of them do not count."""

    folder: Path | None
    rejects: Path

    def of_source(self, source: str, taken: Sequence[Path]) -> dict[str, str]:
        """Table -> SQL of the mended rows of a source that the log has; also if another source has them too.

        With `_f` and `_l`, where they are in the files of mended rows, `taken`. None without rejects: a home
        may be restored without them.
        """
        if not (self.folder and (self.folder / "part.json").exists() and taken and self.told.exists()):
            return {}
        part = Part.open(self.folder)
        its = f"""(SELECT parse_filename(filename, true) AS _f, file_row_number AS _l
                   FROM read_parquet({[str(one) for one in taken]}, filename = true, file_row_number = true,
                                     union_by_name = true) WHERE source = {literal(source)})"""
        no_more = f"NOT ({_HAS_IT}) OR ends_with(reason, {literal(f' {source}')})"
        return {
            name: f"""(FROM {_rows(part.path(name))} POSITIONAL JOIN
                             (SELECT file AS _f, line AS _l FROM {_rows(part.origins(name))})
                       SEMI JOIN {its} USING (_f, _l)
                       ANTI JOIN ({self.rejected(name, no_more)}) USING (_f, _l))"""
            for name in part.tables
            if any(table == name and file for table, file, *_ in part.account)
        }

    @property
    def told(self) -> Path:
        """The corrections that do not count."""
        return self.rejects / f"{MENDED}.parquet"

    def rejected(self, table: str, which: str) -> str:
        """SQL: where those stand, of a table, of which SQL holds."""
        if not self.told.exists():
            return "SELECT NULL::VARCHAR AS _f, NULL::BIGINT AS _l WHERE false"
        return f"""SELECT file AS _f, line AS _l FROM {_rows(self.told)}
                   WHERE "table" = '{table}' AND ({which})"""


def changed(
    shop: Shop,
    parts: Iterable[Part],
    before: Mapping[str, Path],
    until: datetime | None,
    mendings: tuple[Mendings, Mendings],
    taken: Sequence[Path],
    memory: int,
    work: Path,
) -> tuple[tuple[Shrunk, ...], tuple[Late, ...]]:
    """The tables of which the parts, and the rows that mend them, lack rows that were there before; and those
    of which they have more of the time before `until`, where the log ended.

    Tables that are derived from others say nothing of their own.
    before: source -> the folder of its part; one that is gone tells nothing. mendings: those before, and
    those now. taken: the files of mended rows. work: for what exceeds memory.
    """
    fewer: list[Shrunk] = []
    more: list[Late] = []
    connection = duck.connect(memory=memory, folder=work)
    for part in parts:
        place = before.get(part.source)
        ours = part.source in (MENDED, INBOX, DERIVED_TAGS, LEDGER)
        if ours or place is None or place == part.folder or not (place / "part.json").exists():
            continue
        old = Part.open(place)
        was, now = (of.of_source(part.source, taken) for of in mendings)
        untimed = _untimed(shop, part.source)
        for name in TABLES:
            given = name in old.tables and any(table == name and file for table, file, *_ in old.account)
            if not given and name not in was or _same(old, part, name) and name not in was:
                continue
            had = [f"SELECT *, 0 AS _m, 0 AS _w FROM {_rows(old.path(name))}"] if given else []
            if name in was:
                waits = f"SELECT *, 1 AS _w FROM ({mendings[1].rejected(name, _WAITS)})"
                rows = f"{was[name]} LEFT JOIN ({waits}) USING (_f, _l)"
                had.append(f"SELECT * EXCLUDE (_f, _l) REPLACE (coalesce(_w, 0) AS _w), 1 AS _m FROM {rows}")
            has = [f"FROM {_rows(part.path(name))}"] if name in part.tables else []
            has += [f"FROM {now[name]}"] if name in now else []
            lost = _lost(connection, shop, part.source, name, had, has)
            if lost.rows:
                fewer.append(lost)
            if given and until is not None and name in untimed and name in part.tables:
                then = f"WHERE known_at < '{iso(until)}'"
                fresh = [f"SELECT *, 0 AS _m, 0 AS _w FROM {_rows(part.path(name))} {then}"]
                come = _lost(connection, shop, part.source, name, fresh, had)
                if come.rows and come.since:
                    more.append(Late(part.source, name, come.rows, come.since, until))
    connection.close()
    return tuple(fewer), tuple(more)


def _untimed(shop: Shop, source: str) -> set[str]:
    """The tables of events of which no file of a mapping says when its rows were known, or came."""
    if source not in shop.mappings:
        return set()
    readings = declaration(shop, source, find=False).readings
    timed = {r.table for r in readings if r.delivered or "known_at" in r.values}
    return {r.table for r in readings if "at" in r.values} & {*EVENTS, "order_lines"} - timed


def _same(old: Part, part: Part, table: str) -> bool:
    return part.tables.get(table) == old.tables.get(table)


def _lost(
    connection: duckdb.DuckDBPyConnection,
    shop: Shop,
    source: str,
    table: str,
    had: Sequence[str],
    has: Sequence[str],
) -> Shrunk:
    """How many rows there were and are no more.

    had, has: SQL of those before and now; before with `_m`, 1 of one that was mended, and `_w` if that waits
    again: then it left, whatever came in its place.
    """
    thing = _thing(connection, source, table, [*had, *has])
    day = f"""("at" AT TIME ZONE '{shop.zone.key}')::DATE::VARCHAR"""
    at = day if "at" in TABLES[table].columns else "NULL::VARCHAR"
    many = "least(1, {})" if table == "orders" else "{}"  # several rows may add to one order
    n, m, w = (many.format(sql) for sql in ("count(*)", "sum(_m)", "sum(_w)"))
    rest = " UNION ALL BY NAME ".join(has) or f"FROM ({had[0]}) LIMIT 0"
    rows, since, of_them = connection.execute(
        f"""SELECT coalesce(sum(lost), 0)::BIGINT, min(since), coalesce(sum(least(m, lost)), 0)::BIGINT
            FROM (SELECT greatest(b.n - coalesce(a.n, 0), w) AS lost, m, since
                  FROM (SELECT {thing} AS thing, {n} AS n, {m} AS m, {w} AS w, min({at}) AS since
                        FROM ({" UNION ALL BY NAME ".join(had)}) GROUP BY thing) b
                       LEFT JOIN (SELECT {thing} AS thing, {n} AS n FROM ({rest}) GROUP BY thing) a
                       USING (thing))
            WHERE lost > 0"""
    ).fetchall()[0]
    return Shrunk(source, table, rows, since, of_them)


def _thing(connection: duckdb.DuckDBPyConnection, source: str, table: str, rows: Sequence[str]) -> str:
    """SQL: what a row is of, whatever number we gave it: of goods their order, of others the key.

    An event whose id follows from its place in a file is what it says.
    """
    if table == "orders":
        return ORDER
    if table == "order_lines":  # a return is called otherwise where goods were sold under its id
        return r"regexp_replace(order_id, ':return(:\d{4}-\d\d-\d\d)?$', '')"
    key = _text(TABLES[table].key)
    if (id := MADE.get(table)) is None:
        return key
    have = [{c for c, *_ in connection.execute(f"DESCRIBE {each}").fetchall()} for each in rows]
    said = [c for c in TABLES[table].columns if c not in ("known_at", id) and all(c in h for h in have)]
    made = f"starts_with({id}, {literal(f'{source}:')}) AND regexp_matches({id}, ':[0-9]+$')"
    return f"CASE WHEN {made} THEN {_text(said)} ELSE {key} END"


def _text(columns: Iterable[str]) -> str:
    each = ", ".join(f"coalesce({names([c])}::VARCHAR, '')" for c in columns)
    return f"concat_ws(chr(31), {each})"


def _rows(path: Path) -> str:
    return f"read_parquet('{path}', hive_partitioning = false)"

"""A part without those who were erased: their rows are counted as `erased`, and nothing of them is kept.

A link that came since, between one of them and somebody who was not erased, is refused: that one stays whole.
"""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from features import duck
from features.ingestion.canonical import ORIGIN, REJECTS, names, save
from features.ingestion.parts import Account, Part, moved, place_of
from features.ingestion.whose import of_erased
from features.sources.raw import literal
from features.tables import TABLES
from features.tombstones import Tombstones

ERASED = "erased"  # what the account says of their rows
# Why a link is refused of which one side is erased: who lives must not vanish by a slip in a file of links.
LINKED = "it makes somebody the same person as one who was erased"
# SQL of an identity that says no more than its two ids: the source's own customer, or an event's.
_OWN = """(file IS NULL OR source_id = customer_id OR source || ':' || source_id = customer_id)"""


def erased_in(part: Part, tombstones: Tombstones, memory: int) -> tuple[set[str], set[tuple[str, str]]]:
    """The customer ids and the (source, source id) in a part that are of somebody erased.

    A source's own customer is erased with that source's id, and the other way round. A link of hers to
    somebody else leads no further: who was linked to her when she was erased has tombstones, too.
    """
    if not tombstones:
        return set(), set()
    connection = duck.connect(memory=memory)
    found: set[str] = set()
    for table in _personal(part.tables):
        ids = connection.execute(f"SELECT DISTINCT customer_id FROM {_rows(part.path(table))}").fetchall()
        found |= tombstones.customers(id for (id,) in ids)
    gone: set[tuple[str, str]] = set()
    if "identities" in part.tables:
        rows = connection.execute(
            f"""SELECT source, source_id, customer_id, {_OWN} FROM {_rows(part.path("identities"))}
                POSITIONAL JOIN {_rows(part.origins("identities"))}"""
        ).fetchall()
        gone = tombstones.identities((source, id) for source, id, *_ in rows)
        own, size = [row[:3] for row in rows if row[3]], -1
        while size < len(found) + len(gone):
            size = len(found) + len(gone)
            gone |= {(source, id) for source, id, customer in own if customer in found}
            found |= {customer for source, id, customer in own if (source, id) in gone}
    connection.close()
    return found, gone


def obeying(part: Part, tombstones: Tombstones, home: Path, scratch: Path, memory: int) -> Part:
    """The part as the tombstones want it, in its place in `home`; the part itself if it is there already."""
    place = place_of(home, part.source, part.facts["stamp"], tombstones.digest)
    if part.folder == place:
        return part
    if place.exists():
        return Part.open(place)
    folder = scratch / f"obeying-{part.source}"
    folder.mkdir(parents=True)
    (gone, pairs), account = erased_in(part, tombstones, memory), part.account
    connection = duck.connect(memory=memory)
    connection.register("gone", pa.table({"customer_id": pa.array(sorted(gone), pa.string())}))
    ids = [pa.array(column, pa.string()) for column in zip(*sorted(pairs), strict=True)] or [pa.array([])] * 2
    connection.register("gone_ids", pa.table(dict(zip(("source", "source_id"), ids, strict=True))))
    links = _refused(connection, part, account) if "identities" in part.tables and (gone or pairs) else None
    for table in part.tables:
        if table in _personal(part.tables) and (gone or pairs):
            here = f"{_rows(part.path(table))} d POSITIONAL JOIN {_rows(part.origins(table))} o"
            hers = _HERS if table == "identities" else "d.customer_id IN (FROM gone)"
            fates = connection.execute(
                f"SELECT o.file, coalesce(o.note, ''), count(*) FROM {here} WHERE {hers} GROUP BY ALL"
            ).fetchall()
            for file, note, rows in fates:
                moved(account, (table, file, True, note, False), ERASED, rows, aside=True)
            refused = bool(links) and table == "identities"
            if fates or refused:
                schema = pq.read_schema(part.path(table)).remove_metadata()
                columns = ", ".join(f'd."{c}"' for c in schema.names)
                kept = f"NOT ({hers})" + (f" AND NOT ({_ONE_SIDE})" if refused else "")
                save(
                    connection.sql(f"SELECT {columns}, o.file, o.line, o.note FROM {here} WHERE {kept}"),
                    (folder / f"{table}.parquet", schema),
                    (folder / "origins" / f"{table}.parquet", ORIGIN),
                )
                continue
        for path in (part.path(table), part.origins(table)):
            target = folder / path.relative_to(part.folder)
            target.parent.mkdir(exist_ok=True)
            os.link(path, target)
    _rejects(connection, part, tombstones, folder, account, links)
    connection.close()
    facts = {key: part.facts[key] for key in ("stamp", "inputs", "starts_at", "complete_until")}
    sealed = Part.seal(folder, place, facts, account)
    shutil.rmtree(folder, ignore_errors=True)
    return sealed


# SQL over a row `d` of `identities`: which of its sides is erased.
_IDS, _CUSTOMER = "(d.source, d.source_id) IN (FROM gone_ids)", "d.customer_id IN (FROM gone)"
_HERS, _ONE_SIDE = f"{_IDS} AND {_CUSTOMER}", f"({_IDS}) <> ({_CUSTOMER})"


def _refused(connection: duckdb.DuckDBPyConnection, part: Part, account: Account) -> str | None:
    """SQL of the rejects that links of one erased side become, without that side; None if there are none."""
    here = f"{_rows(part.path('identities'))} d POSITIONAL JOIN {_rows(part.origins('identities'))} o"
    fates = connection.execute(
        f"SELECT o.file, coalesce(o.note, ''), count(*) FROM {here} WHERE {_ONE_SIDE} GROUP BY ALL"
    ).fetchall()
    for file, note, rows in fates:
        moved(account, ("identities", file, True, note, False), LINKED, rows)
    row = f"""to_json(struct_pack(source := d.source, source_id := CASE WHEN NOT {_IDS} THEN d.source_id END,
                                  customer_id := CASE WHEN NOT {_CUSTOMER} THEN d.customer_id END,
                                  "at" := d."at", known_at := d.known_at))::VARCHAR"""
    rejects = f"""SELECT {literal(part.source)} AS source, 'identities' AS "table", o.file, o.line,
                         '{LINKED}' AS reason, {row} AS row, false AS mended FROM {here} WHERE {_ONE_SIDE}"""
    return rejects if fates else None


def _rejects(
    connection: duckdb.DuckDBPyConnection,
    part: Part,
    tombstones: Tombstones,
    folder: Path,
    account: Account,
    more: str | None,
) -> None:
    """Rejected rows that name her go too. more: SQL of rejects that come to them, or None."""
    rejects = _rows(part.rejects)
    hers = of_erased(connection, rejects, tombstones)
    if hers is None and more is None:
        os.link(part.rejects, folder / "rejects.parquet")
        return
    hers = hers or "false"
    fates = connection.execute(
        f"""SELECT "table", file, reason, count(*) FROM {rejects} WHERE {hers} GROUP BY ALL"""
    ).fetchall()
    for table, file, reason, rows in fates:
        moved(account, (table, file, False, reason, False), ERASED, rows, aside=True)
    kept = f"SELECT {names(REJECTS.names)} FROM {rejects} WHERE NOT ({hers})"
    save(
        connection.sql(f"{kept} UNION ALL {more}" if more else kept),
        (folder / "rejects.parquet", REJECTS),
        empty=True,
    )


def _personal(tables: Iterable[str]) -> list[str]:
    return [table for table in tables if "customer_id" in TABLES[table].columns]


def _rows(path: Path) -> str:
    return f"read_parquet('{path}', hive_partitioning = false)"

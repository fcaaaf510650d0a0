"""A part without those who were erased: their rows are counted as `erased`, and nothing of them is kept."""

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
from features.tables import TABLES
from features.tombstones import Tombstones

ERASED = "erased"  # what the account says of their rows


def erased_in(part: Part, tombstones: Tombstones, memory: int) -> set[str]:
    """The customer ids in a part that belong to somebody erased, under whatever ids she comes now."""
    if not tombstones:
        return set()
    connection = duck.connect(memory=memory)
    found: set[str] = set()
    for table in _personal(part.tables):
        ids = connection.execute(f"SELECT DISTINCT customer_id FROM {_rows(part.path(table))}").fetchall()
        found |= tombstones.customers(id for (id,) in ids)
    if "identities" in part.tables:
        rows = connection.execute(
            f"SELECT source, source_id, customer_id FROM {_rows(part.path('identities'))}"
        ).fetchall()
        gone = tombstones.identities((source, id) for source, id, _ in rows)
        more = True
        while more:  # an id leads to its identities, those to other ids
            gone |= {(source, id) for source, id, customer in rows if customer in found}
            more = bool(linked := {c for source, id, c in rows if (source, id) in gone} - found)
            found |= linked
    connection.close()
    return found


def obeying(part: Part, tombstones: Tombstones, home: Path, scratch: Path, memory: int) -> Part:
    """The part as the tombstones want it, in its place in `home`; the part itself if it is there already."""
    place = place_of(home, part.source, part.facts["stamp"], tombstones.digest)
    if part.folder == place:
        return part
    if place.exists():
        return Part.open(place)
    folder = scratch / f"obeying-{part.source}"
    folder.mkdir(parents=True)
    gone, account = erased_in(part, tombstones, memory), part.account
    connection = duck.connect(memory=memory)
    connection.register("gone", pa.table({"customer_id": pa.array(sorted(gone), pa.string())}))
    for table in part.tables:
        if table in _personal(part.tables) and gone:
            here = f"{_rows(part.path(table))} d POSITIONAL JOIN {_rows(part.origins(table))} o"
            fates = connection.execute(
                f"""SELECT o.file, coalesce(o.note, ''), count(*) FROM {here}
                    WHERE d.customer_id IN (FROM gone) GROUP BY ALL"""
            ).fetchall()
            for file, note, rows in fates:
                moved(account, (table, file, True, note, False), ERASED, rows, aside=True)
            if fates:
                schema = pq.read_schema(part.path(table)).remove_metadata()
                columns = ", ".join(f'd."{c}"' for c in schema.names)
                save(
                    connection.sql(
                        f"""SELECT {columns}, o.file, o.line, o.note FROM {here}
                            WHERE d.customer_id NOT IN (FROM gone)"""
                    ),
                    (folder / f"{table}.parquet", schema),
                    (folder / "origins" / f"{table}.parquet", ORIGIN),
                )
                continue
        for path in (part.path(table), part.origins(table)):
            target = folder / path.relative_to(part.folder)
            target.parent.mkdir(exist_ok=True)
            os.link(path, target)
    _rejects(connection, part, tombstones, folder, account)
    connection.close()
    facts = {key: part.facts[key] for key in ("stamp", "inputs", "starts_at", "complete_until")}
    sealed = Part.seal(folder, place, facts, account)
    shutil.rmtree(folder, ignore_errors=True)
    return sealed


def _rejects(
    connection: duckdb.DuckDBPyConnection, part: Part, tombstones: Tombstones, folder: Path, account: Account
) -> None:
    """Rejected rows that name her go too."""
    rejects = _rows(part.rejects)
    hers = of_erased(connection, rejects, tombstones)
    if hers is None:
        os.link(part.rejects, folder / "rejects.parquet")
        return
    fates = connection.execute(
        f"""SELECT "table", file, reason, count(*) FROM {rejects} WHERE {hers} GROUP BY ALL"""
    ).fetchall()
    for table, file, reason, rows in fates:
        moved(account, (table, file, False, reason, False), ERASED, rows, aside=True)
    save(
        connection.sql(f"SELECT {names(REJECTS.names)} FROM {rejects} WHERE NOT ({hers})"),
        (folder / "rejects.parquet", REJECTS),
        empty=True,
    )


def _personal(tables: Iterable[str]) -> list[str]:
    return [table for table in tables if "customer_id" in TABLES[table].columns]


def _rows(path: Path) -> str:
    return f"read_parquet('{path}', hive_partitioning = false)"

"""People who were erased taken out of one file, of the corrections or of a build, for `erasure.py`.

Each file is replaced at once by one without them; what has nobody of them is left as it is.
"""

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features import duck
from features.files import locked, write_atomically
from features.ingestion.ingest import manifest_of, taken_of
from features.ingestion.parts import Part
from features.ingestion.whose import corrections_of, of_erased, rejects_of
from features.log import Log
from features.settings import Settings
from features.shop import shop_of
from features.tombstones import Tombstones


def customers_in(path: Path) -> Iterator[str]:
    """The customer ids in a file, each once a row group; none of one that is gone."""
    if not path.exists():
        return
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            column = file.read_row_group(group, ["customer_id"])["customer_id"]
            yield from pc.unique(column.cast(pa.string()).drop_null()).to_pylist()


def without(path: Path, tombstones: Tombstones, keep: bool = False) -> int:
    """Replace a file by one without them, at once; return how many rows went. keep: only count."""
    if not path.exists():  # of a job that was done meanwhile
        return 0
    names = [n for n in ("customer_id", "canonical_id") if n in pq.read_schema(path).names]
    if not names:
        return 0
    gone = 0
    with pq.ParquetFile(path) as file:
        groups, schema = [], file.schema_arrow
        for number in range(file.num_row_groups):
            group = file.read_row_group(number, names)
            hers = pa.array([False] * len(group), pa.bool_())
            for name in names:
                ids = group[name].cast(pa.string())
                erased = pa.array(sorted(tombstones.customers(pc.unique(ids).to_pylist())), pa.string())
                hers = pc.or_(hers, pc.is_in(ids, erased).combine_chunks())
            groups.append(pc.invert(hers))
            gone += pc.sum(hers).as_py() or 0
        if keep or not gone:
            return gone
        fresh = path.with_name(f".{path.name}.erasing")
        with pq.ParquetWriter(fresh, schema, compression="zstd") as writer:
            for number, kept in enumerate(groups):
                rows = file.read_row_group(number).filter(kept)
                if len(rows):
                    writer.write_table(rows)
    _settle(fresh, path)
    return gone


def _settle(fresh: Path, path: Path) -> None:
    with fresh.open("rb") as file:
        os.fsync(file.fileno())
    fresh.replace(path)


def rejects_without(path: Path, tombstones: Tombstones, keep: bool = False) -> int:
    """The same for rejected rows, by the customer that they name."""
    with duck.connect() as connection:
        rows = f"read_parquet('{path}')"
        hers = of_erased(connection, rows, tombstones)
        if hers is None:
            return 0
        (gone,) = connection.execute(f"SELECT count(*) FROM {rows} WHERE {hers}").fetchall()[0]
        if not keep:
            rest = connection.sql(f"SELECT * FROM {rows} WHERE NOT ({hers})")
            fresh = path.with_name(f".{path.name}.erasing")
            pq.write_table(rest.to_arrow_table().cast(pq.read_schema(path)), fresh)
            _settle(fresh, path)
    return int(gone)


def corrections_without(settings: Settings, tombstones: Tombstones, keep: bool = False) -> int:
    """Empty their mended rows; those stay as rows, for the others are known by their place in the file."""
    emptied = 0
    for path, hers in theirs(settings, tombstones):
        emptied += len(hers)
        if not keep:
            rows = pq.read_table(path)
            gone = pa.array(np.isin(np.arange(len(rows)), hers))
            for place, name in enumerate(rows.column_names):
                rows = rows.set_column(place, name, pc.if_else(gone, None, rows[name]))
            fresh = path.with_name(f".{path.name}.erasing")
            pq.write_table(rows, fresh)
            _settle(fresh, path)
    return emptied


def theirs(settings: Settings, tombstones: Tombstones) -> list[tuple[Path, list[int]]]:
    """The files of corrections with rows of people who were erased, and which rows those are."""
    taken = taken_of(settings)
    if not taken:
        return []
    rejected = [p for p in (settings.home / "rejects").glob("*/*.parquet") if p.parent.name != "taken"]
    keys = rejects_of([*rejected, *(part.rejects for part in parts_of(settings))], tombstones)
    shop = shop_of(settings)
    found = ((path, corrections_of(path, shop, keys, tombstones)) for path in taken)
    return [(path, hers) for path, hers in found if hers]


def parts_of(settings: Settings) -> list[Part]:
    """The parts of the log in force; none without a log."""
    sources = manifest_of(settings)["sources"]
    return [Part.open(settings.home / "parts" / name / facts["part"]) for name, facts in sources.items()]


def feast_without(settings: Settings, tombstones: Tombstones) -> None:
    """Rows that were materialised for other teams' clients; their keys hold the customer's id."""
    path = settings.home / "feast" / "online.sqlite"
    if not path.exists():
        return
    from feast.infra.key_encoding_utils import deserialize_entity_key

    with locked(settings.home / "feast" / "lock"), closing(sqlite3.connect(path, timeout=60)) as db:
        db.execute("pragma secure_delete = on").fetchall()
        tables = [name for (name,) in db.execute("select name from sqlite_master where type = 'table'")]
        for table in tables:
            columns = {row[1] for row in db.execute(f'pragma table_info("{table}")')}
            if "entity_key" not in columns:
                continue
            keys = [key for (key,) in db.execute(f'select distinct entity_key from "{table}"')]
            owners = {key: deserialize_entity_key(key, 3).entity_values[0].string_val for key in keys}
            gone = tombstones.customers(owners.values())
            hers = [(key,) for key, owner in owners.items() if owner in gone]
            db.executemany(f'delete from "{table}" where entity_key = ?', hers)
        db.commit()


def build_without(settings: Settings, manifest: Path) -> None:
    """Let a build know its files' new sizes; a parquet file that can be opened is whole. What its log knew on
    each day is now what it knows without her, so that later builds still take its snapshots over."""
    raw = json.loads(manifest.read_text("utf-8"))
    for text in list(raw["moments"]):
        stamp = text.replace("-", "").replace(":", "")
        path = manifest.parent / f"{stamp}.parquet"
        try:
            pq.read_metadata(path)
        except (OSError, pa.ArrowInvalid):
            continue
        raw["moments"][text] = path.stat().st_size
    write_atomically(manifest, json.dumps(raw, indent=1).encode())
    known, folder = manifest.parent / "digests.json", settings.home / "log" / raw["log"]
    if known.exists() and (folder / "manifest.json").exists():
        digests = Log.at(folder).digests
        fresh = {table: digests[table] for table in json.loads(known.read_text("utf-8")) if table in digests}
        write_atomically(known, json.dumps(fresh).encode())

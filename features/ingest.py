"""Raw tables -> customer log. Rows that break a contract are kept beside it, each with its reason.

Idempotent: the same files make the same generation, byte for byte, and a second run only says so.
Atomic: a generation is written whole beside the old one, then one pointer flips.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from features import digests, duck
from features.errors import SourceError
from features.files import locked, read_pointer, sha256, write_atomically
from features.log import Log
from features.moments import from_us, iso
from features.settings import Settings
from features.shop import Shop, shop_of
from features.sources import Source, open_source
from features.tables import TABLES, Table, Type

VERSION = 2  # raise whenever the same raw files would give another log
ROWS_A_GROUP = 131_072

A = {"moment": "a moment", "money": "an amount of money", "integer": "a whole number", "real": "a number"}

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Count:
    """How many rows went one way. `what`: the reason, or what is special, or ''. `file`: None if derived.

    aside: neither accepted nor wrong: a row that is not for the log, such as an anonymous one.
    """

    table: str
    file: str | None
    accepted: bool
    what: str
    rows: int
    aside: bool = False


@dataclass(frozen=True)
class Ingested:
    """What an ingestion did. `changed`: False if the log already held exactly this."""

    generation: str
    changed: bool
    account: tuple[Count, ...]
    tables: dict[str, int]  # rows
    starts_at: datetime
    complete_until: datetime


def ingest(
    settings: Settings,
    name: str | None = None,
    folder: Path | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Ingested:
    """Take one source's files into the log; rows of other sources stay as they are.

    name: of a source in shop.toml, default the first. folder: where its files are, if not where it says.
    dry_run: do everything but keep nothing. SourceError names files that are absent or unreadable.
    """
    shop = shop_of(settings)
    name = name or shop.sources[0]
    source = open_source(shop, name, folder)
    inputs = [[path.name, sha256(path)] for path in source.files]
    stamp = hashlib.sha256(json.dumps([VERSION, shop.of_log, inputs, source.version]).encode()).hexdigest()

    root = settings.home / "log"
    with locked(root / ".lock"):
        current = read_pointer(root / "CURRENT")
        before = json.loads((root / current / "manifest.json").read_text()) if current else {"sources": {}}
        if before.get("shop") != shop.of_log:
            before = {"sources": {}}  # of another zone or currency: nothing of it can stay
        same = before["sources"].get(name, {}).get("stamp") == stamp
        if same and not Log.open(settings).damaged():
            return _ingested(Log.open(settings), before, changed=False)
        scratch = root / ".scratch"
        shutil.rmtree(scratch, ignore_errors=True)  # left by a run that was killed
        try:
            manifest = _write(scratch, shop, source, stamp, progress)
            manifest["shop"] = shop.of_log
            _carry_over(settings, current, scratch, name, manifest, before)
            _digest(root / str(current), before, scratch, manifest)
            if dry_run:
                return _ingested(_log(scratch, "(dry run)", manifest), manifest, changed=True)
            return _publish(settings, scratch, manifest)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _write(
    scratch: Path, shop: Shop, source: Source, stamp: str, progress: Progress | None
) -> dict[str, Any]:
    """Write the source's tables and rejects into `scratch`; return what the manifest says of them."""
    connection = duck.connect()
    files: dict[str, dict[str, dict[str, object]]] = {}
    account: list[tuple[object, ...]] = []
    rejects: list[pa.Table] = []
    if source.prepare:
        if progress:
            progress(f"{source.name}: files", 0, len(source.tables))
        source.prepare(connection)
    for done, (name, sql) in enumerate(source.tables.items()):
        if progress:
            progress(f"{source.name}: {name}", done, len(source.tables))
        table = TABLES[name]
        _stage(connection, table, sql, shop.exponent)
        connection.execute(
            f"CREATE TABLE {name} AS SELECT * EXCLUDE (_reason, _row, _aside) FROM staged "
            "WHERE _reason IS NULL AND _aside IS NULL"
        )
        path = scratch / name / f"{source.name}.parquet"
        rows = _save(path, connection, table, shop.exponent)
        if rows:
            files[name] = {source.name: {"rows": rows, "sha256": sha256(path)}}
        account += connection.execute(
            f"""SELECT '{name}', _file, coalesce(_reason, _aside) IS NULL,
                       coalesce(_reason, _aside, _note, ''), count(*), _aside IS NOT NULL
                FROM staged GROUP BY ALL ORDER BY ALL"""
        ).fetchall()
        rejects.append(
            connection.sql(
                f"""SELECT '{source.name}' AS source, '{name}' AS "table", _file AS file, _line AS line,
                           _reason AS reason, _row AS row
                    FROM staged WHERE _reason IS NOT NULL ORDER BY _file, _line"""
            ).to_arrow_table()
        )
        connection.execute("DROP TABLE staged")
    (until,) = connection.execute(f"SELECT epoch_us(({source.complete_until}))").fetchall()[0]
    starts = None
    if "orders" in files:
        (starts,) = connection.execute('SELECT epoch_us(min("at")) FROM orders').fetchall()[0]
    connection.close()
    rejected = scratch / "rejects" / f"{source.name}.parquet"
    rejected.parent.mkdir(parents=True)
    pq.write_table(pa.concat_tables(rejects), rejected)
    return {
        "files": files,
        "sources": {
            source.name: {
                "stamp": stamp,
                "starts_at": None if starts is None else iso(from_us(starts)),
                "complete_until": None if until is None else iso(from_us(until)),
                "account": account,
            }
        },
    }


def _stage(connection: duckdb.DuckDBPyConnection, table: Table, sql: str, exponent: int) -> None:
    """CREATE TABLE staged: cast columns, _file, _line, _note, _reason (null: accepted), _row (as given)."""
    columns = table.columns.items()
    cast = [f'TRY_CAST(raw.{c} AS {_sql_type(column.type, exponent)}) AS "{c}"' for c, column in columns]
    given = connection.sql(sql).columns
    reject, aside = (f"raw.{c}::VARCHAR" if c in given else "NULL::VARCHAR" for c in ("_reject", "_aside"))
    problems = [f"WHEN {aside} IS NOT NULL THEN NULL", f"WHEN {reject} IS NOT NULL THEN {reject}"]
    problems += [
        f"WHEN raw.{c} IS NOT NULL AND \"{c}\" IS NULL THEN '{c} is not {A[column.type]}'"
        for c, column in columns
        if column.type not in ("text", "map")
    ]
    problems += [
        f"WHEN coalesce(\"{c}\"::VARCHAR, '') = '' THEN 'no {c}'" for c, column in columns if column.required
    ]
    problems += [f"WHEN ({rule}) IS NOT TRUE THEN '{reason}'" for reason, rule in table.rules]
    key, repeated = _names(table.key), f"a second row with the same {', '.join(table.key)}"
    connection.execute(
        f"""
        CREATE TABLE staged AS
        WITH typed AS (SELECT raw, {", ".join(cast)}, raw._file::VARCHAR AS _file,
                              raw._line::BIGINT AS _line, raw._note::VARCHAR AS _note,
                              {aside} AS _aside FROM ({sql}) raw),
             judged AS (SELECT *, CASE {" ".join(problems)} END AS _broken FROM typed),
             unique_ AS (
                 SELECT *, CASE WHEN _broken IS NULL AND _aside IS NULL AND _nth > 1
                                THEN '{repeated}' ELSE _broken END AS _reason
                 FROM (SELECT *, row_number() OVER
                                 (PARTITION BY {key}, _broken IS NULL AND _aside IS NULL
                                  ORDER BY _file, _line) AS _nth
                       FROM judged))
        SELECT * EXCLUDE (raw, _broken, _nth),
               CASE WHEN _reason IS NOT NULL THEN to_json(raw)::VARCHAR END AS _row
        FROM unique_"""
    )


def _names(columns: Iterable[str]) -> str:
    """Quoted, because `at` is a keyword."""
    return ", ".join(f'"{c}"' for c in columns)


def _sql_type(type: Type, exponent: int) -> str:
    return {
        "text": "VARCHAR",
        "moment": "TIMESTAMPTZ",
        "money": f"DECIMAL(18, {exponent})",
        "integer": "BIGINT",
        "real": "DOUBLE",
        "map": "MAP(VARCHAR, VARCHAR)",
    }[type]


def arrow_schema(table: Table, exponent: int) -> pa.Schema:
    """The table's columns as Arrow types."""
    types = {
        "text": pa.string(),
        "moment": pa.timestamp("us", "UTC"),
        "money": pa.decimal128(18, exponent),
        "integer": pa.int64(),
        "real": pa.float64(),
        "map": pa.map_(pa.string(), pa.string()),
    }
    return pa.schema([pa.field(c, types[column.type]) for c, column in table.columns.items()])


def _save(path: Path, connection: duckdb.DuckDBPyConnection, table: Table, exponent: int) -> int:
    """Write the accepted rows, by customer and time, so that a range of customers is a range of the file."""
    order = [c for c in dict.fromkeys(("customer_id", "known_at", "at", *table.key)) if c in table.columns]
    schema = arrow_schema(table, exponent)
    reader = connection.sql(
        f"SELECT {_names(table.columns)} FROM {table.name} ORDER BY {_names(order)}"
    ).to_arrow_reader(ROWS_A_GROUP)
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for group in _groups(reader):
            rows += group.num_rows
            writer.write_table(group.cast(schema), row_group_size=ROWS_A_GROUP)
    if not rows:
        path.unlink()
    return rows


def _groups(reader: pa.RecordBatchReader) -> Iterator[pa.Table]:
    """Batches regrouped to a fixed size, so that the same rows give the same bytes."""
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in reader:
        held.append(batch)
        count += batch.num_rows
        if count >= ROWS_A_GROUP:
            table = pa.Table.from_batches(held)
            whole = count - count % ROWS_A_GROUP
            yield table.slice(0, whole)
            held, count = table.slice(whole).to_batches(), count - whole
    if count:
        yield pa.Table.from_batches(held)


def _carry_over(
    settings: Settings,
    current: str | None,
    scratch: Path,
    name: str,
    manifest: dict[str, Any],
    before: dict[str, Any],
) -> None:
    """Link the other sources' files into the new generation: immutable, so shared rather than copied."""
    for table, by_source in before.get("files", {}).items():
        for other, facts in by_source.items():
            if other == name:
                continue
            target = scratch / table / f"{other}.parquet"
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(settings.home / "log" / str(current) / table / f"{other}.parquet", target)
            manifest["files"].setdefault(table, {})[other] = facts
    for other, facts in before["sources"].items():
        if other != name:
            manifest["sources"][other] = facts
            rejected = f"rejects/{current}/{other}.parquet"
            os.link(settings.home / rejected, scratch / "rejects" / f"{other}.parquet")
    for key in ("starts_at", "complete_until"):
        stated = [facts[key] for facts in manifest["sources"].values() if facts[key] is not None]
        if not stated:
            lacking = {
                "starts_at": "an order that keeps the contract",
                "complete_until": "a moment until which it is complete",
            }
            raise SourceError(
                f"no source gave {lacking[key]} ({', '.join(manifest['sources'])}): nothing was ingested"
            )
        # A label is mature only when every source has told all it knows.
        manifest[key] = min(stated)


def _digest(old: Path, before: dict[str, Any], scratch: Path, manifest: dict[str, Any]) -> None:
    """Write the digests of every file; those of a file that was linked over are as they were."""
    known, files = digests.read_files(old / "digests.json"), manifest["files"]
    connection = duck.connect()
    result: dict[str, dict[str, digests.Days]] = {}
    for table, by_source in files.items():
        for source, facts in by_source.items():
            same = before.get("files", {}).get(table, {}).get(source) == facts
            days = known.get(table, {}).get(source) if same else None
            result.setdefault(table, {})[source] = (
                digests.of_file(connection, TABLES[table], scratch / table / f"{source}.parquet")
                if days is None
                else days
            )
    connection.close()
    digests.write(scratch / "digests.json", result)


def _publish(settings: Settings, scratch: Path, manifest: dict[str, Any]) -> Ingested:
    facts = [manifest[key] for key in ("files", "starts_at", "complete_until", "shop")]
    content = json.dumps(facts, sort_keys=True)
    generation = hashlib.sha256(content.encode()).hexdigest()[:16]
    root = settings.home / "log"
    rejects = settings.home / "rejects" / generation
    shutil.rmtree(rejects, ignore_errors=True)
    rejects.parent.mkdir(parents=True, exist_ok=True)
    (scratch / "rejects").rename(rejects)
    if not (root / generation / "manifest.json").exists() or Log.at(root / generation).damaged():
        shutil.rmtree(root / generation, ignore_errors=True)
        scratch.rename(root / generation)
    # Last into the folder, so that one with a manifest is whole.
    text = json.dumps(manifest, indent=1, sort_keys=True)
    write_atomically(root / generation / "manifest.json", text.encode())
    write_atomically(root / "CURRENT", generation.encode())
    return _ingested(Log.open(settings), manifest, changed=True)


def _log(folder: Path, fingerprint: str, manifest: dict[str, Any]) -> Log:
    return Log(
        folder=folder,
        fingerprint=fingerprint,
        starts_at=datetime.fromisoformat(manifest["starts_at"]),
        complete_until=datetime.fromisoformat(manifest["complete_until"]),
        shop=manifest["shop"],
        files=manifest["files"],
    )


def _ingested(log: Log, manifest: dict[str, Any], changed: bool) -> Ingested:
    account = [Count(*row) for facts in manifest["sources"].values() for row in facts["account"]]
    return Ingested(
        generation=log.fingerprint,
        changed=changed,
        account=tuple(account),
        tables={t: sum(int(str(f["rows"])) for f in by.values()) for t, by in sorted(log.files.items())},
        starts_at=log.starts_at,
        complete_until=log.complete_until,
    )

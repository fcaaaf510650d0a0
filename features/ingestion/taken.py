"""Mended rows that were taken in, as a source of their own: `mended`, which yields to the shop's own."""

import hashlib
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import duckdb

from features import duck
from features.ingestion.ingest import taken_of
from features.ingestion.mended import MENDED
from features.ingestion.records import RECORD, in_sheet
from features.settings import Settings
from features.shop import Shop, shop_of
from features.sources import Source
from features.sources.corrected import MORE, corrected
from features.sources.raw import quoted
from features.sources.values import MACROS
from features.tables import OURS, TABLES


def taken_source(settings: Settings) -> Source:
    """The mended rows that were taken in, as a source."""
    return corrections(shop_of(settings), taken_of(settings))


def corrections(shop: Shop, files: Sequence[Path]) -> Source:
    """The mended rows as a source: its line is a row of a taken file, which names the reject."""
    rows = f"""read_parquet({[str(path) for path in files]}, union_by_name = true, filename = true,
                            file_row_number = true)"""
    connection = duck.connect()
    have = {name for name, *_ in connection.execute(f"DESCRIBE SELECT * FROM {rows}").fetchall()}
    changed = "unchanged IS NOT TRUE" if "unchanged" in have else "true"  # older files do not say it
    changed += " AND refused IS NULL" if "refused" in have else ""
    lacking = "".join(f"NULL AS {c}, " for c in ("unread", "known_from") if c not in have)
    texts = ("file", RECORD, "returns", *MORE)
    lacking += "".join(f"NULL::VARCHAR AS {quoted(c)}, " for c in texts if c not in have)
    mended = f"""SELECT *, {lacking} parse_filename(filename, true) AS _file, file_row_number AS _line
                 FROM {rows} WHERE {changed} QUALIFY row_number() OVER
                       (PARTITION BY reject ORDER BY filename DESC, file_row_number DESC) = 1"""
    kinds = connection.execute(f'SELECT DISTINCT source, "table" FROM ({mended}) ORDER BY ALL').fetchall()
    connection.close()
    sql: dict[str, str] = {}
    for table in TABLES:
        selects = [
            corrected(
                shop,
                source,
                table,
                {c: in_sheet(c) for c in TABLES[table].columns if in_sheet(c) in have and c not in OURS},
            )
            for source, of in kinds
            if of == table
        ]
        if selects:
            sql[table] = " UNION ALL BY NAME ".join(selects)
    events = [t for t in sql if {"customer_id", "known_at"} <= set(TABLES[t].columns) and t != "customers"]
    if events:  # who has no row but a mended one is a customer too
        who = " UNION ALL ".join(f"SELECT customer_id, known_at FROM {t}" for t in events)
        derived = f"""SELECT customer_id, min(known_at)::VARCHAR AS "at", min(known_at)::VARCHAR AS known_at,
                      NULL::MAP(VARCHAR, VARCHAR) AS attributes, NULL::VARCHAR AS _file,
                      NULL::BIGINT AS _line, NULL AS _note FROM ({who}) GROUP BY customer_id"""
        own = sql.pop("customers", None)
        sql["customers"] = (
            f"FROM ({own}) UNION ALL BY NAME FROM ({derived}) ANTI JOIN ({own}) USING (customer_id)"
            if own
            else derived
        )
    version = hashlib.sha256(json.dumps(shop.mappings, default=str, sort_keys=True).encode()).hexdigest()
    return Source(
        MENDED, tuple(files), sql, "SELECT NULL::TIMESTAMPTZ", partial(_prepare, mended), version=version
    )


def _prepare(mended: str, connection: duckdb.DuckDBPyConnection) -> None:
    """CREATE TABLE _mended: the corrections that count."""
    for macro in MACROS:
        connection.execute(macro)
    connection.execute("CREATE OR REPLACE TABLE _zones AS SELECT name FROM pg_timezone_names()")
    connection.execute(f"CREATE OR REPLACE TABLE _mended AS {mended}")

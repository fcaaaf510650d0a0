"""Mended rows that were taken in, as a source of their own: `mended`, which yields to the shop's own."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
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
from features.sources.mapping import declaration
from features.sources.raw import literal, quoted
from features.sources.values import MACROS
from features.tables import OURS, TABLES

VERSION = 3  # raise whenever the same mended rows would give another part


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
    texts = ("file", RECORD, "returns", "typed", *MORE)
    lacking += "".join(f"NULL::VARCHAR AS {quoted(c)}, " for c in texts if c not in have)
    mended = f"""SELECT *, {lacking} parse_filename(filename, true) AS _file, file_row_number AS _line
                 FROM {rows} WHERE {changed} QUALIFY row_number() OVER
                       (PARTITION BY reject ORDER BY filename DESC, file_row_number DESC) = 1"""
    kinds = connection.execute(f'SELECT DISTINCT source, "table" FROM ({mended}) ORDER BY ALL').fetchall()
    connection.close()
    sql, read = dict[str, str](), dict[str, str]()
    for table in TABLES:
        selects = []
        for source in (source for source, of in kinds if of == table):
            cells = {c: in_sheet(c) for c in TABLES[table].columns if in_sheet(c) in have and c not in OURS}
            rows = f"_mended_{len(read)}"
            read[rows] = corrected(shop, source, table, cells)
            selects.append(f"SELECT * FROM {rows}")
        if selects:
            sql[table] = " UNION ALL BY NAME ".join(selects)
    events = [t for t in sql if {"customer_id", "known_at"} <= set(TABLES[t].columns) and t != "customers"]
    if events:  # who has no row but a mended one is a customer too
        linked = sql.pop("identities", None)  # comes after the customers, whom it names
        named = [f"SELECT customer_id, known_at FROM {t}" for t in events if t != "identities"]
        if linked:
            named.append(
                f"SELECT customer_id, known_at FROM ({linked}) WHERE _reject IS NULL AND _aside IS NULL"
            )
        derived = f"""SELECT customer_id, min(known_at)::VARCHAR AS "at", min(known_at)::VARCHAR AS known_at,
                      NULL::MAP(VARCHAR, VARCHAR) AS attributes, NULL::VARCHAR AS _file,
                      NULL::BIGINT AS _line, NULL AS _note FROM ({" UNION ALL ".join(named)})
                      GROUP BY customer_id"""
        own = sql.pop("customers", None)
        of_events = [each for each in (own, *(sql.get(t) for t in events)) if each]
        sql["customers"] = (
            f"FROM ({own}) UNION ALL BY NAME FROM ({derived}) ANTI JOIN ({own}) USING (customer_id)"
            if own
            else derived
        )
        if of_events:
            accounts = _accounts(shop, [source for source, _ in kinds if source], of_events)
            said = f"ANTI JOIN ({linked}) USING (source, source_id)" if linked else ""
            linked = f"{f'FROM ({linked}) UNION ALL BY NAME' if linked else ''} FROM ({accounts}) {said}"
        if linked:
            sql["identities"] = linked
    facts = [VERSION, shop.mappings]
    version = hashlib.sha256(json.dumps(facts, default=str, sort_keys=True).encode()).hexdigest()
    return Source(
        MENDED,
        tuple(files),
        sql,
        "SELECT NULL::TIMESTAMPTZ",
        partial(_prepare, mended, read),
        version=version,
    )


def _accounts(shop: Shop, sources: Iterable[str], rows: Sequence[str]) -> str:
    """SQL: whoever a mended row names has an account with that row's source, as its own rows would say.

    rows: SQL of the mended rows of each table, with `_file` and `_line`.
    """
    prefixes = []
    for source in dict.fromkeys(sources):
        if source in shop.mappings:
            readings = declaration(shop, source, find=False).readings
            prefixes.append((source, next((r.prefix for r in readings), "")))
    of_mappings = ", ".join(f"({literal(source)}, {literal(prefix)})" for source, prefix in prefixes)
    who = " UNION ".join(
        f"SELECT m.source, r.customer_id FROM ({each}) r JOIN _mended m USING (_file, _line)" for each in rows
    )
    return f"""SELECT source, substr(customer_id, length(prefix) + 1) AS source_id, customer_id,
                      c."at", c.known_at, NULL::VARCHAR AS _file, NULL::BIGINT AS _line, NULL AS _note
               FROM ({who}) JOIN customers c USING (customer_id)
                    JOIN (VALUES {of_mappings or "(NULL, NULL)"}) p(source, prefix) USING (source)
               WHERE starts_with(customer_id, prefix)"""


def _prepare(mended: str, read: Mapping[str, str], connection: duckdb.DuckDBPyConnection) -> None:
    """CREATE TABLE _mended: the corrections that count; and of each source and table its rows that they make:
    long SQL, which the tables name several times."""
    for macro in MACROS:
        connection.execute(macro)
    connection.execute("CREATE OR REPLACE TABLE _zones AS SELECT name FROM pg_timezone_names()")
    connection.execute(f"CREATE OR REPLACE TABLE _mended AS {mended}")
    for rows, made in read.items():
        connection.execute(f"CREATE OR REPLACE TABLE {rows} AS {made}")

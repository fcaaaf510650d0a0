"""Sources written by hand: what a shop's systems deliver, a few rows of text each."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from features.sources import Source
from features.tables import TABLES

UNTIL = "SELECT TIMESTAMPTZ '2017-03-01T00:00:00Z'"
Row = Mapping[str, object]


def deliver(
    folder: Path, name: str, tables: Mapping[str, Iterable[Row]], until: str = UNTIL, derive: bool = True
) -> Source:
    """A source whose files hold these rows; what a row lacks is null, but known_at, which is `at`.

    derive: with customers and identities of everybody in it, as sources give them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files, sql = [], {}
    for table, rows in tables.items():
        path = folder / f"{table}.parquet"
        columns = [*TABLES[table].columns]
        schema = pa.schema([(column, pa.string()) for column in columns])
        text = [
            {c: None if (v := row.get(c, _default(row, c))) is None else str(v) for c in columns}
            for row in rows
        ]
        pq.write_table(pa.Table.from_pylist(text, schema=schema), path)
        files.append(path)
        attributes = (
            "REPLACE (CAST(attributes::JSON AS MAP(VARCHAR, VARCHAR)) AS attributes)"
            if table == "customers"
            else ""
        )
        sql[table] = f"""SELECT * EXCLUDE (file_row_number) {attributes}, '{table}' AS _file,
                         file_row_number AS _line, NULL AS _note
                         FROM read_parquet('{path}', file_row_number = true)"""
    events = [t for t in sql if {"customer_id", "known_at"} <= set(TABLES[t].columns)]
    if derive and "customers" not in sql:
        union = " UNION ALL ".join(f"SELECT customer_id, known_at FROM {t}" for t in events)
        derived = "NULL AS _file, NULL AS _line, NULL AS _note"
        sql["customers"] = f"""SELECT customer_id, min(known_at) AS "at", min(known_at) AS known_at,
                               NULL::MAP(VARCHAR, VARCHAR) AS attributes, {derived}
                               FROM ({union}) GROUP BY ALL"""
        if "identities" not in sql:
            sql["identities"] = f"""SELECT '{name}' AS source, customer_id AS source_id, customer_id, "at",
                                    known_at, {derived} FROM customers"""
    return Source(name, tuple(files), sql, until)


def _default(row: Row, column: str) -> object:
    return row.get("at") if column == "known_at" else None


def order(id: str, customer: str, day: str, amount: object = "10.00", **more: object) -> Row:
    return {"order_id": id, "customer_id": customer, "at": f"{day}T12:00:00Z", "channel": "store",
            "amount": amount, "discount": "0.00", **more}  # fmt: skip


def identity(source: str, source_id: str, customer: str, day: str) -> Row:
    return {"source": source, "source_id": source_id, "customer_id": customer, "at": f"{day}T12:00:00Z"}

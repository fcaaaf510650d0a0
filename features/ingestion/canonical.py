"""How rows of the log lie in parquet: types, order, and the same bytes for the same rows."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from features.tables import TABLES, Table, Type

ROWS_A_GROUP = 131_072
ROWS_A_BATCH = 8_192
ORIGIN = pa.schema([("file", pa.string()), ("line", pa.int64()), ("note", pa.string())])
REJECTS = pa.schema(
    [
        *((name, pa.string()) for name in ("source", "table", "file")),
        ("line", pa.int64()),
        ("reason", pa.string()),
        ("row", pa.string()),
        ("mended", pa.bool_()),
    ]
)


def names(columns: Iterable[str]) -> str:
    """Quoted, because `at` is a keyword."""
    return ", ".join(f'"{c}"' for c in columns)


def sql_type(type: Type, exponent: int) -> str:
    """The column's type in DuckDB."""
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


def order(table: Table) -> str:
    """By customer and time: a range of customers is a range of the file. No two rows are equal in it."""
    columns = dict.fromkeys(("customer_id", "known_at", "at", *table.key))
    return names(c for c in columns if c in table.columns)


def save(rows: duckdb.DuckDBPyRelation, *files: tuple[Path, pa.Schema], empty: bool = False) -> int:
    """Write sorted rows; return how many. Several files take the columns of the rows one after another.

    Streams: a row group at a time is in memory. Without rows no file is left, unless an empty one is wanted.
    """
    count = 0
    for path, _ in files:
        path.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        writers = [
            stack.enter_context(pq.ParquetWriter(path, schema, compression="zstd")) for path, schema in files
        ]
        for group in _groups(rows.to_arrow_reader(ROWS_A_BATCH)):
            count += group.num_rows
            first = 0
            for writer, (_, schema) in zip(writers, files, strict=True):
                part = group.select(range(first, first + len(schema))).rename_columns(schema.names)
                writer.write_table(part.cast(schema), row_group_size=ROWS_A_GROUP)
                first += len(schema)
            del group, part
    if not count and not empty:
        for path, _ in files:
            path.unlink()
    return count


def write_again(connection: duckdb.DuckDBPyConnection, rows: str, place: Path, exponent: int) -> None:
    """The rows (SQL) as a file of a generation, named `<table>/<source>.parquet`; no file if there are none.

    A part's own file may lie there: that stays as it is.
    """
    table, written = TABLES[place.parent.name], place.with_name(f".{place.name}")
    select = f"SELECT {names(table.columns)} FROM {rows} ORDER BY {order(table)}"
    if save(connection.sql(select), (written, arrow_schema(table, exponent))):
        written.replace(place)
    else:
        place.unlink(missing_ok=True)


def _groups(reader: pa.RecordBatchReader) -> Iterator[pa.Table]:
    """Batches regrouped to a fixed size, so that the same rows give the same bytes.

    A group is let go before the next one is gathered, for both are large.
    """
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in reader:
        held.append(batch)
        count += batch.num_rows
        del batch
        while count >= ROWS_A_GROUP:
            table = pa.Table.from_batches(held)
            held, count = table.slice(ROWS_A_GROUP).to_batches(), count - ROWS_A_GROUP
            table = table.slice(0, ROWS_A_GROUP)
            yield table
            del table
    if count:
        yield pa.Table.from_batches(held)

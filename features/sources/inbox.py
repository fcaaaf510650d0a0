"""The inbox as a source of the log: events that other systems told, taken in when features are built.

Where a nightly file brings the same again, the file has the row. It says nothing of the time up to which
the log is complete: an event of this minute makes no label of a customer mature, and its absence none late.
"""

from pathlib import Path

from features.ingestion.mended import INBOX
from features.sources import Source
from features.tables import TABLES


def source(folder: Path, name: str = INBOX) -> Source:
    """The rows that `Inbox.write_rows` wrote into the folder; every customer of whom there is one is known.

    name: another source that brings its rows so, and says nothing of time either.
    """
    files = {path.stem: path for path in sorted(folder.glob("*.jsonl"))}
    tables = {table: _table(table, files[table]) for table in TABLES if table in files}
    everyone = " UNION ALL ".join(f"SELECT customer_id, known_at FROM {table}" for table in tables)
    tables["customers"] = f"""
        SELECT customer_id, min(known_at) AS "at", min(known_at) AS known_at, NULL AS attributes,
               NULL AS _file, NULL AS _line, NULL AS _note
        FROM ({everyone}) GROUP BY customer_id"""
    return Source(name=name, files=tuple(files.values()), tables=tables, complete_until="NULL")


def _table(name: str, path: Path) -> str:
    columns = dict.fromkeys(TABLES[name].columns, "VARCHAR") | {"_line": "BIGINT"}
    declared = ", ".join(f"'{column}': '{type}'" for column, type in columns.items())
    return f"""
        SELECT *, '{name}' AS _file, NULL AS _note
        FROM read_json('{path}', format = 'newline_delimited', columns = {{{declared}}})"""

"""DuckDB as we use it: in UTC, silent, within its memory."""

import os
from functools import cache
from pathlib import Path

import duckdb

# Of a process's memory, what DuckDB does not count: the interpreter and its libraries (110 MB), rows on their
# way to parquet and buffers of several writers.
BESIDE = 190_000_000  # bytes
A_THREAD = 90_000_000  # bytes: with less, threads starve one another


def connect(
    threads: int | None = None, memory: int | None = None, folder: Path | None = None
) -> duckdb.DuckDBPyConnection:
    """A connection of its own, with as many threads, or one a core.

    memory: bytes that the process may use; None: DuckDB's own default. folder: where its tables lie and what
    exceeds the memory goes, for the caller to remove; None: tables are in memory.
    """
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    own = None if memory is None else memory - BESIDE
    if threads is None and own is not None:
        threads = max(1, min(len(os.sched_getaffinity(0)), own // A_THREAD))
    connection = duckdb.connect(
        str(folder / "tables.duckdb") if folder else ":memory:",
        config={"threads": threads} if threads else {},
    )
    connection.execute("SET TimeZone = 'UTC'")
    # Else a progress bar is drawn into our output. In a notebook it is off, and cannot even be set.
    if connection.sql("SELECT current_setting('enable_progress_bar')").fetchall()[0][0]:
        connection.execute("SET enable_progress_bar = false")
    if own is not None:
        connection.execute(f"SET memory_limit = '{own}B'")
    if folder is not None:
        connection.execute(f"SET temp_directory = '{folder / 'spill'}'")
    return connection


def shared() -> duckdb.DuckDBPyConnection:
    """A cursor of one database a process, of one thread: for many short questions side by side.

    Opening a database takes longer than asking it. Results have money as 64-bit decimals.
    """
    return _database().cursor()


@cache
def _database() -> duckdb.DuckDBPyConnection:
    connection = connect(threads=1)
    connection.execute("SET arrow_output_version = '1.5'")
    return connection

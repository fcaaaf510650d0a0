"""DuckDB as we use it: in UTC, silent, within its memory, opened once and lent again."""

import atexit
import os
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

# Of a process's memory, what DuckDB does not count: the interpreter and its libraries (110 MB), rows on their
# way to parquet and buffers of several writers.
BESIDE = 190_000_000  # bytes
A_THREAD = 90_000_000  # bytes: with less, threads starve one another

# Opening a database takes 20 ms, and an ingestion asks twenty times: those that nobody has, by what was asked
# of them. Of a process: a forked child has none of its parent's threads.
_idle: defaultdict[tuple[int, int | None, int | None], list[duckdb.DuckDBPyConnection]] = defaultdict(list)


@atexit.register
def _close_idle() -> None:
    for asked, databases in _idle.items():
        if asked[0] == os.getpid():
            databases.clear()


def connect(threads: int | None = None, memory: int | None = None, folder: Path | None = None) -> "Lent":
    """A connection to an empty database that nobody else has, with as many threads, or one a core.

    memory: bytes that the process may use; None: DuckDB's own default. folder: where its tables lie and what
    exceeds the memory goes, for the caller to remove; None: tables are in memory. Close it, and the next gets
    the database.
    """
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    own = None if memory is None else memory - BESIDE
    if threads is None and own is not None:
        threads = max(1, min(len(os.sched_getaffinity(0)), own // A_THREAD))
    idle = _idle[os.getpid(), threads, own]
    try:
        database = idle.pop()
    except IndexError:
        database = _opened(threads, own)
    return Lent(database, idle, folder)


class Lent:
    """What `connect` gives: a DuckDBPyConnection, until it is closed."""

    def __init__(
        self, database: duckdb.DuckDBPyConnection, idle: list[duckdb.DuckDBPyConnection], folder: Path | None
    ) -> None:
        self._database, self._idle, self._spills = database, idle, folder is not None
        if folder is not None:
            database.execute(f"SET temp_directory = '{folder / 'spill'}'")
        self._connection = database.cursor()
        self._connection.execute(f"ATTACH '{folder / 'tables.duckdb' if folder else ':memory:'}' AS lent")
        self._connection.execute("USE lent")
        self._connection.execute("SET TimeZone = 'UTC'")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def __enter__(self) -> "Lent":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Its tables are gone, and so is what was set for it alone. Once; further times do nothing."""
        database, self._database = self._database, None
        if database is None:
            return
        self._connection.close()
        try:
            database.execute("DETACH lent")
            if self._spills:
                database.execute("RESET temp_directory")
        except duckdb.Error:  # it failed for good, or has a file in its folder: for nobody else
            database.close()
        else:
            self._idle.append(database)


def shared() -> duckdb.DuckDBPyConnection:
    """A cursor of one database a process, of one thread: for many short questions side by side.

    Opening a database takes longer than asking it. Results have money as 64-bit decimals.
    """
    return _shared().cursor()


@cache
def _shared() -> duckdb.DuckDBPyConnection:
    database = _opened(1, None)
    database.execute("SET TimeZone = 'UTC'")
    database.execute("SET arrow_output_version = '1.5'")
    return database


def _opened(threads: int | None, own: int | None) -> duckdb.DuckDBPyConnection:
    """A database in memory, of nobody yet. Nothing in it need outlive a crash. own: bytes."""
    database = duckdb.connect(":memory:", config={"threads": threads} if threads else {})
    # Else a progress bar is drawn into our output. In a notebook it is off, and cannot even be set.
    if database.sql("SELECT current_setting('enable_progress_bar')").fetchall()[0][0]:
        database.execute("SET enable_progress_bar = false")
    database.execute("SET fsync_mode = 'NONE'")
    database.execute("SET checkpoint_on_detach = 'DISABLED'")
    if own is not None:
        database.execute(f"SET memory_limit = '{own}B'")
    return database

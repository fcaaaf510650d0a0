"""DuckDB as we use it: in memory, in UTC, silent."""

import duckdb


def connect(threads: int | None = None) -> duckdb.DuckDBPyConnection:
    """A connection of its own, with as many threads, or one a core."""
    connection = duckdb.connect(config={"threads": threads} if threads else {})
    connection.execute("SET TimeZone = 'UTC'")
    # Else a progress bar is drawn into our output. In a notebook it is off, and cannot even be set.
    if connection.sql("SELECT current_setting('enable_progress_bar')").fetchall()[0][0]:
        connection.execute("SET enable_progress_bar = false")
    return connection

"""DuckDB as we use it: in memory, in UTC, silent."""

import duckdb


def connect() -> duckdb.DuckDBPyConnection:
    """A connection of its own. Without the last setting DuckDB draws a progress bar into our output."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_progress_bar = false")
    return connection

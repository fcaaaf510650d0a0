"""The inbox's file: its schema, how it is made, opened and brought up to date."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from features.files import make_database

BUSY_SECONDS = 5.0  # a request of 1,000 events holds the write lock for some 20 ms

# received_at: by the service's clock, which may stand in the past (PROPENSITY_AS_OF).
_SCHEMA = """
CREATE TABLE events (
  number INTEGER PRIMARY KEY AUTOINCREMENT, source TEXT NOT NULL, id TEXT NOT NULL, customer_id TEXT NOT NULL,
  received_at INTEGER NOT NULL, digest BLOB NOT NULL, UNIQUE (source, id)
);
CREATE INDEX events_by_customer ON events (customer_id);
CREATE TABLE rows (
  "table" TEXT NOT NULL, key TEXT NOT NULL, event INTEGER NOT NULL REFERENCES events,
  customer_id TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY ("table", key)
) WITHOUT ROWID;
CREATE INDEX rows_by_customer ON rows (customer_id, "table");
CREATE TABLE taken (log TEXT PRIMARY KEY, number INTEGER NOT NULL);
CREATE TABLE aliases (customer_id TEXT PRIMARY KEY, canonical_id TEXT NOT NULL);
CREATE INDEX aliases_by_canonical ON aliases (canonical_id);
CREATE TABLE overlaid (customer_id TEXT PRIMARY KEY, publication TEXT NOT NULL, number INTEGER NOT NULL);
PRAGMA user_version = 1;
"""
# By the machine's clock; null of an event that came before there was this column.
_SINCE_2 = "ALTER TABLE events ADD COLUMN told_at INTEGER"
# What of an event the log did not take when it last took the inbox in, and why.
_SINCE_3 = """CREATE TABLE refused (event INTEGER NOT NULL, "table" TEXT NOT NULL, reason TEXT NOT NULL,
                                   PRIMARY KEY (event, "table")) WITHOUT ROWID"""
_SINCE = {2: _SINCE_2, 3: _SINCE_3}


def make(path: Path) -> None:
    """Make an empty inbox unless there is one."""
    make_database(path, _SCHEMA)


def opened(path: Path) -> sqlite3.Connection:
    """A connection that threads may share one after another; an older file gets what it lacks."""
    db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA secure_delete = ON")  # what is erased is overwritten
        if _version(db) < max(_SINCE):
            with transaction(db):
                for version in range(
                    _version(db) + 1, max(_SINCE) + 1
                ):  # none if somebody else did meanwhile
                    db.execute(_SINCE[version])
                    db.execute(f"PRAGMA user_version = {version}")
    except sqlite3.Error:
        db.close()
        raise
    return db


@contextmanager
def transaction(db: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    """All of the block or nothing."""
    db.execute(begin)
    try:
        yield
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])

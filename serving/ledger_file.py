"""The ledger's file: its schema, and how it is made. What its tables hold: `ledger.py`."""

from pathlib import Path

from features.files import make_database

VERSION = 1  # of the schema

_SCHEMA = f"""
CREATE TABLE pseudonyms (customer_id TEXT PRIMARY KEY, pseudonym TEXT NOT NULL UNIQUE, key BLOB NOT NULL);
CREATE TABLE contexts (hash TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE decisions (
  id TEXT PRIMARY KEY, pseudonym TEXT NOT NULL, client TEXT NOT NULL, idempotency_key TEXT,
  request BLOB NOT NULL, as_of INTEGER NOT NULL, action TEXT NOT NULL, channel TEXT, propensity REAL NOT NULL,
  explored INTEGER NOT NULL, holdout INTEGER NOT NULL, reserves INTEGER NOT NULL, policy TEXT NOT NULL,
  context TEXT NOT NULL, features TEXT NOT NULL, build TEXT NOT NULL, releases BLOB NOT NULL,
  seed INTEGER NOT NULL, sealed BLOB NOT NULL, crc INTEGER NOT NULL, UNIQUE (client, idempotency_key)
);
CREATE INDEX decisions_by_customer ON decisions (pseudonym, as_of);
CREATE TABLE deliveries (
  decision_id TEXT NOT NULL REFERENCES decisions, status TEXT NOT NULL, at INTEGER NOT NULL, blocked_by TEXT
);
CREATE INDEX deliveries_by_decision ON deliveries (decision_id);
CREATE TABLE outcomes (
  decision_id TEXT NOT NULL REFERENCES decisions, type TEXT NOT NULL, value REAL NOT NULL,
  at INTEGER NOT NULL, window_end INTEGER NOT NULL, matured INTEGER NOT NULL
);
PRAGMA user_version = {VERSION};
"""
_IMMUTABLE = ("contexts", "decisions", "deliveries", "outcomes")


def append_only(table: str, verb: str) -> str:
    """The trigger that keeps what is written from an UPDATE or a DELETE."""
    return (
        f"CREATE TRIGGER {table}_no_{verb} BEFORE {verb} ON {table} "
        "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;"
    )


def make(path: Path) -> None:
    """Make an empty ledger unless there is one."""
    triggers = [append_only(table, verb) for table in _IMMUTABLE for verb in ("UPDATE", "DELETE")]
    make_database(path, _SCHEMA + "".join(triggers))

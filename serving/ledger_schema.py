"""The ledger's tables: one text for SQLite and PostgreSQL, and how an older ledger becomes a present one.

What the tables hold: `ledger.py`. SQLite takes PostgreSQL's names of types.
"""

# Of the schema. 2: reports have their source and id, decisions a window, a cost, a reservation. 3: decisions
# may be about a group, deliveries of one step. 4: pauses. 5: measurements of fairness. 6: parts of bundles.
VERSION = 6

TABLES = """
CREATE TABLE pseudonyms (customer_id TEXT PRIMARY KEY, pseudonym TEXT NOT NULL UNIQUE, key BYTEA NOT NULL);
CREATE TABLE contexts (hash TEXT PRIMARY KEY, body BYTEA NOT NULL);
CREATE TABLE decisions (
  id TEXT PRIMARY KEY, pseudonym TEXT NOT NULL, client TEXT NOT NULL, idempotency_key TEXT,
  request BYTEA NOT NULL, as_of BIGINT NOT NULL, action TEXT NOT NULL, channel TEXT,
  propensity DOUBLE PRECISION NOT NULL, explored BIGINT NOT NULL, holdout BIGINT NOT NULL,
  reserves BIGINT NOT NULL, policy TEXT NOT NULL, context TEXT NOT NULL, features TEXT NOT NULL,
  build TEXT NOT NULL, releases BYTEA NOT NULL, seed BIGINT NOT NULL, sealed BYTEA NOT NULL,
  crc BIGINT NOT NULL, scenario TEXT, cost DOUBLE PRECISION, window_end BIGINT, matures_at BIGINT, unit TEXT,
  follows TEXT, UNIQUE (client, idempotency_key)
);
CREATE INDEX decisions_by_customer ON decisions (pseudonym, as_of);
"""
_FOLLOWING = "CREATE INDEX decisions_following ON decisions (follows) WHERE follows IS NOT NULL;"
_REPORTED = """
CREATE TABLE deliveries (
  number BIGINT PRIMARY KEY, decision_id TEXT NOT NULL REFERENCES decisions, key BYTEA NOT NULL UNIQUE,
  digest BYTEA NOT NULL, status TEXT NOT NULL, at BIGINT NOT NULL, blocked_by TEXT,
  recorded_at BIGINT NOT NULL, step BIGINT
);
CREATE INDEX deliveries_by_decision ON deliveries (decision_id, at, number);
CREATE TABLE outcomes (
  number BIGINT PRIMARY KEY, decision_id TEXT NOT NULL REFERENCES decisions, key BYTEA NOT NULL UNIQUE,
  digest BYTEA NOT NULL, type TEXT NOT NULL, value DOUBLE PRECISION NOT NULL, at BIGINT NOT NULL,
  revises BYTEA, recorded_at BIGINT NOT NULL
);
CREATE INDEX outcomes_by_decision ON outcomes (decision_id, number);
"""
_RESERVED = """
CREATE TABLE reservations (
  decision_id TEXT NOT NULL, step BIGINT NOT NULL, pseudonym TEXT NOT NULL, action TEXT NOT NULL,
  channel TEXT, at BIGINT NOT NULL, until BIGINT, day TEXT NOT NULL, scenario TEXT NOT NULL,
  cost BIGINT NOT NULL, state BIGINT NOT NULL, PRIMARY KEY (decision_id, step)
);
CREATE INDEX reservations_by_customer ON reservations (pseudonym, at);
CREATE INDEX reservations_held ON reservations (until) WHERE state = 0 AND until IS NOT NULL;
CREATE TABLE spending (
  day TEXT NOT NULL, scenario TEXT NOT NULL, amount BIGINT NOT NULL, PRIMARY KEY (day, scenario)
);
"""
_PAUSED = """
CREATE TABLE pauses (
  number BIGINT PRIMARY KEY, what TEXT NOT NULL, reason TEXT NOT NULL, since BIGINT NOT NULL, until BIGINT
);
"""
_MEASURED = """
CREATE TABLE fairness (
  number BIGINT PRIMARY KEY, as_of BIGINT NOT NULL, build TEXT NOT NULL, unfair TEXT NOT NULL
);
"""
_IMMUTABLE = ("contexts", "decisions", "deliveries", "outcomes")

# Nothing of ours ever wrote what version 1 had of deliveries and outcomes; what another program did is kept.
_FROM_1 = """
ALTER TABLE decisions ADD COLUMN scenario TEXT;
ALTER TABLE decisions ADD COLUMN cost DOUBLE PRECISION;
ALTER TABLE decisions ADD COLUMN window_end BIGINT;
ALTER TABLE decisions ADD COLUMN matures_at BIGINT;
ALTER TABLE decisions ADD COLUMN unit TEXT;
DROP INDEX deliveries_by_decision;
ALTER TABLE deliveries RENAME TO deliveries_1;
ALTER TABLE outcomes RENAME TO outcomes_1;
{reported}
INSERT INTO deliveries SELECT rowid, decision_id, CAST('1:' || rowid AS BLOB), CAST('' AS BLOB), status, at,
  blocked_by, at, NULL FROM deliveries_1;
INSERT INTO outcomes SELECT rowid, decision_id, CAST('1:' || rowid AS BLOB), CAST('' AS BLOB), type, value,
  at, NULL, at FROM outcomes_1;
DROP TABLE deliveries_1;
DROP TABLE outcomes_1;
{reserved}
INSERT INTO reservations SELECT id, 0, pseudonym, action, channel, as_of, NULL, '', '', 0, CASE coalesce((
  SELECT status FROM deliveries WHERE decision_id = decisions.id ORDER BY at DESC, number DESC LIMIT 1
), '') WHEN '' THEN 0 WHEN 'sent' THEN 1 WHEN 'delivered' THEN 1 ELSE 2 END
FROM decisions WHERE reserves = 1;
"""
_FROM_2 = "ALTER TABLE decisions ADD COLUMN unit TEXT; ALTER TABLE deliveries ADD COLUMN step BIGINT;"
_FROM_5 = f"ALTER TABLE decisions ADD COLUMN follows TEXT; {_FOLLOWING}"
_AFTER = ((2, _FROM_2), (3, _PAUSED), (4, _MEASURED), (5, _FROM_5))


def sqlite_script() -> str:
    """Makes an empty ledger of a new file."""
    triggers = _triggers(_IMMUTABLE)
    return (
        f"{TABLES}{_FOLLOWING}{_REPORTED}{_RESERVED}{_PAUSED}{_MEASURED}{triggers}"
        f"PRAGMA user_version = {VERSION};"
    )


def sqlite_upgrade(found: int) -> str | None:
    """Makes a ledger of an older version a present one; None if nobody knows how."""
    if not 1 <= found < VERSION:
        return None
    script = ""
    if found == 1:
        script = _FROM_1.format(reported=_REPORTED, reserved=_RESERVED)
        script += _triggers(("deliveries", "outcomes"))
        found = 3  # which that makes of it
    return f"BEGIN IMMEDIATE;{script}{_since(found)}PRAGMA user_version = {VERSION};COMMIT;"


def postgres_script() -> str:
    """Makes an empty ledger in the schema that the connection looks in."""
    return f"""{TABLES}{_FOLLOWING}{_REPORTED}{_RESERVED}{_PAUSED}{_MEASURED}
CREATE TABLE version (version BIGINT NOT NULL);
INSERT INTO version VALUES ({VERSION});
CREATE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN RAISE EXCEPTION 'the ledger is append-only'; END $$;
{"".join(postgres_trigger(table) for table in _IMMUTABLE)}"""


def postgres_upgrade(found: int) -> str | None:
    """As `sqlite_upgrade`; the first that was ever in PostgreSQL is version 2."""
    if not 2 <= found < VERSION:
        return None
    return f"{_since(found)}UPDATE version SET version = {VERSION};"


def _since(found: int) -> str:
    """What came after a version, in either database."""
    return "".join(script for version, script in _AFTER if version >= found)


def postgres_trigger(table: str) -> str:
    """Keeps what is written from an UPDATE, a DELETE or a TRUNCATE."""
    verbs = "UPDATE OR DELETE OR TRUNCATE"
    return (
        f"CREATE TRIGGER append_only BEFORE {verbs} ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION append_only();"
    )


def append_only(table: str, verb: str) -> str:
    """SQLite's trigger that keeps what is written from an UPDATE or a DELETE."""
    return (
        f"CREATE TRIGGER {table}_no_{verb} BEFORE {verb} ON {table} "
        "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;"
    )


def _triggers(tables: tuple[str, ...]) -> str:
    return "".join(append_only(table, verb) for table in tables for verb in ("UPDATE", "DELETE"))

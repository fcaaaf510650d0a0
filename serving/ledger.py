"""The ledger: decisions, deliveries, outcomes. Append-only, in SQLite, one file for every worker on the host.

    pseudonyms    customer_id -> a random pseudonym and a random key; erasure deletes the row
    contexts      what a decision was taken under (policy, actions, feature names), once, by its hash
    decisions     one row a decision. What could tell who it was (feature row, answer) is sealed with the
                  customer's key. Erasure deletes the key, then what was sealed, and keeps of an idempotency
                  key a hash that knows a repeat; counts and propensities remain.
    deliveries    what became of a decision; the last row counts
    outcomes      what the customer then did

A decision for a marketing contact reserves the contact from the moment it is written. Counting and writing
happen in one BEGIN IMMEDIATE transaction, so two workers never both take the last free contact.
Every row of decisions has a CRC over all its columns. Times are microseconds since 1970, UTC.
"""

import hashlib
import secrets
import sqlite3
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from threading import RLock
from typing import Literal

import msgspec

from features.errors import CustomerErased, DecisionError, IdempotencyConflict
from features.moments import from_us, to_us
from features.settings import Settings
from features.tombstones import Tombstones
from serving.ledger_file import VERSION, append_only, make

BUSY_SECONDS = 5.0  # a decision holds the write lock for about a millisecond

Status = Literal["sent", "delivered", "blocked", "cancelled", "expired"]
FREED = ("blocked", "cancelled", "expired")  # statuses that give the contact back

_COLUMNS = (
    "id", "pseudonym", "client", "idempotency_key", "request", "as_of", "action", "channel", "propensity",
    "explored", "holdout", "reserves", "policy", "context", "features", "build", "releases", "seed", "sealed",
)  # fmt: skip
_SALT = "salt of erased keys"  # the hash under which contexts keep it: no context has it
_RESERVED = f"""SELECT {{}}coalesce(sum(d.reserves) FILTER (WHERE d.as_of > ?), 0), max(d.as_of)
FROM decisions d JOIN pseudonyms p USING (pseudonym) WHERE {{}} AND d.reserves AND coalesce((
  SELECT status FROM deliveries WHERE decision_id = d.id ORDER BY rowid DESC LIMIT 1
), '') NOT IN ({", ".join("?" * len(FREED))})"""
_SELECT = f"SELECT {', '.join(_COLUMNS)}, crc FROM decisions"


class Sealed(msgspec.Struct, frozen=True):
    """What only the customer's key opens. row: little-endian float32; inputs, answer: the decider's."""

    customer_id: str
    row: bytes
    inputs: bytes
    answer: bytes


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One decision as it is written and read back.

    context, features: encoded; kept once by hash. features: the names and hashes of `row`, in its order.
    reserves: how many marketing contacts it is. seed: 63 bits. releases: (name, version) that it was taken
    with.
    """

    id: str
    client: str
    idempotency_key: str | None
    as_of: datetime
    action: str
    channel: str | None
    propensity: float
    explored: bool
    holdout: bool
    reserves: int
    policy: str
    context: bytes
    features: bytes
    build: str
    releases: tuple[tuple[str, str], ...]
    seed: int
    sealed: Sealed | None  # None: the customer was erased


@dataclass(frozen=True)
class Reserved:
    """Marketing contacts that decisions reserved: how many, and when the last one was decided."""

    count: int
    last: datetime | None


class Ledger:
    """The ledger of these settings, created when first opened. One connection, which threads may share."""

    def __init__(self, settings: Settings) -> None:
        self.path = settings.home / "ledger" / "ledger.sqlite"
        self._settings = settings
        self._lock = RLock()
        with self._used("opened"):
            make(self.path)
            self._db = sqlite3.connect(
                self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute("PRAGMA foreign_keys = ON")
            self._db.execute("PRAGMA secure_delete = ON")  # a deleted key is overwritten, not just unlinked
            found = self._db.execute("PRAGMA user_version").fetchone()[0]
        if found != VERSION:
            self._db.close()
            raise DecisionError(
                f"{self.path} has schema {found}, this program knows {VERSION}: run the one that wrote it"
            )

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    @contextmanager
    def deciding(self) -> Iterator[None]:
        """Nobody else writes during this block; an error undoes it. DecisionError if it cannot be written."""
        with self._used("written, and nothing was changed"):
            try:
                self._db.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                raise DecisionError(
                    f"{self.path} could not be locked for {BUSY_SECONDS:g} s ({error}): ask again; if "
                    "that does not help, look for a process that holds it"
                ) from error
            try:
                yield
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:  # an error; SQLite itself undoes some, a full disk for one
                    self._db.execute("ROLLBACK")

    @contextmanager
    def _used(self, how: str) -> Iterator[None]:
        """The database to ourselves; what SQLite says of it becomes a DecisionError."""
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise DecisionError(
                    f"{self.path} could not be {how} ({error}): look at its disk; restore its backup if "
                    "the file is damaged"
                ) from error

    def stored_answer(self, client: str, idempotency_key: str, request: bytes) -> bytes | None:
        """The answer that this client got under this key, None if there is none yet.

        IdempotencyConflict if that was another request; CustomerErased if that customer was erased.
        """
        with self._used("read"):
            row = self._db.execute(
                "SELECT id, pseudonym, request FROM decisions WHERE client = ? AND idempotency_key IN (?, ?)",
                (client, idempotency_key, self._erased_key(client, idempotency_key)),
            ).fetchone()
            if row is None:
                return None
            id, pseudonym, digest = row
            key = self._key(pseudonym)
            if key is None:
                raise CustomerErased(
                    f"decision {id} was erased with its customer: do not repeat it; for another customer "
                    "use a new idempotency key"
                )
            if not secrets.compare_digest(_digest(key, request), digest):
                raise IdempotencyConflict(
                    "this idempotency key was used for another request: repeat that one, or use a new key"
                )
            entry = self.read(id)
            assert entry.sealed is not None
            return entry.sealed.answer

    def reserved(self, customer_id: str, after: datetime) -> Reserved:
        """Her marketing contacts decided after a moment; those blocked, cancelled or expired do not count.

        `last` looks at all of them, for an action's rest may be longer than the policy's window.
        """
        with self._used("read"):
            query = _RESERVED.format("", "p.customer_id = ?")
            count, last = self._db.execute(query, (to_us(after), customer_id, *FREED)).fetchone()
        return Reserved(count, None if last is None else from_us(last))

    def reserved_by_all(self, after: datetime) -> dict[str, Reserved]:
        """As `reserved`, of everybody who has any, by customer id."""
        with self._used("read"):
            found = self._db.execute(_RESERVED.format("p.customer_id, ", "TRUE") + " GROUP BY 1",
                                     (to_us(after), *FREED)).fetchall()  # fmt: skip
        return {who: Reserved(count, from_us(last)) for who, count, last in found}

    def append(self, entry: Entry, request: bytes) -> None:
        """Write one decision, inside `deciding`. `request`: what an idempotent repeat must equal."""
        sealed = entry.sealed
        assert sealed is not None
        pseudonym, key = self._pseudonym(sealed.customer_id)
        of = {name: getattr(entry, name, None) for name in _COLUMNS} | {
            "pseudonym": pseudonym,
            "request": _digest(key, request),
            "as_of": to_us(entry.as_of),
            "context": self._context(entry.context),
            "features": self._context(entry.features),
            "releases": msgspec.json.encode(entry.releases),
            "sealed": _seal(key, entry.id, msgspec.msgpack.encode(sealed)),
        }
        values = tuple(int(value) if isinstance(value, bool) else value for value in of.values())
        marks = ", ".join("?" * (len(_COLUMNS) + 1))
        self._db.execute(f"INSERT INTO decisions VALUES ({marks})", (*values, _crc(values)))

    def read(self, decision_id: str) -> Entry:
        """One decision. DecisionError if there is none, or if its row was changed since it was written."""
        with self._used("read"):
            row = self._db.execute(f"{_SELECT} WHERE id = ?", (decision_id,)).fetchone()
            if row is None:
                raise DecisionError(
                    f"{self.path} has no such decision: look up the decision_id of the answer"
                )
            if _crc(row[:-1]) != row[-1]:
                raise DecisionError(
                    f"decision {decision_id} in {self.path} is damaged (CRC): restore the ledger's backup"
                )
            of = dict(zip(_COLUMNS, row[:-1], strict=True))
            key = self._key(of.pop("pseudonym"))
            hashes = (of["context"], of["features"])
            bodies = dict(self._db.execute("SELECT hash, body FROM contexts WHERE hash IN (?, ?)", hashes))
        plain = None if key is None else _seal(key, decision_id, of["sealed"])
        del of["request"]
        of["as_of"] = from_us(of["as_of"])
        of["context"], of["features"] = bodies[of["context"]], bodies[of["features"]]
        of["releases"] = msgspec.json.decode(of["releases"])
        of["sealed"] = None if plain is None else msgspec.msgpack.decode(plain, type=Sealed)
        return msgspec.convert(of, Entry, strict=False)  # not strict: SQLite has no truth values

    def deliver(self, decision_id: str, status: Status, at: datetime, blocked_by: str | None = None) -> None:
        """Say what became of a decision. DecisionError if there is none with that id."""
        self._add("deliveries", decision_id, status, to_us(at), blocked_by)

    def outcome(
        self, decision_id: str, type: str, value: float, at: datetime, window_end: datetime, matured: bool
    ) -> None:
        """Record what followed, e.g. ("order", amount). matured: the window is over, the log complete."""
        self._add("outcomes", decision_id, type, value, to_us(at), to_us(window_end), int(matured))

    def erase(self, customer_ids: Collection[str]) -> None:
        """Forget who these customers' decisions were about, with what was sealed; the decisions stay."""
        with self.deciding():
            self._db.executemany(
                "DELETE FROM pseudonyms WHERE customer_id = ?", [(id,) for id in customer_ids]
            )
            self._forget()
        with self._used("cleared of the copies of a key that is deleted"):
            busy = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if busy:
            raise DecisionError(
                f"the key is deleted, but a reader keeps a copy of it in {self.path}-wal: erase again later"
            )

    def _forget(self) -> None:
        """Take from the decisions of which nobody has the key what only the key's owner could be known by."""
        found = self._db.execute(
            f"{_SELECT} WHERE pseudonym NOT IN (SELECT pseudonym FROM pseudonyms) AND length(sealed) > 0"
        ).fetchall()
        if not found:
            return
        self._db.execute(
            "INSERT INTO contexts VALUES (?, ?) ON CONFLICT DO NOTHING", (_SALT, secrets.token_bytes(32))
        )
        self._db.execute("DROP TRIGGER IF EXISTS decisions_no_UPDATE")  # the one change that the ledger knows
        for row in found:
            of = dict(zip(_COLUMNS, row[:-1], strict=True))
            if of["idempotency_key"] is not None:
                of["idempotency_key"] = self._erased_key(of["client"], of["idempotency_key"])
            of["request"] = of["sealed"] = b""
            crc = _crc(tuple(of.values())) if _crc(row[:-1]) == row[-1] else row[-1]  # damaged stays damaged
            self._db.execute(
                "UPDATE decisions SET idempotency_key = ?, request = ?, sealed = ?, crc = ? WHERE id = ?",
                (of["idempotency_key"], of["request"], of["sealed"], crc, of["id"]),
            )
        self._db.execute(append_only("decisions", "UPDATE"))

    def _erased_key(self, client: str, idempotency_key: str) -> str | None:
        """What stands for an idempotency key once its customer is erased; None if nobody was."""
        salt = self._db.execute("SELECT body FROM contexts WHERE hash = ?", (_SALT,)).fetchone()
        if salt is None:
            return None
        return "erased:" + _digest(salt[0], msgspec.json.encode([client, idempotency_key])).hex()

    def customers(self) -> dict[str, int]:
        """Everybody of whom a decision can still be read, and how many."""
        with self._used("read"):
            return dict(
                self._db.execute(
                    "SELECT customer_id, count(*) FROM pseudonyms JOIN decisions USING (pseudonym) GROUP BY 1"
                )
            )

    def releases_named(self) -> set[tuple[str, str]]:
        """(name, version) of every release that a decision was taken with: never to be pruned."""
        with self._used("read"):
            rows = self._db.execute("SELECT DISTINCT releases FROM decisions").fetchall()
        return {pair for (of,) in rows for pair in msgspec.json.decode(of, type=list[tuple[str, str]])}

    def damaged(self) -> list[str]:
        """Ids of decisions whose rows do not match their CRC."""
        with self._used("read"):
            return [row[0] for row in self._db.execute(_SELECT) if _crc(row[:-1]) != row[-1]]

    def _add(self, table: str, decision_id: str, *values: str | float | None) -> None:
        marks = ", ".join("?" * (1 + len(values)))
        with self.deciding():
            if not self._db.execute("SELECT 1 FROM decisions WHERE id = ?", (decision_id,)).fetchone():
                raise DecisionError(
                    f"{self.path} has no such decision: look up the decision_id of the answer"
                )
            self._db.execute(f"INSERT INTO {table} VALUES ({marks})", (decision_id, *values))

    def _key(self, pseudonym: str) -> bytes | None:
        row = self._db.execute("SELECT key FROM pseudonyms WHERE pseudonym = ?", (pseudonym,)).fetchone()
        return None if row is None else row[0]

    def _pseudonym(self, customer_id: str) -> tuple[str, bytes]:
        known = self._db.execute(
            "SELECT pseudonym, key FROM pseudonyms WHERE customer_id = ?", (customer_id,)
        ).fetchone()
        if known is not None:
            return known[0], known[1]
        if Tombstones.of(self._settings).customers([customer_id]):  # since this decision began
            raise CustomerErased("this customer was erased: nothing is decided about them")
        fresh = (customer_id, secrets.token_hex(16), secrets.token_bytes(32))
        self._db.execute("INSERT INTO pseudonyms VALUES (?, ?, ?)", fresh)
        return fresh[1], fresh[2]

    def _context(self, body: bytes) -> str:
        hash = hashlib.sha256(body).hexdigest()[:32]
        self._db.execute("INSERT INTO contexts VALUES (?, ?) ON CONFLICT DO NOTHING", (hash, body))
        return hash


def _seal(key: bytes, id: str, data: bytes) -> bytes:
    """Encrypt, or decrypt: exclusive or with SHAKE-256(key, id). A key is random, an id is used once."""
    stream = hashlib.shake_256(key + id.encode()).digest(len(data))
    return (int.from_bytes(data, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(data), "big")


def _digest(key: bytes, request: bytes) -> bytes:
    """Keyed: against a plain hash, anyone could try the requests of all customers until one fits."""
    return hashlib.blake2b(request, key=key, digest_size=16).digest()


def _crc(values: tuple[object, ...]) -> int:
    return zlib.crc32(msgspec.msgpack.encode(values))

"""The ledger: decisions, deliveries, outcomes. Append-only; where it is: `ledger_store.py`.

    pseudonyms    customer_id -> a random pseudonym and a random key; erasure deletes the row
    contexts      what a decision was taken under (policy, actions, feature names), once, by its hash
    decisions     one row a decision. What could tell who it was (feature row, answer) is sealed with the
                  customer's key. Erasure deletes the key, then what was sealed, and keeps of an idempotency
                  key a hash that knows a repeat; counts and propensities remain.
    deliveries    what became of a decision; what happened last counts
    outcomes      what the customer then did; what it takes for one to count: `ledger_reports.py`
    pauses        what no decision may choose, and until when: `pauses.py`
    fairness      which offers like customers do not get alike, as it was measured: `offers.py`

A decision for a marketing contact reserves the contact and its cost from the moment it is written
(`reservations`). Counting and writing happen in one transaction at a time, so two workers never both take the
last free contact, or the last of a budget.
Every row of decisions has a CRC over all its columns. Times are microseconds since 1970, UTC.
"""

import hashlib
import secrets
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

import msgspec

from features import database
from features.errors import (
    CustomerErased,
    DecisionError,
    IdempotencyConflict,
    UnknownDecision,
)
from features.moments import from_us, to_us
from features.policy import Budget
from features.settings import Settings
from features.tombstones import Tombstones
from serving import ledger_erasing, ledger_export, ledger_reports, ledger_uses, reservations, sealing
from serving.exported import NOTHING, Seen
from serving.ledger_entries import COLUMNS, Entry, entry_of, group_of, night_of, values_of
from serving.ledger_reports import FREED, Delivery, Kept, Outcome, Reported, Status, Type
from serving.ledger_store import BUSY_SECONDS, PATIENCE, Store, errors_of, open_store, path_of, transaction
from serving.ledger_uses import Use
from serving.reservations import Contact, Held, Reservation, Went
from serving.sending import Night
from serving.turns import Turns

__all__ = ["Entry", "Ledger", "exists", "group_of"]

RECENT = 60.0  # seconds for which the last failure is still told, unless a decision was written since
_SELECT = f"SELECT {', '.join(COLUMNS)}, crc FROM decisions"


class Ledger:
    """The ledger of these settings, created when first opened. One connection, which threads may share."""

    def __init__(self, settings: Settings, store: Store | None = None, patience: float = PATIENCE) -> None:
        """store: another one than that of the settings. patience: as of `open_store`."""
        self.settings = settings
        self._turns = Turns()
        self.path = path_of(settings)  # of the embedded one
        self._errors = errors_of(settings)
        self._failed: tuple[float, str] | None = None  # since a decision was written: when last, and how
        try:
            with self._used("opened"):
                self._db = store or open_store(settings, patience)
        except OSError as error:
            raise _unusable(settings, "opened", error) from None

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    @contextmanager
    def deciding(self) -> Iterator[None]:
        """Nobody else writes during this block; an error undoes it. DecisionError if it cannot be written."""
        with self._used("written, and nothing was changed", writing=True):
            try:
                with transaction(self._db):
                    yield
            except TimeoutError as error:
                said = (
                    f"{self._db.name} could not be locked for {BUSY_SECONDS:g} s ({error}): ask again; if "
                    "that does not help, look for a process that holds it"
                )
                self._failed = time.monotonic(), said
                raise DecisionError(said) from error
        self._failed = None
        try:
            self._db.acknowledge()  # others write meanwhile
        except DecisionError as error:
            self._failed = time.monotonic(), str(error)
            raise

    def require_usable(self) -> None:
        """DecisionError if no decision can be written, as far as the database says without being written to,
        or as it said of the last one, not long ago."""
        errors: tuple[type[Exception], ...] = (*self._errors, OSError)
        with self._turns.turn(BUSY_SECONDS):
            try:
                self._db.look()
            except errors as error:
                raise _unusable(self.settings, "read", error) from None
        if self._failed is not None and time.monotonic() - self._failed[0] < RECENT:
            raise DecisionError(self._failed[1])

    @contextmanager
    def reading(self) -> Iterator[Store]:
        """The database to ourselves, inside `deciding` as it is then. DecisionError if it cannot be read."""
        with self._used("read"):
            yield self._db

    @contextmanager
    def _used(self, how: str, writing: bool = False) -> Iterator[None]:
        """The database to ourselves; what it says becomes a DecisionError."""
        with self._turns.turn(BUSY_SECONDS, writing):
            try:
                yield
            except self._errors as error:
                unusable = _unusable(self.settings, how, error)
                self._failed = time.monotonic(), str(unusable)
                raise unusable from None

    def stored_answer(self, client: str, idempotency_key: str, request: bytes) -> bytes | None:
        """The answer that this client got under this key, None if there is none yet.

        IdempotencyConflict if that was another request; CustomerErased if that customer was erased.
        """
        with self._used("read"):
            row = self._db.execute(
                "SELECT id, pseudonym, request FROM decisions WHERE client = ? AND idempotency_key IN (?, ?)",
                (client, idempotency_key, ledger_erasing.erased_key(self._db, client, idempotency_key)),
            ).fetchone()
            if row is None:
                return None
            id, pseudonym, told = row
            key = self._key(pseudonym)
            if key is None:
                raise CustomerErased(
                    f"decision {id} was erased with its customer: do not repeat it; for another customer "
                    "use a new idempotency key"
                )
            if not secrets.compare_digest(sealing.digest(key, request), told):
                raise IdempotencyConflict(
                    "this idempotency key was used for another request: repeat that one, or use a new key"
                )
            entry = self.read(id)
            assert entry.sealed is not None
            return entry.sealed.answer

    def held(
        self, customer_id: str, since: datetime, now: datetime, seen: Seen = NOTHING
    ) -> tuple[Contact, ...]:
        """Marketing contacts of a customer after a moment that decisions made or hold, the oldest first."""
        with self._used("read"):
            return reservations.held(self._db, customer_id, since, now, seen)

    def held_by_all(
        self, since: datetime, now: datetime, seen: Seen = NOTHING
    ) -> dict[str, tuple[Contact, ...]]:
        """As `held`, of everybody who has any, by customer id."""
        with self._used("read"):
            return reservations.held_by_all(self._db, since, now, seen)

    def spent(self, budgets: Sequence[Budget], day: date, now: datetime) -> tuple[float, ...]:
        """What is spent or held of each budget in the period that a day is in, shop currency."""
        with self._used("read"):
            return reservations.spent(self._db, budgets, day, now)

    def append(self, entry: Entry, request: bytes, reservation: Reservation | None = None) -> None:
        """Write one decision, inside `deciding`, and hold what it reserves.

        request: what an idempotent repeat must equal.
        """
        sealed = entry.sealed
        assert sealed is not None
        pseudonym, key = self._pseudonym(sealed.customer_id)
        context, features = self._context(entry.context), self._context(entry.features)
        values = values_of(entry, request, pseudonym, key, context, features)
        marks = ", ".join("?" * (len(COLUMNS) + 1))
        names = f"{', '.join(COLUMNS)}, crc"
        self._db.execute(f"INSERT INTO decisions ({names}) VALUES ({marks})", (*values, sealing.crc(values)))
        if reservation is not None:
            reservations.sweep(self._db, entry.as_of)
            reservations.reserve(self._db, entry.id, pseudonym, entry.action, entry.channel, reservation)

    def read(self, decision_id: str) -> Entry:
        """One decision. DecisionError if there is none, or if its row was changed since it was written."""
        if "\0" in decision_id:  # PostgreSQL would refuse to look for it, as if the ledger were unusable
            raise _unknown()
        with self._used("read"):
            row = self._db.execute(f"{_SELECT} WHERE id = ?", (decision_id,)).fetchone()
            if row is None:
                raise _unknown()
            if sealing.crc(row[:-1]) != row[-1]:
                raise DecisionError(
                    f"decision {decision_id} in {self._db.name} is damaged (CRC): restore the ledger's backup"
                )
            of = dict(zip(COLUMNS, row[:-1], strict=True))
            hashes = (of["context"], of["features"])
            bodies = dict(self._db.execute("SELECT hash, body FROM contexts WHERE hash IN (?, ?)", hashes))
            return entry_of(of, self._key(of["pseudonym"]), bodies)

    def last(self, customer_id: str) -> Entry | None:
        """The last decision about a customer; None if there is none."""
        with self._used("read"):
            row = self._db.execute(
                "SELECT id FROM decisions JOIN pseudonyms USING (pseudonym) WHERE customer_id = ? AND unit "
                "IS NULL ORDER BY as_of DESC, id DESC LIMIT 1",
                (customer_id,),
            ).fetchone()
        return None if row is None else self.read(row[0])

    def entries(
        self, unit: str | None = None, since: datetime | None = None, parts: bool = False
    ) -> Iterator[Entry]:
        """Every decision about people, or about another unit, the first first; earlier than `since` none.

        parts: those of bundles, too, which were decided and drawn for a wider unit.

        Damaged ones are left out (`damaged` names them). What schema 1 did not record is taken from the
        rules that it names.
        """
        which = f"coalesce(unit, '') = ? AND as_of >= ?{'' if parts else ' AND follows IS NULL'}"
        yield from self._entries(which, (unit or "", 0 if since is None else to_us(since)))

    def begins(self) -> datetime | None:
        """When the first decision about a person was taken; None: none was."""
        with self._used("read"):
            row = self._db.execute("SELECT min(as_of) FROM decisions WHERE unit IS NULL", ()).fetchone()
        return None if row is None or row[0] is None else from_us(row[0])

    def following(self, decision_id: str) -> Iterator[Entry]:
        """The parts for persons of the bundle that was decided for a wider unit, as `entries`."""
        yield from self._entries("follows = ? AND unit IS NULL", (decision_id,))

    def _entries(self, which: str, values: Sequence[Any]) -> Iterator[Entry]:
        with self._used("read"):
            keys = dict(self._db.execute("SELECT pseudonym, key FROM pseudonyms").fetchall())
            bodies = dict(self._db.execute("SELECT hash, body FROM contexts").fetchall())
            rows = self._db.execute(f"{_SELECT} WHERE {which} ORDER BY as_of, id", values)
            while some := rows.fetchmany(1_000):
                for row in some:
                    if sealing.crc(row[:-1]) != row[-1]:
                        continue
                    of = dict(zip(COLUMNS, row[:-1], strict=True))
                    ends = of["as_of"], of["window_end"], of["matures_at"]
                    _, *spans = ledger_reports.window(*ends, bodies[of["context"]])
                    of["window_end"], of["matures_at"] = spans
                    yield entry_of(of, keys.get(of["pseudonym"]), bodies)

    def report(self, told: Sequence[Delivery | Outcome], now: datetime) -> list[Reported | DecisionError]:
        """Record what became of decisions, all at once; of each, what that meant, or why it was not taken:

        UnknownDecision, CustomerErased, IdempotencyConflict if its id was told before with another content,
        ReportConflict if it cannot be of that decision.
        """
        with self.deciding():
            found = [ledger_reports.record(self._db, one, now) for one in told]
            for id in {one.decision_id for one in told if isinstance(one, Delivery)}:
                reservations.settle(self._db, id, now, partial(self._night, id))
            return found

    def delivered(self) -> dict[str, bool]:
        """Decision -> whether any delivery says that it was sent; of the others nobody told anything."""
        with self._used("read"):
            rows = self._db.execute(
                "SELECT decision_id, max(CASE WHEN status IN (?, ?, ?) THEN 0 ELSE 1 END) FROM deliveries "
                "GROUP BY decision_id",
                FREED,
            ).fetchall()
        return {id: bool(sent) for id, sent in rows}

    def deliveries(self, decision_id: str) -> list[tuple[Status, int | None]]:
        """(status, step) of every delivery that was told of a decision, the first first."""
        with self._used("read"):
            rows = self._db.execute(
                "SELECT status, step FROM deliveries WHERE decision_id = ? ORDER BY number", (decision_id,)
            )
            return [(status, step) for status, step in rows]

    def reserved(self, decision_id: str) -> list[Held]:
        """Each step that a decision reserved, in order; empty if it never did."""
        with self._used("read"):
            return reservations.of_decision(self._db, decision_id)

    def went(self, decision_id: str | None = None) -> dict[str, Went]:
        """What was sent of marketing decisions, and what that cost, as `reservations.went` has it."""
        with self._used("read"):
            return reservations.went(self._db, decision_id)

    def sent(self, shared: bool = False) -> Iterator[dict[str, Any]]:
        """Marketing contacts that were sent, as `ledger_export.sent` has them."""
        with self._used("read"):
            yield from ledger_export.sent(self._db, shared)

    def told(self, types: Sequence[Type]) -> Iterator[dict[str, Any]]:
        """Outcomes of some types, late or not, as `ledger_export.told` has them."""
        with self._used("read"):
            yield from ledger_export.told(self._db, types)

    def uses(self, since: datetime, until: datetime) -> list[Use]:
        """What became of the decisions of a time, by scenario and channel, as `ledger_uses.of` has it."""
        with self._used("read"):
            return ledger_uses.of(self._db, to_us(since), to_us(until))

    def rates(self, since: datetime, until: datetime, shift: timedelta) -> list[tuple[int, str, int]]:
        """How often each action was decided on each day, as `ledger_uses.rates` has it."""
        with self._used("read"):
            micros = shift // timedelta(microseconds=1)
            return ledger_uses.rates(self._db, to_us(since), to_us(until), micros)

    def outcomes(self, decision_id: str | None = None) -> dict[str, list[Kept]]:
        """Outcomes that count, by decision: of one, or of all that have any."""
        with self._used("read"):
            return ledger_reports.counted(self._db, decision_id)

    def uncounted(self) -> ledger_reports.Uncounted:
        """How many orders were told and count for nothing, and why."""
        with self._used("read"):
            return ledger_reports.uncounted(self._db)

    def erase(self, customer_ids: Collection[str]) -> None:
        """Forget who these customers' decisions were about, with what was sealed; the decisions stay."""
        with self.deciding():
            for id in customer_ids:
                self._db.execute("DELETE FROM pseudonyms WHERE customer_id = ?", (id,))
            ledger_erasing.forget(self._db, COLUMNS)
        with self._used("cleared of the copies of a key that is deleted"):
            left = self._db.forget()
        if left is not None:
            raise DecisionError(f"the key is deleted, but {left}: erase again later")

    def customers(self) -> dict[str, int]:
        """Everybody of whom a decision can still be read, and how many."""
        with self._used("read"):
            return dict(
                self._db.execute(
                    "SELECT customer_id, count(*) FROM pseudonyms JOIN decisions USING (pseudonym) "
                    "WHERE unit IS NULL GROUP BY 1"
                )
            )

    def releases_named(self) -> set[tuple[str, str]]:
        """(name, version) of every release that a decision was taken with: never to be pruned."""
        with self._used("read"):
            rows = self._db.execute("SELECT DISTINCT releases FROM decisions").fetchall()
        named = {pair for (of,) in rows for pair in msgspec.json.decode(of, type=list[tuple[str, str]])}
        return {(name, version) for name, version in named if not version.startswith("#")}

    def damaged(self) -> list[str]:
        """Ids of decisions whose rows do not match their CRC."""
        with self._used("read"):
            return [row[0] for row in self._db.execute(_SELECT) if sealing.crc(row[:-1]) != row[-1]]

    def _night(self, decision_id: str) -> Night:
        with suppress(DecisionError):  # what cannot be read is not sent either
            return night_of(self.read(decision_id))
        return Night()

    def _key(self, pseudonym: str) -> bytes | None:
        row = self._db.execute("SELECT key FROM pseudonyms WHERE pseudonym = ?", (pseudonym,)).fetchone()
        return None if row is None else row[0]

    def _pseudonym(self, customer_id: str) -> tuple[str, bytes]:
        known = self._db.execute(
            "SELECT pseudonym, key FROM pseudonyms WHERE customer_id = ?", (customer_id,)
        ).fetchone()
        if known is not None:
            return known[0], known[1]
        if Tombstones.of(self.settings).customers([customer_id]):  # since this decision began
            raise CustomerErased("this customer was erased: nothing is decided about them")
        fresh = (customer_id, secrets.token_hex(16), secrets.token_bytes(32))
        self._db.execute("INSERT INTO pseudonyms VALUES (?, ?, ?)", fresh)
        return fresh[1], fresh[2]

    def _context(self, body: bytes) -> str:
        hash = hashlib.sha256(body).hexdigest()[:32]
        self._db.execute("INSERT INTO contexts VALUES (?, ?) ON CONFLICT DO NOTHING", (hash, body))
        return hash


def exists(settings: Settings) -> bool:
    """Whether there is a ledger to open; opening it would make one."""
    return settings.ledger != "sqlite" or path_of(settings).exists()


def _unusable(settings: Settings, how: str, error: Exception) -> DecisionError:
    if settings.ledger == "sqlite":
        return DecisionError(
            f"{path_of(settings)} could not be {how} ({error}): look at its disk; restore its backup if the "
            "file is damaged"
        )
    said = database.said_of(settings.ledger, error)
    return DecisionError(
        f"the ledger in the PostgreSQL database {database.name_of(settings.ledger)} could not be {how} "
        f"({said}): check that the server runs, and the address, user and password in PROPENSITY_LEDGER"
    )


def _unknown() -> UnknownDecision:
    return UnknownDecision("no such decision: look up the decision_id of the answer")

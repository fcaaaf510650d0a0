"""The ledger of test keys: the real one's code on a database in memory, which ends with the process.

So a repeat, a report that contradicts another and a refund are answered as they will be. It holds the last
decisions and reports only, whatever is sent.
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

import msgspec

from features.moments import parse_moment
from features.settings import Settings
from serving import ledger_schema
from serving.answer_types import DecisionAnswer
from serving.decision_context import DecisionContext
from serving.decisions import entry_of, reservation_of
from serving.ledger import Entry, Ledger
from serving.ledger_store import SqliteStore
from serving.sealing import Sealed
from serving.situation import Inputs, Rules

KEPT = 10_000  # decisions, and as many deliveries, outcomes and reservations


class MemoryStore(SqliteStore):
    """A ledger of no file, of which the oldest rows may be deleted."""

    def __init__(self) -> None:
        self.name = "the ledger of test keys, which each process has of its own,"
        self._db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._db.executescript(ledger_schema.sqlite_script())
        self._group, self._read_only = None, False
        for (trigger,) in self._db.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall():
            self._db.execute(f"DROP TRIGGER {trigger}")

    def look(self) -> None:
        pass  # nothing happens to memory

    def _require_opened(self) -> None:
        pass

    def trim(self, most: int = KEPT) -> None:
        """Delete what is older than the last `most` of each."""
        for table in ("decisions", "deliveries", "outcomes", "reservations"):
            last = f"SELECT max(rowid) FROM {table}"
            self._db.execute(f"DELETE FROM {table} WHERE rowid <= ({last}) - ?", (most,))


class SandboxLedger(Ledger):
    """Decisions about made-up customers, and what is reported of them."""

    def __init__(self, settings: Settings) -> None:
        self._store = MemoryStore()
        super().__init__(replace(settings, ledger="sqlite"), self._store)

    def last(self, customer_id: str) -> Entry | None:
        """As `Ledger.last`: those of one day, all of them taken at its midnight, in the order of writing."""
        with self.reading() as db:
            row = db.execute(
                "SELECT id FROM decisions JOIN pseudonyms USING (pseudonym) WHERE customer_id = ? "
                "ORDER BY as_of DESC, decisions.rowid DESC LIMIT 1",
                (customer_id,),
            ).fetchone()
        return None if row is None else self.read(row[0])

    def goes_at(self, decision_id: str) -> datetime | None:
        """When what was decided is to be sent; None for nothing. UnknownDecision."""
        sealed = self.read(decision_id).sealed
        assert sealed is not None
        at = msgspec.json.decode(sealed.answer, type=DecisionAnswer).send_at
        return None if at is None else parse_moment(at)

    def trim(self) -> None:
        """Forget the oldest: to be called after a request that wrote."""
        self._store.trim()

    def keep(
        self,
        context: DecisionContext,
        rules: Rules,
        inputs: Inputs,
        row: Mapping[str, float],
        taken: DecisionAnswer,
        client: str,
        key: str,
        request: bytes,
    ) -> None:
        """Write a decision down, as `decisions.take_decision` does, with what it reserves."""
        sealed = Sealed(inputs.customer_id, b"", b"", msgspec.json.encode(taken))
        entry = entry_of(context, rules, inputs, taken, client, key, sealed)
        with self.deciding():
            self.append(entry, request, reservation_of(context, rules, row, inputs, taken))
        self.trim()

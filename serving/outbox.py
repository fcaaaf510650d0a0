"""What customers were last told to be, and the events that are to be pushed: one file, so that both change at
once or not at all.

pushes/pushes.sqlite
    told         of each thing that is followed (warning.churn_warning, stage.stage): customer -> state
    baselines    of each thing: what its states rest on, and the moment that they are of
    events       what happened, as it is sent; gone KEPT after it was written
    deliveries   an event and a hook: waiting, delivered or dead (`deliveries`)
    hooks        of each hook: whether it is called, and what its last tries said
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from features.embedded import Embedded
from features.errors import DecisionError
from features.moments import from_us, to_us
from features.settings import Settings, clock
from features.tombstones import Tombstones
from serving.cloudevents import Event
from serving.hooks import Pushes

KEPT = timedelta(days=90)
_SCHEMA = """
CREATE TABLE told (
  thing TEXT NOT NULL, customer_id TEXT NOT NULL, state TEXT NOT NULL, PRIMARY KEY (thing, customer_id)
) WITHOUT ROWID;
CREATE INDEX told_by_customer ON told (customer_id);
CREATE TABLE baselines (thing TEXT PRIMARY KEY, basis TEXT NOT NULL, moment INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE events (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, name TEXT NOT NULL,
  customer_id TEXT NOT NULL, written INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE INDEX events_by_customer ON events (customer_id);
CREATE TABLE deliveries (
  client TEXT NOT NULL, sequence INTEGER NOT NULL REFERENCES events ON DELETE CASCADE,
  customer_id TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'waiting', tries INTEGER NOT NULL DEFAULT 0,
  next INTEGER NOT NULL DEFAULT 0, changed INTEGER NOT NULL, why TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (client, sequence)
) WITHOUT ROWID;
CREATE INDEX waiting ON deliveries (client, customer_id, sequence) WHERE state = 'waiting';
CREATE INDEX by_state ON deliveries (client, state, next);
CREATE INDEX deliveries_of_event ON deliveries (sequence);
CREATE TABLE hooks (
  client TEXT PRIMARY KEY, off TEXT NOT NULL DEFAULT '', failures INTEGER NOT NULL DEFAULT 0,
  next INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
PRAGMA user_version = 1;
"""


@dataclass(frozen=True)
class Told:
    """What was last told of a thing. basis: what the states rest on. states: customer -> state."""

    basis: str
    moment: datetime
    states: Mapping[str, str]


@dataclass(frozen=True)
class Settled:
    """What is told of a thing from now on. changed: customer -> state, None: in none any more."""

    thing: str
    basis: str
    moment: datetime
    changed: Mapping[str, str | None]


class Outbox(Embedded):
    """The file of a home, created when first opened. DecisionError if it cannot be used."""

    error = DecisionError
    else_lost = "everything is followed anew, without an event"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        super().__init__(path(settings), _SCHEMA)
        self.lock = self.path.with_name(".run.lock")  # of whoever compares
        with self.used():
            self.db.execute("PRAGMA secure_delete = ON")
            self.db.execute("PRAGMA foreign_keys = ON")

    def things(self) -> list[str]:
        """All that was ever followed and is not forgotten."""
        with self.used():
            return [row[0] for row in self.db.execute("SELECT thing FROM baselines ORDER BY thing")]

    def told(self, thing: str) -> Told | None:
        """What was last told of it; None if it was never followed."""
        with self.used():
            row = self.db.execute("SELECT basis, moment FROM baselines WHERE thing = ?", (thing,)).fetchone()
            if row is None:
                return None
            states = self.db.execute("SELECT customer_id, state FROM told WHERE thing = ?", (thing,))
            return Told(row[0], from_us(row[1]), dict(states.fetchall()))

    def settle(
        self, settled: Sequence[Settled], events: Sequence[Event], pushes: Pushes, gone: Collection[str] = ()
    ) -> int:
        """Take over what is told from now on, with the events that say so; return how many were new.

        Whoever was erased meanwhile is left out. gone: things that are followed no more.
        """
        with self.writing():
            erased = Tombstones.of(self._settings).customers(
                {id for one in settled for id in one.changed} | {event.customer for event in events}
            )
            for thing in gone:
                self.db.execute("DELETE FROM told WHERE thing = ?", (thing,))
                self.db.execute("DELETE FROM baselines WHERE thing = ?", (thing,))
            for one in settled:
                self._settle(one, erased)
            written = self._write([event for event in events if event.customer not in erased], pushes)
            self.db.execute("DELETE FROM events WHERE written <= ?", (to_us(clock() - KEPT),))
        return written

    def write(self, events: Sequence[Event], pushes: Pushes, only: str | None = None) -> int:
        """Write events for the hooks that want them; return how many were new. only: for that hook alone."""
        with self.writing():
            erased = Tombstones.of(self._settings).customers({event.customer for event in events})
            return self._write([event for event in events if event.customer not in erased], pushes, only)

    def erase(self, customers: Collection[str]) -> None:
        """Forget these customers: what they were told to be, and every event of theirs, dead ones too."""
        ids = json.dumps(sorted(customers))
        with self.writing():
            for table in ("told", "events"):  # deliveries go with their events
                self.db.execute(
                    f"DELETE FROM {table} WHERE customer_id IN (SELECT value FROM json_each(?))", (ids,)
                )
        with self.used():
            busy = self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if busy:
            raise DecisionError(
                f"they are deleted, but a reader keeps a copy in {self.path}-wal: erase again later"
            )

    def customers(self) -> dict[str, int]:
        """Customer -> states and events that are kept."""
        with self.used():
            rows = self.db.execute(
                "SELECT customer_id, count(*) FROM (SELECT customer_id FROM told UNION ALL "
                "SELECT customer_id FROM events WHERE customer_id != '') GROUP BY 1"
            )
            return dict(rows.fetchall())

    def _settle(self, one: Settled, erased: Collection[str]) -> None:
        self.db.execute(
            "INSERT OR REPLACE INTO baselines VALUES (?, ?, ?)", (one.thing, one.basis, to_us(one.moment))
        )
        out = [(one.thing, id) for id, state in one.changed.items() if state is None]
        self.db.executemany("DELETE FROM told WHERE thing = ? AND customer_id = ?", out)
        into = ((one.thing, i, s) for i, s in one.changed.items() if s is not None and i not in erased)
        self.db.executemany("INSERT OR REPLACE INTO told VALUES (?, ?, ?)", into)

    def _write(self, events: Iterable[Event], pushes: Pushes, only: str | None = None) -> int:
        found = self.db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
        now, new = to_us(clock()), 0
        # By the clock: after a restore from a backup it still is higher than what was sent before.
        last = max(now, 0 if found is None else int(found[0]))
        for event in events:
            inserted = self.db.execute(
                "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
                (
                    last + 1, event.id, event.kind, event.name, event.customer, now,
                    event.body(pushes.source, last + 1),
                ),
            ).rowcount  # fmt: skip
            if not inserted:
                continue
            last, new = last + 1, new + 1
            for client, hook in pushes.hooks.items():
                if client == only or (only is None and hook.wants(event.kind, event.name)):
                    self.db.execute(
                        "INSERT INTO deliveries (client, sequence, customer_id, changed) VALUES (?, ?, ?, ?)",
                        (client, last, event.customer, now),
                    )
        return new


def path(settings: Settings) -> Path:
    """Where the file is, or would be."""
    return settings.home / "pushes" / "pushes.sqlite"


def exists(settings: Settings) -> bool:
    """Whether anything was ever followed or pushed."""
    return path(settings).exists()

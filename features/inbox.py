"""Fresh events, kept from the moment that we say `accepted`: the raw file of the log's source `inbox`.

    log/inbox/events.sqlite  events    what came in: each (source, id) once, and a digest of what it said
                             rows      the log's rows that it became, without known_at: that is when it came
                             taken     how far each generation of the log has taken the inbox in
                             refused   what of it the log did not take then, and why
                             aliases   ids that are another's, as the published log knows: see people.py
                             overlaid  how far each customer's overlay row has, of the publication in force
    log/inbox/rows/          all rows as the log's ingestion reads them, a file a table

What is accepted is on the disk (WAL, synchronous = FULL: a commit waits for the disk, one a request), so
neither a killed process nor a power cut loses it. A row is known from the moment that it came, never earlier.
"""

import json
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import RLock
from typing import Any, Literal

from features.errors import LogError
from features.files import refused
from features.inbox_file import make, opened, transaction
from features.moments import from_us, iso, to_us
from features.settings import Settings, clock
from features.tables import TABLES
from features.tombstones import Tombstones

_BODY = "SELECT body FROM rows"
# Whose an id is; a merge of two ids is the log's to say, and holds from its next publication on.
_PERSON = """coalesce((SELECT canonical_id FROM aliases WHERE aliases.customer_id = {0}.customer_id),
                      {0}.customer_id)"""
# Why the log did not take an event: of an order and its lines, why not the order; '' if somebody mended it.
_REFUSAL = """SELECT reason FROM refused JOIN events ON number = event WHERE source = ? AND id = ?
              ORDER BY "table" DESC LIMIT 1"""

RECENT = 60.0  # seconds for which the last failure to write is still told, unless one succeeded since

Outcome = Literal["accepted", "duplicate", "event_conflict", "event_refused", "customer_erased"]


@dataclass(frozen=True)
class Arrival:
    """One event that came in. digest: of what it says. rows: (table, columns but the customer and times).

    told_as: (source, source id), if it named its customer so.
    """

    source: str
    id: str
    digest: bytes
    customer_id: str
    at: datetime
    rows: Sequence[tuple[str, Mapping[str, Any]]]
    told_as: tuple[str, str] | None = None

    def erased(self, tombstones: Tombstones) -> bool:
        """Whether it is about somebody erased, under whichever name."""
        pairs = [self.told_as] if self.told_as else []
        names = {self.customer_id, *(named(*pair) for pair in pairs)}
        return bool(tombstones.customers(names) or tombstones.identities(pairs))


@dataclass(frozen=True)
class Kept:
    """One row of the log that waits in the inbox, or that the log has taken in. body: its columns."""

    table: str
    customer_id: str
    known_at: datetime
    number: int
    body: Mapping[str, Any]


class Inbox:
    """The inbox of a home. Created by the first event; until then it reads as empty. Threads may share it."""

    def __init__(self, settings: Settings) -> None:
        self.folder = settings.home / "log" / "inbox"
        self.path = self.folder / "events.sqlite"
        self._settings = settings
        self._lock = RLock()
        self._open: sqlite3.Connection | None = None
        self._file = 0  # the inode of what is open
        self._openings = 0
        self._failed: tuple[float, LogError] | None = None  # since something was kept: when last, and how

    def accept(self, arrivals: Sequence[Arrival], received_at: datetime) -> list[tuple[Outcome, str]]:
        """Keep what is new, all of it or nothing, and return (outcome, customer) of each, in order.

        duplicate: the same was kept before, under this id or another. event_conflict: its id was kept with
        another content, or another event already says otherwise about the same thing. event_refused: the same
        was kept before, and the log did not take it: see `refusal`. customer_erased: nothing of it is kept.
        LogError if the disk refuses. A time after `received_at` becomes it: the other clock runs ahead.
        """
        with self._used(create=True) as db, transaction(db):
            # Read here: an erasure writes them first, and clears the inbox of what was accepted until then.
            tombstones = Tombstones.of(self._settings)
            return [self._accept(db, arrival, received_at, tombstones) for arrival in arrivals]

    def _accept(
        self, db: sqlite3.Connection, arrival: Arrival, received_at: datetime, tombstones: Tombstones
    ) -> tuple[Outcome, str]:
        if arrival.erased(tombstones):
            return "customer_erased", arrival.customer_id
        found = db.execute(
            "SELECT digest, customer_id FROM events WHERE source = ? AND id = ?", (arrival.source, arrival.id)
        ).fetchone()
        if found is not None:
            if found[0] != arrival.digest:
                return "event_conflict", found[1]
            (refused,) = db.execute(f"SELECT ({_REFUSAL})", (arrival.source, arrival.id)).fetchone()
            return ("event_refused" if refused else "duplicate"), found[1]
        common = {"customer_id": arrival.customer_id, "at": iso(min(arrival.at, received_at))}
        rows = [(table, _key(table, {**row, **common}), {**row, **common}) for table, row in arrival.rows]
        told = [(table, key, row) for table, key, row in rows if table != "identities"]
        known = [
            db.execute(f'{_BODY} WHERE "table" = ? AND key = ?', (table, key)).fetchone()
            for table, key, _ in told
        ]
        if any(held and json.loads(held[0]) != row for held, (_, _, row) in zip(known, told, strict=True)):
            return "event_conflict", arrival.customer_id
        if all(known):  # by another id, or by another system
            return "duplicate", arrival.customer_id
        (number,) = db.execute(
            "INSERT INTO events (source, id, customer_id, received_at, digest, told_at) "
            "VALUES (?, ?, ?, ?, ?, ?) RETURNING number",
            (
                *(arrival.source, arrival.id, arrival.customer_id, to_us(received_at), arrival.digest),
                to_us(clock()),
            ),
        ).fetchone()
        db.executemany(
            "INSERT INTO rows VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            ((table, key, number, arrival.customer_id, json.dumps(row)) for table, key, row in rows),
        )
        return "accepted", arrival.customer_id

    def require_usable(self) -> None:
        """LogError if events could not be kept a moment ago, and none was since."""
        failed = self._failed
        if failed is not None and time.monotonic() - failed[0] < RECENT:
            raise LogError(str(failed[1]))

    def refusal(self, source: str, id: str) -> str | None:
        """Why the log did not take an event when it last took the inbox in; None if it did, or has yet to."""
        return (self._read(f"SELECT ({_REFUSAL})", source, id) or [(None,)])[0][0] or None

    def resolve(self, source: str, source_id: str) -> str | None:
        """The customer whom an event first named so; None if none did."""
        customer_id = named(source, source_id)
        key = _key("identities", {"source": source, "source_id": source_id, "customer_id": customer_id})
        query = f"{_BODY} WHERE \"table\" = 'identities' AND key = ?"
        return customer_id if self._read(query, key) else None

    def last(self) -> int:
        """Number of the last event; 0 if there is none."""
        return int((self._read("SELECT max(number) FROM events") or [(None,)])[0][0] or 0)

    def customers(self, after: int, since: datetime | None = None) -> dict[str, int]:
        """Customers with an event of a larger number, or that came after `since`: customer -> last number."""
        late = -1 if since is None else to_us(since)
        found = self._read(
            f"SELECT {_PERSON.format('events')} AS person, max(number) FROM events "
            "WHERE number > ? OR (? >= 0 AND received_at > ?) GROUP BY person ORDER BY min(number)",
            after, late, late,
        )  # fmt: skip
        return dict(found)

    def waiting(
        self, publication: str, taken: int, since: datetime, start: int = 0
    ) -> tuple[int, datetime] | None:
        """(number, when it came by the machine's clock) of the first event, from number `start` on, that
        neither that publication nor an overlay row of it has.

        publication: its `Published.key`. taken, since: it has events up to that number that came by then.
        """
        found = self._read(
            f"""SELECT number, coalesce(told_at, received_at) FROM events
            WHERE number >= ? AND (number > ? OR received_at > ?) AND number > coalesce((
              SELECT o.number FROM overlaid o
              WHERE o.customer_id = {_PERSON.format("events")} AND o.publication = ?
            ), 0) ORDER BY number LIMIT 1""",
            start, taken, to_us(since), publication,
        )  # fmt: skip
        return (int(found[0][0]), from_us(found[0][1])) if found else None

    def rows(self, customer_ids: Sequence[str], tables: Sequence[str] = tuple(TABLES)) -> list[Kept]:
        """Every row of these customers, under each of their ids, in these tables, in the order in which they
        came; `customer_id` is the person's everywhere. Without what the log did not take.
        """
        of = (
            "rows.customer_id IN (SELECT value FROM json_each(?1) UNION "
            "SELECT customer_id FROM aliases WHERE canonical_id IN (SELECT value FROM json_each(?1))) "
            'AND "table" IN (SELECT value FROM json_each(?2))'
        )
        return self._kept(of, json.dumps(list(customer_ids)), json.dumps(list(tables)))

    def of_table(self, table: str) -> list[Kept]:
        """Every row of everybody in one table, likewise."""
        return self._kept('"table" = ?', table)

    def tellers(self, table: str, after: int, since: datetime) -> set[str]:
        """Who has a row in that table by an event of a larger number, or that came after `since`."""
        found = self._read(
            f'SELECT DISTINCT {_PERSON.format("rows")} FROM rows JOIN events ON number = event '
            'WHERE "table" = ? AND (number > ? OR received_at > ?)',
            table, after, to_us(since),
        )  # fmt: skip
        return {who for (who,) in found}

    def _kept(self, of: str, *values: str) -> list[Kept]:
        query = (
            f'SELECT "table", {_PERSON.format("rows")}, received_at, number, body FROM rows '
            f"JOIN events ON number = event WHERE {of} "
            'AND NOT EXISTS (SELECT 1 FROM refused f WHERE f.event = number AND f."table" = rows."table") '
            'ORDER BY number, "table", key'
        )
        return [
            Kept(table, who, from_us(came), number, json.loads(body) | {"customer_id": who})
            for table, who, came, number, body in self._read(query, *values)
        ]

    def taken(self, log: str) -> int:
        """Number of the last event that this generation of the log has; 0 if it has none."""
        return int((self._read("SELECT number FROM taken WHERE log = ?", log) or [(0,)])[0][0])

    def note_taken(self, log: str, number: int, refused: Iterable[tuple[int, str, str]] = ()) -> None:
        """This generation of the log has every event up to that number.

        refused: (event, table, why, or '' if it was mended) of what it did not take; `rows` leaves it out.
        """
        upsert = "INSERT INTO taken VALUES (?, ?) ON CONFLICT DO UPDATE SET number = excluded.number"
        with self._used(create=True) as db, transaction(db):
            db.execute(upsert, (log, number))
            db.execute("DELETE FROM refused")
            db.executemany("INSERT OR IGNORE INTO refused VALUES (?, ?, ?)", refused)
            db.execute(
                "DELETE FROM refused WHERE event NOT IN (SELECT number FROM events)"
            )  # erased meanwhile

    def overlaid(self, customer_id: str) -> tuple[str, int]:
        """The publication, by its `key`, of her overlay row, and its last event's number; else ("", 0)."""
        found = self._read("SELECT publication, number FROM overlaid WHERE customer_id = ?", customer_id)
        return (found[0][0], found[0][1]) if found else ("", 0)

    def note_overlaid(self, publication: str, numbers: Mapping[str, int]) -> None:
        """Overlay rows of that publication, a `Published.key`, have these customers' events up to those."""
        with self._used() as db, transaction(db):
            db.executemany(
                "INSERT OR REPLACE INTO overlaid VALUES (?, ?, ?)",
                ((id, publication, numbers[id]) for id in self._left(numbers)),
            )

    def whose(self, customer_ids: Sequence[str]) -> dict[str, str]:
        """Of those ids that are another's: whose, as noted last."""
        ids = "SELECT value FROM json_each(?)"
        of = f"SELECT customer_id, canonical_id FROM aliases WHERE customer_id IN ({ids})"
        return dict(self._read(of, json.dumps(list(customer_ids))))

    def note_aliases(self, canonical: Mapping[str, str]) -> None:
        """These ids are another's, and no others."""
        if canonical == dict(self._read("SELECT customer_id, canonical_id FROM aliases")):
            return
        with self._used(create=True) as db, transaction(db):
            db.execute("DELETE FROM aliases")
            left = self._left({*canonical, *canonical.values()})
            pairs = ((id, whose) for id, whose in canonical.items() if {id, whose} <= left)
            db.executemany("INSERT INTO aliases VALUES (?, ?)", pairs)

    def _left(self, customer_ids: Collection[str]) -> set[str]:
        """Those of them who are not erased. Within a transaction: tombstones come before `erase` here, so who
        is erased while we write is on the list, or goes after us."""
        return {*customer_ids} - Tombstones.of(self._settings).customers(customer_ids)

    def forget_overlaid(self) -> None:
        """No overlay row is certain to be there: all will be written anew."""
        if self.path.exists():  # else no event was ever kept, and of a host without a log none will be
            self._write("DELETE FROM overlaid")

    def people(self) -> dict[str, int]:
        """Everybody of whom the inbox has anything, under each of their ids, and how many events."""
        found = self._read(
            "SELECT customer_id, count(*) FROM events GROUP BY 1 UNION ALL SELECT customer_id, 0 FROM rows "
            "UNION ALL SELECT customer_id, 0 FROM overlaid UNION ALL SELECT customer_id, 0 FROM aliases"
        )
        return dict(sorted(found, key=lambda of: of[1]))  # the count comes last

    def people_of(self, customer_ids: Sequence[str]) -> set[str]:
        """Those of these ids of whom an event was kept."""
        of = "SELECT DISTINCT customer_id FROM events WHERE customer_id IN (SELECT value FROM json_each(?))"
        return {id for (id,) in self._read(of, json.dumps(list(customer_ids)))}

    def identities(self) -> list[tuple[str, str, str]]:
        """(source, source id, customer) of everybody whom an event first named so."""
        bodies = [json.loads(body) for (body,) in self._read(f"{_BODY} WHERE \"table\" = 'identities'")]
        return [(body["source"], body["source_id"], body["customer_id"]) for body in bodies]

    def changes(self) -> int:
        """A number that changes whenever another process has written, and when the file was opened anew: each
        connection counts what others wrote from its own beginning."""
        if not self.path.exists():
            return 0
        with self._used() as db:
            return self._openings << 32 | int(db.execute("PRAGMA data_version").fetchone()[0])

    def erase(self, customer_ids: Sequence[str]) -> None:
        """Remove these customers' events and rows, also from what ingestion reads."""
        if not self.path.exists():
            return
        ids = json.dumps(list(customer_ids))
        of = "WHERE customer_id IN (SELECT value FROM json_each(?))"
        with self._used() as db:
            with transaction(db):
                db.execute(f"DELETE FROM refused WHERE event IN (SELECT number FROM events {of})", (ids,))
                for table in ("rows", "overlaid", "aliases", "events"):
                    db.execute(f"DELETE FROM {table} {of}", (ids,))
            busy = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if (self.folder / "rows").exists():
            self.write_rows()
        if busy:
            raise LogError(
                f"they are deleted, but a reader keeps a copy in {self.path}-wal: erase again later"
            )

    def write_rows(self) -> tuple[Path, int]:
        """Write all rows as ingestion reads them; return their folder and the number of the last event.

        A file of JSON lines for each table that has rows: its columns, and `_line`, the number of the event.
        The same events give the same bytes.
        """
        folder = self.folder / "rows"
        folder.mkdir(parents=True, exist_ok=True)
        with self._used(create=True) as db, transaction(db, "BEGIN"):  # one view of all tables
            last = db.execute("SELECT coalesce(max(number), 0) FROM events").fetchone()[0]
            for table in TABLES:
                path = folder / f"{table}.jsonl"
                rows = db.execute(
                    "SELECT number, received_at, body FROM rows JOIN events ON number = event "
                    'WHERE "table" = ? ORDER BY number, key',
                    (table,),
                )
                with path.with_suffix(".writing").open("w", encoding="utf-8") as file:
                    for number, came, body in rows:
                        known = {"_line": number, "known_at": iso(from_us(came))}
                        file.write(json.dumps(known | json.loads(body)) + "\n")
                if path.with_suffix(".writing").stat().st_size:
                    path.with_suffix(".writing").replace(path)
                else:
                    path.with_suffix(".writing").unlink()
                    path.unlink(missing_ok=True)
        return folder, int(last)

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        with self._lock:
            if self._open is not None:
                self._open.close()
                self._open = None

    def _read(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        if not self.path.exists():
            return []
        with self._used() as db:
            return db.execute(query, values).fetchall()

    def _write(self, statement: str, *values: Any) -> None:
        with self._used(create=True) as db:
            db.execute(statement, values)

    def _followed(self) -> sqlite3.Connection:
        """The connection to the file that is there now: an older one would go on in a deleted file."""
        try:
            file = self.path.stat().st_ino
        except FileNotFoundError:
            raise sqlite3.OperationalError("it is gone") from None
        if self._open is None or file != self._file:
            self.close()
            self._open, self._file = opened(self.path), file
            self._openings += 1
        return self._open

    @contextmanager
    def _used(self, create: bool = False) -> Iterator[sqlite3.Connection]:
        """The connection to ourselves; what SQLite, or the system, says of it becomes a LogError."""
        with self._lock:
            try:
                if create:
                    make(self.path)
                yield self._followed()
            except (sqlite3.Error, OSError) as error:
                self.close()  # what could not be written when it was opened stays so for as long as it is
                unusable = LogError(
                    (refused(error, self.path) if isinstance(error, OSError) else None)
                    or f"{self.path} could not be used, and nothing was changed ({error}): look at its disk; "
                    "restore its backup if the file is damaged"
                )
                if create:
                    self._failed = time.monotonic(), unusable
                raise unusable from error
            if create:
                self._failed = None


def named(source: str, source_id: str) -> str:
    """The id of a customer who is known by another system's id alone. A later file that says whose it is
    makes the two one."""
    return f"{source}:{source_id}"


def _key(table: str, row: Mapping[str, Any]) -> str:
    return json.dumps([row[column] for column in TABLES[table].key])

"""Which event goes to which hook, when, and what became of it: the other half of the outbox's file.

Of each customer a hook is told in order: an event waits until those before it were delivered, or are dead.
Times are the machine's, in microseconds since 1970: tries have nothing to do with a log's past.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from features.errors import UsageError
from features.moments import from_us, to_us
from features.settings import clock
from serving.hooks import Hook
from serving.outbox import Outbox


class Delivery(NamedTuple):
    """An event on its way to a hook. tries: made before."""

    sequence: int
    id: str
    customer: str
    tries: int
    body: bytes


class Dead(NamedTuple):
    """An event that could not be delivered."""

    id: str
    client: str
    what: str  # kind.name
    written: datetime
    tries: int
    why: str


@dataclass(frozen=True)
class Standing:
    """How a hook stands. off: why it is not called, "" if it is. failures: in a row. next: not before."""

    off: str
    failures: int
    next: datetime
    waiting: int = 0
    delivered: int = 0
    dead: int = 0
    oldest: datetime | None = None  # of what waits
    why: str = ""  # its last failure that stands


class Deliveries:
    """The deliveries of an outbox."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def ready(self, client: str, now: datetime, limit: int, busy: Collection[str]) -> list[Delivery]:
        """What may be sent now: of each customer the first that waits, oldest first. busy: customers of whom
        something is on its way already."""
        with self._outbox.used():
            rows = self._outbox.db.execute(
                "SELECT d.sequence, d.customer_id, d.tries FROM deliveries d "
                "WHERE d.client = ? AND d.state = 'waiting' AND d.next <= ? AND NOT EXISTS ("
                "  SELECT 1 FROM deliveries e WHERE e.client = d.client AND e.state = 'waiting' "
                "  AND e.customer_id = d.customer_id AND e.sequence < d.sequence) "
                "ORDER BY d.sequence LIMIT ?",
                (client, to_us(now), limit + len(busy)),
            ).fetchall()
            free = [row for row in rows if row[1] not in busy][:limit]
            found = []
            for sequence, customer, tries in free:
                event = self._outbox.db.execute(
                    "SELECT id, body FROM events WHERE sequence = ?", (sequence,)
                ).fetchone()
                if event is not None:  # else she was erased meanwhile
                    found.append(Delivery(sequence, event[0], customer, tries, event[1]))
            return found

    def delivered(self, client: str, sequence: int) -> None:
        """It arrived: the hook is well. If it asked us to wait meanwhile, we still do."""
        with self._outbox.writing():
            self._note(client, sequence, "delivered", clock(), "")
            self._outbox.db.execute("UPDATE hooks SET failures = 0 WHERE client = ?", (client,))

    def failed(
        self,
        client: str,
        sequence: int,
        why: str,
        again: datetime | None,
        paused: tuple[int, datetime] | None,
    ) -> None:
        """It did not arrive. again: when it is tried next, None: it is dead. paused: the hook's failures in a
        row, and before when it is not called; None: the failure is this event's own."""
        with self._outbox.writing():
            self._note(client, sequence, "waiting" if again else "dead", again or clock(), why)
            if paused is not None:
                self._stand(client, *paused)

    def turn(self, client: str, off: str) -> None:
        """Call a hook no more, and why; or, for "", again."""
        with self._outbox.writing():
            self._stand(client, 0, clock())
            self._outbox.db.execute("UPDATE hooks SET off = ? WHERE client = ?", (off, client))

    def skip(self, client: str) -> int:
        """Forget what waits for a hook; how many."""
        with self._outbox.writing():
            return self._outbox.db.execute(
                "DELETE FROM deliveries WHERE client = ? AND state = 'waiting'", (client,)
            ).rowcount

    def standing(self, client: str) -> Standing:
        """How a hook stands, without counts."""
        with self._outbox.used():
            row = self._outbox.db.execute(
                "SELECT off, failures, next FROM hooks WHERE client = ?", (client,)
            ).fetchone()
        return Standing(row[0], row[1], from_us(row[2])) if row else Standing("", 0, from_us(0))

    def counted(self, client: str) -> Standing:
        """How a hook stands, with what waits, arrived and is dead."""
        now = self.standing(client)
        with self._outbox.used():
            db = self._outbox.db
            of = dict(
                db.execute(
                    "SELECT state, count(*) FROM deliveries WHERE client = ? GROUP BY 1", (client,)
                ).fetchall()
            )
            oldest = db.execute(
                "SELECT min(e.written) FROM deliveries d JOIN events e USING (sequence) "
                "WHERE d.client = ? AND d.state = 'waiting'",
                (client,),
            ).fetchone()[0]
            why = db.execute(
                "SELECT why FROM deliveries WHERE client = ? AND why != '' ORDER BY changed DESC LIMIT 1",
                (client,),
            ).fetchone()
        return Standing(
            now.off, now.failures, now.next, of.get("waiting", 0), of.get("delivered", 0), of.get("dead", 0),
            None if oldest is None else from_us(oldest), why[0] if why else "",
        )  # fmt: skip

    def clients(self) -> list[str]:
        """Every hook that anything was for, declared or not."""
        with self._outbox.used():
            rows = self._outbox.db.execute(
                "SELECT DISTINCT client FROM deliveries UNION SELECT client FROM hooks"
            )
            return sorted(row[0] for row in rows)

    def soonest(self, client: str) -> datetime | None:
        """When something that waits for it is to be tried; None if nothing waits."""
        with self._outbox.used():
            row = self._outbox.db.execute(
                "SELECT min(next) FROM deliveries WHERE client = ? AND state = 'waiting'", (client,)
            ).fetchone()
        return None if row[0] is None else from_us(row[0])

    def given_up(self) -> dict[str, int]:
        """How many events are dead, of every hook that anything was for."""
        count = "SELECT count(*) FROM deliveries WHERE client = ? AND state = 'dead'"
        clients = self.clients()
        with self._outbox.used():
            return {client: self._outbox.db.execute(count, (client,)).fetchone()[0] for client in clients}

    def dead(self, client: str | None = None) -> Iterator[Dead]:
        """What could not be delivered, oldest first."""
        with self._outbox.used():
            rows = self._outbox.db.execute(
                "SELECT e.id, d.client, e.kind || '.' || e.name, e.written, d.tries, d.why FROM deliveries d "
                "JOIN events e USING (sequence) WHERE d.state = 'dead' AND ? IN (d.client, '') "
                "ORDER BY d.sequence",
                (client or "",),
            ).fetchall()
        for id, of, what, written, tries, why in rows:
            yield Dead(id, of, what, from_us(written), tries, why)

    def replay_dead(self, client: str | None = None) -> int:
        """Have what is dead tried again, as if it were new; how many."""
        with self._outbox.writing():
            return self._outbox.db.execute(
                "UPDATE deliveries SET state = 'waiting', tries = 0, next = 0 "
                "WHERE state = 'dead' AND ? IN (client, '')",
                (client or "",),
            ).rowcount

    def replay_since(self, hook: Hook, since: datetime) -> int:
        """Have all that a hook wants of what was written since sent, once more or for the first time."""
        with self._outbox.writing():
            db = self._outbox.db
            rows = db.execute(
                "SELECT sequence, customer_id, kind, name FROM events WHERE written >= ? ORDER BY sequence",
                (to_us(since),),
            ).fetchall()
            wanted = [
                (hook.client, seq, customer, to_us(clock())) for seq, customer, *of in rows if hook.wants(*of)
            ]
            db.executemany(
                "INSERT INTO deliveries (client, sequence, customer_id, changed) VALUES (?, ?, ?, ?) "
                "ON CONFLICT DO UPDATE SET state = 'waiting', tries = 0, next = 0, why = ''",
                wanted,
            )
        return len(wanted)

    def _note(self, client: str, sequence: int, state: str, next: datetime, why: str) -> None:
        self._outbox.db.execute(
            "UPDATE deliveries SET state = ?, tries = tries + 1, next = ?, why = ?, changed = ? "
            "WHERE client = ? AND sequence = ?",
            (state, to_us(next), why, to_us(clock()), client, sequence),
        )

    def _stand(self, client: str, failures: int, next: datetime) -> None:
        self._outbox.db.execute(
            "INSERT INTO hooks (client, failures, next) VALUES (?, ?, ?) "
            "ON CONFLICT DO UPDATE SET failures = excluded.failures, next = excluded.next",
            (client, failures, to_us(next)),
        )


def require(hooks: Collection[str], client: str) -> None:
    """UsageError for a client that no hook is of."""
    if client not in hooks:
        raise UsageError(f"no hook is of {client!r}; there are {', '.join(hooks) or 'none'}")

"""Messages on their way to the sinks: each sink in order, again until it arrives, whatever the others do.

A message that does not arrive is tried again after PATIENCE, longer each time, TRIES times; then it is dead,
and kept. What comes after it waits, so that nobody reads that a fault is over before that it began. A sink
that was never set up (no secret) uses up no tries. Tries go by the machine's clock.
"""

import fcntl
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from features.moments import from_us, to_us
from features.settings import SINK, Settings, clock
from monitoring.alert_store import AlertStore
from monitoring.routes import Routes
from monitoring.sinks import Sink
from monitoring.sinks.letters import Letter, NotDeliveredError
from serving.webhooks import Patience

TRIES = 24
PATIENCE = Patience(
    first=60, factor=3, longest=6 * 3600
)  # three days and more until a message is dead: a weekend
_MINUTE = timedelta(minutes=1)
report = logging.getLogger("propensity.monitoring")


@dataclass(frozen=True)
class Standing:
    """How a sink stands. oldest: when what waits longest was written. why: the last failure of what waits or
    is dead. declared: shop.toml still has it. again: what waits is not tried before; None: it may be now."""

    sink: str
    waiting: int
    delivered: int
    dead: int
    oldest: datetime | None
    why: str
    declared: bool
    again: datetime | None = None


@dataclass(frozen=True)
class Dead:
    """A message that was given up."""

    sink: str
    id: str
    title: str
    written: datetime
    tries: int
    why: str


def send(settings: Settings, routes: Routes, patience: Patience = PATIENCE) -> bool:
    """Send what can be sent now, to all sinks at once. False if another process does so already."""
    with _alone(settings) as free:
        if free and routes.sinks:
            with ThreadPoolExecutor(len(routes.sinks)) as threads:
                list(
                    threads.map(lambda sink: _serve(settings, routes, sink, patience), routes.sinks.values())
                )
    return free


def _serve(settings: Settings, routes: Routes, sink: Sink, patience: Patience) -> None:
    with closing(AlertStore(settings)) as store:
        while (found := _first(store, sink)) is not None:
            sequence, tries, rest, id, body = found
            secret = settings.sink_secrets.get(sink.name, "")
            letter = Letter(id, body, secret, sink.languages, routes.parties, rest)
            try:
                if sink.channel.secret and not secret:
                    name = f"{SINK}{sink.name.upper()}"
                    raise NotDeliveredError(f"{name} is not set: {sink.channel.secret}", counted=False)
                sink.channel.deliver(letter)
            except NotDeliveredError as error:
                given_up = _failed(store, sink.name, sequence, tries, error, patience)
            except Exception as error:  # a fault of ours must not lose the message, nor hold up the others
                report.exception("%s: a message could not be made", sink.name)
                given_up = _failed(
                    store, sink.name, sequence, tries, NotDeliveredError(type(error).__name__), patience
                )
            else:
                _note(store, sink.name, sequence, "delivered", tries + 1, clock(), "", "")
                continue
            if not given_up:
                return


def _first(store: AlertStore, sink: Sink) -> tuple[int, int, str, str, bytes] | None:
    """What a sink is to be told next; None if nothing, or not now."""
    with store.used():
        row = store.db.execute(
            "SELECT d.sequence, d.tries, d.rest, m.id, m.body, d.next FROM deliveries d "
            "JOIN messages m USING (sequence) WHERE d.sink = ? AND d.state = 'waiting' "
            "ORDER BY d.sequence LIMIT 1",
            (sink.name,),
        ).fetchone()
        lately = store.db.execute(
            "SELECT count(*) FROM deliveries WHERE sink = ? AND state = 'delivered' AND changed > ?",
            (sink.name, to_us(clock() - _MINUTE)),
        ).fetchone()[0]
    most = sink.channel.per_minute
    if row is None or row[5] > to_us(clock()) or (most is not None and lately >= most):
        return None
    return row[:5]  # type: ignore[no-any-return]


def _failed(
    store: AlertStore, sink: str, sequence: int, tries: int, error: NotDeliveredError, patience: Patience
) -> bool:
    """Note it; whether it is given up."""
    tries += error.counted
    dead = error.final or tries >= TRIES
    wait = patience.after(tries) if error.counted else timedelta(0)
    again = clock() + max(wait, error.wait or timedelta(0))
    _note(store, sink, sequence, "dead" if dead else "waiting", tries, again, str(error), error.rest)
    level = logging.WARNING if dead else logging.INFO
    report.log(level, "%s: a message did not arrive (%s), try %d%s", sink, error, tries, ": dead" * dead)
    return dead


def _note(
    store: AlertStore, sink: str, sequence: int, state: str, tries: int, next: datetime, why: str, rest: str
) -> None:
    with store.writing():
        store.db.execute(
            "UPDATE deliveries SET state = ?, tries = ?, next = ?, why = ?, rest = ?, changed = ? "
            "WHERE sink = ? AND sequence = ?",
            (state, tries, to_us(next), why, rest, to_us(clock()), sink, sequence),
        )


def standings(store: AlertStore, routes: Routes) -> list[Standing]:
    """Every sink that is declared, or that something was written for."""
    with store.used():
        rows = store.db.execute(
            "SELECT d.sink, sum(d.state = 'waiting'), sum(d.state = 'delivered'), sum(d.state = 'dead'), "
            "min(m.written) FILTER (WHERE d.state = 'waiting') "
            "FROM deliveries d JOIN messages m USING (sequence) GROUP BY 1"
        ).fetchall()
        whys = dict(
            store.db.execute(
                "SELECT sink, why FROM deliveries WHERE state != 'delivered' AND why != '' ORDER BY changed"
            ).fetchall()
        )
        first = dict(  # whatever comes later waits for it
            store.db.execute(
                "SELECT sink, next FROM deliveries WHERE state = 'waiting' ORDER BY sequence DESC"
            ).fetchall()
        )
    now = to_us(clock())
    again = {sink: from_us(next) for sink, next in first.items() if next > now}
    found = {row[0]: row[1:] for row in rows}
    return [
        Standing(
            sink, waiting, delivered, dead, None if oldest is None else from_us(oldest), whys.get(sink, ""),
            sink in routes.sinks, again.get(sink),
        )
        for sink in dict.fromkeys((*routes.sinks, *found))
        for waiting, delivered, dead, oldest in [found.get(sink, (0, 0, 0, None))]
    ]  # fmt: skip


def dead(store: AlertStore) -> list[Dead]:
    """What was given up, oldest first."""
    with store.used():
        rows = store.db.execute(
            "SELECT d.sink, m.id, m.title, m.written, d.tries, d.why FROM deliveries d "
            "JOIN messages m USING (sequence) WHERE d.state = 'dead' ORDER BY d.sequence"
        ).fetchall()
    return [Dead(sink, id, title, from_us(at), tries, why) for sink, id, title, at, tries, why in rows]


def revive(store: AlertStore) -> int:
    """Have what was given up tried again, as if it were new; how many."""
    with store.writing():
        return store.db.execute(
            "UPDATE deliveries SET state = 'waiting', tries = 0, next = 0 WHERE state = 'dead'"
        ).rowcount


@contextmanager
def _alone(settings: Settings) -> Iterator[bool]:
    """Whether nobody else sends; two would break the order. The lock dies with its holder."""
    path = settings.home / "monitoring" / ".send.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True

"""What is known of every alert, who silenced what, and what is yet to be delivered: one file, so that an
alert and its message are written together or not at all.

monitoring/alerts.sqlite
    runs         moments that were taken
    episodes     every alert from its first bad day to its end; kept KEPT after it
    silences     what nobody is told of, until when, why, by whom
    messages     what was told, as it is sent
    deliveries   a message and a sink: waiting, delivered or dead
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from features.embedded import Embedded
from features.errors import MonitoringError
from features.moments import from_us, to_us
from features.settings import Settings, clock
from monitoring.episodes import Episode
from monitoring.silences import Silence

KEPT = timedelta(days=400)  # a year, and what one compares it with
_SCHEMA = """
CREATE TABLE runs (moment INTEGER PRIMARY KEY, taken INTEGER NOT NULL, report TEXT NOT NULL);
CREATE TABLE episodes (
  number INTEGER PRIMARY KEY AUTOINCREMENT, fingerprint TEXT NOT NULL, state TEXT NOT NULL,
  told INTEGER NOT NULL, ended INTEGER, shown TEXT NOT NULL DEFAULT '',
  body BLOB NOT NULL
);
CREATE UNIQUE INDEX open_episodes ON episodes (fingerprint) WHERE state != 'resolved';
CREATE TABLE silences (
  number INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT NOT NULL, until INTEGER NOT NULL, reason TEXT NOT NULL,
  by TEXT NOT NULL, made INTEGER NOT NULL, ended INTEGER
);
CREATE TABLE messages (
  sequence INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, title TEXT NOT NULL,
  written INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE TABLE deliveries (
  sink TEXT NOT NULL, sequence INTEGER NOT NULL REFERENCES messages ON DELETE CASCADE,
  state TEXT NOT NULL DEFAULT 'waiting', tries INTEGER NOT NULL DEFAULT 0, next INTEGER NOT NULL DEFAULT 0,
  changed INTEGER NOT NULL, why TEXT NOT NULL DEFAULT '', rest TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (sink, sequence)
) WITHOUT ROWID;
CREATE INDEX deliveries_by_state ON deliveries (sink, state, changed);
PRAGMA user_version = 1;
"""


class Run(NamedTuple):
    """A run. moment: that it judged. taken: when it ran last, by the machine's clock. report: its page."""

    moment: datetime
    taken: datetime
    report: str


@dataclass(frozen=True)
class Kept:
    """An episode in its row. shown: the labels under which Alertmanager last saw it fire; "" if it does not.
    untold: it is over, and that is yet to be told."""

    number: int | None
    episode: Episode
    shown: str = ""
    untold: bool = False


@dataclass(frozen=True)
class Message:
    """What is told. sequence: higher for a later one. id: the same for the same news of the same moment.
    body: as it is sent. sinks: those that it goes to."""

    sequence: int
    id: str
    kind: str
    title: str
    body: bytes
    sinks: tuple[str, ...]


class AlertStore(Embedded):
    """The file of a home, created when first opened. MonitoringError if it cannot be used."""

    error = MonitoringError
    else_lost = "what is bad now is told once more"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.home / "monitoring" / "alerts.sqlite", _SCHEMA)
        with self.used():
            self.db.execute("PRAGMA foreign_keys = ON")

    def last(self) -> Run | None:
        """The last run that was taken."""
        with self.used():
            row = self.db.execute("SELECT * FROM runs ORDER BY moment DESC LIMIT 1").fetchone()
        return None if row is None else Run(from_us(row[0]), from_us(row[1]), row[2])

    def taken(self, moment: datetime, report: str) -> None:
        """Note a run."""
        row = (to_us(moment), to_us(clock()), report)
        self.db.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?)", row)

    def pointed_to(self) -> list[str]:
        """The pages that the messages of what fires now point to."""
        with self.used():
            pages = dict(self.db.execute("SELECT moment, report FROM runs").fetchall())
        told = {one.episode.told for one in self._episodes("state = 'firing'")}
        return [page for moment in told if moment and (page := pages.get(to_us(moment)))]

    def current(self) -> list[Kept]:
        """Alerts that are not over, those whose end is yet to be told, and those that Alertmanager shows."""
        return self._episodes("state != 'resolved' OR told = 0 OR shown != ''")

    def everything(self) -> list[Kept]:
        """All that are kept, oldest first."""
        return self._episodes("TRUE")

    def ended(self, since: datetime, until: datetime) -> list[Episode]:
        """What was over within a time, the last first."""
        between = f"state = 'resolved' AND ended BETWEEN {to_us(since)} AND {to_us(until)}"
        return sorted((one.episode for one in self._episodes(between)), key=_end, reverse=True)

    def _episodes(self, where: str) -> list[Kept]:
        with self.used():
            rows = self.db.execute(
                f"SELECT number, body, shown, state = 'resolved' AND told = 0 FROM episodes WHERE {where} "
                "ORDER BY number"
            ).fetchall()
        return [Kept(n, _decoder.decode(body), shown, bool(untold)) for n, body, shown, untold in rows]

    def keep(self, kept: Kept) -> None:
        """Write an episode: a new row, or its own."""
        one = kept.episode
        ended = None if one.ended is None else to_us(one.ended)
        values = (one.fingerprint, one.state, not kept.untold, ended, kept.shown,
                  _encoder.encode(one))  # fmt: skip
        if kept.number is None:
            self.db.execute(
                "INSERT INTO episodes (fingerprint, state, told, ended, shown, body) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                values,
            )
        else:
            self.db.execute(
                "UPDATE episodes SET fingerprint = ?, state = ?, told = ?, ended = ?, shown = ?, body = ? "
                "WHERE number = ?",
                (*values, kept.number),
            )

    def drop(self, kept: Kept) -> None:
        """Forget one that never fired."""
        self.db.execute("DELETE FROM episodes WHERE number = ?", (kept.number,))

    def forget(self, moment: datetime) -> None:
        """Forget what was over, delivered or dead KEPT ago."""
        old, since = to_us(moment - KEPT), to_us(clock() - KEPT)
        self.db.execute("DELETE FROM episodes WHERE ended < ? AND told AND shown = ''", (old,))
        self.db.execute(
            "DELETE FROM messages WHERE written < ? AND sequence NOT IN "
            "(SELECT sequence FROM deliveries WHERE state = 'waiting')",
            (since,),
        )
        self.db.execute("DELETE FROM runs WHERE moment < ?", (old,))

    def write(self, message: Message) -> bool:
        """Write a message for its sinks; whether it is new."""
        new = self.db.execute(
            "INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
            (message.sequence, message.id, message.kind, message.title, to_us(clock()), message.body),
        ).rowcount
        if new:
            self.db.executemany(
                "INSERT INTO deliveries (sink, sequence, changed) VALUES (?, ?, ?)",
                [(sink, message.sequence, to_us(clock())) for sink in message.sinks],
            )
        return bool(new)

    def next_sequence(self) -> int:
        """Of the next message. By the clock: after a restore from a backup it still is higher than before."""
        found = self.db.execute("SELECT max(sequence) FROM messages").fetchone()[0]
        return max(to_us(clock()), found or 0) + 1

    def silences(self) -> list[Silence]:
        """All that ever were."""
        with self.used():
            rows = self.db.execute(
                "SELECT number, what, until, reason, by, made, ended FROM silences ORDER BY number"
            ).fetchall()
        return [
            Silence(n, what, from_us(until), why, by, from_us(made), None if end is None else from_us(end))
            for n, what, until, why, by, made, end in rows
        ]

    def silence(self, what: str, until: datetime, reason: str, by: str, now: datetime) -> int:
        """Write a silence; its number."""
        with self.writing():
            made = self.db.execute(
                "INSERT INTO silences (what, until, reason, by, made) VALUES (?, ?, ?, ?, ?)",
                (what, to_us(until), reason, by, to_us(now)),
            )
            return int(made.lastrowid or 0)

    def end_silence(self, number: int, now: datetime) -> None:
        """Take a silence back."""
        with self.writing():
            self.db.execute("UPDATE silences SET ended = ? WHERE number = ?", (to_us(now), number))


def _end(episode: Episode) -> datetime:
    assert episode.ended is not None  # it is over
    return episode.ended


_encoder = msgspec.msgpack.Encoder()  # it keeps NaN, which JSON has not
_decoder = msgspec.msgpack.Decoder(Episode)

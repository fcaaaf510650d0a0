"""Who fell due for which scenario, until when, and whether somebody was told.

due/due.sqlite   a row a customer and scenario that fell due; gone KEPT after it was over

What falls due is written before anybody is told, and noted as told only when the telling is done: whoever is
killed in between tells it again, under the same id, and nothing is lost.
"""

import secrets
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from threading import Lock

from msgspec import Struct

from features.embedded import Embedded
from features.errors import DecisionError
from features.moments import DAY, from_us, to_us
from features.settings import Settings

KEPT = 365 * DAY
_SCHEMA = """
CREATE TABLE due (
  id TEXT PRIMARY KEY, scenario TEXT NOT NULL, customer_id TEXT NOT NULL, since INTEGER NOT NULL,
  until INTEGER NOT NULL, told INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX due_by_customer ON due (customer_id, scenario, until);
PRAGMA user_version = 1;
"""


class Due(Struct, frozen=True):
    """One customer who is due for a scenario. id: an idempotency key for what is decided about it."""

    id: str
    scenario: str
    customer: str
    since: datetime
    until: datetime


def path(settings: Settings) -> Path:
    """Where the list is, or would be."""
    return settings.home / "due" / "due.sqlite"


class DueList(Embedded):
    """The list of a home, created when first opened. DecisionError if its file cannot be used."""

    error = DecisionError
    else_lost = "everybody who is due is told of again"

    def __init__(self, settings: Settings) -> None:
        super().__init__(path(settings), _SCHEMA, threads=True)
        self.lock = self.path.with_name(".lock")  # of whoever tells
        with self.used():
            self.db.execute("PRAGMA secure_delete = ON")

    def new(self, scenario: str, customers: Iterable[str], at: datetime) -> list[str]:
        """Those of the customers who are not due for it already."""
        with self.used():
            found = self.db.execute(
                "SELECT customer_id FROM due WHERE scenario = ? AND until > ?", (scenario, to_us(at))
            )
            already = {row[0] for row in found}
        return [id for id in customers if id not in already]

    def add(self, scenario: str, customers: Iterable[str], at: datetime, until: datetime) -> None:
        """Make them due, all at once; what is over for long is forgotten."""
        rows = [(secrets.token_hex(16), scenario, id, to_us(at), to_us(until)) for id in customers]
        with self.writing():
            self.db.executemany(
                "INSERT INTO due (id, scenario, customer_id, since, until) VALUES (?, ?, ?, ?, ?)", rows
            )
            self.db.execute("DELETE FROM due WHERE until <= ?", (to_us(at - KEPT),))

    def untold(self, scenarios: Collection[str], at: datetime) -> Iterator[Due]:
        """Who is due at a moment and was not told of, by scenario and customer."""
        with self.used():
            rows = self.db.execute(
                "SELECT id, scenario, customer_id, since, until FROM due WHERE NOT told AND until > ? "
                "ORDER BY scenario, customer_id",
                (to_us(at),),
            ).fetchall()
        for id, scenario, customer, since, until in rows:
            if scenario in scenarios:
                yield Due(id, scenario, customer, from_us(since), from_us(until))

    def counts(self, at: datetime) -> dict[str, tuple[int, datetime]]:
        """Scenario -> how many are due for it at a moment, and when the first of them is no longer."""
        with self.used():
            rows = self.db.execute(
                "SELECT scenario, count(*), min(until) FROM due WHERE since <= ? AND until > ? GROUP BY 1",
                (to_us(at), to_us(at)),
            ).fetchall()
        return {scenario: (number, from_us(until)) for scenario, number, until in rows}

    def told(self, ids: Iterable[str]) -> None:
        """Note that somebody was told of them."""
        with self.writing():
            self.db.executemany("UPDATE due SET told = 1 WHERE id = ?", [(id,) for id in ids])

    def erase(self, customers: Collection[str]) -> None:
        """Forget these customers."""
        with self.writing():
            self.db.executemany("DELETE FROM due WHERE customer_id = ?", [(id,) for id in customers])

    def is_due(self, scenario: str, customer: str, at: datetime) -> bool:
        """Whether the customer fell due for it, and that is not over."""
        with self.used():
            found = self.db.execute(
                "SELECT 1 FROM due WHERE customer_id = ? AND scenario = ? AND since <= ? AND until > ?",
                (customer, scenario, to_us(at), to_us(at)),
            )
            return found.fetchone() is not None

    def customers(self) -> dict[str, int]:
        """Customer -> rows."""
        with self.used():
            return dict(self.db.execute("SELECT customer_id, count(*) FROM due GROUP BY 1"))


class Known:
    """Follows the list of a home, which may not be there yet. One object serves all threads of a process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._list: DueList | None = None
        self._lock = Lock()

    def is_due(self, scenario: str, customer: str, at: datetime) -> bool:
        """As `DueList.is_due`; nobody is due where nobody ever fell due."""
        with self._lock:
            if self._list is None:
                if not path(self._settings).exists():
                    return False
                self._list = DueList(self._settings)
            return self._list.is_due(scenario, customer, at)


@contextmanager
def opened(settings: Settings) -> Iterator[DueList]:
    """The list, closed afterwards."""
    with closing(DueList(settings)) as of:
        yield of

"""A connection to PostgreSQL that waits for no answer longer than it is told.

The driver waits for as long as the server's machine acknowledges what is sent, which that of a frozen server,
or of a hung disk, does: no limit of TCP, and none that the server keeps, ends that.
"""

import time
from collections.abc import Generator
from typing import Any

import psycopg

from features import database


class Impatient(psycopg.Connection[Any]):
    """Closed, with OperationalError, once the server has said nothing for so long within a statement."""

    patience: float = database.STATEMENT  # seconds

    def wait(self, gen: Generator[Any, Any, Any], *args: Any, **more: Any) -> Any:
        """As the driver's, which comes back to us ten times a second while nothing is heard."""
        return super().wait(self._heard(gen), *args, **more)

    def _heard(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        since = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready:
                    since = time.monotonic()
                elif time.monotonic() - since > self.patience:
                    self.close()  # what it would still say is the answer to nothing
                    raise psycopg.errors.ConnectionTimeout(f"no answer within {self.patience:g} s")
                wanted = gen.send(ready)
        except StopIteration as done:
            return done.value

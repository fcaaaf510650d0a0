"""What of the ledger is in force in the next decision, on whatever host shares it: what is paused, and which
offers are unfair. Every decision reads both, at once, in the transaction that writes it.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from features.errors import DecisionError
from features.files import NO_JSON
from serving.ledger import Ledger

T = TypeVar("T")
Moment = Annotated[datetime, Meta(tz=True)]  # as a file has it
Unfair = dict[str, tuple[str, ...]]  # action -> attributes of customers whose groups do not get it alike

_READ = """
SELECT number, what, reason FROM pauses WHERE until IS NULL UNION ALL
SELECT 0, NULL, unfair FROM fairness WHERE number = (SELECT max(number) FROM fairness) ORDER BY 1
"""


class Found(NamedTuple):
    """paused: what -> the reason, the oldest first. unfair: by the last measurement; empty without one."""

    paused: dict[str, str]
    unfair: Unfair


class InForce:
    """Follows a ledger. One object serves all threads of a process."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._rows: list[Any] = []
        self._found = Found({}, {})

    def read(self) -> Found:
        """The same objects while nothing changed: rules are kept by them. DecisionError as of the ledger."""
        with self._ledger.reading() as db:
            rows = db.execute(_READ).fetchall()
            if rows != self._rows:
                unfair = [msgspec.json.decode(text, type=Unfair) for _, what, text in rows if what is None]
                paused = {what: reason for _, what, reason in rows if what is not None}
                self._rows, self._found = rows, Found(paused, *(unfair or [{}]))
            return self._found


def take_over(path: Path, type: type[T], keep: Callable[[T], None], remedy: str) -> None:
    """Keep in the ledger what an older version kept in a file of the home, if it is there; then the file is
    NAME.taken.json. keep: must add nothing the second time. DecisionError, with a remedy, if it is damaged.
    """
    try:
        found = msgspec.json.decode(path.read_bytes(), type=type)
    except FileNotFoundError:
        return
    except NO_JSON as error:
        raise DecisionError(f"{path} is damaged ({error}): {remedy}") from None
    keep(found)
    with suppress(FileNotFoundError):  # another worker has just done it
        path.replace(path.with_suffix(".taken.json"))

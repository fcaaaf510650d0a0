"""What is paused: an action, a channel, a scenario, or everything. A small file that every decision looks at.

    pauses.json    every pause, with its reason, when it began and when it ended

A decision takes the pauses that were in force when it was written, so the next decision of any worker knows.
Times are the machine's: a pause is about now, also over a log of the past.
"""

from collections.abc import Collection
from datetime import datetime

import msgspec
from msgspec import Struct

from features.errors import DecisionError, UsageError
from features.files import NO_JSON, locked, write_atomically
from features.settings import Settings, clock
from features.toml import nearest
from serving.actions import NOTHING, Action

EVERYTHING = "everything"
CHANNEL = "channel:"
SCENARIO = "scenario:"


class Pause(Struct, frozen=True):
    """what: an action's name, `channel:NAME`, `scenario:NAME` or `everything`. until: None while it lasts."""

    what: str
    reason: str
    since: datetime
    until: datetime | None = None


class Pauses:
    """Follows the file. One object serves all threads of a process."""

    def __init__(self, settings: Settings) -> None:
        self._path = settings.home / "pauses.json"
        self._seen: tuple[int, int] | None = None
        self._all: tuple[Pause, ...] = ()
        self._paused: dict[str, str] = {}

    def everything(self) -> tuple[Pause, ...]:
        """Every pause that there ever was, the oldest first. DecisionError if the file is damaged."""
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            if self._seen is not None:
                self._seen, self._all, self._paused = None, (), {}
            return ()
        seen = (stat.st_ino, stat.st_mtime_ns)  # a replaced file differs in one of them
        if seen != self._seen:
            try:
                found = msgspec.json.decode(self._path.read_bytes(), type=tuple[Pause, ...])
            except NO_JSON as error:
                raise DecisionError(
                    f"{self._path} is damaged ({error}): nothing is decided until it is mended, or deleted "
                    "and what must be paused is paused again"
                ) from None
            self._all = found
            self._paused = {one.what: one.reason for one in found if one.until is None}
            self._seen = seen
        return self._all

    def paused(self) -> dict[str, str]:
        """What is paused now -> the reason."""
        self.everything()
        return self._paused

    def pause(
        self, what: str, reason: str, actions: Collection[Action], scenarios: Collection[str] = ()
    ) -> Pause:
        """Pause it. UsageError for what no action or scenario is, or what is paused already."""
        known = [EVERYTHING, *sorted({f"{CHANNEL}{channel}" for a in actions for channel in a.channels})]
        known += [f"{SCENARIO}{name}" for name in scenarios]
        known += [a.name for a in actions if a.channel]
        if what not in known:
            raise UsageError(
                f"{what!r} cannot be paused{nearest(what, known)} Expected one of {', '.join(known)}"
            )
        with locked(self._path.with_name(".pauses.lock")):
            if what in self.paused():
                raise UsageError(f"{what} is paused already, because: {self.paused()[what]}")
            made = Pause(what, reason, clock())
            self._write((*self._all, made))
        return made

    def resume(self, what: str) -> Pause:
        """End a pause. UsageError if there is none of it."""
        with locked(self._path.with_name(".pauses.lock")):
            if what not in self.paused():
                now = ", ".join(self.paused()) or "nothing"
                raise UsageError(f"{what} is not paused; paused: {now}")
            ended = [
                msgspec.structs.replace(one, until=clock()) if one.what == what and one.until is None else one
                for one in self._all
            ]
            self._write(tuple(ended))
        return next(one for one in reversed(ended) if one.what == what)

    def _write(self, pauses: tuple[Pause, ...]) -> None:
        write_atomically(self._path, msgspec.json.format(msgspec.json.encode(pauses), indent=1) + b"\n")


def pauses_of(action: Action, paused: Collection[str], scenario: str | None = None) -> str | None:
    """Which of the pauses keeps an action back, in a scenario if it is decided for one; None if none does.
    Doing nothing is never paused."""
    if action.name == NOTHING.name:
        return None
    of = () if scenario is None else (f"{SCENARIO}{scenario}",)
    names = (EVERYTHING, *of, *(f"{CHANNEL}{channel}" for channel in action.channels), action.name)
    return next((name for name in names if name in paused), None)

"""What is paused: an action, a channel, a scenario, or everything. A table of the ledger.

Every decision reads it (`in_force.py`): so the next one of any worker knows, on whatever host shares the
ledger. Times are the machine's: a pause is about now, also over a log of the past.

    pauses.json    where a home kept them before: see `in_force.take_over`
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from msgspec import Struct

from features.errors import UsageError
from features.moments import from_us, to_us
from features.settings import Settings, clock
from features.toml import nearest
from features.words import Words
from serving.actions import NOTHING, Action
from serving.in_force import Moment, take_over
from serving.ledger import Ledger, exists

EVERYTHING = "everything"
CHANNEL = "channel:"
SCENARIO = "scenario:"


class Pause(Struct, frozen=True):
    """what: an action's name, `channel:NAME`, `scenario:NAME` or `everything`. until: None while it lasts."""

    what: str
    reason: str
    since: Moment
    until: Moment | None = None


class Pauses:
    """Those of a ledger. DecisionError if it cannot be read, as a decision then raises."""

    def __init__(self, ledger: Ledger) -> None:
        """Not inside `Ledger.deciding`. DecisionError if a file of pauses is there and damaged."""
        self._ledger = ledger
        remedy = "nothing is decided until it is mended, or deleted and what must be paused is paused again"
        take_over(_former(ledger.settings), tuple[Pause, ...], self._take, remedy)

    def everything(self) -> tuple[Pause, ...]:
        """Every pause that there ever was, the oldest first."""
        with self._ledger.reading() as db:
            rows = db.execute("SELECT what, reason, since, until FROM pauses ORDER BY number").fetchall()
        return tuple(
            Pause(what, reason, from_us(since), None if until is None else from_us(until))
            for what, reason, since, until in rows
        )

    def paused(self) -> dict[str, str]:
        """What is paused now -> the reason, the oldest first."""
        return {one.what: one.reason for one in self.everything() if one.until is None}

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
        with self._ledger.deciding():
            if (why := self.paused().get(what)) is not None:
                raise UsageError(f"{what} is paused already, because: {why}")
            made = Pause(what, reason, clock())
            self._add(made)
        return made

    def resume(self, what: str) -> Pause:
        """End a pause. UsageError if there is none of it."""
        ended = clock()
        with self._ledger.deciding(), self._ledger.reading() as db:
            paused = self.paused()
            if what not in paused:
                raise UsageError(f"{what} is not paused; paused: {', '.join(paused) or 'nothing'}")
            db.execute("UPDATE pauses SET until = ? WHERE what = ? AND until IS NULL", (to_us(ended), what))
        return next(one for one in reversed(self.everything()) if one.what == what)

    def _add(self, one: Pause) -> None:
        until = None if one.until is None else to_us(one.until)
        with self._ledger.reading() as db:
            db.execute(
                "INSERT INTO pauses SELECT coalesce(max(number), 0) + 1, ?, ?, ?, ? FROM pauses",
                (one.what, one.reason, to_us(one.since), until),
            )

    def _take(self, found: tuple[Pause, ...]) -> None:
        with self._ledger.deciding():
            known = {(one.what, one.since) for one in self.everything()}
            for one in found:
                if (one.what, one.since) not in known:
                    self._add(one)


@contextmanager
def opened(settings: Settings) -> Iterator[Pauses]:
    """Those of the ledger of these settings, which is made if it is not there."""
    with closing(Ledger(settings)) as ledger:
        yield Pauses(ledger)


def listed(settings: Settings) -> tuple[Pause, ...]:
    """As `Pauses.everything`; no ledger is made where nothing was ever decided or paused."""
    if not exists(settings) and not _former(settings).exists():
        return ()
    with opened(settings) as pauses:
        return pauses.everything()


def _former(settings: Settings) -> Path:
    return settings.home / "pauses.json"


def pauses_of(action: Action, paused: Collection[str], scenario: str | None = None) -> str | None:
    """Which of the pauses keeps an action back, in a scenario if it is decided for one; None if none does.
    Doing nothing is never paused."""
    if action.name == NOTHING.name:
        return None
    of = () if scenario is None else (f"{SCENARIO}{scenario}",)
    names = (EVERYTHING, *of, *(f"{CHANNEL}{channel}" for channel in action.channels), action.name)
    return next((name for name in names if name in paused), None)


def pause_told(action: Action, paused: Mapping[str, str], scenario: str | None = None) -> Words | None:
    """The pause that keeps an action back, as `pauses_of` has it, and the reason given for it."""
    what = pauses_of(action, paused, scenario)
    return None if what is None else Words(f"{what}: {paused[what]}", f"{what}：{paused[what]}")

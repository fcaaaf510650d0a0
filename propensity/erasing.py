"""Erasing a person from everything that this home holds, and from the online store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from dataclasses import dataclass, replace

from features import online
from features.errors import LogError, UnknownCustomer
from features.files import locked, read_pointer
from features.inbox import Inbox
from features.ingestion import erasure
from features.online import UNKNOWN, OnlineRows
from features.settings import Settings
from features.tombstones import Tombstones
from serving import audit, due, erasures, outbox
from serving.ledger import Ledger, exists
from serving.outbox import Outbox

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Erased:
    """What went: table or place -> rows, and how many ids she had."""

    removed: dict[str, int]
    ids: int
    dry_run: bool


def erase(
    settings: Settings,
    customer: str | None = None,
    identity: tuple[str, str] | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Erased:
    """Remove one person, under all her ids, and leave tombstones that ingestion, builds and publishing obey.

    customer: a customer id, also one that was merged into another; or identity: (source, source id). Running
    it again is harmless, and finishes what a kill left. UnknownCustomer if nobody is known by that id.
    """
    told = progress or _silent
    with locked(settings.home / "erased" / ".lock"):
        person = erasure.find(settings, customer, identity)
        tombstones = Tombstones.of(settings).having(person.names, person.identities)
        known = {*person.names, *erasure.erased_of(settings, tombstones, told)}
        removed = _count(settings, tombstones, known, told)
        if not dry_run:
            tombstones.write()  # from here on she is not taken in again, whatever happens
            _finish(settings, tombstones, known, told)
    return Erased({place: rows for place, rows in removed.items() if rows}, len(person.ids), dry_run)


def erase_asked(settings: Settings, progress: Progress | None = None) -> tuple[int, int]:
    """Erase whom callers of the service asked to: how many were, and how many nobody knows.

    A request stays until it is done, so a kill loses none. LogError if there is no log here to find somebody
    in: those who are not found without it still wait then.
    """
    done = unknown = left = 0
    for path, asked in erasures.asked(settings):
        whom = asked.customer
        by_id = whom if isinstance(whom, str) else None
        identity = None if isinstance(whom, str) else (whom.source, whom.id)
        generation = read_pointer(settings.home / "log" / "CURRENT")  # before she is looked for in it
        try:
            removed = erase(settings, by_id, identity, progress=progress).removed
            done += 1
        except UnknownCustomer:
            if generation is None:
                left += 1
                continue
            removed, unknown = {"unknown": 1}, unknown + 1
            with locked(settings.home / "erased" / ".lock"):
                erasures.note_unknown(settings, generation, whom)
        audit.record(settings, asked.client, "erased as asked", asked.request_id, removed)
        path.unlink(missing_ok=True)
    if left:
        raise LogError(
            f"there is no customer log in {settings.home}, so {left} of those who were asked for still wait: "
            "run `propensity erase --asked` where the log is"
        )
    return done, unknown


def obey(settings: Settings) -> None:
    """Make this home obey its tombstones: after a restore, or when another of her ids came to light."""
    with locked(settings.home / "erased" / ".lock"):
        tombstones = Tombstones.of(settings)
        if tombstones:
            _finish(settings, tombstones, erasure.erased_of(settings, tombstones, _silent), _silent)


def _count(
    settings: Settings, tombstones: Tombstones, known: Collection[str], progress: Progress
) -> Counter[str]:
    """What `_finish` would remove, place by place; writes nothing."""
    removed = erasure.count(settings, tombstones, progress)
    with closing(Inbox(settings)) as inbox:
        told = inbox.people()
    decided, fallen, pushed = _decided(settings), _due(settings), _pushed(settings)
    removed["inbox events"] = sum(told[id] for id in tombstones.customers(told))
    removed["decisions"] = sum(decided[id] for id in tombstones.customers(decided))
    removed["due"] = sum(fallen[id] for id in tombstones.customers(fallen))
    removed["pushes"] = sum(pushed[id] for id in tombstones.customers(pushed))
    gone = sorted({*known, *tombstones.customers(told)})
    for store in _stores(settings):
        rows = OnlineRows.open(store)
        for kept, _ in rows.publications():
            removed["online rows"] += int((rows.read(kept.published, gone).status != UNKNOWN).sum())
    return removed


def _finish(settings: Settings, tombstones: Tombstones, known: Collection[str], progress: Progress) -> None:
    """Everything but the log first: as long as the log knows her ids, they can be found again.

    known: ids of erased people that the log, snapshots and scores hold.
    """
    with closing(Inbox(settings)) as inbox:
        elsewhere = {*inbox.people(), *_decided(settings), *_due(settings), *_pushed(settings)}
        gone = sorted({*known, *tombstones.customers(elsewhere)})
        progress("ledger, inbox and online rows", 0, 1)
        for kept in _ledgers(settings):
            with closing(Ledger(kept)) as ledger:
                ledger.erase(gone)
        if due.path(settings).exists():
            with due.opened(settings) as fallen:
                fallen.erase(gone)
        if outbox.exists(settings):
            with closing(Outbox(settings)) as box:
                box.erase(gone)
        inbox.erase(gone)
    for store in _stores(settings):
        online.erase(store, gone)
    erasure.obey(settings, tombstones, progress)


def _decided(settings: Settings) -> dict[str, int]:
    """Customer -> decisions, of the ledger if there is one."""
    found = Counter[str]()
    for kept in _ledgers(settings):
        with closing(Ledger(kept)) as ledger:
            found.update(ledger.customers())
    return found


def _ledgers(settings: Settings) -> list[Settings]:
    """Every ledger that there is: also the file from before PostgreSQL was chosen."""
    both = dict.fromkeys((settings.ledger, "sqlite"))
    return [kept for place in both if exists(kept := replace(settings, ledger=place))]


def _due(settings: Settings) -> dict[str, int]:
    """Customer -> scenarios that the customer fell due for, if anybody ever did."""
    if not due.path(settings).exists():
        return {}
    with due.opened(settings) as fallen:
        return fallen.customers()


def _pushed(settings: Settings) -> dict[str, int]:
    """Customer -> what pushes keep of the customer, if anything was ever followed."""
    if not outbox.exists(settings):
        return {}
    with closing(Outbox(settings)) as box:
        return box.customers()


def _stores(settings: Settings) -> Iterator[Settings]:
    """Every online store that may hold rows: also what was served before Redis was chosen."""
    if settings.online != "sqlite":
        yield settings
    if (settings.home / "online" / "rows.sqlite").exists():
        yield replace(settings, online="sqlite")


def _silent(what: str, done: int, total: int) -> None:
    """No progress."""

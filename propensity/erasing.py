"""Erasing a person from everything that this home holds, and from the online store."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass, replace

from features import inbox, online
from features.files import locked
from features.ingestion import erasure
from features.settings import Settings
from features.tombstones import Tombstones
from serving.ledger import Ledger


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
) -> Erased:
    """Remove one person, under all her ids, and leave tombstones that ingestion, builds and publishing obey.

    customer: a customer id, also one that was merged into another; or identity: (source, source id). Running
    it again is harmless, and finishes what a kill left. UnknownCustomer if nobody is known by that id.
    """
    with locked(settings.home / "erased" / ".lock"):
        person = erasure.find(settings, customer, identity)
        tombstones = Tombstones.of(settings).having(person.ids, person.identities)
        removed = erasure.count(settings, tombstones)
        if dry_run:
            return Erased({place: rows for place, rows in removed.items() if rows}, len(person.ids), True)
        tombstones.write()  # from here on she is not taken in again, whatever happens
        removed += _finish(settings, tombstones, set(person.ids))
        return Erased({place: rows for place, rows in removed.items() if rows}, len(person.ids), False)


def obey(settings: Settings) -> None:
    """Make this home obey its tombstones: after a restore, or when another of her ids came to light."""
    with locked(settings.home / "erased" / ".lock"):
        tombstones = Tombstones.of(settings)
        if tombstones:
            _finish(settings, tombstones, set())


def _finish(settings: Settings, tombstones: Tombstones, ids: set[str]) -> Counter[str]:
    """Everything but the log first: as long as the log knows her ids, they can be found again."""
    removed: Counter[str] = Counter()
    gone = sorted(ids | erasure.erased_of(settings, tombstones))
    if (settings.home / "ledger" / "ledger.sqlite").exists():
        with closing(Ledger(settings)) as ledger:
            gone = sorted({*gone, *tombstones.customers(ledger.customers())})
            ledger.erase(gone)
    removed["inbox events"] = inbox.erase(settings, gone)
    if settings.online != "sqlite":
        removed["online rows"] += online.erase(settings, gone)
    if (settings.home / "online" / "rows.sqlite").exists():  # also what was served before Redis was chosen
        removed["online rows"] += online.erase(replace(settings, online="sqlite"), gone)
    erasure.obey(settings, tombstones)
    return removed

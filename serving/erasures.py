"""`DELETE /v1/customers/{id}`: what was asked is kept on the disk, and done by a process beside the service.

    erased/asked/<request id>.json       whom, and who asked; deleted once it is done
    erased/unknown/<generation>/*.json   whom that log does not know, by keyed hashes as tombstones are

Removing somebody reads and rewrites the whole log, for which the service may not load the code. Until then
the file holds her id; what cannot be done now (no log on this host, a full disk) is tried again and again.
Whether anybody is known by an id, only that process can say: it leaves its finding for the next who asks.
"""

import contextlib
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from features.files import NO_JSON, read_pointer, write_atomically
from features.inbox import Inbox
from features.online.asked import folder_of
from features.settings import Settings, clock
from features.tombstones import Tombstones
from serving.api import Customer, Identity
from serving.errands import Errand
from serving.problems import encode

service = logging.getLogger("propensity.service")
FOUND_FOR = 3600  # seconds that a finding holds on a host without the log, which cannot see it change


class ErasureAnswer(Struct, frozen=True):
    """accepted: it will be done, within seconds unless the service's log says otherwise: ask again. erased:
    it is. unknown: nobody is known by this id, and nobody of it was erased, so nothing is left to do."""

    request_id: str
    status: Literal["accepted", "erased", "unknown"]


class Asked(Struct, frozen=True):
    """One request, as it waits."""

    customer: Customer
    client: str
    request_id: str


def ask(settings: Settings, customer: Customer, client: str, request_id: str) -> ErasureAnswer:
    """Keep a request, on the disk before this returns; or say that it was done before, or that nobody is
    known. OSError if it cannot be written."""
    waiting = [one.customer for _, one in asked(settings)]
    known = _is_erased(settings, customer)  # by a tombstone, which comes before the rest is done
    if known and not waiting:
        return ErasureAnswer(request_id, "erased")
    if not known and customer not in waiting:
        if _is_unknown(settings, customer):
            return ErasureAnswer(request_id, "unknown")
        path = folder_of(settings) / f"{request_id}.json"
        write_atomically(path, encode(Asked(customer, client, request_id)), mode=0o600)
    return ErasureAnswer(request_id, "accepted")


def asked(settings: Settings) -> Iterator[tuple[Path, Asked]]:
    """What waits, each with its file. A damaged one holds up no other: it stays, and the log names it."""
    for path in sorted(folder_of(settings).glob("*.json")):
        try:
            yield path, msgspec.json.decode(path.read_bytes(), type=Asked)
        except FileNotFoundError:  # done meanwhile
            continue
        except NO_JSON:
            told = "erasures: %s is damaged, so whom it is about is lost: have it asked again, then delete it"
            service.error(told, path.name)


def note_unknown(settings: Settings, generation: str, customer: Customer) -> None:
    """Leave word that this generation of the log, and the inbox beside it, know nobody by that id.

    What was found in another generation is dropped: somebody may have become known since.
    """
    root = _unknown(settings)
    for folder in root.glob("*"):
        if folder.name != generation:
            shutil.rmtree(folder, ignore_errors=True)
    pairs = [(customer.source, customer.id)] if isinstance(customer, Identity) else []
    ids = [] if isinstance(customer, Identity) else [customer]
    Tombstones.read(root / generation).having(ids, pairs).write()


def _is_unknown(settings: Settings, customer: Customer) -> bool:
    """Whether nobody was known by that id, and nothing can have changed it: no other log, no event since."""
    here = read_pointer(settings.home / "log" / "CURRENT")
    young = clock().timestamp() - FOUND_FOR
    found = any(
        _has(Tombstones.read(folder), customer)
        for folder in _unknown(settings).glob("*" if here is None else here)
        if here or any(path.stat().st_mtime > young for path in folder.glob("*.json"))
    )
    if not found:
        return False
    with contextlib.closing(Inbox(settings)) as inbox:
        if isinstance(customer, Identity):
            return inbox.resolve(customer.source, customer.id) is None
        return not inbox.people_of([customer])


def _is_erased(settings: Settings, customer: Customer) -> bool:
    return _has(Tombstones.of(settings), customer)


def _has(hashes: Tombstones, customer: Customer) -> bool:
    if isinstance(customer, Identity):
        return bool(hashes.identities([(customer.source, customer.id)]))
    return bool(hashes.customers([customer]))


def _unknown(settings: Settings) -> Path:
    return settings.home / "erased" / "unknown"


def eraser(settings: Settings) -> Errand:
    """Has what was asked done by `propensity erase --asked`."""
    return Errand(
        settings,
        ("propensity", "erase", "--asked"),
        lambda: any(folder_of(settings).glob("*.json")),
        again=60.0,
        trouble=(
            "an erasure that was asked for is not done (exit code %d): `propensity erase --asked` on the "
            "machine that holds the log says why; it is tried again in a minute"
        ),
        silent=True,
    )

"""`DELETE /v1/customers/{id}`: what was asked is kept on the disk, and done by a process beside the service.

    erased/asked/<request id>.json    whom, and who asked; deleted once it is done

Removing somebody reads and rewrites the whole log, for which the service may not load the code. Until then
the file holds her id; what cannot be done now (no log on this host, a full disk) is tried again and again.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from features.files import write_atomically
from features.settings import Settings
from features.tombstones import Tombstones
from serving.api import Customer, Identity
from serving.errands import Errand
from serving.problems import encode


class ErasureAnswer(Struct, frozen=True):
    """accepted: it will be done, within seconds unless the service's log says otherwise. erased: it is."""

    request_id: str
    status: Literal["accepted", "erased"]


class Asked(Struct, frozen=True):
    """One request, as it waits."""

    customer: Customer
    client: str
    request_id: str


def ask(settings: Settings, customer: Customer, client: str, request_id: str) -> ErasureAnswer:
    """Keep a request, on the disk before this returns; or say that it was done before.

    Nobody is told whether the customer was known. OSError if it cannot be written.
    """
    waiting = [one.customer for _, one in asked(settings)]
    known = _is_erased(settings, customer)  # by a tombstone, which comes before the rest is done
    if known and not waiting:
        return ErasureAnswer(request_id, "erased")
    if not known and customer not in waiting:
        path = _folder(settings) / f"{request_id}.json"
        write_atomically(path, encode(Asked(customer, client, request_id)), mode=0o600)
    return ErasureAnswer(request_id, "accepted")


def asked(settings: Settings) -> Iterator[tuple[Path, Asked]]:
    """What waits, each with its file."""
    for path in sorted(_folder(settings).glob("*.json")):
        with contextlib.suppress(FileNotFoundError):  # done meanwhile
            yield path, msgspec.json.decode(path.read_bytes(), type=Asked)


def _is_erased(settings: Settings, customer: Customer) -> bool:
    tombstones = Tombstones.of(settings)
    if isinstance(customer, Identity):
        return bool(tombstones.identities([(customer.source, customer.id)]))
    return bool(tombstones.customers([customer]))


def _folder(settings: Settings) -> Path:
    return settings.home / "erased" / "asked"


def eraser(settings: Settings) -> Errand:
    """Has what was asked done by `propensity erase --asked`."""
    return Errand(
        settings,
        ("propensity", "erase", "--asked"),
        lambda: any(_folder(settings).glob("*.json")),
        again=60.0,
        trouble=(
            "an erasure that was asked for is not done (exit code %d): `propensity erase --asked` on the "
            "machine that holds the log says why; it is tried again in a minute"
        ),
        silent=True,
    )

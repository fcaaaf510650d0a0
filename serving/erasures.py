"""`DELETE /v1/customers/{id}`: what was asked is kept on the disk, and done by a process beside the service.

    erased/asked/<request id>.json    whom, and who asked; deleted once it is done

Removing somebody reads and rewrites the whole log, for which the service may not load the code. Until then
the file holds her id; what cannot be done now (no log on this host, a full disk) is tried again and again.
"""

import contextlib
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from features.files import write_atomically
from features.settings import Settings
from features.tombstones import Tombstones
from serving.api import Customer, Identity
from serving.companion import environment_of
from serving.problems import encode

AGAIN = 60.0  # seconds until what could not be done is tried again
PATIENCE = 10.0  # seconds that a stopping service waits; whatever is left undone is done by the next one

report = logging.getLogger("propensity.service")


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


class Eraser:
    """Has `propensity erase --asked` run whenever something waits, while this object is started."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stopping, self._wake = False, threading.Event()
        self._thread = threading.Thread(target=self._keep, name="propensity-erase", daemon=True)

    def start(self) -> None:
        """Return at once; what an earlier service left undone is begun."""
        self._wake.set()
        self._thread.start()

    def wake(self) -> None:
        """Something was asked."""
        self._wake.set()

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(PATIENCE)

    def _keep(self) -> None:
        while not self._stopping:
            undone = self._waits()
            self._wake.wait(AGAIN if undone else None)
            self._wake.clear()
            if not self._stopping and self._waits():
                self._run()

    def _waits(self) -> bool:
        return any(True for _ in _folder(self._settings).glob("*.json"))

    def _run(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "propensity", "erase", "--asked"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # what it says may name her
            stderr=subprocess.DEVNULL,
            env=environment_of(self._settings),
            start_new_session=True,
            check=False,
        )
        if done.returncode:
            report.error(
                "an erasure that was asked for is not done (exit code %d): `propensity erase --asked` on the "
                "machine that holds the log says why; it is tried again in %.0f s", done.returncode, AGAIN,
            )  # fmt: skip

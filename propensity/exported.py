"""`propensity ledger export`: what was sent, and what customers answered, into the customer log."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from features.exported import contact_id
from features.ingestion.ingest import Ingested, take
from features.log import LEDGER
from features.moments import from_us, iso
from features.settings import Settings
from features.shop import shop_of
from features.sources import inbox
from serving.ledger import Ledger, exists
from serving.ledger_reports import Type

KINDS: Mapping[Type, str] = {
    "open": "open",
    "click": "click",
    "redeem": "redeem",
    "order": "buy",
    "opt_out": "opt-out",
}
"""Type of an outcome -> kind of a response in the log. Orders themselves come from the shop's own source."""


@dataclass(frozen=True)
class Exported:
    """How many rows went into the log; ingested: None if there was nothing to take in. shared: messages to a
    group or everyone that were sent, of which none is a customer's contact. begun: False without a ledger."""

    contacts: int
    responses: int
    ingested: Ingested | None
    shared: int = 0
    begun: bool = True


def export(settings: Settings, dry_run: bool = False) -> Exported:
    """Take what the ledger knows to have happened into the log, again and again: nothing is in it twice.

    A contact is in it once a delivery says that it was sent; so no reserved contact that never happened is.
    Before the first decision there is nothing, which is no fault: a night's script begins with it.
    """
    if not exists(settings):
        return Exported(0, 0, None, begun=False)
    exponent = shop_of(settings).exponent
    with closing(Ledger(settings)) as ledger, TemporaryDirectory(prefix="propensity-") as scratch:
        folder = Path(scratch)
        contacts = _write(folder / "contacts.jsonl", (contact(row, exponent) for row in ledger.sent()))
        answers = (_response(row) for row in ledger.told(tuple(KINDS)))
        responses = _write(folder / "responses.jsonl", answers)
        shared = sum(1 for _ in ledger.sent(shared=True))
        if not contacts + responses:
            return Exported(0, 0, None, shared)
        done = take(settings, [inbox.source(folder, LEDGER)], dry_run)
    return Exported(contacts, responses, done, shared)


def contact(row: Mapping[str, Any], exponent: int) -> dict[str, Any]:
    """The log's row of one that was sent."""
    return {
        "contact_id": contact_id(row["number"], row["id"], row["also"]),
        "customer_id": row["customer_id"],
        "at": iso(from_us(row["at"])),
        "known_at": iso(from_us(max(row["at"], row["recorded_at"]))),
        "campaign_id": row["scenario"],
        "action": row["action"],
        "channel": row["channel"],
        "cost": _cost(row["before"], row["cost"], exponent),
        "propensity": row["propensity"],
    }


def _cost(before: float, cost: float | None, exponent: int) -> str | None:
    """In whole minor units, so that a bundle's messages add up to what the bundle costs, rounded."""
    if cost is None:
        return None
    return f"{round(before + cost, exponent) - round(before, exponent):.{exponent}f}"


def _response(row: Mapping[str, Any]) -> dict[str, Any]:
    sent = row["sent"]
    return {
        "response_id": row["key"].hex(),
        "customer_id": row["customer_id"],
        "at": iso(from_us(row["at"])),
        "known_at": iso(from_us(max(row["at"], row["recorded_at"]))),
        "kind": KINDS[row["type"]],
        "contact_id": None if sent is None else contact_id(sent, row["id"]),
        "campaign_id": row["scenario"],
    }


def _write(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Rows as the source reads them; no file without any. How many there were."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for count, row in enumerate(rows, start=1):
            file.write(json.dumps({"_line": count, **row}) + "\n")
    if not count:
        path.unlink()
    return count

"""An opt-out that is told as the outcome of a decision binds like any other: it withdraws the consent.

The withdrawal goes to the inbox, where the next decision reads it at once, and the next build takes it into
the log. The opt-out itself stays in the ledger, which gives it to the log as a response.
"""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec

from features.errors import DecisionError
from features.inbox import Arrival, Inbox
from serving.ledger import Ledger
from serving.ledger_reports import Delivery, Outcome, Reported
from serving.situation import Rules

SOURCE = "propensity"  # of what the service itself tells the log


def recorded(
    ledger: Ledger, inbox: Inbox, told: Sequence[Delivery | Outcome], now: datetime
) -> list[Reported | DecisionError]:
    """As `Ledger.report`; who opted out has withdrawn before this returns. DecisionError, LogError.

    A repeat withdraws again, which changes nothing: so what was cut off between the two is made good.
    """
    found = ledger.report(told, now)
    arrivals = [
        arrival
        for one, became in zip(told, found, strict=True)
        if isinstance(one, Outcome) and one.type == "opt_out" and isinstance(became, Reported)
        for arrival in _withdrawn(ledger, one)
    ]
    if arrivals:
        inbox.accept(arrivals, now)
    return found


def _withdrawn(ledger: Ledger, told: Outcome) -> Iterator[Arrival]:
    """The withdrawal of marketing on each channel of the action; of a group's decision nobody's."""
    entry = ledger.read(told.decision_id)
    if entry.sealed is None or entry.unit is not None:
        return
    actions = msgspec.json.decode(entry.context, type=Rules).actions
    channels = {channel for action in actions if action.name == entry.action for channel in action.channels}
    for channel in sorted(channels) or ["all"]:
        content = msgspec.json.encode([told.source, told.id, told.decision_id, channel])
        digest = hashlib.sha256(content).digest()
        row = {"channel": channel, "purpose": "marketing", "status": "withdrawn"}
        who = entry.sealed.customer_id
        yield Arrival(SOURCE, digest.hex(), digest, who, told.at, [("consents", row)])

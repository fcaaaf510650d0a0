"""What a customer says in the outcome of a decision binds like what any other system tells.

An opt-out withdraws the consent, a complaint opens a case: both go to the inbox, where the next decision
reads them at once, and the next build takes them into the log. The outcome itself stays in the ledger; of the
two it gives the log only the opt-out, as a response, so that neither is in the log twice.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

import msgspec
from msgspec.structs import replace

from features.errors import DecisionError
from features.inbox import Arrival
from serving.events import MAX_ID
from serving.ledger import Ledger
from serving.ledger_entries import Entry
from serving.ledger_reports import Delivery, Outcome, Reported, key_of
from serving.situation import Rules

Accept = Callable[[Sequence[Arrival], datetime], object]  # as `Inbox.accept`
Require = Callable[[], None]  # as `hosts.require_log`, of the settings
SOURCE = "propensity"  # of what the service itself tells the log
BINDING = ("opt_out", "complaint")


def recorded(
    ledger: Ledger, accept: Accept, require: Require, told: Sequence[Delivery | Outcome], now: datetime
) -> list[Reported | DecisionError]:
    """As `Ledger.report`; before it returns, who opted out has withdrawn, who complained has an open case,
    which what is reported names. accept: of the inbox. DecisionError, LogError; where one of them cannot be
    kept, what `require` raises, and then none of what was told with it is: a sender that reads the status
    alone must not take it for told.

    A repeat says it again, which changes nothing: so what was cut off between the two is made good.
    """
    if any(isinstance(one, Outcome) and one.type in BINDING for one in told):
        require()
    found = ledger.report(told, now)
    arrivals: list[Arrival] = []
    for place, (one, became) in enumerate(zip(told, found, strict=True)):
        if not isinstance(one, Outcome) or not isinstance(became, Reported):
            continue
        if one.type not in BINDING:
            continue
        entry = ledger.read(one.decision_id)
        if entry.sealed is None or entry.unit is not None:  # of a group's decision it is nobody's
            continue
        said = _withdrawn if one.type == "opt_out" else _complained
        arrivals += said(one, entry, entry.sealed.customer_id)
        if one.type == "complaint":
            found[place] = replace(became, case_id=case_of(one))
    if arrivals:
        accept(arrivals, now)
    return found


def case_of(told: Outcome) -> str:
    """The case that a complaint opens; an event of type `case` closes it."""
    id = f"{told.source}:{told.id}"
    return id if len(id) <= MAX_ID else key_of(told.source, told.id).hex()


def _withdrawn(told: Outcome, entry: Entry, who: str) -> Iterator[Arrival]:
    """The withdrawal of marketing on each channel of the action."""
    actions = msgspec.json.decode(entry.context, type=Rules).actions
    channels = {channel for action in actions if action.name == entry.action for channel in action.channels}
    for channel in sorted(channels) or ["all"]:
        row = {"channel": channel, "purpose": "marketing", "status": "withdrawn"}
        yield _arrival(told, who, channel, "consents", row)


def _complained(told: Outcome, entry: Entry, who: str) -> Iterator[Arrival]:
    row = {"case_id": case_of(told), "kind": "complaint", "change": "opened"}
    if entry.channel:
        row["channel"] = entry.channel
    yield _arrival(told, who, "complaint", "cases", row)


def _arrival(told: Outcome, who: str, of: str, table: str, row: Mapping[str, str]) -> Arrival:
    content = msgspec.json.encode([told.source, told.id, told.decision_id, of])
    digest = hashlib.sha256(content).digest()
    return Arrival(SOURCE, digest.hex(), digest, who, told.at, [(table, row)])

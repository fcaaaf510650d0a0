"""What the ledger was told of a window beyond the customer log: orders, harms and contacts, each once.

An outcome that was reported by decision and is in the log too is one. Reports carry ids of whoever told them,
so an order of the log is taken for the same if it is of the same customer, a day away at most (tills know
days, reporters seconds), and not yet taken for another; the log's amount counts, for it holds what came back.
An order that was told of several decisions, at one time and of one value, is one too. Contacts that
`propensity ledger export` wrote into the log bear the ledger's own id.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

from features.exported import contact_id
from features.log import Log
from features.moments import DAY
from features.settings import Settings
from serving.ledger import Ledger, exists
from serving.ledger_reports import Type

Order = tuple[str, datetime, float]  # customer, when, money
_TYPES: tuple[Type, ...] = ("order", "opt_out", "complaint")


@dataclass(frozen=True)
class Reports:
    """Of a window. orders: that the log does not have, less refunds. opted_out, complained: customers.
    contacts: (customer, cost if known) that the log does not have; untold: how many were decided of which
    nobody told that they were sent or blocked. any: whether anything was ever told."""

    orders: tuple[Order, ...] = ()
    opted_out: frozenset[str] = frozenset()
    complained: frozenset[str] = frozenset()
    contacts: tuple[tuple[str, float | None], ...] = ()
    any: bool = False
    untold: int = 0


def reports_of(settings: Settings, log: Log, since: datetime, until: datetime) -> Reports:
    """What counts of what was told by now, from `since` on and before `until`; nothing without a ledger."""
    if not exists(settings):
        return Reports()
    merged = log.merges()
    now = dict(zip(merged["customer_id"].to_pylist(), merged["canonical_id"].to_pylist(), strict=True))
    with closing(Ledger(settings)) as ledger:
        who = {row["id"]: now.get(row["customer_id"], row["customer_id"]) for row in ledger.told(_TYPES)}
        kept, sent = ledger.outcomes(), list(ledger.sent())
        untold = sum(of.decided - of.sent - of.blocked for of in ledger.uses(since, until))
    orders: dict[Order, int] = {}
    harmed: dict[str, set[str]] = {"opt_out": set(), "complaint": set()}
    for decision, outcomes in kept.items():
        inside = [of for of in outcomes if decision in who and since <= of.at < until]
        same = Counter((who[decision], of.at, of.value) for of in inside if of.type == "order")
        for order, times in same.items():
            orders[order] = max(orders.get(order, 0), times)
        for of in inside:
            if of.type in harmed:
                harmed[of.type].add(who[decision])
    told = [order for order, times in orders.items() for _ in range(times)]
    ids = (
        set(log.read("contacts", ["contact_id"])["contact_id"].to_pylist())
        if "contacts" in log.tables
        else ()
    )
    return Reports(
        tuple(beyond(told, _logged(log, {of for of, _, _ in told}))),
        frozenset(harmed["opt_out"]), frozenset(harmed["complaint"]),
        tuple(
            (now.get(row["customer_id"], row["customer_id"]), row["cost"])
            for row in sent
            if since.timestamp() * 1e6 <= row["at"] < until.timestamp() * 1e6
            and contact_id(row["number"], row["id"], row["also"]) not in ids
        ),
        bool(kept), untold,
    )  # fmt: skip


def beyond(told: Iterable[Order], logged: Mapping[str, Iterable[datetime]]) -> list[Order]:
    """Of the orders that were told, those that the log does not have; its times, by customer.

    >>> at = datetime(2017, 1, 5, 12)
    >>> beyond([("a", at, 9.0), ("a", at, 5.0), ("b", at, 1.0)], {"a": [at.replace(hour=0)]})
    [('a', datetime.datetime(2017, 1, 5, 12, 0), 5.0), ('b', datetime.datetime(2017, 1, 5, 12, 0), 1.0)]
    """
    free = {customer: sorted(times) for customer, times in logged.items()}
    found = []
    for customer, at, value in sorted(told, key=lambda of: (of[0], of[1], -of[2])):
        times = free.get(customer, [])
        near = min(times, key=lambda of: abs(of - at), default=None)
        if near is None or abs(near - at) > DAY:
            found.append((customer, at, value))
        else:
            times.remove(near)
    return found


def _logged(log: Log, customers: set[str]) -> dict[str, list[datetime]]:
    found: dict[str, list[datetime]] = {}
    for row in log.read("orders", ["customer_id", "at", "ref"]).to_pylist() if customers else ():
        if row["ref"] is None and row["customer_id"] in customers:
            found.setdefault(row["customer_id"], []).append(row["at"])
    return found

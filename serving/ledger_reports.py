"""What became of decisions, and what customers then did: recorded once each, and what of it counts.

An outcome counts if it happened within the decision's window and was told until the decision matured. A
refund takes from the order that it revises, at most what is left of it, whenever it happened, if it was told
until then. What is told later stays on record and counts for nothing: a figure that was final stays what it
was. Before a decision matures its outcome is not known; it is never a zero.

Of a decision about a group or everyone, only answers to the message are told: what its members do is theirs,
and arms are compared by the customer log, which has that of the held out, too.

Of the id that another system gave, a hash is kept: it knows a repeat, and names nobody's order.
"""

import hashlib
import math
from datetime import datetime
from typing import Any, Literal

import msgspec

from features.errors import (
    CustomerErased,
    DecisionError,
    IdempotencyConflict,
    ReportConflict,
    UnknownDecision,
)
from features.moments import from_us, to_us
from serving.ledger_store import Store

Status = Literal["sent", "delivered", "blocked", "cancelled", "expired"]
UNSENT = ("cancelled", "expired")  # statuses that what was sent cannot have; it may still bounce: blocked
FREED = ("blocked", "cancelled", "expired")  # statuses that give the contact back
USED = "x.status IN ('sent', 'delivered')"  # of a delivery x: the contact happened
Type = Literal["order", "refund", "redeem", "open", "click", "opt_out", "complaint"]
PERSONAL = ("order", "refund", "opt_out", "complaint")  # a customer's, not the answers to a message
Late = Literal["after_window", "after_maturity"]
OLD_GRACE_DAYS = 7  # of decisions from before the ledger recorded when they mature
_DAY = 86_400_000_000  # microseconds
_LAST = 2**62  # above every number of a report
_SKEW = 300_000_000  # by which the clock of another system may be behind


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a decision, as `source` says under its own `id`. blocked_by: by what, if it was.

    step: of an ordered bundle, counted from 1; None: of all of it.
    """

    source: str
    id: str
    decision_id: str
    status: Status
    at: datetime
    blocked_by: str | None = None
    step: int | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a customer did after a decision. value: money of an order or refund, else a count.

    revises: the id, of the same source, of the order that a refund takes from.
    """

    source: str
    id: str
    decision_id: str
    type: Type
    value: float
    at: datetime
    revises: str | None = None


class Reported(msgspec.Struct, frozen=True):
    """status: what became of a report. why: if it counts for nothing, what of it is late. used: of a
    delivery, whether the contact is used up, by this one or by another. counted: how much of an outcome's
    value counts. case_id: the case that a complaint opened."""

    status: Literal["accepted", "duplicate"]
    why: Late | None
    window_end: datetime
    matures_at: datetime
    used: bool = False
    counted: float = 0.0
    case_id: str | None = None


class Kept(msgspec.Struct, frozen=True):
    """A recorded outcome that counts: its value, less what was refunded of it."""

    type: str
    value: float
    at: datetime
    refunded: float = 0.0


class Uncounted(msgspec.Struct, frozen=True):
    """Orders that were told of decisions that can still be read, and count for nothing: by what of them is
    late. late: decisions of which one came in their window, and was told after they had matured."""

    after_window: int = 0
    after_maturity: int = 0
    late: frozenset[str] = frozenset()


def record(store: Store, told: Delivery | Outcome, now: datetime) -> Reported | DecisionError:
    """Record one, within a transaction; what that means, or why it was not taken."""
    found = store.execute(
        "SELECT d.as_of, d.window_end, d.matures_at, c.body, p.pseudonym IS NOT NULL, d.channel, d.unit "
        "FROM decisions d JOIN contexts c ON c.hash = d.context "
        "LEFT JOIN pseudonyms p ON p.pseudonym = d.pseudonym WHERE d.id = ?",
        (told.decision_id,),
    ).fetchone()
    if found is None:
        return UnknownDecision("no such decision: look up the decision_id of the answer")
    as_of, window_end, matures_at = window(*found[:4])
    if not found[4]:
        return CustomerErased("this decision was erased with its customer: nothing more is kept of it")
    if isinstance(told, Delivery) and found[5] is None:
        return ReportConflict("this decision was to do nothing: there is nothing to deliver")
    if to_us(told.at) < as_of - _SKEW:
        return ReportConflict("it happened before its decision: expected a later time, or another decision")
    if isinstance(told, Delivery) and told.step is not None and told.step > 1:
        held = store.execute(
            "SELECT count(*) FROM reservations WHERE decision_id = ?", (told.decision_id,)
        ).fetchone()[0]
        if 0 < held < told.step:
            return ReportConflict(f"this decision has no step {told.step}: its last is {held}")
    table, values = _row(told)
    whole = isinstance(told, Delivery) and told.step is None
    key, digest = key_of(told.source, told.id), _hash([told.decision_id, *(values[:-1] if whole else values)])
    known = store.execute(f"SELECT digest, recorded_at, number FROM {table} WHERE key = ?", (key,)).fetchone()
    if known is not None and bytes(known[0]) != digest:
        return IdempotencyConflict("this id was told before with another content: send a new id")
    if known is None and isinstance(told, Delivery) and told.status in UNSENT and _all_sent(store, told):
        return ReportConflict(
            f"it was told as sent before, and what was sent cannot be {told.status}: its contact stays used"
        )
    if known is None and found[6] is not None and isinstance(told, Outcome) and told.type in PERSONAL:
        whom = "a group" if found[6] == "group" else found[6]
        return ReportConflict(
            f"this decision was about {whom}, and {told.type} is what one customer does: tell it of the "
            "customer, to /v1/events, where groups are compared by it"
        )
    revised = None
    if isinstance(told, Outcome) and told.revises is not None:
        revised = store.execute(
            "SELECT at, recorded_at, value FROM outcomes "
            "WHERE key = ? AND decision_id = ? AND type = 'order'",
            (key_of(told.source, told.revises), told.decision_id),
        ).fetchone()
        if revised is None:
            return ReportConflict("the order that it revises was not told of this decision: tell it first")
    recorded, number = (to_us(now), _LAST) if known is None else known[1:]
    why, value = None, 0.0
    if isinstance(told, Outcome):
        why, value = _counts(told, recorded, revised, window_end, matures_at)
        if revised is not None:
            before = _taken_back(store, told.decision_id, values[-1], number, matures_at)
            value = min(value, max(revised[2] - before, 0.0))
    if known is None:
        names = "number, decision_id, key, digest, " + (
            "status, at, blocked_by, step" if table == "deliveries" else "type, value, at, revises"
        )
        marks = ", ".join("?" * (3 + len(values)))
        store.execute(
            f"INSERT INTO {table} ({names}, recorded_at) "
            f"VALUES ((SELECT coalesce(max(number), 0) + 1 FROM {table}), {marks}, ?)",
            (told.decision_id, key, digest, *values, recorded),
        )
    used = isinstance(told, Delivery) and _sent(store, told.decision_id) >= (told.step or 1)
    status: Literal["accepted", "duplicate"] = "accepted" if known is None else "duplicate"
    return Reported(status, why, from_us(window_end), from_us(matures_at), used, value)


def _counts(
    told: Outcome, recorded: int, revised: tuple[int, int, float] | None, window_end: int, matures_at: int
) -> tuple[Late | None, float]:
    """(why it counts for nothing; its value, if it counts).

    revised: the order that it takes from: when it was, when it was told, its value.
    """
    happened, first = (to_us(told.at), 0) if revised is None else revised[:2]
    if happened >= window_end:
        return "after_window", 0.0
    if max(recorded, first) >= matures_at:
        return "after_maturity", 0.0
    return None, told.value


def _taken_back(store: Store, decision_id: str, order: bytes, number: int, matures_at: int) -> float:
    """What refunds that came before a number, and in time, took from an order."""
    found = store.execute(
        "SELECT coalesce(sum(value), 0) FROM outcomes "
        "WHERE decision_id = ? AND revises = ? AND number < ? AND recorded_at < ?",
        (decision_id, order, number, matures_at),
    ).fetchone()
    return float(found[0])


def _sent(store: Store, decision_id: str) -> float:
    """How many messages of a decision, the first first, were told as sent: infinite for all of them."""
    steps = store.execute(
        f"SELECT x.step FROM deliveries x WHERE x.decision_id = ? AND {USED}", (decision_id,)
    ).fetchall()
    return max((math.inf if step is None else step for (step,) in steps), default=0)


def _all_sent(store: Store, told: Delivery) -> bool:
    """Whether all that a delivery speaks of was told as sent."""
    if told.step is not None:
        return _sent(store, told.decision_id) >= told.step
    held = store.execute("SELECT count(*) FROM reservations WHERE decision_id = ?", (told.decision_id,))
    steps: int = held.fetchone()[0]
    return _sent(store, told.decision_id) >= max(steps, 1)


def counted(store: Store, decision_id: str | None = None) -> dict[str, list[Kept]]:
    """Outcomes that count, by decision; of one, or of all. A refund lowers its order, never below 0."""
    of_one = "WHERE o.decision_id = ?" if decision_id is not None else ""
    rows = store.execute(
        "SELECT o.decision_id, o.key, o.type, o.value, o.at, o.revises, o.recorded_at, d.as_of, "
        "d.window_end, d.matures_at, d.context FROM outcomes o JOIN decisions d ON d.id = o.decision_id "
        f"{of_one} ORDER BY o.number",
        () if decision_id is None else (decision_id,),
    ).fetchall()
    bodies = dict(store.execute(
        "SELECT hash, body FROM contexts "
        "WHERE hash IN (SELECT context FROM decisions WHERE window_end IS NULL)"
    ).fetchall())  # fmt: skip
    found: dict[str, dict[bytes, Kept]] = {}
    for decision, key, type, value, at, revises, recorded, as_of, end, matures, context in rows:
        _, window_end, matures_at = window(as_of, end, matures, bodies.get(context, b""))
        own = found.setdefault(decision, {})
        if recorded >= matures_at:
            continue
        if revises is not None:
            order = own.get(bytes(revises))
            if order is not None:
                back = min(value, order.value)
                own[bytes(revises)] = msgspec.structs.replace(
                    order, value=order.value - back, refunded=order.refunded + back
                )
        elif at < window_end:
            own[bytes(key)] = Kept(type, value, from_us(at))
    return {decision: list(own.values()) for decision, own in found.items() if own}


def uncounted(store: Store) -> Uncounted:
    """How many of all orders that were told count for nothing, and why."""
    rows = store.execute(
        "SELECT d.id, o.at, o.recorded_at, d.as_of, d.window_end, d.matures_at, c.body FROM outcomes o "
        "JOIN decisions d ON d.id = o.decision_id JOIN pseudonyms p ON p.pseudonym = d.pseudonym "
        "JOIN contexts c ON c.hash = d.context WHERE o.type = 'order'"
    ).fetchall()
    after_window, after_maturity = 0, list[str]()
    for id, at, recorded, *spans in rows:
        _, window_end, matures_at = window(*spans)
        if at >= window_end:
            after_window += 1
        elif recorded >= matures_at:
            after_maturity.append(id)
    return Uncounted(after_window, len(after_maturity), frozenset(after_maturity))


def window(as_of: int, end: int | None, matures: int | None, context: bytes) -> tuple[int, int, int]:
    """(decided, window's end, maturity) in microseconds; of an old decision, from the rules it names."""
    if end is None or matures is None:
        days = msgspec.json.decode(context, type=_Horizon).horizon_days
        end = as_of + days * _DAY
        matures = end + OLD_GRACE_DAYS * _DAY
    return as_of, end, matures


def key_of(source: str, id: str) -> bytes:
    """What stands for another system's id."""
    return _hash([source, id])


def _row(told: Delivery | Outcome) -> tuple[str, list[Any]]:
    if isinstance(told, Delivery):
        return "deliveries", [told.status, to_us(told.at), told.blocked_by, told.step]
    revises = None if told.revises is None else key_of(told.source, told.revises)
    return "outcomes", [told.type, float(told.value), to_us(told.at), revises]


def _hash(values: list[Any]) -> bytes:
    return hashlib.blake2b(msgspec.json.encode(values), digest_size=16).digest()


class _Horizon(msgspec.Struct):
    horizon_days: int

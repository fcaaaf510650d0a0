"""What decisions hold until it is known what became of them: a contact slot each, and a part of the budgets.

    reservations  one row a marketing contact, so one a step of a bundle: when it is to be sent, until when it
                  is held, what it is expected to cost
    spending      what a day's decisions hold or have spent, in millionths of the currency, by scenario

A reservation is held until a delivery says what became of it: sent or delivered, it is kept for good from
that moment; blocked, cancelled or expired and never sent, it is free again, and its money too. If nobody has
said anything by `until`, it is free too. A delivery of one step of a bundle speaks of that step: those that
follow move with it, or are free with it. So they are when it lapses, and stay so if it is told as sent later:
others may hold by then what they held. What would come in the quiet hours waits until they are over, and
what follows moves with it, too: no two steps come nearer to each other than was declared.

Both tables follow from decisions and deliveries; they are kept so that counting takes no longer as the ledger
grows. What writes runs inside a transaction of the ledger (`Ledger.deciding`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

from msgspec import Struct

from features.moments import from_us, to_us
from features.policy import Budget
from serving.actions import Step
from serving.exported import Seen
from serving.ledger_reports import USED
from serving.ledger_store import Store
from serving.sending import Night

HELD, KEPT, FREE = 0, 1, 2
SENT = ("sent", "delivered")  # statuses of a delivery by which the customer was contacted
UNITS = 1_000_000  # of a unit of currency: sums of whole numbers never drift
_SWEPT = 200  # reservations that one decision looks after, at most

# Those that count at a moment (given three times), after another. While it is held, a message may go at any
# moment until then; without such a limit it is taken to go when it is due.
_CONTACTS = f"""SELECT * FROM (
  SELECT customer_id, CASE WHEN state = {HELD} AND until IS NOT NULL AND at < ? THEN ? ELSE at END AS at,
    channel, action, decision_id, step, EXISTS (
      SELECT 1 FROM deliveries x WHERE x.decision_id = reservations.decision_id AND {USED}
      AND (x.step IS NULL OR x.step > reservations.step) AND x.number <= ? AND x.recorded_at <= ?
    ) AS in_log
  FROM reservations JOIN pseudonyms USING (pseudonym)
  WHERE {{}} (state = {KEPT} OR state = {HELD} AND NOT EXISTS (
    SELECT 1 FROM reservations e WHERE e.decision_id = reservations.decision_id
    AND e.state = {HELD} AND e.until <= ?))
) AS counted WHERE at > ? ORDER BY at, decision_id, step"""
# Decisions of which a step that is still held lapsed: all that they hold did, as the first of it is the first
# to lapse.
_LAPSED = (
    f"SELECT DISTINCT decision_id FROM reservations WHERE state = {HELD} AND until IS NOT NULL AND until <= ?"
)


class Contact(Struct, frozen=True):
    """One marketing contact, sent or still to be: what caps and cooldowns count beside the features.

    in_log: the features count it too.
    """

    at: datetime
    channel: str | None
    action: str | None = None
    in_log: bool = False


class Reservation(NamedTuple):
    """What a decision reserves. at: to be sent; until: held until then, None for ever. Of its first message.

    day: of the shop's zone, at which the money counts; scenario: "" for none; cost: expected, shop currency.
    steps: a contact each, so many hours after `at`; none given: one, on the decision's channel. night: the
    quiet hours that they keep to. members: how many each of them goes to.
    """

    at: datetime
    until: datetime | None
    day: date
    scenario: str
    cost: float
    steps: tuple[Step, ...] = ()
    night: Night = Night()
    members: int = 1


class Held(NamedTuple):
    """A step that a decision reserved: to be sent; held until then, None for ever. free: held no more."""

    at: datetime
    until: datetime | None
    free: bool


class Went(NamedTuple):
    """What was sent of a decision. channels: of its messages, in turn, where known; cost: shop currency."""

    channels: tuple[str, ...]
    cost: float


def reserve(
    store: Store,
    decision_id: str,
    pseudonym: str,
    action: str,
    channel: str | None,
    reservation: Reservation,
) -> None:
    """Hold it: a further step what sending it costs, the first what is left, so also the offer.

    What expired meanwhile is freed on this occasion.
    """
    day, cost = reservation.day.isoformat(), round(reservation.cost * UNITS)
    until = None if reservation.until is None else to_us(reservation.until)
    channels: list[str | None] = [of.channel for of in reservation.steps] or [channel]
    goes = due(reservation.at, reservation.steps, reservation.night) or [reservation.at]
    parts = [round(of.send_cost * reservation.members * UNITS) for of in reservation.steps[1:]]
    parts.insert(0, cost - sum(parts))
    for number, on in enumerate(channels):
        at, part = to_us(goes[number]), parts[number]
        later = None if until is None else until + at - to_us(reservation.at)
        store.execute(
            "INSERT INTO reservations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (decision_id, number, pseudonym, action, on, at, later, day, reservation.scenario, part, HELD),
        )
    _spend(store, day, reservation.scenario, cost)


def due(at: datetime, steps: Sequence[Step], night: Night) -> list[datetime]:
    """When each step goes, the first at a moment: so long after the one before as declared, or longer."""
    goes = [at][: len(steps)]
    for before, step in pairwise(steps):
        goes.append(night.over(goes[-1] + timedelta(hours=step.after_hours - before.after_hours)))
    return goes


def sweep(store: Store, now: datetime) -> None:
    """Free what is held no longer, and its money; so that this is seldom more than a few."""
    for (decision_id,) in store.execute(f"{_LAPSED} LIMIT {_SWEPT}", (to_us(now),)).fetchall():
        _free_held(store, decision_id)


def settle(store: Store, decision_id: str, now: datetime, night: Callable[[], Night] = Night) -> None:
    """What its deliveries mean, told until now, for what a decision holds. night: its quiet hours.

    One that names no step speaks of the whole. What was sent once, the customer has: no later status gives
    the contact back, and what came before it in its order was sent too. What comes after a step that was not
    sent, or was told after it lapsed, does not go either; nor do its parts, where nothing of it goes.
    """
    if store.execute(f"{_LAPSED} AND decision_id = ?", (to_us(now), decision_id)).fetchone():
        _free_held(store, decision_id)
    told = store.execute(
        "SELECT status, at, step FROM deliveries WHERE decision_id = ?", (decision_id,)
    ).fetchall()
    rows = _rows(store, decision_id)
    if not told or not rows:
        return
    sent: dict[int | None, int] = {}
    for status, at, step in told:
        if status in SENT:
            sent[step] = max(at, sent.get(step, at))
    freed = {step for status, _, step in told if status not in SENT and step not in sent}
    last = len(rows) if None in sent else max((step for step in sent if step is not None), default=0)
    first = min((len(rows) if step is None else step - 1 for step in freed), default=len(rows))
    if None in freed:  # all that was not sent
        first = min(first, last)
    states, moved, begins, late = {}, 0, rows[0][1], 0
    for number, at, until, _ in rows:
        own = sent.get(number + 1, sent.get(None) if number == 0 else None)
        goes = at + moved if own is None else own
        if own is None and moved:
            goes = to_us(night().over(from_us(goes)))
        moved = goes - at
        late = max(moved, 0) if number == 0 and own is not None else late
        if number < last:
            states[number] = KEPT
        elif number >= first:
            states[number] = FREE
        store.execute(
            "UPDATE reservations SET at = ?, until = ? WHERE decision_id = ? AND step = ?",
            (goes, None if until is None else until + max(moved, 0), decision_id, number),
        )
    _become(store, decision_id, states)
    if late:  # so are the parts of its bundle that come after it, and are still held
        store.execute(
            f"UPDATE reservations SET at = at + ?, until = until + ? WHERE state = {HELD} AND at > ? "
            "AND (until IS NULL OR until > ?) "
            "AND decision_id IN (SELECT id FROM decisions WHERE follows = ?)",
            (late, late, begins, to_us(now), decision_id),
        )
    if not last and not first:  # nothing of it goes, so nor do the parts of its bundle
        for (part,) in store.execute("SELECT id FROM decisions WHERE follows = ?", (decision_id,)).fetchall():
            _free_held(store, part)


def _rows(store: Store, decision_id: str) -> list[tuple[int, int, int | None, int]]:
    """(step, at, until, state) of what a decision holds, in order; a step is counted from 0 here."""
    found: list[tuple[int, int, int | None, int]] = store.execute(
        "SELECT step, at, until, state FROM reservations WHERE decision_id = ? ORDER BY step", (decision_id,)
    ).fetchall()
    return found


def of_decision(store: Store, decision_id: str) -> list[Held]:
    """Each step that it reserved, in order."""
    return [
        Held(from_us(at), None if until is None else from_us(until), state == FREE)
        for _, at, until, state in _rows(store, decision_id)
    ]


def went(store: Store, decision_id: str | None = None) -> dict[str, Went]:
    """What was sent, by decision: of one, or of all that sent anything; of service messages, nothing."""
    only, of = ("", ()) if decision_id is None else (" AND decision_id = ?", (decision_id,))
    rows = store.execute(
        f"SELECT decision_id, channel, cost FROM reservations WHERE state = {KEPT}{only} "
        "ORDER BY decision_id, step",
        of,
    )
    found: dict[str, Went] = {}
    for id, channel, cost in rows.fetchall():
        channels, before = found.get(id, ((), 0.0))
        found[id] = Went(channels if channel is None else (*channels, channel), before + cost / UNITS)
    return found


def held(store: Store, customer_id: str, since: datetime, now: datetime, seen: Seen) -> tuple[Contact, ...]:
    """A customer's contacts after a moment, sent or held, the oldest first."""
    return tuple(
        contact for _, contact in _held(store, "customer_id = ? AND", [customer_id], since, now, seen)
    )


def held_by_all(store: Store, since: datetime, now: datetime, seen: Seen) -> dict[str, tuple[Contact, ...]]:
    """As `held`, of everybody who has any, by customer id."""
    by_customer: dict[str, list[Contact]] = {}
    for who, contact in _held(store, "", [], since, now, seen):
        by_customer.setdefault(who, []).append(contact)
    return {who: tuple(contacts) for who, contacts in by_customer.items()}


def _held(
    store: Store, whose: str, of: list[str], since: datetime, now: datetime, seen: Seen
) -> Iterator[tuple[str, Contact]]:
    at, until = to_us(now), 0 if seen.until is None else to_us(seen.until)
    found = store.execute(
        _CONTACTS.format(whose), (at, at, seen.number, until, *of, at, to_us(since))
    ).fetchall()
    for who, sent, channel, action, _, _, in_log in found:
        yield who, Contact(from_us(sent), channel, action, bool(in_log))


def spent(store: Store, budgets: Sequence[Budget], day: date, now: datetime) -> tuple[float, ...]:
    """What is spent or held of each budget in the period that a day is in, shop currency."""
    amounts = []
    for budget in budgets:
        of = (budget.since(day).isoformat(), *(() if budget.scenario is None else (budget.scenario,)))
        only = "" if budget.scenario is None else " AND scenario = ?"
        total = store.execute(f"SELECT coalesce(sum(amount), 0) FROM spending WHERE day >= ?{only}", of)
        late = store.execute(
            f"SELECT coalesce(sum(cost), 0) FROM reservations WHERE state = {HELD} "
            f"AND decision_id IN ({_LAPSED}) AND day >= ?{only}",
            (to_us(now), *of),
        )
        amounts.append(int(total.fetchone()[0] - late.fetchone()[0]) / UNITS)  # PostgreSQL: a Decimal
    return tuple(amounts)


def _free_held(store: Store, decision_id: str) -> None:
    held = [step for step, _, _, state in _rows(store, decision_id) if state == HELD]
    _become(store, decision_id, dict.fromkeys(held, FREE))


def _become(store: Store, decision_id: str, states: Mapping[int, int]) -> None:
    """Put steps of a decision in other states, and their money."""
    rows = store.execute(
        "SELECT step, state, day, scenario, cost FROM reservations WHERE decision_id = ?", (decision_id,)
    ).fetchall()
    for step, before, day, scenario, cost in rows:
        state = states.get(step, before)
        if state != before:
            store.execute(
                "UPDATE reservations SET state = ? WHERE decision_id = ? AND step = ?",
                (state, decision_id, step),
            )
        if (before == FREE) != (state == FREE):
            _spend(store, day, scenario, -cost if state == FREE else cost)


def _spend(store: Store, day: str, scenario: str, amount: int) -> None:
    if amount:
        store.execute(
            "INSERT INTO spending VALUES (?, ?, ?) ON CONFLICT (day, scenario) "
            "DO UPDATE SET amount = spending.amount + excluded.amount",
            (day, scenario, amount),
        )

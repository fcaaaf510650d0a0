"""What decisions hold until it is known what became of them: a contact slot each, and a part of the budgets.

    reservations  one row a decision for a marketing contact: when it is to be sent, until when it is held,
                  what it is expected to cost
    spending      what a day's decisions hold or have spent, in millionths of the currency, by scenario

A reservation is held until a delivery says what became of it: sent or delivered, it is kept for good from
that moment; blocked, cancelled or expired, it is free again, and its money too. If nobody has said anything
by `until`, it is free too. Both tables follow from decisions and deliveries; they are kept so that counting
takes no longer as the ledger grows. What writes runs inside a transaction of the ledger (`Ledger.deciding`).
"""

import sqlite3
from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple

from msgspec import Struct

from features.moments import from_us, to_us
from features.policy import Budget

HELD, KEPT, FREE = 0, 1, 2
SENT = ("sent", "delivered")  # statuses of a delivery by which the customer was contacted
UNITS = 1_000_000  # of a unit of currency: sums of whole numbers never drift
_SWEPT = 200  # reservations that one decision looks after, at most

SCHEMA = f"""
CREATE TABLE IF NOT EXISTS reservations (
  decision_id TEXT PRIMARY KEY, pseudonym TEXT NOT NULL, action TEXT NOT NULL, channel TEXT,
  at BIGINT NOT NULL, until BIGINT, day TEXT NOT NULL, scenario TEXT NOT NULL, cost BIGINT NOT NULL,
  state INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS reservations_by_customer ON reservations (pseudonym, at);
CREATE INDEX IF NOT EXISTS reservations_held ON reservations (until)
  WHERE state = {HELD} AND until IS NOT NULL;
CREATE TABLE IF NOT EXISTS spending (
  day TEXT NOT NULL, scenario TEXT NOT NULL, amount BIGINT NOT NULL, PRIMARY KEY (day, scenario)
);
"""
# Of ledgers from before there were reservations: every decision that reserved, by its last delivery.
_TAKE_OVER = f"""INSERT INTO reservations SELECT id, pseudonym, action, channel, as_of, NULL, '', '', 0,
CASE coalesce((
  SELECT status FROM deliveries WHERE decision_id = decisions.id ORDER BY deliveries.rowid DESC LIMIT 1
), '') WHEN '' THEN {HELD} WHEN 'sent' THEN {KEPT} WHEN 'delivered' THEN {KEPT} ELSE {FREE} END
FROM decisions WHERE reserves = 1"""
# Those that count at a moment (given three times), after another. While it is held, a message may go at any
# moment until then; without such a limit it is taken to go when it is due.
_CONTACTS = f"""FROM (
  SELECT CASE WHEN state = {HELD} AND until IS NOT NULL AND at < ? THEN ? ELSE at END AS at,
    channel, action, customer_id, decision_id
  FROM reservations JOIN pseudonyms USING (pseudonym)
  WHERE (state = {KEPT} OR state = {HELD} AND (until IS NULL OR until > ?))
) AS counted WHERE at > ?"""
_EXPIRED = f"state = {HELD} AND until IS NOT NULL AND until <= ?"


class Contact(Struct, frozen=True):
    """One marketing contact, sent or still to be: what caps and cooldowns count beside the features."""

    at: datetime
    channel: str | None
    action: str | None = None


class Reservation(NamedTuple):
    """What a decision reserves. at: to be sent; until: held until then, None for ever.

    day: of the shop's zone, at which the money counts; scenario: "" for none; cost: expected, shop currency.
    """

    at: datetime
    until: datetime | None
    day: date
    scenario: str
    cost: float


def prepare(db: sqlite3.Connection) -> None:
    """Make the tables unless they are there; a ledger from before them gets its reservations."""
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'spending'").fetchone():
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'spending'").fetchone():
            for statement in SCHEMA.split(";\n"):
                db.execute(statement)
            db.execute(_TAKE_OVER)
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def reserve(
    db: sqlite3.Connection,
    decision_id: str,
    pseudonym: str,
    action: str,
    channel: str | None,
    reservation: Reservation,
) -> None:
    """Hold it. What expired meanwhile is freed on this occasion."""
    of, cost = reservation, round(reservation.cost * UNITS)
    db.execute(
        "INSERT INTO reservations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (decision_id, pseudonym, action, channel, to_us(of.at), None if of.until is None else to_us(of.until),
         of.day.isoformat(), of.scenario, cost, HELD),
    )  # fmt: skip
    _spend(db, of.day.isoformat(), of.scenario, cost)


def sweep(db: sqlite3.Connection, now: datetime) -> None:
    """Free what is held no longer, and its money; so that this is seldom more than a few."""
    found = db.execute(
        f"SELECT decision_id FROM reservations WHERE {_EXPIRED} LIMIT {_SWEPT}", (to_us(now),)
    ).fetchall()
    for (decision_id,) in found:
        _become(db, decision_id, FREE)


def settle(db: sqlite3.Connection, decision_id: str, status: str, at: datetime) -> None:
    """What a delivery means for what its decision holds; the last word counts."""
    if status in SENT:
        _become(db, decision_id, KEPT)
        db.execute("UPDATE reservations SET at = ? WHERE decision_id = ?", (to_us(at), decision_id))
    else:
        _become(db, decision_id, FREE)


def held(db: sqlite3.Connection, customer_id: str, since: datetime, now: datetime) -> tuple[Contact, ...]:
    """A customer's contacts after a moment, sent or held, the oldest first."""
    found = db.execute(f"SELECT at, channel, action {_CONTACTS} AND customer_id = ? ORDER BY at, decision_id",
                       (*_moments(since, now), customer_id)).fetchall()  # fmt: skip
    return tuple(Contact(from_us(at), channel, action) for at, channel, action in found)


def held_by_all(db: sqlite3.Connection, since: datetime, now: datetime) -> dict[str, tuple[Contact, ...]]:
    """As `held`, of everybody who has any, by customer id."""
    query = f"SELECT at, channel, action, customer_id {_CONTACTS} ORDER BY at, decision_id"
    by_customer: dict[str, tuple[Contact, ...]] = {}
    for at, channel, action, who in db.execute(query, _moments(since, now)).fetchall():
        by_customer[who] = (*by_customer.get(who, ()), Contact(from_us(at), channel, action))
    return by_customer


def _moments(since: datetime, now: datetime) -> tuple[int, ...]:
    at = to_us(now)
    return at, at, at, to_us(since)


def spent(db: sqlite3.Connection, budgets: Sequence[Budget], day: date, now: datetime) -> tuple[float, ...]:
    """What is spent or held of each budget in the period that a day is in, shop currency."""
    amounts = []
    for budget in budgets:
        of = (budget.since(day).isoformat(), *(() if budget.scenario is None else (budget.scenario,)))
        only = "" if budget.scenario is None else " AND scenario = ?"
        total = db.execute(f"SELECT coalesce(sum(amount), 0) FROM spending WHERE day >= ?{only}", of)
        late = db.execute(
            f"SELECT coalesce(sum(cost), 0) FROM reservations WHERE {_EXPIRED} AND day >= ?{only}",
            (to_us(now), *of),
        )
        amounts.append((total.fetchone()[0] - late.fetchone()[0]) / UNITS)
    return tuple(amounts)


def _become(db: sqlite3.Connection, decision_id: str, state: int) -> None:
    row = db.execute(
        "SELECT state, day, scenario, cost FROM reservations WHERE decision_id = ?", (decision_id,)
    ).fetchone()
    if row is None or row[0] == state:
        return
    before, day, scenario, cost = row
    db.execute("UPDATE reservations SET state = ? WHERE decision_id = ?", (state, decision_id))
    if (before == FREE) != (state == FREE):
        _spend(db, day, scenario, -cost if state == FREE else cost)


def _spend(db: sqlite3.Connection, day: str, scenario: str, amount: int) -> None:
    if amount:
        db.execute(
            "INSERT INTO spending VALUES (?, ?, ?) ON CONFLICT (day, scenario) "
            "DO UPDATE SET amount = spending.amount + excluded.amount",
            (day, scenario, amount),
        )

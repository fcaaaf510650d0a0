"""Which offers like customers of different groups do not get alike: measured over everybody, told of one.

A table of the ledger has every measurement of `propensity decide --all`, also of a plan that was refused for
it; the last is in force. One decision cannot be unfair by itself: what is known of its offer is what was
measured of all. Every decision tells it; under `price_fairness = "block"` such an offer is not made, on
whatever host shares the ledger, until a later measurement clears it.

    fairness.json    where a home kept the last one before: see `in_force.take_over`
"""

import msgspec
from msgspec import Struct

from features.moments import to_us
from serving.in_force import Moment, Unfair, take_over
from serving.ledger import Ledger


class Measured(Struct, frozen=True):
    """One measurement. build: the publication that it was made on."""

    as_of: Moment
    build: str
    unfair: Unfair


def measured(ledger: Ledger, found: Measured) -> None:
    """Keep a measurement; the next decision knows it. DecisionError if it cannot be written."""
    with ledger.deciding():
        _add(ledger, found)


def former(ledger: Ledger) -> None:
    """Take a home's file over, if there is one. Not inside `Ledger.deciding`. DecisionError if damaged."""

    def keep(found: Measured) -> None:
        with ledger.deciding(), ledger.reading() as db:
            last = db.execute("SELECT max(as_of) FROM fairness").fetchone()[0]
            if last is None or last < to_us(found.as_of):  # else it was taken, or another host's is later
                _add(ledger, found)

    remedy = "delete it, and run `propensity decide --all`"
    take_over(ledger.settings.home / "fairness.json", Measured, keep, remedy)


def _add(ledger: Ledger, found: Measured) -> None:
    with ledger.reading() as db:
        db.execute(
            "INSERT INTO fairness SELECT coalesce(max(number), 0) + 1, ?, ?, ? FROM fairness",
            (to_us(found.as_of), found.build, msgspec.json.encode(found.unfair).decode()),
        )

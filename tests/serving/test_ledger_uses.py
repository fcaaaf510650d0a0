"""What became of decisions by scenario and channel, on SQLite and PostgreSQL alike."""

# ruff: noqa: F811 (fixtures of another module are arguments)

import msgspec
from test_ledger import NOW, REQUEST, entry, ledger, settings  # noqa: F401

from features.moments import DAY
from serving.ledger import Ledger
from serving.ledger_reports import Delivery, Outcome
from serving.ledger_uses import Use


def test_each_decision_counts_once_and_what_nobody_tells_is_not_known(ledger: Ledger) -> None:
    """Two deliveries of one message are one message; a click that nobody reports is no zero."""
    made = [msgspec.structs.replace(entry(f"k{n}"), scenario="silence" if n < 3 else None) for n in range(5)]
    old = msgspec.structs.replace(entry("old"), as_of=NOW - 30 * DAY)
    with ledger.deciding():
        for one in (*made, old):
            ledger.append(one, REQUEST)
    channel, cost = made[0].channel or "", made[0].cost or 0.0
    told: list[Delivery | Outcome] = [
        Delivery(source="s", id="1", decision_id=made[0].id, status="sent", at=NOW),
        Delivery(source="s", id="2", decision_id=made[0].id, status="delivered", at=NOW),
        Delivery(source="s", id="3", decision_id=made[1].id, status="blocked", at=NOW, blocked_by="carrier"),
        Delivery(source="s", id="4", decision_id=made[3].id, status="sent", at=NOW),
        Outcome(source="s", id="5", decision_id=made[0].id, type="order", value=9, at=NOW),
        Outcome(source="s", id="6", decision_id=made[0].id, type="order", value=5, at=NOW),
        Outcome(source="s", id="7", decision_id=made[3].id, type="order", value=5, at=NOW + 300 * DAY),
    ]
    ledger.report(told, NOW)
    assert ledger.uses(NOW - DAY, NOW + DAY) == [
        Use("silence", channel, 3, 1, 1, None, 1, 1, cost),
        Use("", channel, 2, 1, 0, None, 0, 0, cost),
    ]
    assert [one.id for one in ledger.entries(since=NOW - DAY)] == sorted(one.id for one in made)
    click = Outcome(source="s", id="8", decision_id=made[3].id, type="click", value=1, at=NOW)
    ledger.report([click], NOW)
    assert [use.clicked for use in ledger.uses(NOW - DAY, NOW + DAY)] == [0, 1]

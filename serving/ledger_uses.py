"""What became of the decisions of a time, by scenario and channel: sent, reached, clicked, bought, blocked.

Counted from what was told until now, final or not: it says what happened, and not what came of it because it
was done (`training.roi`). Of what nobody ever tells, nothing is known.
"""

from typing import NamedTuple

from features.moments import DAY_US
from serving.ledger_store import Store


class Use(NamedTuple):
    """Decisions for an action. scenario, channel: "" without one. sent: that a delivery says went out.

    reached: of those that arrived, or were answered; clicked: clicked or redeemed; bought: with an order told
    within the decision's window; cost: of what was sent, as expected. None: of that nobody ever tells.
    """

    scenario: str
    channel: str
    decided: int
    sent: int
    reached: int | None
    clicked: int | None
    bought: int | None
    blocked: int
    cost: float


_SENT = "status IN ('sent', 'delivered')"
_CLICK = "type IN ('click', 'redeem')"
_QUERY = f"""
SELECT coalesce(d.scenario, ''), coalesce(d.channel, ''), count(*),
  sum(coalesce(x.sent, 0)),
  sum(CASE WHEN coalesce(x.arrived, 0) + coalesce(o.answered, 0) > 0 THEN 1 ELSE 0 END),
  sum(coalesce(o.clicked, 0)), sum(coalesce(o.bought, 0)),
  sum(CASE WHEN coalesce(x.sent, 0) = 0 THEN coalesce(x.blocked, 0) ELSE 0 END),
  sum(CASE WHEN x.sent = 1 THEN coalesce(CAST(r.cost AS DOUBLE PRECISION) / 1000000, d.cost, 0) ELSE 0 END)
FROM decisions d
LEFT JOIN (
  SELECT decision_id, max(CASE WHEN {_SENT} THEN 1 ELSE 0 END) AS sent,
    max(CASE WHEN status = 'delivered' THEN 1 ELSE 0 END) AS arrived,
    max(CASE WHEN status = 'blocked' THEN 1 ELSE 0 END) AS blocked
  FROM deliveries GROUP BY decision_id
) x ON x.decision_id = d.id
LEFT JOIN (
  SELECT decision_id, sum(cost) AS cost FROM reservations WHERE state = 1 GROUP BY decision_id
) r ON r.decision_id = d.id
LEFT JOIN (
  SELECT o.decision_id, max(CASE WHEN type IN ('open', 'click', 'redeem') THEN 1 ELSE 0 END) AS answered,
    max(CASE WHEN {_CLICK} THEN 1 ELSE 0 END) AS clicked,
    max(CASE WHEN type = 'order' AND (e.window_end IS NULL OR o.at < e.window_end) THEN 1 ELSE 0 END)
      AS bought
  FROM outcomes o JOIN decisions e ON e.id = o.decision_id GROUP BY o.decision_id
) o ON o.decision_id = d.id
WHERE d.channel IS NOT NULL AND d.as_of >= ? AND d.as_of < ?
GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2
"""
_TOLD = f"""
SELECT EXISTS (SELECT 1 FROM deliveries WHERE status = 'delivered')
    OR EXISTS (SELECT 1 FROM outcomes WHERE type = 'open'),
  EXISTS (SELECT 1 FROM outcomes WHERE {_CLICK}), EXISTS (SELECT 1 FROM outcomes WHERE type = 'order')
"""


def of(store: Store, since: int, until: int) -> list[Use]:
    """Decisions from `since` on and before `until`, in us; the most frequent use first."""
    arrives, clicks, orders = store.execute(_TOLD).fetchone()
    return [
        Use(
            scenario, channel, int(decided), int(sent), int(reached) if arrives else None,
            int(clicked) if clicks else None, int(bought) if orders else None, int(blocked), float(cost),
        )
        for scenario, channel, decided, sent, reached, clicked, bought, blocked, cost in store.execute(
            _QUERY, (since, until)
        ).fetchall()
    ]  # fmt: skip


def rates(store: Store, since: int, until: int, shift: int) -> list[tuple[int, str, int]]:
    """(day, action, decisions) of a time in us, those drawn by lot and `nothing` too.

    shift: us that are added before the day (whole ones since 1970) is taken.
    """
    rows = store.execute(
        f"SELECT (as_of + {int(shift)}) / {DAY_US}, action, count(*) FROM decisions "
        "WHERE as_of >= ? AND as_of < ? AND unit IS NULL AND follows IS NULL GROUP BY 1, 2",
        (since, until),
    )
    return [(int(day), str(action), int(several)) for day, action, several in rows.fetchall()]

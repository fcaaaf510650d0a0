"""What the customer log takes from the ledger: contacts that were sent, and what customers answered.

About customers alone, and of nobody who was erased; times in microseconds. What went to a group or to
everyone is no customer's contact: it is counted only.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from serving.ledger_reports import USED, Type
from serving.ledger_store import Store

_FIRST_SENT = f"SELECT min(x.number) FROM deliveries x WHERE x.decision_id = d.id AND {USED}"
_FIRST_OF_STEP = f"""SELECT min(y.number) FROM deliveries y WHERE y.decision_id = d.id
  AND {USED.replace("x.", "y.")} AND (y.step IS NULL OR y.step > coalesce(r.step, 0))"""


def sent(store: Store, shared: bool = False) -> Iterator[dict[str, Any]]:
    """Marketing contacts of which a delivery says that they were sent, as the first one says: number, id,
    customer_id, at, recorded_at, action, channel, cost, before, propensity, scenario, also.

    Each step of a bundle that was sent is one, on its own channel and at its own cost: a delivery of a step
    tells of those before it, too, and one of no step of all. before: what the steps before it cost. also: the
    step, of which another's tells; else None. shared: of groups and everyone instead, who stand in the
    customer's place.
    """
    yield from _rows(
        store,
        "x.number, d.id, p.customer_id, x.at, x.recorded_at, d.action, "
        "coalesce(r.channel, d.channel) AS channel, "
        "CASE WHEN d.cost IS NOT NULL THEN coalesce(CAST(r.cost AS DOUBLE PRECISION) / 1000000, d.cost) END "
        "AS cost, (SELECT coalesce(CAST(sum(y.cost) AS DOUBLE PRECISION), 0) / 1000000 FROM reservations y "
        "WHERE y.decision_id = d.id AND y.step < coalesce(r.step, 0)) AS before, d.propensity, d.scenario, "
        "CASE WHEN coalesce(x.step, 1) <> coalesce(r.step, 0) + 1 THEN r.step + 1 END AS also",
        "reservations r ON r.decision_id = d.id "
        f"JOIN deliveries x ON x.decision_id = d.id AND x.number = ({_FIRST_OF_STEP}) AND d.reserves = 1",
        "x.number, r.step",
        left=True,
        shared=shared,
    )


def told(store: Store, types: Sequence[Type]) -> Iterator[dict[str, Any]]:
    """Outcomes of some types, late or not: id, customer_id, key, type, at, recorded_at, scenario, sent.

    sent: the number of the first delivery that says that the contact was sent, if there is one.
    """
    yield from _rows(
        store,
        f"d.id, p.customer_id, o.key, o.type, o.at, o.recorded_at, d.scenario, ({_FIRST_SENT}) AS sent",
        f"outcomes o ON o.decision_id = d.id AND o.type IN ({', '.join('?' * len(types))})",
        "o.number",
        types,
    )


def _rows(
    store: Store,
    columns: str,
    of: str,
    order: str,
    values: Sequence[str] = (),
    left: bool = False,
    shared: bool = False,
) -> Iterator[dict[str, Any]]:
    known = "decisions d JOIN pseudonyms p USING (pseudonym)"  # of whom nobody was erased
    join = "LEFT JOIN" if left else "JOIN"
    whose = f"d.unit IS {'NOT ' if shared else ''}NULL"
    query = f"SELECT {columns} FROM {known} {join} {of} WHERE {whose} ORDER BY {order}"
    found = store.execute(query, values)
    names = [column[0] for column in found.description]
    yield from (dict(zip(names, row, strict=True)) for row in found)

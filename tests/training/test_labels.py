"""What came true. If it is wrong, a model learns to predict something that did not happen."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import NotEnoughData
from features.ingestion.ingest import arrow_schema
from features.moments import DAY, parse_moment
from features.tables import TABLES
from training.labels import labels
from training.targets import TARGETS, Target, catalogue

CHURN = catalogue()["churn_28d"]
ORDER = catalogue()["repurchase_14d"]
M = parse_moment("2017-12-03")
MICRO = timedelta(microseconds=1)
Rows = Sequence[Mapping[str, Any]]


def order(
    id: str,
    at: datetime,
    known: datetime | None = None,
    amount: int = 100,
    ref: str | None = None,
    of: str = "c",
) -> dict[str, Any]:
    """A row of the orders; with a `ref`, a return of that order."""
    times = {"at": at, "known_at": known or at}
    return {"order_id": id, "customer_id": of, **times, "amount": Decimal(amount), "ref": ref}


def label(
    target: Target,
    *orders: Mapping[str, Any],
    moment: datetime = M,
    by: datetime | None = None,
    **tables: Rows,
) -> float:
    """The label of the customer `c`; `d`, of whom nothing is known, has that of nothing."""
    spine = spine_of([("c", moment), ("d", moment)])
    rows = tables_of({"orders": orders, **tables})
    ours, nothing = labels(rows, spine, target, {moment: by or moment + target.horizon_days * DAY})
    assert nothing == (target.label == "no_order")
    return float(ours)


def tables_of(rows: Mapping[str, Rows]) -> dict[str, pa.Table]:
    """Tables of the log, of all their columns."""
    return {name: pa.Table.from_pylist(list(of), arrow_schema(TABLES[name], 2)) for name, of in rows.items()}


def spine_of(pairs: Sequence[tuple[str, datetime]]) -> pa.Table:
    schema = pa.schema({"customer_id": pa.string(), "moment": pa.timestamp("us", "UTC")})
    return pa.Table.from_pylist([{"customer_id": c, "moment": m} for c, m in pairs], schema)


@pytest.mark.parametrize("target", [CHURN, ORDER], ids=lambda target: target.name)
def test_a_label_covers_exactly_the_horizon(target: Target) -> None:
    """Else: an order that was known at the moment counts as the future, or one after the horizon does."""
    bought = 1.0 if target.label == "order" else 0.0
    end = M + target.horizon_days * DAY
    found = [label(target, order("1", at), by=end + DAY) == bought for at in (M, M + MICRO, end, end + MICRO)]
    assert found == [False, True, True, False]


def test_what_was_not_known_in_time_is_not_learnt() -> None:
    """Else: a replay of the past learns from rows that arrived after it."""
    at = M + DAY
    assert label(CHURN, order("1", at, known=M + 28 * DAY)) == 0
    assert label(CHURN, order("1", at, known=M + 28 * DAY + MICRO)) == 1


def test_a_return_is_no_order() -> None:
    """Else: who brings everything back counts as a loyal customer."""
    assert label(CHURN, order("2", M + DAY, amount=-100, ref="1")) == 1


def test_a_moment_is_judged_by_what_was_known_for_it() -> None:
    """Else: what a model is fitted on was known only after the moment that it is judged at."""
    spine = spine_of([("c", M), ("c", M + 28 * DAY), ("d", M)])
    late = tables_of({"orders": [order("1", M + DAY, known=M + 40 * DAY), order("2", M + 30 * DAY)]})
    early = {M: M + 28 * DAY, M + 28 * DAY: M + 56 * DAY}
    assert labels(late, spine, CHURN, early).tolist() == [1, 0, 1]
    assert labels(late, spine, CHURN, dict.fromkeys(early, M + 56 * DAY)).tolist() == [0, 0, 1]


EDGES = [M + days * DAY + edge for days in (0, 14, 28, 40) for edge in (-MICRO, timedelta(0), MICRO)]


@given(
    rows=st.lists(
        st.tuples(st.sampled_from(EDGES), st.sampled_from([0, 1, 20]), st.sampled_from("cd"), st.booleans()),
        max_size=8,
    ),
    later=st.lists(st.tuples(st.sampled_from(EDGES), st.sampled_from("cd"), st.booleans()), max_size=8),
    target=st.sampled_from([t for t in TARGETS if t.label in ("order", "no_order")]),
    returned=st.booleans(),
)
def test_nothing_known_later_changes_a_label(
    rows: list[tuple[datetime, int, str, bool]],
    later: list[tuple[datetime, str, bool]],
    target: Target,
    returned: bool,
) -> None:
    """Else: yesterday's training set cannot be rebuilt, and a backtest looks into its future.

    And the labels are the obvious ones, computed a row at a time.
    """
    target = replace(target, returned=returned)
    known = {M: M + target.horizon_days * DAY, M + 7 * DAY: M + (target.horizon_days + 20) * DAY}
    spine = spine_of([(c, m) for m in known for c in "cde"])
    orders = [
        order(
            str(n), at, at + days * DAY, -100 if back and n else 100, str(n - 1) if back and n else None, of
        )
        for n, (at, days, of, back) in enumerate(rows)
    ]
    end = max(known.values())
    arrived = [
        order(f"later {n}", at, end + MICRO, -100 if back else 100, "0" if back else None, of)
        for n, (at, of, back) in enumerate(later)
    ]
    found = labels(tables_of({"orders": orders}), spine, target, known)
    np.testing.assert_array_equal(
        labels(tables_of({"orders": orders + arrived}), spine, target, known), found
    )
    np.testing.assert_array_equal(labels(tables_of({"orders": orders[::-1]}), spine, target, known), found)

    def bought(customer: str, moment: datetime) -> bool:
        until, by = moment + target.horizon_days * DAY, known[moment]
        seen = [o for o in orders if o["known_at"] <= by and o["at"] <= until]
        back = {o["ref"] for o in seen if o["ref"]} if not target.returned else set()
        return any(
            o["customer_id"] == customer and moment < o["at"] and not o["ref"] and o["order_id"] not in back
            for o in seen
        )

    obvious = [bought(row["customer_id"], row["moment"]) for row in spine.to_pylist()]
    assert found.tolist() == [float(b != (target.label == "no_order")) for b in obvious]


def test_an_order_that_came_back_whole_counts_only_if_the_target_says_so() -> None:
    """Else: a first purchase that was sent back is celebrated, or a visit of a regular customer is denied."""
    kept = replace(ORDER, returned=False)
    bought, end = order("1", M + DAY), M + 14 * DAY
    assert label(kept, bought) == 1
    assert label(ORDER, bought, order("2", M + 2 * DAY, amount=-100, ref="1")) == 1
    assert label(kept, bought, order("2", M + 2 * DAY, amount=-100, ref="1")) == 0
    assert label(kept, bought, order("2", M + 2 * DAY, amount=-60, ref="1")) == 1
    assert label(kept, bought, *(order(n, M + 2 * DAY, amount=-50, ref="1") for n in "23")) == 0
    assert label(kept, bought, order("2", end, amount=-100, ref="1")) == 0
    assert label(kept, bought, order("2", end + MICRO, amount=-100, ref="1"), by=end + DAY) == 1
    assert label(kept, bought, order("2", M + 2 * DAY, end + MICRO, -100, "1")) == 1
    assert label(kept, order("0", M + DAY, amount=0)) == 1  # a gift: nothing was paid, nothing came back


def test_an_immature_label_is_refused() -> None:
    """Else: the last four weeks are full of customers who look lost."""
    with pytest.raises(NotEnoughData, match="2017-12-31"):
        label(CHURN, by=M + 28 * DAY - MICRO)

"""What came true. If it is wrong, a model learns to predict something that did not happen."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import NotEnoughData
from features.ingestion.ingest import arrow_schema
from features.moments import DAY, parse_moment
from features.tables import TABLES
from training.labels import labels, with_days
from training.targets import LABELS, TARGETS, Target, catalogue

CHURN = catalogue()["churn_28d"]
ORDER = catalogue()["repurchase_14d"]
M = parse_moment("2017-12-03")
MICRO = timedelta(microseconds=1)
ZONE = ZoneInfo("America/New_York")
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


def label(target: Target, *orders: Mapping[str, Any], by: datetime | None = None, **tables: Rows) -> float:
    """The label of the customer `c` at M; `d`, of whom nothing is known, has that of nothing."""
    rows = of_target(target, {"orders": orders, **tables})
    known_by = {M: by or M + target.horizon_days * DAY}
    ours, nothing = labels(rows, spine_of([("c", M), ("d", M)]), target, known_by)
    assert nothing == (target.label == "no_order")
    return float(ours)


def of_target(target: Target, rows: Mapping[str, Rows]) -> dict[str, pa.Table]:
    """What `events` gives of a log with these rows."""
    tables = tables_of({name: rows[name] for name in LABELS[target.label].tables if name in rows})
    if target.label != "overdue":
        return tables
    return {name: with_days(table, ZONE.key) for name, table in tables.items()}


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


EDGES = [M + days * DAY + edge for days in (-40, -5, -1, 0, 6, 14, 28) for edge in (-MICRO, 0 * DAY, MICRO)]
KNOWN = {M: M + 29 * DAY, M + 7 * DAY: M + 40 * DAY}
TARGET = st.sampled_from([t for t in TARGETS if t.horizon_days <= 28])
Drawn = tuple[datetime, int, str, int]  # at, days until it is known, whose, what
DRAWN = st.lists(
    st.tuples(st.sampled_from(EDGES), st.sampled_from([0, 1, 20]), st.sampled_from("cd"), st.integers(0, 5)),
    max_size=16,
)


def rows_of(drawn: Sequence[Drawn], first: int = 0, known_after: datetime | None = None) -> dict[str, Rows]:
    """Rows of every table that a label reads, numbered; some of them are returns of the one before."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for n, (at, days, of, what) in enumerate(drawn, start=first):
        known = max(at + days * DAY, known_after + MICRO) if known_after else at + days * DAY
        who = {"customer_id": of, "at": at, "known_at": known}
        ref, amount = (str(n - 1), Decimal(-60 - what)) if what >= 4 else (None, Decimal(60 + what))
        goods = {"order_id": str(n), **who, "amount": amount, "ref": ref}
        rows.setdefault("orders", []).append(goods)
        rows.setdefault("order_lines", []).append({**goods, "category": [None, "tea", "milk"][what % 3]})
        rows.setdefault("memberships", []).append(
            {**who, "kind": ["group", "staff"][what % 2], "change": ["joined", "left"][what // 2 % 2]}
        )
        rows.setdefault("responses", []).append({**who, "kind": ["open", "opt-out"][what % 2]})
        purpose, status = ["service", "marketing"][what // 2 % 2], ["granted", "withdrawn"][what % 2]
        rows.setdefault("consents", []).append({**who, "purpose": purpose, "status": status})
    return {name: rows.get(name, []) for name in TABLES}


def obvious(target: Target, rows: Mapping[str, Rows], customer: str, moment: datetime, by: datetime) -> float:
    """The label as its declaration reads, a row at a time."""
    until = moment + target.horizon_days * DAY
    known = {name: [r for r in of if r["known_at"] <= by and r["at"] <= until] for name, of in rows.items()}
    own = {name: [r for r in of if r["customer_id"] == customer] for name, of in known.items()}
    after = {name: [r for r in of if r["at"] > moment] for name, of in own.items()}

    def counts(row: Mapping[str, Any], table: str) -> bool:
        back = sum(
            r["amount"]
            for r in known[table]
            if r["ref"] == row["order_id"] and r.get("category") == row.get("category")
        )
        return not row["ref"] and (target.returned or back >= 0 or row["amount"] + back > 0)

    match target.label:
        case "order":
            return any(counts(r, "orders") for r in after["orders"])
        case "no_order":
            return not any(counts(r, "orders") for r in after["orders"])
        case "category_order":
            start = moment - target.population.days * DAY
            had = {
                r["category"]
                for r in own["order_lines"]
                if start < r["at"] <= moment and r["known_at"] <= moment and not r["ref"]
            }
            wanted = set(target.categories or had) - {None}
            return any(r["category"] in wanted and counts(r, "order_lines") for r in after["order_lines"])
        case "left_group" | "left_staff":
            kind = target.label[5:]
            return any(r["kind"] == kind and r["change"] == "left" for r in after["memberships"])
        case "opt_out":
            withdrawn = ("marketing", "withdrawn")
            return any(r["kind"] == "opt-out" for r in after["responses"]) or any(
                (r["purpose"], r["status"]) == withdrawn for r in after["consents"]
            )
        case "overdue":
            bought = [r for r in own["orders"] if not r["ref"]]
            seen = [r for r in bought if max(r["at"], r["known_at"]) <= moment]
            days = sorted({r["at"].astimezone(ZONE).date() for r in seen})
            gaps = sorted((b - a).days for a, b in zip(days, days[1:], strict=False))
            if len(gaps) < 3:
                return False
            limit = next(g for g in gaps if sum(one <= g for one in gaps) >= 0.9 * len(gaps))
            last = max(r["at"] for r in bought).astimezone(ZONE).date()
            return (until.astimezone(ZONE).date() - last).days > limit


@settings(max_examples=200)
@given(drawn=DRAWN, later=DRAWN, target=TARGET, returned=st.booleans(), named=st.booleans())
def test_labels_are_the_obvious_ones_and_nothing_known_later_changes_them(
    drawn: list[Drawn], later: list[Drawn], target: Target, returned: bool, named: bool
) -> None:
    """Else: yesterday's training set cannot be rebuilt, and a backtest looks into its future."""
    categories = ("tea",) if named and target.label == "category_order" else ()
    target = replace(target, returned=returned, categories=categories)
    spine = spine_of([(c, m) for m in KNOWN for c in "cde"])
    rows, arrived = rows_of(drawn), rows_of(later, len(drawn), max(KNOWN.values()))
    found, with_later, reversed_ = (
        labels(of_target(target, some), spine, target, KNOWN)
        for some in (
            rows,
            {name: [*of, *arrived[name]] for name, of in rows.items()},
            {name: of[::-1] for name, of in rows.items()},
        )
    )
    np.testing.assert_array_equal(with_later, found)
    np.testing.assert_array_equal(reversed_, found)
    told = [
        obvious(target, rows, r["customer_id"], r["moment"], KNOWN[r["moment"]]) for r in spine.to_pylist()
    ]
    assert found.tolist() == [float(label) for label in told]


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


def test_goods_count_if_their_category_was_bought_before_or_is_named() -> None:
    """Else: whoever comes back for anything at all counts as true to a category."""
    again = replace(catalogue()["category_repurchase_28d"], returned=True)
    tea = replace(again, categories=("tea",))

    def line(id: str, category: str, days: int, late: int = 0) -> dict[str, Any]:
        at = M + days * DAY
        return {**order(id, at, at + late * DAY), "category": category}

    def of(target: Target, *lines: Mapping[str, Any]) -> float:
        return label(target, order_lines=lines)

    assert of(again, line("1", "tea", -90 + 1), line("2", "tea", 1)) == 1
    assert of(again, line("1", "tea", -90), line("2", "tea", 1)) == 0  # bought before the 90 days began
    assert of(again, line("1", "tea", -1, late=2), line("2", "tea", 1)) == 0  # known too late to be "before"
    assert of(again, line("1", "tea", -1), line("2", "milk", 1)) == 0
    assert of(again, line("1", "tea", 1), line("2", "tea", 2)) == 0  # both are after the moment
    assert (of(tea, line("2", "tea", 1)), of(tea, line("2", "milk", 1))) == (1, 0)


def test_overdue_is_by_the_customers_own_rhythm() -> None:
    """Else: who comes monthly is always overdue, and who came daily never is."""
    overdue = catalogue()["overdue_28d"]

    def of(*days: int) -> float:
        orders = [order(str(n), M + day * DAY) for n, day in enumerate(days)]
        return label(overdue, *orders)

    weekly, monthly = [-28, -21, -14, -7], [-90, -60, -30, 0]
    assert of(*weekly) == 1
    assert of(*weekly, 20) == 1  # came once, and was silent for 8 days at the horizon's end
    assert of(*weekly, 21) == 0
    assert of(*monthly) == 0
    # The days of the shop, as gaps are: at 19:00 there it may yet be the seventh day of a weekly customer.
    morning = [order(str(n), M + day * DAY - timedelta(hours=9)) for n, day in enumerate((*weekly, 21))]
    assert label(overdue, *morning) == 0
    day_before = [order(str(n), M + day * DAY - timedelta(hours=21)) for n, day in enumerate((*weekly, 21))]
    assert label(overdue, *day_before) == 1
    assert of(-14, -7, 0) == 0  # two gaps are no rhythm yet
    # Of ten gaps the largest is unusual, and of nine too; of eleven, the largest is the one of ten.
    assert [of(*range(-40 - 3 * (n - 1), -40, 3), -40, 0, 19) for n in (9, 10)] == [0, 1]


def test_leaving_and_opting_out_are_rows_of_their_own() -> None:
    """Else: a joining counts as a leaving, a member of staff as a group, and service mail as marketing."""
    group, staff, out = (catalogue()[n] for n in ("leave_group_28d", "leave_staff_28d", "opt_out_28d"))
    who = {"customer_id": "c", "at": M + DAY, "known_at": M + DAY}
    left = {**who, "kind": "group", "change": "left"}
    assert [label(target, memberships=[left]) for target in (group, staff)] == [1, 0]
    assert label(group, memberships=[{**left, "change": "joined"}]) == 0
    withdrawn = {**who, "purpose": "marketing", "status": "withdrawn"}
    assert label(out, responses=[{**who, "kind": "opt-out"}], consents=[]) == 1
    assert label(out, responses=[{**who, "kind": "open"}], consents=[withdrawn]) == 1
    assert label(out, consents=[withdrawn]) == 1  # of a log without responses
    assert label(out, consents=[{**withdrawn, "purpose": "service"}], responses=[]) == 0

"""The event's own history as a baseline: without it, a model of milk that never looked at milk is praised."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from test_labels import spine_of, tables_of

from features.moments import DAY, parse_moment, to_us
from training import backtest, baselines, pooled
from training.candidates import Parameters
from training.habit import DAYS, NEVER, Habit
from training.labels import labels
from training.samples import Dataset, Part, Timeline
from training.targets import TARGETS, catalogue

M = parse_moment("2017-10-01")
TEA = replace(
    catalogue()["category_repurchase_28d"], name="tea_7d", horizon_days=7, categories=("tea",), returned=True
)


def line(of: str, at: datetime, category: str | None = "tea", **more: Any) -> dict[str, Any]:
    return {"customer_id": of, "at": at, "known_at": at, "category": category, "ref": None, **more}


def told(lines: list[dict[str, Any]], ids: tuple[str, ...], moment: datetime = M) -> list[list[float]]:
    habit = Habit.of(tables_of({"order_lines": lines}), TEA, ids)
    assert habit is not None
    customers = np.arange(len(ids))
    at = np.full(len(ids), to_us(moment)).astype("datetime64[us]")
    return habit.told(customers, at).tolist()


def test_only_what_was_known_of_these_very_goods_is_counted() -> None:
    """Else: the sceptic is a straw man, or looks ahead and keeps every honest model out."""
    lines = [
        line("a", M - 2 * DAY),
        line("a", M - 5 * DAY),
        line("a", M - (DAYS + 1) * DAY),  # too long ago to be counted
        line("a", M - DAY, category="bread"),
        line("a", M - DAY, category=None),
        line("a", M - DAY, ref="another", order_id="r"),  # a return
        line("a", M + timedelta(seconds=1)),
        line("b", M - 3 * DAY, known_at=M + DAY),  # nobody knew it
        line("d", M - DAY),  # in no row
    ]
    assert told(lines, ("a", "b", "c")) == [[2, 2], [0, NEVER], [0, NEVER]]
    assert told(lines, ("b",), M + DAY) == [[1, 4]]


def test_targets_of_orders_have_recency_and_money_and_all_others_their_own_events() -> None:
    """Else: opt-outs and departures are judged against how often somebody shops alone."""
    assert Habit.of({}, catalogue()["churn_28d"], ()) is None
    rows = {"responses": [{"customer_id": "a", "at": M - DAY, "known_at": M - DAY, "kind": "opt-out"}]}
    habit = Habit.of(tables_of(rows), catalogue()["opt_out_28d"], ("a",))
    assert habit is not None
    assert habit.told(np.array([0]), np.array([to_us(M)]).astype("datetime64[us]")).tolist() == [[1, 1]]
    others = {one.label for one in TARGETS if one.label not in ("order", "no_order", "overdue")}
    assert others == {"category_order", "left_group", "left_staff", "opt_out"}


@pytest.fixture(scope="module")
def world() -> Dataset:
    """A shop where some buy tea weekly and others never, and a build whose one feature is noise."""
    rng = np.random.default_rng(5)
    ids = tuple(f"c{n}" for n in range(400))
    often = rng.beta(0.6, 1.2, len(ids))
    weeks = range(-25, 1)
    lines = [
        line(id, M + 7 * week * DAY + DAY)
        for week in weeks
        for id, chance in zip(ids, often, strict=True)
        if rng.random() < chance
    ]
    tables = tables_of({"order_lines": [{**one, "order_id": str(n)} for n, one in enumerate(lines)]})
    moments = [M + 7 * week * DAY for week in weeks if week > -12]
    at = np.repeat([to_us(m) for m in moments], len(ids))
    spine = spine_of([(id, m) for m in moments for id in ids])
    label = labels(tables, spine, TEA, dict.fromkeys(moments, M + 7 * DAY))
    rows = Part(
        rng.normal(size=(len(at), 1)).astype(np.float32), label,
        np.tile(np.arange(len(ids)), len(moments)), np.zeros(len(at), np.bool_),
    )  # fmt: skip
    when = Timeline(tuple(moments[:-1]), tuple(moments[-2:]), 7 * DAY, M + 7 * DAY)
    learnt = {o: label[np.isin(at, [to_us(m) for m in when.known(o)])] for o in when.origins}
    habit = Habit.of(tables, TEA, ids)
    return Dataset(("noise",), when, ids, rows, at, learnt, habit=habit, baseline=("noise",))


def test_a_model_without_the_categorys_own_history_is_seen_to_lose_to_it(world: Dataset) -> None:
    """Else: it claims to win over recency of whatever goods, and a count of the category would be better."""
    for step in backtest.walk(world, 1, Parameters(rounds=20)):
        auc = {name: pooled.auc(step.part.label, score)[0] for name, score in step.scores.items()}
        assert auc["own_history"] > 0.75
        assert auc["model"] < 0.6
        assert auc["declared"] == pytest.approx(0.5, abs=0.1)  # the target's own columns: noise, here
        own = step.scores["own_history"]
        assert own.mean() == pytest.approx(step.part.base_rate, abs=0.05)


def test_a_baseline_that_a_target_names_is_fitted_on_its_columns_alone() -> None:
    """Else: what the shop does today cannot be put beside the model."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(500, 2)).astype(np.float32)
    label = (rng.random(500) < 1 / (1 + np.exp(-3 * x[:, 1]))).astype(np.float64)
    part = Part(x, label, np.arange(500), np.zeros(500, np.bool_))
    found = baselines.scores(part, part, ("noise", "rule"), 1, untuned=False, declared=("rule",))
    assert set(found) == {"declared"}
    assert pooled.auc(label, found["declared"])[0] > 0.75
    assert pa.array(found["declared"]).null_count == 0
    assert baselines.scores(part, part, ("noise",), 1, untuned=False, declared=("rule",)) == {}

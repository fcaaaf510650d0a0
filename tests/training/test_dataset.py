"""Time. If any of these fails, a model is judged on what it was taught, and its figures are a lie."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.compute.builds import Build
from features.definitions import catalogue
from features.errors import NotEnoughData
from features.log import Log
from features.moments import DAY, grid, parse_moment
from features.settings import Settings
from training import dataset
from training.targets import TARGETS, Target
from training.targets import catalogue as targets

CHURN, WEEK, FORTNIGHT = (targets()[name] for name in ("churn_28d", "repurchase_7d", "repurchase_14d"))
M = parse_moment("2017-12-03")


def build_of(starts: datetime, moments: list[datetime], until: datetime | None = None) -> Build:
    until = until or max(moments) + 60 * DAY
    features = dict.fromkeys(catalogue(), "hash")
    return Build("b", Path("/nowhere"), "log", starts, until, features, tuple(moments))


@given(
    target=st.sampled_from(TARGETS),
    days=st.integers(150, 900),
    every=st.integers(1, 11),
    extra=st.sets(st.integers(0, 900), max_size=5),
    early=st.integers(0, 60),
    hour=st.integers(0, 23),
)
def test_no_label_looks_into_the_next_part(
    target: Target, days: int, every: int, extra: set[int], early: int, hour: int
) -> None:
    """Else: the calibration, or the figures, are made on days that the fit has seen."""
    starts = parse_moment("2017-01-01") + timedelta(hours=hour)
    end = parse_moment("2017-01-01") + days * DAY
    moments = sorted({*grid(starts, end, every * DAY), *(starts + d * DAY for d in extra if d <= days)})
    build, as_of = build_of(starts, moments, end), end - early * DAY
    horizon = target.horizon_days * DAY
    if days - early < 400:  # more than any of these needs
        try:
            plan = dataset.plan(target, build, as_of)
        except NotEnoughData:
            return
    else:
        plan = dataset.plan(target, build, as_of)
    assert plan.fit[-1] + horizon <= plan.calibration[0]
    assert plan.calibration[-1] + horizon <= plan.test
    assert plan.test + horizon <= as_of
    assert plan.fit[0] >= starts + 90 * DAY
    assert set(plan.moments) <= set(moments)
    assert all(b - a >= 7 * DAY for a, b in zip(plan.moments, plan.moments[1:], strict=False))


def test_the_demo_is_judged_at_the_last_moment_whose_label_is_mature(journey: Settings) -> None:
    """Else: the printed figures are of another moment than the published comparators."""
    build = Build.open(journey)
    tests = [dataset.plan(target, build, journey.now()).test for target in (CHURN, WEEK, FORTNIGHT)]
    assert [f"{test:%m-%d}" for test in tests] == ["12-03", "12-24", "12-17"]


def test_an_as_of_after_the_logs_end_does_not_make_labels_mature() -> None:
    """Else: whoever is not in the log yet counts as lost."""
    moments = grid(parse_moment("2017-01-01"), M)
    plan = dataset.plan(CHURN, build_of(moments[0], moments, until=M), parse_moment("2030-01-01"))
    assert plan.test + 28 * DAY <= M


def test_a_short_log_is_told_in_numbers() -> None:
    """Else: somebody with half a year of data sees a stack trace, or a model of nothing."""
    moments = grid(parse_moment("2017-07-01"), M)
    with pytest.raises(NotEnoughData, match=r"154 days or more .* These 64 days hold 6 usable snapshots"):
        dataset.plan(CHURN, build_of(moments[0], moments), M)


def test_features_that_grow_with_the_log_are_left_out() -> None:
    """Else: the model learns what 200 known days look like, and is asked about 330."""
    starts, known = parse_moment("2017-01-01"), catalogue()
    build = build_of(starts, grid(starts, starts + 900 * DAY))
    young, old = (dataset.plan(CHURN, build, starts + days * DAY) for days in (364, 896))
    learnt, left_out = dataset.columns(build, known, young)
    assert {"orders_365d", "tenure", "orders_trend_year", "response_rate"} <= set(left_out)
    assert {"orders_90d", "days_since_order", "gap_median", "overdue", "orders_trend"} <= set(learnt)
    assert set(learnt) | set(left_out) == set(known)
    assert dataset.columns(build, known, old)[1] == ()


def test_the_rows_are_the_population_and_its_features(journey: Settings) -> None:
    """Else: customers are lost, doubled or given another's features between log, Feast and model."""
    build, log = Build.open(journey), Log.open(journey)
    moments = (M - 21 * DAY, M - 14 * DAY, M)
    plan = dataset.Plan((moments[0],), (moments[1],), M, M + 28 * DAY)
    names = ("spend_90d", "overdue")
    week = dataset.read(journey, log, build, WEEK, plan, names)
    data = dataset.read(
        journey, log, build, CHURN, dataset.Plan((M - 56 * DAY,), (M - 28 * DAY,), M, M + 28 * DAY), names
    )
    assert len(data.test) == len(week.test) == 2318
    snapshot = build.read(M)
    inside = snapshot["orders_90d"].to_numpy() > 0
    for part in (data.test, week.test):
        for place, name in enumerate(names):
            np.testing.assert_array_equal(part.matrix[:, place], snapshot[name].to_numpy()[inside])
    orders = log.read("orders", ["customer_id", "at"]).to_pandas()
    later = orders[(orders["at"] > M) & (orders["at"] <= M + 28 * DAY)]["customer_id"].unique()
    ids = snapshot["customer_id"].to_pandas()[inside]
    np.testing.assert_array_equal(data.test.label, (~ids.isin(later)).to_numpy().astype(float))
    assert round(data.test.base_rate, 3) == 0.148


def test_a_part_with_one_kind_of_label_is_refused(journey: Settings) -> None:
    """Else: a model of ten lost customers is judged to three digits."""
    build, log = Build.open(journey), Log.open(journey)
    plan = dataset.Plan((M - 56 * DAY,), (M - 28 * DAY,), M, M + 28 * DAY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "LEAST_OF_A_LABEL", 330)
        with pytest.raises(NotEnoughData, match="330 of each kind"):
            dataset.read(journey, log, build, CHURN, plan, ("spend_90d",))

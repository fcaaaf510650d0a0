"""Time. If any of these fails, a model is judged on what it was taught, and its figures are a lie."""

import re
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from logs import TODAY

import training
from features import store
from features.compute.builds import Build
from features.definitions import catalogue
from features.errors import NotEnoughData, UsageError
from features.log import Log
from features.moments import DAY, grid, parse_moment
from features.settings import Settings
from training import samples
from training.populations import EVERYONE
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
def test_nothing_that_is_learnt_looks_beyond_its_origin(
    target: Target, days: int, every: int, extra: set[int], early: int, hour: int
) -> None:
    """Else: the figures are made on days that the fit has seen."""
    starts = parse_moment("2017-01-01") + timedelta(hours=hour)
    end = parse_moment("2017-01-01") + days * DAY
    moments = sorted({*grid(starts, end, every * DAY), *(starts + d * DAY for d in extra if d <= days)})
    build, as_of = build_of(starts, moments, end), end - early * DAY
    horizon = target.horizon_days * DAY
    if days - early < 500:  # more than any of these needs
        try:
            when = samples.timeline(target, build, as_of)
        except NotEnoughData:
            return
    else:
        when = samples.timeline(target, build, as_of)
        assert len(when.origins) == samples.ORIGINS
    for origin in when.origins:
        known = when.known(origin)
        assert len(known) >= samples.FIT_MOMENTS[0]
        assert known[-1] + horizon <= origin
        assert origin + horizon <= as_of
        assert known[0] >= starts + 90 * DAY
    assert {*when.moments, *when.origins} <= set(moments)
    for each in (when.moments, when.origins):
        assert all(b - a >= 7 * DAY for a, b in zip(each, each[1:], strict=False))


def test_the_demo_is_judged_at_the_last_moment_whose_label_is_mature(journey: Settings) -> None:
    """Else: the printed figures are of another moment than the published comparators."""
    build = Build.open(journey)
    whens = [samples.timeline(target, build, journey.now()) for target in (CHURN, WEEK, FORTNIGHT)]
    assert [f"{when.test:%m-%d}" for when in whens] == ["12-03", "12-24", "12-17"]
    months = ["07-16", "08-13", "09-10", "10-08", "11-05", "12-03"]
    assert [f"{origin:%m-%d}" for origin in whens[0].origins] == months


def test_an_as_of_after_the_logs_end_does_not_make_labels_mature() -> None:
    """Else: whoever is not in the log yet counts as lost."""
    moments = grid(parse_moment("2017-01-01"), M)
    when = samples.timeline(CHURN, build_of(moments[0], moments, until=M), parse_moment("2030-01-01"))
    assert when.test + 28 * DAY <= M


def test_a_short_log_is_told_in_numbers() -> None:
    """Else: somebody with half a year of data sees a stack trace, or a model of nothing."""
    moments = grid(parse_moment("2017-07-01"), M)
    with pytest.raises(NotEnoughData, match=r"105 days or more .* These 64 days hold 6 usable snapshots"):
        samples.timeline(CHURN, build_of(moments[0], moments), M)


@pytest.mark.parametrize("target", [CHURN, WEEK, FORTNIGHT], ids=lambda target: target.name)
def test_an_as_of_that_is_too_early_is_told_one_that_is_not(target: Target) -> None:
    """Else: "these -46 days" and a longer log to ingest, where the log has all that is needed."""
    starts = parse_moment("2017-01-01")
    build = build_of(starts, grid(starts, M))
    with pytest.raises(NotEnoughData, match="as of 2017-02-15.* is before the first usable day, 2017-0") as e:
        samples.timeline(target, build, parse_moment("2017-02-15"))
    assert "-46" not in str(e.value)
    assert "longer log" not in str(e.value)
    named = re.search(r"train as of (\S+) or later", str(e.value))
    assert named is not None
    assert samples.timeline(target, build, parse_moment(named[1])).origins
    with pytest.raises(NotEnoughData, match=f"train as of {named[1]} or later"):
        samples.timeline(target, build, parse_moment("2017-04-10"))
    with pytest.raises(NotEnoughData, match="before the first usable day, .*: ingest a longer log$"):
        samples.timeline(target, replace(build, complete_until=parse_moment("2017-02-15")), M)


def test_features_that_grow_with_the_log_are_left_out() -> None:
    """Else: the model learns what 200 known days look like, and is asked about 330."""
    starts, known = parse_moment("2017-01-01"), catalogue()
    build = build_of(starts, grid(starts, starts + 900 * DAY))
    young, old = (samples.timeline(CHURN, build, starts + days * DAY) for days in (364, 896))
    learnt, left_out = samples.columns(build, known, young)
    assert {"orders_365d", "tenure", "orders_trend_year", "response_rate"} <= set(left_out)
    assert {"orders_90d", "days_since_order", "gap_median", "overdue", "orders_trend"} <= set(learnt)
    assert set(learnt) | set(left_out) == set(known)
    assert samples.columns(build, known, old)[1] == ()
    before = replace(build, features={**build.features, "gone_30d": "h" * 16})
    assert samples.columns(before, known, young) == (learnt, left_out)  # built once, declared no more


def two_origins() -> samples.Timeline:
    """Of which one is learnt from too; the other's labels are known four weeks later."""
    moments = tuple(M - weeks * 7 * DAY for weeks in (9, 8, 4))
    return samples.Timeline(moments, (M - 28 * DAY, M), 28 * DAY, M + 28 * DAY)


def test_an_origin_learns_from_what_had_matured(journey: Settings) -> None:
    """Else: a backtest is told what the customers after its origin did."""
    when = two_origins()
    data = samples.read(journey, Log.open(journey), Build.open(journey), CHURN, when, ("spend_90d",))
    early, late = (data.known(origin) for origin in when.origins)
    assert when.known(M - 28 * DAY) == (M - 63 * DAY, M - 56 * DAY)
    assert len(early) + len(data.at(M - 28 * DAY)) == len(late)
    np.testing.assert_array_equal(late.matrix[: len(early)], early.matrix)
    np.testing.assert_array_equal(late.label[: len(early)], early.label)
    both = np.intersect1d(early.customer, late.customer)
    assert len(both) == len(np.unique(early.customer))
    assert 0 < late.treated.mean() < 1


def test_the_rows_are_the_population_and_its_features(journey: Settings) -> None:
    """Else: customers are lost, doubled or given another's features between log, Feast and model."""
    build, log = Build.open(journey), Log.open(journey)
    names = ("spend_90d", "overdue")
    week = samples.read(
        journey, log, build, WEEK, samples.Timeline((M - 14 * DAY,), (M,), 7 * DAY, M + 28 * DAY), names
    )
    data = samples.read(journey, log, build, CHURN, two_origins(), names)
    assert len(data.at(M)) == len(week.at(M)) == 2318
    snapshot = build.read(M)
    inside = snapshot["orders_90d"].to_numpy() > 0
    for part in (data.at(M), week.at(M)):
        for place, name in enumerate(names):
            np.testing.assert_array_equal(part.matrix[:, place], snapshot[name].to_numpy()[inside])
    orders = log.read("orders", ["customer_id", "at"]).to_pandas()
    later = orders[(orders["at"] > M) & (orders["at"] <= M + 28 * DAY)]["customer_id"].unique()
    ids = snapshot["customer_id"].to_pandas()[inside]
    np.testing.assert_array_equal(data.at(M).label, (~ids.isin(later)).to_numpy().astype(float))
    assert round(data.at(M).base_rate, 3) == 0.148


def test_rows_that_come_in_groups_are_those_that_come_at_once(
    journey: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else: a long log trains on rows that stand beside other customers' labels."""
    build, log, names = Build.open(journey), Log.open(journey), ("spend_90d", "overdue")
    whole = samples.read(journey, log, build, CHURN, two_origins(), names)
    monkeypatch.setattr(store, "ROWS_AT_ONCE", 3_000)  # some moments and a part of the next
    groups = samples.read(journey, log, build, CHURN, two_origins(), names)
    for origin in whole.timeline.origins:
        for a, b in ((whole.known(origin), groups.known(origin)), (whole.at(origin), groups.at(origin))):
            assert a.matrix.tobytes() == b.matrix.tobytes()
            assert a.label.tobytes() == b.label.tobytes()
            assert a.customer.tobytes() == b.customer.tobytes()


def test_a_part_with_one_kind_of_label_is_refused(journey: Settings) -> None:
    """Else: a model of ten lost customers is judged to three digits."""
    build, log = Build.open(journey), Log.open(journey)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples, "LEAST_OF_A_LABEL", 345)
        with pytest.raises(NotEnoughData, match=r"344 ones and 1,974 zeros after 2017-12-03.* 345 of each"):
            samples.read(journey, log, build, CHURN, two_origins(), ("spend_90d",))


@pytest.mark.parametrize(
    ("target", "ones", "zeros", "moments", "told"),
    [
        ("repurchase_7d", 12, 900, 1, "longer horizon than 7 days (repurchase_14d, repurchase_28d, rep"),
        ("churn_28d", 900, 12, 1, "longer horizon than 28 days (churn_90d), or a wider population than cust"),
        ("churn_90d", 12, 900, 1, "shorter horizon than 90 days (churn_28d), or"),  # the longer, the fewer
        ("repurchase_90d", 900, 12, 1, "shorter horizon than 90 days (repurchase_7d, repurchase_14d, rep"),
        ("overdue_28d", 12, 900, 1, "Take another horizon than 28 days, or"),
        ("churn_28d", 1, 1, 1, "The population is too small: take a wider population than customers with"),
        ("churn_28d", 40, 900, 9, "Only 9 moments could be learnt from then: fewer --origins or a longer"),
    ],
)
def test_what_is_told_to_help_does(target: str, ones: int, zeros: int, moments: int, told: str) -> None:
    """Else: a shop waits half a year for a longer log, and has as few of a kind at each moment as before."""
    text = samples.remedy(targets()[target], ones, zeros, moments)
    assert told in text
    assert ("A longer log has more moments, and not more customers" in text) == (moments == 1)


def test_where_nobody_is_left_out_only_more_customers_help() -> None:
    """Else: a small shop is told to widen a population that is everybody."""
    everybody = replace(CHURN, population=EVERYONE)
    assert "take a log of more customers" in samples.remedy(everybody, 2, 3, 1)


def test_a_data_scientist_gets_the_very_rows_that_models_are_fitted_on(journey: Settings) -> None:
    """Else: what is found in a notebook is not what `propensity train` learns from."""
    rows = training.dataset("churn_28d", journey)
    log, build = Log.open(journey), Build.open(journey)
    when = samples.timeline(CHURN, build, TODAY, origins=1)
    names, _ = samples.columns(build, catalogue(), when)
    data = samples.read(journey, log, build, CHURN, when, names)
    for name, part, moments in (
        ("train", data.known(when.test), when.known(when.test)),
        ("test", data.at(when.test), (when.test,)),
    ):
        of = rows[rows["part"] == name]
        assert of[list(names)].to_numpy(np.float32).tobytes() == part.matrix.tobytes()
        assert of["label"].tolist() == part.label.tolist()
        assert of["treated"].tolist() == part.treated.tolist()
        assert of["customer_id"].tolist() == [data.ids[number] for number in part.customer]
        assert sorted(of["moment"].unique()) == sorted(moments)
    assert not rows.duplicated(["customer_id", "moment"]).any()
    with pytest.raises(UsageError, match="no target nonsense; there are: churn_28d"):
        training.dataset("nonsense", journey)

"""Segmentations: everyone is called one thing, for a reason to be read, the same alone as among many."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from segments_by_hand import BY_HAND, FEATURES, NOBODY, buyer, columns, model, saved, told

from features.definitions import catalogue
from features.errors import ReleaseCorrupt, ReleaseError
from serving import folders, segmentation
from serving.segment_rules import MADE, Entry, Table, problems
from serving.segment_tables import NEAR, REASONS, STAGES, TABLES
from serving.segmentation import Levels, Segments, Silences

figures = st.one_of(st.just(np.nan), st.integers(0, 9).map(float), st.floats(0, 900, width=32))
rows = st.lists(st.lists(figures, min_size=len(FEATURES), max_size=len(FEATURES)), min_size=1, max_size=20)


def test_every_label_and_rule_has_words_in_both_languages_and_reads_declared_features():
    """Else: an operator reads a name of ours, or a rule never holds."""
    assert problems(TABLES, catalogue()) == []
    broken = Table(
        STAGES.labels[1:], (*STAGES.entries, Entry("gone", "away", "nothing > 1", STAGES.entries[0].words))
    )
    assert problems({"stage": broken}, catalogue()) == [
        "stage: gone is declared twice",
        "stage: away is no label",
        "stage: contact is no label",
        "stage: nothing is no feature",
    ]


def test_stages_are_those_of_the_life_cycle_in_its_order():
    assert [label.name for label in STAGES.labels] == [
        "contact", "awareness", "interest", "purchase", "use", "maintenance", "exit",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("customer", "stage", "rule"),
    [
        (NOBODY, "contact", "known"),
        (NOBODY | {"active_days_365d": 1}, "awareness", "active"),
        (NOBODY | {"opens_90d": 2}, "awareness", "opened"),
        (NOBODY | {"groups": 1}, "awareness", "group"),
        (NOBODY | {"staff_contacts": 1}, "awareness", "staff"),
        (NOBODY | {"views_90d": 3, "active_days_365d": 1}, "interest", "view"),
        (NOBODY | {"carts_90d": 1, "views_90d": 3}, "interest", "cart"),
        (NOBODY | {"clicks_90d": 1}, "interest", "click"),
        (buyer(1, 3, carts_90d=1), "purchase", "first"),
        (buyer(1, 150), "purchase", "first"),
        (buyer(1, 151), "exit", "gone"),
        (buyer(2, 151), "use", "again"),
        (buyer(3, 201), "exit", "gone"),
        (buyer(4, 20), "maintenance", "regular"),
        (buyer(4, 21), "use", "pausing"),
        (buyer(4, 100), "use", "pausing"),
        (buyer(4, 101), "exit", "gone"),
        (buyer(4, 101, gap=30), "use", "pausing"),
    ],
)
def test_the_first_rule_that_holds_decides_and_is_named(customer, stage, rule):
    segments = model().segment(columns(customer))
    assert told(segments, "stage") == [stage]
    assert STAGES.entries[segments.stage[0]].name == rule


def test_days_with_an_order_are_counted_beyond_the_year_from_the_gaps():
    """Else: a regular of many years who bought twice this year is told as a newcomer."""
    old = buyer(2, 10) | {"tenure": 1_000.0, "gap_mean": 110.0}
    made = model().made(columns(old, buyer(7, 10), NOBODY))
    assert made["order_days"].tolist() == [10, 7, 0]
    assert made["usual_gap"][:2].tolist() == [220, 20]
    assert np.isnan(made["usual_gap"][2])


def test_where_the_log_showed_no_end_nobody_is_gone():
    """Else: without evidence, whoever pauses is written off."""
    never = model(gone=Silences((None, None, None), None))
    assert told(never.segment(columns(buyer(1, 9_000), buyer(9, 9_000))), "stage") == ["purchase", "use"]


@pytest.mark.parametrize(
    ("recency", "frequency", "money", "tier"),
    [
        (5, 9, 600, "champions"), (30, 9, 90, "loyal"), (60, 9, 600, "loyal"), (5, 1, 600, "new"),
        (5, 3, 600, "promising"), (60, 1, 600, "attention"), (150, 9, 5, "at_risk"), (900, 1, 600, "at_risk"),
        (150, 1, 5, "hibernating"), (900, 1, 5, "lost"),
    ],
)  # fmt: skip
def test_tiers_are_told_from_the_three_scores(recency, frequency, money, tier):
    customer = buyer(1, recency) | {"order_days_365d": frequency, "spend_365d": money}
    assert told(model().segment(columns(customer)), "tier") == [tier]


def test_nobody_is_lost_or_at_risk_whose_stage_is_a_regular_one():
    """Else: one page calls her Lost and Maintenance: who comes every three months, where most come weekly."""
    seldom = buyer(4, 150, gap=100) | {"order_days_365d": 2, "spend_365d": 5}
    often = buyer(9, 150, gap=100) | {"order_days_365d": 9, "spend_365d": 900}
    late = buyer(4, 201, gap=100) | {"order_days_365d": 2, "spend_365d": 5}
    segments = model().segment(columns(seldom, often, late))
    assert told(segments, "tier") == ["in_rhythm", "in_rhythm", "lost"]
    assert told(segments, "stage") == ["maintenance", "maintenance", "use"]


def test_quadrants_need_a_value_and_an_order():
    """Else: a newcomer, or a shop without a value model, is told to be worth little."""
    everyone = columns(buyer(9, 5), buyer(1, 5), buyer(9, 5), buyer(1, 5), NOBODY, buyer(9, 5))
    potential = np.array([50.0, 50, 30, 30, 50, np.nan])
    assert told(model().segment(everyone, potential), "quadrant") == [
        "core", "rising", "fading", "basic", None, None,
    ]  # fmt: skip
    assert told(model().segment(everyone), "quadrant") == [None] * 6
    assert told(model(potential=None).segment(everyone, potential), "quadrant") == [None] * 6


@pytest.mark.parametrize(
    ("recorded", "reason"),
    [
        ({}, "unknown"),
        ({"days_since_complaint": 70 + NEAR}, "complaint"),
        ({"days_since_complaint": 71 + NEAR}, "unknown"),
        ({"days_since_complaint": 5, "open_complaints": 1, "open_cases": 1}, "open_complaint"),
        ({"open_cases": 1, "days_since_return_case": 5}, "open_case"),
        ({"days_since_return_case": 5, "last_nps": 1, "days_since_survey": 5}, "return"),
        ({"days_since_return": 69}, "return"),
        ({"last_satisfaction": 2, "days_since_survey": 9}, "dissatisfied"),
        ({"last_satisfaction": 3, "days_since_survey": 9}, "unknown"),
        ({"last_nps": 6, "days_since_survey": 300}, "unknown"),
    ],
)
def test_a_reason_is_what_was_recorded_around_the_silence_else_unknown(recorded, reason):
    late, in_rhythm = buyer(1, 70, **recorded), buyer(1, 39, **recorded)
    assert told(model().segment(columns(late, in_rhythm)), "churn_reason") == [reason, None]


def test_reasons_read_cases_returns_and_surveys_alone():
    """Else: what a model makes of a customer is told as why the customer left."""
    known, silence = catalogue(), set(MADE["usual_gap"])
    for entry in REASONS.entries:
        for name in entry.features - silence - {"days_since_return"}:
            tables = {known[i].table for i in (*known[name].inputs, name)} - {None}
            assert tables <= {"cases", "surveys"}, name


@settings(max_examples=60)
@given(rows, st.randoms(use_true_random=False))
def test_everyone_has_one_stage_and_is_told_alone_as_among_many_in_any_order(drawn, random):
    everyone = columns(*(dict(zip(FEATURES, one, strict=True)) for one in drawn))
    potential = np.array([one[0] for one in drawn])
    segments = model().segment(everyone, potential)
    assert (segments.stage >= 0).all()
    bought = ~np.isnan(everyone["days_since_order"])
    known = bought & ~np.isnan(everyone["order_days_365d"]) & ~np.isnan(everyone["spend_365d"])
    assert (segments.tier[known] >= 0).all()
    assert (segments.tier[~bought] == -1).all()
    order = random.sample(range(len(drawn)), len(drawn))
    shuffled = model().segment({n: v[order] for n, v in everyone.items()}, potential[order])
    one = model().segment({n: v[:1] for n, v in everyone.items()}, potential[:1])
    for name in Segments._fields:
        assert getattr(shuffled, name).tolist() == getattr(segments, name)[order].tolist()
        assert getattr(one, name).tolist() == getattr(segments, name)[:1].tolist()


def test_a_table_without_what_a_log_lacks_leaves_those_rules_out_and_stays_total():
    buying = {"days_since_order", "gap_mean", "order_days_365d", "tenure", "spend_365d"}
    stages = STAGES.within(buying)
    left_out = {"cart", "view", "click", "active", "opened", "group", "staff"}
    assert {e.name for e in STAGES.entries} - {e.name for e in stages.entries} == left_out
    assert stages.entries[-1].when == ""
    assert [e.name for e in REASONS.within(buying).entries] == ["unknown"]


def test_the_same_model_is_the_same_bytes_and_what_was_changed_does_not_load(tmp_path):
    """Else: a cut point is edited by hand, and nobody learns that it is not what was judged."""
    first, second = saved(tmp_path / "a"), saved(tmp_path / "b")
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes()
    assert segmentation.load(first).file == BY_HAND
    file = json.loads((second / "model.json").read_text())
    file["gone"]["days"][0] = 3.0
    (second / "model.json").write_text(json.dumps(file))
    with pytest.raises(ReleaseCorrupt, match="model.json was changed"):
        segmentation.load(second)
    (second / folders.SUMS).unlink()
    folders.sign(second)
    with pytest.raises(ReleaseCorrupt, match="another stage for example"):
        segmentation.load(second)
    with pytest.raises(ReleaseError, match="is not empty"):
        saved(first)
    with pytest.raises(ReleaseError, match="holds no model"):
        segmentation.load(tmp_path / "nowhere")


def test_a_score_is_a_function_of_the_figure_alone():
    levels = Levels((1.0, 2.0), (2, 4, 5))
    assert levels.of(np.array([0, 1, 1.5, 2, 3, np.nan])).tolist()[:5] == [2, 2, 4, 4, 5]

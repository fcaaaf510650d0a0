"""Reasons: they add up to the score, belong to this customer, and read well."""

import msgspec
import numpy as np
import pytest
from tiny import tiny_booster, tiny_card, tiny_model, tiny_rows

from serving import models
from serving.models import IdentityCalibration, Logistic, Term, Trees
from serving.reasons import Reason, Teller, paths_of

ROWS = tiny_rows(400, seed=21)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> models.Model:
    return models.load(tiny_model(tmp_path_factory.mktemp("model") / "m"))


def test_base_and_contributions_sum_to_the_log_odds(model):
    """Else a reason would explain another number than the one beside it."""
    contributions, base = model.contributions(ROWS)
    assert contributions.sum(axis=1) + base == pytest.approx(model.raw(ROWS), abs=1e-12)


def test_a_blends_contributions_sum_to_its_log_odds(tmp_path):
    parts = [
        Trees(tiny_booster(0), 0.6),
        Logistic(0.2, (Term("tenure", (0.0, 300.0), (150.0,), (90.0,), (-0.8,)),), 0.4),
    ]
    model = models.save(tmp_path / "m", tiny_card(), parts, IdentityCalibration(), ROWS[:5])
    contributions, base = model.contributions(ROWS)
    assert contributions.sum(axis=1) + base == pytest.approx(model.raw(ROWS), abs=1e-12)


def test_contributions_agree_with_exact_shapley_values_well_enough_to_be_called_approximate(model):
    """Same base; nearly the same ranking of features. Measured elsewhere: correlation .98, first .81."""
    import lightgbm

    contributions, base = model.contributions(ROWS)
    exact = lightgbm.Booster(model_str=tiny_booster()).predict(ROWS, pred_contrib=True)
    assert base == pytest.approx(exact[0, -1], abs=1e-12)
    assert np.corrcoef(contributions.ravel(), exact[:, :-1].ravel())[0, 1] > 0.95
    assert np.mean(np.abs(contributions).argmax(1) == np.abs(exact[:, :-1]).argmax(1)) > 0.75


def test_contributions_are_the_same_in_batches_of_any_size(model):
    one, _ = model.contributions(ROWS[300:301])
    many, _ = model.contributions(ROWS)
    assert one[0] == pytest.approx(many[300], abs=1e-15)


def test_a_tree_without_a_split_adds_to_the_base_alone():
    """LightGBM writes such trees when nothing is left to learn."""
    text = "tree\n\nTree=0\nnum_leaves=1\nleaf_value=0.25\n\n\nend of trees\n"
    table = paths_of(text, 3)
    assert table.base.tolist() == [0.25]
    assert table.contributions(np.zeros((2, 1), np.int64), 3).tolist() == [[0.0] * 3] * 2


def test_reasons_are_the_customers_own_strongest_first(model):
    rows = tiny_rows(2, seed=30)
    rows[:, 0] = (90, 1)
    late, early = model.explain(rows, k=5)
    assert [r.feature for r in (late[0], early[0])] == ["days_since_order"] * 2
    assert late[0].contribution > 0 > early[0].contribution
    for reasons in (late, early):
        sizes = [abs(r.contribution) for r in reasons]
        assert sizes == sorted(sizes, reverse=True)


def _one(teller: Teller, values: list[float], contributions: np.ndarray, k: int) -> list[Reason]:
    (reasons,) = teller.strongest([values], contributions[None], k)
    return reasons


def strongest(values: list[float], contributions: list[float], k: int = 8) -> list[Reason]:
    return _one(Teller(tiny_card()), values, np.array(contributions), k)


def test_what_tells_the_same_story_is_one_reason():
    """Else the three reasons of an operator are one: orders_30d beside orders_90d says nothing more."""
    names = [feature.name for feature in tiny_card().features]
    told = strongest([1.0] * 8, [0.1] * 8)
    assert len(told) == 5
    orders = [c if "orders" in name else 0.0 for name, c in zip(names, np.arange(8.0, 0, -1), strict=True)]
    (one,) = strongest([1.0] * 8, orders)
    assert one.feature == "orders_30d"
    assert one.contribution == sum(orders)
    opposed = [0.5 if name == "orders_30d" else -0.5 * (name == "orders_90d") for name in names]
    assert strongest([1.0] * 8, opposed) == []  # together they say nothing


def test_a_feature_that_adds_nothing_is_no_reason():
    reasons = strongest([1.0] * 8, [0.0, 0, 0, -0.3, 0, 0, 0, 0], k=3)
    assert [r.feature for r in reasons] == ["spend_90d"]


def test_a_topic_is_told_in_a_sentence_when_all_that_it_names_is_known():
    """Else an operator reads one number where the other makes its sense."""
    names = [feature.name for feature in tiny_card().features]
    values = [2.0 if name == "orders_30d" else 7.0 for name in names]
    contributions = [-0.4 * (name == "orders_30d") for name in names]
    (reason,) = strongest(values, contributions)
    assert reason.text.en == "Orders: 2 in the last 30 days, 7 in the last 90 (lowers the churn risk)"
    assert reason.text.zh == "近30天2单，近90天7单（降低流失风险）"
    for days, told in ((1.0, "No order for 1 day;"), (6.1, "No order for 6.1 days;"), (21.0, "for 21 days;")):
        gap = msgspec.structs.replace(tiny_card().features[0], name="gap_median")
        card = msgspec.structs.replace(tiny_card(), features=(tiny_card().features[0], gap))
        (reason,) = _one(Teller(card), [days, 12.0], np.array([0.3, 0.0]), 3)
        assert told in reason.text.en
    values[names.index("orders_90d")] = np.nan
    (reason,) = strongest(values, contributions)
    assert reason.text.en == "Orders in the last 30 days: 2 (lowers the churn risk)"


def test_the_sentence_of_a_reason_tells_the_feature_and_value_that_it_names():
    """Else a program shows `overdue 3.4` beside a sentence that speaks of others alone."""
    names = [feature.name for feature in tiny_card().features]
    late = names.index("overdue")
    gap = msgspec.structs.replace(tiny_card().features[0], name="gap_median", en="Usual gap", zh="通常间隔")
    card = msgspec.structs.replace(
        tiny_card(), features=(tiny_card().features[0], gap, tiny_card().features[late])
    )
    (reason,) = _one(Teller(card), [41.0, 12.0, 3.4], np.array([0.1, 0.1, 0.4]), 3)
    assert (reason.feature, reason.value) == ("overdue", 3.4)
    assert reason.text.en.startswith("No order for 41 days; usually every 12; ")
    assert all("3.4×" in words for words in reason.text)
    (reason,) = _one(Teller(card), [41.0, 12.0, np.nan], np.array([0.1, 0.1, 0.4]), 3)
    assert (reason.value, "not known" in reason.text.en) == (None, True)
    (reason,) = _one(Teller(card), [41.0, 12.0, 3.4], np.array([0.4, 0.1, 0.1]), 3)
    assert reason.text.en == "No order for 41 days; usually every 12 (raises the churn risk)"


def test_a_sum_of_terms_is_exact_and_trees_are_not(model, tmp_path):
    """Else the answer calls exact what is not, or what is exact an approximation."""
    term = Term("tenure", (0.0, 300.0), (150.0,), (90.0,), (-0.8,))
    alone = models.save(
        tmp_path / "m", tiny_card(), [Logistic(0.2, (term,), 1.0)], IdentityCalibration(), ROWS[:5]
    )
    assert (alone.sums, model.sums) == (True, False)


def test_exact_reasons_are_treeshaps(model):
    """Else who asks for exact ones is given the approximation under another name."""
    import lightgbm

    contributions, base = model.contributions(ROWS, exact=True)
    expected = lightgbm.Booster(model_str=tiny_booster()).predict(ROWS, pred_contrib=True)
    assert contributions == pytest.approx(expected[:, :-1], abs=1e-12)
    assert contributions.sum(axis=1) + base == pytest.approx(model.raw(ROWS), abs=1e-9)
    assert not np.allclose(contributions, model.contributions(ROWS)[0])


def said(value: float, contribution: float, at: int, **target: object) -> tuple[str, str]:
    card = tiny_card()
    card = msgspec.structs.replace(card, target=msgspec.structs.replace(card.target, **target))
    contributions = np.zeros(8)
    contributions[at] = contribution
    (reason,) = _one(Teller(card), [float(value)] * 8, contributions, k=3)
    return reason.text.en, reason.text.zh


def test_a_reason_reads_as_a_person_would_say_it():
    assert said(41.2, 0.8, 0) == (
        "Days since the last order: 41 (raises the churn risk)",
        "距上次下单天数：41（提高流失风险）",
    )
    assert said(1234.5, -0.8, 3) == (
        "Money spent in the last 90 days: 1,234.50 USD (lowers the churn risk)",
        "近90天消费金额：1,234.50 USD（降低流失风险）",
    )
    assert said(0.125, -0.1, 5)[0].startswith("Discount as a share of the price in the last 90 days: 12%")
    assert "usual gap: 2.5× (" in said(2.5, 0.1, 7)[0]


def test_a_value_that_is_not_known_is_said_to_be_not_known_never_zero():
    assert said(np.nan, 0.2, 4) == (
        "Average order in the last 90 days: not known (raises the churn risk)",
        "近90天平均客单价：未知（提高流失风险）",
    )


def test_a_target_without_words_for_its_score_says_risk_or_chance():
    assert said(5, 0.2, 3, score=None)[0] == "Money spent in the last 90 days: 5 USD (raises the risk)"
    assert said(5, -0.2, 3, score=None, higher_is="good") == (
        "Money spent in the last 90 days: 5 USD (lowers the chance)",
        "近90天消费金额：5 USD（降低可能性）",
    )

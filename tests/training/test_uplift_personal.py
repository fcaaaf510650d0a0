"""A personal claim rests on columns: one from after the decision that differs by arm in parts is found."""

from dataclasses import fields, replace

import numpy as np
import pytest
from scipy.stats import chisquare
from trials import trial_by_hand

from training.uplift import Uplift, fit
from training.uplift_balance import LOTTERY, Check
from training.uplift_checks import sample_ratio
from training.uplift_columns import before_decision
from training.uplift_overlap import told_apart
from training.uplift_personal import guessed, spread
from training.uplift_report import as_json, sheets
from training.uplift_training import Learnt, learnt
from training.uplift_trial import Trial


def leaking(seed: int, rows: int = 8_000, leak: float = 0.6) -> Trial:
    """An arm that does nothing, and a column written after it: up for half of the customers, else down."""
    random = np.random.default_rng(seed)
    x1, x2 = random.normal(size=rows).round(3), random.integers(0, 5, rows)
    arm = (random.choice(["none", "sms"], rows) == "sms").astype(np.int64)
    y = (random.gamma(1, 5, rows) + x2).round(2)
    spent = (y + random.normal(0, 2, rows) + leak * np.sign(x1) * arm).round(2)
    matrix = np.column_stack([x1, x2, spent]).astype(np.float32)
    return Trial(
        matrix, ("x1", "x2", "spent_7d"), ("none", "sms"), arm, np.full(rows, 0.5), {"y": y}, np.arange(rows)
    )


def row(taught: Learnt) -> Check:
    return next(check for check in taught.looked if check.name == LOTTERY)


def same(one: object, other: object) -> bool:
    """Whether two values are equal, of arrays each number."""
    if isinstance(one, np.ndarray):
        return bool(np.array_equal(one, np.asarray(other)))
    return one == other


@pytest.mark.parametrize("seed", [13, 16])
def test_a_column_that_an_arm_moved_up_for_some_and_down_for_others_is_named(seed: int) -> None:
    """Else: choosing for each customer is proven where the outcome has no effect at all."""
    trial = leaking(seed)
    assert fit(trial, "y").personal, "what the column does looks like an effect"
    taught = learnt(trial, {})
    assert row(taught).holds is False
    assert "spent_7d (p" in row(taught).words.en
    assert "x1 (p" not in row(taught).words.en
    assert taught.verdict.en.startswith("No uplift is claimed: the trial cannot be believed. columns known")
    assert "spent_7d" in taught.verdict.zh
    assert taught.trial.evidence == "prior"
    assert not taught.found[0].to_save().personal
    assert not learnt(replace(trial, matrix=trial.matrix[:, :2], names=("x1", "x2")), {}).found[0].personal


def test_what_is_not_believed_after_the_fit_is_what_is_not_believed_before_it() -> None:
    """Else: a page says one thing of a trial that fails early, and another of one that fails late."""
    trial = leaking(13)
    costs = {"sms": 0.2}
    late, early = guessed(fit(trial, "y", costs)), fit(replace(trial, evidence="prior"), "y", costs)
    for field in fields(Uplift):
        if field.name not in ("learned", "over"):  # a function; what differs in the last digit
            assert same(getattr(late, field.name), getattr(early, field.name)), field.name
    assert np.array(late.over) == pytest.approx(np.array(early.over))
    assert (late.default, late.better, late.personal) == (0, False, False)


def test_where_few_lots_are_as_far_off_nobody_is_chosen_for() -> None:
    """Else: a claim at 97.5 % stands on columns of which one lot in 140 looks as bad."""
    trial = leaking(14)
    assert fit(trial, "y").personal
    taught = learnt(trial, {})
    found, check = taught.found[0], row(taught)
    assert (check.holds, check.doubtful, found.personal) == (None, True, False)
    assert "spent_7d (p = 0.007)" in check.words.en
    assert "no sign" not in check.words.en
    assert "Personal uplift is not proven" in taught.verdict.en
    assert "Few lots are as far off" in taught.verdict.en
    assert "偏离" in taught.verdict.zh
    assert not taught.verdict.en.startswith("Choose for each customer")
    assert taught.trial.evidence == "randomised", "an arm for all may be shown as before"
    shown = next(of for of in sheets(taught.trial, found, taught.looked, [])[0].rows if of[0] == LOTTERY)
    assert shown[1].en == "few lots are as far off"
    (said,) = (of for of in as_json(trial, found, taught.looked, [])["checks"] if of["doubtful"])
    assert said["name"] == LOTTERY.en


def test_an_arm_for_all_stands_where_choosing_for_each_is_in_doubt() -> None:
    """Else: one column in doubt hides an arm that is proven for everyone."""
    trial, _ = trial_by_hand("varies", rows=6_000)
    doubt = Check(LOTTERY, None, row(learnt(trial, {})).words, doubtful=True)
    taught = learnt(trial, {}, more=[doubt])
    assert not taught.found[0].personal
    assert taught.found[0].default == 2
    assert taught.verdict.en.startswith("Give everyone coupon: it is proven")


def test_real_effects_by_customer_are_still_claimed() -> None:
    """Else: the check takes every effect that differs by customer for a column from after the decision."""
    for seed in range(4):
        trial, _ = trial_by_hand("varies", rows=3_000, seed=seed)
        taught = learnt(trial, {})
        assert taught.found[0].personal, taught.verdict.en
        assert "nor by what each customer is foretold to gain" in row(taught).words.en


def test_sound_trials_are_seldom_in_doubt() -> None:
    """Else: whoever looks at a hundred trials loses personal claims to chance."""
    least = []
    for seed in range(40):
        trial, _ = trial_by_hand("none", rows=1_000, seed=seed)
        least.append(min(p for _, p in spread(trial, [fit(trial, "profit")], 1)))
    assert sum(p < 0.01 for p in least) <= 2
    assert min(least) > 0.001
    assert sum(p < 0.5 for p in least) > 5, "else it could find nothing"


def test_columns_that_together_nearly_tell_the_arms_apart_are_no_pass() -> None:
    """Else: a page says no sign of trouble beside an interval that lies beside .5."""
    trial, _ = trial_by_hand("varies", rows=1_500)
    told = told_apart(trial)
    assert not told.apart
    sound = before_decision(trial, told)
    assert sound.holds is True
    assert not sound.doubtful
    near = before_decision(trial, told._replace(p=0.006))
    assert (near.holds, near.doubtful) == (None, True)
    assert f"(AUC {told.auc.value:.3f}, p = 0.006)" in near.words.en
    assert before_decision(trial, told._replace(p=0.0006)).holds is False


def test_two_arms_are_one_comparison() -> None:
    """Else: a shortfall that one lot in a thousand has is said to be seen in one of two hundred."""
    trial = leaking(1, rows=4_000)
    arm = (np.arange(4_000) < 2_104).astype(np.int64)
    p = chisquare([1_896, 2_104]).pvalue
    assert p == pytest.approx(0.001, abs=0.0001)
    found = sample_ratio(replace(trial, arm=arm))
    assert f"(p = {p:.2g})" in found.words.en or f"(p = {p:.1g})" in found.words.en

"""Uplift: effects as they are, a personal policy only where it is proven."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t as student
from trials import trial_by_hand

from features.errors import NotEnoughData, TrainingError
from training.uplift import Uplift, fit
from training.uplift_balance import LOTTERY, Check
from training.uplift_estimates import estimate, together
from training.uplift_trial import Trial
from training.uplift_verdict import verdict

ROWS = np.arange(6_000)


@pytest.fixture(scope="module")
def varying() -> tuple[Trial, np.ndarray, Uplift]:
    trial, true = trial_by_hand("varies")
    return trial, true, fit(trial, "profit")


def test_effects_that_vary_are_found_and_the_policy_earns_them(
    varying: tuple[Trial, np.ndarray, Uplift],
) -> None:
    """Else: everyone gets the coupon, and those whom the mail would move are lost."""
    trial, true, found = varying
    assert found.personal
    assert found.arms[found.best] == "coupon"
    worth = true[ROWS, found.policy(trial.matrix)].mean()
    best, most = true.mean(axis=0).max(), true.max(axis=1).mean()
    assert worth - best > 0.8 * (most - best)
    gained = (true[ROWS, found.chosen] - true[ROWS, found.constant]).mean()
    assert found.gain.low < gained < found.gain.high
    again = fit(trial, "profit")
    assert again.gain == found.gain
    assert np.array_equal(again.estimated(trial.matrix), found.estimated(trial.matrix))


def test_average_effects_and_effects_by_customer_agree_with_econml(
    varying: tuple[Trial, np.ndarray, Uplift],
) -> None:
    """Else: a figure that another implementation of the same method does not confirm is published."""
    from econml.dr import LinearDRLearner
    from sklearn.dummy import DummyClassifier
    from sklearn.linear_model import LinearRegression

    trial, true, found = varying
    signs = np.column_stack([np.nan_to_num(trial.matrix), trial.matrix[:, 1] > 0]).astype(np.float64)
    peer = LinearDRLearner(
        model_propensity=DummyClassifier(strategy="prior"), model_regression=LinearRegression(),
        cv=5, random_state=1,
    ).fit(trial.outcomes["profit"], trial.arm, X=signs)  # fmt: skip
    estimated = found.estimated(trial.matrix)
    for k in (1, 2):
        theirs = peer.effect(signs, T0=0, T1=k)
        width = (found.effects[k].high - found.effects[k].low) / 2
        assert abs(found.effects[k].value - theirs.mean()) < 0.5 * width
        assert found.effects[k].low < true[:, k].mean() < found.effects[k].high
    assert np.corrcoef(estimated[:, 1], peer.effect(signs, T0=0, T1=1))[0, 1] > 0.9
    error, peers = (np.abs(each - true[:, 1]).mean() for each in (estimated[:, 1], theirs))
    assert error < peers  # the peer is told the threshold, but of the coupon


@pytest.mark.parametrize("seed", range(4))
def test_a_trial_without_effects_claims_nothing(seed: int) -> None:
    """Else: noise is sold as personal marketing."""
    trial, _ = trial_by_hand("none", rows=3_000, seed=seed)
    found = fit(trial, "profit")
    assert not found.personal
    assert not found.better
    assert not found.policy(trial.matrix).any(), "and nobody is sent anything"


def test_equal_effects_are_no_personal_uplift_but_the_best_arm_is_proven() -> None:
    """Else: a campaign that works for all is split for nothing, or not believed."""
    trial, _ = trial_by_hand("constant")
    found = fit(trial, "profit")
    assert found.arms[found.best] == "coupon"
    assert found.better
    assert not found.personal
    assert np.ptp(found.estimated(trial.matrix)[:, 2]) < 1.5


def test_a_choice_that_is_better_than_what_all_would_get_is_made_though_no_arm_for_all_is() -> None:
    """Else: nobody is sent anything, where sending it to those whom it moves is shown to earn money: the arm
    for all, that the choice was not shown to beat, would not have been sent either."""
    random = np.random.default_rng(302)
    rows = random.normal(size=(6_000, 4)).astype(np.float32)
    effect = np.where(rows[:, 0] > 0.7, 3.0, 0.0)
    arm = random.integers(0, 2, 6_000)
    spend = random.normal(0, 8, 6_000) + arm * effect
    given, who = np.full(6_000, 0.5), np.arange(6_000)
    trial = Trial(rows, tuple("abcd"), ("none", "mail"), arm, given, {"spend": spend}, who)
    found = fit(trial, "spend", {"mail": 0.7})
    assert (found.arms[found.best], found.better, found.default) == ("mail", False, 0)
    assert found.gain.low <= 0 < found.gain.value
    sent = found.policy(rows)
    assert found.personal
    assert 0.15 < sent.mean() < 0.6
    assert (effect - 0.7)[sent == 1].mean() > 0.5
    true = np.where(found.chosen == 1, effect - 0.7, 0.0).mean()
    assert found.instead.low < true < found.instead.high
    said = verdict(found, [Check(LOTTERY, True, LOTTERY)])
    assert said.en.startswith(
        "Choose for each customer: that is proven to bring more than none for everyone, while mail for "
        "everyone is not."
    )
    assert "Over mail for everyone it is not proven" in said.en
    assert "与所有人mail相比未证实" in said.zh


def test_an_arm_that_costs_more_than_it_brings_is_not_given() -> None:
    """Else: the shop pays for coupons that earn less than they cost."""
    trial, _ = trial_by_hand("constant")
    found = fit(trial, "profit", {"coupon": 3.0, "mail": 3.0})
    assert found.best == 0
    assert found.effects[2].low > 0
    with pytest.raises(TrainingError, match="cost is given for letter"):
        fit(trial, "profit", {"letter": 1.0})


def test_unequal_logged_propensities_do_not_bend_the_effects() -> None:
    """Else: an arm that was given to the better customers looks better than it is."""
    random = np.random.default_rng(3)
    trial, true = trial_by_hand("constant", rows=8_000, seed=3)
    better = trial.matrix[:, 1] > 0
    chances = np.where(better[:, None], (0.2, 0.2, 0.6), (0.6, 0.2, 0.2))
    arm = (random.random(8_000)[:, None] > chances.cumsum(axis=1)[:, :2]).sum(axis=1)
    every = np.arange(8_000)
    y = 8.0 * better + true[every, arm] + random.normal(size=8_000)
    logged = replace(trial, arm=arm, given=chances[every, arm], outcomes={"profit": y})
    found = fit(logged, "profit")
    assert y[arm == 2].mean() - y[arm == 0].mean() > 4  # what a plain comparison says of 1.5
    assert found.effects[2].low < 1.5 < found.effects[2].high


@pytest.mark.parametrize("evidence", ["observational", "prior"])
def test_without_a_lottery_nothing_is_claimed_and_nobody_is_sent_anything(evidence: str) -> None:
    """Else: a habit of the marketing team is taken for an effect."""
    trial, _ = trial_by_hand("varies", rows=2_000)
    found = fit(replace(trial, evidence=evidence), "profit")
    assert not found.personal
    assert not found.better
    assert (found.policy(trial.matrix) == 0).all()


def test_rows_of_one_customer_count_as_one() -> None:
    """Else: ten rows of each customer make a chance find look proven."""
    values, customer = np.repeat(np.random.default_rng(1).normal(size=300), 10), np.repeat(np.arange(300), 10)
    one, apart = estimate(values, customer), estimate(values, np.arange(3_000))
    # Ten times the variance, and what it takes to learn it from 300 customers: s / sqrt(n) and Student's t.
    wider = np.sqrt(2_999 * 3_000 / (10 * 299 * 300)) * student.ppf(0.975, 299) / student.ppf(0.975, 2_999)
    assert (one.high - one.low) / (apart.high - apart.low) == pytest.approx(wider, rel=1e-4)


def test_several_intervals_hold_together() -> None:
    """Else: of many arms one always looks better than nothing."""
    hold = 0
    for seed in range(200):
        columns = np.random.default_rng(seed).normal(size=(200, 8))
        hold += all(one.low < 0 < one.high for one in together(columns, np.arange(200)))
    assert 0.915 <= hold / 200 <= 0.985


def test_a_trial_says_what_it_lacks() -> None:
    """Else: a few customers of an arm, or an unknown outcome, become a confident figure."""
    trial, _ = trial_by_hand("none", rows=400)
    with pytest.raises(NotEnoughData, match="coupon has 0"):
        trial.part(trial.arm < 2)
    with pytest.raises(TrainingError, match=r"propensity .* must lie in"):
        replace(trial, given=np.zeros(400))
    with pytest.raises(TrainingError, match="profit is not known"):
        replace(trial, outcomes={"profit": np.full(400, np.nan)})

"""Power of a holdout: as simulated experiments turn out under the test made of them, and as statsmodels has
it where a normal formula holds."""

from collections import Counter

import numpy as np
import pytest
from statsmodels.stats.power import NormalIndPower, normal_power_het

from features.errors import UsageError
from training.experiments import Outcome, customers_for, least_effect, looked_at, power
from training.realised import ORDERED, Effect
from training.sequential import Group


@pytest.mark.parametrize("holdout", [0.05, 0.2, 0.5])
def test_power_of_shares_is_that_of_statsmodels(holdout: float) -> None:
    """Else a shop holds out too few, and learns nothing for a quarter. Theirs is normal: at a common
    rate that is the same within a point."""
    n1, n0 = 20_000 * (1 - holdout), 20_000 * holdout
    deviation = (0.22 * 0.78 / n1 + 0.2 * 0.8 / n0) ** 0.5
    mine = power(Outcome(0.2), 0.02, holdout, 20_000, alpha=0.05)
    assert mine == pytest.approx(normal_power_het(0.02, 1, 0.05, deviation, deviation), abs=0.01)


def test_power_of_means_is_that_of_statsmodels() -> None:
    """Money is a mean, not a share."""
    mine = power(Outcome(50.0, deviation=80.0), 3.0, 0.1, 30_000, alpha=0.05)
    peer = NormalIndPower().power(3 / 80, nobs1=27_000, alpha=0.05, ratio=1 / 9)
    assert mine == pytest.approx(peer, abs=1e-9)


@pytest.mark.parametrize(
    ("base", "effect", "holdout"),
    [(0.2, 0.03, 0.1), (0.005, 0.005, 0.05), (0.001, 0.01, 0.05), (0.02, -0.01, 0.05), (0.05, 0.01, 0.5)],
)
def test_experiments_find_the_effect_as_often_as_planned(base: float, effect: float, holdout: float) -> None:
    """The known truth: 20,000 experiments of the size that was asked for, each judged as `evaluate holdout`
    judges it. A normal formula promises 80 % of rare orders, and three in four are found."""
    n = customers_for(Outcome(base), effect, holdout, wanted=0.8)
    random, held = np.random.default_rng(0), round(n * holdout)
    pairs = zip(
        random.binomial(n - held, base + effect, 20_000), random.binomial(held, base, 20_000), strict=True
    )
    found = [
        Effect(ORDERED, Group.of_shares(n - held, one), Group.of_shares(held, other)).difference
        for one, other in Counter(pairs).elements()
    ]
    share = np.mean([of.low > 0 or of.high < 0 for of in found])
    assert share == pytest.approx(0.8, abs=0.012)  # three standard errors, and one number of customers


def test_a_few_held_out_without_an_order_prove_nothing() -> None:
    """Else 30 held out of whom none ordered have a variance of 0, and one order in 100 is a success."""
    found = Effect(ORDERED, Group.of_shares(570, 6), Group.of_shares(30, 0)).difference
    assert found.low < 0 < found.high


def test_more_than_there_are_people_is_no_plan() -> None:
    """Else the planner answers with a number that nobody can hold out."""
    with pytest.raises(UsageError, match="needs more than 10,000,000,000 customers: plan a larger one"):
        customers_for(Outcome(0.2), 1e-6, 0.05)


def test_size_effect_and_power_are_one_relation() -> None:
    """Else two answers of the same plan contradict each other."""
    outcome = Outcome(0.1)
    n = customers_for(outcome, 0.01, 0.05, wanted=0.9)
    assert power(outcome, 0.01, 0.05, n) == pytest.approx(0.9, abs=1e-3)
    assert least_effect(outcome, 0.05, n, wanted=0.9) == pytest.approx(0.01, rel=1e-3)
    seen = looked_at(outcome, 0.05, n, wanted=0.9)
    assert seen is not None
    assert seen > 0.01, "looking every day costs something"


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: Outcome(0.0), "base rate is 0: expected a share between 0 and 1, such as .1"),
        (lambda: Outcome(10), "for 10 % give 0.1. If the outcome is money"),
        (lambda: power(Outcome(0.9), 0.2, 0.05, 100), "not a share"),
        (lambda: power(Outcome(0.5), 0.2, 0.0, 100), "holdout is 0"),
        (lambda: customers_for(Outcome(0.5), 0.0, 0.1), "expected an effect"),
    ],
)
def test_an_impossible_plan_is_named(ask: object, says: str) -> None:
    """Else the planner answers with infinity."""
    with pytest.raises(UsageError, match=says):
        ask()  # type: ignore[operator]


def test_no_possible_rise_can_be_shown_by_a_few() -> None:
    """Else an effect above 100 % would be promised."""
    assert least_effect(Outcome(0.95), 0.05, 60) is None


def test_no_plan_names_a_size_at_which_nothing_is_told() -> None:
    """Else somebody holds fifteen customers out for a quarter, and `evaluate holdout` then refuses them."""
    for outcome, effect in ((Outcome(0.1), 0.3), (Outcome(50.0, deviation=80.0), 200.0)):
        assert customers_for(outcome, effect, 0.05) >= 590, "of whom 30 are held out"
        assert power(outcome, effect, 0.05, 580) == 0


@pytest.mark.parametrize("wanted", [0.02, 1.0, 80.0])
def test_a_power_that_cannot_be_planned_is_named(wanted: float) -> None:
    """80 for 80 % must not end in a traceback, nor in a plan of 8000 %."""
    for outcome in (Outcome(0.2), Outcome(50.0, deviation=80.0)):
        for plan in (least_effect, looked_at):
            with pytest.raises(UsageError, match=f"the power is {wanted:g}: expected"):
                plan(outcome, 0.05, 3_000, wanted)

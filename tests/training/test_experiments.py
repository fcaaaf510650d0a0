"""Power of a holdout: as statsmodels has it, and as simulated experiments turn out."""

import numpy as np
import pytest
from statsmodels.stats.power import NormalIndPower, normal_power_het
from statsmodels.stats.proportion import power_proportions_2indep

from features.errors import UsageError
from training.experiments import Outcome, customers_for, least_effect, looked_at, power


@pytest.mark.parametrize("holdout", [0.05, 0.2, 0.5])
def test_power_of_shares_is_that_of_statsmodels(holdout: float) -> None:
    """Else a shop holds out too few, and learns nothing for a quarter. Theirs may pool variances."""
    n1, n0 = 20_000 * (1 - holdout), 20_000 * holdout
    deviation = (0.22 * 0.78 / n1 + 0.2 * 0.8 / n0) ** 0.5
    mine = power(Outcome(0.2), 0.02, holdout, 20_000)
    assert mine == pytest.approx(normal_power_het(0.02, 1, 0.05, deviation, deviation), abs=1e-9)
    pooled = power_proportions_2indep(0.02, 0.2, n1, ratio=n0 / n1, return_results=False)
    assert mine == pytest.approx(pooled, abs=0.03)


def test_power_of_means_is_that_of_statsmodels() -> None:
    """Money is a mean, not a share."""
    mine = power(Outcome(50.0, deviation=80.0), 3.0, 0.1, 30_000)
    peer = NormalIndPower().power(3 / 80, nobs1=27_000, alpha=0.05, ratio=1 / 9)
    assert mine == pytest.approx(peer, abs=1e-9)


def test_simulated_experiments_find_the_effect_as_often_as_planned() -> None:
    """The known truth: 4,000 experiments of the size that was asked for."""
    n = customers_for(Outcome(0.2), 0.03, 0.1, wanted=0.8)
    random, held = np.random.default_rng(0), round(n * 0.1)
    y0, y1 = random.binomial(held, 0.2, 4_000) / held, random.binomial(n - held, 0.23, 4_000) / (n - held)
    error = np.sqrt(y0 * (1 - y0) / held + y1 * (1 - y1) / (n - held))
    assert (np.abs(y1 - y0) > 1.96 * error).mean() == pytest.approx(0.8, abs=0.025)


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

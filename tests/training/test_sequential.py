"""Confidence sequences: looked at every day they are wrong as seldom as they say."""

import numpy as np
import pytest

from features.errors import UsageError
from features.words import Words
from training.sequential import Difference, Group, Guardrail, difference, rho_squared, widening

LOOKS, PER_LOOK, RUNS = 28, 100, 1_000


def _looks(effect: float, holdout: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Differences and standard errors [RUNS, LOOKS] of an experiment on orders, at the end of each day."""
    random = np.random.default_rng(seed)
    held = int(PER_LOOK * 10 * holdout)
    n0 = held * np.arange(1, LOOKS + 1)
    n1 = (PER_LOOK * 10 - held) * np.arange(1, LOOKS + 1)
    y0 = random.binomial(held, 0.2, (RUNS, LOOKS)).cumsum(axis=1) / n0
    y1 = random.binomial(PER_LOOK * 10 - held, 0.2 + effect, (RUNS, LOOKS)).cumsum(axis=1) / n1
    return y1 - y0, np.sqrt(y0 * (1 - y0) / (n0 - 1) + y1 * (1 - y1) / (n1 - 1))


@pytest.mark.parametrize("holdout", [0.5, 0.05])
def test_twenty_eight_looks_raise_no_more_false_alarms_than_promised(holdout: float) -> None:
    """Else a campaign that does nothing is declared a success by whoever looks often enough."""
    value, error = _looks(0.0, holdout, seed=1)
    total = PER_LOOK * 10 * np.arange(1, LOOKS + 1)
    wide = np.array([widening(n, int(total[-1])) for n in total])
    ours = (np.abs(value) > wide * error).any(axis=1).mean()
    z_test = (np.abs(value) > 1.96 * error).any(axis=1).mean()
    message = f"false alarms in {LOOKS} looks: confidence sequence {ours:.1%}, z test {z_test:.1%}"
    assert ours <= 0.05, message
    assert z_test > 0.2, message


def test_an_effect_is_found() -> None:
    """Else the sequence is safe because it never says anything."""
    value, error = _looks(0.03, 0.5, seed=2)
    total = PER_LOOK * 10 * np.arange(1, LOOKS + 1)
    wide = np.array([widening(n, int(total[-1])) for n in total])
    assert (value - wide * error > 0).any(axis=1).mean() > 0.95


def test_a_look_is_the_formula_by_hand_and_narrowest_where_it_was_planned() -> None:
    """The paper's formula, written once more in its own letters."""
    treated, held = Group.of_shares(900, 200), Group.of_shares(100, 10)
    found = difference(treated, held, planned=2_000)
    t, alpha, rho = 1_000, 0.05, rho_squared(2_000) ** 0.5
    s = np.sqrt(t * (treated.variance / 900 + held.variance / 100))
    half = s * np.sqrt(2 * (t * rho**2 + 1) / (t * rho) ** 2 * np.log(np.sqrt(t * rho**2 + 1) / alpha))
    assert found.value == pytest.approx(200 / 900 - 0.1)
    assert found.high - found.value == pytest.approx(half)
    at_plan = widening(2_000, 2_000)
    assert all(at_plan <= widening(2_000, other) + 1e-3 for other in (1_000, 1_500, 3_000, 8_000))
    assert at_plan > 1.96


def test_a_handful_of_customers_is_no_look() -> None:
    """Else the normal approximation would speak for three people."""
    with pytest.raises(UsageError, match="at least 30"):
        difference(Group.of_shares(1_000, 10), Group.of_shares(3, 0), planned=5_000)


def test_a_guardrail_breaks_only_when_the_harm_is_certain() -> None:
    """Else a good campaign stops by chance, or a harmful one goes on."""
    rail = Guardrail(Words("opted out", "退订"), most=0.01)
    states = [
        rail.state(Difference(0, low, high)) for low, high in ((0.011, 0.02), (-0.01, 0.02), (-0.02, 0.01))
    ]
    assert states == ["broken", "open", "holds"]

"""BG/NBD and Gamma-Gamma as they are scored: against the papers' formulas and against simulation."""

import msgspec
import numpy as np
import pytest
from scipy.special import hyp2f1

from features.errors import ReleaseCorrupt
from serving.purchases import BgNbd, GammaGamma, Histories

CDNOW = BgNbd(0.2426, 4.4137, 0.7930, 2.4262)  # weeks; as published
LOYAL = BgNbd(1.4, 1.3, 1.6, 30.0)


def histories(n: int = 300, seed: int = 0) -> Histories:
    """Made-up histories: a third ordered once, some hundreds of times."""
    random = np.random.default_rng(seed)
    age = random.uniform(0, 60, n)
    repeats = np.where(random.random(n) < 0.3, 0.0, np.floor(random.lognormal(1, 1.5, n)))
    repeats[:3] = 300
    age[0] = 0.0
    repeats[age == 0] = 0
    return Histories(repeats, np.where(repeats > 0, age * random.uniform(0.3, 1, n), 0.0), age)


def as_published(model: BgNbd, of: Histories, t: float) -> np.ndarray:
    """The paper's formula, after Euler's transformation of the hypergeometric function."""
    r, alpha, a, b = model.r, model.alpha, model.a, model.b
    x, last, age = of
    z = t / (alpha + age + t)
    grows = 1 - (1 - z) ** (a - 1) * hyp2f1(a + b - 1 - r, a - 1, a + b + x - 1, z)
    lost = np.where(x > 0, a / (b + np.maximum(x, 1) - 1) * ((alpha + age) / (alpha + last)) ** (r + x), 0)
    return (a + b + x - 1) / (a - 1) * grows / (1 + lost)


@pytest.mark.parametrize("model", [CDNOW, LOYAL])
@pytest.mark.parametrize("ahead", [0.5, 13.0, 39.0, 200.0])
def test_expected_orders_are_those_of_the_published_formula(model, ahead):
    of = histories()
    assert model.expected(of, np.full(300, ahead)) == pytest.approx(
        as_published(model, of, ahead), rel=1e-6, abs=1e-9
    )


def test_thousands_of_orders_neither_overflow_nor_vanish():
    of = Histories(np.array([5_000.0]), np.array([364.0]), np.array([365.0]))
    model = BgNbd(0.5, 20.0, 0.5, 5.0)
    assert model.expected(of, np.array([365.0])) == pytest.approx(as_published(model, of, 365.0), rel=1e-6)


def test_a_customer_scores_alone_as_among_others_to_the_last_bit():
    of, ahead = histories(), np.full(300, 39.0)
    for score in (CDNOW.expected, CDNOW.any):
        alone = [score(of.part([i]), ahead[:1]) for i in range(300)]
        assert np.concatenate(alone).tobytes() == score(of, ahead).tobytes()


def simulated(model: BgNbd, n: int, age: float, ahead: float, seed: int) -> tuple[Histories, np.ndarray]:
    """Customers of the model: their histories until `age`, and their orders in the time ahead, [n]."""
    random = np.random.default_rng(seed)
    rate, p = random.gamma(model.r, 1 / model.alpha, n), random.beta(model.a, model.b, n)
    at, active = np.zeros(n), np.ones(n, bool)
    repeats, last, later = np.zeros(n), np.zeros(n), np.zeros(n)
    while active.any():
        at = at + random.exponential(1 / rate)
        active &= at <= age + ahead
        before = active & (at <= age)
        repeats += before
        last = np.where(before, at, last)
        later += active & (at > age)
        active &= random.random(n) >= p
    return Histories(repeats, last, np.full(n, age)), later


def test_the_whole_distribution_is_what_customers_of_the_model_do():
    """Mean, chance of any, and every tail, for one history that many simulated customers share."""
    model = BgNbd(0.8, 6.0, 0.9, 3.0)
    of, later = simulated(model, 400_000, age=20.0, ahead=30.0, seed=1)
    alike = (of.repeats == 2) & (np.abs(of.last - 12) < 1.5)
    assert alike.sum() > 1_500
    one, ahead = Histories(np.array([2.0]), np.array([12.0]), np.array([20.0])), np.array([30.0])
    noise = 4 * 0.5 / np.sqrt(alike.sum())
    for k, (_, tail) in zip(range(1, 8), model.tails(one, ahead), strict=False):
        assert tail[0] == pytest.approx((later[alike] >= k).mean(), abs=noise)
    spread = later[alike].std() / np.sqrt(alike.sum())
    assert model.expected(one, ahead)[0] == pytest.approx(later[alike].mean(), abs=4 * spread)


def test_nobody_is_lost_before_a_repeat_order():
    """Which is why P(alive) ranks nobody: the coldest customers would come first."""
    cold = Histories(np.zeros(1), np.zeros(1), np.array([39.0]))
    warm = Histories(np.array([6.0]), np.array([37.0]), np.array([39.0]))
    assert CDNOW.alive(cold) == 1
    assert CDNOW.alive(warm) < 1
    assert CDNOW.expected(cold, np.array([39.0])) < CDNOW.expected(warm, np.array([39.0]))


def test_a_share_of_those_held_for_lost_comes_back():
    """A weekly shopper who was away for two months is not gone for certain."""
    away = Histories(np.array([60.0]), np.array([20.0]), np.array([39.0]))
    sure, doubt = CDNOW, msgspec.structs.replace(CDNOW, returns=0.4)
    assert sure.alive(away)[0] < 1e-3
    assert doubt.alive(away)[0] == pytest.approx(0.4, abs=1e-3)
    never_lost = msgspec.structs.replace(CDNOW, returns=1.0)
    of, ahead = histories(), np.full(300, 39.0)
    between = 0.6 * sure.expected(of, ahead) + 0.4 * never_lost.expected(of, ahead)
    assert doubt.expected(of, ahead) == pytest.approx(between, rel=1e-6, abs=1e-9)
    with pytest.raises(ReleaseCorrupt, match="returns = 1.5"):
        msgspec.structs.replace(CDNOW, returns=1.5)


def test_the_next_order_is_when_its_chance_is_reached_or_never():
    of = histories()
    wait = CDNOW.next_order(of)
    expected = ~np.isnan(wait)
    assert CDNOW.any(of.part(expected), wait[expected]) == pytest.approx(0.5, abs=1e-9)
    assert np.all(CDNOW.any(of.part(~expected), np.full((~expected).sum(), 1e7)) <= 0.5)
    later = CDNOW.next_order(of, 0.6)
    assert np.all(~(later < wait))


def test_money_goes_from_the_populations_mean_to_the_customers_own():
    model = GammaGamma(6.25, 3.744, 15.44)  # as published
    money = model.expected(np.array([0.0, 1.0, 4.0, 1e6]), np.array([np.nan, 100.0, 100.0, 100.0]))
    assert money[0] == pytest.approx(6.25 * 15.44 / 2.744)
    assert money[0] < money[1] < money[2] < money[3] == pytest.approx(100, rel=1e-4)


@pytest.mark.parametrize("broken", [{"r": 0.0}, {"alpha": -1.0}, {"b": np.inf}, {"a": np.nan}])
def test_parameters_that_are_none_are_refused_by_name(broken):
    with pytest.raises(ReleaseCorrupt, match=next(iter(broken))):
        BgNbd(**({"r": 1.0, "alpha": 1.0, "a": 1.0, "b": 1.0} | broken))

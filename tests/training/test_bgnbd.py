"""BG/NBD and Gamma-Gamma as they are fitted: the published figures, and parameters known by simulation."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from logs import real_data
from scipy.optimize import check_grad

from features.errors import NotEnoughData, TrainingError
from serving.purchases import BgNbd, GammaGamma, Histories
from training import bgnbd, gamma_gamma

CUT = np.datetime64("1997-09-30")


@pytest.fixture(scope="module")
def cdnow() -> tuple[Histories, np.ndarray, np.ndarray]:
    """The papers' sample in weeks: histories of 39 weeks, mean money of a repeat, orders 39 weeks later."""
    orders = pq.read_table(real_data("cdnow") / "sample_2357.parquet").to_pandas()
    orders = orders.groupby(["customer_id", "date"], as_index=False)["amount"].sum()
    _, who = np.unique(orders["customer_id"].to_numpy(str), return_inverse=True)
    day = orders["date"].to_numpy().astype("datetime64[D]")
    early = day <= CUT
    n = who.max() + 1
    first, last = np.full(n, CUT), np.zeros(n, day.dtype)
    np.minimum.at(first, who, day)
    np.maximum.at(last, who[early], day[early])
    repeat = early & (day > first[who])
    repeats = np.bincount(who[repeat], minlength=n).astype(float)
    money = np.bincount(who[repeat], orders["amount"].to_numpy()[repeat], minlength=n)
    week = np.timedelta64(7, "D")
    of = Histories(repeats, (last - first) / week, (CUT - first) / week)
    return of, money / np.maximum(repeats, 1), np.bincount(who[~early], minlength=n).astype(float)


def test_bgnbd_on_the_cdnow_sample_has_the_published_parameters_and_likelihood(cdnow):
    model, likelihood = bgnbd.fit(cdnow[0])
    assert likelihood == pytest.approx(-9582.429, abs=0.001)
    assert (model.r, model.a, model.b) == pytest.approx((0.2426, 0.7930, 2.4262), rel=5e-4)
    assert model.alpha == pytest.approx(4.4137, rel=5e-4)


def test_bgnbd_on_the_cdnow_sample_expects_the_published_holdout(cdnow):
    of, _, later = cdnow
    model, _ = bgnbd.fit(of)
    expected = model.expected(of, np.full(len(later), 39.0))
    groups = [np.minimum(of.repeats, 7) == k for k in range(8)]
    assert [int(g.sum()) for g in groups] == [1411, 439, 214, 100, 62, 38, 29, 64]
    actual = [0.237, 0.697, 1.393, 1.560, 2.532, 2.947, 3.862, 6.359]
    assert [later[g].mean() for g in groups] == pytest.approx(actual, abs=6e-4)
    published = [0.225, 0.523, 1.044, 1.520, 2.164, 2.654, 3.504, 6.157]
    assert [expected[g].mean() for g in groups] == pytest.approx(published, abs=6e-4)


def test_gamma_gamma_on_the_cdnow_sample_has_the_published_parameters(cdnow):
    of, mean, _ = cdnow
    assert ((of.repeats > 0) & (mean > 0)).sum() == 946
    model, likelihood = gamma_gamma.fit(of.repeats, mean)
    assert (model.p, model.q, model.gamma) == pytest.approx((6.25, 3.74, 15.44), rel=2e-3)
    assert likelihood == pytest.approx(-4055.9, abs=0.1)


def customers(model: BgNbd, n: int, seed: int) -> Histories:
    """Histories that the model makes, with ages of 20 to 80."""
    random = np.random.default_rng(seed)
    rate, p = random.gamma(model.r, 1 / model.alpha, n), random.beta(model.a, model.b, n)
    age = random.uniform(20, 80, n)
    at, repeats, last, active = np.zeros(n), np.zeros(n), np.zeros(n), np.ones(n, bool)
    while active.any():
        at = at + random.exponential(1 / rate)
        active &= at <= age
        repeats += active
        last = np.where(active, at, last)
        active &= random.random(n) >= p
    return Histories(repeats, last, age)


@pytest.mark.parametrize("truth", [BgNbd(0.25, 4.4, 0.8, 2.5), BgNbd(1.5, 8.0, 1.2, 9.0)])
def test_bgnbd_finds_the_parameters_that_made_the_orders(truth):
    model, _ = bgnbd.fit(customers(truth, 40_000, seed=2))
    assert (model.r, model.alpha) == pytest.approx((truth.r, truth.alpha), rel=0.05)
    # a and b alone are known less well than the mean chance of loss, a / (a + b).
    assert model.a / (model.a + model.b) == pytest.approx(truth.a / (truth.a + truth.b), rel=0.05)
    assert (model.a, model.b) == pytest.approx((truth.a, truth.b), rel=0.2)


def test_the_unit_of_time_changes_nothing_but_alpha():
    of = customers(BgNbd(0.25, 4.4, 0.8, 2.5), 5_000, seed=3)
    weeks, a = bgnbd.fit(of)
    days, b = bgnbd.fit(Histories(of.repeats, of.last * 7, of.age * 7))
    assert (days.r, days.alpha / 7, days.a, days.b) == pytest.approx(
        (weeks.r, weeks.alpha, weeks.a, weeks.b), rel=1e-3
    )
    assert b == pytest.approx(a - of.repeats.sum() * np.log(7), rel=1e-9)


def test_gamma_gamma_finds_the_parameters_that_made_the_money():
    random, truth = np.random.default_rng(4), GammaGamma(5.0, 3.5, 20.0)
    orders = random.poisson(2.0, 40_000).astype(float)
    nu = random.gamma(truth.q, 1 / truth.gamma, len(orders))
    money = random.gamma(np.maximum(truth.p * orders, 1e-9)) / nu
    model, _ = gamma_gamma.fit(orders, money / np.maximum(orders, 1))
    assert (model.p, model.q, model.gamma) == pytest.approx((truth.p, truth.q, truth.gamma), rel=0.05)


def test_the_gradients_are_those_of_the_likelihoods():
    of = customers(BgNbd(0.5, 6.0, 0.8, 2.5), 200, seed=5)
    counts = np.ones(200)

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        return bgnbd._loss(theta, *of, counts)

    at = np.log([0.4, 5.0, 0.9, 2.0])
    assert check_grad(lambda t: loss(t)[0], lambda t: loss(t)[1], at) < 1e-6
    x, z = np.arange(1.0, 40.0), np.linspace(10, 90, 39)
    at = np.log([4.0, 3.0, 20.0])
    assert (
        check_grad(lambda t: gamma_gamma._loss(t, x, z)[0], lambda t: gamma_gamma._loss(t, x, z)[1], at)
        < 1e-5
    )


@pytest.mark.parametrize("n", [0, 1, 49])
def test_too_few_repeat_buyers_are_no_model(n):
    of = Histories(np.ones(n), np.ones(n), np.full(n, 2.0))
    with pytest.raises(NotEnoughData, match=f"^{n} customers ordered on more than one day"):
        bgnbd.fit(of)
    with pytest.raises(NotEnoughData, match=f"^{n} customers have orders with money"):
        gamma_gamma.fit(np.ones(n), np.full(n, 9.0))


def test_money_of_nothing_says_nothing():
    with pytest.raises(NotEnoughData, match="^0 customers have orders with money"):
        gamma_gamma.fit(np.ones(100), np.zeros(100))


def test_customers_who_all_spend_the_same_are_no_distribution():
    with pytest.raises(TrainingError, match="nothing to model"):
        gamma_gamma.fit(np.full(100, 3.0), np.full(100, 9.99))


@pytest.mark.parametrize(
    "one", [(1.0, 30.0, 20.0), (1.0, 0.0, 20.0), (0.0, 5.0, 20.0), (-1.0, 0.0, 20.0), (2.0, 5.0, np.nan)]
)
def test_histories_that_cannot_be_are_named(one):
    of = Histories(*(np.append(np.full(100, v), w) for v, w in zip((1.0, 5.0, 20.0), one, strict=True)))
    with pytest.raises(TrainingError, match="1 histories cannot be"):
        bgnbd.fit(of)


def test_customers_who_never_leave_still_have_a_model():
    """Grocery: the likelihood is flat in a and b, and the figures that matter are not."""
    of = customers(BgNbd(1.4, 1.3, 0.01, 1_000.0), 3_000, seed=6)
    model, _ = bgnbd.fit(of)
    assert model.r / model.alpha == pytest.approx(1.4 / 1.3, rel=0.1)
    assert model.a / (model.a + model.b) < 0.002

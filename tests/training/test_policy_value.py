"""Off-policy estimates: formulas by hand, a known value covered as often as promised, honest refusals."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm
from test_uplift_possible import made

from features.errors import UsageError
from training import logged_policy
from training.policy_value import FEW, LoggedDecisions, PolicyValue, evaluate

ARMS = 3


def simulated(
    n: int, seed: int, per_customer: int = 1, predict: bool = True
) -> tuple[LoggedDecisions, float]:
    """A log of an epsilon-greedy policy, and the true value of another one. Customers differ among them."""
    random = np.random.default_rng(seed)
    customers = n // per_customer
    who = np.repeat(np.arange(customers), per_customer)
    x, own = random.normal(size=customers)[who], per_customer * 0.3 * random.normal(size=customers)[who]
    expected = np.c_[1.0 + 0.2 * x, 1.2 - 0.3 * x, 0.8 + 0.5 * x]
    logged = np.full((n, ARMS), 0.2)
    logged[np.arange(n), np.where(x > 0, 0, 1)] = 0.6
    arm = (logged.cumsum(axis=1) > random.random(n)[:, None]).argmax(axis=1)
    outcome = expected[np.arange(n), arm] + own + random.normal(size=n)
    target = np.full((n, ARMS), 0.05)
    target[np.arange(n), np.where(x > 0.5, 2, 1)] = 0.9
    above, mean = norm.sf(0.5), norm.pdf(0.5)  # P(x > 0.5), and E(x; x > 0.5) = -E(x; x <= 0.5)
    truth = above * 0.83 + mean * 0.445 + (1 - above) * 1.17 + mean * 0.235
    names = [f"c{j}" for j in who]
    log = LoggedDecisions(
        arm, logged[np.arange(n), arm], outcome, target, expected if predict else None, names
    )
    return log, truth


def named(found: PolicyValue, name: str) -> tuple[float, float, float]:
    one = next(of for of in found.estimates if of.name == name)
    return one.value, one.low, one.high


def test_every_estimate_is_its_formula_by_hand() -> None:
    """Four decisions on paper; the third arm's weight of 12 is the one that Switch-DR leaves to the model."""
    log = LoggedDecisions(
        arm=np.array([0, 1, 1, 0]), propensity=np.array([0.5, 0.5, 1 / 12, 0.25]),
        outcome=np.array([1.0, 0.0, 2.0, 3.0]),
        target=np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.5, 0.5]]),
        predicted=np.array([[0.5, 1.0]] * 4),
    )  # fmt: skip
    w = [2.0, 2.0, 12.0, 2.0]
    model = [0.5, 1.0, 1.0, 0.75]
    found = evaluate(log)
    assert named(found, "IPS")[0] == pytest.approx((2 + 0 + 24 + 6) / 4)
    assert named(found, "SNIPS")[0] == pytest.approx((2 + 0 + 24 + 6) / 18)
    rest = [w[0] * 0.5, w[1] * -1.0, w[2] * 1.0, w[3] * 2.5]
    assert named(found, "DR")[0] == pytest.approx((sum(model) + sum(rest)) / 4)
    assert named(found, "Switch-DR")[0] == pytest.approx((sum(model) + sum(rest) - rest[2]) / 4)
    assert found.effective == pytest.approx(18**2 / (4 + 4 + 144 + 4))
    two = next(cut for cut in found.clipping if cut.cap == 2)
    assert (two.share, two.snips) == (0.25, pytest.approx((2 + 0 + 4 + 6) / 8))


@pytest.mark.parametrize("per_customer", [1, 5])
def test_intervals_cover_the_true_value_about_as_often_as_they_say(per_customer: int) -> None:
    """Also where a customer has several decisions, which an interval by rows would take for independent."""
    runs, hits = 300, dict.fromkeys(("IPS", "SNIPS", "DR"), 0)
    for seed in range(runs):
        log, truth = simulated(1_500, seed, per_customer)
        found = evaluate(log)
        for name in hits:
            _, low, high = named(found, name)
            hits[name] += low <= truth <= high
    assert all(0.91 <= of / runs <= 0.985 for of in hits.values()), hits


def heavy(n: int, seed: int, off: float | None) -> tuple[LoggedDecisions, float]:
    """A mail that half of the customers got in 3 of 100 decisions, and that the policy would send them all;
    the policy's true value. off: by how much the model errs there; None: arms' means, which are of others."""
    random = np.random.default_rng(seed)
    x = random.normal(size=n)
    chance = np.where(x > 0, 0.03, 0.5)
    arm = (random.random(n) < chance).astype(np.intp)
    expected = np.c_[1.0 + 0.2 * x, 1.3 + x]
    outcome = expected[np.arange(n), arm] + random.normal(size=n)
    target = np.c_[x <= 0, x > 0].astype(np.float64)
    predicted = None if off is None else expected + np.c_[np.zeros(n), off * (x > 0)]
    truth = 0.5 * (1.0 + 1.3) + 0.8 * np.sqrt(2 / np.pi) / 2
    return LoggedDecisions(arm, np.where(arm, chance, 1 - chance), outcome, target, predicted), truth


@pytest.mark.parametrize("off", [None, 0.0, 0.5])
def test_the_interval_of_switch_dr_holds_its_models_error(off: float | None) -> None:
    """Else: what a poor model says of whom nobody was tried on is published to two digits, and never true."""
    hits = 0
    for seed in range(60):
        log, truth = heavy(1_500, seed, off)
        _, low, high = named(evaluate(log), "Switch-DR")
        hits += low <= truth <= high
    assert hits >= 54
    log, _ = simulated(1_000, 1)
    found = evaluate(log)  # no weight is large: nothing is left to the model, and nothing is added
    assert named(found, "Switch-DR") == named(found, "DR")


def test_figures_are_steady_only_if_enough_customers_say_so() -> None:
    """Else: six customers decide every line of the table alike, and `steady` is taken for safe."""
    assert evaluate(simulated(6_000, 3)[0]).steady.en.startswith(
        "Steady: cutting weights at 10 or more moves DR"
    )
    few = evaluate(heavy(300, 4, 0.0)[0])
    assert few.effective < FEW
    assert "the data cannot carry a verdict" in few.steady.en
    assert not few.steady.en.startswith("Steady:")
    assert few.verdict.en == "The data cannot carry a verdict"
    many = evaluate(heavy(20_000, 4, 0.5)[0])
    assert many.effective > FEW
    assert many.steady.en.startswith("Not steady")
    assert many.steady.zh.startswith("不稳定")


def test_a_verdict_that_a_few_decisions_decide_is_told_with_its_condition() -> None:
    """Else the headline says `better`, the last line `not steady`, and it goes live on the headline."""
    log, _ = heavy(3_000, 1, 0.5)
    found = evaluate(log)
    assert not found.warnings
    assert found.moved > 0.5
    assert found.verdict.en.startswith(
        "Better than what was done by DR and SNIPS, but not proven: a few decisions decide much (cutting "
        f"weights moves DR by {found.moved:.0%} of its half interval)"
    )
    assert found.verdict.zh.startswith("按DR与SNIPS优于实际执行的策略，但尚未证实：少数决策影响很大")
    assert not found.carried
    assert replace(found, harm=True).verdict.en.startswith(
        "Worse than what was done by DR and SNIPS, but not"
    )
    steady = replace(found, clipping=found.clipping[:1])
    (switch,) = (of for of in found.estimates if of.name == "Switch-DR")
    others = tuple(of for of in found.estimates if of is not switch)
    shown, hidden = (replace(switch, gain_low=low, gain_high=9.0) for low in (0.1, -0.1))
    assert replace(steady, estimates=(*others, shown)).verdict.en == "Better than what was done"
    assert "Switch-DR, without the large weights, does not show it" in (
        replace(steady, estimates=(*others, hidden)).verdict.en
    )
    level = tuple(replace(of, gain_low=-1.0, gain_high=1.0) for of in found.estimates)
    assert replace(found, estimates=level).carried, "that no difference is shown needs no condition"


def test_a_model_makes_the_estimate_surer_and_a_wrong_one_does_not_bias_it() -> None:
    """What double robustness is for."""
    values: dict[str, list[float]] = {"IPS": [], "DR": [], "wrong": []}
    for seed in range(200):
        log, truth = simulated(800, seed)
        found = evaluate(log)
        values["IPS"].append(named(found, "IPS")[0] - truth)
        values["DR"].append(named(found, "DR")[0] - truth)
        assert log.predicted is not None
        wrong = evaluate(replace(log, predicted=log.predicted[:, ::-1] + 0.5))
        values["wrong"].append(named(wrong, "DR")[0] - truth)
    assert np.var(values["DR"]) < 0.8 * np.var(values["IPS"])
    for errors in values.values():
        assert abs(np.mean(errors)) < 3 * np.std(errors) / np.sqrt(200)


def test_without_a_model_the_arms_means_of_other_customers_serve() -> None:
    """Else a shop without an outcome model would have no DR."""
    log, truth = simulated(4_000, 7, predict=False)
    value, low, high = named(evaluate(log), "DR")
    assert low < truth < high
    assert value == pytest.approx(truth, abs=0.15)


def test_a_better_policy_is_called_better_and_a_worse_one_worse() -> None:
    """Else the gate holds back what earns, or lets through what does not."""
    log, _ = simulated(6_000, 3)
    assert log.predicted is not None
    rows = np.arange(len(log.outcome))
    for pick, says in ((log.predicted.argmax(axis=1), "Better"), (log.predicted.argmin(axis=1), "Worse")):
        target = np.zeros_like(log.target)
        target[rows, pick] = 1.0
        found = evaluate(replace(log, target=target))
        assert found.verdict.en.startswith(says)
        of_harm = {"Better": "Worse", "Worse": "Better"}[says]
        assert replace(found, harm=True).verdict.en.startswith(of_harm), "more opt-outs are no success"


def test_the_logged_policy_itself_gains_nothing() -> None:
    """Weights of 1: IPS and SNIPS are the mean of the log."""
    log, _ = simulated(2_000, 5, predict=False)
    target = np.full(log.target.shape, 1 / 3)
    same = evaluate(replace(log, target=target, propensity=np.full(2_000, 1 / 3)))
    for of in same.estimates[:2]:
        assert (of.value, of.gain_low, of.gain_high) == pytest.approx((same.logged, 0.0, 0.0))
    assert same.effective == pytest.approx(2_000)


def test_a_small_chance_that_did_not_come_up_yet_is_no_wrong_chance() -> None:
    """Else sixty decisions taken at .987 are called wrongly logged, as their weights do not even vary."""

    def certain(n: int, chance: float) -> str:
        target = np.c_[np.ones(n), np.zeros(n)]
        log = LoggedDecisions(np.zeros(n, np.intp), np.full(n, chance), np.arange(n) % 3 * 1.0, target)
        return " / ".join(words.en for words in evaluate(log).warnings)

    assert "mean weight" not in certain(63, 0.987)
    assert "mean weight is 1.01" in certain(10_000, 0.987), "130 of these should have been something else"


def test_data_that_cannot_carry_a_verdict_say_so() -> None:
    """Else a policy goes live on the word of three customers, or of chances that were not those."""
    log, _ = simulated(3_000, 1)

    def told(changed: LoggedDecisions) -> str:
        found = evaluate(changed)
        assert found.warnings
        assert found.verdict.en == "The data cannot carry a verdict"
        return " / ".join(words.en for words in found.warnings)

    assert "mean weight" in told(replace(log, propensity=np.full(3_000, 0.9)))
    assert "nothing was left to chance" in told(replace(log, propensity=np.ones(3_000)))
    few = LoggedDecisions(log.arm[:60], log.propensity[:60], log.outcome[:60], log.target[:60])
    assert "effective sample" in told(few)
    wider = np.c_[log.target * 0.5, np.full(3_000, 0.5)]
    predicted = np.c_[log.predicted, np.ones(3_000)]
    assert "50.0% of the policy's choices are arms that were never taken" in told(
        replace(log, target=wider, predicted=predicted)
    )
    nothing = replace(log, target=np.c_[np.zeros((3_000, 3)), np.ones(3_000)], predicted=predicted)
    assert "never taken" in told(nothing)


def test_a_log_that_is_none_is_named_by_its_row() -> None:
    """Else a missing propensity counts as a sure choice."""
    log, _ = simulated(20, 0)
    chances = log.propensity.copy()
    chances[4] = 0
    with pytest.raises(UsageError, match="row 5: propensity 0"):
        replace(log, propensity=chances)
    with pytest.raises(UsageError, match="add up to 1"):
        replace(log, target=log.target * 2)
    with pytest.raises(UsageError, match="one customer"):
        evaluate(replace(log, customer=["c"] * 20))


def test_who_cannot_have_the_policys_choice_is_told() -> None:
    """Else: `everybody the coupon` is read as of everybody, where most could not have it and got nothing."""
    logged, _ = made(1_200)
    logged = replace(logged, outcomes=logged.outcomes | {"retention": np.ones(len(logged))})
    coupon = logged_policy.constant(logged, "coupon")
    found = logged_policy.judged(logged, coupon)
    share = float((logged.chances[:, 3] == 0).mean())
    assert 0.5 < share < 0.9
    assert f"are left alone: so it was at {share:.1%} of the decisions" in found.elsewhere.en
    assert f"占决策的{share:.1%}" in found.elsewhere.zh
    young = replace(logged, outcomes=logged.outcomes | {"margin": np.full(len(logged), np.nan)})
    with pytest.raises(UsageError, match="0 of 1,200 decisions can be judged: 1,200 are not final"):
        logged_policy.judged(young, coupon, "margin")

"""Arithmetic of scores: right, and the same bits whatever the number of rows."""

import hashlib
import math
from itertools import pairwise

import numpy as np
import pytest

from features.errors import ReleaseCorrupt
from serving.formulas import (
    IdentityCalibration,
    IsotonicCalibration,
    Logistic,
    LogisticCalibration,
    LogisticScorer,
    Term,
    exp,
    log,
    sigmoid,
)

ANYTHING = np.concatenate(
    [np.random.default_rng(3).normal(0, 8, 3_000), [0.0, -0.0, 1e-300, 36.8, -36.8, 745.0, -745.0, 1e9, -1e9]]
)
CALIBRATIONS = [
    IdentityCalibration(),
    LogisticCalibration(a=0.93, b=-0.21),
    IsotonicCalibration(x=(-3.0, -1.0, 0.5, 2.0), y=(0.0, 0.2, 0.2, 1.0)),
]
SPEND = Term("spend", (0.0, 100.0, 400.0), (80.0, 20.0), (50.0, 40.0), (-0.7, 0.3), missing=0.4)
DAYS = Term("days", (1.0, 90.0), (30.0,), (25.0,), (1.1,), missing=-0.2)
MODEL = Logistic(intercept=-0.5, terms=(SPEND, DAYS))


def test_exp_is_e_to_the_x_within_two_units_in_the_last_place():
    x = ANYTHING[np.abs(ANYTHING) < 700]
    true = np.array([math.exp(v) for v in x])
    assert np.max(np.abs(exp(x) - true) / np.spacing(true)) <= 2


def test_exp_of_one_number_has_the_bits_that_it_has_among_many():
    """Else a customer's probability would depend on how many others are asked for with her."""
    x = np.concatenate([ANYTHING, np.linspace(-710, 710, 10_001), [np.inf, -np.inf]])
    assert exp(x).tobytes() == np.concatenate([exp(v[None]) for v in x]).tobytes()


def test_log_is_the_natural_logarithm_within_two_units_in_the_last_place():
    x = np.concatenate(
        [np.exp(ANYTHING[np.abs(ANYTHING) < 700]), [1.0, np.nextafter(1, 2), 0.5, 2.0, 1e-300]]
    )
    true = np.array([math.log(v) for v in x])
    assert np.max(np.abs(log(x) - true) / np.spacing(np.abs(true))) <= 2
    assert log(x).tobytes() == np.concatenate([log(v[None]) for v in x]).tobytes()


def test_the_logistic_function_gives_these_bits_on_every_machine():
    """A release that is trained here and served on another processor must not be refused there."""
    digest = hashlib.sha256(sigmoid(np.linspace(-40, 40, 10_001)).tobytes()).hexdigest()
    assert digest == "5abd877064cfcf2c104cf960efd283ec3fc4a79593f182e89e896dc955531074"


def test_a_probability_stays_one_however_far_the_log_odds_go():
    p = sigmoid(ANYTHING)
    assert np.all((p >= 0) & (p <= 1))
    assert sigmoid(np.array([0.0]))[0] == 0.5
    assert p[-2] == 1
    assert 0 < p[-1] < 1e-300


@pytest.mark.parametrize("calibration", CALIBRATIONS)
def test_a_calibrated_probability_has_the_same_bits_alone_and_in_a_batch(calibration):
    """Else the service and the batch, or two batch sizes, would disagree about a customer."""
    whole = calibration.probability(ANYTHING)
    alone = np.concatenate([calibration.probability(ANYTHING[i : i + 1]) for i in range(len(ANYTHING))])
    assert whole.tobytes() == alone.tobytes()
    assert whole[::-1].tobytes() == calibration.probability(ANYTHING[::-1]).tobytes()
    assert np.array([calibration.chance(x) for x in ANYTHING.tolist()]).tobytes() == whole.tobytes()


@pytest.mark.parametrize("calibration", CALIBRATIONS)
def test_a_calibration_never_turns_customers_round(calibration):
    """Within rounding, a higher score is never a lower probability."""
    p = calibration.probability(np.linspace(-50, 50, 20_001))
    assert np.min(np.diff(p)) > -1e-15


def test_calibrations_are_their_formulas():
    z = np.array([-9.0, -3.0, -2.0, -1.0, 0.0, 1.25, 2.0, 9.0])
    platt = [1 / (1 + math.exp(-(0.93 * v - 0.21))) for v in z]
    assert CALIBRATIONS[1].probability(z) == pytest.approx(platt, rel=1e-14)
    knots = np.interp(z, CALIBRATIONS[2].x, CALIBRATIONS[2].y)
    assert CALIBRATIONS[2].probability(z) == pytest.approx(knots, rel=1e-14)


@pytest.mark.parametrize(
    ("x", "y"),
    [((0.0,), (0.5,)), ((0.0, 0.0), (0.1, 0.2)), ((0.0, 1.0), (0.2, 0.1)), ((0.0, 1.0), (0.2, 1.1)),
     ((0.0, 1.0), (0.2,)), ((0.0, math.nan), (0.1, 0.2))],
)  # fmt: skip
def test_a_calibration_that_is_no_rising_curve_of_probabilities_is_refused(x, y):
    with pytest.raises(ReleaseCorrupt, match="isotonic"):
        IsotonicCalibration(x=x, y=y)


@pytest.mark.parametrize("a", [0.0, -1.0, math.nan])
def test_a_calibration_that_turns_the_ranking_round_is_refused(a):
    with pytest.raises(ReleaseCorrupt, match="positive"):
        LogisticCalibration(a=a, b=0.0)


def by_hand(row: dict[str, float]) -> float:
    total = MODEL.intercept
    for term in MODEL.terms:
        x = row[term.feature]
        if math.isnan(x):
            total += term.missing
            continue
        x = min(max(x, term.knots[0]), term.knots[-1])
        for i, (knot, _) in enumerate(pairwise(term.knots)):
            total += term.coef[i] * (max(x - knot, 0) - term.mean[i]) / term.scale[i]
    return total


def rows() -> np.ndarray:
    random = np.random.default_rng(5)
    made = random.normal(100, 200, (400, 3))
    made[random.random(made.shape) < 0.2] = np.nan
    return made.astype(np.float32)


def test_a_spline_logistic_is_its_formula_with_nulls_and_values_beyond_the_knots():
    made = rows()  # days, (not read), spend
    scorer = LogisticScorer(MODEL, ("days", "other", "spend"))
    expected = [by_hand({"days": float(d), "spend": float(s)}) for d, _, s in made]
    assert scorer.raw(made) == pytest.approx(expected, rel=1e-12)


def test_a_spline_logistic_has_the_same_bits_alone_and_in_a_batch():
    made = rows()
    scorer = LogisticScorer(MODEL, ("days", "other", "spend"))
    alone = np.concatenate([scorer.raw(made[i : i + 1]) for i in range(len(made))])
    assert alone.tobytes() == scorer.raw(made).tobytes()
    assert scorer.raw(np.asfortranarray(made)).tobytes() == scorer.raw(made).tobytes()


def test_contributions_of_a_spline_logistic_sum_to_its_log_odds_and_sit_at_their_feature():
    made = rows()
    scorer = LogisticScorer(MODEL, ("days", "other", "spend"))
    contributions = scorer.contributions(made)
    assert np.all(contributions[:, 1] == 0)
    assert contributions.sum(axis=1) + scorer.base == pytest.approx(scorer.raw(made), abs=1e-12)


def test_a_logistic_without_terms_is_its_intercept():
    assert (
        LogisticScorer(Logistic(-0.5, ()), ("days",)).raw(np.zeros((2, 1), np.float32)).tolist() == [-0.5] * 2
    )


@pytest.mark.parametrize(
    "change",
    [{"knots": (1.0,)}, {"knots": (2.0, 1.0)}, {"scale": (0.0,)}, {"coef": (1.0, 2.0)}, {"mean": ()}],
)
def test_a_term_that_is_no_curve_is_refused(change):
    parts = {"knots": (1.0, 90.0), "mean": (0.0,), "scale": (1.0,), "coef": (1.0,)} | change
    with pytest.raises(ReleaseCorrupt, match="the term of days"):
        Term("days", **parts)


def test_a_logistic_of_a_feature_that_the_card_lacks_is_refused():
    with pytest.raises(ReleaseCorrupt, match="days"):
        LogisticScorer(MODEL, ("spend",))

"""Calibration. If it fails, a coupon is priced by probabilities that do not come true."""

import numpy as np
import pytest

from features.errors import TrainingError
from serving.formulas import IdentityCalibration
from training import calibrate, evaluate

Z = np.random.default_rng(1).normal(size=4_000) * 1.5 - 1
LABEL = (np.random.default_rng(2).random(4_000) < 1 / (1 + np.exp(-Z))).astype(float)


@pytest.mark.parametrize("kind", ["platt", "isotonic", "venn_abers"])
def test_what_is_too_bold_and_too_high_is_put_right(kind: str) -> None:
    """Else: the calibration that won is worse than none on later time."""
    raw = 2 * Z + 1
    learnt, later = slice(0, 2_000), slice(2_000, None)
    fitted = calibrate.fitted(kind, [raw[learnt][:900], raw[learnt][900:]], [LABEL[:900], LABEL[900:2_000]])
    before = evaluate.losses(LABEL[later], IdentityCalibration().probability(raw[later])).mean()
    after = evaluate.losses(LABEL[later], fitted.probability(raw[later])).mean()
    best = evaluate.losses(LABEL[later], 1 / (1 + np.exp(-Z[later]))).mean()
    assert after < before - 0.5 * (before - best)
    p = fitted.probability(np.sort(raw))
    assert (np.diff(p) >= 0).all()
    assert 0 < p[0] < p[-1] < 1


def test_the_slope_alone_leaves_the_level() -> None:
    """Else: a level that was right in one season is forced on the next."""
    fitted = calibrate.slope(2 * Z, LABEL)
    rate = float(LABEL.mean())
    at_rate = np.array([np.log(rate / (1 - rate))])
    assert fitted.probability(at_rate)[0] == pytest.approx(rate, abs=1e-6)


def test_scores_that_rank_backwards_are_refused() -> None:
    """Else: the riskiest customers are called the safest, in a calibrated voice."""
    with pytest.raises(TrainingError, match="ranks customers backwards"):
        calibrate.platt(-Z, LABEL)

"""What competes to be the model."""

from pathlib import Path

import numpy as np
import pytest
from cards_by_hand import FEATURES, model_by_hand

from serving import models
from serving.formulas import sigmoid
from training import calibrate, candidates
from training.candidates import Parameters
from training.samples import Part

NAMES = tuple(name for name, _ in FEATURES)


def rows(n: int, rate: float, seed: int) -> Part:
    """Rows whose risk grows with the first feature, so rare that two in a hundred come true."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, len(NAMES))).astype(np.float32)
    label = (rng.random(n) < sigmoid(np.log(rate / (1 - rate)) - 0.3 + x[:, 0].astype(float))).astype(float)
    return Part(x, label, np.arange(n), np.zeros(n, np.bool_))


def test_a_rare_label_keeps_its_rate() -> None:
    """Else: classes are weighted, and what happens to two in a hundred is said of half of all customers."""
    known, later = rows(30_000, 0.02, 1), rows(30_000, 0.02, 2)
    for name, fitted in candidates.fit(known, NAMES, 1, Parameters()).items():
        said = sigmoid(fitted.raw(later.matrix))
        assert abs(said.mean() / later.base_rate - 1) < 0.1, name
        assert abs(sigmoid(fitted.raw(known.matrix)).mean() / known.base_rate - 1) < 0.02, name


@pytest.mark.parametrize("n", [2_000, 30_000])
def test_a_rare_label_keeps_its_rate_where_contacts_are_taken_out(n: int) -> None:
    """Else: trees that find no split among few customers say a half where two in a hundred are true."""
    known = rows(n, 0.02, 1)
    treated = np.random.default_rng(3).random(n) < 0.3
    known = Part(known.matrix, known.label, known.customer, treated)
    for name, fitted in candidates.fit(known, NAMES, 1, Parameters()).items():
        said = sigmoid(fitted.raw(known.matrix) + fitted.effect * treated)
        assert abs(said.mean() / known.base_rate - 1) < 0.05, name


@pytest.mark.parametrize("direction", [1, -1])
def test_a_released_chance_goes_only_the_way_that_is_known(tmp_path: Path, direction: int) -> None:
    """Else: whoever stays away longer is called safer, since a few rows happened to say so.

    The rows say the opposite over a part of the range, so that the direction is felt.
    """
    rng = np.random.default_rng(1)
    x = rng.exponential(20, (8_000, len(NAMES))).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = np.nan
    hump = np.nan_to_num(np.sin(x[:, 0].astype(float) / 6) - x[:, 1] / 20)
    label = (rng.random(len(x)) < sigmoid(hump)).astype(float)
    part = Part(x, label, np.arange(len(x)), np.zeros(len(x), np.bool_))
    free = candidates.fit(part, NAMES, 1, Parameters())
    held = candidates.fit(part, NAMES, 1, Parameters(monotone={NAMES[0]: direction}))
    rows = np.repeat(x[:200], 60, axis=0)
    rows[:, 0] = np.tile(np.linspace(0, 120, 60), 200)

    def most_against(score: np.ndarray) -> float:
        steps = np.diff(score.reshape(200, 60), axis=1)
        return float((steps * direction).min())

    card = models.load(model_by_hand(tmp_path / "by hand")).card
    for name, fitted in held.items():
        calibration = calibrate.isotonic(fitted.raw(x), label)
        model = models.save(tmp_path / name, card, fitted.components, calibration, x[:20])
        assert most_against(model.raw(rows)) > -1e-12, name
        assert most_against(model.score(rows)) > -1e-6, name  # a steep calibration magnifies the last bits
        assert most_against(free[name].raw(rows)) < -0.01, name

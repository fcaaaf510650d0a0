"""Intervals over several origins. If they are too narrow, chance is called progress."""

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from training import pooled


def world(rng: np.random.Generator, customers: int, origins: int) -> tuple[list, list, list, list]:
    """Customers with a risk of their own that stays; the first score knows it better than the second."""
    own = rng.normal(size=customers)
    labels, who, good, bad = [], [], [], []
    for _ in range(origins):
        z = own - 1.5
        labels.append((rng.random(customers) < 1 / (1 + np.exp(-z))).astype(float))
        who.append(np.arange(customers))
        good.append(1 / (1 + np.exp(-z)))
        bad.append(1 / (1 + np.exp(-(0.7 * own + rng.normal(size=customers) * 0.5 - 1.4))))
    return labels, who, good, bad


def test_values_are_those_of_scikit_learn() -> None:
    """Else: our AUC is another number than everybody else's."""
    labels, who, good, bad = world(np.random.default_rng(1), 400, 2)
    good = [np.round(p, 1) for p in good]  # ties
    own, gains = pooled.figures(labels, who, {"model": good, "other": bad})
    auc = [np.mean([roc_auc_score(y, p) for y, p in zip(labels, side, strict=True)]) for side in (good, bad)]
    loss = np.mean([log_loss(y, p) for y, p in zip(labels, bad, strict=True)])
    assert own["model"]["auc"]["value"] == pytest.approx(auc[0], abs=1e-6)
    assert own["other"]["log_loss"]["value"] == pytest.approx(loss, abs=1e-6)
    assert gains["other"]["auc_gain"]["value"] == pytest.approx(auc[0] - auc[1], abs=2e-6)


def test_intervals_cover_what_they_promise() -> None:
    """Else: a customer who comes back in six origins counts as six, and every gain is significant.

    The truth is the mean over many worlds; each world's interval is asked whether it holds it.
    """
    rng = np.random.default_rng(2)
    worlds = [world(rng, 300, 4) for _ in range(200)]
    found = [pooled.figures(labels, who, {"model": good, "other": bad}) for labels, who, good, bad in worlds]
    for pick in (
        lambda f: f[0]["model"]["auc"],
        lambda f: f[1]["other"]["auc_gain"],
        lambda f: f[1]["other"]["log_loss_gain"],
    ):
        figures = [pick(f) for f in found]
        truth = np.mean([figure["value"] for figure in figures])
        covered = np.mean([figure["low"] <= truth <= figure["high"] for figure in figures])
        assert 0.90 <= covered <= 0.99


def test_a_level_is_off_when_too_many_come_true_or_scores_are_too_bold() -> None:
    """Else: an operator is told that a risk of 20 % means 20 %."""
    rng = np.random.default_rng(4)
    z = rng.normal(size=20_000)
    truth = 1 / (1 + np.exp(-z))
    label = (rng.random(len(z)) < truth).astype(float)
    assert not pooled.off(pooled.level(label, truth))
    assert pooled.off(pooled.level(label, truth * 0.9))
    assert pooled.off(pooled.level(label, 1 / (1 + np.exp(-1.3 * z))))

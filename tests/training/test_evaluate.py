"""Figures and their intervals. If they are wrong, a worse model is released with confidence."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from features.errors import TrainingError
from features.words import Words
from training import evaluate

Numbers = NDArray[np.float64]


def made(n: int, seed: int, digits: int = 9) -> tuple[Numbers, Numbers, Numbers]:
    """Labels, calibrated scores of which many are equal if digits is small, and noisier scores."""
    random = np.random.default_rng(seed)
    z = random.normal(-1.5, 1.3, n)
    label = (random.random(n) < 1 / (1 + np.exp(-z))).astype(float)
    score = np.round(1 / (1 + np.exp(-z)), digits).clip(0.001, 0.999)
    noisy = 1 / (1 + np.exp(-(z + random.normal(0, 1, n))))
    return label, score, noisy


@pytest.mark.parametrize("digits", [1, 2, 9])
def test_metrics_equal_scikit_learns(digits: int) -> None:
    """Else: figures cannot be compared with anybody else's, or ties are counted as wins."""
    label, score, _ = made(700, 1, digits)
    weights = np.random.default_rng(2).multinomial(700, np.full(700, 1 / 700), size=3).astype(float)
    weights = np.vstack([np.ones(700), weights])
    ours = evaluate._Measured(label, score).metrics(weights)
    for row, w in enumerate(weights):
        assert ours["auc"][row] == pytest.approx(roc_auc_score(label, score, sample_weight=w))
        assert ours["average_precision"][row] == pytest.approx(
            average_precision_score(label, score, sample_weight=w)
        )
        assert ours["log_loss"][row] == pytest.approx(log_loss(label, score, sample_weight=w))
        assert ours["brier"][row] == pytest.approx(brier_score_loss(label, score, sample_weight=w))
        assert ours["observed_over_expected"][row] == pytest.approx((w @ label) / (w @ score))
        z = evaluate.log_odds(score)[:, None]
        cox = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(z, label, sample_weight=w)
        assert ours["calibration_slope"][row] == pytest.approx(cox.coef_[0, 0], abs=1e-4)
        assert ours["calibration_intercept"][row] == pytest.approx(cox.intercept_[0], abs=1e-4)


def test_the_calibration_error_is_that_of_ten_equal_parts() -> None:
    """Else: a model whose level is off by a tenth shows an error of nothing."""
    label, score, _ = made(1_000, 3)
    shifted = np.clip(score + 0.1, 0, 1)
    error = evaluate._Measured(label, shifted).metrics(np.ones((1, 1_000)))["calibration_error"][0]
    parts = np.array_split(np.argsort(shifted, kind="stable"), 10)
    assert error == pytest.approx(sum(abs((label[p] - shifted[p]).sum()) for p in parts) / 1_000)
    assert error > 0.08


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """Else: "95 %" is decoration, and noise gets promoted."""
    truth, n, worlds = norm.cdf(1 / np.sqrt(2)), 200, 80
    covered = 0
    for world in range(worlds):
        random = np.random.default_rng(world)
        label = np.r_[np.ones(n // 2), np.zeros(n // 2)]
        score = norm.cdf(random.normal(label, 1) - 0.5)
        figure = evaluate.judge(label, {"m": score}, seed=world)["m"].figures["auc"]
        covered += figure["low"] <= truth <= figure["high"]
    assert covered / worlds >= 0.88  # 95 % less three standard errors of 80 worlds


@pytest.mark.parametrize(("slope", "shift"), [(1.0, 0.0), (0.9, 0.1), (1.0, 0.5)])
def test_the_interval_of_the_calibration_error_holds_the_truth(slope: float, shift: float) -> None:
    """Else: a well calibrated model is told to be off for sure, its value at its interval's lower edge."""
    n, worlds, covered, percentile, values = 400, 80, 0, 0, []
    for world in range(worlds):
        random = np.random.default_rng(world)
        z = random.normal(-1.5, 1.3, n)
        chance, score = 1 / (1 + np.exp(-(slope * z + shift))), 1 / (1 + np.exp(-z))
        label = (random.random(n) < chance).astype(float)
        parts = np.array_split(np.argsort(score, kind="stable"), 10)
        truth = sum(abs((chance[part] - score[part]).sum()) for part in parts) / n
        judged = evaluate.judge(label, {"m": score}, seed=world)["m"]
        figure = judged.figures["calibration_error"]
        low, high = np.quantile(judged.draws["calibration_error"], (0.025, 0.975))
        assert 0 <= figure["low"] <= figure["value"] <= figure["high"]
        covered += figure["low"] <= truth <= figure["high"]
        percentile += low <= truth <= high
        values.append(figure["value"] - truth)
    assert covered / worlds >= 0.88  # 95 % less three standard errors of 80 worlds
    if shift == 0:  # what the bias does that the interval is made for
        assert np.mean(values) > 0.01
        assert percentile / worlds < 0.5


def delong(label: Numbers, scores: list[Numbers]) -> tuple[Numbers, NDArray[np.float64]]:
    """AUCs and their covariance (DeLong, DeLong and Clarke-Pearson 1988), in its plain quadratic form."""
    wins = []
    for score in scores:
        ones, zeros = score[label == 1], score[label == 0]
        wins.append((ones[:, None] > zeros).astype(float) + (ones[:, None] == zeros) / 2)
    of_ones = np.cov([w.mean(axis=1) for w in wins]) / len(wins[0])
    of_zeros = np.cov([w.mean(axis=0) for w in wins]) / wins[0].shape[1]
    return np.array([w.mean() for w in wins]), of_ones + of_zeros


def test_paired_gains_agree_with_delong() -> None:
    """Else: the difference of two models is as unsure as each alone, or surer than it is."""
    label, score, noisy = made(1_500, 5)
    judged = evaluate.judge(label, {"model": score, "noisy": noisy}, seed=1)
    gain = evaluate.gains(judged["model"], judged["noisy"])["auc_gain"]
    aucs, covariance = delong(label, [score, noisy])
    error = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert gain["value"] == pytest.approx(aucs[0] - aucs[1], abs=1e-6)
    assert (gain["high"] - gain["low"]) / (2 * 1.96) == pytest.approx(error, rel=0.1)
    assert error < 0.8 * np.sqrt(covariance[0, 0] + covariance[1, 1])  # pairing helps
    losses = evaluate.gains(judged["model"], judged["noisy"])["log_loss_gain"]
    assert losses["value"] > 0  # of a loss, less is a gain


def test_the_same_seed_gives_the_same_figures() -> None:
    """Else: a retrained model differs from itself."""
    label, score, noisy = made(300, 6)
    first, again, other = (evaluate.judge(label, {"m": score}, seed)["m"].figures for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("score", [np.full(100, 0.3), np.r_[np.full(50, 0.1), np.full(50, 0.9)]])
def test_scores_that_cannot_be_calibrated_are_refused(score: Numbers) -> None:
    """Else: a leak that separates the labels, or a constant, ends in nan."""
    with pytest.raises(TrainingError, match="cannot be calibrated"):
        evaluate.recalibration(np.r_[np.zeros(50), np.ones(50)], score)


def test_the_verdict_says_so_when_a_model_beats_nothing() -> None:
    """Else: a point estimate that is a hair better reads as progress."""
    label, score, noisy = made(800, 7)
    judged = evaluate.judge(label, {"same": score.copy(), "noisy": noisy, "model": score * 0.7}, seed=1)
    baselines = {
        name: {**judged[name].figures, **evaluate.gains(judged["model"], judged[name])}
        for name in ("same", "noisy")
    }
    words = {"same": Words("itself", "自身"), "noisy": Words("noise", "噪声")}
    said = evaluate.verdict("churn_28d", judged["model"].figures, baselines, words)
    assert "beats noise" in said.en
    assert "does not beat itself (log-loss -0.0" in said.en, "it ranks as well, but its level costs it"
    assert "AUC +0.000 [+0.000, +0.000])" in said.en
    assert "level is off: observed/expected 1." in said.en
    del baselines["noisy"]["log_loss_gain"]
    assert "beats noise (AUC +" in evaluate.verdict("x", judged["model"].figures, baselines, words).en
    assert "优于噪声" in said.zh
    assert "未优于自身" in said.zh
    assert "有偏差" in said.zh

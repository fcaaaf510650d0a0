"""What competes to be the model."""

import numpy as np

from serving.formulas import sigmoid
from training import candidates
from training.candidates import Parameters
from training.samples import Part

NAMES = ("a", "b", "c")


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

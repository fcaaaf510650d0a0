"""A label's meaning changes and no feature does: the partial labels say so, and say nothing otherwise.

If these fail, a quarter's customers are answered by a model that is lost before anybody hears of it."""

import numpy as np
import pytest

from benchmarks import monitoring_labels as worlds
from monitoring import partial, performance

WORLDS, CUSTOMERS = 10, 3_000


def test_a_changed_meaning_is_flagged_long_before_its_labels_are_mature() -> None:
    """Of ten worlds nine at least; the benchmark has hundreds, and larger ones."""
    found = [worlds.flagged(worlds.world(seed, True, CUSTOMERS)) for seed in range(WORLDS)]
    early = [day is not None and day <= worlds.matures() - worlds.EARLY for day in found]
    assert np.mean(early) >= 0.9, found


def test_a_quarter_in_which_only_seasons_change_is_quiet() -> None:
    """Else: the message comes every autumn, and in the year that matters nobody reads it."""
    found = [worlds.flagged(worlds.world(100 + seed, False, CUSTOMERS)) for seed in range(WORLDS)]
    assert found.count(None) >= WORLDS - 1, found


@pytest.mark.parametrize("silent", [True, False])
def test_the_curve_finds_what_shows_by_a_third_whatever_the_model_has_seen(silent: bool) -> None:
    """Else: a model that fits its training window too well expects too much of every later week."""
    random = np.random.default_rng(1)
    hazard = np.exp(random.normal(-0.3, 0.8, 20_000))
    early, late = random.random((2, 20_000)) < 1 - np.exp(-hazard / np.array([[3], [1.5]]))
    short, whole = early, early | late
    if silent:
        short, whole = ~early, ~(early | late)
    true = np.exp(-hazard) if silent else 1 - np.exp(-hazard)
    odds = np.log(true / (1 - true)) + 0.6 * (whole - true)  # it has seen the labels, and leans to them
    past = partial.Past(1 / (1 + np.exp(-odds)), whole * 1.0, short * 1.0, np.arange(20_000))
    curve = partial.learn([past])
    third = np.exp(-hazard / 3) if silent else 1 - np.exp(-hazard / 3)
    assert curve.expected(true).mean() == pytest.approx(third.mean(), rel=0.03)
    band = np.argsort(true)[:2_000], np.argsort(true)[-2_000:]
    for some in band:
        assert curve.expected(true)[some].mean() == pytest.approx(third[some].mean(), rel=0.15)


def test_what_the_curve_does_not_know_counts_as_doubt() -> None:
    """Else: a curve learnt from a few hundred customers condemns a model by its own error."""
    random, misses = np.random.default_rng(2), []
    for _ in range(60):
        hazard = np.exp(random.normal(-0.3, 0.6, 400))
        true = np.exp(-hazard)
        early = random.random(400) < 1 - np.exp(-hazard / 3)
        late = random.random(400) < 1 - np.exp(-hazard * 2 / 3)
        pasts = [partial.Past(true, ~(early | late) * 1.0, ~early * 1.0, np.arange(400))]
        curve = partial.learn(pasts)
        off = curve.expected(true).mean() / np.exp(-hazard / 3).mean() - 1
        misses.append(off / curve.doubt(true))
    assert 0.7 < np.std(misses) < 1.4
    assert (
        performance.judge([curve.rows(true, ~early * 1.0, np.arange(400))], performance.Spreads()).rows == 400
    )

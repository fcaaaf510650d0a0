"""Training again, the gate deciding. If these fail, monitoring releases what the gate would keep back."""

from dataclasses import replace
from pathlib import Path

import pytest
from copies import trained_copy_of

from features.moments import DAY
from features.settings import Settings
from monitoring import retraining
from serving import releases
from training import registered, registry


@pytest.fixture
def shop(trained_once: Settings, tmp_path: Path) -> Settings:
    """The trained home with its registry, which a test may change."""
    return trained_copy_of(trained_once, tmp_path / "home")


def _forget(settings: Settings) -> None:
    with registry.opened(settings, alone=True) as client:
        client.delete_registered_model_alias("churn_28d", registered.CHALLENGER)


def test_a_challenger_of_this_week_is_not_made_again(shop: Settings) -> None:
    """Else: what the gate keeps back is trained anew every night."""
    told = retraining.retrain(shop, "churn_28d")
    assert told.trained is None
    assert told.words.en.startswith("churn_28d version 1 is trained, and the gate ")
    assert "churn_28d版本1已训练" in told.words.zh
    later = replace(shop, as_of=shop.now() + 7 * DAY)
    assert retraining._waiting(later, "churn_28d", later.now()) is None


def test_the_gate_decides_and_nothing_is_released_unless_the_shop_wants_it(shop: Settings) -> None:
    """Else: a model goes live at night that nobody looked at, or that does not beat recency."""
    _forget(shop)
    told = retraining.retrain(shop, "churn_28d", automatic=False)
    assert told.trained is not None
    assert told.trained.reused, "the same data and seed: nothing is fitted twice"
    assert not told.promoted
    assert "churn_28d" not in releases.names(shop)
    if told.objections:
        assert "the gate keeps it back" in told.words.en
    else:
        assert "`propensity promote churn_28d` releases it" in told.words.en
    told = retraining.retrain(shop, "churn_28d", automatic=True)
    assert told.promoted == (not told.objections)
    assert ("churn_28d" in releases.names(shop)) == told.promoted
    if told.promoted:
        again = retraining.retrain(shop, "churn_28d", automatic=True)
        assert "in force, is less than a week behind" in again.words.en
        assert again.trained is None, "what was released this week is as good as new"
        assert not again.promoted

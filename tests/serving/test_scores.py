"""Scores of lists of customers, in process: who gets one, who does not, and why."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from running import CUSTOMERS, settings_of, small_build
from tiny import TINY_FEATURES, TINY_MOMENT, tiny_card, tiny_model, tiny_rows

from features import online
from features.builds import Build
from features.settings import Settings
from serving import releases
from serving.api import Answered, NoScore, Score, ScoreRequest
from serving.cards import FeatureCard, Members
from serving.scores import Scorer


def cards_of(build: Build) -> tuple[FeatureCard, ...]:
    return tuple(msgspec.structs.replace(f, hash=build.features[f.name]) for f in tiny_card().features)


@pytest.fixture
def published(tmp_path: Path) -> tuple[Settings, Build]:
    settings = settings_of(tmp_path / "home")
    build = small_build(settings)
    online.publish(settings, build, TINY_MOMENT)
    return settings, build


def test_who_is_outside_a_targets_population_gets_no_score_for_it(
    published: tuple[Settings, Build], tmp_path: Path
) -> None:
    """A probability for somebody the model never saw the like of would be invented."""
    settings, build = published
    members = Members("orders_90d", build.features["orders_90d"])
    target = msgspec.structs.replace(tiny_card().target, members=members)
    for name, changes in (("buyers", {"target": target}), ("everyone", {})):
        tiny_model(tmp_path / name, name, features=cards_of(build), **changes)
        releases.publish(settings, tmp_path / name, name, "1")
    answer = Scorer(settings).answer(ScoreRequest(CUSTOMERS[:200]), "id")  # type: ignore[arg-type]
    bought = tiny_rows(len(CUSTOMERS))[:200, TINY_FEATURES.index("orders_90d")] > 0
    assert 0 < np.count_nonzero(bought) < 200, "the rows must tell the two cases apart"
    for result, member in zip(answer.results, bought, strict=True):
        assert isinstance(result, Answered)
        buyers, everyone = result.scores
        assert isinstance(everyone, Score)
        if member:
            assert isinstance(buyers, Score)
        else:
            assert isinstance(buyers, NoScore)
            assert buyers.error.code == "outside_population"
            assert "with an order in the last 90 days" in buyers.error.detail


def test_the_order_of_published_columns_does_not_change_a_score(tmp_path: Path) -> None:
    """LightGBM scores whatever stands in a column: a reordered row would be answered, wrongly."""
    answers = []
    for number, names in enumerate((TINY_FEATURES, TINY_FEATURES[::-1])):
        settings = settings_of(tmp_path / str(number))
        build = small_build(settings, names=names)
        online.publish(settings, build, TINY_MOMENT)
        tiny_model(tmp_path / f"model{number}", "churn_28d", features=cards_of(build))
        releases.publish(settings, tmp_path / f"model{number}", "churn_28d", "1")
        answers.append(Scorer(settings).answer(ScoreRequest(CUSTOMERS[:50]), "id"))  # type: ignore[arg-type]
    assert answers[0] == answers[1]

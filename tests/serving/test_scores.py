"""Scores of lists of customers, in process: who gets one, who does not, and why."""

from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from builds_by_hand import write_build
from running import CUSTOMERS, release, settings_of, small_build
from tiny import TINY_FEATURES, TINY_MOMENT, tiny_card, tiny_model, tiny_rows

from features import online
from features.compute.builds import Build
from features.settings import Settings
from serving import batch, releases
from serving.api import Answered, Identity, NoScore, Score, ScoreRequest, Unanswered
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


def test_a_percentile_is_of_the_build_that_is_answered_from(
    published: tuple[Settings, Build], tmp_path: Path
) -> None:
    """A place among other rows is a wrong number; the right one must come without a restart."""
    settings, build = published
    released = release(settings, tmp_path, build, "churn_28d")
    batch.score(settings, released, build, TINY_MOMENT)
    scorer = Scorer(settings)

    def percentile() -> float | None:
        (result,) = scorer.answer(ScoreRequest(["c0001"]), "id").results
        assert isinstance(result, Answered)
        (score,) = result.scores
        assert isinstance(score, Score)
        return score.percentile

    assert percentile() is not None
    rows = {TINY_MOMENT: (CUSTOMERS[:300], tiny_rows(300, seed=1))}
    other = write_build(settings, TINY_FEATURES, rows, log="corrected")
    online.publish(settings, other, TINY_MOMENT)
    assert percentile() is None, "the other build was not scored yet"
    table = pq.read_table(batch.score(settings, released, other, TINY_MOMENT))
    assert percentile() == table["percentile"].to_pylist()[1]


def test_an_identity_of_nobody_is_never_a_customer_without_a_name(tmp_path: Path) -> None:
    """Whoever cannot be named must not be answered with somebody's scores."""
    settings = settings_of(tmp_path / "home")
    rows = tiny_rows(3)
    build = write_build(settings, TINY_FEATURES, {TINY_MOMENT: (["", "c1", "c2"], rows)})
    online.publish(settings, build, TINY_MOMENT)
    release(settings, tmp_path, build, "churn_28d")
    asked = ScoreRequest([Identity("crm", "7"), "c2", Identity("crm", "8"), "c1", "c9"])
    results = Scorer(settings).answer(asked, "id").results
    assert [r.customer_id for r in results] == [None, "c2", None, "c1", "c9"]
    assert [isinstance(r, Answered) for r in results] == [False, True, False, True, False]
    only = Scorer(settings).answer(ScoreRequest([Identity("crm", "7")]), "id").results
    assert isinstance(only[0], Unanswered)

"""Against what is in force, over every origin. If it fails, one lucky month decides what is released."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from cards_by_hand import model_by_hand

from features.errors import ReleaseCorrupt, TrainingError
from features.moments import DAY, parse_moment
from serving import models
from serving.models import FeatureCard, Model
from serving.releases import Release
from training import backtest, comparison, contest, gate
from training.candidates import Parameters
from training.samples import Dataset, Part, Timeline
from training.targets import catalogue

M = parse_moment("2017-10-01")
NAMES = ("days_since_order", "orders_90d")
PEOPLE = 500
TARGET = replace(catalogue()["churn_28d"], name="churn_7d", horizon_days=7)
QUICK = Parameters(rounds=20)


def world() -> Dataset:
    """Four weekly origins; both features tell the label, the first much more."""
    rng = np.random.default_rng(3)
    moments = [M - weeks * 7 * DAY for weeks in range(10, -1, -1)]
    n = len(moments) * PEOPLE
    x = rng.normal(size=(n, 2)).astype(np.float32)
    label = (rng.random(n) < 1 / (1 + np.exp(-2 * x[:, 0] + 0.3 * x[:, 1]))).astype(np.float64)
    at = np.repeat([int(m.timestamp() * 1e6) for m in moments], PEOPLE)
    when = Timeline(tuple(moments[:-1]), tuple(moments[-4:]), 7 * DAY, M + 7 * DAY)
    rows = Part(x, label, np.tile(np.arange(PEOPLE), len(moments)), np.zeros(n, np.bool_))
    learnt = {o: label[np.isin(at, [int(m.timestamp() * 1e6) for m in when.known(o)])] for o in when.origins}
    return Dataset(NAMES, when, tuple(map(str, range(PEOPLE))), rows, at, learnt)


DATA = world()


@pytest.fixture(scope="module")
def walked() -> list[backtest.Step]:
    return backtest.walk(DATA, 1, QUICK, alone=True)


def model_of(folder: Path, step: backtest.Step, names: Sequence[str], weeks_old: int = 0) -> Model:
    """What that step fitted, as a version that learnt from nothing after so many weeks before the test."""
    card = models.load(model_by_hand(folder / "by_hand")).card
    end = DATA.timeline.test - (1 + weeks_old) * 7 * DAY
    card = msgspec.structs.replace(
        card,
        kind=step.candidate,
        target=msgspec.structs.replace(card.target, name=TARGET.name, horizon_days=7),
        features=tuple(FeatureCard(name, "h" * 16, "days", name, name) for name in names),
        trained_on=msgspec.structs.replace(card.trained_on, start=end, end=end, seed=1),
        parameters=asdict(QUICK),
    )
    parts = step.fitted[step.candidate].components
    return models.save(folder / "model", card, parts, step.calibration, step.part.matrix[:5])


def read(names: Sequence[str]) -> Dataset:
    return DATA.of([NAMES.index(name) for name in names])


def test_a_champion_is_judged_at_every_origin_by_itself_where_it_can_be_and_else_by_its_recipe(
    walked: list[backtest.Step], tmp_path: Path
) -> None:
    """Else: one month decides, or a champion is judged by what it was told."""
    challenger = model_of(tmp_path / "new", walked[-1], NAMES)
    poor = backtest.walk(read(NAMES[1:]), 1, QUICK, alone=True)
    champion = model_of(tmp_path / "old", poor[-2], NAMES[1:], weeks_old=1)
    found = contest.fought(challenger, champion, TARGET, DATA, walked, read)
    assert (found.origins, found.itself, found.moment) == (4, 2, DATA.timeline.test)
    parts = [step.part for step in walked]
    theirs = [
        *(step.scores["model"] for step in poor[:2]),
        *(champion.score(part.matrix[:, 1:].copy()) for part in parts[2:]),
    ]
    for place, scores in enumerate(([step.scores["model"] for step in walked], theirs)):
        means = [contest_auc(part.label, score) for part, score in zip(parts, scores, strict=True)]
        assert found.figures[place]["auc"]["value"] == pytest.approx(np.mean(means), abs=1e-6)
    assert found.gains["auc_gain"]["low"] > 0
    assert gate.against_champion(found) == []
    last = contest.paired(TARGET, [M], [contest.Rows.of(parts[-1], NAMES)], [walked[-1].scores["model"]],
                          [theirs[-1]], 1)  # fmt: skip
    wide, narrow = (of.gains["auc_gain"]["high"] - of.gains["auc_gain"]["low"] for of in (last, found))
    assert narrow < wide  # four months know more than one
    assert {segment.feature for segment in found.segments} == set(NAMES)
    assert sum(segment.rows for segment in found.segments) == 2 * 4 * PEOPLE


def contest_auc(label: np.ndarray, score: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(label, score))


def test_the_same_recipe_gains_nothing_and_is_refused_with_the_number_of_origins(
    walked: list[backtest.Step], tmp_path: Path
) -> None:
    """Else: every retraining is released, since the backtest of the new one is compared with nothing."""
    model = model_of(tmp_path, walked[-1], NAMES)
    fitted = []
    found = contest.fought(model, model, TARGET, DATA, walked, lambda names: fitted.append(names) or DATA)
    assert fitted == []  # nothing is fitted twice
    assert found.gains["auc_gain"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    (said,) = gate.against_champion(found)
    assert "(over 4 origins)" in said.en
    assert "4个时点" in said.zh
    late = model_of(tmp_path / "late", walked[-1], NAMES, weeks_old=-1)
    with pytest.raises(TrainingError, match="has learnt from labels"):
        contest.fought(model, late, TARGET, DATA, walked, read)


def test_what_came_of_it_is_kept_beside_the_version_for_that_very_champion(
    walked: list[backtest.Step], tmp_path: Path
) -> None:
    """Else: the gate answers with the figures against a champion of before, or fits everything again."""
    model = model_of(tmp_path, walked[-1], NAMES)
    found = contest.fought(model, model, TARGET, DATA, walked, read)
    folder, card = tmp_path / "model", model.card
    assert comparison.kept(folder, card) is None
    before = sorted(path.name for path in folder.iterdir())
    comparison.keep(folder, comparison.Contest(card.version, card.trained_on, found))
    assert sorted(path.name for path in folder.iterdir()) == before  # the release is not touched
    known = comparison.kept(folder, card)
    assert known is not None
    assert known.compared == found
    other = msgspec.structs.replace(card, trained_on=msgspec.structs.replace(card.trained_on, seed=2))
    assert comparison.kept(folder, other) is None
    no_settings = Release("churn_7d", card.version, model)
    assert contest.compared(None, folder, no_settings) == found  # type: ignore[arg-type]
    (tmp_path / "contest" / f"{card.version}.json").write_text("{")
    with pytest.raises(ReleaseCorrupt, match="delete it"):
        comparison.kept(folder, card)

"""Models of effects: plain files, read back to the bit, refused when they are not what was judged."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from tiny import TINY_FEATURES, TINY_MOMENT, tiny_card, tiny_rows
from trials import trial_by_hand

from features.compute.builds import Build
from features.errors import ReleaseCorrupt, ReleaseError
from features.files import sha256
from features.settings import Settings
from serving import effects, kinds, releases
from serving.cards import FeatureCard, ModelCard, TargetCard, TestedOn, Text, TrainedOn
from serving.effects import EffectsModel, OutcomeToSave
from serving.examples import synthetic_examples
from training.uplift import Uplift, fit
from training.uplift_learners import Learned, Outcomes
from training.uplift_trial import Trial

MOMENT = datetime(2017, 12, 1, tzinfo=UTC)


def card_of(trial: Trial) -> ModelCard:
    text = Text("Effects", "效果")
    return ModelCard(
        name="uplift", version="1", kind=effects.KIND, currency="USD",
        target=TargetCard("uplift", 28, "everyone", "profit", text, "good"),
        features=tuple(FeatureCard(name, "0" * 8, "", name, name) for name in trial.names),
        trained_on=TrainedOn("b", "l", MOMENT, MOMENT, len(trial), 0.0, 1),
        tested_on=TestedOn(MOMENT, len(trial), 0.0), metrics={}, baselines={},
    )  # fmt: skip


@pytest.fixture(scope="module")
def fitted() -> tuple[Trial, Uplift]:
    trial, _ = trial_by_hand("varies", rows=3_000)
    return trial, fit(trial, "profit", {"mail": 0.2})


def s_learner(trial: Trial) -> Learned:
    everyone = np.ones(len(trial), np.bool_)
    return Outcomes(trial.matrix, trial.arm, 3).fit(everyone, trial.outcomes["profit"], 1).learned()


def saved(folder: Path, fitted: tuple[Trial, Uplift]) -> EffectsModel:
    """Two outcomes, of a ridge or trees and of an S-learner."""
    trial, found = fitted
    s = s_learner(trial)
    one = found.to_save()
    two = OutcomeToSave("retention", found.lines, s.parts, (0.0, 0.0, 0.0), 1, False)
    quantiles = np.nanquantile(trial.matrix, np.linspace(0, 1, 11), axis=0)
    examples = synthetic_examples(quantiles, np.full(5, 0.05), seed=1)
    return effects.save(folder, card_of(trial), trial.arms, "randomised", [one, two], examples)


def test_what_is_served_is_what_was_learnt(tmp_path: Path, fitted: tuple[Trial, Uplift]) -> None:
    """Else: decisions are taken on other effects than the report showed."""
    trial, found = fitted
    model = saved(tmp_path / "one", fitted)
    scored = model.score(trial.matrix)
    assert scored.effect.shape == (3_000, 2, 3)
    assert np.allclose(scored.effect[:, 0], found.estimated(trial.matrix), atol=1e-9)
    assert (scored.error[:, :, 1:] > 0).all()
    assert not scored.effect[:, :, 0].any()
    alone = np.vstack([model.score(trial.matrix[[i]]).effect for i in range(40)])
    assert alone.tobytes() == scored.effect[:40].tobytes()
    could = np.random.default_rng(1).random((3_000, 3)) < 0.6
    could[:, 0] = True
    assert found.personal
    given = model.policy(scored, could)
    assert np.array_equal(given, found.policy(trial.matrix, could))
    assert could[np.arange(3_000), given].all(), "nobody gets what is not possible"
    raw = s_learner(trial).raw(trial.matrix)[:, 0]
    assert np.allclose(scored.effect[:, 1, 1], found.lines[0].effect(raw), atol=1e-9)


def test_the_same_model_is_the_same_bytes(tmp_path: Path, fitted: tuple[Trial, Uplift]) -> None:
    """Else: nobody can tell whether two releases differ."""
    sums = []
    for name in ("one", "two"):
        saved(tmp_path / name, fitted)
        sums.append(sha256(tmp_path / name / "SHA256SUMS"))
    assert sums[0] == sums[1]


def test_a_changed_folder_does_not_load(tmp_path: Path, fitted: tuple[Trial, Uplift]) -> None:
    """Else: somebody edits an effect by hand and the service acts on it."""
    folder = tmp_path / "one"
    saved(folder, fitted)
    path = folder / "model.json"
    text = path.read_text()
    path.write_text(text.replace('"slope": 0.', '"slope": 1.'))
    with pytest.raises(ReleaseCorrupt, match=r"model.json was changed"):
        effects.load(folder)
    path.write_text(text.replace('"evidence": "randomised"', '"evidence": "prior"'))
    (folder / "SHA256SUMS").unlink()
    effects.folders.sign(folder)
    with pytest.raises(ReleaseCorrupt, match="on prior evidence"):
        effects.load(folder)
    with pytest.raises(ReleaseError, match="holds no model"):
        effects.load(tmp_path)


def test_everyone_is_scored_with_a_released_model(
    tmp_path: Path, tiny_settings: Settings, tiny_build: Callable[..., Build]
) -> None:
    """Else: effects are known of those in the trial alone, and no campaign can use them."""
    rows, random = tiny_rows(2_000), np.random.default_rng(1)
    arm = random.integers(0, 2, 2_000)
    y = np.where(rows[:, 0] > 10, 4.0, -3.0) * arm + random.normal(size=2_000)
    trial = Trial(
        rows, TINY_FEATURES, ("nothing", "mail"), arm, np.full(2_000, 0.5), {"margin": y}, np.arange(2_000)
    )
    found = fit(trial, "margin", {"mail": 0.1})
    assert found.personal
    examples = synthetic_examples(np.nanquantile(rows, np.linspace(0, 1, 11), axis=0), np.full(8, 0.05), 1)
    folder = tmp_path / "model"
    card = tiny_card("uplift", kind=effects.KIND)
    effects.save(folder, card, trial.arms, "randomised", [found.to_save()], examples)
    build = tiny_build(300)
    release = releases.publish(tiny_settings, folder, "uplift", "1")
    path = kinds.score(tiny_settings, release, build, TINY_MOMENT)
    table = pq.read_table(path)
    matrix = np.column_stack([build.read(TINY_MOMENT, [name])[name].to_numpy() for name in TINY_FEATURES])
    assert table.column_names[-3:] == ["arm", "margin:mail", "margin:mail:error"]
    assert np.allclose(table["margin:mail"].to_numpy(), found.estimated(matrix)[:, 1], atol=1e-9)
    assert table["arm"].to_pylist() == [trial.arms[place] for place in found.policy(matrix)]
    assert set(table["arm"].to_pylist()) == {"nothing", "mail"}
    before = path.read_bytes()
    assert kinds.score(tiny_settings, release, build, TINY_MOMENT).read_bytes() == before

"""Models of effects: plain files, read back to the bit, refused when they are not what was judged."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from trials import trial_by_hand

from features.errors import ReleaseCorrupt, ReleaseError
from features.files import sha256
from serving import effects
from serving.cards import FeatureCard, ModelCard, TargetCard, TestedOn, Text, TrainedOn
from serving.effects import EffectsModel, OutcomeToSave
from serving.examples import synthetic_examples
from training.uplift import Trial, Uplift, fit
from training.uplift_learners import Learned, Outcomes

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

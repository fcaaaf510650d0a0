"""Fit a model on the past, calibrate it on later time, judge it and its baselines on time later still.

How the recipe was chosen: by backtest on earlier origins of the demo's log (2017-08-13 to 11-05). Small
trees on few features each gained .017 of AUC over LightGBM's defaults; averaging seeds, or blending with a
spline-logistic regression, gained nothing that lasted, so neither is done; an isotonic calibration lost more
than a logistic one; refitting on the calibration's weeks gained .002 of AUC and cost the level that was just
calibrated. `train` as of an earlier moment repeats the test there.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from features.compute.builds import Build
from features.definitions import catalogue as feature_catalogue
from features.definitions import feature_hash
from features.errors import TrainingError, UsageError
from features.log import Log
from features.moments import iso
from features.settings import Settings
from features.shop import shop_of
from features.words import Words
from serving import models
from serving.booster import Rows
from serving.cards import ModelCard
from serving.examples import synthetic_examples
from training import dataset, describe, evaluate, plots, registry
from training.dataset import Dataset, Part
from training.targets import catalogue

Progress = Callable[[str, int, int], None] | None
Numbers = NDArray[np.float64]

RECIPE = 1  # raise when the same settings would give another model
STEPS = 6
_DETERMINISTIC = {
    "objective": "binary",
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,  # the same sums everywhere; and on busy cores several threads are slower than one
    "verbosity": -1,
}
ROUNDS = 200
TREES = {
    "learning_rate": 0.03,
    "num_leaves": 7,
    "min_data_in_leaf": 200,  # some ten customers at all their moments
    "feature_fraction": 0.3,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 10.0,
    "max_bin": 254,  # with the number of leaves: within the compiled scorer's limits
}
UNTUNED_ROUNDS = 100  # LightGBM's own default, as are all its parameters there


@dataclass(frozen=True)
class Trained:
    """A version of a model in the registry. `folder`: its files. `reused`: it was there, nothing fitted."""

    run_id: str
    version: str
    card: ModelCard
    folder: Path
    verdict: Words
    reused: bool = False


def train(
    settings: Settings, target_name: str, as_of: datetime, seed: int = 1, progress: Progress = None
) -> Trained:
    """Train, judge and register a model as of a moment; it becomes the challenger.

    The same data, recipe and seed are the same version, found without fitting again. UsageError for an
    unknown target, NotEnoughData if the log is too short, FeatureMismatch if the build is older than
    today's declarations.
    """
    shop, log, build = shop_of(settings), Log.open(settings), Build.open(settings)
    declared = catalogue(shop.declared("TARGETS"))
    if target_name not in declared:
        raise UsageError(f"no target {target_name}; there are: {', '.join(declared)}")
    target = declared[target_name]
    features = feature_catalogue(shop.declared("FEATURES"))
    here = {name: feature for name, feature in features.items() if name in build.features}
    build.require(((n, feature_hash(f, features, shop.of_log)) for n, f in here.items()), "training")
    plan = dataset.plan(target, build, as_of)
    learnt, left_out = dataset.columns(build, features, plan)
    recipe = {
        "recipe": RECIPE, "build": build.id, "log": log.fingerprint, "target": repr(target), "seed": seed,
        "fit": [iso(m) for m in plan.fit], "calibration": [iso(m) for m in plan.calibration],
        "test": iso(plan.test), "known_by": iso(plan.known_by), "trees": TREES, "rounds": ROUNDS,
        "lightgbm": lightgbm.__version__, "features": learnt, "currency": shop.currency,
        "words": sha256(repr([features[n].words for n in learnt]).encode()).hexdigest(),  # the card has them
    }  # fmt: skip
    key = sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
    with registry.registering(settings, target.name) as door:
        if (found := door.find(key)) is not None:
            _say(progress, f"{target.name}: version {found.version} is this very model", STEPS)
            card = models.load(found.folder).card
            return Trained(found.run_id, found.version, card, found.folder, describe.verdict_of(card), True)
        _say(progress, f"{target.name}: reading features through Feast", 0)
        data = dataset.read(settings, log, build, target, plan, learnt)
        _say(progress, f"{target.name}: fitting {len(data.fit):,} rows, {len(learnt)} features", 1)
        booster = _boosted(data.fit, learnt, {**TREES, "seed": seed}, ROUNDS)
        calibration = _calibration(booster, data.calibration)
        version = door.next_version()
        card = describe.card_of(shop, target, build, plan, data, version, seed, features, left_out)
        parts = [models.Trees(booster.model_to_string())]
        with TemporaryDirectory(prefix="propensity-") as scratch:
            examples = _examples(data.fit.matrix, seed)
            # Saved once to be judged: what is judged is the very score that is served.
            model = models.save(Path(scratch) / "judged", card, parts, calibration, examples)
            scores = {"model": model.score(data.test.matrix)}
            _say(progress, f"{target.name}: fitting the baselines", 2)
            scores |= _baselines(data, seed)
            _say(progress, f"{target.name}: judging on {len(data.test):,} customers", 3)
            judged = evaluate.judge(data.test.label, scores, seed)
            card = describe.with_figures(card, judged)
            folder = Path(scratch) / "model"
            model = models.save(folder, card, parts, calibration, examples)
            assert np.array_equal(model.score(data.test.matrix), scores["model"])
            _say(progress, f"{target.name}: drawing", 4)
            gain = booster.feature_importance("gain")
            drawn = plots.draw(Path(scratch) / "plots", data.test.label, scores, learnt, gain)
            _say(progress, f"{target.name}: registering version {version}", 5)
            kept = door.register(folder, drawn, card, key, recipe)
    _say(progress, f"{target.name}: version {version} registered", STEPS)
    return Trained(kept.run_id, kept.version, model.card, kept.folder, describe.verdict_of(model.card))


def _boosted(part: Part, names: tuple[str, ...], parameters: Mapping[str, Any], rounds: int) -> Any:
    rows = lightgbm.Dataset(part.matrix, part.label, feature_name=list(names), free_raw_data=True)
    return lightgbm.train({**_DETERMINISTIC, **parameters}, rows, rounds)


def _calibration(booster: Any, later: Part) -> models.Calibration:
    """Platt's scaling on time later than the fit. TrainingError if the model ranks that time backwards."""
    raw = booster.predict(later.matrix, num_threads=1)
    a, b = evaluate.recalibration(later.label, raw)
    if a <= 0:
        raise TrainingError(
            f"on later time the model ranks customers backwards (calibration slope {a:.2f}): the past does "
            "not predict the present here. Look at what changed in the log before training again"
        )
    return models.LogisticCalibration(round(a, 9), round(b, 9))  # beyond, another processor may differ


def _baselines(data: Dataset, seed: int) -> dict[str, Numbers]:
    """What a sceptic would do instead, fitted on every label known at the test's moment."""
    known, test = data.known, data.test
    scores = {}
    for name, columns in {
        "recency": ("days_since_order",),
        "logistic_rfm": ("days_since_order", "orders_90d", "spend_90d"),
    }.items():
        places = [data.features.index(column) for column in columns]
        train, later = (_logs(part.matrix[:, places]) for part in (known, test))
        mean, scale = train.mean(axis=0), train.std(axis=0)
        model = LogisticRegression().fit((train - mean) / scale, known.label)
        scores[name] = model.predict_proba((later - mean) / scale)[:, 1]
    booster = _boosted(known, data.features, {"seed": seed}, UNTUNED_ROUNDS)
    scores["untuned_lightgbm"] = booster.predict(test.matrix, num_threads=1)
    return scores


def _logs(rows: Rows) -> Numbers:
    """log(1 + x), since counts, money and days are skewed; 0 for what is not known, and for negative sums."""
    logs: Numbers = np.log1p(np.maximum(np.nan_to_num(rows.astype(np.float64)), 0))
    return logs


def _examples(rows: Rows, seed: int) -> Rows:
    """Made-up rows over what the columns look like; a column that is never known is never known here."""
    missing = np.isnan(rows).mean(axis=0)
    quantiles = np.zeros((11, rows.shape[1]))
    known = missing < 1
    quantiles[:, known] = np.nanquantile(rows[:, known], np.linspace(0.01, 0.99, 11), axis=0)
    return synthetic_examples(quantiles, missing, seed)


def _say(progress: Progress, what: str, done: int) -> None:
    if progress:
        progress(what, done, STEPS)

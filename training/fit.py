"""Train a model: walk forward over the origins, keep what the last one fitted, judge it, register it.

The model that is released is the one that was judged: fitted on what was known at the test's moment. The
weeks since then are not learnt from, and so its figures are its own.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import lightgbm
import numpy as np

from features import contracts
from features.compute.builds import Build
from features.definitions import Feature, feature_hash
from features.definitions import catalogue as feature_catalogue
from features.errors import FeatureError
from features.log import Log
from features.moments import iso
from features.settings import Settings
from features.shop import Shop, shop_of
from features.words import Words
from serving import models
from serving.booster import Rows
from serving.cards import ModelCard
from serving.examples import synthetic_examples
from training import (
    backtest,
    comparison,
    contest,
    describe,
    evaluate,
    labels,
    leaks,
    page,
    plots,
    registry,
    samples,
    segments,
)
from training.candidates import Parameters
from training.distributed import Cluster
from training.targets import LABELS, Target, of_shop
from training.treatment import held_out

if TYPE_CHECKING:
    from training.tune import Found, Search

Progress = Callable[[str, int, int], None] | None

_REBUILD = "Declarations changed since: `propensity features backfill`, or `build` if the log changed too"
RECIPE = 9  # raise when the same settings would give another model, or card


@dataclass(frozen=True)
class Trained:
    """A version of a model in the registry. `folder`: its files. `reused`: it was there, nothing fitted.
    `found`: by a search for parameters, if there was one. `against`: how it does beside the version in force,
    if there is one that it can be compared with."""

    run_id: str
    version: str
    card: ModelCard
    folder: Path
    verdict: Words
    reused: bool = False
    found: "Found | None" = None
    against: comparison.Contest | None = None


@dataclass(frozen=True)
class _Plan:
    """What is to be learnt from what: the same for a look at its features and for the training itself."""

    shop: Shop
    log: Log
    build: Build
    target: Target
    features: dict[str, Feature]  # all that are declared
    here: dict[str, Feature]  # those that the build has
    when: samples.Timeline
    learnt: tuple[str, ...]
    left_out: tuple[str, ...]
    scarce: bool
    recipe: dict[str, Any]

    def read(self, settings: Settings) -> samples.Dataset:
        return samples.read(settings, self.log, self.build, self.target, self.when, self.learnt)

    def look(self, data: samples.Dataset) -> leaks.Looked:
        return leaks.look(self.log, self.build, self.shop, self.here, self.target, data)


def _planned(
    settings: Settings, target_name: str, as_of: datetime, seed: int, origins: int, workers: int
) -> _Plan:
    """Errors as `train`, of what is known before anything is read."""
    shop, log, build = shop_of(settings), Log.open(settings), Build.open(settings)
    target = of_shop(shop).named(target_name)
    features = feature_catalogue(shop.declared("FEATURES"))
    here = require_declared(build, features, shop)
    when = samples.timeline(target, build, as_of, origins)
    learnt, left_out = samples.columns(build, features, when)
    # An as-of by which nothing more is known that a label asks about is the same training.
    settled = labels.settled(log, target, when.test + when.horizon, when.known_by)
    scarce = len(when.origins) < min(origins, samples.LEAST_ORIGINS)
    recipe = {
        "recipe": RECIPE, "build": build.id, "log": log.fingerprint, "target": repr(target), "seed": seed,
        "moments": [iso(m) for m in when.moments], "origins": [iso(m) for m in when.origins],
        "known_by": iso(settled), "scarce": scarce, "lightgbm": lightgbm.__version__,
        "features": learnt, "leaks": leaks.RULES, "currency": shop.currency,
        "attributes": [shop.segments, shop.protected],
        "words": sha256(repr([features[n].words for n in learnt]).encode()).hexdigest(),  # the card has them
    }  # fmt: skip
    if workers:  # other sums than this machine's, and of so many parts
        recipe["distributed"] = workers
    return _Plan(shop, log, build, target, features, here, when, learnt, left_out, scarce, recipe)


def look(
    settings: Settings, target_name: str, as_of: datetime, seed: int = 1, origins: int = samples.ORIGINS,
    searched: bool = False, cluster: Cluster | None = None,
) -> leaks.Looked | None:  # fmt: skip
    """Whether features look ahead, as `train` asks it of a target: of several, before any is trained.

    None where the very model is registered: it was asked then. searched: parameters will be searched for, so
    that nobody knows yet which model it will be. Errors as `train`.
    """
    plan = _planned(settings, target_name, as_of, seed, origins, len(cluster.workers) if cluster else 0)
    if not searched:
        key = _key(plan.recipe | asdict(Parameters(monotone=LABELS[plan.target.label].monotone)))
        if registry.knows(settings, plan.target.name, key):
            return None
    return plan.look(plan.read(settings))


def _key(recipe: Mapping[str, Any]) -> str:
    return sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()


def train(
    settings: Settings,
    target_name: str,
    as_of: datetime,
    seed: int = 1,
    progress: Progress = None,
    origins: int = samples.ORIGINS,
    search: "Search | None" = None,
    cluster: Cluster | None = None,
    looked: Sequence[leaks.Looked] = (),
) -> Trained:
    """Train, judge and register a model as of a moment; it becomes the challenger.

    origins: of the backtest, at most; with fewer it is known less well, and candidates cannot compete.
    search: for parameters, before anything is judged; None: the defaults.
    cluster: that fits the trees; None: this machine.
    looked: what `look` found of this target and of others: what looks ahead for one does so for all.

    The same data, recipe and seed are the same version, found without fitting again. UsageError for an
    unknown target, NotEnoughData if the log is too short, FeatureMismatch if the build is older than
    today's declarations, FeatureError if a feature breaks its contract, TrainingError if one looks ahead or
    the target is declared wrongly.
    """
    plan = _planned(settings, target_name, as_of, seed, origins, len(cluster.workers) if cluster else 0)
    shop, log, build, target, when = plan.shop, plan.log, plan.build, plan.target, plan.when
    features, learnt, recipe = plan.features, plan.learnt, plan.recipe
    leaks.require_none(looked, target, learnt)
    steps = len(when.origins) + 5

    def say(what: str, done: int) -> None:
        if progress:
            progress(f"{target.name}: {what}", done, steps)

    def read() -> tuple[samples.Dataset, Mapping[str, Any]]:
        say("reading features through Feast", 0)
        data = plan.read(settings)
        own = next((one for one in looked if one.target == target.name), None)
        if own is None:
            say("looking for features that look ahead", 0)
            own = plan.look(data)
            leaks.require_none([own], target, learnt)
        return data.without_events(), own.asked

    defaults = Parameters(monotone=LABELS[target.label].monotone)
    parameters, data, found = defaults, None, None
    asked: Mapping[str, Any] = {}
    if search is not None:
        from training import tune  # loads Optuna, which only a search needs

        data, asked = read()
        found = tune.search(settings, data, recipe, defaults, search, progress, cluster)
        parameters = found.parameters
    recipe |= asdict(parameters)
    key = _key(recipe)
    with registry.registering(settings, target.name) as door:
        champion = registry.champion_of(settings, target.name)
        if (kept := door.find(key)) is not None:
            say(f"version {kept.version} is this very model", steps)
            card = models.load(kept.folder).card
            verdict = describe.verdict_of(card)
            against = None if champion is None else comparison.kept(kept.folder, champion.model.card)
            return Trained(kept.run_id, kept.version, card, kept.folder, verdict, True, found, against)
        if data is None:
            data, asked = read()
        say(f"fitting at {len(when.origins)} origins, {len(learnt)} features", 1)
        walked = backtest.walk(
            data,
            seed,
            parameters,
            lambda n: say(f"origin {n} of {len(when.origins)} is judged", 1 + n),
            cluster=cluster,
        )
        last = walked[-1]
        fitted = last.fitted[last.candidate]
        version = door.next_version()
        card = describe.card_of(shop, target, build, data, last, version, seed, features, plan.left_out)
        card = describe.with_recipe(card, asdict(parameters), asked)
        if found and parameters != defaults:
            card = describe.with_search(card, found.origins)
        with TemporaryDirectory(prefix="propensity-") as scratch:
            examples = _examples(data.known(when.test).matrix, seed)
            # Saved once to be judged: what is judged is the very score that is served.
            model = models.save(Path(scratch) / "judged", card, fitted.components, last.calibration, examples)
            scores = {**last.scores, "model": model.score(last.part.matrix)}
            held = [
                held_out(shop, [data.ids[n] for n in step.part.customer], step.origin, step.part.treated)
                for step in walked
            ]
            say(f"judging on {len(last.part):,} customers", steps - 3)
            judged = evaluate.judge(last.part.label, scores, seed)
            backtested = describe.backtest_of(walked, held, plan.scarce, target.adjusted)
            card = describe.with_figures(card, judged, backtested)
            card = describe.with_details(card, model, last.part, scores)
            units = {name: features[name].unit for name in learnt}
            groups = segments.described(log, shop, _judged(data, walked), when.origins, units, seed)
            card = describe.with_segments(card, groups)
            folder = Path(scratch) / "model"
            model = models.save(folder, card, fitted.components, last.calibration, examples)
            assert np.array_equal(model.score(last.part.matrix), scores["model"])
            drawn = plots.draw(Path(scratch) / "plots", last.part.label, scores, learnt, fitted.gain)
            drawn.append(page.write(Path(scratch) / "card.html", folder, target.population.words))
            say(f"registering version {version}", steps - 2)
            params = recipe | ({"trials": found.trials} if found else {})
            kept = door.register(folder, drawn, card, key, params)
    against = None
    if champion is not None:
        say(f"comparing with version {champion.version}, in force", steps - 1)
        against = contest.tried(settings, kept.folder, model, champion, target, data, walked, cluster)
    say(f"version {version} registered", steps)
    verdict = describe.verdict_of(model.card)
    return Trained(kept.run_id, kept.version, model.card, kept.folder, verdict, found=found, against=against)


def require_declared(build: Build, features: Mapping[str, Feature], shop: Shop) -> dict[str, Feature]:
    """The declared features that a build has. FeatureMismatch if it has one otherwise than it is declared,
    FeatureError, as `propensity check` says it, for a declaration that breaks its contract, built or not.
    """
    if wrong := contracts.shop_problems(shop, features):
        raise FeatureError("; ".join(wrong))
    here = {name: feature for name, feature in features.items() if name in build.features}
    needed = ((name, feature_hash(feature, features, shop.of_log)) for name, feature in here.items())
    build.require(needed, "training", _REBUILD)
    return here


def _judged(data: samples.Dataset, walked: Sequence[backtest.Step]) -> segments.Judged:
    parts = [step.part for step in walked]
    customer = np.concatenate([part.customer for part in parts])
    return segments.Judged(
        np.concatenate([part.matrix for part in parts]),
        np.concatenate([step.scores["model"] for step in walked]),
        np.concatenate([part.label for part in parts]),
        customer,
        np.repeat(np.arange(len(parts)), [len(part) for part in parts]),
        [data.ids[number] for number in customer],
    )


def _examples(rows: Rows, seed: int) -> Rows:
    """Made-up rows over what the columns look like; a column that is never known is never known here."""
    missing, quantiles = np.ones(rows.shape[1]), np.zeros((11, rows.shape[1]))
    for place, column in enumerate(rows.T):  # all at once would copy all rows several times
        missing[place] = np.isnan(column).mean()
        if missing[place] < 1:
            quantiles[:, place] = np.nanquantile(column, np.linspace(0.01, 0.99, 11))
    return synthetic_examples(quantiles, missing, seed)

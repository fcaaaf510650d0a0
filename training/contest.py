"""A model against the one in force, at every origin of its backtest: what the gate judges by.

At an origin after the last label that the champion has learnt from, the champion scores itself, as old as it
then was. At earlier ones it would be told what it knows, so its recipe (its features, parameters and seed)
is fitted anew on what was known then, as the backtest does with the model. Two of the same recipe are alike
there by construction, and differ by their age alone.

What came of it is kept beside the version (`comparison.keep`).
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from features.compute.builds import Build
from features.errors import FeatureMismatch, TrainingError
from features.log import Log
from features.moments import DAY, iso
from features.settings import Settings
from features.shop import shop_of
from serving import models
from serving.cards import ModelCard
from serving.models import Model
from serving.releases import Release
from training import backtest, samples
from training.backtest import Step
from training.candidates import Parameters
from training.compare import Rows, known, paired, require_unseen
from training.comparison import Comparison, Contest, keep, kept
from training.distributed import Cluster
from training.samples import Dataset
from training.targets import LABELS, Target, of_shop


def compared(settings: Settings, folder: Path, champion: Release) -> Comparison:
    """The version of a folder against the champion, as it was kept; else from both their recipes, and kept.

    TrainingError if the champion has learnt from what both would be judged by, or if the build holds the
    origins no more; FeatureMismatch if it lacks a feature of one.
    """
    if (found := kept(folder, champion.model.card)) is not None:
        return found.compared
    model = models.load(folder)
    log, build = Log.open(settings), Build.open(settings)
    target, card = of_shop(shop_of(settings)).named(model.card.target.name), model.card
    theirs = champion.classifier
    require_unseen(theirs, target, card.tested_on.moment)
    for side in (model, theirs):
        build.require(side.card.needs, by=f"{side.card.name} {side.card.version}")
    number = max(1, len(card.backtest.get("origins", ())))
    when = samples.timeline(target, build, card.tested_on.moment + target.horizon_days * DAY, number)
    if when.test != card.tested_on.moment:
        raise TrainingError(
            f"build {build.id} has no snapshot of {iso(card.tested_on.moment)}, when {card.name} "
            f"{card.version} was judged: build it (`propensity features build --since`), or train again"
        )
    names = [feature.name for feature in card.features]
    data = samples.read(settings, log, build, target, when, names).without_events()
    walked = backtest.walk(data, card.trained_on.seed, parameters_of(card, target), alone=True)
    return hold(settings, folder, model, champion, target, data, walked)


def tried(
    settings: Settings, folder: Path, model: Model, champion: Release, target: Target, data: Dataset,
    walked: Sequence[Step], cluster: Cluster | None = None,
) -> Contest | None:  # fmt: skip
    """As `hold`; None for a champion that answers nobody any more, or that has learnt what would judge it."""
    try:
        hold(settings, folder, model, champion, target, data, walked, cluster)
    except (FeatureMismatch, TrainingError):
        return None  # the gate says why, if it still holds when it is asked
    return kept(folder, champion.model.card)


def hold(
    settings: Settings, folder: Path, model: Model, champion: Release, target: Target, data: Dataset,
    walked: Sequence[Step], cluster: Cluster | None = None,
) -> Comparison:  # fmt: skip
    """Compare a version with the champion by its walk over the origins of the data, and keep what came of it.

    Errors as those of `compared`.
    """
    theirs, build = champion.classifier, Build.open(settings)
    build.require(theirs.card.needs, by=f"{theirs.card.name} {theirs.card.version}")

    def read(names: Sequence[str]) -> Dataset:
        log = Log.open(settings)
        return samples.read(settings, log, build, target, data.timeline, names).without_events()

    found = fought(model, theirs, target, data, walked, read, cluster)
    keep(folder, Contest(champion.version, theirs.card.trained_on, found))
    return found


def fought(
    model: Model, champion: Model, target: Target, data: Dataset, walked: Sequence[Step],
    read: Callable[[Sequence[str]], Dataset], cluster: Cluster | None = None,
) -> Comparison:  # fmt: skip
    """A model, by its walk over the origins of its data, against another. read: the same with its features.

    TrainingError if the other has learnt from what both would be judged by.
    """
    require_unseen(champion, target, data.timeline.test)
    rows = [Rows.of(step.part, data.features) for step in walked]
    own = [step.scores["model"] for step in walked[:-1]] + [model.score(walked[-1].part.matrix)]
    names = tuple(feature.name for feature in champion.card.features)
    recipe = (names, champion.card.trained_on.seed, parameters_of(champion.card, target))
    if recipe != (data.features, model.card.trained_on.seed, parameters_of(model.card, target)):
        walked = backtest.walk(read(names), *recipe[1:], cluster=cluster, alone=True)
    old = [step.origin >= known(champion) for step in walked]
    said = [
        champion.score(step.part.matrix) if itself else step.scores["model"]
        for step, itself in zip(walked, old, strict=True)
    ]
    return paired(target, data.timeline.origins, rows, own, said, sum(old))


def parameters_of(card: ModelCard, target: Target) -> Parameters:
    """What its candidates were fitted with; the defaults of a card that does not say."""
    return Parameters(**card.parameters or {"monotone": LABELS[target.label].monotone})

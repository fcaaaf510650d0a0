"""What customers are worth: training such a model, and everyone's value in a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from features.compute.builds import Build
from features.errors import TrainingError, UsageError
from features.log import Log
from features.moments import iso
from features.settings import Settings
from propensity.steps import Progress, as_of_of
from propensity.tables import console, figure, say, table

if TYPE_CHECKING:
    from serving.cards import ModelCard
    from training.fit import Trained

NAME = "value"


def train_value(settings: Settings, seed: int, progress: Progress = None) -> Trained:
    """Train, judge and register a value model as of `settings.as_of`, or the log's end."""
    from training import value_training

    return value_training.train(settings, as_of_of(settings, Log.open(settings)), seed, progress)


def value_everyone(settings: Settings, version: str | None, out: Path | None, dry_run: bool) -> str:
    """Everyone's value as of `settings.as_of`, or of the last snapshot, by a registered version."""
    from serving import value, value_scores
    from training import registry

    if not registry.aliases(settings, NAME):
        raise TrainingError("no value model is registered: run `propensity train value`")
    version = registry.resolve(settings, NAME, version)
    build = Build.open(settings)
    moment = settings.as_of or build.moments[-1]
    if moment not in build.moments:
        raise UsageError(
            f"there is no snapshot of {iso(moment)}: run `propensity features build` as of it, or "
            f"ask for the last one, {iso(build.moments[-1])}"
        )
    if dry_run:
        return f"would value everyone with version {version} as of {iso(moment)}"
    model = value.load(registry.folder_of(settings, NAME, version))
    path = value_scores.score(settings, model, build, moment, out)
    valued = pq.ParquetFile(path).read(["value"])["value"]
    known = len(valued) - valued.null_count
    return f"{known:,} of {len(valued):,} customers valued with version {version} as of {iso(moment)}: {path}"


def show_value(card: ModelCard) -> None:
    """Figures on later time with their intervals, what BG/NBD alone would have had, and the verdict."""
    shown = table(f"{card.name} version {card.version}: {card.target.words.en}", "", "model", "BG/NBD")
    alone = card.baselines.get("bgnbd", {})
    for name, one in card.metrics.items():
        other = alone.get(name)
        shown.add_row(name.replace("_", " "), figure(one), figure(other) if other else "")
    console().print(shown)
    for note in card.notes:
        say(note.en)

"""Every kind of model that a release can be: how it is loaded, and how everyone is scored with it.

To add a kind, add it to KINDS, after those whose scores it reads; publishing, promotion, builds and
`propensity score` then know it. A model that is of no target is named as its kind, and has a trainer
(`training/trainers.py`) and a gate (`training/gates.py`); what scores nobody (`stated`) has neither.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from features.compute.builds import Build
from features.errors import ReleaseCorrupt, UsageError
from features.files import NO_JSON
from features.settings import Settings
from serving import (
    batch,
    effects,
    effects_scores,
    models,
    prices,
    rulebook,
    segmentation,
    segmentation_scores,
    value,
    value_scores,
)
from serving.cards import ModelCard

if TYPE_CHECKING:
    from serving.releases import Release


class Loaded(Protocol):
    """A model of any kind."""

    @property
    def card(self) -> ModelCard:
        """What it says of itself."""


class Kind(NamedTuple):
    """What differs between kinds.

    load: a verified model of a folder; ReleaseError if there is none, ReleaseCorrupt with the reason.
    score: writes everyone's figures at a build's moment to a parquet file, by default of the score store;
    None of what scores nobody.
    figure: the column of that file that is null for whom the model does not speak of.
    """

    load: Callable[[Path], Loaded]
    score: Callable[[Settings, "Release", Build, datetime, Path | None], Path] | None
    figure: str


CLASSIFIER = Kind(models.load, batch.score, "probability")  # of a target: what /v1/scores answers
KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(("blend", "lightgbm", "logistic", "spline", "trees"), CLASSIFIER),
    value.KIND: Kind(value.load, value_scores.score, "value"),
    segmentation.KIND: Kind(segmentation.load, segmentation_scores.score, "stage"),
    effects.KIND: Kind(effects.load, effects_scores.score, "arm"),
    rulebook.KIND: Kind(rulebook.load, None, ""),
    prices.KIND: Kind(prices.load, None, ""),
}
OF_NO_TARGET = tuple(name for name, kind in KINDS.items() if kind is not CLASSIFIER)
# What is trained by no one -> the command that makes a version of it.
STATED = {prices.KIND: "propensity decide --all", rulebook.KIND: f"propensity promote {rulebook.KIND}"}


def of(card: ModelCard) -> Kind:
    """The kind of a loaded model."""
    return KINDS[card.kind]


def load(folder: Path) -> Loaded:
    """The model of a folder, verified as its kind does. ReleaseError, ReleaseCorrupt."""
    name = said(folder).kind
    if name and name not in KINDS:
        raise ReleaseCorrupt(
            f"{folder} is a model of kind {name!r}: this version of Propensity knows {', '.join(KINDS)}. "
            "Update it, or promote a version that it trained"
        )
    return KINDS.get(name, CLASSIFIER).load(folder)  # without a card, any says what is wrong


def said(folder: Path) -> "Said":
    """What a folder's card says of itself, not verified; nothing if it cannot be read."""
    try:
        return msgspec.json.decode((folder / "card.json").read_bytes(), type=Said)
    except (OSError, *NO_JSON):
        return Said()


def score(
    settings: Settings, release: "Release", build: Build, moment: datetime, out: Path | None = None
) -> Path:
    """Score every customer of a build's snapshot; return the file. NoBuild, FeatureMismatch or LogError.

    UsageError for what scores nobody.
    """
    score = of(release.model.card).score
    if score is None:
        raise UsageError(f"{release.name} scores nobody: `propensity models card {release.name}` shows it")
    return score(settings, release, build, moment, out)


def scores(release: "Release") -> bool:
    """Whether it says anything of each customer."""
    return of(release.model.card).score is not None


def made_by(name: str) -> str:
    """The command that makes a version of that name."""
    return STATED.get(name, f"propensity train {name}")


def in_order(loaded: Iterable["Release"]) -> list["Release"]:
    """Releases such that what one reads of another's scores is written before."""
    places = list(KINDS)
    return sorted(loaded, key=lambda release: places.index(release.model.card.kind))


class Said(msgspec.Struct):
    """Of a card, before it is verified; empty where it does not say."""

    kind: str = ""
    name: str = ""

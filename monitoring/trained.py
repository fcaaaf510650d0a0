"""The snapshots that a release was trained on, as far as they are left."""

from datetime import datetime
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from features.compute.builds import Build
from features.errors import FeatureMismatch, NoBuild
from features.moments import iso
from features.settings import Settings
from serving.cards import ModelCard

Number = TypeVar("Number", bound=np.generic)


def training_build(settings: Settings, card: ModelCard, otherwise: Build) -> Build:
    """The build that the model was trained on, or one with the same features if that is gone."""
    try:
        trained = Build.open(settings, card.trained_on.build)
        trained.require(card.needs, by=f"release {card.name} {card.version}")
    except (NoBuild, FeatureMismatch):
        return otherwise
    return trained


def training_moments(build: Build, card: ModelCard) -> list[datetime]:
    """The build's moments in the window that the model was trained in. NoBuild if none is left."""
    window = card.trained_on
    moments = [m for m in build.moments if window.start <= m <= window.end]
    if not moments or card.tested_on.moment not in build.moments:
        raise NoBuild(
            f"build {build.id} lacks the snapshots that {card.name} {card.version} was trained on "
            f"({iso(window.start)} to {iso(window.end)}) and judged at ({iso(card.tested_on.moment)}): "
            f"run `propensity features build`, or train and promote {card.name} again"
        )
    return moments


def thin(rows: NDArray[Number], most: int) -> NDArray[Number]:
    """At most so many rows, evenly."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, max(most, 1)).astype(np.int64)]

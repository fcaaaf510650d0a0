"""What a release was trained on, as profiles; and what the published snapshot looks like beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from features.compute.builds import Build
from features.definitions import Feature
from features.errors import FeatureMismatch, NoBuild
from features.moments import DAY, iso
from features.settings import Settings
from monitoring.profiles import edges, profile, psi
from serving.cards import ModelCard
from serving.models import Model

# Of a snapshot, evenly over its customers: it adds noise of .001 to a PSI, a hundredth of a limit.
SAMPLE = 20_000
# A PSI below this moves no decision: the convention since credit scoring ("no significant change").
FLOOR = 0.1
# Above the most unusual of some 30 training moments: seasons that training saw are no news. Without the
# margin one of 30 quiet snapshots would be a new record by chance.
MARGIN = 1.25
FEWEST = 4  # moments without which nothing can be said of what is usual
Number = TypeVar("Number", bound=np.generic)
LONGEST = 365 * DAY  # measures of all known history settle like the longest window


@dataclass(frozen=True)
class Drift:
    """One feature of one release. psi, limit: nan where the window is still filling."""

    name: str
    psi: float
    limit: float
    filling: bool

    @property
    def drifted(self) -> bool:
        return not self.filling and self.psi > self.limit


@dataclass(frozen=True)
class Evidence:
    """What the checks judge of one release. members: customers in its target's population."""

    card: ModelCard
    moment: datetime
    age: timedelta  # of the published features
    stale_after: timedelta
    expire_after: timedelta
    members: int
    members_then: tuple[int, ...]  # at each training moment
    features: tuple[Drift, ...]
    prediction_psi: float  # scores now against scores at the moment that the model was judged at


@dataclass(frozen=True)
class Rows:
    """A sample of the members at one moment: values float32 [rows, features] in the card's order."""

    moment: datetime
    members: int
    values: NDArray[np.float32]


def gather(
    settings: Settings,
    model: Model,
    build: Build,
    moment: datetime,
    declared: Mapping[str, Feature],
) -> Evidence:
    """Compare a build's snapshot with what the model was trained on and judged at.

    FeatureMismatch if the build is not what the release reads; NoBuild if no snapshot is left of the
    window that it was trained in.
    """
    card = model.card
    build.require(card.needs, by=f"release {card.name} {card.version}")
    trained = training_build(settings, card, build)
    now = read(build, card, moment)
    then = [read(trained, card, m) for m in training_moments(trained, card)]
    judged = read(trained, card, card.tested_on.moment)
    before, after = model.score(judged.values), model.score(now.values)
    bins = edges(before)
    return Evidence(
        card=card,
        moment=moment,
        age=settings.now() - moment,
        stale_after=settings.stale_after,
        expire_after=settings.expire_after,
        members=now.members,
        members_then=tuple(rows.members for rows in then),
        features=tuple(
            _drift(place, feature.name, then, now, trained, declared)
            for place, feature in enumerate(card.features)
        ),
        prediction_psi=psi(profile(before, bins), profile(after, bins)),
    )


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


def read(build: Build, card: ModelCard, moment: datetime) -> Rows:
    """The members of the card's population at a moment, thinned evenly to SAMPLE rows."""
    population = card.target.members
    snapshot = build.read(moment, [name for name, _ in card.needs])
    if population is not None:
        inside = np.flatnonzero(population.holds(snapshot[population.feature].to_numpy()))
    else:
        inside = np.arange(snapshot.num_rows)
    some = thin(inside, SAMPLE)
    values = np.empty((len(some), len(card.features)), np.float32)
    for place, feature in enumerate(card.features):
        values[:, place] = snapshot[feature.name].to_numpy()[some]
    return Rows(moment, len(inside), values)


def thin(rows: NDArray[Number], most: int) -> NDArray[Number]:
    """At most so many rows, evenly."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, max(most, 1)).astype(np.int64)]


def reach(name: str, declared: Mapping[str, Feature]) -> timedelta:
    """How far back a feature looks: its window, the longest of its inputs', LONGEST for all of history."""
    feature = declared.get(name)
    if feature is None:
        return LONGEST
    if feature.inputs:
        return max(reach(other, declared) for other in feature.inputs)
    return LONGEST if feature.window is None else feature.window * DAY


def _drift(
    place: int,
    name: str,
    then: Sequence[Rows],
    now: Rows,
    trained: Build,
    declared: Mapping[str, Feature],
) -> Drift:
    """Only moments at which the window lay within the log are compared: a window that still fills grows."""
    full_from = trained.log_starts_at + reach(name, declared)
    usual = [rows.values[:, place] for rows in then if rows.moment >= full_from]
    if len(usual) < FEWEST or now.moment < full_from:
        return Drift(name, float("nan"), float("nan"), filling=True)
    bins = edges(np.concatenate(usual))
    profiles = [profile(values, bins) for values in usual]
    pooled = np.sum(profiles, axis=0)
    most_unusual = max(psi(pooled - one, one) for one in profiles)
    return Drift(
        name,
        psi(pooled, profile(now.values[:, place], bins)),
        max(FLOOR, MARGIN * most_unusual),
        filling=False,
    )

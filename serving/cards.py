"""What a model says of itself: card.json of every release."""

from datetime import datetime
from typing import Any, ClassVar, Literal

import msgspec


class Text(msgspec.Struct, frozen=True):
    """Words for people, as they are in JSON."""

    en: str
    zh: str


class FeatureCard(msgspec.Struct, frozen=True):
    """A feature that the model reads; `hash` says which definition of it."""

    name: str
    hash: str
    unit: str
    en: str
    zh: str


class Members(msgspec.Struct, frozen=True):
    """Whom a model may speak of: the customers for whom this feature is above 0 at the moment."""

    feature: str
    hash: str


class TargetCard(msgspec.Struct, frozen=True):
    """What is predicted: `label` within `horizon_days`, for the customers described by `population`.

    members: the same population, for the scorer; without it, everyone. words: the target's name.
    score: what the probability is called, after "raises the"; without it, risk or chance.
    """

    name: str
    horizon_days: int
    population: str
    label: str
    words: Text
    higher_is: Literal["bad", "good"]
    score: Text | None = None
    members: Members | None = None


class TrainedOn(msgspec.Struct, frozen=True):
    """The moments trained on lie in `start`..`end` ("from" and "to" in JSON)."""

    build: str
    log: str
    start: datetime = msgspec.field(name="from")
    end: datetime = msgspec.field(name="to")
    rows: int
    base_rate: float
    seed: int


class TestedOn(msgspec.Struct, frozen=True):
    """The moment that the model was judged at."""

    __test__: ClassVar = False  # pytest would take a Test... for a test

    moment: datetime
    rows: int
    base_rate: float


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """What a model is. `features` is the order of the columns that it scores.

    metrics, baselines: name -> figure, as training wrote them. notes: caveats for people, such as
    windows that reach back beyond the start of the log.
    """

    name: str
    version: str
    kind: str
    currency: str
    target: TargetCard
    features: tuple[FeatureCard, ...]
    trained_on: TrainedOn
    tested_on: TestedOn
    metrics: dict[str, Any]
    baselines: dict[str, Any]
    notes: tuple[Text, ...] = ()

    @property
    def needs(self) -> list[tuple[str, str]]:
        """(name, hash) of each feature, as `Build.require` takes them."""
        members = self.target.members
        needs = {feature.name: feature.hash for feature in self.features}
        return list((needs | ({members.feature: members.hash} if members else {})).items())

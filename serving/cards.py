"""What a model says of itself: card.json of every release."""

import operator
from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray


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


Op = Literal[">", ">=", "==", "<=", "<", "unknown"]


class Members(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whom a model may speak of: the customers of whom `feature op value` holds at the moment.

    A feature that is not known (null) meets no comparison; `unknown` holds for exactly those customers, such
    as those without any order.
    """

    feature: str
    hash: str
    op: Op = ">"
    value: float = 0.0

    def holds(self, values: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Of whom the condition holds: bool [n], from the feature's values float32 [n], NaN for null.

        Of a single value a single answer.

        >>> Members("orders_90d", "").holds(np.array([2, 0, np.nan], np.float32)).tolist()
        [True, False, False]
        """
        return _HOLDS[self.op](values, self.value)


_HOLDS: dict[Op, Callable[[NDArray[np.float32], float], NDArray[np.bool_]]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "<=": operator.le,
    "<": operator.lt,
    "unknown": lambda values, _: values != values,
}


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


class TestedOn(msgspec.Struct, frozen=True, omit_defaults=True):
    """The moment that the model was judged at. days: what came of how many after it; None: of the horizon."""

    __test__: ClassVar = False  # pytest would take a Test... for a test

    moment: datetime
    rows: int
    base_rate: float
    days: int | None = None


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """What a model is. `features` is the order of the columns that it scores.

    metrics, baselines: name -> figure, as training wrote them, of the test's moment. backtest: the same
    recipe at several origins, the test last. curves: reliability by tenths of the test's customers, and gain.
    segments: how it does in groups of the test's customers. fairness: gaps between groups of protected
    attributes. importance: feature -> its mean absolute Shapley value over the test's customers. parameters:
    what its candidates were fitted with. leaks: what was asked of its features before anything was fitted.
    reasons: how well approximate ones agree with exact ones. notes: caveats for people, such as
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
    backtest: dict[str, Any] = msgspec.field(default_factory=dict)
    curves: dict[str, Any] = msgspec.field(default_factory=dict)
    segments: tuple[dict[str, Any], ...] = ()
    fairness: tuple[dict[str, Any], ...] = ()
    importance: dict[str, float] = msgspec.field(default_factory=dict)
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)
    leaks: dict[str, Any] = msgspec.field(default_factory=dict)
    reasons: dict[str, float] = msgspec.field(default_factory=dict)
    notes: tuple[Text, ...] = ()

    @property
    def needs(self) -> list[tuple[str, str]]:
        """(name, hash) of each feature, as `Build.require` takes them."""
        members = self.target.members
        needs = {feature.name: feature.hash for feature in self.features}
        return list((needs | ({members.feature: members.hash} if members else {})).items())

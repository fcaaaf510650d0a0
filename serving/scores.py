"""Scores of a list of customers: packed rows and released models in, one entry an id out."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from typing import cast

import numpy as np

from features.errors import (
    FeatureMismatch,
    FeaturesExpired,
    NoBuild,
    PropensityError,
    ReleaseError,
    UnknownCustomer,
)
from features.inbox import Inbox
from features.moments import from_us, iso
from features.online import PRESENT, OnlineRows, Published, Rows
from features.settings import Settings
from serving import batch
from serving.api import (
    Answered,
    BrokenModel,
    Customer,
    Failure,
    Identity,
    ModelsAnswer,
    NoScore,
    ReasonAnswer,
    Refused,
    ReleasedModel,
    Score,
    ScoreAnswer,
    ScoreRequest,
    Unanswered,
)
from serving.cards import Text
from serving.following import Releases
from serving.models import Model
from serving.problems import Offender, Problem, detail_of
from serving.reasons import Reason
from serving.releases import Places, Release

UNKNOWN = Failure("unknown_customer", "no such customer in the published features")


@dataclass(frozen=True)
class Target:
    """A released model fitted to the published rows. columns: where its features are in a packed row.

    quantiles: of the batch score of the same moment. decides: where the feature is that says whom it speaks
    of, None: of everybody. outside: its answer about everybody else.

    For the one customer that is asked about most often, numpy's every call costs as much as a number does.
    """

    release: Release
    model: Model
    columns: Places
    quantiles: np.ndarray[tuple[int], np.dtype[np.float64]] | None
    decides: int | None
    outside: NoScore

    @cached_property
    def _quantiles(self) -> list[float]:
        return [] if self.quantiles is None else self.quantiles.tolist()

    def inside(self, rows: np.ndarray) -> list[bool]:
        """Of which of these rows [n, features] it speaks."""
        members = self.model.card.target.members
        if members is None or self.decides is None:
            return [True] * len(rows)
        if len(rows) == 1:
            return [bool(members.holds(rows[0, self.decides]))]
        inside: list[bool] = members.holds(rows[:, self.decides]).tolist()
        return inside

    def percentiles(self, chances: Sequence[float]) -> Sequence[float | None]:
        """Of each probability, what share of the customers has at most that; None if none were scored."""
        if self.quantiles is None:
            return [None] * len(chances)
        if len(chances) == 1:
            return [batch.percentile_of(chances[0], self._quantiles)]
        places: list[float] = batch.percentiles(np.array(chances), self.quantiles).tolist()
        return places


class Scorer:
    """Answers from what is published and released now, following both. Serves all threads of a process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.rows = OnlineRows.open(settings)
        self.releases = Releases(settings)
        self._inbox = Inbox(settings)
        self._targets: dict[tuple[str, str, str], Target] = {}

    def published(self, as_of: datetime | None = None) -> Published:
        """What is published, if it may be answered from at that moment, default now.

        NoBuild or FeaturesExpired.
        """
        return answerable(self.rows.current(), self.settings, as_of or self.settings.now())

    def targets(
        self, published: Published, wanted: Iterable[str] | None = None
    ) -> dict[str, Target | PropensityError]:
        """Each wanted target, or all, or why one cannot be answered.

        Problem 422 for a name that was never released; empty if none was.
        """
        found: dict[str, Target | PropensityError] = {}
        for place, name in enumerate(self.releases.targets() if wanted is None else wanted):
            try:
                found[name] = self._target(published, self.releases.get(name))
            except PropensityError as error:
                released = self.releases.targets()
                if released and name not in released:
                    raise _unknown_target(place, released) from None
                found[name] = error
        return found

    def _target(self, published: Published, release: Release) -> Target:
        key = (published.id, release.name, release.version)
        target = self._targets.get(key)
        if target is None or target.quantiles is None:
            model = release.classifier
            columns = columns_of(release, published.features, published.build)
            quantiles = batch.percentile(self.settings, release, published.build, published.moment)
            members = model.card.target.members
            decides = None if members is None else list(published.features).index(members.feature)
            told = f"this target speaks only of {model.card.target.population}"
            outside = NoScore(release.name, Failure("outside_population", told))
            target = Target(release, model, columns, quantiles, decides, outside)
            self._targets = {k: t for k, t in self._targets.items() if k[1] != release.name} | {key: target}
        return target

    def require_known(self, wanted: Sequence[str] | None) -> None:
        """Problem 422 for a name that was never released, as `targets`, whatever is published."""
        released = self.releases.targets()
        for place, name in enumerate(wanted or ()):
            if released and name not in released:
                raise _unknown_target(place, released)

    def ready(self) -> list[Failure]:
        """What is not released, so that it is not answered; raises why what is set up cannot be answered."""
        targets = self.targets(self.published())
        try:
            require_one(targets)
        except ReleaseError as error:
            if targets:
                raise
            return [Failure(error.code, detail_of(error, self.settings))]
        return []

    def refused(self) -> dict[str, Refused | None]:
        """Every model with a version in force; None if that version answers, else why not and what does.

        That version may answer itself, from memory, and not be what it was on the disk. For one thread at a
        time.
        """
        published, found = self._published_or_none(), dict[str, Refused | None]()
        for name in self.releases.names():
            serving: str | None = None
            error: PropensityError | None
            try:
                release = self.releases.get(name)
                if published is not None:
                    columns_of(release, published.features, published.build)
                serving = release.version
                error = self.releases.errors.get(name) or self.releases.damage(name)
            except PropensityError as caught:
                error = caught
            found[name] = None
            if error is not None:
                failure = Failure(error.code, detail_of(error, self.settings))
                found[name] = Refused(name, serving, failure)
        return found

    def _published_or_none(self) -> Published | None:
        try:
            return self.published()
        except PropensityError:  # said by /readyz and by every score
            return None

    def answer(self, request: ScoreRequest, request_id: str) -> ScoreAnswer:
        """One entry an id, in the order asked. Problem or PropensityError only if nothing can be answered."""
        as_of = self.settings.now()
        ids = self.resolve(request.customers)
        published, known, rows = self.rows.followed([id for id in ids if id is not None])
        targets = self.targets(answerable(published, self.settings, as_of), request.targets)
        require_one(targets)
        answered = iter(self._answered(known, rows, targets, request, as_of))
        results = [(None if id is None else next(answered)) or Unanswered(id, UNKNOWN) for id in ids]
        return ScoreAnswer(request_id, iso(as_of), results)

    def one(self, customer: Customer) -> tuple[Published, Answered, dict[str, float]]:
        """One customer's scores of every released target, none of them required; what they are of, and from.

        UnknownCustomer, NoBuild or FeaturesExpired.
        """
        as_of, ids = self.settings.now(), [id for id in self.resolve([customer]) if id is not None]
        published, ids, rows = self.rows.followed(ids)
        targets = self.targets(answerable(published, self.settings, as_of))
        found = self._answered(ids, rows, targets, ScoreRequest([customer]), as_of)
        if not found or found[0] is None:
            raise UnknownCustomer(UNKNOWN.detail)
        return published, found[0], dict(zip(published.features, rows.matrix[0].tolist(), strict=True))

    def _answered(
        self,
        ids: Sequence[str],
        rows: Rows,
        targets: Mapping[str, Target | PropensityError],
        request: ScoreRequest,
        as_of: datetime,
    ) -> list[Answered | None]:
        """The answers of those customers whose rows are present, None of the others, in their order."""
        present = [status == PRESENT for status in rows.statuses]
        matrix = rows.matrix[present] if False in present else rows.matrix
        scored = iter(self._scored(matrix, targets, request))
        answered: list[Answered | None] = []
        for id, here, moment in zip(ids, present, rows.moments, strict=True):
            if here:
                known_at, told = _moment(moment)
                stale = as_of - known_at > self.settings.stale_after
                answered.append(Answered(id, told, stale, next(scored)))
            else:
                answered.append(None)
        return answered

    def models(self, request_id: str) -> ModelsAnswer:
        """Every released model with its card, or why it is not in service."""
        published = self._published_or_none()  # cards can be read without features
        models: list[ReleasedModel | BrokenModel] = []
        for name in self.releases.names():
            try:
                release = self.releases.get(name)
                if published is not None:
                    columns_of(release, published.features, published.build)
                models.append(ReleasedModel(name, release.version, release.model.card))
            except PropensityError as error:
                models.append(BrokenModel(name, Failure(error.code, detail_of(error, self.settings))))
        id = None if published is None else published.id
        return ModelsAnswer(request_id, iso(self.settings.now()), id, models)

    def resolve(self, customers: Sequence[Customer]) -> list[str | None]:
        """Customer ids; None for an identity that belongs to nobody."""
        pairs = [(c.source, c.id) for c in customers if isinstance(c, Identity)]
        if not pairs:
            return cast(list[str | None], customers)
        published = self.rows.resolve(pairs)
        known = iter(
            [found or self._inbox.resolve(*pair) for found, pair in zip(published, pairs, strict=True)]
        )
        return [next(known) if isinstance(c, Identity) else c for c in customers]

    def _scored(
        self,
        rows: np.ndarray,
        targets: Mapping[str, Target | PropensityError],
        request: ScoreRequest,
    ) -> list[list[Score | NoScore]]:
        by_customer: list[list[Score | NoScore]] = [[] for _ in range(len(rows))]
        if not by_customer:
            return by_customer
        for name, target in targets.items():
            if isinstance(target, PropensityError):
                failed = NoScore(name, Failure(target.code, detail_of(target, self.settings)))
                for scores in by_customer:
                    scores.append(failed)
                continue
            model, version = target.model, target.release.version
            matrix = rows.take(target.columns, axis=1)
            chances = model.chances(matrix)
            if not all(map(math.isfinite, chances)):
                raise ReleaseError(f"release {name} {version} gave no finite score: promote another version")
            k = request.reasons
            exact = request.exact or model.sums
            why = model.explain(matrix, k, request.exact) if k else [[]] * len(rows)
            inside, places = target.inside(rows), target.percentiles(chances)
            scored = zip(by_customer, inside, chances, places, why, strict=True)
            for scores, member, chance, place, said in scored:
                if member:
                    reasons = [_reason(reason) for reason in said] if said else []
                    scores.append(Score(name, chance, place, version, reasons, exact))
                else:
                    scores.append(target.outside)
        return by_customer


def _unknown_target(place: int, released: Sequence[str]) -> Problem:
    path, expected = f"$.targets[{place}]", f"expected one of {', '.join(released)}"
    return Problem(422, "unknown_target", f"{path}: {expected}", [Offender(path, expected)])


def answerable(published: Published, settings: Settings, as_of: datetime) -> Published:
    """What may be answered from at that moment. FeaturesExpired if too old, NoBuild if of its future."""
    age = as_of - published.moment
    if age > settings.expire_after:
        raise FeaturesExpired(
            f"the published features are of {iso(published.moment)}, {age.days} days old, limit "
            f"{settings.expire_after.days}: run `propensity features build` with newer data"
        )
    if published.moment > as_of:
        raise NoBuild(
            f"the published features are of {iso(published.moment)}, which is later than now, "
            f"{iso(as_of)}: nobody could know them. Publish with `propensity features build --as-of`"
        )
    return published


def require_one(targets: Mapping[str, Target | PropensityError]) -> None:
    """ReleaseError without any target; the first one's reason if none can be answered."""
    if not targets:
        raise ReleaseError("no target is released: run `propensity train`, then `propensity promote`")
    broken = [error for error in targets.values() if isinstance(error, PropensityError)]
    if len(broken) == len(targets):
        raise broken[0]


def columns_of(release: Release, features: Mapping[str, str], build: str) -> Places:
    """Places of a release's features among the published ones; FeatureMismatch naming each that differs."""
    for known, places in release.fitted:
        if known is features:  # most are asked about the same rows again and again
            return places
    wrong = [
        f"{name} ({'defined differently' if name in features else 'absent'})"
        for name, hash in release.model.card.needs
        if features.get(name) != hash
    ]
    if wrong:
        raise FeatureMismatch(
            f"release {release.name} {release.version} needs features that the published build {build} does "
            f"not have as they were: {', '.join(wrong)}. Publish a build that has them, or retrain"
        )
    place = {name: i for i, name in enumerate(features)}
    places = np.array([place[feature.name] for feature in release.model.card.features], dtype=np.intp)
    release.fitted[:] = [(features, places)]
    return places


def members_of(release: Release, rows: np.ndarray, features: Mapping[str, str]) -> np.ndarray:
    """Which rows [n, features] are in the release's population: bool [n]."""
    members = release.model.card.target.members
    if members is None:
        return np.ones(len(rows), bool)
    return members.holds(rows[:, list(features).index(members.feature)])


@lru_cache(1024)  # most customers were known at the same moment
def _moment(us: int) -> tuple[datetime, str]:
    moment = from_us(us)
    return moment, iso(moment)


def _reason(reason: Reason) -> ReasonAnswer:
    text = Text(reason.text.en, reason.text.zh)
    return ReasonAnswer(reason.feature, reason.value, reason.contribution, text)

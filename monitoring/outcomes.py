"""Of one release: what came of what it said, moment by moment, and whether it still holds.

Interventions bend labels: a customer whom a coupon brought back was at risk nevertheless. So the model is
judged by customers left alone by lot (the policy's holdout), however long it takes until they are enough; by
everyone if nobody was contacted. Where there is no holdout, those who happened to be left alone say
something, and no proof: who is contacted may depend on what they did meanwhile. Whoever is silent is written
to, and those left over are the lively ones.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from itertools import takewhile
from typing import Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.compute.builds import Build
from features.errors import FeatureMismatch, NoBuild, NotEnoughData
from features.moments import DAY
from features.settings import Settings
from features.words import Words
from monitoring import keeping, partial, performance
from monitoring.labels import Facts, Outcomes, Told, backfilled, joined, may_be_asked, told, told_at
from monitoring.partial import Curve, Past
from monitoring.performance import Estimated, Judged, Rows, Spreads, State
from monitoring.trained import training_build, training_moments
from serving import releases
from serving.cards import ModelCard, TrainedOn
from serving.models import Model
from training.treatment import LEAST

Who = Literal["everyone", "held_out", "untreated", "treated"]
Bools = NDArray[np.bool_]

MOMENTS, WEEK = 13, 7 * DAY  # a quarter is looked at; nearer ones are nearly the same look
SAMPLE, PAST = 20_000, 26  # customers, and earlier moments, that shorter labels are learnt from at most
RARE = 0.01  # of customers contacted: so few bend nothing


@dataclass(frozen=True)
class Figures:
    """Of a version, at one moment, or pooled over several whose windows do not overlap (the last is told).

    asks: what the model predicts. days: of the outcomes; fewer than the horizon: a partial label. groups: who
    -> figures; whoever is not there is absent. judged_on: whose decide. estimated: what the scores alone
    would say.
    """

    release: str
    version: str
    asks: Words
    moments: tuple[datetime, ...]
    days: int
    horizon: int
    backfilled: bool
    groups: Mapping[Who, Judged]
    judged_on: Who
    estimated: Estimated

    @property
    def moment(self) -> datetime:
        """The last one."""
        return self.moments[-1]

    @property
    def partial(self) -> bool:
        """Whether the horizon is not over."""
        return self.days < self.horizon

    @property
    def known_at(self) -> datetime:
        """When the last of the outcomes was known."""
        return self.moment + self.days * DAY

    @property
    def decides(self) -> Judged:
        """The figures of those that the model is judged on."""
        return self.groups[self.judged_on]

    @property
    def by_lot(self) -> bool:
        """Whether those were left alone by lot, or nobody was contacted: else a difference is no proof."""
        return self.judged_on in ("everyone", "held_out")

    @property
    def calibration(self) -> State:
        """Level and slope of those who decide."""
        return self._off("calibration")

    @property
    def ranking(self) -> State:
        """Whether they are ranked as well as at the test."""
        return self._off("ranks")

    def _off(self, what: str) -> State:
        state: State = getattr(self.decides, what)
        if state != "off" or self.by_lot:
            return state
        # Contacts move the treated one way, and whom they choose moves those left alone the other: what both
        # have lost alike is none of their doing.
        treated = self.groups.get("treated")
        alike = treated is not None and getattr(treated, what) == "off"
        if alike and what == "calibration" and treated is not None:
            alike = treated.level.z * self.decides.level.z > 0
        return "off" if alike else "unsure"


@dataclass(frozen=True)
class Held:
    """What `gather` found of a release. figures: by days, then moment; pooled: one each number of days.
    unsaid: why there is nothing of partial labels, if there could be."""

    card: ModelCard
    figures: tuple[Figures, ...]
    pooled: tuple[Figures, ...]
    unsaid: str | None = None

    def latest(self, days: int | None = None) -> Figures | None:
        """The newest of the version itself, of so many days (None: of the horizon)."""
        wanted = self.card.target.horizon_days if days is None else days
        of = [one for one in self.figures if one.days == wanted and one.version == self.card.version]
        return of[-1] if of else None


def gather(settings: Settings, name: str, build: Build, known_by: datetime | None = None) -> Held:
    """Judge the release in force, and what was told in its name before, by what is known by a moment.

    Moments of the last quarter whose windows are over, since the release's test. ReleaseError without a
    release, TrainingError if the shop asks another question by now; without a mature moment it is empty.
    """
    release = releases.load(settings, name)
    model = release.classifier
    facts = Facts.of(settings, model.card, known_by)
    judges = {release.version: _Judge(settings, build, model, facts)}
    scored = told_at(settings, name)
    fed = all(build.features.get(feature) == hash for feature, hash in model.card.needs)
    asked = {m for m in build.moments if fed and may_be_asked(model, m)}
    said: dict[datetime, list[Told]] = {}
    codes, unsaid = _Codes(), None
    found, pooled = list[Figures](), list[Figures]()
    for days in (*facts.shares(), facts.target.horizon_days):
        mature = spaced([m for m in sorted(asked.union(scored)) if facts.mature(m, days)])
        for moment in mature:
            if moment not in said:
                said[moment] = list(_said(settings, facts, model, build, moment, moment in asked))
        joins = joined(facts, [one for moment in mature for one in said[moment]], days)
        for version in {one.told.version for one in joins} - set(judges):
            other = releases.load(settings, name, version).classifier
            judges[version] = _Judge(settings, build, other, facts)
        try:
            found += [judges[one.told.version].figures([one], codes) for one in joins]
            own = apart([one for one in joins if one.told.version == release.version], days * DAY)
            if len(own) > 1:
                pooled.append(judges[release.version].figures(own, codes))
        except (NoBuild, FeatureMismatch, NotEnoughData) as error:  # nothing to learn shorter labels from
            unsaid = str(error)
    return Held(model.card, tuple(found), tuple(pooled), unsaid)


def _said(
    settings: Settings, facts: Facts, model: Model, build: Build, moment: datetime, ask: bool
) -> Iterable[Told]:
    """What was told at a moment; ask: the model says it too, if another told it, or nobody."""
    then = told(settings, facts.log, model.card.name, moment)
    if then is not None:
        yield then
    if ask and (then is None or then.version != model.card.version):
        yield backfilled(model, build, moment)


def spaced(moments: Sequence[datetime]) -> list[datetime]:
    """The last moment, and of those before it one a week, as many as are looked at."""
    kept: list[datetime] = []
    for moment in reversed(moments):
        if len(kept) < MOMENTS and (not kept or moment <= kept[-1] - WEEK):
            kept.append(moment)
    return kept[::-1]


def apart(outcomes: Sequence[Outcomes], by: timedelta) -> list[Outcomes]:
    """The last, and of those before it as many as lie so far apart: their windows share no day."""
    kept: list[Outcomes] = []
    for one in reversed(outcomes):
        if not kept or one.told.moment <= kept[-1].told.moment - by:
            kept.append(one)
    return kept[::-1]


class _Codes:
    """A number for each customer, the same at every moment."""

    def __init__(self) -> None:
        self._known = pa.array([], pa.string())

    def of(self, customers: pa.ChunkedArray) -> NDArray[np.int64]:
        place = pc.index_in(customers, self._known)
        if place.null_count:
            new = pc.unique(customers.filter(pc.is_null(place)))
            self._known = pa.concat_arrays([self._known, new])
            place = pc.index_in(customers, self._known)
        codes: NDArray[np.int64] = place.cast(pa.int64()).to_numpy()
        return codes


class _Judge:
    """One version: what is to be expected of it, learnt once."""

    def __init__(self, settings: Settings, build: Build, model: Model, facts: Facts) -> None:
        self._settings, self._build, self._model, self._facts = settings, build, model, facts
        self._partial: dict[int, tuple[Curve, Spreads]] = {}

    @cached_property
    def _of_card(self) -> Spreads:
        return performance.spreads_of(self._model.card)

    def figures(self, outcomes: Sequence[Outcomes], codes: _Codes) -> Figures:
        """Of outcomes of one number of days, of moments in their order."""
        days, horizon = outcomes[0].days, self._facts.target.horizon_days
        curve, spreads = (None, self._of_card) if days == horizon else self.short(days)
        rows = []
        for one in outcomes:
            customer = codes.of(one.told.customers)
            if curve is None:
                row = Rows(one.label, one.told.score, customer)
            else:
                row = curve.rows(one.told.score, one.label, customer)
            rows.append(replace(row, eventful=self._facts.eventful(one.told.moment, days)))
        groups = {
            who: performance.judge([row.where(some) for row, some in zip(rows, where, strict=True)], spreads)
            for who, where in _apart(outcomes).items()
        }
        card = self._model.card
        return Figures(
            card.name, card.version, Words(card.target.words.en, card.target.words.zh),
            tuple(one.told.moment for one in outcomes), days, horizon,
            any(one.told.backfilled for one in outcomes), groups, decides(groups),
            performance.estimated(np.concatenate([one.told.score for one in outcomes])),
        )  # fmt: skip

    def short(self, days: int) -> tuple[Curve, Spreads]:
        """What to expect by so many days, learnt from the window that the model was trained and tested in.

        Learnt once and kept: snapshots of that window are deleted in time. NoBuild if they are gone before.
        """
        card = self._model.card
        file = self._settings.home / "profiles" / "labels" / card.name / f"{card.version}-{days}.json"
        if days not in self._partial:
            known = keeping.read(file, _Kept)
            if known is None or known.trained_on != card.trained_on:
                known = _Kept(card.trained_on, *self._learnt(days))
                keeping.write(file, known)
            self._partial[days] = known.curve, known.spreads
        return self._partial[days]

    def _learnt(self, days: int) -> tuple[Curve, Spreads]:
        card, codes = self._model.card, _Codes()
        build = training_build(self._settings, card, self._build)
        chosen = list[datetime]()
        for moment in sorted({*training_moments(build, card), card.tested_on.moment}, reverse=True):
            if len(chosen) < PAST and (not chosen or moment <= chosen[-1] - days * DAY):
                chosen.append(moment)
        then = [backfilled(self._model, build, moment, SAMPLE) for moment in chosen]
        whole = joined(self._facts, then, self._facts.target.horizon_days)
        short = joined(self._facts, then, days)
        pasts = [_past(*both, codes) for both in zip(whole, short, strict=True)]
        curve, test = partial.learn(pasts), pasts[0]
        of_test = curve.rows(test.score, test.short, test.customer)
        return curve, partial.spreads(curve, self._of_card, of_test)


class _Kept(msgspec.Struct, frozen=True):
    """What was learnt of a version's shorter labels, and of which training: numbers are given again."""

    trained_on: TrainedOn
    curve: Curve
    spreads: Spreads


def _past(whole: Outcomes, short: Outcomes, codes: _Codes) -> Past:
    """Both labels of an earlier moment's customers: of those left alone, if they are enough to learn from."""
    alone = ~whole.treated
    if alone.sum() < LEAST:
        alone = np.ones(len(alone), np.bool_)
    customer = codes.of(whole.told.customers)[alone]
    return Past(whole.told.score[alone], whole.label[alone], short.label[alone], customer)


def _apart(outcomes: Sequence[Outcomes]) -> dict[Who, list[Bools]]:
    """Who is judged apart, by moment; nobody is left out of `everyone`."""
    everyone = [np.ones(len(one.label), np.bool_) for one in outcomes]
    groups: dict[Who, list[Bools]] = {"everyone": everyone}
    if any(one.treated.any() for one in outcomes):
        groups["untreated"] = [~one.treated for one in outcomes]
        groups["treated"] = [one.treated for one in outcomes]
        if any(one.held.any() for one in outcomes):
            groups["held_out"] = [one.held for one in outcomes]
    return groups


def on_end(figures: Sequence[Figures], what: Literal["calibration", "ranking"]) -> list[Figures]:
    """The losses that are the last of those figures, in succession."""
    losses = list(takewhile(lambda one: getattr(one, what) == "off", reversed(figures)))
    return losses[::-1]


def learnt_by(losses: Sequence[Figures]) -> datetime | None:
    """When at the earliest a version can have learnt from what came after the first of these losses, and been
    judged by what came after that: a horizon each. None if that day is past by now."""
    first = losses[0]
    earliest = first.moment + 2 * first.horizon * DAY
    return earliest if earliest > losses[-1].known_at else None


def decides(groups: Mapping[Who, Judged]) -> Who:
    """Whose figures decide: everyone's, if hardly anybody was contacted; the holdout's, also while it is too
    small to tell; where nobody was held out by lot, with less right, of those left alone."""
    treated = groups.get("treated")
    if treated is None or treated.rows <= RARE * groups["everyone"].rows:
        return "everyone"
    return "held_out" if "held_out" in groups else "untreated"

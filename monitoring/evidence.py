"""What the checks judge: gathered once a run, of each release and of the shop."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import numpy as np

from features.compute.builds import Build
from features.definitions import Feature
from features.errors import PropensityError
from features.log import Log
from features.moments import DAY
from features.settings import Settings
from features.shop import Shop
from features.words import Words
from monitoring import drift, indicators, panels, received, routes
from monitoring import outcomes as outcomes_of
from monitoring import weeks as weeks_of
from monitoring.occasions import Occasions
from monitoring.outcomes import Held
from monitoring.panels import Panel, Shift
from monitoring.profiles import PROBABILITY, Profiles, Store, day_of
from monitoring.weeks import Separable
from serving import ledger, releases
from serving.cards import ModelCard
from serving.ledger import Ledger

DAYS = 730  # that a first run looks back: two years know every season and occasion twice
DRIFTED_WEEKS = 4  # whose drift is looked at, to tell what lasts from what passes
NEVER = np.iinfo(np.int64).max  # the day on which such a window is full
RECENT = 10  # days for which a fault of a table explains what features do


@dataclass(frozen=True)
class Evidence:
    """What the checks judge of one release.

    age: of the published features. panel: its figures from day to day, the last row today's. faulty: tables
    of the log that stood out lately, with what did. log_ends: until when the log is complete, in the shop's
    zone.
    """

    card: ModelCard
    moment: datetime
    age: timedelta
    stale_after: timedelta
    expire_after: timedelta
    panel: Panel
    drift: drift.Drift
    separable: Separable | None
    faulty: Mapping[str, Sequence[Shift]]
    outcomes: Held | None = None  # what came of what was told; None: nothing can be joined yet
    unjoined: str = ""  # why not
    drifted: Mapping[date, frozenset[str]] = field(default_factory=dict)  # in the weeks before, too
    log_ends: datetime | None = None

    @property
    def stale(self) -> bool:
        """Whether answers say so: what has not moved for days is no drift, and is not judged."""
        return self.age > self.stale_after


@dataclass(frozen=True)
class ShopEvidence:
    """What the checks judge of the shop: its tables and indicators; the last row is the last whole day.

    ended: tables that are meant to bring nothing any more.
    """

    moment: datetime
    received: Panel
    indicators: Panel
    absent: Mapping[str, Words]  # indicators that cannot be told, and why
    decisions: Panel | None = None  # None: there is no ledger
    ended: frozenset[str] = frozenset()

    @property
    def tables(self) -> tuple[str, ...]:
        """Those of the log of which something was received."""
        return tuple(dict.fromkeys(t for subject in self.received.subjects for t in sorted(subject.tables)))


def of_shop(
    settings: Settings, log: Log, shop: Shop, moment: datetime, occasions: Occasions, days: int = DAYS
) -> ShopEvidence:
    """What the tables received, and the indicators, on the days that are over at the moment."""
    last = (moment.astimezone(shop.zone).date() - date(1970, 1, 1)).days - 1
    first = max(day_of(log.starts_at), last - days)
    tables = received.daily(log, shop, first, last)
    epoch = date(1970, 1, 1)
    told, absent = indicators.told(settings, log, epoch + first * DAY, epoch + last * DAY)
    return ShopEvidence(
        moment,
        panels.of_received(tables, occasions),
        panels.of_indicators(told, first, last, occasions),
        absent,
        _decisions(settings, shop, moment, first, last, occasions),
        routes.declared(shop).ended,
    )


def _decisions(
    settings: Settings, shop: Shop, moment: datetime, first: int, last: int, occasions: Occasions
) -> Panel | None:
    """What was decided on each day, of the zone as it is at the moment."""
    if not ledger.exists(settings):
        return None
    shift = moment.astimezone(shop.zone).utcoffset() or timedelta(0)
    since = datetime(1970, 1, 1, tzinfo=UTC) + first * DAY - shift
    with closing(Ledger(settings)) as kept:
        rates = kept.rates(since, since + (last - first + 1) * DAY, shift)
    return panels.of_decisions(rates, first, last, occasions) if rates else None


def faulty(shop: ShopEvidence) -> dict[str, tuple[Shift, ...]]:
    """Tables that stood out within RECENT days, each with what did, the furthest first."""
    found: dict[str, list[Shift]] = {}
    for place in range(max(-RECENT, -len(shop.received.native)), 0):
        for shift in shop.received.out(place):
            (table,) = shift.subject.tables
            found.setdefault(table, []).append(shift)
    return {t: tuple(sorted(shifts, key=lambda one: -abs(one.excess))) for t, shifts in found.items()}


def of_release(
    settings: Settings,
    store: Store,
    build: Build,
    moment: datetime,
    declared: Mapping[str, Feature],
    occasions: Occasions,
    tables_at_fault: Mapping[str, Sequence[Shift]],
    log: Log,
    shop: Shop,
) -> Evidence:
    """One release's evidence; its profiles are counted by then (`profiling.update`)."""
    card = store.model.card
    profiles = store.read(until=day_of(moment))
    starts = day_of(log.starts_at)
    judged = [moment, *(one for one in weeks_in_force(settings, card, moment) if one != moment)]
    weeks = {one: drift_of(profiles, card, declared, starts, day_of(one)) for one in judged}
    outcomes, unjoined = _outcomes(settings, card.name, build, moment)
    panel = panels.of_release(
        profiles, card, declared, occasions, starts, lambda name: tables_of(name, declared)
    )
    return Evidence(
        card=card,
        moment=moment,
        age=settings.now() - moment,
        stale_after=settings.stale_after,
        expire_after=settings.expire_after,
        panel=panel,
        drift=weeks[moment],
        separable=weeks_of.of_release(store, build, log, shop, declared, moment, profiles.columns, occasions),
        faulty=tables_at_fault,
        outcomes=outcomes,
        unjoined=unjoined,
        drifted={
            day.date(): frozenset(name for name, out in zip(one.columns, one.drifted, strict=True) if out)
            for day, one in weeks.items()
        },
        log_ends=log.complete_until.astimezone(shop.zone),
    )


def weeks_in_force(settings: Settings, card: ModelCard, moment: datetime) -> list[datetime]:
    """The moment and the same day of the weeks before on which no other version was in force: what drifted
    under that one is no reason to train again what has learnt since. Before the first release all count."""
    days = [moment - 7 * back * DAY for back in range(DRIFTED_WEEKS)]
    return [day for day in days if releases.in_force(settings, card.name, day) in (None, card.version)]


def _outcomes(settings: Settings, name: str, build: Build, moment: datetime) -> tuple[Held | None, str]:
    try:
        return outcomes_of.gather(settings, name, build, moment), ""
    except PropensityError as error:  # a young log, or a target that is no longer declared
        return None, str(error)


def tables_of(name: str, declared: Mapping[str, Feature]) -> frozenset[str]:
    """The tables of the log that a feature comes from."""
    feature = declared.get(name)
    if feature is None:
        return frozenset()
    if feature.table is not None:
        return frozenset({feature.table})
    return frozenset().union(*(tables_of(other, declared) for other in feature.inputs))


def drift_of(
    profiles: Profiles, card: ModelCard, declared: Mapping[str, Feature], starts: int, day: int
) -> drift.Drift:
    """How far the week up to a day is from the release's training; starts: the log's first day.

    Features of the calendar alone are not compared: a week's calendar is no year's.
    """
    longest = max((panels.reach(f.name, declared) for f in card.features), default=timedelta(0))
    reaches = [longest if n == PROBABILITY else panels.reach(n, declared) for n in profiles.columns]
    full = np.array([starts + reach // DAY for reach in reaches], np.int64)
    full[[tables_of(name, declared) == panels.CALENDAR for name in profiles.columns]] = NEVER
    window = (day_of(card.trained_on.start), day_of(card.trained_on.end))
    return drift.measure(profiles, window, full, day)

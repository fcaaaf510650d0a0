"""A log judged day by day by all checks, as nightly runs would have judged it; and with a change in it.

Every day is judged by what was known then: the panels of a day end with it.
"""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple

import numpy as np

from features.compute import engine
from features.definitions import catalogue
from features.log import Log
from features.moments import DAY
from features.settings import Settings
from features.shop import shop_of
from features.words import Words
from monitoring import drift, evidence, measures, occasions, panels, profiling, weeks
from monitoring.checks import CHECKS, NEVER, RETRAINING, Check, Reading
from monitoring.evidence import Evidence, ShopEvidence
from monitoring.findings import EVENT, Of, Status
from monitoring.histograms import Float32
from monitoring.panels import Panel
from monitoring.profiles import Profiles, Store, day_of
from monitoring.retraining import recommend

APART = 7  # days without an alert that end an episode
EPOCH = date(1970, 1, 1).toordinal()
Matrices = dict[int, Float32]
# What a run says by itself, and whoever reads messages hears as of a check.
AGAIN = Check(
    name=RETRAINING, words=Words("Training again", "重新训练"), warning=1, page=NEVER,
    reason="features that drifted for a fortnight", measure=measures.drift,
    advice=Words("", ""),
)  # fmt: skip


class Alert(NamedTuple):
    """What a check said of a day (whole days since 1970) that was not ok."""

    day: int
    check: Check
    reading: Reading

    @property
    def status(self) -> Status:
        """Warning or page."""
        return self.check.status(self.reading.value)

    @property
    def task(self) -> bool:
        """Whether it asks to name an event, and is no alarm."""
        return self.reading.topic == EVENT


def matrices_of(settings: Settings, store: Store, days: Sequence[Any]) -> Matrices:
    """What the release reads of everybody at those moments, by day: float32 [members, columns]."""
    log, shop = Log.open(settings), shop_of(settings)
    declared = engine.available(log, catalogue(shop.declared("FEATURES")))
    needed = profiling.with_inputs(declared, {name for name, _ in store.model.card.needs})
    parts: dict[int, list[Float32]] = {}
    for start in range(0, len(days), 100):
        for moment, table in engine.compute(log, shop, needed, days[start : start + 100]):
            parts.setdefault(day_of(moment), []).append(profiling.matrix(store.model, table))
    return {day: np.asfortranarray(np.concatenate(part)) for day, part in parts.items()}


class Replay:
    """One log, ready to be judged on any day from `learned` days after its first on."""

    def __init__(
        self, settings: Settings, store: Store, matrices: Matrices, reference: Sequence[int], learned: int
    ) -> None:
        """reference: days whose members fix the edges, as training does."""
        self.settings, self.store, self.matrices, self.learned = settings, store, matrices, learned
        self.log, self.shop = Log.open(settings), shop_of(settings)
        self.declared = engine.available(self.log, catalogue(self.shop.declared("FEATURES")))
        values = np.concatenate([matrices[day] for day in reference])
        apart = float(np.diff(reference).max())
        edges = store.keep_reference(np.asfortranarray(values), apart=apart)
        store.add({day: edges.count(values) for day, values in matrices.items()})
        self.profiles = store.read()
        self.first = int(self.profiles.days[0])
        self.weeks = weeks.Weeks(
            self.first + max(7, learned - 70),
            lambda days: {day: matrices[day][:, :-1] for day in days if day in matrices},
        )
        self._separables: dict[int, weeks.Separable | None] = {}
        self._drifts: dict[int, drift.Drift] = {}

    def panel(self, read: Profiles, calendar: occasions.Occasions) -> Panel:
        """How the members look from day to day."""
        return panels.of_release(
            read,
            self.store.model.card,
            self.declared,
            calendar,
            day_of(self.log.starts_at),
            lambda name: evidence.tables_of(name, self.declared),
        )

    def of_shop(self, log: Log, calendar: occasions.Occasions) -> ShopEvidence:
        """What a log's tables received, and the indicators, of all its days."""
        days = day_of(log.complete_until) - day_of(log.starts_at)
        return evidence.of_shop(self.settings, log, self.shop, log.complete_until, calendar, days=days)

    def alerts(self, without: frozenset[str] = frozenset()) -> Iterator[Alert]:
        """What all checks say on all days. without: events missing from the calendar."""
        calendar = occasions.of_log(self.log, without)
        self._separables.clear()
        panel, shop = self.panel(self.profiles, calendar), self.of_shop(self.log, calendar)
        for day in range(self.first + self.learned, self.first + len(panel.native)):
            yield from self.judged(day, panel, shop, calendar)

    def judged(
        self, day: int, panel: Panel, whole: ShopEvidence, calendar: occasions.Occasions
    ) -> Iterator[Alert]:
        """What all checks say of one day, by the panels that hold it."""
        past = day - whole.received.first - 1
        shop = ShopEvidence(whole.moment, whole.received.until(past), whole.indicators.until(past), {})
        seen = Evidence(
            card=self.store.model.card,
            moment=whole.moment,
            age=timedelta(0),
            stale_after=DAY,
            expire_after=DAY,
            panel=panel.until(day - panel.first),
            drift=self._drift(day),
            separable=self._separable(day, calendar),
            faulty=evidence.faulty(shop),
        )
        for check in CHECKS:
            asked: dict[Of, Sequence[Any]] = {
                "release": [seen], "shop": [shop], "table": [(shop, table) for table in shop.tables],
                "indicator": [(shop, column) for column in range(len(shop.indicators.subjects))],
            }  # fmt: skip
            for reading in map(check.measure, asked[check.of]):
                if check.status(reading.value) != "ok":
                    yield Alert(day, check, reading)
        if self._again(day):
            yield Alert(day, AGAIN, Reading(1.0, AGAIN.words))

    def _drift(self, day: int) -> drift.Drift:
        """Asked once a week, on the same day of each."""
        week = day - day % 7
        if week not in self._drifts:
            card, starts = self.store.model.card, day_of(self.log.starts_at)
            self._drifts[week] = evidence.drift_of(self.profiles, card, self.declared, starts, week)
        return self._drifts[week]

    def _again(self, day: int) -> bool:
        """Whether a model should be trained again for what drifted; outcomes are judged elsewhere."""
        weeks = [day - 7 * back for back in range(evidence.DRIFTED_WEEKS)]
        drifted = {
            date.fromordinal(EPOCH + week): frozenset(np.array(found.columns)[found.drifted].tolist())
            for week in weeks
            for found in [self._drift(week)]
        }
        return recommend(self.store.model.card, (), drifted, ()) is not None

    def _separable(self, day: int, calendar: occasions.Occasions) -> weeks.Separable | None:
        """As of the last day of the weekly grid."""
        asked = self.weeks.since + (day - self.weeks.since) // 7 * 7
        if asked not in self._separables:
            self._separables[asked] = self.weeks.compared(asked, calendar)
        return self._separables[asked]


def episodes(alerts: Sequence[Alert]) -> list[tuple[int, int]]:
    """First and last days, those not more than APART from each other in one."""
    found: list[tuple[int, int]] = []
    for day in sorted({alert.day for alert in alerts}):
        if found and day - found[-1][1] <= APART:
            found[-1] = (found[-1][0], day)
        else:
            found.append((day, day))
    return found

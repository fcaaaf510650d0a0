"""Two years of a simulated shop, judged day by day: how often the monitoring cries wolf, and what it finds.

The log holds three years; the first fills the windows and teaches the baselines. Nothing is wrong in it, so
that every alert is false. Then a quarter of a standard deviation is added to three features from a day on.
"""

import tempfile
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.monitoring_shop import features_of, released, simulated
from features.compute import engine
from features.definitions import catalogue
from features.log import Log
from features.moments import DAY
from features.settings import Settings
from features.shop import shop_of
from monitoring import drift, evidence, joint, occasions, panels, profiles
from monitoring.baseline import Bool
from monitoring.checks import CHECKS
from monitoring.evidence import Evidence, Separable, ShopEvidence
from monitoring.histograms import Float32
from monitoring.panels import Panel
from monitoring.profiles import Profiles, Store, day_of

CUSTOMERS, YEARS, FEATURES = 4_000, 3, 60
LEARNED = 365  # days before anything is judged
APART = 7  # days without an alert that end an episode
PLANTS, SHIFT, WITHIN = 10, 0.25, 7
MISSING = frozenset({"618 peak", "11.11 peak"})  # of the calendar, in the second replay
Matrices = dict[int, Float32]


def tried(seed: int) -> dict[str, Any]:
    """What a world of that seed shows: quarters, false episodes with all events and without two, finds."""
    with tempfile.TemporaryDirectory() as folder:
        settings = simulated(Path(folder), seed, CUSTOMERS, 365 * YEARS)
        features = features_of(settings, FEATURES)
        log = Log.open(settings)
        end = log.complete_until
        since, until = log.starts_at + LEARNED * DAY, log.starts_at + 2 * LEARNED * DAY
        model = released(settings, Path(folder), features, since, until)
        store = Store(settings, model)
        days = [end - back * DAY for back in range((end - log.starts_at) // DAY)][::-1]
        matrices = _matrices(settings, store, days)
        reference = np.concatenate([matrices[day_of(m)] for m in days[LEARNED : 2 * LEARNED : 30]])
        edges = store.keep_reference(np.asfortranarray(reference))
        store.add({day: edges.count(values) for day, values in matrices.items()})
        watched = _Watched(settings, store, matrices)
        whole, lacking = watched.episodes(frozenset()), watched.episodes(MISSING)
        random = np.random.default_rng(seed)
        found = [watched.finds(random) for _ in range(PLANTS)]
        return {
            "quarters": (len(days) - LEARNED) / (365 / 4),
            "episodes": len(whole["alerts"]),
            "tasks": len(whole["tasks"]),
            "episodes_without": len(lacking["alerts"]),
            "tasks_without": len(lacking["tasks"]),
            "by": whole["by"],
            "planted": PLANTS,
            "found": sum(found),
        }


def _matrices(settings: Settings, store: Store, days: list[Any]) -> Matrices:
    log, shop = Log.open(settings), shop_of(settings)
    declared = engine.available(log, catalogue(shop.declared("FEATURES")))
    needed = profiles.with_inputs(declared, {name for name, _ in store.model.card.needs})
    parts: dict[int, list[Float32]] = {}
    for start in range(0, len(days), 100):
        for moment, table in engine.compute(log, shop, needed, days[start : start + 100]):
            parts.setdefault(day_of(moment), []).append(profiles.matrix(store.model, table))
    return {day: np.asfortranarray(np.concatenate(part)) for day, part in parts.items()}


class _Watched:
    """One world, ready to be judged on any day."""

    def __init__(self, settings: Settings, store: Store, matrices: Matrices) -> None:
        self.settings, self.store, self.matrices = settings, store, matrices
        self.log, self.shop = Log.open(settings), shop_of(settings)
        self.declared = engine.available(self.log, catalogue(self.shop.declared("FEATURES")))
        self.profiles = store.read()
        self.first = int(self.profiles.days[0])
        self.separable = self._weeks()

    def _weeks(self) -> Mapping[int, float]:
        """How well each week is told from the one before."""
        days = range(self.first + LEARNED - 70, self.first + len(self.matrices), 7)
        one = days[2]
        columns = joint.steady(self.matrices[one - 7][:, :-1], self.matrices[one][:, :-1])
        return {
            day: joint.separable(self.matrices[day - 7][:, columns], self.matrices[day][:, columns])
            for day in days
        }

    def panel(self, read: Profiles, calendar: occasions.Occasions) -> Panel:
        return panels.of_release(
            read,
            self.store.model.card,
            self.declared,
            calendar,
            day_of(self.log.starts_at),
            lambda name: evidence.tables_of(name, self.declared),
        )

    def episodes(self, without: frozenset[str]) -> dict[str, Any]:
        """All checks on all days: episodes of alerts, and of tasks (`name this event`)."""
        calendar = occasions.of_log(self.log, without)
        panel = self.panel(self.profiles, calendar)
        end = evidence.of_shop(
            self.settings, self.log, self.shop, self.log.complete_until, calendar, days=365 * YEARS
        )
        alerts, tasks, by = list[int](), list[int](), dict[str, int]()
        for place in range(LEARNED, len(panel.native)):
            day = self.first + place
            past = day - end.received.first - 1
            shop = ShopEvidence(end.moment, end.received.until(past), end.indicators.until(past), {})
            seen = Evidence(
                card=self.store.model.card,
                moment=end.moment,
                age=timedelta(0),
                stale_after=DAY,
                expire_after=DAY,
                panel=panel.until(place),
                drift=self._drift(day),
                separable=self._separable(day),
                faulty=evidence.faulty(shop),
            )
            for check in CHECKS:
                asked: list[Any] = [seen] if check.of == "release" else [shop]
                if check.of == "indicator":
                    asked = [(shop, column) for column in range(len(shop.indicators.subjects))]
                for reading in map(check.measure, asked):
                    if check.status(reading.value) != "ok":
                        (tasks if reading.topic == "event" else alerts).append(day)
                        by[check.name] = by.get(check.name, 0) + 1
        return {"alerts": _episodes(alerts), "tasks": _episodes(tasks), "by": by}

    def _drift(self, day: int) -> drift.Drift:
        """Asked once in four weeks: it looks at weeks against a year."""
        last = day - day % 28
        if getattr(self, "_drifted", (None, None))[0] != last:
            card = self.store.model.card
            found = evidence.drift_of(self.profiles, card, self.declared, day_of(self.log.starts_at), last)
            self._drifted = (last, found)
        return self._drifted[1]

    def _separable(self, day: int) -> Separable | None:
        days = [d for d in self.separable if d <= day][-1 - evidence.WEEKS :]
        if len(days) < 4:
            return None
        usual = tuple(self.separable[d] for d in days[:-1])
        return Separable(self.separable[days[-1]], usual, len(self.matrices[day]))

    def finds(self, random: np.random.Generator) -> bool:
        """Whether a shift of three features is seen within WITHIN days, from a day of the two years on."""
        names = self.profiles.columns[:-1]
        start = self.first + int(random.integers(LEARNED + 30, len(self.matrices) - WITHIN - 1))
        reference = np.concatenate([self.matrices[day] for day in range(start - 28, start, 7)])
        deviation = np.nanstd(reference, axis=0)
        columns = random.choice([n for n in range(len(names)) if deviation[n] > 0], 3, replace=False)
        read = self.profiles.until(start + WITHIN - 1)
        for day in range(start, start + WITHIN):
            shifted = self.matrices[day].copy(order="F")
            for column in columns:
                values = shifted[:, column] + np.float32(SHIFT * deviation[column])
                if np.all(np.mod(reference[:, column][~np.isnan(reference[:, column])], 1) == 0):
                    values = np.floor(values + random.random(len(values), np.float32))  # counts stay counts
                shifted[:, column] = values
            read = read.replaced(day, self.profiles.edges.count(shifted))
        panel = self.panel(read, occasions.of_log(self.log))
        chosen = {names[column] for column in columns}
        mine: Bool = np.array([subject.name in chosen for subject in panel.subjects])
        before = panel.judged.out[-WITHIN - 1, mine]
        return bool((panel.judged.out[-WITHIN:, mine] & ~before).any())


def _episodes(days: list[int]) -> list[tuple[int, int]]:
    """First and last days, those not more than APART from each other in one."""
    found: list[tuple[int, int]] = []
    for day in sorted(set(days)):
        if found and day - found[-1][1] <= APART:
            found[-1] = (found[-1][0], day)
        else:
            found.append((day, day))
    return found

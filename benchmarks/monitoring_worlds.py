"""Two years of a simulated shop, judged day by day: how often the monitoring cries wolf, and what it finds.

The log holds three years; the first fills the windows and teaches the baselines. Nothing is wrong in it, so
that every alert is false. Then a quarter of a standard deviation is added to three features from a day on.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.monitoring_replay import Replay, episodes, matrices_of
from benchmarks.monitoring_shop import features_of, released, simulated
from features.log import Log
from features.moments import DAY
from monitoring import occasions
from monitoring.baseline import Bool
from monitoring.profiles import Store, day_of

CUSTOMERS, YEARS, FEATURES = 4_000, 3, 60
LEARNED = 365  # days before anything is judged
PLANTS, SHIFT, WITHIN = 10, 0.25, 7
MISSING = frozenset({"618 peak", "11.11 peak"})  # of the calendar, in the second replay


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
        reference = [day_of(moment) for moment in days[LEARNED : 2 * LEARNED : 30]]
        replay = Replay(settings, store, matrices_of(settings, store, days), reference, LEARNED)
        told: dict[str, Any] = {"quarters": (len(days) - LEARNED) / (365 / 4), "by": {}}
        for kind, without in (("", frozenset[str]()), ("_without", MISSING)):
            alerts = [*replay.alerts(without)]
            told[f"episodes{kind}"] = len(episodes([alert for alert in alerts if not alert.task]))
            told[f"tasks{kind}"] = len(episodes([alert for alert in alerts if alert.task]))
            for alert in alerts if not without else ():
                told["by"][alert.check.name] = told["by"].get(alert.check.name, 0) + 1
        random = np.random.default_rng(seed)
        return told | {"planted": PLANTS, "found": sum(finds(replay, random) for _ in range(PLANTS))}


def finds(replay: Replay, random: np.random.Generator) -> bool:
    """Whether a shift of three features is seen within WITHIN days, from a day of the two years on."""
    names, matrices = replay.profiles.columns[:-1], replay.matrices
    start = replay.first + int(random.integers(LEARNED + 30, len(matrices) - WITHIN - 1))
    reference = np.concatenate([matrices[day] for day in range(start - 28, start, 7)])
    deviation = np.nanstd(reference, axis=0)
    columns = random.choice([n for n in range(len(names)) if deviation[n] > 0], 3, replace=False)
    read = replay.profiles.until(start + WITHIN - 1)
    for day in range(start, start + WITHIN):
        shifted = matrices[day].copy(order="F")
        for column in columns:
            values = shifted[:, column] + np.float32(SHIFT * deviation[column])
            if np.all(np.mod(reference[:, column][~np.isnan(reference[:, column])], 1) == 0):
                values = np.floor(values + random.random(len(values), np.float32))  # counts stay counts
            shifted[:, column] = values
        read = read.replaced(day, replay.profiles.edges.count(shifted))
    panel = replay.panel(read, occasions.of_log(replay.log))
    chosen = {names[column] for column in columns}
    mine: Bool = np.array([subject.name in chosen for subject in panel.subjects])
    before = panel.judged.out[-WITHIN - 1, mine]
    return bool((panel.judged.out[-WITHIN:, mine] & ~before).any())

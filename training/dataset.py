"""Training sets: who was in the population at which moment, what was known of them, what came true.

    log's start ... first    fit ....... | H | calibration ... | H | test | H | as-of
                    (every moment of one part is a horizon H, the embargo, before the first of the next)

A label of moment m is known at m + H. So no label that a model is fitted on looks at a day on which a
calibration score is made, and none of either looks beyond the moment at which the model is judged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features import store
from features.compute.builds import Build
from features.definitions import WINDOWS, Feature
from features.errors import FeatureError, NotEnoughData
from features.log import Log
from features.moments import DAY, iso
from features.settings import Settings
from serving.booster import Rows
from training.labels import events, labels, members
from training.targets import Target

STEP = 7 * DAY  # denser snapshots repeat nearly the same row and label
# Labels of successive weeks overlap: eight weeks hold two independent months of a 28-day label. On the
# demo's log, over six earlier origins, slopes were nearer to 1 than with four weeks (by .07 against .09 on
# average), at a cost of .001 in log-loss, because the fit ends earlier.
CALIBRATION_MOMENTS = 8
FIT_MOMENTS = (4, 52)  # fewer is no season at all; more than a year repeats the season at a cost
WARM_UP = 90  # days of log before the first moment: without a quarter's windows there is little to learn from
LEAST_OF_A_LABEL = 50  # in each part: with fewer, figures are noise


@dataclass(frozen=True)
class Plan:
    """When. Each part ascends; `known_by` is the as-of, or the log's end if that is earlier."""

    fit: tuple[datetime, ...]
    calibration: tuple[datetime, ...]
    test: datetime
    known_by: datetime

    @property
    def moments(self) -> tuple[datetime, ...]:
        """All of them, ascending."""
        return (*self.fit, *self.calibration, self.test)


@dataclass(frozen=True)
class Part:
    """Rows of one part, by moment, then customer. matrix: float32 [n, features], NaN where not known;
    label: float64 [n] of 0 and 1."""

    matrix: Rows
    label: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.label)

    @property
    def base_rate(self) -> float:
        """Share of ones."""
        return float(self.label.mean())


@dataclass(frozen=True)
class Dataset:
    """What a model is learnt from and judged on. `features`: the columns' names."""

    features: tuple[str, ...]
    fit: Part
    calibration: Part
    test: Part

    @property
    def known(self) -> Part:
        """Fit and calibration together: every label that is known at the test's moment."""
        return Part(
            np.concatenate([self.fit.matrix, self.calibration.matrix]),
            np.concatenate([self.fit.label, self.calibration.label]),
        )


def plan(target: Target, build: Build, as_of: datetime) -> Plan:
    """The split, from the build's moments. NotEnoughData says how much log is lacking.

    The model is judged at the last moment whose label is mature by the as-of. From there back, moments at
    least a week apart count, as long as the log holds a quarter before them, and the whole window that
    defines the population.
    """
    horizon = target.horizon_days * DAY
    known_by = min(as_of, build.complete_until)
    first = build.log_starts_at + max(target.population.days, WARM_UP) * DAY
    weekly = _apart([m for m in build.moments if m >= first and m + horizon <= known_by], STEP)
    if weekly:
        test = weekly[-1]
        calibration_end = test - horizon
        calibration_start = calibration_end - (CALIBRATION_MOMENTS - 1) * STEP
        calibration = [m for m in weekly if calibration_start <= m <= calibration_end]
        fit = [m for m in weekly if m <= calibration_start - horizon][-FIT_MOMENTS[1] :]
        if len(fit) >= FIT_MOMENTS[0] and len(calibration) >= CALIBRATION_MOMENTS // 2:
            return Plan(tuple(fit), tuple(calibration), test, known_by)
    needed = 3 * horizon + (CALIBRATION_MOMENTS + FIT_MOMENTS[0] - 2) * STEP
    raise NotEnoughData(
        f"{target.name} needs snapshots over {needed.days} days or more between {iso(first)} (the log's "
        f"start and {(first - build.log_starts_at).days} days) and {iso(known_by)}: two embargoes and "
        f"the last label take {target.horizon_days} days each. These {(known_by - first).days} days hold "
        f"{len(weekly)} usable snapshots of build {build.id}: ingest a longer log, train a target with a "
        "shorter horizon, or run `propensity features build` for earlier moments"
    )


def _apart(moments: Sequence[datetime], step: timedelta) -> list[datetime]:
    """The last of the moments (ascending), and of those before it as many as lie `step` apart."""
    kept: list[datetime] = []
    for moment in reversed(moments):
        if not kept or moment <= kept[-1] - step:
            kept.append(moment)
    return kept[::-1]


def columns(
    build: Build, features: Mapping[str, Feature], plan: Plan
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(the features to learn from, those left out), in the build's order.

    A window that reaches back beyond the log's start grows with the log: its value depends on the date, so
    what it meant when the model was fitted is not what it means later. Left out, unless the log holds the
    whole window at the first moment that is fitted on.
    """
    held = (plan.fit[0] - build.log_starts_at) / DAY
    learnt = tuple(name for name in build.features if reach(features[name], features) <= held)
    return learnt, tuple(name for name in build.features if name not in learnt)


def reach(feature: Feature, features: Mapping[str, Feature]) -> int:
    """Days of history that a feature's value depends on in a log that has just begun.

    The time since the first event is the log's age for every old customer, so it counts as the longest
    window. Gaps become more certain with time, but not longer on average: 0.
    """
    if feature.inputs:
        return max(reach(features[name], features) for name in feature.inputs)
    return feature.window or (max(WINDOWS) if feature.measure == "since_first" else 0)


def read(
    settings: Settings, log: Log, build: Build, target: Target, plan: Plan, names: Sequence[str]
) -> Dataset:
    """Population and labels from the log, features through Feast. NotEnoughData where a label is rare."""
    spine = pa.concat_tables([members(build, target, moment) for moment in plan.moments])
    known_by = dict.fromkeys((*plan.fit, *plan.calibration), plan.test) | {plan.test: plan.known_by}
    label = labels(events(log, target), spine, target, known_by)
    table = store.historical(settings, build, spine, names)
    if len(table) != len(spine) or not table.select(spine.column_names).equals(spine):
        raise FeatureError(f"{len(table)} rows came back for a spine of {len(spine)}, or in another order")
    matrix = np.empty((len(table), len(names)), np.float32)
    for place, name in enumerate(names):
        matrix[:, place] = table[name].to_numpy()
    moment = table["moment"].to_numpy()
    parts = {}
    for part, moments in {"fit": plan.fit, "calibration": plan.calibration, "test": (plan.test,)}.items():
        wanted = pa.array(moments, spine.schema.field("moment").type).to_numpy(zero_copy_only=False)
        inside = np.isin(moment, wanted)
        parts[part] = Part(matrix[inside], label[inside])
        ones = int(label[inside].sum())
        if min(ones, int(inside.sum()) - ones) < LEAST_OF_A_LABEL:
            raise NotEnoughData(
                f"the {part} part of {target.name}, {iso(moments[0])} to {iso(moments[-1])}, has {ones} ones "
                f"among {inside.sum()} labels: {LEAST_OF_A_LABEL} of each kind are needed; use a longer log"
            )
    return Dataset(tuple(names), **parts)

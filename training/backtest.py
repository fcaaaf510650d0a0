"""Walk forward over the origins: at each, fit on what was known, score what came, and choose as one would
have chosen then. The figures are those of the choosing, not of the best that turned out.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from features.errors import TrainingError
from serving.formulas import Calibration, sigmoid
from training import baselines, calibrate, candidates, evaluate
from training.candidates import Fitted, Parameters
from training.distributed import Cluster
from training.samples import Dataset, Part, Timeline

Numbers = NDArray[np.float64]
T = TypeVar("T")
CELLS = 1_000_000_000  # rows x features that are fitted on at once: what bounds memory beside the rows
FIRST = "trees"  # the choice while there is nothing to choose by


@dataclass(frozen=True)
class Tried:
    """The candidates of one origin, and what they say of its customers."""

    part: Part
    fitted: Mapping[str, Fitted]
    raws: Mapping[str, Numbers]  # log-odds, by candidate

    @property
    def untreated(self) -> NDArray[np.bool_]:
        """Rows to learn from about candidates: of customers left alone, where contacts were adjusted for."""
        adjusted = any(fitted.effect for fitted in self.fitted.values())
        return ~self.part.treated if adjusted else np.ones(len(self.part), np.bool_)


@dataclass(frozen=True)
class Step(Tried):
    """One origin: what was chosen there by what was known then, and every score of its customers."""

    origin: datetime
    candidate: str
    kind: str  # of calibration
    calibration: Calibration
    scores: Mapping[str, Numbers]  # probabilities: "model" and each baseline


def walk(
    data: Dataset,
    seed: int,
    parameters: Parameters,
    said: Callable[[int], None] | None = None,
    untuned: bool = False,
    cluster: Cluster | None = None,
    alone: bool = False,
) -> list[Step]:
    """A step for every origin, in their order; they are fitted side by side, as many as `side_by_side` lets.

    untuned: with the untuned LightGBM at every origin, not at the test alone. cluster: that fits the trees.
    alone: without any baseline.
    """

    def one(origin: datetime) -> tuple[Tried, dict[str, Numbers]]:
        known, part = data.known(origin), data.at(origin)
        tried = try_all(data, origin, seed, parameters, cluster)
        if alone:
            return tried, {}
        with_untuned = untuned or origin == data.timeline.test
        sceptics = baselines.scores(
            known, part, data.features, seed, with_untuned, cluster, declared=data.baseline
        )
        return tried, sceptics | baselines.of_log(data, origin, known, part)

    steps: list[Step] = []
    origins = data.timeline.origins
    for origin, (tried, sceptics) in zip(origins, side_by_side(one, origins, data.cells), strict=True):
        before = matured(steps, data.timeline, origin)
        candidate = _candidate(before)
        kind, calibration = _calibration(before, candidate, data.timeline)
        model = calibration.probability(tried.raws[candidate])
        scores = {"model": model, **sceptics}
        steps.append(Step(tried.part, tried.fitted, tried.raws, origin, candidate, kind, calibration, scores))
        if said:
            said(len(steps))
    return steps


def try_all(
    data: Dataset, origin: datetime, seed: int, parameters: Parameters, cluster: Cluster | None = None
) -> Tried:
    """Every candidate, fitted on what was known at an origin."""
    part = data.at(origin)
    fitted = candidates.fit(data.known(origin), data.features, seed, parameters, cluster)
    return Tried(part, fitted, {name: one.raw(part.matrix) for name, one in fitted.items()})


def side_by_side(one: Callable[[datetime], T], origins: Sequence[datetime], cells: int) -> Iterator[T]:
    """What `one` gives for each origin, in their order, one a core. cells: of the data, rows x features."""
    cores = min(len(os.sched_getaffinity(0)), max(1, CELLS // cells))
    # The origins take the cores; a linear algebra of several threads would only wait for itself.
    with threadpool_limits(1), ThreadPoolExecutor(cores) as pool:
        yield from pool.map(one, origins)


def matured(steps: Sequence[Step], when: Timeline, origin: datetime) -> list[Step]:
    """The steps whose outcomes were known at an origin."""
    return [step for step in steps if step.origin + when.horizon <= origin]


def _candidate(before: Sequence[Step]) -> str:
    """The candidate with the least mean log-loss at the steps before."""
    if not before:
        return FIRST
    loss = mean_losses(before)
    return min(loss, key=lambda name: loss[name])


def mean_losses(tried: Sequence[Tried]) -> dict[str, float]:
    """Candidate -> its log-loss before calibration, a mean over origins."""
    return {
        name: float(np.mean([_loss(j.part.label, sigmoid(j.raws[name]), j.untreated) for j in tried]))
        for name in tried[0].raws
    }


def _calibration(before: Sequence[Step], candidate: str, when: Timeline) -> tuple[str, Calibration]:
    """The kind with the least mean log-loss where each step before was calibrated on those before it."""
    kinds: dict[str, list[float]] = {kind: [] for kind in calibrate.KINDS}
    for step in before:
        earlier = matured(before, when, step.origin)
        if len(earlier) < calibrate.LEAST:
            continue
        for kind in kinds:
            try:
                p = _learnt(kind, earlier, candidate).probability(step.raws[candidate])
            except TrainingError:
                kinds[kind].append(np.inf)
                continue
            kinds[kind].append(_loss(step.part.label, p, step.untreated))
    tried = {kind: float(np.mean(losses)) for kind, losses in kinds.items() if losses}
    if not tried:
        return "identity", calibrate.identity(np.zeros(0), np.zeros(0))
    best = min(tried, key=lambda kind: tried[kind])
    return best, _learnt(best, before, candidate)


def _learnt(kind: str, steps: Sequence[Step], candidate: str) -> Calibration:
    rows = [step.untreated for step in steps]
    return calibrate.fitted(
        kind,
        [step.raws[candidate][row] for step, row in zip(steps, rows, strict=True)],
        [step.part.label[row] for step, row in zip(steps, rows, strict=True)],
    )


def _loss(label: Numbers, score: Numbers, rows: NDArray[np.bool_]) -> float:
    return float(evaluate.losses(label[rows], score[rows]).mean())

"""Walk forward over the origins: at each, fit on what was known, score what came, and choose as one would
have chosen then. The figures are those of the choosing, not of the best that turned out.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from features.errors import TrainingError
from serving.formulas import Calibration, sigmoid
from training import baselines, calibrate, candidates, evaluate
from training.candidates import Fitted
from training.dataset import Dataset, Part, Timeline

Numbers = NDArray[np.float64]
FIRST = "trees"  # the choice while there is nothing to choose by


@dataclass(frozen=True)
class Step:
    """One origin: what was chosen there by what was known then, and every score of its customers."""

    origin: datetime
    part: Part
    fitted: Mapping[str, Fitted]
    raws: Mapping[str, Numbers]  # log-odds, by candidate
    candidate: str
    kind: str  # of calibration
    calibration: Calibration
    scores: Mapping[str, Numbers]  # probabilities: "model" and each baseline


def walk(
    data: Dataset,
    seed: int,
    said: Callable[[int], None] | None = None,
    untuned: bool = False,
) -> list[Step]:
    """A step for every origin, in their order; they are fitted side by side, one a core.

    untuned: with the untuned LightGBM at every origin, not at the test alone.
    """

    def one(origin: datetime) -> tuple[Part, dict[str, Fitted], dict[str, Numbers], dict[str, Numbers]]:
        known, part = data.known(origin), data.at(origin)
        fitted = candidates.fit(known, data.features, seed)
        raws = {name: candidate.raw(part.matrix) for name, candidate in fitted.items()}
        untuned_too = untuned or origin == data.timeline.test
        sceptics = baselines.scores(known, part, data.features, seed, untuned_too)
        return part, fitted, raws, sceptics | baselines.of_orders(data, origin, part)

    steps: list[Step] = []
    # The origins take the cores; a linear algebra of several threads would only wait for itself.
    with threadpool_limits(1), ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        done = pool.map(one, data.timeline.origins)
        for number, (origin, (part, fitted, raws, sceptics)) in enumerate(
            zip(data.timeline.origins, done, strict=True)
        ):
            before = matured(steps, data.timeline, origin)
            candidate = _candidate(before)
            kind, calibration = _calibration(before, candidate, data.timeline)
            model = calibration.probability(raws[candidate])
            scores = {"model": model, **sceptics}
            steps.append(Step(origin, part, fitted, raws, candidate, kind, calibration, scores))
            if said:
                said(number + 1)
    return steps


def matured(steps: Sequence[Step], when: Timeline, origin: datetime) -> list[Step]:
    """The steps whose outcomes were known at an origin."""
    return [step for step in steps if step.origin + when.horizon <= origin]


def untreated(step: Step) -> NDArray[np.bool_]:
    """Rows that a calibration may learn from: of customers left alone, where contacts were adjusted for."""
    adjusted = any(fitted.effect for fitted in step.fitted.values())
    return ~step.part.treated if adjusted else np.ones(len(step.part), np.bool_)


def _candidate(before: Sequence[Step]) -> str:
    """The candidate with the least mean log-loss at the steps before."""
    if not before:
        return FIRST
    loss = {
        name: np.mean([_loss(s.part.label, sigmoid(s.raws[name]), untreated(s)) for s in before])
        for name in before[0].raws
    }
    return min(loss, key=lambda name: loss[name])


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
            kinds[kind].append(_loss(step.part.label, p, untreated(step)))
    tried = {kind: float(np.mean(losses)) for kind, losses in kinds.items() if losses}
    if not tried:
        return "identity", calibrate.identity(np.zeros(0), np.zeros(0))
    best = min(tried, key=lambda kind: tried[kind])
    return best, _learnt(best, before, candidate)


def _learnt(kind: str, steps: Sequence[Step], candidate: str) -> Calibration:
    rows = [untreated(step) for step in steps]
    return calibrate.fitted(
        kind,
        [step.raws[candidate][row] for step, row in zip(steps, rows, strict=True)],
        [step.part.label[row] for step, row in zip(steps, rows, strict=True)],
    )


def _loss(label: Numbers, score: Numbers, rows: NDArray[np.bool_]) -> float:
    return float(evaluate.losses(label[rows], score[rows]).mean())

"""Concept drift, found by partial labels before the labels of 90 days are mature; and how often by chance.

A small shop, simulated: customers order at a rate of their own, which two features tell in part; seasons,
a December and months that are a little better or worse move all of them. On one day the rates change their
meaning: what the first feature tells halves, and everybody orders more often. The features do not change, so
nothing that looks at features or scores can see it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import pi
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import stated
from monitoring import partial, performance
from monitoring.performance import Judged, Spreads
from serving.formulas import sigmoid

Numbers = NDArray[np.float64]

CUSTOMERS = 10_000
HORIZON, SHORT, STEP = 90, (28, 63), 7
FIRST, TEST, LIVE = 30, 640, 740  # days: the first moment; the one judged at; the first after the release
QUARTER = 13  # weekly moments that are looked at
DRIFT = 767  # the day on which the rates change, if they do
ORIGINS = tuple(TEST - 45 * n for n in range(5, -1, -1))
WEIGHTS, CHANGED = (0.9, 0.5), (0.45, 0.5)
RATE, OFTENER = 0.011, 1.4  # orders a day; and how many times as many once they changed
EARLY = 45  # days before the first label of after the change is mature: what is promised
WORLDS, OF_AUC = 100, 20  # simulated; whose AUC is told


@dataclass(frozen=True)
class World:
    """features [n, 3] with a constant; ordered: bool [days, n]; start: the day of the year of day 0."""

    features: Numbers
    ordered: NDArray[np.bool_]

    def silent(self, day: int, days: int) -> Numbers:
        """Who ordered nothing in so many days after a day: the label, [n]."""
        return np.asarray(1.0 - self.ordered[day : day + days].any(axis=0))


def world(seed: int, drift: bool, customers: int = CUSTOMERS) -> World:
    """One shop, two and a half years long."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(customers, 2))
    days = LIVE + STEP * QUARTER + HORIZON + 1
    day = np.arange(days) + random.integers(365)
    level = 1 + 0.1 * np.sin(2 * pi * day / 365)
    level *= np.where((day % 365 >= 330) & (day % 365 < 355), 1.3, 1.0)
    level *= np.exp(random.normal(0, 0.04, days // 30 + 1))[np.arange(days) // 30]
    own = random.normal(0, 0.3, customers)
    before, after = (RATE * np.exp(x @ np.array(weights) + own) for weights in (WEIGHTS, CHANGED))
    ordered = np.empty((days, customers), np.bool_)
    for first, end, rate in ((0, DRIFT, before), (DRIFT, days, OFTENER * after if drift else before)):
        chance = 1 - np.exp(-np.outer(level[first:end], rate))
        ordered[first:end] = random.random(chance.shape, dtype=np.float32) < chance
    return World(np.column_stack([np.ones(customers), x]), ordered)


def fitted(shop: World, origin: int) -> Numbers:
    """What a logistic regression says of every customer, learnt from the moments known on a day: [n]."""
    moments = range(max(FIRST, origin - HORIZON - 365), origin - HORIZON + 1, 28)
    label = np.mean([shop.silent(moment, HORIZON) for moment in moments], axis=0)
    w = np.zeros(3)
    for _ in range(7):
        p = sigmoid(shop.features @ w)
        w += np.linalg.solve(
            (shop.features * (p * (1 - p))[:, None]).T @ shop.features, shop.features.T @ (label - p)
        )
    return np.asarray(sigmoid(shop.features @ w))


def model(shop: World) -> tuple[Numbers, Spreads]:
    """The released scores, and what the backtest says: as a card's would be read."""
    off, tilt, aucs, errors = [], [], [], []
    for origin in ORIGINS:
        score, label = fitted(shop, origin), shop.silent(origin, HORIZON)
        told = performance.judge([_rows(score, label)], Spreads())
        off.append((told.level.value - 1) ** 2 - told.level.error**2)
        tilt.append((told.slope.value - 1) ** 2 - told.slope.error**2)
        aucs.append(told.ranking.value)
        errors.append(told.ranking.error)
    between = float(np.var(aucs, ddof=1) - np.mean(np.square(errors)))
    return score, Spreads(
        performance.beyond(np.array(off), performance.USUAL_LEVEL),
        performance.beyond(np.array(tilt), performance.USUAL_SLOPE),
        performance.settled(between, len(aucs), performance.USUAL_RANKING, fitted=1), (aucs[-1], errors[-1]),
    )  # fmt: skip


def looks(shop: World, said: tuple[Numbers, Spreads], days: int) -> Iterator[tuple[int, Judged]]:
    """(the day, the verdict on the moment so many days before it), week by week after the release."""
    score, of_card = said
    everyone = np.arange(len(score))
    pasts = [
        partial.Past(score, shop.silent(day, HORIZON), shop.silent(day, days), everyone)
        for day in range(TEST, max(FIRST, TEST - 365) - 1, -days)
    ]
    curve = partial.learn(pasts)
    spreads = partial.spreads(curve, of_card, curve.rows(score, pasts[0].short, everyone))
    for moment in range(LIVE, LIVE + QUARTER * STEP, STEP):
        rows = curve.rows(score, shop.silent(moment, days), everyone)
        yield moment + days, performance.judge([rows], spreads)


def _rows(score: Numbers, label: Numbers) -> performance.Rows:
    return performance.Rows(label, score, np.arange(len(score)))


def flagged(shop: World) -> int | None:
    """The first day on which a label by a third or two thirds of the horizon says that calibration or ranking
    is lost, of a quarter's weekly moments; None: never."""
    said = model(shop)
    told = (look for days in SHORT for look in looks(shop, said, days))
    return min((day for day, one in told if "off" in (one.calibration, one.ranks)), default=None)


def matures() -> int:
    """The day on which the first label is mature whose whole horizon lies after the change."""
    return next(m for m in range(LIVE, DRIFT + STEP, STEP) if m >= DRIFT) + HORIZON


def fell(shop: World) -> tuple[float, float]:
    """(AUC of the first mature labels of after the change, what the scores alone say that it is): CBPE is
    told nothing by outcomes."""
    score, _ = model(shop)
    label = shop.silent(matures() - HORIZON, HORIZON)
    return performance.ranking([_rows(score, label)])[0], performance.estimated(score).auc


def figures(worlds: int = WORLDS) -> Iterator[dict[str, Any]]:
    """How often a change is found in time, and how often there was none; what CBPE says meanwhile."""
    found, aucs = [], []
    for seed in range(worlds):
        shop = world(seed, drift=True)
        found.append(flagged(shop))
        if seed < OF_AUC:
            aucs.append(fell(shop))
    false = [flagged(world(worlds + seed, drift=False)) for seed in range(worlds)]
    early = float(np.mean([day is not None and day <= matures() - EARLY for day in found]))
    ahead = float(np.median([matures() - day for day in found if day is not None] or [0]))
    wrong = float(np.mean([day is not None for day in false]))
    true, said = np.mean(aucs, axis=0)
    name = f"concept drift, {worlds} worlds"
    yield stated(f"{name}, flagged {EARLY} days before its labels mature", early, "share", None, early, 0.9)
    yield stated(f"{name}, days ahead of the labels, median", ahead, "days", None, ahead, EARLY)
    yield stated(
        f"{name}, AUC once mature", float(true), "", "what CBPE says of it", float(true / said), None
    )
    yield stated(f"no drift, {worlds} worlds, flagged in a quarter", wrong, "share", None, wrong, 0.05, True)

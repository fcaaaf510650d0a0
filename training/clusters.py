"""A difference of means where whole clusters were treated or held out, such as chat groups.

Members of a group hear the same, and talk to each other: the groups were drawn, not the customers, so it is
the groups that count. The variance of each arm's mean is the jackknife's over its G clusters (CR3; MacKinnon,
Nielsen and Webb 2023), as the sandwich of Liang and Zeger is too small for few clusters of unlike sizes:

    V = (G - 1) / G x sum over clusters g of (sum of g's residuals / (n - n_g))^2

Treatment is the same within a cluster, so the variance of the difference is V of one arm plus V of the other;
the interval is Student's with the degrees of freedom of Welch and Satterthwaite, and so as wide as it must be
with few clusters held out.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from features.errors import NotEnoughData
from training.sequential import rare

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Arm:
    """Clusters of one arm: how many, their members, the members' mean and its variance."""

    clusters: int
    n: int
    mean: float
    variance: float


@dataclass(frozen=True)
class Clustered:
    """Mean of the treated less mean of the held out, with its 95 % interval."""

    treated: Arm
    held_out: Arm
    value: float
    low: float
    high: float


def arm(outcome: Floats, cluster: NDArray[np.intp], weight: Floats | None = None) -> Arm:
    """One arm from its members' outcomes [n] and clusters [n], weighted alike without weights [n].
    NotEnoughData for fewer than two clusters."""
    _, places = np.unique(cluster, return_inverse=True)
    g, n = int(places.max(initial=-1)) + 1, len(outcome)
    if g < 2:
        raise NotEnoughData(
            f"one arm has {g} group with members: two are the least that show how groups differ"
        )
    counts = np.ones(n) if weight is None else weight
    mean = float(counts @ outcome / counts.sum())
    moved = left_out(counts * (outcome - mean), counts, places)
    return Arm(g, n, mean, float(moved @ moved))


def left_out(residuals: Floats, weight: NDArray[np.generic], cluster: NDArray[np.intp]) -> Floats:
    """How far a weighted mean moves if a cluster is left out, so that the sum of squares is V, [clusters].

    residuals: weighted, 0 of a row that the mean is not over, as is its weight; cluster: 0, 1, ...; each [n].
    """
    sums, counts = np.bincount(cluster, residuals), np.bincount(cluster, weight)
    g, left = max(int((counts > 0).sum()), 1), counts.sum() - counts
    moved: Floats = np.divide(sums, left, out=np.zeros(len(sums)), where=left > 0)
    return moved * float(np.sqrt((g - 1) / g))


def difference(
    outcome: Floats,
    treated: NDArray[np.bool_],
    cluster: NDArray[np.intp],
    level: float = 0.95,
    harm: bool = False,
) -> Clustered:
    """Of members' outcomes [n]; `treated` [n] is the same for all of a cluster [n]. harm: see `of_harm`."""
    one, other = (arm(outcome[of], cluster[of]) for of in (treated, ~treated))
    if harm:
        one, other = of_harm(one), of_harm(other)
    return between(one, other, level)


def of_harm(of: Arm, each: int = 1) -> Arm:
    """An arm whose outcome is a harm, 0 or 1: as unsure at least as if its members had been drawn one by one,
    for that it came to none of them yet is no proof that it never will. each: so many are in one member."""
    n = of.n * each
    return replace(of, variance=max(of.variance, rare(of.mean, n) / n))


def between(one: Arm, other: Arm, level: float = 0.95) -> Clustered:
    """The mean of one arm less the other's."""
    value, variance = one.mean - other.mean, one.variance + other.variance
    if variance == 0:
        return Clustered(one, other, value, value, value)
    freedom = variance**2 / sum(of.variance**2 / (of.clusters - 1) for of in (one, other))
    half = float(student.ppf((1 + level) / 2, freedom)) * variance**0.5
    return Clustered(one, other, value, value - half, value + half)

"""Whether like customers are offered the same: the worth of offers, between groups to be treated alike.

Customers are alike in the same third of spending and the same third of the days since the last order. Of
those to whom an offer could be made, the gap of a group of a protected attribute is

    sum over strata s of n[g, s] / n[g] x (mean offer of g in s - mean offer of the others in s)

in shop currency a customer (direct standardisation to the group's own strata; strata without both sides are
left out). Its interval takes customers as independent and covers all groups at once (Bonferroni). A gap is
unfair if it is larger than the policy's `price_gap`, a share of the mean offer, and chance does not explain
it. What a redeemed offer costs the shop stands for its worth. That customers are alike in two features does
not make them alike: a gap says where to look, and none says that nobody found one.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from serving.prices import PriceGap
from training.segments import Grouped

LEAST = 30  # customers of a group: with fewer, its mean says nothing
LIKE = ("tier", "recency")  # of `segments.KINDS`


def price_gaps(
    offers: NDArray[np.float64], alike: Sequence[Grouped], protected: Sequence[Grouped], bound: float
) -> list[PriceGap]:
    """Of every group of `LEAST` customers and more, the unfair first, then by size. offers: worth [n]."""
    strata = np.zeros(len(offers), np.int64)
    for kind in alike:
        strata = strata * (len(kind.groups) + 1) + kind.at + 1
    _, strata = np.unique(strata, return_inverse=True)
    groups = [
        (kind, number)
        for kind in protected
        for number in range(len(kind.groups))
        if (kind.at == number).sum() >= LEAST and ((kind.at >= 0) & (kind.at != number)).sum() >= LEAST
    ]
    z = float(norm.ppf(1 - 0.025 / max(1, len(groups))))
    found = []
    for kind, number in groups:
        gap, error = _gap(offers, strata, kind.at == number, (kind.at >= 0) & (kind.at != number))
        low, high = gap - z * error, gap + z * error
        large = abs(gap) > bound * float(offers.mean())
        found.append(
            PriceGap(
                attribute=kind.name,
                group=kind.groups[number].en,
                customers=int((kind.at == number).sum()),
                offer=float(offers[kind.at == number].mean()),
                gap=gap,
                low=low,
                high=high,
                unfair=large and (low > 0 or high < 0),
            )
        )
    return sorted(found, key=lambda of: (not of.unfair, -abs(of.gap)))


def _gap(
    offers: NDArray[np.float64], strata: NDArray[np.int64], mine: NDArray[np.bool_], others: NDArray[np.bool_]
) -> tuple[float, float]:
    """Gap and standard error."""
    size = int(strata.max(initial=0)) + 1
    (n, mean, variance), (m, mean_of_others, variance_of_others) = (
        _moments(offers[of], strata[of], size) for of in (mine, others)
    )
    both = (n > 0) & (m > 0)
    if not both.any():
        return 0.0, float("inf")
    weight = n[both] / n[both].sum()
    gap = float(weight @ (mean[both] - mean_of_others[both]))
    # That none of a few got a rare offer shows no spread, and is chance all the same: each side varies by as
    # much as both together, at least.
    _, _, of_all = (moment[both] for moment in _moments(offers[mine | others], strata[mine | others], size))
    spread = (
        np.maximum(variance[both], of_all) / n[both] + np.maximum(variance_of_others[both], of_all) / m[both]
    )
    return gap, float(np.sqrt(weight**2 @ spread))


def _moments(
    values: NDArray[np.float64], strata: NDArray[np.int64], size: int
) -> tuple[NDArray[np.float64], ...]:
    """Count, mean and variance in each stratum [size]; of one customer alone, the variance within all."""
    n = np.bincount(strata, minlength=size).astype(np.float64)
    some = np.maximum(n, 1)
    mean = np.bincount(strata, values, size) / some
    squares = np.bincount(strata, (values - mean[strata]) ** 2, size)
    within = squares.sum() / max(1.0, float(np.maximum(n - 1, 0).sum()))  # one value does not vary
    return n, mean, np.where(n > 1, squares / np.maximum(n - 1, 1), within)

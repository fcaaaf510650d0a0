"""Histograms on a reference's own quantiles, and how far two of them differ.

A profile counts rows per bin: below all of the reference, its deciles, above all of it, and null. Nulls
are a bin of their own: a column that lost half its values has drifted, whatever the rest look like.
"""

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32] | NDArray[np.float64]
Counts = NDArray[np.int64]
DECILES = np.arange(1, 10) / 10


def edges(reference: Values) -> NDArray[np.float64]:
    """Upper edges (inclusive) of the bins: one below the least value, the deciles, the greatest; ascending.

    Deciles are values of the reference, and repeated ones are one edge: a column that is mostly 0 keeps a
    bin for its zeros. Empty if every value is null.

    >>> edges(np.array([1, 1, 1, 1, 1, 1, 1, 5, 5, 9], np.float32)).round(6).tolist()
    [1.0, 1.0, 5.0, 9.0]
    """
    known = reference[~np.isnan(reference)].astype(np.float64)
    if not len(known):
        return np.empty(0)
    low = np.nextafter(known.min(), -np.inf)
    return np.unique([low, *np.quantile(known, DECILES, method="inverted_cdf"), known.max()])


def profile(values: Values, edges: NDArray[np.float64]) -> Counts:
    """Rows per bin, int64 [len(edges) + 2]: up to each edge, above the last, null."""
    known = values[~np.isnan(values)]
    bins = np.bincount(np.searchsorted(edges, known, side="left"), minlength=len(edges) + 1)
    return np.append(bins, len(values) - len(known)).astype(np.int64)


def psi(reference: Counts, current: Counts) -> float:
    """Population stability index: sum of (p - q) ln(p / q), 0 for the same distribution.

    Half a row is added to every bin, so that an empty one gives a finite figure. Between samples of n and
    m rows of one distribution over k bins it is about (k - 1)(1/n + 1/m). inf if either has no rows.

    >>> round(psi(np.array([50, 50]), np.array([50, 50])), 3)
    0.0
    >>> round(psi(np.array([500, 500]), np.array([300, 700])), 2)
    0.17
    """
    if not reference.sum() or not current.sum():
        return float("inf")
    p = (reference + 0.5) / (reference + 0.5).sum()
    q = (current + 0.5) / (current + 0.5).sum()
    return float(np.sum((p - q) * np.log(p / q)))

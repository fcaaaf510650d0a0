"""Mergeable histograms of many columns: counted once a day, added up over customers, days and machines.

A column has at most BINS bins. Few different values are a bin each, exactly; many are parted at quantiles of
a reference. Beside the bins a histogram knows how many rows are null, how many are zero, and how many lie
where the reference had nothing (`news`): between two of its values that are neighbours a number is nothing
new (days since a delivery, seen once a week), and a code is. Edges are fixed once, so that histograms of any
two days add up.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.compute.jit import jit

BINS = 200
WIDE = 5  # usual steps from one exact value to the next; what lies in a wider gap is new
_PADDED = 256  # edges of a column with infinite ones after them: a power of two above BINS
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class Edges:
    """Where the bins of some columns end. Bin b of a column holds values v with edge[b-1] < v <= edge[b].

    upper: float32 [columns, 256], ascending, padded with inf. used: int64 [columns], edges of each column.
    exact: bool [columns], whether each edge is a value of the reference and nothing lies between. step:
    float32 [columns], how far apart two exact values may be for what lies between them to be nothing new.
    slack: float32 [columns], how far beyond the least and the greatest is nothing new.
    """

    upper: Float32
    used: Int64
    exact: NDArray[np.bool_]
    step: Float32
    slack: Float32

    @classmethod
    def of(
        cls, reference: Float32, codes: Collection[int] = (), slack: Mapping[int, float] | None = None
    ) -> "Edges":
        """Edges of the columns of a matrix, float32 [rows, columns], null as NaN. An empty column has none.

        codes: columns whose values are codes, of which each is known by itself. slack: by column, else 0.

        >>> edges = Edges.of(np.array([[1, 0], [1, 2], [5, 2]], np.float32))
        >>> edges.upper[0, :3].tolist(), edges.used.tolist(), edges.exact.tolist()
        ([1.0, 5.0, inf], [2, 2], [True, True])
        """
        columns = reference.shape[1]
        upper = np.full((columns, _PADDED), np.inf, np.float32)
        used, exact = np.zeros(columns, np.int64), np.zeros(columns, np.bool_)
        step, wider = np.zeros((2, columns), np.float32)
        for place, value in (slack or {}).items():
            wider[place] = value
        for place in range(columns):
            known = np.sort(reference[:, place])
            known = known[: len(known) - np.isnan(known).sum()]
            if not len(known):
                continue
            values = known[np.append(True, known[1:] != known[:-1])]
            exact[place] = len(values) <= BINS
            if exact[place] and place not in codes and len(values) > 1:
                step[place] = WIDE * np.median(np.diff(values))
            if not exact[place]:
                ranks = np.arange(BINS) * (len(known) - 1) // (BINS - 1)  # the least and the greatest, too
                values = np.unique(known[ranks])
            used[place] = len(values)
            upper[place, : len(values)] = values
        return cls(upper, used, exact, step, wider)

    @classmethod
    def padded(
        cls, upper: Float32, used: Int64, exact: NDArray[np.bool_], step: Float32, slack: Float32
    ) -> "Edges":
        """The inverse of `each`: upper holds the edges of all columns, one after another."""
        full = np.full((len(used), _PADDED), np.inf, np.float32)
        full[np.arange(_PADDED) < used[:, None]] = upper
        return cls(full, used, exact, step, slack)

    def each(self) -> Iterator[Float32]:
        """The edges of each column."""
        for row, used in zip(self.upper, self.used, strict=True):
            yield row[:used]

    def count(self, values: Float32) -> "Histograms":
        """The histograms of a matrix, float32 [rows, columns] (its columns contiguous: no copy is made)."""
        columns = np.ascontiguousarray(values.T)
        counts = np.zeros((len(self.used), BINS + 1), np.int64)
        told = np.zeros((len(self.used), 3), np.int64)
        sums = np.zeros(len(self.used))
        known = self.exact, self.step, self.slack
        _count(columns, self.upper, self.used, *known, counts, told, sums)
        return Histograms(values.shape[0], counts, told[:, 0], told[:, 1], told[:, 2], sums)


@dataclass(frozen=True)
class Histograms:
    """Rows of some columns. rows: all of them. counts: int64 [columns, BINS + 1], the last above every edge.

    nulls, zeros, news: int64 [columns]; news: above or below every value of the reference (and the slack), or
    between exact ones that are codes or far apart. sums: float64 [columns], of what is neither null nor
    infinite.
    """

    rows: int
    counts: Int64
    nulls: Int64
    zeros: Int64
    news: Int64
    sums: Float64

    def __add__(self, other: "Histograms") -> "Histograms":
        """Of all rows of both. The order of adding changes `sums` by rounding, and nothing else."""
        return Histograms(
            self.rows + other.rows,
            self.counts + other.counts,
            self.nulls + other.nulls,
            self.zeros + other.zeros,
            self.news + other.news,
            self.sums + other.sums,
        )


def merged(parts: Sequence[Histograms]) -> Histograms:
    """The sum of one or more."""
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


@jit
def _count(columns, upper, used, exact, between, slack, counts, told, sums):  # type: ignore[no-untyped-def]
    for place in range(columns.shape[0]):
        last = used[place]
        edges = upper[place]
        least = edges[0] - slack[place]
        most = edges[last - 1] + slack[place] if last else -np.inf
        total = 0.0
        for value in columns[place]:
            if value != value:
                told[place, 0] += 1
                continue
            if abs(value) < np.inf:
                total += value
            if value == 0:
                told[place, 1] += 1
            # The first edge that is not below the value: eight halvings, without a branch to mispredict.
            low = 0
            for step in (128, 64, 32, 16, 8, 4, 2, 1):
                low += step * (edges[low + step - 1] < value)
            bin = low if low < last else counts.shape[1] - 1
            counts[place, bin] += 1
            if value < least or value > most:
                told[place, 2] += 1
            elif exact[place] and 0 < low < last and edges[low] != value:
                told[place, 2] += not edges[low] - edges[low - 1] <= between[place]
        sums[place] = total

"""Trees scored for many rows at once: LightGBM's scores to the last bit, at a fraction of the time.

QuickScorer (Lucchese and others 2015, "QuickScorer: A Fast Algorithm to Rank Documents with Additive
Ensembles of Regression Trees"), over rows instead of splits. A split that a row fails rules out the leaves on
its left; what is left of a tree's leaves is a mask of 64 bits, whose lowest is the leaf that the row falls
into. Nothing branches on a row, so one pass over the splits serves a block of rows with vector instructions.
The trees' values are added in LightGBM's order and precision.

Only what masks can tell is compiled: numeric splits, at most 64 leaves a tree. All else is left to LightGBM.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from features.compute.jit import jit
from serving.booster import Numbers, Rows
from serving.trees import CATEGORICAL, DEFAULT_LEFT, MISSING_NAN, MISSING_ZERO, Tree

LEAVES = 64  # bits of a mask
_BLOCK = 128  # rows a pass: their bins and masks stay in the nearest cache
_ALL = np.uint64(2**64 - 1)
_TINY = np.float32(1e-35)  # LightGBM's kZeroThreshold: it reads what is not further from 0 as 0
_LEFT, _RIGHT, _ZERO = 0, 1, 2  # what becomes of a row whose value is not known

# The place of a mask's lowest bit, by the top six bits of its product with a de Bruijn sequence
# (Leiserson and others 1998, "Using de Bruijn Sequences to Index a 1 in a Computer Word").
_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
_PLACE = np.zeros(64, np.uint8)
_PLACE[[(int(_DE_BRUIJN) << i) % 2**64 >> 58 for i in range(64)]] = np.arange(64)


class Compiled(NamedTuple):
    """An ensemble as arrays. A column is a feature with one way to treat a value that is not known.

    feature, unknown: int64 [columns]. thresholds[first[c]:first[c + 1]]: those of column c, ascending.
    Splits of tree t: start[t]:start[t + 1], each with its column, the highest bin that passes, and the mask
    of the leaves that stay possible where it fails. value: float64 [trees, LEAVES], from left to right.
    """

    feature: npt.NDArray[np.int64]
    unknown: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]
    thresholds: Rows
    start: npt.NDArray[np.int64]
    column: npt.NDArray[np.int64]
    passes: npt.NDArray[np.uint16]
    mask: npt.NDArray[np.uint64]
    value: Numbers

    def raw(self, rows: Rows) -> Numbers:
        """float32 [n, features], NaN for null -> the sum of the trees' values, float64 [n]."""
        out = np.empty(len(rows))
        _raw(rows, *self, _PLACE, out)
        return out

    def around(self, width: int) -> Rows:
        """Rows at every threshold, the numbers next to it, and at what is none: float32 [n, width]."""
        odd = np.array([np.nan, 0.0, -0.0, np.inf, -np.inf], np.float32)
        each = [odd] * width
        for c, feature in enumerate(self.feature):
            at = self.thresholds[self.first[c] : self.first[c + 1]]
            near = (at, *(np.nextafter(at, np.float32(to)) for to in (-np.inf, np.inf)))
            each[feature] = np.concatenate([each[feature], *near])
        random, n = np.random.default_rng(0), max(map(len, each))
        # Each in an order of its own: rows that are alike in all features would meet the same leaves.
        return np.column_stack([np.resize(random.permutation(values), n) for values in each])


def compiled(trees: Sequence[Tree]) -> Compiled | None:
    """Arrays of trees that masks can tell; None if there are others."""
    for tree in trees:
        if len(tree.value) > LEAVES or (tree.decision & CATEGORICAL).any():
            return None
        if (tree.missing == MISSING_ZERO).any():
            return None
    feature = np.concatenate([tree.feature for tree in trees])
    threshold = np.concatenate([tree.threshold for tree in trees])
    default = np.concatenate([np.where(tree.decision & DEFAULT_LEFT, _LEFT, _RIGHT) for tree in trees])
    unknown = np.where(np.concatenate([tree.missing for tree in trees]) == MISSING_NAN, default, _ZERO)

    columns, column = np.unique(feature * 3 + unknown, return_inverse=True)
    each = [np.unique(threshold[column == c]) for c in range(len(columns))]
    if max(map(len, each), default=0) >= np.iinfo(np.uint16).max:
        return None
    passes = np.empty(len(feature), np.uint16)
    for c, thresholds in enumerate(each):
        passes[column == c] = np.searchsorted(thresholds, threshold[column == c])
    value = np.zeros((len(trees), LEAVES))
    masks = [np.empty(0, np.uint64)]
    for t, tree in enumerate(trees):
        order, mask = _left_to_right(tree)
        value[t, : len(order)] = tree.value[order]
        masks.append(mask)
    return Compiled(
        columns // 3,
        columns % 3,
        np.cumsum([0, *map(len, each)]),
        _below(np.concatenate([np.empty(0), *each])),
        np.cumsum([0, *(len(tree.feature) for tree in trees)]),
        column,
        passes,
        np.concatenate(masks),
        value,
    )


def _left_to_right(tree: Tree) -> tuple[list[int], npt.NDArray[np.uint64]]:
    """The leaves of a tree from left to right; of each split, a mask without the leaves on its left."""
    order = list[int]()
    mask = np.empty(len(tree.feature), np.uint64)

    def below(node: int) -> None:
        if node < 0:
            order.append(~node)
            return
        first = len(order)
        below(int(tree.left[node]))
        mask[node] = ~np.uint64((1 << len(order)) - (1 << first))
        below(int(tree.right[node]))

    below(0 if len(mask) else ~0)
    return order, mask


def _below(numbers: Numbers) -> Rows:
    """The largest float32 that is not above each: a float32 is above the one if it is above the other."""
    near = numbers.astype(np.float32)
    return np.where(near > numbers, np.nextafter(near, np.float32(-np.inf)), near)


@jit
def _raw(
    rows: Any, feature: Any, unknown: Any, first: Any, thresholds: Any, start: Any, column: Any, passes: Any,
    mask: Any, value: Any, place: Any, out: Any,
) -> None:  # fmt: skip
    bins = np.zeros((len(feature), _BLOCK), np.uint16)
    values = np.zeros(_BLOCK, np.float32)
    possible = np.empty(_BLOCK, np.uint64)
    total = np.empty(_BLOCK, np.float64)
    for begin in range(0, len(rows), _BLOCK):
        n = min(_BLOCK, len(rows) - begin)
        for c in range(len(feature)):
            for r in range(n):
                x = rows[begin + r, feature[c]]
                zero = abs(x) <= _TINY or (unknown[c] == _ZERO and np.isnan(x))
                values[r] = np.float32(0.0) if zero else x
            _binned(values, unknown[c], thresholds[first[c] : first[c + 1]], bins[c])
        for r in range(_BLOCK):  # not total[:] = 0: to compile that takes as long as all else
            total[r] = 0.0
        for t in range(len(start) - 1):
            for r in range(_BLOCK):
                possible[r] = _ALL
            for s in range(start[t], start[t + 1]):
                row, most, without = bins[column[s]], passes[s], mask[s]
                for r in range(_BLOCK):
                    possible[r] &= without if row[r] > most else _ALL
            for r in range(_BLOCK):
                lowest = possible[r] & (~possible[r] + np.uint64(1))
                total[r] += value[t, place[(lowest * _DE_BRUIJN) >> np.uint64(58)]]
        for r in range(n):
            out[begin + r] = total[r]


@jit
def _binned(values: Any, unknown: int, thresholds: Any, out: Any) -> None:
    """Of each value, how many thresholds it is above: a split passes it if these are at most its own."""
    for r in range(_BLOCK):
        out[r] = 0
    for threshold in thresholds:  # not by bisection, whose branches cost more than comparing with all
        for r in range(_BLOCK):
            out[r] += values[r] > threshold
    for r in range(_BLOCK):
        if unknown == _RIGHT and np.isnan(values[r]):
            out[r] = len(thresholds)

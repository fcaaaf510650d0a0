"""Trees scored for many rows at once: LightGBM's scores to the last bit, at a fraction of the time.

QuickScorer (Lucchese and others 2015, "QuickScorer: A Fast Algorithm to Rank Documents with Additive
Ensembles of Regression Trees"), over rows instead of splits. A split that a row fails rules out the leaves on
its left; what is left of a tree's leaves is a mask, of 32 bits where no tree has more leaves, else of 64,
whose lowest is the leaf that the row falls into. Nothing branches on a row, so one pass over the splits
serves a block of rows with vector instructions. Trees' values are added in LightGBM's order and precision.

Only what masks can tell is compiled: numeric splits, at most 64 leaves a tree. All else is left to LightGBM.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from features.compute.jit import jit
from serving.booster import Numbers, Rows
from serving.trees import CATEGORICAL, DEFAULT_LEFT, MISSING_NAN, MISSING_ZERO, Tree

LEAVES = 64  # bits of the widest mask
_BLOCK, _LANES = 256, 32  # rows a pass, at most, so that bins and masks stay in the nearest caches; in steps
_MOST = np.iinfo(np.uint16).max  # a bin that no row is above
_TINY = np.float32(1e-35)  # LightGBM's kZeroThreshold: it reads what is not further from 0 as 0
_LEFT, _RIGHT, _ZERO = 0, 1, 2  # what becomes of a row whose value is not known

# A mask's lowest bit times a de Bruijn sequence has a top of five or six bits that is another for every bit
# (Leiserson and others 1998, "Using de Bruijn Sequences to Index a 1 in a Computer Word").
_DE_BRUIJN = {np.dtype(np.uint32): 0x077CB531, np.dtype(np.uint64): 0x03F79D71B4CB0A89}


class Compiled(NamedTuple):
    """An ensemble as arrays. A column is a feature with one way to treat a value that is not known. Each
    feature's thresholds and each tree's splits are an even number, since a pass over a block takes two: the
    last may be one that no row is above.

    feature: int64 [features], those that trees split by. thresholds[first[f]:first[f + 1]]: those of feature
    f, ascending; columns[f]:columns[f + 1]: its columns. unknown: uint16 [columns], the bin of what is not
    known. Splits of tree t: start[t]:start[t + 1], each with its column, the highest bin that passes, and the
    mask of the leaves that stay possible where it fails. value: float64 [trees, bits of a mask], each leaf's
    at the top of its bit times `hash`, which begins at bit `top`.
    """

    feature: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]
    thresholds: Rows
    columns: npt.NDArray[np.int64]
    unknown: npt.NDArray[np.uint16]
    start: npt.NDArray[np.int64]
    column: npt.NDArray[np.int64]
    passes: npt.NDArray[np.uint16]
    mask: npt.NDArray[Any]
    value: Numbers
    whole: np.unsignedinteger[Any]
    hash: np.unsignedinteger[Any]
    top: int

    def raw(self, rows: Rows) -> Numbers:
        """float32 [n, features], NaN for null -> the sum of the trees' values, float64 [n].

        Rows that lie column by column in memory are read as they are, and fastest.
        """
        if not (rows.flags.c_contiguous or rows.flags.f_contiguous):
            rows = np.ascontiguousarray(rows)
        out = np.empty(len(rows))
        _raw(rows, *self, min(_BLOCK, -(-len(rows) // _LANES) * _LANES), out)
        return out

    def around(self, width: int) -> Rows:
        """Rows at every threshold, the numbers next to it, and at what is none: float32 [n, width]."""
        odd = np.array([np.nan, 0.0, -0.0, np.inf, -np.inf], np.float32)
        each = [odd] * width
        for f, feature in enumerate(self.feature):
            at = self.thresholds[self.first[f] : self.first[f + 1]]
            near = (at, *(np.nextafter(at, np.float32(to)) for to in (-np.inf, np.inf)))
            each[feature] = np.concatenate([odd, *near])
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
    split_by = np.concatenate([tree.feature for tree in trees])
    threshold = np.concatenate([tree.threshold for tree in trees])
    default = np.concatenate([np.where(tree.decision & DEFAULT_LEFT, _LEFT, _RIGHT) for tree in trees])
    way = np.where(np.concatenate([tree.missing for tree in trees]) == MISSING_NAN, default, _ZERO)

    feature, of_split = np.unique(split_by, return_inverse=True)
    each = [np.unique(threshold[of_split == f]) for f in range(len(feature))]
    if max(map(len, each), default=0) >= _MOST:
        return None
    passes = np.empty(len(split_by), np.uint16)
    for f, thresholds in enumerate(each):
        passes[of_split == f] = np.searchsorted(thresholds, threshold[of_split == f])
    ways, column = np.unique(of_split * 3 + way, return_inverse=True)
    unknown = [{_LEFT: 0, _RIGHT: len(each[f]), _ZERO: np.searchsorted(each[f], 0.0)}[w]
               for f, w in zip(ways // 3, ways % 3, strict=True)]  # fmt: skip

    mask_of = np.uint32 if max(len(tree.value) for tree in trees) <= 32 else np.uint64
    bits = np.iinfo(mask_of).bits
    whole = mask_of(2**bits - 1)
    hash, top = mask_of(_DE_BRUIJN[np.dtype(mask_of)]), bits - (bits.bit_length() - 1)
    place = [(int(hash) << bit) % 2**bits >> top for bit in range(bits)]
    value = np.zeros((len(trees), bits))
    masks = [np.empty(0, np.uint64)]
    for t, tree in enumerate(trees):
        order, mask = _left_to_right(tree)
        value[t, place[: len(order)]] = tree.value[order]
        masks.append(mask)
    splits = np.cumsum([0, *(len(tree.feature) for tree in trees)])
    odd = splits[1:][np.diff(splits) % 2 == 1]
    pairs = [np.append(one, [np.inf] * (len(one) % 2)) for one in each]
    return Compiled(
        feature,
        np.cumsum([0, *map(len, pairs)]),
        _below(np.concatenate([np.empty(0), *pairs])),
        np.searchsorted(ways // 3, np.arange(len(feature) + 1)),
        np.array(unknown, np.uint16),
        splits + np.searchsorted(odd, splits, side="right"),
        np.insert(column, odd, 0),
        np.insert(passes, odd, _MOST),
        np.insert(np.concatenate(masks).astype(mask_of), odd, whole),
        value,
        whole,
        hash,
        top,
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
    rows: Any, feature: Any, first: Any, thresholds: Any, columns: Any, unknown: Any, start: Any, column: Any,
    passes: Any, mask: Any, value: Any, whole: Any, hash: Any, top: int, block: int, out: Any,
) -> None:  # fmt: skip
    bins = np.zeros((len(unknown), block), np.uint16)
    values = np.zeros(block, np.float32)
    above = np.zeros(block, np.int32)
    possible = np.empty(block, mask.dtype)
    total = np.empty(block, np.float64)
    for begin in range(0, len(rows), block):
        n = min(block, len(rows) - begin)
        for f in range(len(feature)):
            for r in range(n):
                x = rows[begin + r, feature[f]]
                values[r] = np.float32(0.0) if abs(x) <= _TINY else x
            _count(values, thresholds[first[f] : first[f + 1]], above)
            for c in range(columns[f], columns[f + 1]):
                row, other = bins[c], unknown[c]
                for r in range(block):
                    row[r] = other if np.isnan(values[r]) else above[r]
        for r in range(block):  # not total[:] = 0: to compile that takes as long as all else
            total[r] = 0.0
        for t in range(len(start) - 1):
            for r in range(block):
                possible[r] = whole
            for s in range(start[t], start[t + 1], 2):
                row, most, without = bins[column[s]], passes[s], mask[s]
                row2, most2, without2 = bins[column[s + 1]], passes[s + 1], mask[s + 1]
                for r in range(block):
                    left = possible[r] & without if row[r] > most else possible[r]
                    possible[r] = left & without2 if row2[r] > most2 else left
            for r in range(block):
                # Stored before it is read: as a number by itself the product would have more bits.
                possible[r] = (possible[r] & (~possible[r] + 1)) * hash
            leaf = value[t]
            for r in range(block):
                total[r] += leaf[possible[r] >> top]
        for r in range(n):
            out[begin + r] = total[r]


@jit
def _count(values: Any, thresholds: Any, above: Any) -> None:
    """Of each value, how many thresholds it is above: a split passes it if these are at most its own."""
    for r in range(len(values)):
        above[r] = 0
    for k in range(0, len(thresholds), 2):  # not by bisection: branches cost more than comparing with all
        one, two = thresholds[k], thresholds[k + 1]
        for r in range(len(values)):
            above[r] += np.int32(values[r] > one) + np.int32(values[r] > two)

"""The trees of a LightGBM model text, as arrays. Format: LightGBM's src/io/tree.cpp, `Tree::ToString`."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from features.errors import ReleaseCorrupt

_Ints = npt.NDArray[np.int64]
_Numbers = npt.NDArray[np.float64]

# Bits of `decision`, LightGBM's decision_type.
CATEGORICAL, DEFAULT_LEFT = 1, 2
MISSING_ZERO, MISSING_NAN = 1, 2  # of `missing`; 0 where training met none, and a null then counts as 0


class Tree(NamedTuple):
    """One tree. Splits: a row whose `feature` is at most `threshold` goes `left`, else `right`.

    A child of 0 or more is a split, and comes after its parent; ~child is a leaf. Leaves: `value`, and
    `rows`, how many training rows fell into it. A tree without a split has one leaf.
    """

    feature: _Ints
    threshold: _Numbers
    decision: _Ints
    left: _Ints
    right: _Ints
    value: _Numbers
    rows: _Numbers

    @property
    def missing(self) -> _Ints:
        """Of each split, what counts as missing: 0 nothing, MISSING_ZERO or MISSING_NAN."""
        return (self.decision >> 2) & 3


def parse(text: str) -> Iterator[Tree]:
    """The trees of a model text, in order. ReleaseCorrupt for linear trees, which no leaf value tells."""
    for block in text.partition("\nend of trees")[0].split("\nTree=")[1:]:
        raw = dict(line.partition("=")[::2] for line in block.splitlines() if "=" in line)
        if raw.get("is_linear", "0") != "0":
            raise ReleaseCorrupt("a booster has linear trees: train with linear_tree=false")
        splits = {
            name: np.array(raw.get(key, "").split(), np.int64)
            for name, key in (
                ("feature", "split_feature"),
                ("decision", "decision_type"),
                ("left", "left_child"),
                ("right", "right_child"),
            )
        }
        yield Tree(
            threshold=np.array(raw.get("threshold", "").split(), np.float64),
            value=np.array(raw["leaf_value"].split(), np.float64),
            rows=np.array(raw.get("leaf_count", "0").split(), np.float64),
            **splits,
        )

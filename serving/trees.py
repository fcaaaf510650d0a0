"""The trees of a LightGBM model text, as arrays. Format: LightGBM's src/io/tree.cpp, `Tree::ToString`."""

import re
from collections.abc import Iterator, Mapping
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


def rewritten(text: str) -> str:
    """The same model in a text that the library may trust: every number as it stands, nothing else.

    LightGBM believes sizes, counts and children, reads memory by them, and ends the process where they are
    wrong. ReleaseCorrupt names what is.
    """
    head, _, rest = text.partition("\nTree=")
    keys = dict(line.partition("=")[::2] for line in head.splitlines() if line)
    width = _whole(keys, "max_feature_idx") + 1
    _fixed(keys, {"num_class": "1", "num_tree_per_iteration": "1"})
    for name in ("feature_names", "feature_infos"):
        if len(keys.get(name, "").split()) != width:
            raise ReleaseCorrupt(f"a booster has not as many {name} as features, {width}")
    blocks = rest.partition("\nend of trees")[0].split("\nTree=") if rest else []
    trees = [_tree(place, block, width) for place, block in enumerate(blocks)]
    lines = [f"{key}={keys[key]}" for key in _HEAD if key in keys]
    sizes = " ".join(str(len(tree)) for tree in trees)
    return "\n".join(["tree", *lines, f"tree_sizes={sizes}", "", "".join(trees) + "end of trees", "", ""])


_HEAD = (
    "version", "num_class", "num_tree_per_iteration", "label_index", "max_feature_idx", "objective",
    "feature_names", "monotone_constraints", "feature_infos",
)  # fmt: skip
_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,3})?|-?(inf|nan)")
_INTEGER = re.compile(r"-?[0-9]{1,9}")
_OF_SPLITS = (
    "split_feature", "split_gain", "threshold", "decision_type", "left_child", "right_child",
    "internal_value", "internal_weight", "internal_count",
)  # fmt: skip
_OF_LEAVES = ("leaf_value", "leaf_weight", "leaf_count")
_WHOLE = ("split_feature", "decision_type", "left_child", "right_child", "internal_count", "leaf_count")
_NEEDED = ("split_feature", "threshold", "decision_type", "left_child", "right_child", "internal_count")


def _tree(place: int, block: str, width: int) -> str:
    """One tree's part of the text, with the blank lines that end it."""
    raw = dict(line.partition("=")[::2] for line in block.splitlines()[1:] if "=" in line)
    leaves, categories = _whole(raw, "num_leaves"), _whole(raw, "num_cat")
    if leaves < 1:
        raise ReleaseCorrupt(f"tree {place} of a booster has no leaf")
    counts = dict.fromkeys(_OF_SPLITS, leaves - 1) | dict.fromkeys(_OF_LEAVES, leaves)
    found: dict[str, list[str]] = {}
    for name, count in counts.items():
        tokens = raw.get(name, "").split()
        needed = name == "leaf_value" or (leaves > 1 and name in (*_NEEDED, "leaf_count"))
        pattern = _INTEGER if name in _WHOLE else _NUMBER
        if (tokens or needed) and (len(tokens) != count or not all(map(pattern.fullmatch, tokens))):
            raise ReleaseCorrupt(f"tree {place} of a booster has a {name} of other than {count} numbers")
        found[name] = tokens
    if leaves > 1:
        _children(place, found, leaves, width)
    lines = [f"Tree={place}", f"num_leaves={leaves}", f"num_cat={categories}"]
    lines += [f"{name}={' '.join(tokens)}" for name, tokens in found.items() if tokens]
    if categories:
        lines += _categories(place, raw, found, categories)
    _fixed(raw, {"is_linear": "0"})
    lines += ["is_linear=0", f"shrinkage={_one(place, raw.get('shrinkage', '1'))}", "", "", ""]
    return "\n".join(lines)


def _children(place: int, found: Mapping[str, list[str]], leaves: int, width: int) -> None:
    left, right, feature = (
        np.array(found[key], np.int64) for key in ("left_child", "right_child", "split_feature")
    )
    children = np.concatenate([left, right])
    parents = np.tile(np.arange(leaves - 1), 2)
    once = np.array_equal(np.sort(children), [*range(-leaves, 0), *range(1, leaves - 1)])
    if not once or (parents[children > 0] >= children[children > 0]).any():
        raise ReleaseCorrupt(f"tree {place} of a booster is no tree: a child is missing, or comes twice")
    if (feature < 0).any() or (feature >= width).any():
        raise ReleaseCorrupt(f"tree {place} of a booster splits by a feature that the model has not")


def _categories(
    place: int, raw: Mapping[str, str], found: Mapping[str, list[str]], categories: int
) -> list[str]:
    """The lines of the sets of categories that go left."""
    bounds, sets = raw.get("cat_boundaries", "").split(), raw.get("cat_threshold", "").split()
    if not all(re.fullmatch("[0-9]{1,10}", token) for token in (*bounds, *sets)):
        raise ReleaseCorrupt(f"tree {place} of a booster has categories that are no numbers")
    ends = [int(end) for end in bounds]
    by = [
        token
        for token, kind in zip(found["threshold"], found["decision_type"], strict=True)
        if int(kind) & CATEGORICAL
    ]
    known = all(_INTEGER.fullmatch(token) and 0 <= int(token) < categories for token in by)
    if (
        not known
        or len(ends) != categories + 1
        or ends != sorted(ends)
        or [ends[0], ends[-1]] != [0, len(sets)]
    ):
        raise ReleaseCorrupt(f"tree {place} of a booster has other sets of categories than it counts")
    return [f"cat_boundaries={' '.join(bounds)}", f"cat_threshold={' '.join(sets)}"]


def _whole(raw: Mapping[str, str], name: str) -> int:
    text = raw.get(name, "")
    if not re.fullmatch("[0-9]{1,7}", text):
        raise ReleaseCorrupt(f"a booster's {name} is no whole number")
    return int(text)


def _one(place: int, text: str) -> str:
    if not _NUMBER.fullmatch(text):
        raise ReleaseCorrupt(f"tree {place} of a booster has a shrinkage that is no number")
    return text


def _fixed(raw: Mapping[str, str], expected: Mapping[str, str]) -> None:
    for name, value in expected.items():
        if raw.get(name, value) != value:
            raise ReleaseCorrupt(f"a booster has {name}={raw[name]}: expected {value}")

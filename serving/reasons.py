"""Why a score is what it is: contributions of features to the log-odds, and words for them.

Trees are explained by Saabas' method: the mean of a tree changes at every split on a row's way to its
leaf, and the change belongs to the feature that was split on. A node's mean is that of its leaves, weighted
by their training rows, as in TreeSHAP. The changes of a leaf's path are summed per feature once, when the
model is saved, so that explaining costs a look-up of the leaf. It is an approximation of Shapley values (it
depends on the order of splits), and is called that wherever it is shown; LightGBM's own TreeSHAP answers
those who ask for exact ones. http://blog.datadive.net/interpreting-random-forests/

Neither says what causes anything: a reason is what the model looks at.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from math import isnan
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from features.definitions.topics import named, topics
from features.definitions.units import CODES
from features.words import Words
from serving.booster import Numbers
from serving.cards import ModelCard
from serving.trees import Tree, parse

_SCORE = {"bad": Words("risk", "风险"), "good": Words("chance", "可能性")}
_UNKNOWN = Words("not known", "未知")
_ONE_DAY = re.compile(r"(?<![\d.,])1 days\b")


class Reason(NamedTuple):
    """One topic's part in one score.

    feature: the one of the topic with the largest contribution, which the text tells too. value: in the
    feature's unit; None where it is not known. contribution: of the whole topic, in log-odds before
    calibration; positive raises the probability.
    """

    feature: str
    value: float | None
    contribution: float
    text: Words


class Paths(NamedTuple):
    """What every leaf of a booster owes to which features.

    start: int64 [trees], the first row of each tree. features, changes: [leaves of all trees, longest path],
    the features met on the way to a leaf and the log-odds they added; unused places hold feature F, change 0.
    base: float64 [1], the mean of all training rows.
    """

    start: npt.NDArray[np.int64]
    features: npt.NDArray[np.int64]
    changes: Numbers
    base: Numbers

    def contributions(self, leaves: npt.NDArray[np.int64], width: int) -> Numbers:
        """Leaves [n, trees] -> log-odds that each feature adds to `base`, [n, width]."""
        out = np.empty((len(leaves), width))
        for first in range(0, len(leaves), 256):  # bounds memory: 256 rows x 1,000 trees x 10 splits is 20 MB
            part = leaves[first : first + 256] + self.start
            row = np.arange(len(part))[:, None, None] * (width + 1)
            flat = np.bincount(
                (self.features[part] + row).ravel(),
                weights=self.changes[part].ravel(),
                minlength=len(part) * (width + 1),
            )
            out[first : first + 256] = flat.reshape(len(part), width + 1)[:, :width]
        return out


def paths_of(text: str, width: int) -> Paths:
    """The table of a LightGBM model text with `width` features."""
    trees = [_leaves(tree) for tree in parse(text)]
    leaves = [path for _, paths in trees for path in paths]
    longest = max((len(path) for path in leaves), default=0)
    features, changes = np.full((len(leaves), longest), width), np.zeros((len(leaves), longest))
    for i, path in enumerate(leaves):
        features[i, : len(path)] = list(path)
        changes[i, : len(path)] = list(path.values())
    start = np.cumsum([0, *(len(paths) for _, paths in trees)])[:-1]
    return Paths(start, features, changes, np.array([sum(base for base, _ in trees)]))


def _leaves(tree: Tree) -> tuple[float, list[dict[int, float]]]:
    """A tree -> its mean, and for every leaf in order: feature -> change."""
    value, rows = tree.value.tolist(), tree.rows.tolist()
    if len(value) == 1:  # a tree that found no split
        return value[0], [{}]
    split, children = tree.feature.tolist(), list(zip(tree.left.tolist(), tree.right.tolist(), strict=True))

    # A child comes after its parent, so upwards is backwards.
    weight, mean = [0.0] * len(split), [0.0] * len(split)
    for node in range(len(split) - 1, -1, -1):
        parts = [(weight[c], mean[c]) if c >= 0 else (rows[~c], value[~c]) for c in children[node]]
        weight[node] = sum(w for w, _ in parts)
        mean[node] = sum(w * m for w, m in parts) / weight[node]
    paths: list[dict[int, float]] = [{} for _ in value]
    above: list[dict[int, float]] = [{} for _ in split]
    for node, pair in enumerate(children):
        for child in pair:
            path = above[node].copy()
            change = (mean[child] if child >= 0 else value[~child]) - mean[node]
            path[split[node]] = path.get(split[node], 0.0) + change
            if child >= 0:
                above[child] = path
            else:
                paths[~child] = path
    return mean[0], paths


class _Sentence(NamedTuple):
    """A topic's sentence, and the places of the features that it names."""

    words: Words
    places: dict[str, int]


class Teller:
    """Tells the reasons of a card's scores, topic by topic (features/definitions/topics.py)."""

    def __init__(self, card: ModelCard) -> None:
        self._card = card
        at = {feature.name: place for place, feature in enumerate(card.features)}
        self._topics = [
            (
                places,
                [
                    _Sentence(words, {name: at[name] for name in named(words)})
                    for words in sentences
                    if all(name in at for name in named(words))
                ],
            )
            for places, sentences in topics(list(at))
        ]
        self._column = np.array([place for places, _ in self._topics for place in places], np.intp)
        self._starts = np.cumsum([0, *(len(places) for places, _ in self._topics)])[:-1]

    def sums(self, contributions: Numbers) -> Numbers:
        """Contributions of features [n, F] -> of topics [n, topics]."""
        summed: Numbers = np.add.reduceat(contributions[:, self._column], self._starts, axis=1)
        return summed

    def strongest(
        self, rows: Sequence[Sequence[float]], contributions: Numbers, k: int
    ) -> list[list[Reason]]:
        """Of each row [n, F], the k topics with the largest contributions, strongest first.

        What adds nothing is no reason, so there may be fewer than k.
        """
        summed = self.sums(contributions)
        largest = np.argsort(-np.abs(summed), axis=1, kind="stable")[:, :k]
        totals = np.take_along_axis(summed, largest, axis=1)
        return [
            [self._reason(self._topics[t], row, own, total) for t, total in zip(*of, strict=True) if total]
            for row, own, *of in zip(
                rows, contributions.tolist(), largest.tolist(), totals.tolist(), strict=True
            )
        ]

    def _reason(
        self, topic: tuple[list[int], list[_Sentence]], row: Sequence[float], own: list[float], total: float
    ) -> Reason:
        places, sentences = topic
        place = (max if total > 0 else min)(places, key=own.__getitem__)  # of those that pull its way
        value = None if isnan(row[place]) else row[place]
        what = self._sentence(sentences, row, place) or self._named(place, value)
        return Reason(self._card.features[place].name, value, total, self._told(what, total))

    def _sentence(self, sentences: Sequence[_Sentence], row: Sequence[float], strongest: int) -> Words | None:
        """The first that can be told; with the strongest feature, if it speaks of others alone."""
        for words, places in sentences:
            if not any(isnan(row[place]) for place in places.values()):
                shown = {
                    name: value_words(row[place], self._card.features[place].unit, self._card.currency)
                    for name, place in places.items()
                }
                en = words.en.format_map({name: told.en for name, told in shown.items()})
                zh = words.zh.format_map({name: told.zh for name, told in shown.items()})
                told = Words(_ONE_DAY.sub("1 day", en), zh)
                if strongest in places.values():
                    return told
                value = row[strongest]
                own = self._named(strongest, None if isnan(value) else value)
                return Words(f"{told.en}; {own.en}", f"{told.zh}；{own.zh}")
        return None

    def _named(self, place: int, value: float | None) -> Words:
        feature = self._card.features[place]
        said = _UNKNOWN if value is None else value_words(value, feature.unit, self._card.currency)
        return Words(f"{feature.en}: {said.en}", f"{feature.zh}：{said.zh}")

    def _told(self, what: Words, contribution: float) -> Words:
        score = self._card.target.score or _SCORE[self._card.target.higher_is]
        en, zh = ("raises", "提高") if contribution > 0 else ("lowers", "降低")
        return Words(f"{what.en} ({en} the {score.en})", f"{what.zh}（{zh}{score.zh}）")


@lru_cache(4096)  # counts and days come again and again
def value_words(value: float, unit: str, currency: str) -> Words:
    """A value as an operations person reads it.

    >>> told = [(41.37, "days"), (0.237, "share"), (2.25, "ratio"), (1234.5, "money"), (14.0, "hour")]
    >>> [value_words(value, unit, "USD").en for value, unit in told]
    ['41', '24%', '2.2×', '1,234.50 USD', '14:00']
    >>> value_words(1.0, "weekday", "USD"), value_words(3.0, "channel", "USD").en
    (Words(en='Monday', zh='周一'), 'mini program')
    """
    meaning = CODES.get(unit, {}).get(int(value)) if value.is_integer() else None
    if meaning is not None:
        return meaning
    return Words(*[_number(value, unit, currency)] * 2)


def _number(value: float, unit: str, currency: str) -> str:
    if unit == "share":
        return f"{100 * value:.0f}%"
    if unit == "hour":
        return f"{value:.0f}:00"
    if unit == "money":
        # A float32 holds 7 digits: cents beyond 10,000 would be invented.
        return f"{value:,.{0 if value.is_integer() or abs(value) >= 10_000 else 2}f} {currency}"
    number = f"{value:,.{0 if value.is_integer() or abs(value) >= 10 else 1}f}"
    return f"{number}×" if unit == "ratio" else number

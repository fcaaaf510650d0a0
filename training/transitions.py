"""Do life cycle stages hold: who moves where in four weeks, is it so again, and who orders afterwards?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from features.moments import DAY
from features.words import Words
from serving.booster import Numbers
from serving.segment_tables import STAGES
from serving.summaries import Integers
from training.evaluate import DIGITS, Figure, figure

STEP = 28 * DAY
STEADY = 0.1  # of the customers may move otherwise than before
FEWEST = 30  # customers of a stage: of fewer, a share is off by more than a sixth too often
# Of two that stand beside each other, the later orders more often; who has bought, and who has not.
RISING = (("contact", "awareness", "interest"), ("exit", "purchase", "use", "maintenance"))
MOVED = "moved_otherwise"
WORDS = {label.name: Words(label.words.en, label.words.zh) for label in STAGES.labels}
_REPLICATES = 1_000
_Z = 1.959964  # of a 95 % interval


@dataclass(frozen=True)
class Moves:
    """counts: customers by stage at a moment and STEP later, [k, k]; in the order of `stages`."""

    stages: tuple[str, ...]
    counts: Integers

    @classmethod
    def of(cls, stages: Sequence[str], before: Integers, after: Integers) -> "Moves":
        """From each customer's stage at both moments, [n]."""
        k = len(stages)
        return cls(tuple(stages), np.bincount(before * k + after, minlength=k * k).reshape(k, k))

    def figures(self) -> dict[str, Figure]:
        """Shares of each stage with FEWEST customers that were in each one later: `purchase_to_use`, with
        95 % intervals."""
        found, rows = {}, self.counts.sum(axis=1)
        for i, j in np.argwhere((self.counts > 0) & (rows >= FEWEST)[:, None]).tolist():
            name = f"{self.stages[i]}_to_{self.stages[j]}"
            found[name] = share(int(self.counts[i, j]), int(rows[i]))
        return found


def moved(stages: Sequence[str], three: Sequence[Integers], seed: int) -> dict[str, Figure]:
    """Which share moves otherwise in a second step than in the first: total variation, 0 the same, 1 nothing.

    three: each customer's stage at three moments, [n] each. Of each stage with FEWEST customers the distance
    of where they went in the two steps, `moved_otherwise_use`; and as MOVED their mean, weighed by how many
    were in each before the second. Drawn anew customer by customer.
    """
    k = len(stages)
    path = np.bincount((three[0] * k + three[1]) * k + three[2], minlength=k**3)
    random = np.random.default_rng(seed)
    draws = random.multinomial(path.sum(), path / path.sum(), _REPLICATES)
    all = np.concatenate([path[None], draws]).reshape(-1, k, k, k).astype(float)
    first, second = all.sum(axis=3), all.sum(axis=1)
    n = [side.sum(axis=2, keepdims=True) for side in (first, second)]
    rows = [side / np.maximum(number, 1) for side, number in zip((first, second), n, strict=True)]
    known = np.minimum(*n)[..., 0] >= FEWEST
    weight = np.where(known, n[1][..., 0], 0)
    apart = np.abs(rows[0] - rows[1]).sum(axis=2) / 2
    mean = (apart * weight).sum(axis=1) / np.maximum(weight.sum(axis=1), 1)
    found = {MOVED: figure(float(mean[0]), mean[1:]) | {"rows": int(weight[0].sum())}}
    for place in np.flatnonzero(known[0]).tolist():
        one = figure(float(apart[0, place]), apart[1:, place])
        found[f"{MOVED}_{stages[place]}"] = one | {"rows": int(weight[0, place])}
    return found


def most(steps: Sequence[Mapping[str, Figure]]) -> dict[str, Figure]:
    """Of what `moved` says of several steps, each name's largest."""
    names = {name: None for step in steps for name in step}
    return {
        name: max((step[name] for step in steps if name in step), key=lambda one: one["value"])
        for name in names
    }


def ordering(stages: Sequence[str], stage: Integers, came: Numbers) -> dict[str, Figure]:
    """Of each stage with FEWEST customers, the share that ordered afterwards: `orders_after_use`.

    stage: each customer's, [n]; came: 1 if an order followed, else 0, [n].
    """
    found = {}
    for place, name in enumerate(stages):
        here = came[stage == place]
        if len(here) >= FEWEST:
            found[f"orders_after_{name}"] = share(int(here.sum()), len(here))
    return found


def against(figures: Mapping[str, Figure]) -> list[tuple[str, str]]:
    """Pairs of stages that stand the wrong way round: the first should order less often, and orders more."""
    wrong = []
    for rising in RISING:
        there = [name for name in rising if f"orders_after_{name}" in figures]
        for less, more in zip(there, there[1:], strict=False):
            a, b = figures[f"orders_after_{less}"], figures[f"orders_after_{more}"]
            if a["low"] > b["high"]:
                wrong.append((less, more))
    return wrong


def share(k: int, n: int) -> Figure:
    """k of n with Wilson's 95 % interval (Wilson 1927), and n as `rows`.

    >>> share(5, 10)
    {'value': 0.5, 'low': 0.236593, 'high': 0.763407, 'rows': 10}
    """
    p, z = k / n, _Z
    middle, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)
    return {
        "value": round(p, DIGITS),
        "low": round(max(float(low), 0.0), DIGITS),
        "high": round(float(high), DIGITS),
        "rows": n,
    }


def steps(moments: Sequence[datetime], cut_off: datetime, until: datetime) -> list[datetime]:
    """Moments STEP apart that were built: the one before the cut-off, itself, and those after it."""
    built, found, at = set(moments), [cut_off], cut_off + STEP
    while at in built and at <= until:
        found.append(at)
        at += STEP
    return [cut_off - STEP, *found] if cut_off - STEP in built else found


def objections(figures: Mapping[str, Figure]) -> list[Words]:
    """What the figures say against the stages."""
    return [
        Words(
            f"{WORDS[more].en} is followed by fewer orders than {WORDS[less].en.lower()}",
            f"{WORDS[more].zh}的后续下单少于{WORDS[less].zh}",
        )
        for less, more in against(figures)
    ]


def verdict(figures: Mapping[str, Figure]) -> Words:
    """Whether stages mean what they say, and whether customers move between them as before."""
    said = [*_ordered(figures), *_steady(figures)]
    return Words(" ".join(words.en for words in said), "".join(words.zh for words in said))


def _ordered(figures: Mapping[str, Figure]) -> list[Words]:
    shares = {
        words: figures[key] for name, words in WORDS.items() if (key := f"orders_after_{name}") in figures
    }
    if not shares:
        return [Words("No stage has customers enough to be judged.", "各阶段客户数均不足，无法评估。")]
    wrong = objections(figures)
    en = ", ".join(f"{words.en.lower()} {one['value']:.0%}" for words, one in shares.items())
    zh = "，".join(f"{words.zh}{one['value']:.0%}" for words, one in shares.items())
    return [
        Words(
            f"Stages {'do not mean' if wrong else 'mean'} what they say. "
            f"Ordered within {STEP.days} days: {en}.",
            f"阶段{'与后续购买不符' if wrong else '与后续购买相符'}。{STEP.days}天内下单比例：{zh}。",
        ),
        *(Words(f"{words.en}: do not rank by them.", f"{words.zh}：请勿据此排序。") for words in wrong),
    ]


def _steady(figures: Mapping[str, Figure]) -> list[Words]:
    if (off := figures.get(MOVED)) is None:
        return [
            Words(
                "Whether customers move as before cannot be told: too few snapshots lie 28 days apart.",
                "相隔28天的快照不足，无法判断阶段转移是否稳定。",
            )
        ]
    holds, seen = off["value"] <= STEADY, _percent(off)
    said = [
        Words(
            f"Customers move between stages {'as before' if holds else 'otherwise than before'}: on average "
            f"at most {seen} of them went elsewhere than those of four weeks earlier; {STEADY:.0%} is the "
            "limit.",
            f"阶段转移{'稳定' if holds else '不稳定'}：与四周前相比，"
            f"去向不同的客户平均最多占{seen}，上限为{STEADY:.0%}。",
        )
    ]
    stages = {words: figures[key] for name, words in WORDS.items() if (key := f"{MOVED}_{name}") in figures}
    if stages:
        words, worst = max(stages.items(), key=lambda one: one[1]["value"])
        said.append(
            Words(
                f"Most in the stage {words.en.lower()}: {_percent(worst)} of {worst['rows']:,}.",
                f"差异最大的阶段为{words.zh}：{worst['rows']:,}人中{_percent(worst)}。",
            )
        )
    return said


def _percent(of: Figure) -> str:
    return f"{of['value']:.1%} [{of['low']:.1%}, {of['high']:.1%}]"

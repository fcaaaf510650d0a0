"""What a catalogue of actions declares, as arrays [A], made once for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.actions import NOTHING, Action, Reach

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Declared:
    """What a catalogue declares, as arrays [A], made once for it.

    conditions: (column, action, number among the action's, at least, at most), the actions in their order,
    of each those that must hold, then those that must not; starts: of each action that has some, the place of
    its first. eligible: how many must hold.
    """

    actions: Sequence[Action]
    effects: Mapping[str, Floats]  # mean, low, high
    terms: Mapping[str, Floats]
    cost: Floats
    order_value: Floats  # assumed; NaN where the action assumes none
    suppress_days: Floats
    marketing: Bools
    nothing: Bools
    service: Bools
    part: Bools  # of a bundle that is decided for a wider unit
    names: tuple[str, ...]
    channels: tuple[tuple[str, ...], ...]
    units: Sequence[Reach]
    eligible: NDArray[np.int64]
    reads: Sequence[str]
    numbers: NDArray[np.int8]
    at_least: NDArray[np.float32]
    at_most: NDArray[np.float32]
    must_not: Bools
    conditioned: NDArray[np.intp]
    starts: NDArray[np.intp]

    @classmethod
    def of(cls, actions: Sequence[Action]) -> "Declared":
        """Bounds are float32, as the features are."""
        every = [(*action.eligible, *action.suppressed_if) for action in actions]
        conditions = [(number, c) for of in every for number, c in enumerate(of)]
        sizes = [len(of) for of in every]
        conditioned = np.flatnonzero(sizes)
        return cls(
            actions=actions,
            effects={
                end: np.array([getattr(a.effect, end) for a in actions]) for end in ("mean", "low", "high")
            },
            terms={
                "d_retention": np.array([a.retention_effect for a in actions]),
                "send_cost": 0.0 - np.array([a.sending for a in actions]),
                "incentive": 0.0 - np.array([a.redeem * a.incentive for a in actions]),
                "d_optout": np.array([a.optout_effect for a in actions]),
                "fatigue": np.array([a.fatigue_cost for a in actions]),
            },
            cost=np.array([a.cost for a in actions]),
            order_value=np.array([np.nan if a.order_value is None else a.order_value for a in actions]),
            suppress_days=np.array([a.suppress_days for a in actions], dtype=np.float64),
            marketing=np.array([a.purpose == "marketing" and a.name != NOTHING.name for a in actions]),
            nothing=np.array([a.name == NOTHING.name for a in actions]),
            service=np.array([a.goal_kind == "service" for a in actions]),
            part=np.array([a.part_of is not None for a in actions]),
            names=tuple(a.name for a in actions),
            channels=tuple(a.channels for a in actions),
            units=[a.unit for a in actions],
            eligible=np.array([len(a.eligible) for a in actions]),
            reads=[c.column for _, c in conditions],
            numbers=np.array([number for number, _ in conditions], dtype=np.int8),
            at_least=np.array([c.bounds[0] for _, c in conditions], np.float32),
            at_most=np.array([c.bounds[1] for _, c in conditions], np.float32),
            must_not=np.array(
                [
                    number >= len(a.eligible)
                    for a, of in zip(actions, every, strict=True)
                    for number in range(len(of))
                ],
                dtype=np.bool_,
            ),
            conditioned=conditioned,
            starts=np.cumsum([0, *sizes])[conditioned],
        )

    def first_failed(self, features: Mapping[str, NDArray[np.float32]], n: int) -> NDArray[np.int8]:
        """[n, A]: number of the first condition that keeps the action out, else -1."""
        first = np.full((n, len(self.actions)), -1, dtype=np.int8)
        if not self.reads:
            return first
        values = np.array([features[name] for name in self.reads]).T
        holds = (values >= self.at_least) & (values <= self.at_most)  # not where it is not known
        none = np.int8(127)
        keeps_out = holds == self.must_not
        found = np.minimum.reduceat(np.where(keeps_out, self.numbers, none), self.starts, axis=1)
        first[:, self.conditioned] = np.where(found == none, -1, found)
        return first


_last = Declared.of([NOTHING])


def declared_of(actions: Sequence[Action]) -> Declared:
    """Of the last catalogue it is kept: the service decides under one, again and again."""
    global _last  # noqa: PLW0603
    found = _last
    if found.actions is not actions:
        found = _last = Declared.of(actions)
    return found

"""Which channel gets the credit, by the usual attribution; and what the lots say, to set beside it.

Attribution by Markov chains (Anderl and others 2016, "Mapping the customer journey"): a customer's contacts
are a path from the start to an order or to none. The removal effect of a channel is the share of the orders
that is lost if every step to that channel leads to none; credits are removal effects in proportion, times all
orders. It divides the orders of all who were contacted, also those that would have come anyway: it says where
customers were met, not what moved them. Messages that are owed for service would
get the credit of whoever complains and stays, and are no steps; nor is what no delivery says was sent.

Two channels help or hinder each other if what one brings differs with the other. Where both were drawn by lot
for one customer, within one window, that is (y11 - y01) - (y10 - y00), of means weighted by 1 / (p1 p2). The
intervals of all pairs hold together (Bonferroni).
"""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import norm

from training.logged import SENT, Logged
from training.sequential import LEAST, Difference

_START, _ORDER, _NONE = "(start)", "(order)", "(none)"
_Z = 1.959964


@dataclass(frozen=True)
class Credit:
    """removal: the channel's removal effect, 0 to 1. credited: orders that attribution gives it."""

    channel: str
    removal: float
    credited: float


@dataclass(frozen=True)
class Interaction:
    """Margin that two channels bring together more than each by itself, a customer. pairs: per cell, both
    first: (first and second, first alone, second alone, none). difference: None if a cell is too small."""

    first: str
    second: str
    pairs: tuple[int, int, int, int]
    difference: Difference | None

    def wider(self, by: float) -> "Interaction":
        """The same with another width of the interval."""
        of = self.difference
        if of is None:
            return self
        ends = (of.value + (end - of.value) * by for end in (of.low, of.high))
        return replace(self, difference=Difference(of.value, *ends))


def paths(logged: Logged) -> list[tuple[tuple[str, ...], bool]]:
    """Of each customer with a contact whose outcome is final: channels in turn, and whether they ordered."""
    found: dict[int, tuple[list[str], bool]] = {}
    ordered_then = logged.ordered
    met = ~logged.service[logged.action] & (logged.delivery == SENT)
    for row in np.flatnonzero(logged.mature & ~logged.holdout & met):
        channel = logged.channels.get(logged.actions[logged.action[row]])
        if channel is None:
            continue
        steps, ordered = found.get(int(logged.customer[row]), ([], False))
        came = bool(ordered_then[row])
        found[int(logged.customer[row])] = (
            [*steps, channel, *logged.further.get(logged.ids[row], ())],
            ordered or came,
        )
    return [(tuple(steps), ordered) for steps, ordered in found.values()]


def markov(journeys: Sequence[tuple[tuple[str, ...], bool]]) -> list[Credit]:
    """Credits of each channel, the largest first; empty if nobody ordered.

    >>> journeys = [(("mail",), True), (("mail", "sms"), True), (("sms",), False), (("sms",), False)]
    >>> [(of.channel, round(of.removal, 2), round(of.credited, 2)) for of in markov(journeys)]
    [('mail', 0.67, 1.14), ('sms', 0.5, 0.86)]
    """
    moves: dict[str, Counter[str]] = {}
    for steps, ordered in journeys:
        for here, there in itertools.pairwise((_START, *steps, _ORDER if ordered else _NONE)):
            moves.setdefault(here, Counter())[there] += 1
    orders = sum(ordered for _, ordered in journeys)
    channels = sorted(set(moves) - {_START})
    if not orders:
        return []
    whole = _reached(moves, channels, None)
    removal = {name: 1 - _reached(moves, channels, name) / whole for name in channels}
    total = sum(removal.values()) or 1.0
    found = [Credit(name, effect, effect / total * orders) for name, effect in removal.items()]
    return sorted(found, key=lambda of: -of.credited)


def _reached(moves: Mapping[str, Counter[str]], channels: Sequence[str], without: str | None) -> float:
    """The chance of an order from the start, steps to `without` leading to none."""
    states = [_START, *(name for name in channels if name != without)]
    place = {name: i for i, name in enumerate(states)}
    within, to_order = np.zeros((len(states), len(states))), np.zeros(len(states))
    for name in states:
        total = moves[name].total()
        for there, count in moves[name].items():
            if there == _ORDER:
                to_order[place[name]] = count / total
            elif there in place:
                within[place[name], place[there]] = count / total
    return float(np.linalg.solve(np.eye(len(states)) - within, to_order)[0])


def interactions(logged: Logged) -> list[Interaction]:
    """Of every two channels that were drawn for one customer within one window, in either order."""
    pairs = _pairs(logged)
    names = sorted({name for name in logged.channels.values() if name is not None})
    found = []
    for first, second in itertools.combinations(names, 2):
        cells = [
            (logged.outcomes["margin"][late], 1 / (logged.given[early] * logged.given[late]), got)
            for early, late in pairs
            if (got := _cell(logged, early, late, first, second)) is not None
        ]
        if cells:
            found.append(_interaction(first, second, cells))
    known = sum(of.difference is not None for of in found)
    return [of.wider(float(norm.isf(0.025 / known)) / _Z) if known else of for of in found]


def _pairs(logged: Logged) -> list[tuple[int, int]]:
    """Each customer's first two decisions drawn by lot, the second within the window of the first."""
    drawn = np.flatnonzero(logged.mature & ~logged.holdout & (logged.given < 1))
    seen: dict[int, list[int]] = {}
    for row in drawn:
        seen.setdefault(int(logged.customer[row]), []).append(int(row))
    return [
        (rows[0], rows[1])
        for rows in seen.values()
        if len(rows) > 1 and logged.as_of[rows[1]] < logged.window_end[rows[0]]
    ]


def _cell(logged: Logged, early: int, late: int, first: str, second: str) -> tuple[bool, bool] | None:
    """Which of two channels the customer got; None if both could not have been drawn, one each time."""
    at = {
        name: np.array([logged.channels.get(a) == name for a in logged.actions]) for name in (first, second)
    }
    for one, other in ((first, second), (second, first)):
        possible = (
            logged.chances[early, at[one]].sum() > 0 and logged.chances[late, at[other]].sum() > 0
            and logged.chances[early, 0] > 0 and logged.chances[late, 0] > 0
        )  # fmt: skip
        got = bool(at[one][logged.action[early]]), bool(at[other][logged.action[late]])
        quiet = logged.action[early] == 0, logged.action[late] == 0
        if possible and (got[0] or quiet[0]) and (got[1] or quiet[1]):
            return got if one == first else (got[1], got[0])
    return None


def _interaction(
    first: str, second: str, cells: Sequence[tuple[float, float, tuple[bool, bool]]]
) -> Interaction:
    means, variances, counts = [], [], []
    for want in ((True, True), (True, False), (False, True), (False, False)):
        own = [(y, w) for y, w, got in cells if got == want]
        counts.append(len(own))
        if len(own) < LEAST:
            continue
        y, w = np.array(own).T
        mean = float(w @ y / w.sum())
        means.append(mean)
        variances.append(float((w**2) @ (y - mean) ** 2 / w.sum() ** 2))
    pairs = (counts[0], counts[1], counts[2], counts[3])
    if len(means) < 4:
        return Interaction(first, second, pairs, None)
    value = means[0] - means[1] - means[2] + means[3]
    half = _Z * float(np.sqrt(sum(variances)))
    return Interaction(first, second, pairs, Difference(value, value - half, value + half))

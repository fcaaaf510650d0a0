"""Whole actions as near to the bound as they come: customers to whom the prices leave a choice, exactly.

At the prices of the relaxed problem each action falls short of its customer's best by a loss >= 0, and an
allocation is below the bound by the losses of what it chooses and by the worth of what it leaves of the
limits. So one that is better than the known one has no loss above what that is short of the bound (reduced-
cost fixing). A few actions of a few customers are left, whom HiGHS decides by branch and bound; those who are
alike are one integer variable an action, or their order would be searched. Sizes and nodes are limited, never
seconds: the same input, the same choice.
"""

import ctypes
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Columns = NDArray[np.int16]

NEAR = 1e-5  # of the bound: a tenth of what is promised of the allocation; nearer than this is near enough
_LEAST = 1e-12  # of money: less is nothing, whatever share of the bound it is
_KINDS = (60, 240)  # of customers that are decided at once; whom the prices leave nearest a tie first
_CUSTOMERS = 20_000
_NODES = 1_000
_LESS = (0.0, 1e-5)  # of a limit: HiGHS may exceed it by a millionth, and is then asked again with less


class Whole(NamedTuple):
    """chosen: column numbers [n]. bound: what no allocation of whole actions can exceed."""

    chosen: Columns
    bound: float


def at(of: Floats, chosen: Columns) -> Floats:
    """What the chosen columns have of [A, 1] or [A, n]: [n]."""
    picked: Floats = of[chosen, 0 if of.shape[1] == 1 else np.arange(len(chosen))]
    return picked


def used(uses: Sequence[Floats], chosen: Columns) -> Floats:
    """Of each limit what the chosen columns use."""
    return np.array([at(use, chosen).sum() for use in uses])


def better(
    values: Floats, uses: Sequence[Floats], most: Floats, prices: Floats, bound: float, chosen: Columns
) -> Whole:
    """An allocation within the limits that is worth at least as much as `chosen`, which is within them.

    values: [A, n], -inf where not eligible; uses: of each limit what an action takes, [A, 1] or [A, n]; most:
    what there is; prices of the limits, and the bound that they prove of the relaxed problem.
    """
    value, proven, enough = float(at(values, chosen).sum()), bound, max(NEAR * bound, _LEAST)
    if not len(most) or bound - value <= enough:
        return Whole(chosen, bound)
    worth = values - sum((p * use for p, use in zip(prices, uses, strict=True)), np.zeros((1, 1)))
    loss = worth.max(axis=0) - worth
    tie = np.partition(loss, 1, axis=0)[1]
    for kinds in _KINDS:
        near = loss <= (bound - value) * (1 + 1e-9)
        near[chosen, np.arange(len(chosen))] = True
        open = np.flatnonzero(near.sum(axis=0) > 1)
        if not len(open):  # nobody has another choice that could be better
            return Whole(chosen, value)
        settled = at(loss, chosen)[open] == 0
        who = open[np.lexsort((tie[open], settled))][:_CUSTOMERS]
        some = _Some.of(who, near, values, uses, kinds)
        found, at_most = some.decided(values, uses, most, chosen, enough)
        if (worth_now := float(at(values, found).sum())) > value:
            chosen, value = found, worth_now
        if len(some.who) == len(open):  # nobody was left out: what is proven, is of all
            proven = min(bound, max(at_most, value))
            break
        if bound - value <= enough:
            break
    return Whole(chosen, proven)


@dataclass(frozen=True)
class _Some:
    """who: customers to decide; kind: of each its number; values [A, K], uses [A, K] of each limit and near
    [A, K] of each kind."""

    who: NDArray[np.intp]
    kind: NDArray[np.intp]
    values: Floats
    uses: list[Floats]
    near: NDArray[np.bool_]

    @classmethod
    def of(
        cls, who: NDArray[np.intp], near: NDArray[np.bool_], values: Floats, uses: Sequence[Floats], most: int
    ) -> "_Some":
        """Of at most so many kinds, the first in order."""
        own = [use[:, who] for use in uses if use.shape[1] > 1]  # costs of each customer's own
        rows = np.concatenate([np.where(near, values, -np.inf)[:, who], *own]).T
        _, first, kind = np.unique(rows, axis=0, return_index=True, return_inverse=True)
        order = np.argsort(first)  # kinds as they come first in `who`
        rank = np.argsort(order)[kind.ravel()]
        who, rank, one = who[rank < most], rank[rank < most], who[first[order][:most]]
        return cls(
            who, rank, values[:, one], [np.broadcast_to(use, values.shape)[:, one] for use in uses],
            near[:, one],
        )  # fmt: skip

    def decided(
        self, values: Floats, uses: Sequence[Floats], most: Floats, chosen: Columns, enough: float
    ) -> tuple[Columns, float]:
        """(the best found, or `chosen`; what no choice for these customers exceeds, the others as chosen).

        enough: how far from the best is near enough, in what values are in.
        """
        from scipy.optimize import Bounds, LinearConstraint, milp
        from scipy.sparse import coo_array

        action, kind = np.nonzero(self.near)
        members = np.bincount(self.kind, minlength=self.near.shape[1]).astype(np.float64)
        worth, columns = self.values[action, kind], np.arange(len(action))
        each = coo_array((np.ones(len(action)), (kind, columns)), (len(members), len(action)))
        taken = np.array([use[action, kind] for use in self.uses])
        theirs, total = float(at(values, chosen)[self.who].sum()), float(at(values, chosen).sum())
        free = most - used(uses, chosen) + [at(use, chosen)[self.who].sum() for use in uses]
        unit = np.maximum(np.abs(taken).max(axis=1, initial=0.0), 1e-300)
        counted, bound = (taken == np.rint(taken)).all(axis=1), np.inf
        for less in _LESS:
            limits = np.maximum(free / unit - np.where(counted, 0.0, less), 0.0)
            with _quiet():
                solved = milp(
                    -worth,
                    integrality=np.ones(len(action)),
                    bounds=Bounds(0, members[kind]),
                    constraints=[
                        LinearConstraint(each.tocsr(), members, members),
                        LinearConstraint(taken / unit[:, None], -np.inf, limits),
                    ],
                    options={"mip_rel_gap": enough / max(abs(theirs), enough), "node_limit": _NODES},
                )
            if less == 0.0 and solved.mip_dual_bound is not None:
                bound = total - theirs - float(solved.mip_dual_bound)
            if solved.x is None:
                continue
            found = chosen.copy()
            counts = np.zeros(self.near.shape, np.int64)
            counts[action, kind] = np.rint(solved.x)
            if (counts.sum(axis=0) != members).any():
                continue
            order = np.argsort(self.kind, kind="stable")
            actions = np.repeat(np.tile(np.arange(len(counts)), len(members)), counts.T.ravel())
            found[self.who[order]] = actions
            if (used(uses, found) <= most).all():
                return found, bound
        return chosen, bound


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what HiGHS prints of its own debugging when it mends a solution, which no option turns off."""
    sys.stdout.flush()
    shown, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        ctypes.CDLL(None).fflush(None)  # what C still holds back
        os.dup2(shown, 1)
        os.close(shown)
        os.close(nowhere)

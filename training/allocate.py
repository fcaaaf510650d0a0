"""Who gets which action when money and channels are short: dual prices, and an allocation that keeps to them.

One action a customer; what the actions cost stays within the budget, and every channel within its capacity.
The relaxed problem is a linear program whose dual has one price a limit:

    min  sum_i max_a (net[i, a] - prices @ use[:, i, a]) + prices @ limits

Kelley's cutting planes find the prices: a trial of prices is one pass over the customers, and the master
problem over the trials has a variable a limit, however many customers there are. Seen from the other side
(Dantzig and Wolfe 1960) its duals mix the trials' allocations into one that keeps to every limit. Customers
on whom these differ are shared out in those proportions; what rounding left over the limits is dropped, and
what is free then is filled greedily. Of many customers little is lost by that; where it is more, those near a
tie at the prices are decided exactly (`whole`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from features.errors import UsageError
from training.whole import Columns, Floats, at, better, used

TOLERANCE = 1e-6  # of the bound: a hundredth of what is promised of the allocation
_TRIALS = 400
_MOVES = 20_000  # that a pass of filling looks at, the most promising first
_PASSES = 5
_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Allocation:
    """chosen: column numbers [n]. value: sum of their net; bound: what no allocation can exceed, could
    customers be split; whole_bound: the same of whole customers, as far as it is proven.

    budget_price, fund_prices: what one more unit of currency would bring; channel_prices: what one more
    contact would. Without a limit there is no price. spent: currency; used: contacts on the channels that
    have a capacity.
    """

    chosen: NDArray[np.intp]
    value: float
    bound: float
    whole_bound: float
    budget_price: float
    channel_prices: dict[str, float]
    spent: float
    used: dict[str, int]
    fund_prices: dict[str, float] = field(default_factory=dict)

    @property
    def gap(self) -> float:
        """What the allocation falls short of the bound, as a share of it."""
        return 0.0 if self.bound <= 0 else max(0.0, 1.0 - self.value / self.bound)


def allocate(
    net: Floats,
    cost: Floats,
    channels: Sequence[str | Sequence[str] | None],
    budget: float | None = None,
    capacity: Mapping[str, float] | None = None,
    funds: Mapping[str, tuple[Floats, float]] | None = None,
) -> Allocation:
    """Choose the columns that together are worth most within the limits; the same input, the same choice.

    net: [n, A], shop currency; NaN or -inf where not eligible. Column 0 is "nothing": worth 0, free, without
    a channel. cost: [A] or [n, A], >= 0. channels: of each action one, or those of a bundle: each is a
    contact. funds: further budgets by name, of each what the actions take of it [A], and how much there is. A
    limit that is not given does not bind.
    UsageError for a limit below 0, a channel that no action has, or a cost that is not a number >= 0.
    """
    limits, funds = dict(capacity or {}), dict(funds or {})
    contacts = [() if of is None else (of,) if isinstance(of, str) else tuple(of) for of in channels]
    _require(net, cost, contacts, budget, limits)
    values = np.where(np.isfinite(net), net, -np.inf).T.copy()  # [A, n]: a pass is A sweeps over memory
    costs = np.asarray(cost if cost.ndim == 1 else cost.T, np.float64).reshape(len(channels), -1)
    uses = [] if budget is None else [costs]
    uses += [np.asarray(taken, np.float64).reshape(-1, 1) for taken, _ in funds.values()]
    uses += [np.array([[float(of.count(name))] for of in contacts]) for name in limits]
    amounts = [*([] if budget is None else [budget]), *(there for _, there in funds.values())]
    most = np.array([*amounts, *limits.values()], np.float64)
    problem = _Problem(values, uses, most)
    prices, bound, weights = problem.solve()
    filled = problem.filled(problem.within(problem.shared_out(weights)), prices)
    chosen, whole = better(values, uses, most, prices, bound, filled)
    on_money, on_channels = prices[: len(amounts)], prices[len(amounts) :]
    return Allocation(
        chosen=chosen.astype(np.intp),
        value=float(at(values, chosen).sum()),
        bound=bound,
        whole_bound=whole,
        budget_price=0.0 if budget is None else float(prices[0]),
        fund_prices=dict(zip(funds, on_money[len(amounts) - len(funds) :].tolist(), strict=True)),
        channel_prices=dict(zip(limits, on_channels.tolist(), strict=True)),
        spent=float(at(costs, chosen).sum()),
        used={name: int(np.array([of.count(name) for of in contacts])[chosen].sum()) for name in limits},
    )


def _require(
    net: Floats,
    cost: Floats,
    channels: Sequence[Sequence[str]],
    budget: float | None,
    capacity: Mapping[str, float],
) -> None:
    known = sorted({name for of in channels for name in of})
    for name, most in capacity.items():
        if name not in known:
            raise UsageError(
                f"capacity of {name}: no action uses that channel; expected one of {', '.join(known)}"
            )
        if not 0 <= most < np.inf:
            raise UsageError(f"the capacity of {name} is {most:g}: expected a number of contacts, 0 or more")
    if budget is not None and not 0 <= budget < np.inf:
        raise UsageError(f"the budget is {budget:g}: expected an amount of 0 or more; leave it out for none")
    if not (np.isfinite(cost).all() and (cost >= 0).all()):
        raise UsageError("a cost is negative or not a number: mend the actions' declarations")
    if channels[0] or np.any(net[:, 0] != 0) or np.any(cost[..., 0] != 0):
        raise UsageError('the first action must be "nothing": worth 0, free and without a channel')


@dataclass
class _Problem:
    """values [A, n]; of each limit what an action uses, [A, 1] or [A, n], and how much there is.

    trials: allocations tried; cuts: of each, its value, then what it uses of every limit.
    """

    values: Floats
    uses: list[Floats]
    most: Floats
    trials: list[Columns] = field(default_factory=list)
    cuts: list[Floats] = field(default_factory=list)

    def solve(self) -> tuple[Floats, float, Floats]:
        """Prices, the bound that they prove, and the weights of the trials that the master mixes."""
        self._try(self._dearest())  # keeps to every limit, so the master has a solution
        best = np.zeros(len(self.most))
        bound, weights = self._try(best), np.array([0.0, 1.0])
        while len(self.most) and bound > 0 and len(self.trials) < _TRIALS:
            prices, least, weights = self._master()
            if bound - least <= TOLERANCE * bound:
                break
            # The master's prices jump about while it knows few cuts: halfway to them is a calmer step.
            for point in ((best + prices) / 2, prices):
                found = self._try(point)
                if found < bound:
                    best, bound = point, found
            weights = np.r_[weights, 0.0, 0.0]
        return best, bound, weights

    def _try(self, prices: Floats) -> float:
        """The dual's value at these prices; what they choose becomes a trial."""
        best = np.zeros(self.values.shape[1])
        chosen = np.zeros(len(best), np.int16)
        for a in range(1, len(self.values)):
            worth = self._worth(a, prices)
            better = worth > best  # at a tie the earlier stays, "nothing" first
            np.copyto(best, worth, where=better)
            chosen[better] = a
        self.trials.append(chosen)
        self.cuts.append(np.r_[at(self.values, chosen).sum(), used(self.uses, chosen)])
        return float(best.sum() + prices @ self.most)

    def _worth(self, a: int, prices: Floats) -> Floats:
        charged = sum((p * use[a] for p, use in zip(prices, self.uses, strict=True)), np.zeros(1))
        worth: Floats = self.values[a] - charged
        return worth

    def _dearest(self) -> Floats:
        """Prices at which nobody gets anything of which there is a limit."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = [np.where((use > 0) & (self.values > 0), self.values / use, 0.0) for use in self.uses]
        return np.array([2.0 * of.max(initial=0.0) for of in ratios])

    def _master(self) -> tuple[Floats, float, Floats]:
        """min theta + prices @ most with theta above every cut. Its duals are the weights of the mixture.

        In units of the largest value and of the limits, so that a solver's tolerances mean something.
        """
        from scipy.optimize import linprog

        cuts = np.array(self.cuts)
        value, used = cuts[:, 0], cuts[:, 1:]
        unit, size = value.max(), np.maximum(self.most, used.max(axis=0))
        size[size == 0] = 1.0
        solved = linprog(
            np.r_[1.0, self.most / size],
            A_ub=-np.c_[np.ones(len(cuts)), used / size],
            b_ub=-value / unit,
            bounds=[(None, None)] + [(0, None)] * len(size),
            method="highs-ds",
            options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
        )
        weights = np.maximum(-solved.ineqlin.marginals, 0.0)
        return solved.x[1:] * unit / size, float(solved.fun) * unit, weights / weights.sum()

    def shared_out(self, weights: Floats) -> Columns:
        """The mixture in whole actions: customers with the same choice of trials, in their proportions.

        Along them runs the golden ratio's sequence, of which every stretch is spread evenly over 0..1.
        """
        mixed = np.flatnonzero(weights > 1e-12)
        trials = np.array([self.trials[t] for t in mixed])
        chosen: Columns = trials[0].copy()
        open = np.flatnonzero((trials != trials[0]).any(axis=0))
        order = open[np.lexsort(trials[:, open])]
        places = (np.arange(1, len(order) + 1) * _GOLDEN) % 1.0
        share = np.cumsum(weights[mixed]) / weights[mixed].sum()
        of = np.minimum(np.searchsorted(share, places, side="right"), len(mixed) - 1)
        chosen[order] = trials[of, order]
        return chosen

    def within(self, chosen: Columns) -> Columns:
        """Drop what rounding put above a limit, where the least is lost for what it frees."""
        chosen = chosen.copy()
        for limit, use in enumerate(self.uses):
            each = at(use, chosen)
            with np.errstate(divide="ignore", invalid="ignore"):
                loss = np.where(each > 0, at(self.values, chosen) / each, np.inf)
            order = iter(np.argsort(loss, kind="stable").tolist() if each.sum() > self.most[limit] else ())
            while each.sum() > self.most[limit]:
                dropped = next(order)
                chosen[dropped], each[dropped] = 0, 0.0
        return chosen

    def filled(self, chosen: Columns, prices: Floats) -> Columns:
        """Greedily give customers what is worth more to them and still fits, the best at the prices first."""
        chosen = chosen.copy()
        for _ in range(_PASSES):
            left, moved = self.most - used(self.uses, chosen), False
            now, charged = at(self.values, chosen), [at(use, chosen) for use in self.uses]
            at_prices = now - sum((p * c for p, c in zip(prices, charged, strict=True)), np.zeros(1))
            moves = []
            for a in range(1, len(self.values)):
                fits = self.values[a] > now
                for use, freed, there in zip(self.uses, charged, left, strict=True):
                    fits &= use[a] - freed <= there
                who = np.flatnonzero(fits)
                gain = (self._worth(a, prices) - at_prices)[who]
                first = np.argsort(-gain, kind="stable")[:_MOVES]
                moves += [(-g, i, a) for g, i in zip(gain[first].tolist(), who[first].tolist(), strict=True)]
            for _, i, a in sorted(moves)[:_MOVES]:
                needs = self._of(a, i) - self._of(int(chosen[i]), i)
                if self.values[a, i] > self.values[chosen[i], i] and (needs <= left).all():
                    left, chosen[i], moved = left - needs, a, True
            if not moved:
                break
        return self.within(chosen)  # sums in another order may differ in the last digit

    def _of(self, a: int, i: int) -> Floats:
        return np.array([use[a, 0 if use.shape[1] == 1 else i] for use in self.uses])

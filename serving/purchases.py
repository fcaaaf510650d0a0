"""Orders and money ahead of one customer, in plain numpy: BG/NBD and Gamma-Gamma.

BG/NBD (Fader, Hardie, Lee 2005): while active, a customer orders at a rate lambda ~ Gamma(r, alpha), and
after each order is lost for good with a chance p ~ Beta(a, b). Gamma-Gamma (Fader, Hardie 2013): what an
order brings ~ Gamma(p, nu), nu ~ Gamma(q, gamma), independent of how often.

Given an active customer's history, lambda and p are independent. So the number of further orders is the
smaller of two: how many a negative binomial grants, and how many until the customer is lost. Its tail is a
product of two recursions, which need no hypergeometric function, do not overflow, and give the whole
distribution, not only its mean. As in `formulas`: + - * / alone, the same bits for one customer or many.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import numpy as np

from features.errors import ReleaseCorrupt
from serving.booster import Numbers
from serving.formulas import exp, log

_TAIL = 1e-12  # a chance below this is none: what is left out of a mean is less than a millionth
_HUGE = 1e200
Index = np.ndarray[Any, np.dtype[np.intp]]


class Histories(NamedTuple):
    """What the models know of n customers; times in one unit, float64 [n] each."""

    repeats: Numbers  # orders after the first, at most one a day
    last: Numbers  # from the first order to the last; 0 without a repeat
    age: Numbers  # from the first order to the moment

    def part(self, rows: Any) -> "Histories":
        """Those of some customers."""
        return Histories(self.repeats[rows], self.last[rows], self.age[rows])


class BgNbd(msgspec.Struct, frozen=True):
    """How often customers order, and when they are lost. `alpha` has the unit of the histories' times.

    returns: the share of those held for lost who come back all the same. BG/NBD has none, and is too sure: to
    it, a weekly shopper who was away for two months is gone for good.
    """

    r: float
    alpha: float
    a: float
    b: float
    returns: float = 0.0

    def __post_init__(self) -> None:
        _require_positive(self, ("r", "alpha", "a", "b"))
        if not 0 <= self.returns <= 1:
            raise ReleaseCorrupt(f"BgNbd has returns = {self.returns}: expected a share, 0 to 1")

    def alive(self, of: Histories) -> Numbers:
        """Chance of not being lost, or not for good, [n]. Not for ranking: see below."""
        # It is 1 for whoever ordered once, however long ago, since nobody is lost but after a repeat order.
        # Ranked by it, the coldest customers come first: its AUC for another order on CDNOW is .32.
        x, last, age = of
        odds = self.a / (self.b + np.maximum(x, 1) - 1)
        odds = odds * exp((self.r + x) * log((self.alpha + age) / (self.alpha + last)))
        stays = 1 / (1 + np.where(x > 0, odds, 0.0))
        return stays + self.returns * (1 - stays)

    def expected(self, of: Histories, ahead: Numbers) -> Numbers:
        """Orders to expect within the time `ahead` [n], [n]."""
        total = np.zeros(len(of.age))
        for rows, tail in self.tails(of, ahead):
            total[rows] += tail
        return total

    def any(self, of: Histories, ahead: Numbers) -> Numbers:
        """Chance of an order within the time `ahead`, [n]."""
        _, tail = next(self.tails(of, ahead))
        return tail

    def tails(self, of: Histories, ahead: Numbers) -> Iterator[tuple[Index, Numbers]]:
        """For k = 1, 2, ...: the rows for which k orders are possible, and their chances of k or more."""
        x, _, age = of
        alive, shape, until = self.alive(of), self.r + x, self.alpha + age
        share = ahead / (until + ahead)
        # The negative binomial's term is chance * e**scale: for hundreds of orders the first term is below
        # the smallest number there is.
        chance, scale = np.ones(len(x)), shape * log(until / (until + ahead))
        unit = exp(scale)
        granted, stays = chance * unit, np.ones(len(x))
        rows = np.arange(len(x))
        k = 0
        while True:
            k += 1
            tail = alive * stays * np.maximum(1 - granted, 0.0)
            yield rows, tail
            more = tail > _TAIL
            if not more.any():
                return
            if not more.all():
                rows = rows[more]
                alive, shape, share, x = alive[more], shape[more], share[more], x[more]
                chance, scale, unit = chance[more], scale[more], unit[more]
                granted, stays = granted[more], stays[more]
            chance = chance * ((shape + (k - 1)) / k * share)
            if (high := chance > _HUGE).any():
                chance = np.where(high, chance / _HUGE, chance)
                scale = np.where(high, scale + math.log(_HUGE), scale)
                unit = np.where(high, exp(scale), unit)
            granted = granted + chance * unit
            stays = stays * ((self.b + x + (k - 1)) / (self.a + self.b + x + (k - 1)))

    def next_order(self, of: Histories, share: float | Numbers = 0.5) -> Numbers:
        """Time until the next order has come with that chance, [n]; NaN if it never reaches it."""
        alive = self.alive(of)
        reached = alive > share
        left = 1 - share / np.where(reached, alive, 1.0)
        wait = (self.alpha + of.age) * (exp(-log(left) / (self.r + of.repeats)) - 1)
        return np.where(reached, wait, np.nan)


class GammaGamma(msgspec.Struct, frozen=True):
    """What an order brings. `gamma` is money."""

    p: float
    q: float
    gamma: float

    def __post_init__(self) -> None:
        _require_positive(self, ("p", "q", "gamma"))

    def expected(self, orders: Numbers, mean: Numbers) -> Numbers:
        """Money to expect of an order, [n], from `orders` seen and their mean.

        Without an order (mean is not read) the population's; with many the customer's own.
        """
        spent = np.where(orders > 0, orders * mean, 0.0)
        left = self.p * orders + self.q - 1
        # Where q <= 1 a newcomer's mean does not exist: the median customer's then.
        return self.p * (self.gamma + spent) / np.where(left > 0, left, self.p * orders + self.q)


def _require_positive(of: BgNbd | GammaGamma, names: tuple[str, ...]) -> None:
    wrong = {name: getattr(of, name) for name in names if not 0 < getattr(of, name) < math.inf}
    if wrong:
        raise ReleaseCorrupt(f"{type(of).__name__} has {wrong}: each must be positive")

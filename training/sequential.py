"""An experiment that may be looked at any day: confidence sequences of a difference of means, and guardrails.

A confidence interval holds at one moment that was fixed before; who looks every day and stops at the first
"significant" one is wrong far more often than it says. A confidence sequence holds at all moments at once.
This is the asymptotic one of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024, Annals of Statistics),
Theorem 2.2, for the estimate of Neyman: with t customers, of whom the groups have n1 and n0,

    difference +- s sqrt(2 (t rho^2 + 1) / (t rho)^2 log(sqrt(t rho^2 + 1) / alpha)),
    s^2 = t (variance1 / n1 + variance0 / n0)

rho makes it narrowest at the size that was planned. It needs customers drawn independently, and groups large
enough for a normal approximation at the first look.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.stats import norm

from features.errors import UsageError
from features.words import Words

LEAST = 30  # customers in each group at the first look


@dataclass(frozen=True)
class Group:
    """Customers of one arm: how many, the mean of their outcome, and its variance (divisor n - 1)."""

    n: int
    mean: float
    variance: float

    @classmethod
    def of_shares(cls, n: int, ones: int) -> "Group":
        """Of an outcome that is 0 or 1.

        >>> Group.of_shares(10, 5)
        Group(n=10, mean=0.5, variance=0.2777777777777778)
        """
        mean = ones / max(n, 1)
        return cls(n, mean, mean * (1 - mean) * n / max(n - 1, 1))


def rare(share: float, n: float) -> float:
    """Variance of one outcome of 0 or 1, never 0: as if one more of each had come (Agresti and Caffo 2000).

    >>> round(rare(0.0, 50), 4)
    0.0189
    """
    p = (share * n + 1) / (n + 2)
    return p * (1 - p)


@dataclass(frozen=True)
class Difference:
    """Mean of the treated less mean of the held out, with its confidence sequence at this look."""

    value: float
    low: float
    high: float


def rho_squared(planned: int, alpha: float = 0.05) -> float:
    """The parameter with which the sequence is narrowest at `planned` customers of both groups together."""
    if planned < 1 or not 0 < alpha < 1:
        raise UsageError(f"planned {planned}, alpha {alpha}: expected at least 1 customer, and 0 < alpha < 1")
    wide = -2 * math.log(alpha)
    return (wide + math.log(wide) + 1) / planned


def widening(n: int, planned: int, alpha: float = 0.05) -> float:
    """Half width of the sequence at n customers, in standard errors; a fixed 95 % interval has 1.96."""
    v = n * rho_squared(planned, alpha) + 1
    return math.sqrt(2 * v / (v - 1) * math.log(math.sqrt(v) / alpha))


def difference(treated: Group, held_out: Group, planned: int, alpha: float = 0.05) -> Difference:
    """One look. UsageError if a group is too small for any statement."""
    if min(treated.n, held_out.n) < LEAST:
        raise UsageError(
            f"{treated.n} treated and {held_out.n} held out: a look needs at least {LEAST} of each"
        )
    value = treated.mean - held_out.mean
    error = math.sqrt(treated.variance / treated.n + held_out.variance / held_out.n)
    half = widening(treated.n + held_out.n, planned, alpha) * error
    return Difference(value, value - half, value + half)


def of_look(look: int, alpha: float = 0.05) -> float:
    """Half width, in standard errors, of the look-th interval of an experiment that is looked at repeatedly.

    Each look may err with alpha 6 / (pi look)^2, which add up to alpha: so all hold at once, also of figures
    that are not of customers who join one by one, such as one window after another.

    >>> round(of_look(1), 3), round(of_look(12), 3)
    (2.165, 3.705)
    """
    if look < 1:
        raise UsageError(f"look {look}: the first is 1")
    return float(norm.isf(3 * alpha / (math.pi * look) ** 2))


def together(looks: Sequence[Difference]) -> Difference:
    """What all looks say: the latest value within every interval, since all hold at once.

    >>> together([Difference(.2, -.1, .5), Difference(.1, -.2, .4)])
    Difference(value=0.1, low=-0.1, high=0.4)
    """
    return Difference(looks[-1].value, max(of.low for of in looks), min(of.high for of in looks))


@dataclass(frozen=True)
class Guardrail:
    """What a campaign must not spoil. most: the largest rise that is tolerated, in units of the outcome.

    The outcome counts harm, such as opting out: more is worse.
    """

    name: Words
    most: float

    def state(self, found: Difference) -> Literal["broken", "open", "holds"]:
        """broken: the harm is above what is tolerated, stop. holds: it is below. open: not known yet."""
        if found.low > self.most:
            return "broken"
        return "holds" if found.high <= self.most else "open"

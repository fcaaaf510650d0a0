"""How large a holdout must be: power, sample size and the least effect that an experiment can show.

The test is the one that `evaluate holdout` makes at its first look (`sequential.of_look`), two-sided: the
difference beyond so many standard errors, the variance of each group its own. Of money it is taken to be
normal:

    power = P(Z > z - d) + P(Z < -z - d),   d = effect / sqrt(variance1 / n1 + variance0 / n0)

Of shares it is counted out: with few held out and a rare outcome, the number of them who have it is skewed,
its variance moves with it, and the normal formula promises too much. Both groups are binomial, and for each
number among the held out it is known from which number among the treated on the test says so.

Whoever looks more than once needs a confidence sequence (`sequential`); `looked_at` gives what that shows.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binom, norm

from features.errors import UsageError
from training.sequential import LEAST, of_look, widening

FIRST = 2 * float(norm.sf(of_look(1)))  # what the first look at an experiment may err, of 5 % over all
MOST = 10_000_000_000  # customers: more than there are people
_TAIL = 1e-12  # of the numbers among the held out, left away on either side


@dataclass(frozen=True)
class Outcome:
    """What is compared. base: mean of the held out. deviation: its standard one; None: a share of 0 and 1."""

    base: float
    deviation: float | None = None

    def __post_init__(self) -> None:
        if self.deviation is None and not 0 < self.base < 1:
            meant = f"for {self.base:g} % give {self.base / 100:g}" if 1 <= self.base < 100 else "such as .1"
            raise UsageError(
                f"the base rate is {self.base:g}: expected a share between 0 and 1, {meant}. If the outcome "
                "is money, this is its mean: give its standard deviation too (--deviation)"
            )
        if self.deviation is not None and not self.deviation > 0:
            raise UsageError(f"the standard deviation is {self.deviation:g}: expected more than 0")

    def moved(self, effect: float) -> float:
        """The share of the treated."""
        moved = self.base + effect
        if not 0 <= moved <= 1:
            raise UsageError(
                f"an effect of {effect:g} moves the rate {self.base:g} to {moved:g}, not a share: one "
                "point of a rate is .01"
            )
        return moved

    def shown(self, effect: float, holdout: float, customers: float, z: float) -> float:
        """Probability that the difference is beyond z standard errors; 0 with so few that none is told."""
        if not 0 < holdout < 1:
            raise UsageError(f"the holdout is {holdout:g}: expected a share between 0 and 1, such as .05")
        held = round(customers * holdout)
        treated = round(customers) - held
        few = min(held, treated) < LEAST
        if self.deviation is None:
            moved = self.moved(effect)
            return 0.0 if few else _shown(self.base, moved, held, treated, z)
        error = self.deviation * math.sqrt((1 / (1 - holdout) + 1 / holdout) / customers)
        return 0.0 if few else float(norm.sf(z - abs(effect) / error) + norm.cdf(-z - abs(effect) / error))


def _shown(base: float, moved: float, held: int, treated: int, z: float) -> float:
    """As `Outcome.shown`, of shares in groups of so many: the sum over all numbers x among the held out.

    With the variances of `sequential.rare`, the shares of the treated at which the difference is z standard
    errors are the roots of a square equation.
    """
    x = np.arange(*(binom.ppf([_TAIL, 1 - _TAIL], held, base) + (0, 1)))
    share, p = x / held, (x + 1) / (held + 2)
    inner, outer, k = treated / (treated + 2), 1 / (treated + 2), z**2 / treated  # rare: of inner p + outer
    square = 1 + k * inner**2
    half = share + k * inner * (1 - 2 * outer) / 2
    rest = share**2 - k * outer * (1 - outer) - z**2 * p * (1 - p) / held
    root = np.sqrt(np.maximum(half**2 - square * rest, 0.0))
    low, high = (treated * (half + side * root) / square for side in (-1, 1))
    beyond = binom.sf(np.floor(high), treated, moved) + binom.cdf(np.ceil(low) - 1, treated, moved)
    return float(binom.pmf(x, held, base) @ beyond)


def power(outcome: Outcome, effect: float, holdout: float, customers: int, alpha: float = FIRST) -> float:
    """Probability that the test shows an effect of that size."""
    return outcome.shown(effect, holdout, customers, _z(1 - alpha / 2))


def customers_for(
    outcome: Outcome, effect: float, holdout: float, wanted: float = 0.8, alpha: float = FIRST
) -> int:
    """How many customers, held out ones included, show the effect with probability `wanted`."""
    if effect == 0:
        raise UsageError("the effect is 0: expected an effect, such as .01")
    _check(wanted, alpha)
    few, many = 1, 100
    while power(outcome, effect, holdout, many, alpha) < wanted:
        few, many = many, 2 * many
        if many > MOST:
            raise UsageError(f"an effect of {effect:g} needs more than {MOST:,} customers: plan a larger one")
    while many - few > 1:
        middle = (few + many) // 2
        if power(outcome, effect, holdout, middle, alpha) < wanted:
            few = middle
        else:
            many = middle
    return many


def least_effect(
    outcome: Outcome, holdout: float, customers: int, wanted: float = 0.8, alpha: float = FIRST
) -> float | None:
    """The smallest rise that is shown with probability `wanted`; None if no possible rise would be."""
    _check(wanted, alpha)
    return _least(outcome, holdout, customers, _z(1 - alpha / 2), wanted)


def looked_at(
    outcome: Outcome, holdout: float, customers: int, wanted: float = 0.8, alpha: float = 0.05
) -> float | None:
    """As `least_effect`, for an experiment that is looked at any number of times."""
    _check(wanted, alpha)
    return _least(outcome, holdout, customers, widening(customers, customers, alpha), wanted)


def _least(outcome: Outcome, holdout: float, customers: int, z: float, wanted: float) -> float | None:
    def short(effect: float) -> float:
        return outcome.shown(effect, holdout, customers, z) - wanted

    if outcome.deviation is None:
        most = 1 - outcome.base
    else:  # a normal figure: far beyond any doubt
        most = 2 * (z + _z(wanted)) * outcome.deviation / math.sqrt(customers * holdout * (1 - holdout))
    if short(most) < 0:
        return None
    return 0.0 if short(0.0) >= 0 else float(brentq(short, 0.0, most))


def _check(wanted: float, alpha: float) -> None:
    if not alpha < wanted < 1:
        raise UsageError(
            f"the power is {wanted:g}: expected a probability above {alpha:.2g}, by which chance alone shows "
            "something, and below 1, such as .8"
        )


def _z(probability: float) -> float:
    return float(norm.ppf(probability))

"""How large a holdout must be: power, sample size and the least effect that an experiment can show.

The two-sided test of a difference of means, or of shares, between the treated and the held out, by its normal
approximation with the variance of each group (Wald):

    power = P(Z > z - d) + P(Z < -z - d),   d = effect / sqrt(variance1 / n1 + variance0 / n0)

Whoever looks more than once needs a confidence sequence (`sequential`); `looked_at` gives what that shows.
"""

import math
from dataclasses import dataclass

from scipy.optimize import brentq
from scipy.stats import norm

from features.errors import UsageError
from training.sequential import widening


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

    def variances(self, effect: float) -> tuple[float, float]:
        """(treated, held out)."""
        if self.deviation is not None:
            return self.deviation**2, self.deviation**2
        moved = self.base + effect
        if not 0 <= moved <= 1:
            raise UsageError(
                f"an effect of {effect:g} moves the rate {self.base:g} to {moved:g}, not a share: one "
                "point of a rate is .01"
            )
        return moved * (1 - moved), self.base * (1 - self.base)


def standard_error(outcome: Outcome, effect: float, holdout: float, customers: float) -> float:
    """Of the difference, with a share `holdout` of the customers held out."""
    if not 0 < holdout < 1:
        raise UsageError(f"the holdout is {holdout:g}: expected a share between 0 and 1, such as .05")
    treated, held = outcome.variances(effect)
    return math.sqrt((treated / (1 - holdout) + held / holdout) / customers)


def power(outcome: Outcome, effect: float, holdout: float, customers: int, alpha: float = 0.05) -> float:
    """Probability that the test shows an effect of that size."""
    z, d = _z(1 - alpha / 2), abs(effect) / standard_error(outcome, effect, holdout, customers)
    return float(norm.sf(z - d) + norm.cdf(-z - d))


def customers_for(
    outcome: Outcome, effect: float, holdout: float, wanted: float = 0.8, alpha: float = 0.05
) -> int:
    """How many customers, held out ones included, show the effect with probability `wanted`."""
    if effect == 0 or not alpha < wanted < 1:
        raise UsageError(
            f"effect {effect:g}, power {wanted:g}: expected an effect, and a power below 1, such as .8"
        )
    factor = (_z(1 - alpha / 2) + _z(wanted)) / abs(effect)
    return math.ceil(factor**2 * standard_error(outcome, effect, holdout, 1) ** 2)


def least_effect(
    outcome: Outcome, holdout: float, customers: int, wanted: float = 0.8, alpha: float = 0.05
) -> float | None:
    """The smallest rise that is shown with probability `wanted`; None if no possible rise would be."""
    return _least(outcome, holdout, customers, _z(1 - alpha / 2) + _z(wanted))


def looked_at(
    outcome: Outcome, holdout: float, customers: int, wanted: float = 0.8, alpha: float = 0.05
) -> float | None:
    """As `least_effect`, for an experiment that is looked at any number of times."""
    return _least(outcome, holdout, customers, widening(customers, customers, alpha) + _z(wanted))


def _least(outcome: Outcome, holdout: float, customers: int, errors: float) -> float | None:
    def short(effect: float) -> float:
        return effect - errors * standard_error(outcome, effect, holdout, customers)

    if outcome.deviation is not None:
        return errors * standard_error(outcome, 0.0, holdout, customers)
    most = 1 - outcome.base
    return None if short(most) < 0 else float(brentq(short, 0.0, most))


def _z(probability: float) -> float:
    return float(norm.ppf(probability))

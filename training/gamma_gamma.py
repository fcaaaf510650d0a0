"""Gamma-Gamma by maximum likelihood: Fader, Hardie, "The Gamma-Gamma model of monetary value" (2013)."""

import numpy as np
from scipy import optimize, special

from features.errors import NotEnoughData, TrainingError
from serving.booster import Numbers
from serving.purchases import GammaGamma

LEAST_CUSTOMERS = 50
_BOUND = np.log(1e4)


def fit(orders: Numbers, mean: Numbers) -> tuple[GammaGamma, float]:
    """The parameters, and the log-likelihood, from each customer's number of orders and their mean.

    Only customers with an order, and money above 0, say anything. NotEnoughData with too few of them;
    TrainingError if all spend the same.
    """
    used = (orders > 0) & (mean > 0)
    x, z = orders[used], mean[used]
    if len(x) < LEAST_CUSTOMERS:
        raise NotEnoughData(
            f"{len(x)} customers have orders with money: a model of what an order brings needs "
            f"{LEAST_CUSTOMERS}; use a longer log"
        )
    unit = float(z.mean())
    if z.std() < 1e-9 * unit:
        raise TrainingError(
            "every customer's mean order brings the same: there is nothing to model, use that figure"
        )
    found = [
        optimize.minimize(
            _loss, np.log(start), args=(x, z / unit), jac=True, method="L-BFGS-B",
            bounds=[(-_BOUND, _BOUND)] * 3, options={"maxiter": 500, "ftol": 1e-13, "gtol": 1e-8},
        )
        for start in ((6.0, 4.0, 0.5), (1.5, 2.0, 1.0), (20.0, 10.0, 0.5))
    ]  # fmt: skip
    best = min((one for one in found if np.isfinite(one.fun)), key=lambda one: one.fun, default=None)
    if best is None:
        raise TrainingError("the Gamma-Gamma likelihood has no optimum for these orders: look at their money")
    p, q, gamma = (float(v) for v in np.exp(best.x))
    # Nine digits: beyond, another processor may differ.
    model = GammaGamma(*(float(f"{v:.9g}") for v in (p, q, gamma * unit)))
    return model, float(-best.fun * len(x) - len(x) * np.log(unit))


def _loss(theta: Numbers, x: Numbers, z: Numbers) -> tuple[float, Numbers]:
    """Minus the mean log-likelihood, and its gradient, in the logarithms of the parameters."""
    p, q, gamma = np.exp(theta)
    ln, psi, px = np.log, special.digamma, p * x
    all_in = gamma + x * z
    likelihood = special.gammaln(px + q) - special.gammaln(px) - special.gammaln(q) + q * ln(gamma)
    likelihood += (px - 1) * ln(z) + px * ln(x) - (px + q) * ln(all_in)
    d_p = x * (psi(px + q) - psi(px) + ln(z) + ln(x) - ln(all_in))
    d_q = psi(px + q) - psi(q) + ln(gamma) - ln(all_in)
    d_gamma = q / gamma - (px + q) / all_in
    return -float(likelihood.mean()), -np.array(
        [(d_p * p).mean(), (d_q * q).mean(), (d_gamma * gamma).mean()]
    )

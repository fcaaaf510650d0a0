"""BG/NBD by maximum likelihood: Fader, Hardie, Lee, "Counting your customers the easy way" (2005)."""

import numpy as np
from scipy import optimize, special

from features.errors import NotEnoughData, TrainingError
from serving.booster import Numbers
from serving.purchases import BgNbd, Histories

LEAST_CUSTOMERS = 50  # with a repeat order: four parameters cannot be told from fewer
_BOUND = np.log(1e4)  # of a parameter, in the mean age: beyond, the likelihood is flat (nobody is ever lost)


def fit(of: Histories) -> tuple[BgNbd, float]:
    """The parameters, in the histories' unit of time, and the log-likelihood.

    NotEnoughData with too few repeat buyers; TrainingError for times that cannot be, or without an optimum.
    """
    _check(of)
    unit = float(of.age.mean())  # the likelihood is searched in a scale of its own: days or years, the same
    rows, counts = np.unique(
        np.column_stack([of.repeats, of.last / unit, of.age / unit]), axis=0, return_counts=True
    )
    x, last, age = rows.T
    # From several starts: with few repeats the surface has a ridge from "rarely, and stays" to "often, and
    # is soon lost".
    starts = [(0.5, 0.25, 0.8, 2.0), (1.0, 0.1, 0.3, 3.0), (0.3, 0.05, 1.5, 5.0)]
    found = [
        optimize.minimize(
            _loss, np.log(start), args=(x, last, age, counts), jac=True, method="L-BFGS-B",
            bounds=[(-_BOUND, _BOUND)] * 4, options={"maxiter": 500, "ftol": 1e-13, "gtol": 1e-8},
        )
        for start in starts
    ]  # fmt: skip
    best = min((one for one in found if np.isfinite(one.fun)), key=lambda one: one.fun, default=None)
    if best is None:
        raise TrainingError("the BG/NBD likelihood has no optimum for these orders: look at their times")
    r, alpha, a, b = (float(v) for v in np.exp(best.x))
    # Of the histories as given: a density in time, one factor `unit` a repeat order.
    likelihood = -best.fun * counts.sum() - float((x * counts).sum()) * np.log(unit)
    # Nine digits: beyond, another processor may differ.
    return BgNbd(*(float(f"{v:.9g}") for v in (r, alpha * unit, a, b))), float(likelihood)


def _check(of: Histories) -> None:
    x, last, age = of
    if not len(x) or int((x > 0).sum()) < LEAST_CUSTOMERS:
        raise NotEnoughData(
            f"{int((x > 0).sum()) if len(x) else 0} customers ordered on more than one day: a model of "
            f"repeat orders needs {LEAST_CUSTOMERS}; use a longer log"
        )
    wrong = ~((x >= 0) & (last >= 0) & (last <= age) & np.isfinite(age) & ((x > 0) == (last > 0)))
    if wrong.any():
        i = int(np.flatnonzero(wrong)[0])
        raise TrainingError(
            f"{int(wrong.sum())} histories cannot be, the first with {x[i]:g} repeat orders, the last of "
            f"them after {last[i]:g} of {age[i]:g}: expected 0 <= last <= age, and 0 only without a repeat"
        )


def _loss(theta: Numbers, x: Numbers, last: Numbers, age: Numbers, counts: Numbers) -> tuple[float, Numbers]:
    """Minus the mean log-likelihood, and its gradient, in the logarithms of the parameters."""
    r, alpha, a, b = np.exp(theta)
    ln, psi, n = np.log, special.digamma, counts.sum()
    common = special.gammaln(r + x) - special.gammaln(r) + r * ln(alpha)
    common += special.betaln(a, b + x) - special.betaln(a, b)
    stays = -(r + x) * ln(alpha + age)
    repeat = x > 0
    more = np.where(repeat, b + x - 1, 1.0)
    # betaln(a + 1, b + x - 1) = betaln(a, b + x) + ln(a / (b + x - 1))
    lost = np.where(repeat, ln(a) - ln(more) - (r + x) * ln(alpha + last), -np.inf)
    total = np.logaddexp(stays, lost)
    w = np.exp(lost - total)  # share of "lost after the last order"
    d_r = psi(r + x) - psi(r) + ln(alpha) - (1 - w) * ln(alpha + age) - w * ln(alpha + last)
    d_alpha = r / alpha - (r + x) * ((1 - w) / (alpha + age) + w / (alpha + last))
    d_a = psi(a + b) - psi(a + b + x) + w / a
    d_b = psi(b + x) - psi(a + b + x) - psi(b) + psi(a + b) - w / more
    gradient = np.array([(counts * d).sum() for d in (d_r * r, d_alpha * alpha, d_a * a, d_b * b)])
    return -float((counts * (common + total)).sum() / n), -gradient / n

"""Made-up trials whose effects are known: 20,000 logged decisions between nothing, a mail and a coupon.

A customer buys or not, and money is skewed, as in a shop. A decision moves the chance to buy. Odd worlds were
logged with propensities of each customer's own, even ones with equal ones.
"""

from typing import Literal, NamedTuple, get_args

import numpy as np

from training.uplift_learners import Ints, Numbers
from training.uplift_trial import Trial

Kind = Literal["varies", "constant", "none"]
KINDS: tuple[Kind, ...] = get_args(Kind)
ARMS = ("nothing", "mail", "coupon")
ROWS, COLUMNS = 20_000, 10
COSTS: dict[Kind, dict[str, float]] = {
    "varies": {"mail": 0.1, "coupon": 0.4},
    "constant": {"mail": 0.1, "coupon": 0.4},
    "none": {},
}


class World(NamedTuple):
    """A trial; each customer's true effect of each arm after costs, [n, 3]; the mean outcome of nothing."""

    trial: Trial
    costs: dict[str, float]
    net: Numbers
    nothing: float

    def worth(self, arm: Ints) -> float:
        """The true mean outcome, after costs, of giving each customer that arm."""
        return self.nothing + float(self.net[np.arange(len(arm)), arm].mean())


def world(kind: Kind, seed: int, rows: int = ROWS) -> World:
    """One of them; the same seed gives the same."""
    random = np.random.default_rng([seed, KINDS.index(kind)])
    z = random.normal(size=(rows, COLUMNS))
    z[:, 5:] = np.floor(np.exp(z[:, 5:]))  # counts
    seen = z.astype(np.float32)
    seen[random.random(z.shape) < 0.05] = np.nan
    z = np.nan_to_num(seen.astype(np.float64))
    base = 1 / (1 + np.exp(1.2 - 0.7 * z[:, 0] - 0.2 * np.minimum(z[:, 5], 4)))
    amount = np.exp(3 + 0.3 * z[:, 1] + 0.5 * random.normal(size=rows))  # if bought
    expected = np.exp(3 + 0.3 * z[:, 1] + 0.125)
    lift = np.zeros((rows, 3))
    if kind == "constant":
        lift[:, 1:] = 0.05, 0.11
    elif kind == "varies":
        a, b, c = random.permutation(5)[:3]
        lift[:, 1] = 0.03 + random.choice([0.05, 0.08]) * z[:, a]
        lift[:, 2] = np.where(z[:, b] > 0, 0.16, -0.06) + 0.03 * (z[:, c] > 0.5)
    chance = np.clip(base[:, None] + lift, 0.0, 1.0)
    propensity = np.full((rows, 3), 1 / 3)
    if seed % 2:
        propensity = 0.85 * random.dirichlet([4, 4, 4], rows) + 0.05
    arm = (random.random(rows)[:, None] > propensity.cumsum(axis=1)[:, :2]).sum(axis=1)
    at = np.arange(rows)
    outcome = np.where(random.random(rows) < chance[at, arm], amount, 0.0)
    names = tuple(f"column_{place}" for place in range(COLUMNS))
    trial = Trial(seen, names, ARMS, arm, propensity[at, arm], {"profit": outcome}, at)
    costs = COSTS[kind]
    net = (chance - chance[:, :1]) * expected[:, None] - [costs.get(one, 0.0) for one in ARMS]
    return World(trial, costs, net, float((chance[:, 0] * expected).mean()))

"""Small trials whose effects are known, for tests of uplift."""

import numpy as np

from training.uplift_trial import Trial

ARMS = ("nothing", "mail", "coupon")


def trial_by_hand(
    effects: str = "varies", rows: int = 6_000, seed: int = 1, chances: tuple[float, ...] = (0.4, 0.3, 0.3)
) -> tuple[Trial, np.ndarray]:
    """A trial by lot and the true effect of each arm, [n, 3]. effects: varies, constant or none.

    Where they vary, the mail pays for half of the customers and harms the others; the coupon always gives a
    little, so that it is the best constant arm.
    """
    random = np.random.default_rng(seed)
    z = random.normal(size=(rows, 5)).astype(np.float32)
    true = np.zeros((rows, 3))
    if effects == "varies":
        true[:, 1], true[:, 2] = np.where(z[:, 1] > 0, 3.0, -2.0), 1.0
    elif effects == "constant":
        true[:, 1:] = 0.5, 1.5
    arm = random.choice(3, rows, p=chances)
    y = 4 + 2 * z[:, 0] + true[np.arange(rows), arm] + 2 * random.standard_t(5, rows)
    seen = z.copy()
    seen[random.random(z.shape) < 0.05] = np.nan
    seen[:, 1] = z[:, 1]
    names = ("visits", "recency", "money", "age", "region")
    given = np.array(chances)[arm]
    who = np.arange(rows)
    return Trial(seen, names, ARMS, arm, given, {"profit": y}, who), true

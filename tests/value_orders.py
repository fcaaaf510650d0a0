"""Orders of customers whose rates, losses and money are known, as value models read them."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np

from features.moments import DAY, DAY_US, from_us, to_us
from serving.purchases import BgNbd, GammaGamma
from serving.summaries import Orders, days_of

START = datetime(2020, 1, 1, tzinfo=UTC)
TRUTH = BgNbd(0.8, 20.0, 0.8, 4.0)  # days
MONEY = GammaGamma(6.0, 4.0, 15.0)


def orders(rows: list[tuple[str, str, float]], zone: str = "UTC", **more: object) -> Orders:
    """Rows of (customer, time, money); known: times of knowing; back: which are returns."""
    ids, customer = np.unique([who for who, _, _ in rows], return_inverse=True)
    at = np.array([to_us(datetime.fromisoformat(time)) for _, time, _ in rows])
    known = at.copy()
    for place, time in dict(more.get("known", {})).items():  # type: ignore[call-overload]
        known[place] = to_us(datetime.fromisoformat(time))
    back = np.isin(np.arange(len(rows)), list(more.get("back", [])))  # type: ignore[call-overload]
    money = np.array([paid for _, _, paid in rows], float)
    zone_ = ZoneInfo(zone)
    return Orders(ids, customer.astype(np.int64), at, known, days_of(at, zone_), money, back, zone_)


def made_up(n: int = 4_000, days: int = 500, seed: int = 0) -> Orders:
    """Customers of TRUTH and MONEY who come over the first 60 days, and their orders until `days`."""
    random = np.random.default_rng(seed)
    first = random.uniform(0, 60, n)
    rate, p = random.gamma(TRUTH.r, 1 / TRUTH.alpha, n), random.beta(TRUTH.a, TRUTH.b, n)
    at, active, who, when = first.copy(), np.ones(n, bool), [], []
    while active.any():
        who.append(np.flatnonzero(active))
        when.append(at[active])
        at = at + random.exponential(1 / rate)
        # Nobody is lost at the first order.
        active &= (at < days) & ((np.full(n, len(who)) == 1) | (random.random(n) >= p))
    customer, day = np.concatenate(who), np.concatenate(when)
    nu = random.gamma(MONEY.q, 1 / MONEY.gamma, n)
    money = random.gamma(MONEY.p, 1 / nu[customer])
    us = to_us(START) + (day * DAY_US).astype(np.int64)
    zone = ZoneInfo("UTC")
    back = np.zeros(len(us), bool)
    return Orders(np.arange(n).astype(str), customer, us, us, days_of(us, zone), money, back, zone)


def moment(days: float) -> datetime:
    """So many days after the start."""
    return from_us(to_us(START + days * DAY))

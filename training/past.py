"""An earlier moment of a log's orders: what was known of each customer then, and what came after."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec
import numpy as np

from features.moments import DAY, to_us
from serving.booster import Numbers
from serving.purchases import BgNbd
from serving.summaries import Orders, Summaries, summarise
from training import bgnbd

LEAST = 1e-6  # orders expected: less is no figure to compare with


@dataclass(frozen=True)
class Past:
    """What was known at a moment, and what came in the `days` after it, of the customers of `known` [n].

    came: order days. money: net. wait: days until the next order, inf without one. before: order days in as
    many days before the moment. purchases: BG/NBD fitted as of the moment.
    """

    known: Summaries
    days: int
    purchases: BgNbd
    came: Numbers
    money: Numbers
    wait: Numbers
    before: Numbers

    @classmethod
    def of(cls, orders: Orders, moment: datetime, days: int, by: datetime) -> "Past":
        """As of that moment, judged by what was known `by`."""
        known = summarise(orders, moment)
        purchases, _ = bgnbd.fit(known.histories)
        now, until, who = to_us(moment), to_us(by), known.customer
        came, money, wait = orders.ahead(now, days, until)
        before, _, _ = orders.ahead(to_us(moment - days * DAY), days, now)
        return cls(known, days, purchases, came[who], money[who], wait[who], before[who])

    @property
    def expected(self) -> Numbers:
        """Order days by BG/NBD, [n]."""
        return self.purchases.expected(self.known.histories, np.full(len(self.known), float(self.days)))

    def returning(self, share: float) -> "Past":
        """The same, where that share of those held for lost come back."""
        return replace(self, purchases=msgspec.structs.replace(self.purchases, returns=share))


def deviance(came: Numbers, expected: Numbers) -> float:
    """Mean Poisson deviance of counts [n] from what was expected [n]."""
    return float(losses(came, expected).mean())


def losses(came: Numbers, expected: Numbers) -> Numbers:
    """What each adds to the Poisson deviance, [n]."""
    expected = np.maximum(expected, LEAST)
    ratio = np.where(came > 0, came, 1.0) / expected
    lost: Numbers = 2 * (np.where(came > 0, came * np.log(ratio), 0.0) - (came - expected))
    return lost


def returns(pasts: Sequence[Past]) -> float:
    """The share of those held for lost who come back, by which BG/NBD says best what came, in hundredths.

    Each moment's own total is divided out: who comes is asked, not how many.
    """
    gone, back = ([past.returning(share).expected for past in pasts] for share in (0.0, 1.0))
    shares = np.arange(0, 91) / 100
    losses_at = []
    for share in shares:
        total = 0.0
        for past, none, all in zip(pasts, gone, back, strict=True):
            expected = none + share * (all - none)  # it is linear in the share
            total += losses(past.came, expected * past.came.sum() / expected.sum()).sum()
        losses_at.append(round(total, 6))  # nobody held for lost: all are the same, and the first is taken
    return float(shares[np.argmin(losses_at)])

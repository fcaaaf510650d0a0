"""Prices of money and channels that are short: found for everybody at once, charged in every online decision.

One run of the allocation is a release of kind `prices`: its version in force holds from its moment on, until
another is. What decisions were charged, the ledger names by its version.

An action is charged budget price x its expected cost + its channel's price, only to choose; its expected net
value stays what it is. A budget of the policy limits a plan as any other limit; it is whole again in its next
period, so its price ends with the period.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from features.policy import Period
from serving import stated
from serving.actions import Action

if TYPE_CHECKING:
    from serving.releases import Release

KIND = "prices"
BUDGET = "budget"  # its name among the duals of an answer, beside the channels'


class Prices(Struct, frozen=True):
    """budget: net value that one more unit of currency would bring; channels: that one more contact would.

    policy: the same of each of the policy's budgets, which pay marketing alone, by `BudgetLeft.name`.
    closed: limits that are 0, by their names: no marketing takes any of it, whatever it brings, nor by lot.
    """

    budget: float = 0.0
    channels: dict[str, float] = {}
    closed: tuple[str, ...] = ()
    policy: dict[str, float] = {}

    def of(self, actions: Sequence[Action]) -> NDArray[np.float64]:
        """What each action is charged, shop currency [A]."""
        channels = [sum(self.channels.get(channel, 0.0) for channel in a.channels) for a in actions]
        marketing = self.budget + sum(self.policy.values())
        money = [(marketing if a.purpose == "marketing" else self.budget) * a.cost for a in actions]
        return np.array(money) + channels

    def closes(self, action: Action) -> bool:
        """Whether there is none of what an action would use."""
        dear = action.cost > 0 and BUDGET in self.closed
        return action.purpose == "marketing" and (dear or not {*self.closed}.isdisjoint(action.channels))

    @property
    def duals(self) -> dict[str, float]:
        """By the name of what is short; empty without prices."""
        named = {BUDGET: self.budget, **self.policy, **self.channels}
        return {name: price for name, price in named.items() if price > 0}


NONE = Prices()


class PriceGap(Struct, frozen=True, kw_only=True):
    """How much more a group is offered than like customers, currency a customer (`training.fairness`)."""

    attribute: str
    group: str
    customers: int
    offer: float  # mean
    gap: float
    low: float
    high: float
    unfair: bool


class BudgetLeft(Struct, frozen=True, kw_only=True):
    """What was left of a budget of the policy, spent and reserved taken off, shop currency.

    name: among the duals. until: the first moment of its next period.
    """

    name: str
    amount: float
    per: Period
    left: float
    until: datetime


class PriceSet(Struct, frozen=True, kw_only=True):
    """One run. budget, capacity: the limits given; budgets: the policy's. build: the publication that it was
    found on.

    policy: what it was found under, as `rulebook` names it.
    """

    as_of: datetime
    build: str
    policy: str
    customers: int
    budget: float | None
    capacity: dict[str, int]
    spent: float
    value: float
    bound: float
    prices: Prices
    fairness: list[PriceGap] = []
    budgets: list[BudgetLeft] = []


load = stated.loader(PriceSet, KIND)


def set_of(release: "Release") -> PriceSet:
    """What a release of prices states."""
    assert isinstance(release.model, stated.Stated)
    found: PriceSet = release.model.states
    return found


def charged(release: "Release | None", at: datetime) -> Prices:
    """What a release charges at a moment: nothing before its own, and without one; for a budget of the policy
    nothing after the period that the price was found in."""
    if release is None or (found := set_of(release)).as_of > at:
        return NONE
    ended = {budget.name for budget in found.budgets if budget.until <= at}
    if ended.isdisjoint(found.prices.policy):
        return found.prices
    going_on = {name: price for name, price in found.prices.policy.items() if name not in ended}
    return replace(found.prices, policy=going_on)

"""Who the customers are: their true rates and tastes, where they are, and what they have consented to."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from features.sources.simulated.columns import Rows, named, numbered
from features.sources.simulated.draws import Bools, Floats, Ints, beta, gamma, keys
from features.sources.simulated.world import World

RATE_SHAPE, RATE_MEAN = 0.7, 0.02  # orders a day while a customer: gamma
HAZARD_SHAPE, HAZARD_MEAN = 1.2, 1 / 180  # of being lost, a day: gamma
SPEND_SHAPE, SPEND_SPREAD, SPEND_MEAN = 4.0, 4.0, 150.0  # gamma-gamma: p, q, and the mean order in CNY
FIRST_BY_ORDER = 0.75  # acquired by an order; the others register first
HOLDOUT = 0.05
ARCHETYPES = ("regular", "occasional", "bright start", "passing")
CHANNELS = ("mini_program", "app", "store", "live")  # of orders and visits
_HOME = (0.45, 0.70, 0.95, 1.0)
CONSENT = {
    "sms": 0.75,
    "app": 0.6,
    "mini_program": 0.7,
    "mail": 0.5,
    "phone": 0.5,
}  # of marketing; granted at once
WITHDRAWN = 0.00015  # a day: withdrawals that no message provoked, about 5 % a year
IN_GROUP, LEAVES_GROUP = 0.4, 0.0008  # share; leaving a day, 2.4 % a month
HAS_STAFF, LEAVES_STAFF = 0.35, 0.0004
SECOND_ID = 0.12  # have a second account in the mini-program; a third of them linked within days
NEVER = np.inf


@dataclass(frozen=True)
class People:
    """A block of customers, an entry each. Times are days since the start; NEVER if it does not happen."""

    world: World
    index: Ints
    key: Ints
    acquired: Floats
    first_by_order: Bools
    rate: Floats  # orders a day of operational time while a customer
    hazard: Floats  # of being lost, a day
    lost: Floats  # when lost, if nobody contacts her
    spend: Floats  # mean order, CNY
    visits: Floats  # a day of operational time while a customer
    deal: Floats  # 0..1: how much she goes for offers
    novelty: Floats  # 0..1: how much she browses
    live: Floats  # 0..1: how much she watches shows
    holdout: Bools
    home: Ints  # code of CHANNELS
    store: Ints  # 0..39
    group: Ints  # number of her group; -1: none
    group_left: Floats
    staff: Ints
    staff_left: Floats
    linked: Floats  # when her second account is known to be hers; -inf: she has none
    granted: dict[str, Bools]  # channel -> marketing consent given at the start
    withdrawn: dict[str, Floats]  # channel -> when withdrawn without being asked

    @property
    def archetype(self) -> Ints:
        """Codes of ARCHETYPES: busy or not, staying or not, each as against the mean."""
        return 2 * (self.hazard > HAZARD_MEAN) + (self.rate < RATE_MEAN)

    def allowed(self, channel: str, t: float) -> Bools:
        """Who may be contacted on a channel at t, as far as she herself has said."""
        if channel == "group":
            return (self.group >= 0) & (self.acquired < t) & (self.group_left > t)
        if channel == "staff":
            return (self.staff >= 0) & (self.acquired < t) & (self.staff_left > t)
        return self.granted[channel] & (self.acquired < t) & (self.withdrawn[channel] > t)

    def ids(self, of: Ints | None = None, t: Floats | None = None, online: Bools | None = None) -> Rows:
        """customer_id of rows: her own (digits), or of her second account (w...) while it was thought another's."""
        n = len(self.index)
        code = np.arange(n) if of is None else of
        if t is not None and online is not None:
            code = code + n * (online & (t < self.linked[code]))
        return {"customer_id": named(code, self._names)}

    @cached_property
    def _names(self) -> Any:
        return pa.chunked_array([numbered("", self.index, 8), numbered("w", self.index, 8)]).combine_chunks()


def places(world: World) -> tuple[int, int]:
    """How many groups there are, of 80 members each when nobody leaves, and how many staff."""
    return max(4, world.customers // 200), max(2, world.customers // 500)


def people(world: World, first: int, last: int) -> People:
    """The customers first to last - 1."""
    index = np.arange(first, last)
    key, draws = keys(index), world.draws

    def u(purpose: str) -> Floats:
        return draws.uniform(purpose, key)

    def after(purpose: str, start: Floats, hazard: float) -> Floats:
        return start + draws.exponential(purpose, key) / hazard

    acquired = world.when(world.season(np.array(float(world.days))) * u("acquired"))
    rate, hazard = gamma(u("rate"), RATE_SHAPE, RATE_MEAN), gamma(u("hazard"), HAZARD_SHAPE, HAZARD_MEAN)
    grouped, staffed = u("in group") < IN_GROUP, u("has staff") < HAS_STAFF
    second = u("second id")
    return People(
        world=world,
        index=index,
        key=key,
        acquired=acquired,
        first_by_order=u("first by order") < FIRST_BY_ORDER,
        rate=rate,
        hazard=hazard,
        lost=world.lost_when(world.hazard(acquired) + draws.exponential("lost", key) / hazard),
        spend=SPEND_MEAN * (SPEND_SPREAD - 1) / gamma(u("spend"), SPEND_SPREAD, SPEND_SPREAD),
        visits=0.012 + 0.9 * rate * gamma(u("visits"), 4.0, 1.0),
        deal=beta(u("deal"), 2.0, 3.0),
        novelty=beta(u("novelty"), 2.0, 3.0),
        live=beta(u("live"), 1.0, 4.0),
        holdout=u("holdout") < HOLDOUT,
        home=np.searchsorted(_HOME, u("home")),
        store=np.floor(u("store") * 40).astype(np.int64),
        group=np.where(grouped, np.floor(u("group") * places(world)[0]), -1).astype(np.int64),
        group_left=np.where(grouped, after("leaves group", acquired, LEAVES_GROUP), NEVER),
        staff=np.where(staffed, np.floor(u("staff") * places(world)[1]), -1).astype(np.int64),
        staff_left=np.where(staffed, after("leaves staff", acquired, LEAVES_STAFF), NEVER),
        linked=np.where(
            second < SECOND_ID,
            acquired + np.where(second < SECOND_ID / 3, 2.0, 500.0) * u("linked"),
            -NEVER,
        ),
        granted={c: u(f"consent {c}") < share for c, share in CONSENT.items()},
        withdrawn={c: after(f"withdraws {c}", acquired, WITHDRAWN) for c in CONSENT},
    )

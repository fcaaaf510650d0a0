"""Randomised campaigns with known effects: who was sent what, with which probability, and what it changed.

Every 30 days a campaign draws one action, or nothing, for each customer of two weeks or longer, with
probabilities that depend on her last known score of potential (POLICY): so naive comparisons are confounded
and the logged propensities mend them. Fifteen days later half of the groups, drawn as wholes, get an offer in
their chat. 5 % of customers are a holdout that nobody ever contacts. An action whose channel she has not
consented to, or has opted out of, falls to nothing; the others keep their probabilities.

What an action does to a customer who is not lost when it is sent (a lost one it cannot move):
* with probability `orders` she places one order more within WINDOW days, independently of those that she
  places anyway; so her probability of any order rises by orders x (1 - p), p that without it;
* with probability `put_off` she places none of those that she would have placed: it falls by put_off x p;
* `keeps`: if she would be lost between WINDOW and RETENTION days later, that does not happen with this
  probability (the hazard goes on as before from then); `drives_off`: with this one she is lost after WINDOW;
* with probability `opt_out` she withdraws consent for the channel (or leaves the group), alive or lost.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.sources.simulated.draws import Bools, Floats, Ints, keys
from features.sources.simulated.people import NEVER, RATE_MEAN, People
from features.sources.simulated.world import World

EVERY, FIRST, WINDOW, RETENTION = 30, 20, 14.0, 42.0  # days
NEWCOMERS = 14.0  # days in which nothing is sent
MARGIN_RATE = 0.3  # as in the shop.toml of the simulated shop
ACTIONS = (
    "sms_coupon", "app_new_arrivals", "staff_greeting", "live_invite", "mail_magazine", "win_back_call", "group_offer",
)  # fmt: skip
NOTHING = -1
GROUP = ACTIONS.index("group_offer")
CHANNEL = ("sms", "app", "staff", "mini_program", "mail", "phone", "group")
COST = (0.05, 0.0, 0.5, 0.01, 1.5, 3.0, 0.0)  # CNY a message
COUPON = (2000, 0, 0, 0, 0, 0, 1000)  # cents off, on an order within WINDOW days
OPENS = (0.25, 0.08, 0.45, 0.12, 0.10, 0.50, 0.30)  # by customers who are not lost; CLICKS of the opened
CLICKS, OPENS_LOST = 0.25, 0.3
# Of the six actions, by potential: unknown, below 33, below 67, above.
POLICY = np.array(
    [
        [0.10, 0.10, 0.10, 0.10, 0.10, 0.10],
        [0.08, 0.08, 0.08, 0.08, 0.08, 0.20],
        [0.12, 0.12, 0.12, 0.10, 0.10, 0.10],
        [0.20, 0.12, 0.16, 0.12, 0.08, 0.06],
    ]
)
BANDS = (33.0, 67.0)
GROUP_SHARE = 0.5


@dataclass(frozen=True)
class Effects:
    """True effects, customers x ACTIONS; probabilities, as the module says. `orders` lies in 0 to .02."""

    orders: Floats
    put_off: Floats
    keeps: Floats
    drives_off: Floats
    opt_out: Floats


def effects(who: People) -> Effects:
    """What each action does to each customer: functions of tastes that her behaviour and tags show.

    Coupons move those who go for offers, news those who browse, shows those who watch them; the magazine moves
    nobody; the call wins some of the slow buyers, and annoys the busy ones.
    """
    none = np.zeros(len(who.index))
    busy = who.rate > RATE_MEAN
    orders = (
        0.02 * who.deal,
        0.008 * who.novelty,
        none + 0.005,
        0.02 * who.live,
        none,
        np.where(busy, 0.0, 0.01),
        0.012 * (who.live + who.novelty) / 2,
    )
    zero = [none] * len(ACTIONS)

    def only(action: str, values: Floats) -> Floats:
        return np.stack([values if a == action else z for a, z in zip(ACTIONS, zero, strict=True)], axis=1)

    opt_out = (0.003, 0.001, 0.0005, 0.002, 0.0005, 0.006, 0.002)
    return Effects(
        orders=np.stack(orders, axis=1),
        put_off=only("win_back_call", np.where(busy, 0.03, 0.0)),
        keeps=only("staff_greeting", 0.12 * (1 - who.deal)),
        drives_off=only("win_back_call", np.where(busy, 0.01, 0.0)),
        opt_out=np.stack([p * (0.5 + who.deal) for p in opt_out], axis=1),
    )


@dataclass(frozen=True)
class Contacts:
    """What was decided in all campaigns, a row each, `NOTHING` included. Customers by their place in the block."""

    customer: Ints
    campaign: Ints
    action: Ints
    t: Floats
    propensity: Floats
    band: Ints  # of POLICY; of the group campaigns 0
    key: Ints
    alive: Bools
    expected: Floats  # probability of an order more
    extra: Floats  # when that order is placed; NEVER
    put_off: Bools
    opted_out: Floats  # when; NEVER

    def sent(self) -> "Contacts":
        """Without those to whom nothing was sent."""
        return self[self.action != NOTHING]

    def __getitem__(self, where: NDArray[np.bool_]) -> "Contacts":
        return Contacts(**{name: values[where] for name, values in vars(self).items()})


def schedule(world: World) -> list[tuple[int, float, bool]]:
    """Number, time and whether to groups: at 10:00, or in the evening for groups; the windows end in time."""
    campaigns = []
    for number in range(2 * (world.days // EVERY + 1)):
        to_groups = number % 2 == 1
        t = FIRST + (number // 2) * EVERY + (EVERY // 2 + 20 / 24 if to_groups else 10 / 24)
        if t + WINDOW <= world.days:
            campaigns.append((number, t, to_groups))
    return campaigns


def run(who: People, potential: Floats) -> tuple[Contacts, Floats, dict[str, Floats]]:
    """All campaigns in order. Returns the decisions, when each customer is lost at last, and her opt-outs."""
    world, draws, true = who.world, who.world.draws, effects(who)
    lost = who.lost.copy()
    opted_out = {channel: np.full(len(who.index), NEVER) for channel in CHANNEL}
    done: list[Contacts] = []
    for number, t, to_groups in schedule(world):
        old = np.flatnonzero((who.acquired < t - NEWCOMERS) & ~who.holdout)
        key = keys(who.index[old], number)
        allowed = np.stack([who.allowed(c, t) & (opted_out[c] > t) for c in CHANNEL], axis=1)[old]
        if to_groups:
            old, key, allowed = old[allowed[:, GROUP]], key[allowed[:, GROUP]], allowed[allowed[:, GROUP]]
            band = np.zeros(len(old), dtype=np.int64)
            drawn = draws.uniform("group drawn", keys(who.group[old], number)) < GROUP_SHARE
            action = np.where(drawn, GROUP, NOTHING)
            propensity = np.where(drawn, GROUP_SHARE, 1 - GROUP_SHARE)
        else:
            band = _band(potential[old], t)
            chance = POLICY[band] * allowed[:, :GROUP]
            wanted = (draws.uniform("action", key)[:, None] > np.cumsum(POLICY[band], axis=1)).sum(axis=1)
            action = np.where(wanted < GROUP, wanted, NOTHING)
            action[~allowed[np.arange(len(old)), action] & (action != NOTHING)] = NOTHING
            propensity = np.where(
                action == NOTHING, 1 - chance.sum(axis=1), POLICY[band, np.minimum(action, GROUP - 1)]
            )
        sent, alive = action != NOTHING, lost[old] > t
        moved = sent & alive
        expected = np.where(moved, true.orders[old, action] * world.factor("response", np.array(t)), 0.0)
        u = draws.uniform("extra order", key)
        within = WINDOW * draws.uniform("extra order after", key) ** 2
        extra = np.where(u < expected, t + within, NEVER)
        put_off = moved & (draws.uniform("put off", key) < true.put_off[old, action])
        leaves = sent & (draws.uniform("opts out", key) < true.opt_out[old, action])
        when = np.where(leaves, t + draws.uniform("opts out after", key), NEVER)

        end = lost[old]
        u, renewed = draws.uniform("stays", key), draws.exponential("renewed", key) / who.hazard[old]
        saved = moved & (end > t + WINDOW) & (end <= t + RETENTION) & (u < true.keeps[old, action])
        end = np.where(saved, world.lost_when(world.hazard(np.full(len(old), t + RETENTION)) + renewed), end)
        driven = moved & (end > t + WINDOW) & (u < true.drives_off[old, action])
        end = np.where(driven, t + WINDOW, end)
        end = np.where(np.isfinite(extra), np.maximum(end, extra), end)  # who is about to buy is not lost yet
        lost[old] = end
        for code in np.unique(action[leaves]):
            channel = opted_out[CHANNEL[code]]
            those = leaves & (action == code)
            channel[old[those]] = np.minimum(channel[old[those]], when[those])
        columns = (band, key, alive, expected, extra, put_off, when)
        done.append(
            Contacts(old, np.full(len(old), number), action, np.full(len(old), t), propensity, *columns)
        )
    merged = {
        name: np.concatenate([getattr(c, name) for c in done]) for name in Contacts.__dataclass_fields__
    }
    return Contacts(**merged), lost, opted_out


def _band(potential: Floats, t: float) -> Ints:
    """The row of POLICY: by the last score that is known at t (each is known two days after its quarter)."""
    quarters = np.arange(potential.shape[1]) * 90 + 2.0
    value = potential[:, max(int(np.searchsorted(quarters, t, side="right")) - 1, 0)]
    return np.where(np.isnan(value), 0, 1 + np.searchsorted(BANDS, np.nan_to_num(value), side="right"))


def effects_on_value(who: People, true: Effects) -> tuple[Floats, Floats]:
    """Of each action on a customer not yet lost: margin within WINDOW days, CNY, before costs and coupons, at
    average season; and the probability of still being a customer after RETENTION days.
    """
    orders = true.orders - true.put_off * (who.rate * WINDOW)[:, None]
    margin = orders * (MARGIN_RATE * who.spend)[:, None]
    stays, stays_long = np.exp(-who.hazard * WINDOW)[:, None], np.exp(-who.hazard * RETENTION)[:, None]
    return margin, true.keeps * (stays - stays_long) - true.drives_off * stays_long

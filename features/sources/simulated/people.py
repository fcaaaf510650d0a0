"""Who the customers are: their true rates and tastes, and what of it the shop can see."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import special

from features.sources.simulated.columns import Rows, late, moments, named, numbered, same
from features.sources.simulated.draws import Bools, Floats, Ints, beta, gamma, keys
from features.sources.simulated.world import World

RATE_SHAPE, RATE_MEAN = 0.7, 0.02  # orders a day while a customer: gamma
HAZARD_SHAPE, HAZARD_MEAN = 1.2, 1 / 180  # of being lost, a day: gamma
SPEND_SHAPE, SPEND_SPREAD, SPEND_MEAN = 4.0, 4.0, 150.0  # gamma-gamma: p, q, and the mean order in CNY
ACQUIRED_BY = 0.8  # of the days: nobody new afterwards, so that every customer has some history
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
_AGES, _CITIES, _GENDERS = ("18-24", "25-34", "35-44", "45+"), ("tier 1", "tier 2", "tier 3"), ("f", "m", "")
TAGS = ("deal lover", "live fan", "big basket")
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


def people(world: World, first: int, last: int) -> People:
    """The customers first to last - 1."""
    index = np.arange(first, last)
    key, draws = keys(index), world.draws

    def u(purpose: str) -> Floats:
        return draws.uniform(purpose, key)

    def after(purpose: str, start: Floats, hazard: float) -> Floats:
        return start + draws.exponential(purpose, key) / hazard

    acquired = world.when(world.season(np.array(ACQUIRED_BY * world.days)) * u("acquired"))
    rate, hazard = gamma(u("rate"), RATE_SHAPE, RATE_MEAN), gamma(u("hazard"), HAZARD_SHAPE, HAZARD_MEAN)
    grouped, staffed = u("in group") < IN_GROUP, u("has staff") < HAS_STAFF
    groups, staff = max(4, world.customers // 200), max(2, world.customers // 500)
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
        group=np.where(grouped, np.floor(u("group") * groups), -1).astype(np.int64),
        group_left=np.where(grouped, after("leaves group", acquired, LEAVES_GROUP), NEVER),
        staff=np.where(staffed, np.floor(u("staff") * staff), -1).astype(np.int64),
        staff_left=np.where(staffed, after("leaves staff", acquired, LEAVES_STAFF), NEVER),
        linked=np.where(
            second < SECOND_ID,
            acquired + np.where(second < SECOND_ID / 3, 2.0, 500.0) * u("linked"),
            -NEVER,
        ),
        granted={c: u(f"consent {c}") < share for c, share in CONSENT.items()},
        withdrawn={c: after(f"withdraws {c}", acquired, WITHDRAWN) for c in CONSENT},
    )


def customers(who: People) -> Rows:
    """A row an account, with what the shop's forms asked; a tenth of the attributes left empty."""
    draws, world = who.world.draws, who.world
    taste = 0.6 * special.ndtri(1 - (1 - who.live) ** 4) + 0.8 * draws.normal("age", who.key)
    age = 3 - np.searchsorted((-1.0, 0.0, 1.0), taste)
    wealth = 0.5 * np.log(who.spend / SPEND_MEAN) + 0.8 * draws.normal("city", who.key)
    city = 2 - np.searchsorted((-0.5, 0.5), wealth)
    gender = np.searchsorted((0.6, 0.9), draws.uniform("gender", who.key))
    attributes = [
        {"age": _AGES[a], "city": _CITIES[c], "gender": _GENDERS[g], "joined_by": "order" if o else "registration"}
        if stated
        else None
        for a, c, g, o, stated in zip(
            age, city, gender, who.first_by_order, draws.uniform("form", who.key) < 0.9, strict=True
        )
    ]  # fmt: skip
    own, extra = np.arange(len(who.index)), np.flatnonzero(who.linked > -NEVER)
    of, is_second = np.concatenate([own, extra]), np.arange(len(own) + len(extra)) >= len(own)
    at = moments(world, who.acquired[of])
    return {
        **who.ids(of, np.full(len(of), -NEVER), is_second),
        "at": at,
        "known_at": at,
        "attributes": pa.array(
            [[*a.items()] if a else None for a in attributes] + [None] * len(extra),
            pa.map_(pa.string(), pa.string()),
        ),
    }


def identities(who: People) -> Rows:
    """Each account in its own system; and, once linked, the second account's id given to the first."""
    world, n = who.world, len(who.index)
    second = np.flatnonzero(who.linked > -NEVER)
    linked = np.flatnonzero((who.linked > -NEVER) & (who.linked < world.days))
    of = np.concatenate([np.arange(n), second, linked])
    kind = np.repeat([0, 1, 2], [n, len(second), len(linked)])
    t = np.where(kind == 2, who.linked[of], who.acquired[of])
    own, open_id = numbered("", who.index[of], 8), numbered("openid-", who.index[of], 8)
    return {
        "source": named((kind > 0).astype(np.int64), ["crm", "mini_program"]),
        "source_id": pc.if_else(pa.array(kind == 0), own, open_id),
        **who.ids(of, np.full(len(of), -NEVER), kind == 1),
        "at": moments(world, t),
        "known_at": moments(world, t),
    }


def consents(who: People, opted_out: dict[str, Floats]) -> Rows:
    """Consents given at the start, and what was withdrawn: unasked, or by an opt-out at the given times."""
    world, n = who.world, len(who.index)
    channels = [*CONSENT, "staff", "group", "any"]
    purposes = ["marketing", "service", "automation"]
    pieces: list[tuple[Ints, int, int, bool, Floats]] = []
    for code, channel in enumerate(CONSENT):
        given = np.flatnonzero(who.granted[channel])
        pieces.append((given, code, 0, True, who.acquired[given]))
        leaves = np.minimum(who.withdrawn[channel], opted_out.get(channel, np.full(n, NEVER)))
        gone = np.flatnonzero(who.granted[channel] & (leaves < world.days))
        pieces.append((gone, code, 0, False, leaves[gone]))
    everyone = np.arange(n)
    for channel, member, leaves in (
        ("staff", who.staff, who.staff_left),
        ("group", who.group, who.group_left),
    ):
        inside = np.flatnonzero(member >= 0)
        ends = np.minimum(leaves, opted_out.get(channel, np.full(n, NEVER)))
        gone = inside[ends[inside] < world.days]
        pieces.append((inside, channels.index(channel), 0, True, who.acquired[inside]))
        pieces.append((gone, channels.index(channel), 0, False, ends[gone]))
    pieces.append((everyone, 0, 1, True, who.acquired))
    agrees = np.flatnonzero(world.draws.uniform("automation", who.key) < 0.92)
    pieces.append((agrees, channels.index("any"), 2, True, who.acquired[agrees]))
    of = np.concatenate([p[0] for p in pieces])
    sizes = [len(p[0]) for p in pieces]
    on, why = np.repeat([p[1] for p in pieces], sizes), np.repeat([p[2] for p in pieces], sizes)
    grants, t = np.repeat([p[3] for p in pieces], sizes), np.concatenate([p[4] for p in pieces])
    key = keys(who.index[of], on * 8 + why * 2 + grants)
    return {
        **who.ids(of),
        "at": moments(world, t),
        "known_at": moments(world, late(world, "consent", key, t, 0.03, 0.5)),
        "channel": named(on, channels),
        "purpose": named(why, purposes),
        "status": named(grants.astype(np.int64), ["withdrawn", "granted"]),
    }


def memberships(who: People, opted_out: dict[str, Floats]) -> Rows:
    """Joining the shop's group chats and adding its staff, and leaving them. Synchronised overnight: often late."""
    world = who.world
    pieces: list[tuple[Ints, int, int, Floats]] = []
    for kind, place, left in ((0, who.group, who.group_left), (1, who.staff, who.staff_left)):
        inside = np.flatnonzero(place >= 0)
        ends = np.minimum(left, opted_out.get(("group", "staff")[kind], np.full(len(left), NEVER)))
        gone = inside[ends[inside] < world.days]
        pieces += [(inside, kind, 0, who.acquired[inside]), (gone, kind, 1, ends[gone])]
    of = np.concatenate([p[0] for p in pieces])
    sizes = [len(p[0]) for p in pieces]
    sort, change = np.repeat([p[1] for p in pieces], sizes), np.repeat([p[2] for p in pieces], sizes)
    t, key = np.concatenate([p[3] for p in pieces]), keys(who.index[of], sort * 2 + change)
    where = np.where(sort == 0, who.group[of], who.staff[of])
    groups, staff = max(4, world.customers // 200), max(2, world.customers // 500)
    names = [f"group-{g:05d}" for g in range(groups)] + [f"staff-{s:05d}" for s in range(staff)]
    return {
        **who.ids(of),
        "at": moments(world, t),
        "known_at": moments(world, late(world, "membership", key, t, 0.2, 0.3)),
        "kind": named(sort, ["group", "staff"]),
        "place_id": named(where + groups * sort, names),
        "change": named(change, ["joined", "left"]),
        "channel": same("wecom", len(of)),
    }


def scores(who: People) -> tuple[Rows, Floats]:
    """An external score of potential, 0 to 100, each quarter, known two days later; and its values by quarter.

    Its correlation with the (normal score of the) true rate is .7. Values: customers x quarters, NaN before
    the customer was there. Also the income of her district, a category, on joining.
    """
    world, draws = who.world, who.world.draws
    quarters = np.arange(0, world.days, 90)
    truth = special.ndtri(special.gammainc(RATE_SHAPE, who.rate * RATE_SHAPE / RATE_MEAN))
    noise = draws.normal("potential", keys(who.index[:, None], quarters[None, :]))
    value = np.round(100 * special.ndtr(0.7 * truth[:, None] + np.sqrt(1 - 0.49) * noise), 1)
    value[who.acquired[:, None] >= quarters[None, :]] = np.nan
    of, quarter = np.nonzero(~np.isnan(value))
    income = np.floor(draws.uniform("income", who.key) * 3).astype(np.int64)
    n, everyone = len(of), np.arange(len(who.index))
    t = np.concatenate([quarters[quarter].astype(np.float64), who.acquired])
    number = np.arange(len(t)) < n
    return {
        **who.ids(np.concatenate([of, everyone])),
        "at": moments(world, t),
        "known_at": moments(world, t + np.where(number, 2.0, 7.0)),
        "name": named((~number).astype(np.int64), ["potential", "district_income"]),
        "value": pa.array(np.concatenate([value[of, quarter], np.zeros(len(everyone))]), mask=~number),
        "label": named(np.concatenate([np.zeros(n, np.int64), income]), ["low", "middle", "high"], ~number),
    }, value


def tags(who: People) -> Rows:
    """Tags that staff imported, right four times of five: of tastes that change how actions work."""
    world, draws = who.world, who.world.draws
    held = [who.deal > 0.55, who.live > 0.35, who.spend > 1.5 * SPEND_MEAN]
    pieces = []
    for code, truth in enumerate(held):
        key = keys(who.index, code)
        wrong = draws.uniform("tag wrong", key) < np.where(truth, 0.2, 0.05)
        put = who.acquired + 14 + 30 * draws.uniform("tag set", key)
        given = np.flatnonzero((truth != wrong) & (put < world.days))
        off = put + draws.exponential("tag removed", key) / 0.0003
        gone = given[off[given] < world.days]
        pieces += [(given, code, 0, put[given]), (gone, code, 1, off[gone])]
    of, sizes = np.concatenate([p[0] for p in pieces]), [len(p[0]) for p in pieces]
    tag, change = np.repeat([p[1] for p in pieces], sizes), np.repeat([p[2] for p in pieces], sizes)
    t = np.concatenate([p[3] for p in pieces])
    return {
        **who.ids(of),
        "at": moments(world, t),
        "known_at": moments(world, late(world, "tag", keys(who.index[of], tag * 2 + change), t, 0.5, 0.5)),
        "tag": named(tag, TAGS),
        "origin": same("imported", len(of)),
        "change": named(change, ["set", "removed"]),
    }

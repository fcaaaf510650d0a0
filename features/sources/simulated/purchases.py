"""The purchase process: Pareto/NBD in operational time, with bad experiences, and what campaigns add.

* While she is a customer, she orders at her own rate in operational time (`World.season`: weekdays, the
  year, sales, hours; 1 a day on average). Rates are gamma over customers.
* She is lost at her own constant hazard in calendar time; hazards are gamma over customers. What would come
  afterwards does not come. No order tells of it, only silence.
* 2 % of orders are a bad experience, whether or not she complains: for GRIEVANCE days her rate is halved.
* An order's value is gamma with her own mean (gamma-gamma), whatever her rate.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import special

from features.sources.simulated.campaigns import WINDOW, Contacts
from features.sources.simulated.columns import Rows, late, moments, money, named, numbered
from features.sources.simulated.draws import Bools, Floats, Ints, keys, spread
from features.sources.simulated.people import CHANNELS, SPEND_SHAPE, People
from features.sources.simulated.world import World

BAD, GRIEVANCE, SLOWED = 0.02, 90.0, 0.5  # share of orders, days, factor on the rate
RETURNED, IN_FULL = 0.06, 0.4  # share of orders of which something comes back; of these, everything
CATEGORIES = (
    "dresses", "shirts", "shoes", "bags", "skincare", "make-up", "snacks", "tea", "toys", "baby care", "kitchen", "bedding",
)  # fmt: skip
DEPARTMENTS = ("fashion", "beauty", "food", "children", "home")
_DEPARTMENT = np.array([0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4])  # of each category
PRODUCTS = 600
_EXTRA = 1 << 22  # keys of orders that an action caused begin here
_BLOCK_DAYS = 8192.0  # more than any world's days: makes (customer, time) one sortable number


@dataclass(frozen=True)
class Orders:
    """Orders by customer and time. Customers by their place in the block; `nth` counts a customer's own."""

    customer: Ints
    nth: Ints
    key: Ints
    t: Floats
    bad: Bools
    caused: Ints  # row of the contact that caused it; -1: none
    channel: Ints
    cents: Ints  # to pay, before any coupon


def orders(who: People, contacts: Contacts, lost: Floats) -> Orders:
    """The orders that happen: of those that each customer would place if she were never lost."""
    world, draws = who.world, who.world.draws
    starts = world.season(who.acquired)
    length = world.season(np.array(float(world.days))) - starts
    owner, nth = spread(draws.poisson("orders", who.key, who.rate * length))
    key = keys(who.index[owner], nth + 1)
    t = world.when(starts[owner] + length[owner] * draws.uniform("order time", key))
    first = np.flatnonzero(who.first_by_order)
    caused = np.flatnonzero(contacts.extra < world.days)
    owner = np.concatenate([owner, first, contacts.customer[caused]])
    t = np.concatenate([t, who.acquired[first], contacts.extra[caused]])
    key = np.concatenate([key, keys(who.index[first]), contacts.key[caused] + _EXTRA])
    cause = np.concatenate([np.full(len(nth) + len(first), -1), caused])

    order = np.argsort(owner * _BLOCK_DAYS + t, kind="stable")
    owner, t, key, cause = owner[order], t[order], key[order], cause[order]
    place = owner * _BLOCK_DAYS + t
    of_her_own = (cause < 0) & (t > who.acquired[owner])
    put_off = contacts.customer[contacts.put_off] * _BLOCK_DAYS + contacts.t[contacts.put_off]
    happens = (t < lost[owner]) | ~of_her_own
    happens &= ~(of_her_own & _within(place, put_off, WINDOW))
    bad = (draws.uniform("bad experience", key) < BAD) & (cause < 0)
    happens = _slowed(place, happens, bad, of_her_own & (draws.uniform("slowed", key) < 1 - SLOWED))

    owner, t, key = owner[happens], t[happens], key[happens]
    cause, bad = cause[happens], bad[happens]
    counts = np.bincount(owner, minlength=len(who.index))
    u = draws.uniform("order value", key)
    value = who.spend[owner] / SPEND_SHAPE * special.gammaincinv(SPEND_SHAPE, u) * world.factor("price", t)
    return Orders(
        customer=owner,
        nth=spread(counts)[1],
        key=key,
        t=t,
        bad=bad,
        caused=cause,
        channel=order_channel(who, owner, key, t, "order"),
        cents=np.maximum(np.round(value * 100), 100).astype(np.int64),
    )


def _within(place: Floats, starts: Floats, days: float) -> Bools:
    """Which places lie in (start, start + days] of any start of the same customer; places are sorted."""
    change = np.zeros(len(place) + 1, dtype=np.int64)
    np.add.at(change, np.searchsorted(place, starts, side="right"), 1)
    np.add.at(change, np.searchsorted(place, starts + days, side="right"), -1)
    return np.cumsum(change[:-1]) > 0


def _slowed(place: Floats, happens: Bools, bad: Bools, would_stop: Bools) -> Bools:
    """Orders left after bad experiences; one that does not happen is none. Settles from the first on."""
    left = happens
    while True:
        again = happens & ~(would_stop & _within(place, place[left & bad], GRIEVANCE))
        if (again == left).all():
            return left
        left = again


def order_channel(who: People, owner: Ints, key: Ints, t: Floats, purpose: str) -> Ints:
    """Three of four on the home channel, the others anywhere; a planted shift moves store to mini-program."""
    draws = who.world.draws
    u = draws.uniform(f"{purpose} channel", key)
    channel = np.where(u < 0.75, who.home[owner], np.minimum((u - 0.75) * 16, 3).astype(np.int64))
    moves = draws.uniform(f"{purpose} moves", key) < who.world.factor("online", t)
    return np.where((channel == 2) & moves, 0, channel)


def order_ids(who: People, made: Orders, prefix: str = "o") -> Any:
    """Text ids of orders: the customer's number and the order's among hers."""
    return numbered(prefix, who.index[made.customer] * 10_000 + made.nth, 12)


def paid(who: People, made: Orders, coupons: Ints) -> tuple[Rows, Rows, Floats, Bools]:
    """Tables orders and order_lines, returns among them; when each order comes back (or never), and in full.

    coupons: cents off each order, from the contact that it redeems.
    """
    world, draws, n = who.world, who.world.draws, len(made.t)
    of, line = spread(1 + np.minimum(draws.geometric("lines", made.key, 1.1), 14))
    key = made.key[of] * 16 + line
    weight = draws.exponential("share of order", key)
    first = np.flatnonzero(line == 0)
    run = np.cumsum(weight)
    before = np.concatenate([[0.0], run])[first][of]
    total = np.add.reduceat(weight, first)[of] if n else weight
    amount = np.floor((run - before) / total * made.cents[of] + 1e-6).astype(np.int64)
    last = np.concatenate([line[1:] == 0, [True]])[: len(line)]
    amount[last] = made.cents[of][last]
    amount -= np.where(line > 0, np.concatenate([[0], amount[:-1]])[: len(line)], 0)
    on_sale = np.zeros(n, dtype=bool)
    for event in world.events:
        if event.kind == "sale":
            on_sale |= (made.t >= event.begins) & (made.t < event.ends)
    off = (0.02 + 0.3 * who.deal[made.customer] * draws.uniform("discount", made.key) + 0.08 * on_sale)[of]
    discount = np.round(amount * off / (1 - off)).astype(np.int64)
    coupon = np.where(line == 0, np.minimum(coupons[of], amount), 0)
    amount, discount = amount - coupon, discount + coupon
    product = products_bought(who, made.customer[of], key, "line")
    items = 1 + np.minimum(draws.geometric("items", key, 0.3), 20)

    back = made.t + 3 + 12 * draws.uniform("returned after", made.key)
    u = draws.uniform("returned", made.key)
    back = np.where((u < RETURNED) & (back < world.days), back, np.inf)
    in_full = u < RETURNED * IN_FULL
    again = np.isfinite(back)
    comes = np.flatnonzero(again[of] & (in_full[of] | (line == 0)))
    lines_of = np.concatenate([of, of[comes]])
    sign = np.where(np.arange(len(lines_of)) < len(of), 1, -1)
    pick = np.concatenate([np.arange(len(of)), comes])
    t = np.where(sign > 0, made.t[lines_of], back[lines_of])
    returns = np.flatnonzero(again)
    paid_in = np.bincount(of, amount, n).astype(np.int64)
    paid_out = np.bincount(of[comes], amount[comes], n).astype(np.int64)[returns]
    off_all = np.bincount(of, discount, n).astype(np.int64)

    own, back_ids = order_ids(who, made), order_ids(who, made, prefix="r")
    which = np.concatenate([np.arange(n), returns])
    is_return = np.arange(len(which)) >= n
    head_t = np.where(is_return, back[which], made.t[which])
    late_head = late(world, "order", made.key, np.zeros(n), 0.04, 0.4)  # tills that report overnight
    ids = pa.chunked_array([own, back_ids]).combine_chunks()
    ref_of = np.where(is_return, which, 0)
    heads: Rows = {
        "order_id": ids.take(pa.array(which + n * is_return)),
        **who.ids(made.customer[which], made.t[which], made.channel[which] != 2),
        "at": moments(world, head_t),
        "known_at": moments(world, head_t + late_head[which]),
        "channel": named(made.channel[which], CHANNELS),
        "store_id": named(
            who.store[made.customer[which]],
            [f"store-{s:02d}" for s in range(40)],
            made.channel[which] == 2,
        ),
        "amount": money(np.concatenate([paid_in, -paid_out])),
        "discount": money(np.concatenate([off_all, np.zeros(len(returns), np.int64)])),
        "ref": own.take(pa.array(ref_of, mask=~is_return)),
    }
    zeros = np.zeros(len(comes), np.int64)
    body: Rows = {
        "order_id": ids.take(pa.array(lines_of + n * (sign < 0))),
        "line": pa.array(line[pick]),
        **who.ids(made.customer[lines_of], made.t[lines_of], made.channel[lines_of] != 2),
        "at": moments(world, t),
        "known_at": moments(world, t + late_head[lines_of]),
        **catalogued(world, product[pick]),
        "items": pa.array(items[pick] * sign),
        "measure": pa.nulls(len(pick), pa.int64()),
        "amount": money(amount[pick] * sign),
        "discount": money(np.concatenate([discount, zeros])),
        "coupon": money(np.concatenate([coupon, zeros])),
        "ref": own.take(pa.array(np.where(sign < 0, lines_of, 0), mask=sign > 0)),
    }
    return heads, body, back, in_full


def products_bought(who: People, owner: Ints, key: Ints, purpose: str) -> Ints:
    """Half of the time of one of her two favourite categories; within a category a few sell most."""
    draws, number = who.world.draws, len(CATEGORIES)
    favourite = np.floor(draws.uniform("favourite", who.key) * number * number).astype(np.int64)[owner]
    u = draws.uniform(f"{purpose} category", key)
    category = np.where(u < 0.35, favourite % number, favourite // number)
    category = np.where(u < 0.5, category, np.floor((u - 0.5) * 2 * number).astype(np.int64))
    within = np.floor(PRODUCTS // number * draws.uniform(f"{purpose} product", key) ** 2).astype(np.int64)
    return category * (PRODUCTS // number) + within


def catalogued(world: World, product: Ints) -> Rows:
    """The columns of products that a line repeats."""
    brands = _brands(world)
    category = product // (PRODUCTS // len(CATEGORIES))
    return {
        "product_id": named(product, PRODUCT_IDS),
        "category": named(category, CATEGORIES),
        "department": named(_DEPARTMENT[category], DEPARTMENTS),
        "brand": named(brands[product], BRANDS),
    }


PRODUCT_IDS = [f"p{number:04d}" for number in range(PRODUCTS)]
BRANDS = ("Private", *(f"brand {letter}" for letter in "ABCDEFGHIJKL"))


def _brands(world: World) -> Ints:
    """A quarter of the products are of the shop's own brand."""
    u = world.draws.uniform("brand", np.arange(PRODUCTS))
    return np.where(u < 0.25, 0, 1 + np.floor((u - 0.25) / 0.75 * (len(BRANDS) - 1)).astype(np.int64))


def products(world: World) -> Rows:
    """The catalogue."""
    return catalogued(world, np.arange(PRODUCTS))


def first_after(made: Orders, contacts: Contacts) -> Ints:
    """The first order within WINDOW days of each contact; of one that caused an order, that order; else -1."""
    place = made.customer * _BLOCK_DAYS + made.t
    starts = contacts.customer * _BLOCK_DAYS + contacts.t
    found = np.searchsorted(place, starts, side="right")
    known = found < np.searchsorted(place, starts + WINDOW, side="right")
    first = np.where(known, found, -1)
    caused = np.flatnonzero(made.caused >= 0)
    first[made.caused[caused]] = caused
    return first

"""What customers do besides ordering: visits, shows, answers to contacts, complaints, surveys.

While she is a customer she visits at her own rate in operational time (.012 a day, and .9 for each order that
she places); of those lost, one visit of ten remains. Every order online was preceded by a visit and a cart.
"""

import numpy as np
import pyarrow as pa

from features.sources.simulated.campaigns import (
    ACTIONS,
    CHANNEL,
    CLICKS,
    COST,
    COUPON,
    OPENS,
    OPENS_LOST,
    WINDOW,
    Contacts,
)  # fmt: skip
from features.sources.simulated.columns import Rows, late, moments, money, named, nothing, numbered, same
from features.sources.simulated.draws import Bools, Floats, Ints, keys, spread
from features.sources.simulated.people import CHANNELS, HAZARD_MEAN, NEVER, People
from features.sources.simulated.purchases import Orders, catalogued, order_channel, order_ids, products_bought
from features.sources.simulated.world import World

KINDS = ("visit", "view", "cart", "comment", "live", "login")
STILL_VISITS = 0.1  # share of visits that remain of a lost customer
LOST_FOR = 14.0  # days that a planted loss of rows lasts
_MINUTE = 1 / 1440


def interactions(who: People, made: Orders, lost: Floats) -> Rows:
    """Visits with their views, carts, comments and logins; live shows watched; what led to orders."""
    world, draws = who.world, who.world.draws
    starts = world.season(who.acquired)
    length = world.season(np.array(float(world.days))) - starts
    of, nth = spread(draws.poisson("visit", who.key, who.visits * length))
    key = keys(who.index[of], nth)
    t = world.when(starts[of] + length[of] * draws.uniform("visit time", key))
    stays = (t < lost[of]) | (draws.uniform("visits lost", key) < STILL_VISITS)
    of, key, t = of[stays], key[stays], t[stays]
    channel = order_channel(who, of, key, t, "visit")
    online = channel != 2
    number = np.where(online, draws.geometric("views", key, 0.5 + 2.5 * who.novelty[of]), 0)
    seen, view = spread(np.minimum(number, 31))
    view_key = key[seen] * 32 + view

    shows = np.array([e.begins for e in world.events if e.kind == "live" and e.begins < world.days])
    watcher, show = np.nonzero(
        (who.acquired[:, None] < shows)
        & (lost[:, None] > shows)
        & (
            draws.uniform("watches", keys(who.index[:, None], np.arange(len(shows))))
            < 0.1 * who.live[:, None]
        )
    )
    watch_key = keys(who.index[watcher], show)
    watch_t = shows[show] + 0.06 * draws.uniform("joins show", watch_key)
    ordered = np.flatnonzero((made.channel != 2) & (made.t - 20 * _MINUTE > who.acquired[made.customer]))
    order_of, order_t, order_key = made.customer[ordered], made.t[ordered], made.key[ordered]

    carts = draws.uniform("cart", view_key) < 0.08
    logs_in = online & (draws.uniform("login", key) < 0.15)
    comments = draws.uniform("comment", key) < 0.01
    says = draws.uniform("comment", watch_key) < 0.05
    n_live, n_order = np.full(len(watcher), 3), made.channel[ordered]
    # kind, customers, keys, times, channels, has a product, mean seconds (0: none)
    pieces: list[tuple[str, Ints, Ints, Floats, Ints, bool, float]] = [
        ("visit", of, key, t, channel, False, 240.0),
        ("view", of[seen], view_key, t[seen] + (view + 1) * _MINUTE, channel[seen], True, 40.0),
        ("cart", of[seen][carts], view_key[carts], t[seen][carts] + (view[carts] + 2) * _MINUTE, channel[seen][carts], True, 0.0),
        ("login", of[logs_in], key[logs_in], t[logs_in], channel[logs_in], False, 0.0),
        ("comment", of[comments], key[comments], t[comments] + 5 * _MINUTE, channel[comments], True, 0.0),
        ("live", watcher, watch_key, watch_t, n_live, False, 900.0),
        ("comment", watcher[says], watch_key[says], watch_t[says] + 5 * _MINUTE, n_live[says], False, 0.0),
        ("visit", order_of, order_key, order_t - 15 * _MINUTE, n_order, False, 600.0),
        ("cart", order_of, order_key, order_t - 5 * _MINUTE, n_order, True, 0.0),
    ]  # fmt: skip
    return _arranged(who, pieces)


def _arranged(who: People, pieces: list[tuple[str, Ints, Ints, Floats, Ints, bool, float]]) -> Rows:
    """One table of the pieces; ids count within customer and piece. Rows after the last day never happened."""
    world, draws = who.world, who.world.draws
    columns: dict[str, list[object]] = {}
    for code, (kind, of, key, t, channel, has_product, seconds) in enumerate(pieces):
        happens = t < world.days
        broken = [c for c in world.changes if c.kind == "lost"]
        for change in broken:
            in_time = (t >= change.day) & (t < change.day + LOST_FOR)
            happens &= ~in_time | (draws.uniform(f"lost {kind} {code}", key) >= change.factor)
        counts = np.bincount(of, minlength=len(who.index))
        nth = np.empty(len(of), dtype=np.int64)
        order = np.argsort(of, kind="stable")
        nth[order] = spread(counts)[1]
        of, key, t, channel, nth = of[happens], key[happens], t[happens], channel[happens], nth[happens]
        n, purpose = len(of), f"{kind} {code}"
        product = products_bought(who, of, key, purpose) if has_product else None
        lasted = np.round(seconds * draws.exponential(f"{purpose} seconds", key)) if seconds else None
        shown = catalogued(world, product) if product is not None else None
        piece: Rows = {
            "interaction_id": numbered(f"i{code}", who.index[of] * 100_000 + nth, 13),
            **who.ids(of, t, channel != 2),
            "at": moments(world, t),
            "known_at": moments(world, late(world, purpose, key, t, 0.03, 0.2)),  # phones that were offline
            "kind": same(kind, n),
            "channel": named(channel, CHANNELS),
            "product_id": shown["product_id"] if shown else nothing(n).dictionary_encode(),
            "category": shown["category"] if shown else nothing(n).dictionary_encode(),
            "seconds": pa.array(lasted.astype(np.int64)) if lasted is not None else pa.nulls(n, pa.int64()),
        }
        for name, values in piece.items():
            columns.setdefault(name, []).append(values)
    return {name: pa.chunked_array(values) for name, values in columns.items()}


def contacts_and_responses(who: People, sent: Contacts, made: Orders, first: Ints) -> tuple[Rows, Rows, Ints]:
    """Tables contacts and responses; and cents that each order's coupon takes off, by redeeming.

    Who orders more because of a contact has opened and clicked it, and redeems what it offers. Of the others
    who ordered within the window, those who clicked first redeem a coupon half of the time, or it says `buy`.
    """
    world, draws, key = who.world, who.world.draws, sent.key
    id = numbered("c", sent.campaign * 100_000_000 + who.index[sent.customer], 12)
    names = [f"campaign-{number:03d}" for number in range(int(sent.campaign.max(initial=0)) + 1)]
    rows: Rows = {
        "contact_id": id,
        **who.ids(sent.customer),
        "at": moments(world, sent.t),
        "known_at": moments(world, late(world, "contact", key, sent.t, 0.02, 0.2)),
        "campaign_id": named(sent.campaign, names),
        "action": named(sent.action, ACTIONS),
        "channel": named(sent.action, CHANNEL),
        "until": moments(world, sent.t + WINDOW),
        "cost": money(np.round(np.array(COST) * 100).astype(np.int64)[sent.action]),
        "propensity": pa.array(sent.propensity),
    }
    caused = np.isfinite(sent.extra)
    answers = np.array(OPENS)[sent.action] * np.where(sent.alive, 1.0, OPENS_LOST)
    opens = (draws.uniform("opens", key) < answers) | caused
    clicks = opens & ((draws.uniform("clicks", key) < CLICKS) | caused)
    ready = np.where(caused, sent.extra - sent.t, 1.0)  # whoever buys because of it has read it before
    opened = sent.t + np.where(caused, 0.5 * ready, 0.5 * draws.uniform("opens after", key))
    clicked = opened + np.where(caused, 0.2 * ready, 0.01)
    when = np.where(first >= 0, made.t[np.maximum(first, 0)] if len(made.t) else NEVER, NEVER)
    buys = clicks & (when > clicked) & (when < world.days)
    face = np.array(COUPON)[sent.action]
    redeems = buys & (face > 0) & (caused | (draws.uniform("redeems", key) < 0.5))
    coupons = np.zeros(len(made.t), dtype=np.int64)
    np.maximum.at(coupons, first[redeems], face[redeems])
    kinds: list[tuple[str, Bools, Floats]] = [
        ("open", opens, opened),
        ("click", clicks, clicked),
        ("redeem", redeems, when),
        ("buy", buys & ~redeems, when),
        ("opt-out", np.isfinite(sent.opted_out), sent.opted_out),
    ]
    which = [np.flatnonzero(happens & (t < world.days)) for _, happens, t in kinds]
    of = np.concatenate(which)
    kind = np.repeat(np.arange(len(kinds)), [len(w) for w in which])
    t = np.concatenate([k[2][w] for k, w in zip(kinds, which, strict=True)])
    answer_key = key[of] * 8 + kind
    number = (sent.campaign[of] * 100_000_000 + who.index[sent.customer[of]]) * 10 + kind
    return (
        rows,
        {
            "response_id": numbered("a", number, 13),
            **who.ids(sent.customer[of]),
            "at": moments(world, t),
            "known_at": moments(world, late(world, "response", answer_key, t, 0.05, 0.5)),
            "kind": named(kind, [k[0] for k in kinds]),
            "contact_id": id.take(pa.array(of)),
            "campaign_id": rows["campaign_id"].take(pa.array(of)),
        },
        coupons,
    )


def cases(who: People, made: Orders, back: Floats, in_full: Bools) -> Rows:
    """Complaints about three of four bad experiences, and each return; opened, and mostly closed."""
    world, draws, n = who.world, who.world.draws, len(made.t)
    complains = made.bad & (draws.uniform("complains", made.key) < 0.75)
    which = [np.flatnonzero(complains), np.flatnonzero(np.isfinite(back))]
    of = np.concatenate(which)
    kind = np.repeat([0, 1], [len(w) for w in which])
    key = made.key[of] * 4 + kind * 2
    opened = np.where(
        kind == 0, made.t[of] + 1 + 4 * draws.uniform("complains after", key), made.t[of] + (back[of] - made.t[of]) / 2
    )  # fmt: skip
    closed = np.where(kind == 0, opened + 0.5 + 6 * draws.exponential("settled after", key), back[of])
    closed = np.where((kind == 1) | (draws.uniform("settled", key) < 0.9), closed, NEVER)
    reason = np.where(kind == 0, np.floor(draws.uniform("reason", key) * 3), 3 + in_full[of]).astype(np.int64)
    row, change = np.tile(np.arange(len(of)), 2), np.repeat([0, 1], len(of))
    t = np.concatenate([opened, closed])
    keep = t < world.days
    row, change, t = row[keep], change[keep], t[keep]
    own = order_ids(who, made)
    number = (who.index[made.customer[of]] * 10_000 + made.nth[of]) * 10 + kind
    return {
        "case_id": numbered("k", number[row], 13),
        **who.ids(made.customer[of][row], made.t[of][row], (made.channel != 2)[of][row]),
        "at": moments(world, t),
        "known_at": moments(world, late(world, "case", key[row] + change, t, 0.1, 0.5)),
        "kind": named(kind[row], ["complaint", "return"]),
        "change": named(change, ["opened", "closed"]),
        "channel": named(np.zeros(len(row), np.int64), ["service desk"]),
        "ref": own.take(pa.array(of[row])) if n else nothing(0),
        "reason": named(
            reason[row], ["damaged", "late delivery", "not as described", "one item", "whole order"]
        ),
    }


def surveys(who: People, made: Orders) -> Rows:
    """Satisfaction after one of 20 orders, 1 or 2 after a bad experience; and one customer of ten asked for NPS."""
    world, draws = who.world, who.world.draws
    asked = np.flatnonzero(draws.uniform("asked", made.key) < 0.05)
    nps = np.flatnonzero(draws.uniform("asked nps", who.key) < 0.1)
    u = draws.uniform("satisfied", made.key[asked])
    stars = np.where(made.bad[asked], 1 + (u > 0.6), 3 + (u > 0.12) + (u > 0.4)).astype(np.int64)
    mood = draws.normal("nps", who.key[nps]) - 2 * np.log(who.hazard[nps] / HAZARD_MEAN)
    score = np.clip(np.round(7.5 + 0.7 * mood), 0, 10).astype(np.int64)
    of = np.concatenate([made.customer[asked], nps])
    t = np.concatenate([made.t[asked] + 5, who.acquired[nps] + 90])
    key = np.concatenate([made.key[asked], who.key[nps]])
    of_order = np.arange(len(t)) < len(asked)
    number = np.concatenate([who.index[made.customer[asked]] * 10_000 + made.nth[asked], who.index[nps]])
    ref = order_ids(who, made).take(
        pa.array(np.concatenate([asked, np.zeros(len(nps), np.int64)]), mask=~of_order)
    ) if len(made.t) else nothing(len(t))  # fmt: skip
    rows: Rows = {
        "survey_id": numbered("s", number * 10 + ~of_order, 13),
        **who.ids(of),
        "at": moments(world, t),
        "known_at": moments(world, late(world, "survey", key, t, 0.3, 0.5)),
        "kind": named((~of_order).astype(np.int64), ["satisfaction", "nps"]),
        "score": pa.array(np.concatenate([stars, score])),
        "ref": ref,
    }
    happens = pa.array(t < world.days)
    return {name: values.filter(happens) for name, values in rows.items()}


def calendar(world: World) -> Rows:
    """Sales, holidays and shows, announced 90 days ahead (shows: a week), some beyond the last day."""
    events = [e for e in world.events if e.begins - (7 if e.kind == "live" else 90) < world.days]
    begins, ends = np.array([e.begins for e in events]), np.array([e.ends for e in events])
    ahead = np.array([7.0 if e.kind == "live" else 90.0 for e in events])
    return {
        "event_id": pa.array([e.event_id for e in events]),
        "kind": pa.array([e.kind for e in events]),
        "name": pa.array([e.name for e in events]),
        "at": moments(world, begins),
        "known_at": moments(world, begins - ahead),
        "until": moments(world, ends),
    }

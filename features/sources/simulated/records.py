"""What the shop has on record about its customers: accounts, forms, consents, groups, staff, scores and tags."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import special

from features.sources.simulated.columns import Rows, late, moments, named, numbered, same
from features.sources.simulated.draws import Floats, Ints, keys
from features.sources.simulated.people import (
    CONSENT,
    NEVER,
    RATE_MEAN,
    RATE_SHAPE,
    SPEND_MEAN,
    People,
    places,
)  # fmt: skip

_AGES, _CITIES, _GENDERS = ("18-24", "25-34", "35-44", "45+"), ("tier 1", "tier 2", "tier 3"), ("f", "m", "")
TAGS = ("deal lover", "live fan", "big basket")


Piece = tuple[Ints, Floats, tuple[int, ...]]  # customers of like rows, their times, and codes that all share


def _stack(pieces: list[Piece]) -> tuple[Ints, Floats, list[Ints]]:
    """Customers, times and each code of all rows."""
    sizes = [len(of) for of, _, _ in pieces]
    codes = [np.repeat(code, sizes) for code in zip(*(codes for _, _, codes in pieces), strict=True)]
    return np.concatenate([of for of, _, _ in pieces]), np.concatenate([t for _, t, _ in pieces]), codes


def customers(who: People) -> Rows:
    """A row an account, with what the shop's forms asked; a tenth of the attributes left empty."""
    draws, world = who.world.draws, who.world
    taste = 0.6 * special.ndtri(1 - (1 - who.live) ** 4) + 0.8 * draws.normal("age", who.key)
    age = 3 - np.searchsorted((-1.0, 0.0, 1.0), taste)
    wealth = 0.5 * np.log(who.spend / SPEND_MEAN) + 0.8 * draws.normal("city", who.key)
    city = 2 - np.searchsorted((-0.5, 0.5), wealth)
    gender = np.searchsorted((0.6, 0.9), draws.uniform("gender", who.key))
    birthday = [
        f"{np.datetime64('2000-01-01') + day}"[5:]
        for day in (draws.uniform("birthday", who.key) * 366).astype(int).tolist()
    ]
    attributes = [
        {"age": _AGES[a], "city": _CITIES[c], "gender": _GENDERS[g], "joined_by": "order" if o else "registration",
         "birthday": day}
        if stated
        else None
        for a, c, g, o, day, stated in zip(
            age, city, gender, who.first_by_order, birthday, draws.uniform("form", who.key) < 0.9, strict=True
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
    """Consents given at the start, and what was withdrawn: unasked, by leaving, or by an opt-out at the given times."""
    world = who.world
    channels = [*CONSENT, "staff", "group", "all"]  # all: automated decisions are of no channel
    marketing, service, automation = range(3)
    ends = {**who.withdrawn, "staff": who.staff_left, "group": who.group_left}
    given = {**who.granted, "staff": who.staff >= 0, "group": who.group >= 0}
    agrees = np.flatnonzero(world.draws.uniform("automation", who.key) < 0.92)
    pieces: list[Piece] = [
        (np.arange(len(who.index)), who.acquired, (channels.index("sms"), service, 1)),
        (agrees, who.acquired[agrees], (channels.index("all"), automation, 1)),
    ]
    for channel, end in ends.items():
        code, end = channels.index(channel), np.minimum(end, opted_out[channel])
        granted, gone = np.flatnonzero(given[channel]), np.flatnonzero(given[channel] & (end < world.days))
        pieces.append((granted, who.acquired[granted], (code, marketing, 1)))
        pieces.append((gone, end[gone], (code, marketing, 0)))
    of, t, (channel_code, purpose, grants) = _stack(pieces)
    key = keys(who.index[of], channel_code * 8 + purpose * 2 + grants)
    return {
        **who.ids(of),
        "at": moments(world, t),
        "known_at": moments(world, late(world, "consent", key, t, 0.03, 0.5)),
        "channel": named(channel_code, channels),
        "purpose": named(purpose, ["marketing", "service", "automation"]),
        "status": named(grants, ["withdrawn", "granted"]),
    }


def memberships(who: People, opted_out: dict[str, Floats]) -> Rows:
    """Joining the shop's group chats and adding its staff, and leaving them. Synchronised overnight: often late."""
    world = who.world
    kinds = ["group", "staff"]
    pieces: list[Piece] = []
    for kind, (place, left) in enumerate(((who.group, who.group_left), (who.staff, who.staff_left))):
        inside, end = np.flatnonzero(place >= 0), np.minimum(left, opted_out[kinds[kind]])
        gone = inside[end[inside] < world.days]
        pieces += [(inside, who.acquired[inside], (kind, 0)), (gone, end[gone], (kind, 1))]
    of, t, (code, change) = _stack(pieces)
    groups, staff = places(world)
    names = [f"group-{g:05d}" for g in range(groups)] + [f"staff-{s:05d}" for s in range(staff)]
    return {
        **who.ids(of),
        "at": moments(world, t),
        "known_at": moments(
            world, late(world, "membership", keys(who.index[of], code * 2 + change), t, 0.2, 0.3)
        ),
        "kind": named(code, kinds),
        "place_id": named(np.where(code == 0, who.group[of], who.staff[of] + groups), names),
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
    pieces: list[Piece] = []
    for code, truth in enumerate(held):
        key = keys(who.index, code)
        wrong = draws.uniform("tag wrong", key) < np.where(truth, 0.2, 0.05)
        put = who.acquired + 14 + 30 * draws.uniform("tag set", key)
        given = np.flatnonzero((truth != wrong) & (put < world.days))
        off = put + draws.exponential("tag removed", key) / 0.0003
        gone = given[off[given] < world.days]
        pieces += [(given, put[given], (code, 0)), (gone, off[gone], (code, 1))]
    of, t, (tag, change) = _stack(pieces)
    return {
        **who.ids(of),
        "at": moments(world, t),
        "known_at": moments(world, late(world, "tag", keys(who.index[of], tag * 2 + change), t, 0.5, 0.5)),
        "tag": named(tag, TAGS),
        "origin": same("imported", len(of)),
        "change": named(change, ["set", "removed"]),
    }

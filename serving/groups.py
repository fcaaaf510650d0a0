"""Actions that address a group, such as a chat: decided, drawn and held out by group, never by member.

groups/<moment>.json    one round: every group, what was decided for it, with which chance

A message in a chat reaches all of it. So a group's worth is the sum of its members' (of those who meet the
action's conditions; the message is paid for all), and one member can keep it from all: one who does not allow
the channel, who meets what rules the action out, or of whom nothing is published. Joining a group may be its
consent: `[consent]` of shop.toml says so, until a member withdraws it. A member's contact limits and open
complaint do not keep a message from a whole group; the group's own limits do, counted in its rounds.

A group is held out by the keyed hash of its id. Members of a group that is reached, whom marketing leaves
alone, are `exposed`: what they do is no longer what customers without marketing do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from features.errors import DecisionError
from features.files import write_atomically
from features.policy import Cooldown
from features.settings import Settings
from serving.actions import NOTHING, Action
from serving.contacts import counted, days_since
from serving.decide import (
    Bools,
    Floats,
    Limits,
    Situation,
    consents,
    decide,
    draw,
    in_holdout,
    passes,
    rests,
)
from serving.pauses import pauses_of
from serving.reservations import Contact

Places = NDArray[np.intp]


@dataclass(frozen=True)
class Members:
    """Who is in which group. ids: of the groups [G]. group, customer: places, one a membership [m]; customer
    is -1 for whoever has no published row."""

    ids: Sequence[str]
    group: Places
    customer: Places

    def total(self, of: Floats | Bools) -> Floats:
        """Sum over each group's members of what each customer has [n, ...]: [G, ...]; unknown ones have 0."""
        known = self.customer >= 0
        found = np.zeros((len(self.ids), *of.shape[1:]))
        np.add.at(found, self.group[known], of[self.customer[known]].astype(np.float64))
        return found


class GroupDecision(Struct, frozen=True, kw_only=True):
    """One group's. unknown: members without a published row. exposed: members held out from marketing whom
    the message reaches. rejected: action -> reason; blocking: action -> members who keep it out."""

    group: str
    members: int
    unknown: int
    action: str
    channel: str | None
    propensity: float
    explored: bool
    holdout: bool
    exposed: int
    net: float
    low: float
    high: float
    cost: float
    rejected: dict[str, str]
    blocking: dict[str, int]


class Round(Struct, frozen=True, kw_only=True):
    """Every group's decision at a moment. build: the publication that it was taken on."""

    as_of: datetime
    build: str
    policy: str
    decisions: list[GroupDecision]


def held_out(ids: Sequence[str], salt: str, share: float) -> Bools:
    """Which groups marketing leaves alone, [G]: another hash than the customers', the same until the salt
    changes."""
    return in_holdout(ids, f"groups:{salt}", share)


def decide_groups(
    actions: Sequence[Action],
    limits: Limits,
    s: Situation,
    members: Members,
    holdout: Bools,
    before: Sequence[Sequence[Contact]],
    as_of: datetime,
    seeds: NDArray[np.uint64],
) -> list[GroupDecision]:
    """Choose among the actions that address a group, and "nothing", for each of G groups.

    s: of n customers. holdout, before (each group's own contacts), seeds: [G].
    """
    offered = [a for a in actions if a.unit == "group" or a.name == "nothing"]
    each = decide(offered, limits, s, unit="group")
    size = np.bincount(members.group, minlength=len(members.ids)).astype(np.float64)
    unknown = size - members.total(np.ones((len(s.seeds), 1)))[:, 0]
    meets = (each.failed < 0) & ~np.isnan(each.net)
    paid = each.terms["send_cost"] + each.terms["incentive"]
    worth = {n: members.total(np.where(meets, getattr(each, n), paid)) for n in ("net", "low", "high")}
    for total in worth.values():
        total += unknown[:, None] * [0.0 - a.cost for a in offered]

    rejected: list[dict[str, str]] = [{} for _ in members.ids]
    blocking: list[dict[str, int]] = [{} for _ in members.ids]
    eligible = np.ones((len(members.ids), len(offered)), np.bool_)
    now = [as_of] * len(members.ids)
    names, channels = [a.name for a in offered], [a.channels for a in offered]
    over = [passes(cap, counted(cap, {}, before, now), channels) for cap in limits.caps]
    since = {
        rest: days_since(rest, {}, np.empty(0), before, now) for rest in (Cooldown(0), *limits.cooldowns)
    }
    waits = [rests(rest, since[rest], names, channels) for rest in limits.cooldowns]
    none = np.zeros((len(members.ids), len(offered)), np.bool_)
    for j, action in enumerate(offered[1:], start=1):
        refuse = members.total(~consents(s, action)[:, None])[:, 0] + unknown
        out = members.total((each.failed[:, j] >= len(action.eligible))[:, None])[:, 0]
        marketing = action.purpose == "marketing"
        paused = np.full(len(members.ids), pauses_of(action, limits.paused) is not None)
        rested = (since[Cooldown(0)] < action.suppress_days) | np.logical_or.reduce([none, *waits])[:, j]
        tests = {
            "paused": paused,
            "no_consent": refuse > 0,
            "excluded": out > 0,
            "suppressed": rested & marketing,
            "contact_cap": np.logical_or.reduce([none, *over])[:, j] & marketing,
            "holdout": holdout & marketing,
        }
        for g in range(len(members.ids)):
            why = next((name for name, holds in tests.items() if holds[g]), None)
            if why is not None:
                eligible[g, j], rejected[g][action.name] = False, why
            if why in ("no_consent", "excluded"):
                blocking[g][action.name] = int((refuse if why == "no_consent" else out)[g])
    best, chosen, explored, propensity = draw(eligible, worth["net"], limits.explore, seeds)
    left_alone = members.total(s.holdout[:, None])[:, 0]
    return [
        GroupDecision(
            group=id,
            members=int(size[g]),
            unknown=int(unknown[g]),
            action=offered[chosen[g]].name,
            channel=offered[chosen[g]].channel,
            propensity=float(propensity[g, chosen[g]]),
            explored=bool(explored[g]),
            holdout=bool(holdout[g]),
            exposed=int(left_alone[g]) if chosen[g] else 0,
            net=float(worth["net"][g, chosen[g]]),
            low=float(worth["low"][g, chosen[g]]),
            high=float(worth["high"][g, chosen[g]]),
            cost=float(size[g] * offered[chosen[g]].cost),
            rejected=rejected[g],
            blocking=blocking[g],
        )
        for g, id in enumerate(members.ids)
    ]


def path(settings: Settings, at: datetime) -> Path:
    """Where the round of that moment is, or would be."""
    return settings.home / "groups" / f"{at:%Y%m%dT%H%M%S}Z.json"


def write(settings: Settings, found: Round) -> Path:
    """Keep a round; another of the same moment replaces it."""
    to = path(settings, found.as_of)
    write_atomically(to, msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    return to


def rounds(settings: Settings, since: datetime | None, until: datetime) -> list[Round]:
    """Rounds from `since` on and before `until`, the oldest first. DecisionError for a damaged file."""
    first = "" if since is None else path(settings, since).name
    found = []
    for file in sorted((settings.home / "groups").glob("*Z.json")):
        if not first <= file.name < path(settings, until).name:
            continue
        try:
            found.append(msgspec.json.decode(file.read_bytes(), type=Round))
        except msgspec.DecodeError as error:
            raise DecisionError(
                f"{file} is damaged ({error}): restore its backup, or contacts of groups are not counted"
            ) from None
    return found


def past(before: Sequence[Round], ids: Sequence[str], actions: Sequence[Action]) -> list[list[Contact]]:
    """Marketing contacts of each group, by the rounds before."""
    declared, place = {a.name: a for a in actions}, {id: g for g, id in enumerate(ids)}
    found: list[list[Contact]] = [[] for _ in ids]
    for one in before:
        for decision in one.decisions:
            if decision.action == NOTHING.name or decision.group not in place:
                continue
            action = declared.get(decision.action)
            if action is not None and action.purpose != "marketing":
                continue
            channels = (decision.channel,) if action is None else action.channels  # at least what it says
            found[place[decision.group]] += [Contact(one.as_of, of, decision.action) for of in channels]
    return found

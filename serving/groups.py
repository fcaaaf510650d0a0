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
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from features.errors import DecisionError
from features.files import write_atomically
from features.moments import DAY
from features.settings import Settings
from serving.actions import Action
from serving.decide import Bools, Floats, Limits, Situation, decide, draw, in_holdout

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
    contacts: Floats,
    days_since: Floats,
    seeds: NDArray[np.uint64],
) -> list[GroupDecision]:
    """Choose among the actions that address a group, and "nothing", for each of G groups.

    s: of n customers. holdout, contacts (of the group, in the policy's window), days_since (its last; NaN for
    none), seeds: [G].
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
    for j, action in enumerate(offered[1:], start=1):
        nobody = np.zeros(len(s.seeds), np.bool_)
        allow = np.logical_and.reduce([s.consent.get((c, action.purpose), nobody) for c in action.channels])
        refuse = members.total(~allow[:, None])[:, 0] + unknown
        out = members.total((each.failed[:, j] >= len(action.eligible))[:, None])[:, 0]
        marketing = action.purpose == "marketing"
        tests = {
            "no_consent": refuse > 0,
            "excluded": out > 0,
            "suppressed": (days_since < action.suppress_days) & marketing,
            "contact_cap": (contacts + len(action.steps) > limits.max_contacts) & marketing,
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


def past(
    before: Sequence[Round], ids: Sequence[str], as_of: datetime, window: timedelta, actions: Sequence[Action]
) -> tuple[Floats, Floats]:
    """(contacts in the window, days since the last one or NaN) of each group, by the rounds before."""
    steps = {a.name: len(a.steps) if a.purpose == "marketing" else 0 for a in actions}
    place = {id: g for g, id in enumerate(ids)}
    contacts, last = np.zeros(len(ids)), np.full(len(ids), np.nan)
    for one in before:
        for decision in one.decisions:
            g = place.get(decision.group)
            number = steps.get(decision.action, 1)  # of one no longer declared: at least a contact
            if g is None or number == 0:  # 0: of "nothing", or of a service
                continue
            contacts[g] += number if one.as_of > as_of - window else 0
            last[g] = (as_of - one.as_of) / DAY
    return contacts, last

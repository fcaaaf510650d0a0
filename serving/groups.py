"""Actions that address a group, such as a chat: decided, drawn and held out by group, never by member.

A message in a chat reaches all of it. So a group's worth is the sum of its members' (of those who meet the
action's conditions; the message is paid for all), and one member can keep it from all: one who does not allow
the channel, who meets what rules the action out, or of whom nothing is published. Joining a group may be its
consent: `[consent]` of shop.toml says so, until a member withdraws it; consent is asked again right before
sending (`sendable`). A member's contact limits and open complaint do not keep a message from a whole group;
the group's own limits do, and budgets stop it as hard.

A group is held out by the keyed hash of its id. Members of a group that is reached, whom marketing leaves
alone, are `exposed`: what they do is no longer what customers without marketing do.

A bundle may have steps for whoever is narrower: a text message to each member after the one in the chat. They
are no part of what is decided here but for their cost: `parts` has those who may get them.

What reaches everyone at once is decided like a group that all are in, by the same rules; but there is only
one, so it is its rounds that are drawn (`rounds`).

The ledger has each group's decision, taken from its members' totals (`GroupInputs`) and no member's data: it
can be taken again from those, and who was erased needs nothing erased in it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from features.moments import DAY, iso
from features.policy import Cooldown
from features.words import Words
from serving.actions import NOTHING, Action, Reach
from serving.answer_types import Scored
from serving.cards import Text
from serving.contacts import counted, days_since
from serving.decide import DIGITS, REASONS, Limits, Situation, consents, decide, passes, rests
from serving.lots import Bools, Floats, draw_or_quiet, in_holdout
from serving.pauses import pauses_of
from serving.reservations import Contact
from serving.rounds import EVERYONE, Round, by_day, quiet_share
from serving.situation import Rules, held_until, left_of, limits_of, slot_of, slots_of
from serving.why import DRAWN, OWED, PART

UNIT: Reach = "group"
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


class Weighed(Struct, frozen=True, kw_only=True):
    """An action for one group: its members' totals, before prices. refuse: members who do not allow it, or of
    whom nothing is published; out: whom a condition rules out; parts: what sending its parts is expected to
    cost, which net, low and high have taken off. terms: of net, as `decide` has them, and `parts`."""

    action: str
    net: float
    low: float
    high: float
    refuse: int
    out: int
    parts: float = 0.0
    terms: dict[str, float] = {}


class GroupInputs(Struct, frozen=True, kw_only=True):
    """All that one group's decision is taken from, beside the rules.

    unknown: members without a published row. left_alone: members whom marketing leaves alone. held: the
    group's own contacts, sent or to be sent. spent: of each budget of the policy, in its order. round: of
    everyone, who then are the group. follows: the decision for everyone, of whose bundle it is a part.
    """

    group: str
    as_of: datetime
    members: int
    unknown: int
    left_alone: int
    weighed: tuple[Weighed, ...]
    held: tuple[Contact, ...]
    spent: tuple[float, ...]
    seed: int
    round: Round | None = None
    follows: str | None = None
    not_before: datetime | None = None

    @property
    def unit(self) -> Reach:
        """Whom it is decided for."""
        return UNIT if self.round is None else EVERYONE


class GroupDecision(Struct, frozen=True, kw_only=True):
    """One group's. exposed: members held out from marketing whom the message reaches. rejected: action ->
    reason; blocking: action -> members who keep it out.

    decision_id: null if it was not recorded. send_at: not before; reserved_until: until then its contact and
    cost are held, and later it must not be sent. Times are RFC 3339 in UTC. price: what was charged, to
    choose, for money and channels that are short. cost: with what its parts are expected to cost. follows:
    the decision for everyone, of whose bundle it is a part. round: null of a group; of everyone, in which the
    message goes or not at all. silence: chance that nothing was said in it; holdout: the lot left it quiet.
    terms: of net, which is their sum. runner_up: the best other eligible action, at the prices. text: why.
    """

    decision_id: str | None
    as_of: str
    policy: str
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
    price: float
    send_at: str | None
    reserved_until: str | None
    valid_until: str | None
    rejected: dict[str, str]
    blocking: dict[str, int]
    round: Round | None = None
    silence: float | None = None
    follows: str | None = None
    terms: dict[str, float] = {}
    runner_up: Scored | None = None
    text: Text | None = None


def held_out(ids: Sequence[str], salt: str, share: float) -> Bools:
    """Which groups marketing leaves alone, [G]: another hash than the customers', the same until the salt
    changes."""
    return in_holdout(ids, f"groups:{salt}", share)


def offered_of(actions: Sequence[Action], unit: Reach = UNIT) -> list[Action]:
    """ "Nothing", and what addresses a group, or everyone: of a bundle, the steps that do."""
    return [a.parts[0] for a in actions if a.unit == unit or a.name == NOTHING.name]


def for_unit(rules: Rules, unit: Reach) -> Rules:
    """The rules with those actions alone, as far as they are for that unit."""
    return replace(rules, actions=tuple(offered_of(rules.actions, unit)))


def weigh(
    actions: Sequence[Action],
    limits: Limits,
    s: Situation,
    members: Members,
    unit: Reach = UNIT,
    parts: Mapping[str, Floats] | None = None,
) -> list[tuple[Weighed, ...]]:
    """The members' totals of each action that addresses the unit, for each of G groups. s: of n customers.

    parts: action -> expected cost of its parts [G], where it has any.
    """
    offered, later = offered_of(actions, unit), parts or {}
    each = decide(offered, limits, s, unit=unit)
    size = np.bincount(members.group, minlength=len(members.ids)).astype(np.float64)
    unknown = size - members.total(np.ones((len(s.seeds), 1)))[:, 0]
    meets = (each.failed < 0) & ~np.isnan(each.net)
    # Of whom it does not address, and of whom nothing is known, it is paid and brings nothing.
    paid = {
        "send_cost": [0.0 - a.sending for a in offered],
        "incentive": [0.0 - a.redeem * a.incentive for a in offered],
    }
    terms = {
        name: members.total(np.where(meets, of, paid.get(name, 0.0))) + unknown[:, None] * paid.get(name, 0.0)
        for name, of in each.terms.items()
    }
    none = np.zeros(len(members.ids))
    terms["parts"] = np.column_stack([0.0 - later.get(a.name, none) for a in offered])
    net = sum(terms.values(), np.zeros(terms["parts"].shape))
    # Of whom it addresses, as far from the net as the interval of each.
    low, high = (net + members.total(np.where(meets, of - each.net, 0.0)) for of in (each.low, each.high))
    refuse = np.column_stack([members.total(~consents(s, a)[:, None])[:, 0] + unknown for a in offered])
    out = members.total(each.failed >= [len(a.eligible) for a in offered])
    return [
        tuple(
            Weighed(
                action=action.name,
                net=float(net[g, j]),
                low=float(low[g, j]),
                high=float(high[g, j]),
                refuse=int(refuse[g, j]),
                out=int(out[g, j]),
                parts=float(later[action.name][g]) if action.name in later else 0.0,
                terms={name: float(of[g, j]) for name, of in terms.items()},
            )
            for j, action in enumerate(offered)
            if action.name != NOTHING.name
        )
        for g in range(len(members.ids))
    ]


def answer(rules: Rules, inputs: GroupInputs, decision_id: str | None) -> GroupDecision:
    """One group's decision, or everyone's, from its recorded inputs alone: what `replay` runs again."""
    rules = for_unit(rules, inputs.unit)
    policy, offered, as_of = rules.policy, rules.actions, inputs.as_of
    by_name = {one.action: one for one in inputs.weighed}
    none = Weighed(action=NOTHING.name, net=0.0, low=0.0, high=0.0, refuse=0, out=0)
    weighed = [by_name.get(a.name, none) for a in offered]
    share = 0.0 if inputs.round is None else quiet_share(rules)
    alone = inputs.round is None and bool(held_out([inputs.group], policy.salt, policy.holdout)[0])
    why = [_why(rules, inputs, a, one, alone) for a, one in zip(offered, weighed, strict=True)]
    if any(a.part_of is not None and reason is None for a, reason in zip(offered, why, strict=True)):
        why[[a.name for a in offered].index(NOTHING.name)] = "bundle_first"
    eligible = np.array([[reason is None for reason in why]], np.bool_)
    net = np.array([[one.net for one in weighed]])
    prices = rules.prices.of(offered) * inputs.members
    seeds = np.array([inputs.seed], np.uint64)
    kept = np.array(
        [a.purpose == "service" or a.part_of is not None or a.name == NOTHING.name for a in offered], np.bool_
    )
    chosen, explored, propensity, quiet = draw_or_quiet(
        eligible, kept, net - prices, policy.explore, seeds, share
    )
    j, silent = int(chosen[0]), [a.name for a in offered].index(NOTHING.name)
    action, one = offered[j], weighed[j]
    goes = slot_of(rules, as_of, {}, action, slots_of(rules, as_of, {}), inputs.not_before)
    until = None if goes is None or action.purpose == "service" else held_until(policy, goes)
    valid = None if goes is None else max(as_of + action.validity_days * DAY, goes.at)
    rejected = {a.name: reason for a, reason in zip(offered, why, strict=True) if reason is not None}
    counts = {"no_consent": [one.refuse for one in weighed], "excluded": [one.out for one in weighed]}
    blocking = {
        a.name: counts[reason][k]
        for k, (a, reason) in enumerate(zip(offered, why, strict=True))
        if reason in counts
    }
    return GroupDecision(
        decision_id=decision_id,
        as_of=iso(as_of),
        policy=policy.version,
        group=inputs.group,
        members=inputs.members,
        unknown=inputs.unknown,
        action=action.name,
        channel=action.channel,
        propensity=float(propensity[0, j]),
        explored=bool(explored[0]),
        holdout=alone or bool(quiet[0]),
        exposed=inputs.left_alone if action.channel is not None else 0,
        net=one.net,
        low=one.low,
        high=one.high,
        cost=inputs.members * action.cost + one.parts,
        price=float(prices[j]),
        send_at=None if goes is None else goes.text,
        reserved_until=None if until is None else iso(until),
        valid_until=None if valid is None else iso(valid),
        rejected=rejected,
        blocking=blocking,
        round=inputs.round,
        silence=None if inputs.round is None else float(propensity[0, silent]),
        follows=inputs.follows,
        terms=one.terms,
        runner_up=_runner_up(offered, weighed, eligible[0], net[0] - prices, j),
        text=_text(rules, action, rejected, bool(explored[0]), bool(quiet[0])),
    )


def _runner_up(
    offered: Sequence[Action], weighed: Sequence[Weighed], eligible: Bools, worth: Floats, chosen: int
) -> Scored | None:
    others = [k for k in np.flatnonzero(eligible).tolist() if k != chosen]
    if not others:
        return None
    best = max(others, key=lambda k: worth[k])
    return Scored(offered[best].name, weighed[best].net)


def _text(rules: Rules, chosen: Action, rejected: Mapping[str, str], explored: bool, quiet: bool) -> Text:
    """What is done and why, of a group, or of everyone."""
    days = rules.horizon_days
    if quiet:
        why = Words("The lot left this round quiet, to measure against", "本轮经抽签不发送，用作对照")
    elif chosen.part_of is not None:
        why = PART
    elif explored:
        why = DRAWN
    elif chosen.name == NOTHING.name and rejected:
        names = {a.name: a.words for a in rules.actions}
        each = [(names[name], REASONS[reason]) for name, reason in rejected.items() if name != NOTHING.name]
        why = Words(
            "; ".join(f"{of.en}: {said.en}" for of, said in each),
            "；".join(f"{of.zh}：{said.zh}" for of, said in each),
        )
    elif chosen.name == NOTHING.name:
        why = Words(
            f"Nothing is expected to earn back within {days} days, of all members together, what it costs",
            f"预计在{days}天内，对全体成员而言均无法收回成本",
        )
    elif chosen.goal_kind == "service":
        why = OWED
    else:
        why = Words(
            f"The largest expected net value of all members together over {days} days, under assumed effects",
            f"按假设的效果，全体成员{days}天预期净值合计最大",
        )
    return Text(f"{chosen.words.en}. {why.en}.", f"{chosen.words.zh}。{why.zh}。")


def _why(rules: Rules, inputs: GroupInputs, action: Action, one: Weighed, alone: bool) -> str | None:
    """Why a group may not have it; the first reason in this order."""
    if action.name == NOTHING.name:
        return None
    marketing, limits = action.purpose == "marketing", limits_of(rules)
    held, now = [inputs.held], [inputs.as_of]
    if inputs.round is not None:
        days, today = by_day(rules, inputs.held, inputs.as_of)
        held, now = [tuple(days)], [today]

    def rested(rest: Cooldown) -> Floats:
        return days_since(rest, {}, np.empty(0), held, now)

    rest = bool(rested(Cooldown(0))[0] < action.suppress_days) or any(
        rests(of, rested(of), [action.name], [action.channels])[0, 0] for of in limits.cooldowns
    )
    over = any(passes(cap, counted(cap, {}, held, now), [action.channels])[0, 0] for cap in limits.caps)
    left = min((of for of, _ in left_of(rules.policy, inputs.spent, None)), default=np.inf)
    tests = {
        "paused": pauses_of(action, limits.paused) is not None,
        "no_consent": one.refuse > 0,
        "excluded": one.out > 0,
        "suppressed": marketing and rest,
        "contact_cap": marketing and over,
        "budget": marketing and round(inputs.members * action.cost + one.parts, DIGITS) > left,
        "none_of_it": action.name in limits.closed,
        "holdout": marketing and alone,
    }
    return next((name for name, holds in tests.items() if holds), None)

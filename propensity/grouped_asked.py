"""Groups, and everyone as one more: what is known of each from its members, what is decided and written."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from features.moments import DAY, iso, parse_moment
from features.online import Published
from serving.actions import NOTHING, Action
from serving.contacts import longest
from serving.decide import Decisions, Situation, decide
from serving.decision_context import DecisionContext
from serving.groups import UNIT, GroupDecision, GroupInputs, Members, answer, for_unit, weigh
from serving.ledger import Entry, group_of
from serving.ledger_entries import AUDIENCE
from serving.lots import Floats
from serving.reservations import Reservation
from serving.rounds import EVERYONE, Round
from serving.sealing import Sealed
from serving.situation import Inputs, Rules, limits_of, night_of

CLIENT = "decide --groups"


@dataclass(frozen=True)
class Known:
    """What is known of n customers and of their groups. rows: features [n, F]; chats: None without groups."""

    as_of: datetime
    published: Published
    inputs: Sequence[Inputs]
    rows: NDArray[np.float32]
    situation: Situation
    chats: Members | None


def part_rules(rules: Rules, part: Action) -> Rules:
    """The rules under which a part is decided: it, or nothing."""
    return replace(rules, actions=(NOTHING, part))


def may_get(rules: Rules, known: Known, part: Action) -> Decisions:
    """Which customers may get a part for persons, its second column: decisions that nobody took."""
    of = part_rules(rules, part)
    return decide(of.actions, limits_of(of), known.situation)


def _costs_of_parts(rules: Rules, known: Known, members: Members, unit: str) -> dict[str, Floats]:
    """Action -> what sending its parts is expected to cost, [G], of those that have any for this unit."""
    found = dict[str, Floats]()
    for action in (of for of in rules.actions if of.unit == unit and of.narrower):
        total = np.zeros(len(members.ids))
        for part in action.parts[1:]:
            if part.reach == UNIT:  # what a group's members keep from it is not foreseen here
                total += 0 if known.chats is None else len(known.chats.group) * part.sending
            else:
                total += members.total(may_get(rules, known, part).eligible[:, 1:])[:, 0] * part.sending
        found[action.name] = total
    return found


def groups_asked(
    rules: Rules, known: Known, members: Members, of: Round | None = None, follows: str | None = None
) -> list[GroupInputs]:
    """What is known of each group from its members; not yet what the ledger holds of it. of: of everyone;
    follows: of whose bundle it is a part."""
    unit, situation, as_of = UNIT if of is None else EVERYONE, known.situation, known.as_of
    limits, parts = limits_of(for_unit(rules, unit)), _costs_of_parts(rules, known, members, unit)
    weighed = weigh(rules.actions, limits, situation, members, unit, parts)
    size = np.bincount(members.group, minlength=len(members.ids))
    published = members.total(np.ones(len(situation.seeds), np.bool_))
    alone = members.total(situation.holdout)
    return [
        GroupInputs(
            group=group,
            as_of=as_of,
            members=int(size[g]),
            unknown=int(size[g] - published[g]),
            left_alone=int(alone[g]),
            weighed=weighed[g],
            held=(),
            spent=(),
            seed=_seed(rules.policy.salt, iso(as_of) if of is None else of.id, group),
            round=of,
            follows=follows,
        )
        for g, group in enumerate(members.ids)
    ]


def decide_asked(
    context: DecisionContext, rules: Rules, asked: Sequence[GroupInputs], build: str, keep: bool
) -> tuple[list[GroupDecision], int]:
    """One group after the other, each paid from what those before left of the budgets; how many are new."""
    policy, ledger, as_of = rules.policy, context.ledger, asked[0].as_of
    day = as_of.astimezone(context.shop.zone).date()
    back = longest(policy, [action.suppress_days for action in rules.actions]) + 1  # whole days of a zone
    spent = ledger.spent(policy.budgets, day, as_of) if policy.budgets else ()
    found, new = list[GroupDecision](), 0
    for one in asked:
        when = one.follows or (iso(as_of) if one.round is None else one.round.id)
        request = msgspec.json.encode([one.group, when])
        key = f"{when}:{one.group}" if one.round is None else f"round:{when}"
        if (before := ledger.stored_answer(CLIENT, key, request)) is not None:
            found.append(msgspec.json.decode(before, type=GroupDecision))
            continue
        held = ledger.held(_whose(one), as_of - back * DAY, as_of)
        inputs = msgspec.structs.replace(one, held=held, spent=spent)
        made = answer(rules, inputs, secrets.token_hex(16) if keep else None)
        if one.follows is not None and made.channel is None:  # who does not get a part has no record of it
            found.append(made)
            continue
        action = next(of for of in for_unit(rules, one.unit).actions if of.name == made.action)
        if made.channel is not None and action.purpose == "marketing":
            spent = tuple(
                used + made.cost * (of.scenario is None)
                for used, of in zip(spent, policy.budgets, strict=True)
            )
        if keep:
            entry = _entry(context, rules, inputs, made, action, build, key)
            ledger.append(entry, request, _reservation(rules, made, action, day))
        found.append(made)
        new += 1
    return found, new


def _entry(
    context: DecisionContext,
    rules: Rules,
    inputs: GroupInputs,
    made: GroupDecision,
    action: Action,
    build: str,
    key: str,
) -> Entry:
    assert made.decision_id is not None
    end = inputs.as_of + rules.horizon_days * DAY
    return Entry(
        id=made.decision_id,
        client=CLIENT,
        idempotency_key=key,
        as_of=inputs.as_of,
        action=made.action,
        channel=made.channel,
        propensity=made.propensity,
        explored=made.explored,
        holdout=made.holdout,
        reserves=made.channel is not None and action.purpose == "marketing",
        policy=made.policy,
        context=context.encoded(rules),
        features=b"{}",
        build=build,
        releases=rules.released,
        seed=inputs.seed,
        sealed=Sealed(_whose(inputs), b"", msgspec.json.encode(inputs), msgspec.json.encode(made)),
        cost=made.cost,
        window_end=end,
        matures_at=end + context.shop.grace_days * DAY,
        unit=inputs.unit,
        follows=inputs.follows,
    )


def _whose(inputs: GroupInputs) -> str:
    """What stands for a customer in the ledger."""
    return AUDIENCE if inputs.unit == EVERYONE else group_of(inputs.group)


def _reservation(rules: Rules, made: GroupDecision, action: Action, day: date) -> Reservation | None:
    """The group's contact, and what it is expected to cost for all of its members."""
    if made.send_at is None or action.purpose != "marketing":
        return None
    until = None if made.reserved_until is None else parse_moment(made.reserved_until)
    night = night_of(rules, {}, action.purpose)
    at = parse_moment(made.send_at)
    cost = made.members * action.cost  # each of its parts holds its own
    return Reservation(at, until, day, "", cost, action.steps, night, made.members)


def _seed(salt: str, when: str, group: str) -> int:
    """63 bits, the same for the same round: decided twice, the same groups explore."""
    digest = hmac.digest(f"round:{salt}:{when}".encode(), group.encode(), "sha256")
    return int.from_bytes(digest[:8], "big") >> 1

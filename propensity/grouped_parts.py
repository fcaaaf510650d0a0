"""What a bundle has for whoever is narrower: the text message to each member, after what went to the chat.

The bundle is decided and drawn for its widest unit, a group or everyone (`grouped`). Each narrower one then
gets its part if its own limits allow that: consent, caps, rests, holdout, an open complaint and budgets are
asked of whom each step addresses, as of any other decision. A part is a decision of its own in the ledger,
which `follows` the wide one: it holds its own contact and cost, is told of, replayed, exported and erased as
others are. It was not drawn itself, so nothing is learnt from it alone: what the bundle does is the wide
decision's.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from features.errors import CustomerErased
from features.moments import DAY
from propensity.grouped_asked import CLIENT, Known, decide_asked, groups_asked, may_get, part_rules
from propensity.tables import progress_bar, say
from serving.actions import NOTHING, Action
from serving.answer_types import DecisionAnswer
from serving.answers import answer
from serving.contacts import longest
from serving.decide import REASONS, reason
from serving.decision_context import DecisionContext
from serving.decisions import by_name, entry_of, reservation_of
from serving.exported import seen
from serving.groups import UNIT, GroupDecision
from serving.lifetime import Lifetime
from serving.sealing import Sealed
from serving.situation import Inputs, Rules

PREVIEW = "preview"  # in place of the id of a wide decision that is not recorded
_CHUNK = 200  # decisions that are written at once: others wait so long


@dataclass
class Parts:
    """What follows from the bundles that were decided. groups, people: who got a part, the first first.

    new: how many were not recorded before. kept: (action, channel, reason) -> how many it was kept from.
    """

    groups: list[GroupDecision] = field(default_factory=list)
    people: list[DecisionAnswer] = field(default_factory=list)
    new: int = 0
    kept: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def show(self) -> None:
        """Who gets what, and why others do not."""
        got = Counter((one.action, one.channel or "", "groups") for one in self.groups)
        got += Counter((one.action, one.channel or "", "customers") for one in self.people)
        for (action, channel, whom), many in sorted(got.items()):
            say(f"{action}: its part on {channel} goes to {many:,} {whom}")
        for (action, channel, why), many in sorted(self.kept.items()):
            say(f"{action}: its part on {channel} is kept from {many:,}: {REASONS[why].en}")


def follow(
    context: DecisionContext, rules: Rules, known: Known, wide: Sequence[GroupDecision], keep: bool
) -> Parts:
    """Decide the parts of these decisions, and record those that are got; who has one already keeps it."""
    parts = Parts()
    for one in wide:
        for part in (part for of in rules.actions if of.name == one.action for part in of.parts[1:]):
            if part.reach == UNIT:
                _for_groups(context, rules, known, one, part, keep, parts)
            else:
                _for_people(context, rules, known, one, part, keep, parts)
    return parts


def _for_groups(
    context: DecisionContext, rules: Rules, known: Known, wide: GroupDecision, part: Action, keep: bool,
    parts: Parts,
) -> None:  # fmt: skip
    if known.chats is None:
        return
    follows = wide.decision_id or PREVIEW
    asked = groups_asked(part_rules(rules, part), known, known.chats, follows=follows)
    build = known.published.id
    if keep:
        with context.ledger.deciding():
            now = part_rules(context.rules(known.as_of), part)
            made, new = decide_asked(context, now, asked, build, keep)
    else:
        made, new = decide_asked(context, part_rules(rules, part), asked, build, keep)
    parts.new += new
    for one in made:
        if one.channel is not None:
            parts.groups.append(one)
        else:
            parts.kept[part.name, str(part.channel), one.rejected[part.name]] += 1


def _for_people(
    context: DecisionContext, rules: Rules, known: Known, wide: GroupDecision, part: Action, keep: bool,
    parts: Parts,
) -> None:  # fmt: skip
    """Whoever may get it by what was read gets it by what the ledger says as it is written."""
    had = {
        one.sealed.customer_id: msgspec.json.decode(one.sealed.answer, type=DecisionAnswer)
        for one in (context.ledger.following(wide.decision_id) if wide.decision_id else ())
        if one.sealed is not None and one.channel == part.channel
    }
    parts.people += had.values()
    able, own = may_get(rules, known, part), _places(known, wide)
    own = np.array([of for of in own.tolist() if known.inputs[of].customer_id not in had], np.intp)
    for code in able.reject[own, 1].tolist():
        if (why := reason(code)) is not None:
            parts.kept[part.name, str(part.channel), why] += 1
    places = own[able.eligible[own, 1]].tolist()
    if not keep:
        parts.people += [_decided(context, rules, known, wide, part, place, None)[1] for place in places]
        return
    with progress_bar(f"{part.name} on {part.channel}") as progress:
        for first in range(0, len(places), _CHUNK):
            progress("customers", first, len(places))
            with context.ledger.deciding():
                now = part_rules(context.rules(known.as_of), part)
                for place in places[first : first + _CHUNK]:
                    _written(context, now, known, wide, part, place, parts)


def _written(
    context: DecisionContext, rules: Rules, known: Known, wide: GroupDecision, part: Action, place: int,
    parts: Parts,
) -> None:  # fmt: skip
    """Inside `deciding`."""
    who = known.inputs[place].customer_id
    request, key = msgspec.json.encode([wide.decision_id, part.channel, who]), f"{wide.decision_id}:{who}"
    try:
        before = context.ledger.stored_answer(CLIENT, key, request)
    except CustomerErased:  # since it was decided before
        return
    if before is not None:
        parts.people.append(msgspec.json.decode(before, type=DecisionAnswer))
        return
    inputs, taken = _decided(context, rules, known, wide, part, place, secrets.token_hex(16))
    if taken.action == NOTHING.name:
        said = next(of.reject_reason for of in taken.actions if of.action == part.name)
        parts.kept[part.name, str(part.channel), str(said)] += 1
        return
    row = known.rows[place]
    sealed = Sealed(who, row.astype("<f4").tobytes(), *map(msgspec.json.encode, (inputs, taken)))
    entry = replace(
        entry_of(context, rules, inputs, taken, CLIENT, key, sealed),
        features=msgspec.json.encode(dict(known.published.features)),
        build=known.published.id,
        releases=rules.released,
        seed=inputs.seed,
    )
    named = by_name(known.published.features, row[None, :])
    context.ledger.append(entry, request, reservation_of(context, rules, named, inputs, taken))
    parts.people.append(taken)
    parts.new += 1


def _decided(
    context: DecisionContext, rules: Rules, known: Known, wide: GroupDecision, part: Action, place: int,
    decision_id: str | None,
) -> tuple[Inputs, DecisionAnswer]:  # fmt: skip
    """One customer's part as the ledger has her now. Models are not asked: nothing is weighed here."""
    of, policy = known.inputs[place], rules.policy
    day = known.as_of.astimezone(context.shop.zone).date()
    since = known.as_of - longest(policy, [part.suppress_days]) * DAY
    inputs = replace(
        of,
        order_probability=None,
        order_model=None,
        effects={},
        effects_model=None,
        optouts={},
        lifetime=Lifetime(),
        held=context.ledger.held(of.customer_id, since, known.as_of, seen(context.settings, known.published)),
        spent=context.ledger.spent(policy.budgets, day, known.as_of) if policy.budgets else (),
        follows=wide.decision_id or PREVIEW,
    )
    named = by_name(known.published.features, known.rows[place][None, :])
    return inputs, answer(part_rules(rules, part), inputs, named, decision_id)


def _places(known: Known, wide: GroupDecision) -> NDArray[np.intp]:
    """Of those whom the wide decision addresses, as they are published."""
    if wide.round is not None:
        return np.arange(len(known.inputs), dtype=np.intp)
    assert known.chats is not None
    mine = known.chats.group == known.chats.ids.index(wide.group)
    return np.array([of for of in known.chats.customer[mine].tolist() if of >= 0], np.intp)

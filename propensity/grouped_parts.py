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
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from features.errors import CustomerErased
from features.moments import DAY, parse_moment
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
from serving.reservations import due
from serving.sealing import Sealed
from serving.sendable import over_unsent
from serving.sending import Night
from serving.situation import Inputs, Rules, night_of

PREVIEW = "preview"  # in place of the id of a wide decision that is not recorded
_CHUNK = 200  # decisions that are written at once: others wait so long


@dataclass
class Parts:
    """What follows from the bundles that were decided. groups, people: who got a part, the first first.

    new: how many were not recorded before. kept: (action, channel, reason) -> how many it was kept from. off:
    action -> how many of its bundles were called off, or ended, before their first message: no part of them
    is decided any more.
    """

    groups: list[GroupDecision] = field(default_factory=list)
    people: list[DecisionAnswer] = field(default_factory=list)
    new: int = 0
    kept: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    off: Counter[str] = field(default_factory=Counter)

    def show(self) -> None:
        """Who gets what, and why others do not."""
        got = Counter((one.action, one.channel or "", "groups") for one in self.groups)
        got += Counter((one.action, one.channel or "", "customers") for one in self.people)
        for (action, channel, whom), many in sorted(got.items()):
            say(f"{action}: its part on {channel} goes to {many:,} {whom}")
        for (action, channel, why), many in sorted(self.kept.items()):
            say(f"{action}: its part on {channel} is kept from {many:,}: {REASONS[why].en}")
        for action, many in sorted(self.off.items()):
            say(f"{action}: {many:,} of its bundles are over, unsent, and with them their parts")


def follow(
    context: DecisionContext, rules: Rules, known: Known, wide: Sequence[GroupDecision], keep: bool
) -> Parts:
    """Decide the parts of these decisions, and record those that are got; who has one already keeps it.

    Who is in several groups gets a part once.
    """
    by_name, parts = {action.name: action for action in rules.actions}, Parts()
    each = [
        _Part(context, rules, known, one, by_name[one.action], part, keep)
        for one in wide
        for part in (by_name[one.action].parts[1:] if one.action in by_name else ())
    ]
    had = [of.had() if of.part.reach != UNIT else {} for of in each]
    got = {(of.part, who) for of, those in zip(each, had, strict=True) for who in those}
    off = {of.wide for of in each if of.keep and over_unsent(context.ledger, of.wide, known.as_of)}
    parts.off.update({of.wide: of.part.name for of in each if of.wide in off}.values())
    for of, those in zip(each, had, strict=True):
        if of.wide in off:
            continue
        parts.people += those.values()
        if of.part.reach == UNIT:
            of.for_groups(parts)
        else:
            of.for_people(parts, got)
    return parts


@dataclass(frozen=True)
class _Part:
    """One part of one bundle that was decided. whole: the bundle."""

    context: DecisionContext
    rules: Rules
    known: Known
    decision: GroupDecision
    whole: Action
    part: Action
    keep: bool

    @property
    def wide(self) -> str:
        """The id of the wide decision."""
        return self.decision.decision_id or PREVIEW

    def had(self) -> dict[str, DecisionAnswer]:
        """Customer -> her part, of those who have it already."""
        recorded = self.context.ledger.following(self.wide) if self.keep else ()
        return {
            one.sealed.customer_id: msgspec.json.decode(one.sealed.answer, type=DecisionAnswer)
            for one in recorded
            if one.sealed is not None and one.channel == self.part.channel
        }

    def for_groups(self, parts: Parts) -> None:
        """Each group's."""
        known, chats, ledger = self.known, self.known.chats, self.context.ledger
        if chats is None:
            return
        rules = part_rules(self.rules, self.part)
        at = self._first(night_of(rules, {}, self.part.purpose))
        if at is None:
            parts.kept[self.part.name, str(self.part.channel), "too_late"] += len(chats.ids)
            return
        asked = [replace(one, not_before=at) for one in groups_asked(rules, known, chats, follows=self.wide)]
        if self.keep:
            with ledger.deciding():
                now = part_rules(self.context.rules(known.as_of), self.part)
                made, new = decide_asked(self.context, now, asked, known.published.id, keep=True)
        else:
            made, new = decide_asked(self.context, rules, asked, known.published.id, keep=False)
        parts.new += new
        for one in made:
            if one.channel is not None:
                parts.groups.append(one)
            else:
                parts.kept[self.part.name, str(self.part.channel), one.rejected[self.part.name]] += 1

    def for_people(self, parts: Parts, got: set[tuple[Action, str]]) -> None:
        """Each customer's: whoever may get it by what was read gets it by what the ledger says as it is
        written. got: who has got which part before, also by another group's."""
        inputs, able = self.known.inputs, may_get(self.rules, self.known, self.part)
        own = [of for of in self._places() if (self.part, inputs[of].customer_id) not in got]
        got |= {(self.part, inputs[of].customer_id) for of in own if able.eligible[of, 1]}
        for place in own:
            if (why := reason(int(able.reject[place, 1]))) is not None:
                parts.kept[self.part.name, str(self.part.channel), why] += 1
        places = [of for of in own if able.eligible[of, 1]]
        if not self.keep:
            for place in places:
                self._take(parts, self._decided(self.rules, place, None))
            return
        with progress_bar(f"{self.part.name} on {self.part.channel}") as progress:
            for first in range(0, len(places), _CHUNK):
                progress("customers", first, len(places))
                with self.context.ledger.deciding():
                    if over_unsent(self.context.ledger, self.wide, self.known.as_of):  # meanwhile
                        parts.off[self.part.name] += 1
                        return
                    now = self.context.rules(self.known.as_of)
                    for place in places[first : first + _CHUNK]:
                        self._write(now, place, parts)

    def _write(self, rules: Rules, place: int, parts: Parts) -> None:
        """Inside `deciding`."""
        who, ledger = self.known.inputs[place].customer_id, self.context.ledger
        request = msgspec.json.encode([self.wide, self.part.channel, who])
        key = f"{self.wide}:{self.part.channel}:{who}"
        try:
            before = ledger.stored_answer(CLIENT, key, request)
        except CustomerErased:  # since it was decided before
            return
        if before is not None:
            parts.people.append(msgspec.json.decode(before, type=DecisionAnswer))
            return
        made = self._decided(rules, place, secrets.token_hex(16))
        if not self._take(parts, made) or made is None:
            return
        (inputs, taken), row, features = made, self.known.rows[place], self.known.published.features
        rules = part_rules(rules, self.part)
        sealed = Sealed(who, row.astype("<f4").tobytes(), *map(msgspec.json.encode, (inputs, taken)))
        entry = replace(
            entry_of(self.context, rules, inputs, taken, CLIENT, key, sealed),
            features=msgspec.json.encode(dict(features)),
            build=self.known.published.id,
            releases=rules.released,
            seed=inputs.seed,
        )
        named = by_name(features, row[None, :])
        ledger.append(entry, request, reservation_of(self.context, rules, named, inputs, taken))
        parts.new += 1

    def _take(self, parts: Parts, made: tuple[Inputs, DecisionAnswer] | None) -> bool:
        """Count it; whether she got it."""
        why = "too_late"
        if made is not None:
            if made[1].action != NOTHING.name:
                parts.people.append(made[1])
                return True
            why = str(next(of.reject_reason for of in made[1].actions if of.action == self.part.name))
        parts.kept[self.part.name, str(self.part.channel), why] += 1
        return False

    def _decided(
        self, rules: Rules, place: int, decision_id: str | None
    ) -> tuple[Inputs, DecisionAnswer] | None:
        """One customer's part as the ledger has her now; None if it would go too late.

        Models are not asked: nothing is weighed here.
        """
        known, ledger, policy = self.known, self.context.ledger, rules.policy
        named = by_name(known.published.features, known.rows[place][None, :])
        at = self._first(night_of(rules, named, self.part.purpose))
        if at is None:
            return None
        who, day = known.inputs[place].customer_id, known.as_of.astimezone(self.context.shop.zone).date()
        since = known.as_of - longest(policy, [self.part.suppress_days]) * DAY
        inputs = replace(
            known.inputs[place],
            order_probability=None,
            order_model=None,
            effects={},
            effects_model=None,
            optouts={},
            lifetime=Lifetime(),
            held=ledger.held(who, since, known.as_of, seen(self.context.settings, known.published)),
            spent=ledger.spent(policy.budgets, day, known.as_of) if policy.budgets else (),
            follows=self.wide,
            not_before=at,
        )
        return inputs, answer(part_rules(rules, self.part), inputs, named, decision_id)

    def _first(self, night: Night) -> datetime | None:
        """When its first message goes, in the bundle's order: none nearer to another than was declared,
        also where they wait for morning. None if its last would go after the round of the bundle."""
        steps, decided = self.whole.steps, self.known.as_of
        own, wide = (
            next(n for n, step in enumerate(steps) if step.reach == reach)
            for reach in (self.part.reach, self.whole.unit)
        )
        if own < wide or self.decision.send_at is None:
            at = night.over(decided + timedelta(hours=steps[own].after_hours))
        else:
            sent = parse_moment(self.decision.send_at)
            at = max(due(sent, steps[wide : own + 1], night)[-1], night.over(decided))
        round = self.decision.round
        late = round is not None and due(at, self.part.steps, night)[-1] >= parse_moment(round.until)
        return None if late else at

    def _places(self) -> list[int]:
        """Of those whom the wide decision addresses, as they are published."""
        if self.decision.round is not None:
            return list(range(len(self.known.inputs)))
        chats = self.known.chats
        if chats is None or self.decision.group not in chats.ids:  # everybody left it
            return []
        mine = chats.group == chats.ids.index(self.decision.group)
        return [of for of in chats.customer[mine].tolist() if of >= 0]

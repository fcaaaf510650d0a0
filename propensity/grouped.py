"""Decide for every group at once: who is in it, what a message in it is worth, whether it is held out.

And for everyone at once, who are one group more: once a round, which the lot may leave quiet.
"""

from __future__ import annotations

import hmac
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import date, datetime
from pathlib import Path

import msgspec
import numpy as np

from features.errors import UsageError
from features.files import write_atomically
from features.moments import DAY, iso, parse_moment
from features.settings import Settings
from propensity.planned import everybody
from propensity.tables import console, say, table
from serving.actions import Action
from serving.contacts import longest
from serving.decide import REASONS, Situation
from serving.decision_context import DecisionContext
from serving.groups import UNIT, GroupDecision, GroupInputs, Members, answer, weigh
from serving.ledger import Entry, group_of
from serving.ledger_entries import AUDIENCE
from serving.memberships import came_in, known_groups
from serving.reservations import Reservation
from serving.rounds import EVERYONE, Round, round_of
from serving.scores import answerable
from serving.sealing import Sealed
from serving.situation import Rules, limits_of, night_of, situation_of

CLIENT = "decide --groups"


def decide_for_groups(settings: Settings, out: Path | None, dry_run: bool, force: bool = False) -> None:
    """Decide, record it, show it, and write it to `out`; a dry run only shows it.

    Asked again as of the same moment, it answers what it decided then. UsageError, before anything is
    decided, for an `out` that is there; force: replace it.
    """
    if out is not None and out.exists() and not force and not dry_run:
        raise UsageError(
            f"{out} is there already, perhaps not read yet: name another file, move it away, or replace it "
            "with --force"
        )
    made, new = decided_anew(settings, dry_run)
    _show(made)
    if dry_run:
        say("dry run: nothing was decided")
        return
    before = f", {len(made) - new:,} were recorded before" if new < len(made) else ""
    said = (
        f"recorded: {new:,} decisions{before}"
        if new
        else f"nothing new: all {len(made):,} were recorded before"
    )
    say(f"{said}; tell what became of each by its decision_id")
    if out is not None:
        lines = [msgspec.json.encode(one) + b"\n" for one in made]
        write_atomically(out, b"".join(lines))
        say(f"written to {out}")


def decided(settings: Settings, dry_run: bool = False) -> list[GroupDecision]:
    """As `decided_anew`, without the count."""
    return decided_anew(settings, dry_run)[0]


def decided_anew(settings: Settings, dry_run: bool = False) -> tuple[list[GroupDecision], int]:
    """Every group's decision now and this round's for everyone, recorded all at once, each with its contact
    and cost reserved; and how many of them were not recorded before.

    UsageError without actions that address a group or everyone, or without groups for the former.
    """
    context = DecisionContext.open(settings)
    with closing(context.ledger):
        as_of = settings.now()
        rules, published = context.rules(as_of), context.rows.current()
        units = {action.unit for action in rules.actions}
        if not units & {UNIT, EVERYONE}:
            raise UsageError(
                f"no action of {context.shop.folder / 'shop.py'} addresses a group or everyone: declare one "
                'with reach="group" or reach="everyone"'
            )
        answerable(published, settings, as_of)
        inputs, matrix = everybody(context, rules, published, as_of)
        rows = dict(zip(published.features, matrix.T.astype(np.float64), strict=True))
        situation, asked = situation_of(rules, inputs, rows), list[GroupInputs]()
        if UNIT in units:
            groups = known_groups(settings, as_of, came_in(context.standings.inbox))
            if EVERYONE not in units:
                some(groups)
            if groups:
                members = members_of(groups, [of.customer_id for of in inputs])
                asked += _asked(rules, situation, members, as_of)
        if EVERYONE in units:
            places = np.arange(len(inputs))
            members = Members([EVERYONE], np.zeros_like(places), places)
            asked += _asked(rules, situation, members, as_of, round_of(rules, as_of))
        if dry_run:
            return _decide(context, rules, asked, published.id, keep=False)
        with context.ledger.deciding():
            # Pauses and budgets are read anew: from here on nobody else decides.
            return _decide(context, context.rules(as_of), asked, published.id, keep=True)


def _asked(
    rules: Rules, situation: Situation, members: Members, as_of: datetime, of: Round | None = None
) -> list[GroupInputs]:
    """What is known of each group from its members; not yet what the ledger holds of it. of: of everyone."""
    weighed = weigh(rules.actions, limits_of(rules), situation, members, UNIT if of is None else EVERYONE)
    size = np.bincount(members.group, minlength=len(members.ids))
    known = members.total(np.ones(len(situation.seeds), np.bool_))
    alone = members.total(situation.holdout)
    return [
        GroupInputs(
            group=group,
            as_of=as_of,
            members=int(size[g]),
            unknown=int(size[g] - known[g]),
            left_alone=int(alone[g]),
            weighed=weighed[g],
            held=(),
            spent=(),
            seed=_seed(rules.policy.salt, iso(as_of) if of is None else of.id, group),
            round=of,
        )
        for g, group in enumerate(members.ids)
    ]


def _decide(
    context: DecisionContext, rules: Rules, asked: Sequence[GroupInputs], build: str, keep: bool
) -> tuple[list[GroupDecision], int]:
    """One group after the other, each paid from what those before left of the budgets; how many are new."""
    policy, ledger, as_of = rules.policy, context.ledger, asked[0].as_of
    day = as_of.astimezone(context.shop.zone).date()
    back = longest(policy, [action.suppress_days for action in rules.actions]) + 1  # whole days of a zone
    spent = ledger.spent(policy.budgets, day, as_of) if policy.budgets else ()
    declared, found, new = {action.name: action for action in rules.actions}, list[GroupDecision](), 0
    for one in asked:
        when = iso(as_of) if one.round is None else one.round.id
        request = msgspec.json.encode([one.group, when])
        key = f"{when}:{one.group}" if one.round is None else f"round:{when}"
        if (before := ledger.stored_answer(CLIENT, key, request)) is not None:
            found.append(msgspec.json.decode(before, type=GroupDecision))
            continue
        held = ledger.held(_whose(one), as_of - back * DAY, as_of)
        inputs = msgspec.structs.replace(one, held=held, spent=spent)
        made = answer(rules, inputs, secrets.token_hex(16) if keep else None)
        action = declared[made.action]
        if made.channel is not None and action.purpose == "marketing":
            spent = tuple(
                used + made.cost * (of.scenario is None)
                for used, of in zip(spent, policy.budgets, strict=True)
            )
        if keep:
            entry = _entry(context, rules, inputs, made, build, key)
            ledger.append(entry, request, _reservation(rules, made, action, day))
        found.append(made)
        new += 1
    return found, new


def _entry(
    context: DecisionContext, rules: Rules, inputs: GroupInputs, made: GroupDecision, build: str, key: str
) -> Entry:
    assert made.decision_id is not None
    action = context.actions[made.action]
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
    return Reservation(at, until, day, "", made.cost, action.steps, night, made.members)


def some(groups: dict[str, list[str]]) -> dict[str, list[str]]:
    """The groups. UsageError if there is none."""
    if not groups:
        raise UsageError("the log knows nobody who is in a group: bring in the table `memberships`")
    return groups


def members_of(groups: Mapping[str, list[str]], customers: list[str]) -> Members:
    """By places: of the groups, and of the customers."""
    place = {id: n for n, id in enumerate(customers)}
    pairs = [(g, place.get(id, -1)) for g, ids in enumerate(groups.values()) for id in ids]
    group, customer = np.array(pairs, np.intp).T
    return Members(list(groups), group, customer)


def _seed(salt: str, when: str, group: str) -> int:
    """63 bits, the same for the same round: decided twice, the same groups explore."""
    digest = hmac.digest(f"round:{salt}:{when}".encode(), group.encode(), "sha256")
    return int.from_bytes(digest[:8], "big") >> 1


def _show(made: Sequence[GroupDecision]) -> None:
    for whom, of in (
        ("groups", [one for one in made if one.round is None]),
        ("rounds", [one for one in made if one.round is not None]),
    ):
        if of:
            _table(whom, of)
    for one in made:
        if one.round is not None:
            say(_told_of(one, one.round))


def _table(whom: str, made: Sequence[GroupDecision]) -> None:
    numbers = (whom, "members", "held out members exposed", "cost", "expected net")
    title = "What is said in groups" if whom == "groups" else "What is said to everyone"
    shown = table(title, "action", "channel", *numbers, right=numbers)
    for action, channel in sorted({(one.action, one.channel or "") for one in made}):
        of = [one for one in made if one.action == action]
        shown.add_row(
            action, channel, f"{len(of):,}", f"{sum(one.members for one in of):,}",
            f"{sum(one.exposed for one in of):,}", f"{sum(one.cost for one in of):,.2f}",
            f"{sum(one.net for one in of):,.2f}",
        )  # fmt: skip
    console().print(shown)
    why = Counter((name, reason) for one in made for name, reason in one.rejected.items())
    for (name, reason), kept in sorted(why.items()):
        blocking = sum(one.blocking.get(name, 0) for one in made if one.rejected.get(name) == reason)
        by = f", because of {blocking:,} members in all" if blocking else ""
        say(f"{name} is kept from {kept:,} {whom}: {REASONS[reason].en}{by}")


def _told_of(one: GroupDecision, of: Round) -> str:
    """What the lot made of a round."""
    assert one.silence is not None
    if one.silence == 1:
        return f"round {of.id}: nothing could be said to everyone, so no lot was drawn"
    what = "left quiet by lot" if one.holdout else "nothing is said" if one.channel is None else one.action
    return f"round {of.id}, until {of.until}: {what}; it was to stay quiet with a chance of {one.silence:.3g}"

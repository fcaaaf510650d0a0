"""Decide for every group at once: who is in it, what a message in it is worth, whether it is held out.

And for everyone at once, who are one group more: once a round, which the lot may leave quiet. Then the parts
that bundles have for whoever is narrower (`grouped_parts.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from features.errors import UsageError
from features.files import write_atomically
from features.settings import Settings
from propensity.grouped_asked import Known, decide_asked, groups_asked
from propensity.grouped_parts import Parts, follow
from propensity.grouped_unfinished import begun, left
from propensity.planned import everybody
from propensity.tables import console, say, table
from serving.decide import REASONS
from serving.decision_context import DecisionContext
from serving.groups import UNIT, GroupDecision, GroupInputs, Members
from serving.memberships import came_in, known_groups
from serving.rounds import EVERYONE, Round, round_of
from serving.scores import answerable
from serving.situation import situation_of


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
    made = decided_anew(settings, dry_run)
    _show(made.wide)
    made.parts.show()
    if dry_run:
        say("dry run: nothing was decided")
        return
    every, new = [*made.wide, *made.parts.groups, *made.parts.people], made.new + made.parts.new
    before = f", {len(every) - new:,} were recorded before" if new < len(every) else ""
    said = (
        f"recorded: {new:,} decisions{before}"
        if new
        else f"nothing new: all {len(every):,} were recorded before"
    )
    say(f"{said}; tell what became of each by its decision_id")
    if out is not None:
        lines = [msgspec.json.encode(one) + b"\n" for one in every]
        write_atomically(out, b"".join(lines))
        say(f"written to {out}")


class Made(NamedTuple):
    """wide: each group's decision, and that for everyone; then those of a run that was cut off, whose parts
    this one finished. new: how many of them were not recorded before."""

    wide: list[GroupDecision]
    new: int
    parts: Parts


def decided(settings: Settings, dry_run: bool = False) -> list[GroupDecision]:
    """As `decided_anew`, without counts and parts."""
    return decided_anew(settings, dry_run).wide


def decided_anew(settings: Settings, dry_run: bool = False) -> Made:
    """Every group's decision now and this round's for everyone, recorded all at once, each with its contact
    and cost reserved; then what is a part of them for groups and people.

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
        chats, places = None, np.arange(len(inputs))
        if UNIT in {unit for action in rules.actions for unit in (action.unit, *action.narrower)}:
            groups = known_groups(settings, as_of, came_in(context.standings.inbox))
            if EVERYONE not in units:
                some(groups)
            if groups:
                chats = members_of(groups, [of.customer_id for of in inputs])
        known = Known(as_of, published, inputs, matrix, situation, chats)
        if UNIT in units and chats is not None:
            asked += groups_asked(rules, known, chats)
        if EVERYONE in units:
            members = Members([EVERYONE], np.zeros_like(places), places)
            asked += groups_asked(rules, known, members, round_of(rules, as_of))
        if dry_run:
            wide, new = decide_asked(context, rules, asked, published.id, keep=False)
            return Made(wide, new, follow(context, rules, known, wide, keep=False))
        with begun(settings, as_of):
            with context.ledger.deciding():
                # Pauses and budgets are read anew: from here on nobody else decides.
                wide, new = decide_asked(context, context.rules(as_of), asked, published.id, keep=True)
            with left(settings, context.ledger, as_of) as found:
                mine = {one.decision_id for one in wide}  # a round's decision is the same for any run
                wide += [one for one in found if one.decision_id not in mine]
                return Made(wide, new, follow(context, rules, known, wide, keep=True))


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

"""Decide for every group at once: who is in it, what a message in it is worth, whether it is held out."""

from __future__ import annotations

import hmac
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.describe.say import words
from features.describe.sheets import Sheet
from features.errors import UsageError
from features.files import write_atomically
from features.log import Log
from features.moments import DAY, iso, parse_moment
from features.pages import bullets
from features.settings import Settings
from features.shop import shop_of
from features.words import Words
from propensity.evaluated import UNSURE, interval, number, write_page
from propensity.planned import everybody
from propensity.sheets import show, told
from propensity.tables import console, say, table
from serving.actions import Action
from serving.contacts import longest
from serving.decide import REASONS
from serving.decision_context import DecisionContext
from serving.groups import UNIT, GroupDecision, GroupInputs, Members, Weighed, answer, weigh
from serving.ledger import Entry, Ledger, exists, group_of
from serving.reservations import Reservation
from serving.scores import answerable
from serving.sealing import Sealed
from serving.situation import Rules, limits_of, situation_of
from training.group_effects import GroupEffects, group_effects

CLIENT = "decide --groups"


def decide_for_groups(settings: Settings, out: Path | None, dry_run: bool) -> None:
    """Decide, record it, show it, and write it to `out`; a dry run only shows it.

    Asked again as of the same moment, it answers what it decided then. UsageError, before anything is
    decided, for an `out` that is there.
    """
    if out is not None and out.exists() and not dry_run:
        raise UsageError(f"{out} is there already, perhaps not read yet: name another file, or move it away")
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
    """Every group's decision now, recorded all at once, each with its contact and cost reserved; and how many
    of them were not recorded before.

    UsageError without groups, or actions that address one.
    """
    context = DecisionContext.open(settings)
    with closing(context.ledger):
        as_of = settings.now()
        rules, published = context.rules(as_of), context.rows.current()
        if not any(a.unit == UNIT for a in rules.actions):
            raise UsageError(
                f"no action of {context.shop.folder / 'shop.py'} addresses a group: declare one with "
                'reach="group"'
            )
        answerable(published, settings, as_of)
        inputs, matrix = everybody(context, rules, published, as_of)
        inbox = context.standings.inbox
        fresh = [row.body for row in inbox.rows(sorted(inbox.people()), ("memberships",))]
        rows = dict(zip(published.features, matrix.T.astype(np.float64), strict=True))
        members = members_of(in_groups(settings, as_of, fresh), [of.customer_id for of in inputs])
        situation = situation_of(rules, inputs, rows)
        weighed = weigh(rules.actions, limits_of(rules), situation, members)
        totals = _Totals(members, situation.holdout, weighed)
        if dry_run:
            return _decide(context, rules, totals, as_of, published.id, keep=False)
        with context.ledger.deciding():
            # Pauses and budgets are read anew: from here on nobody else decides.
            return _decide(context, context.rules(as_of), totals, as_of, published.id, keep=True)


@dataclass(frozen=True)
class _Totals:
    """What is known of each group from its members."""

    members: Members
    holdout: NDArray[np.bool_]  # of customers
    weighed: Sequence[tuple[Weighed, ...]]


def _decide(
    context: DecisionContext, rules: Rules, totals: _Totals, as_of: datetime, build: str, keep: bool
) -> tuple[list[GroupDecision], int]:
    """One group after the other, each paid from what those before left of the budgets; how many are new."""
    policy, ledger, members = rules.policy, context.ledger, totals.members
    day = as_of.astimezone(context.shop.zone).date()
    since = as_of - longest(policy, [action.suppress_days for action in rules.actions]) * DAY
    spent = ledger.spent(policy.budgets, day, as_of) if policy.budgets else ()
    size = np.bincount(members.group, minlength=len(members.ids))
    known = members.total(np.ones(len(totals.holdout), np.bool_))
    alone = members.total(totals.holdout)
    declared, found, new = {action.name: action for action in rules.actions}, list[GroupDecision](), 0
    for g, group in enumerate(members.ids):
        request = msgspec.json.encode([group, iso(as_of)])
        key = f"{iso(as_of)}:{group}"
        if (before := ledger.stored_answer(CLIENT, key, request)) is not None:
            found.append(msgspec.json.decode(before, type=GroupDecision))
            continue
        inputs = GroupInputs(
            group=group,
            as_of=as_of,
            members=int(size[g]),
            unknown=int(size[g] - known[g]),
            left_alone=int(alone[g]),
            weighed=totals.weighed[g],
            held=ledger.held(group_of(group), since, as_of),
            spent=spent,
            seed=_seed(policy.salt, as_of, group),
        )
        made = answer(rules, inputs, secrets.token_hex(16) if keep else None)
        action = declared[made.action]
        if made.channel is not None and action.purpose == "marketing":
            spent = tuple(
                used + made.cost * (of.scenario is None)
                for used, of in zip(spent, policy.budgets, strict=True)
            )
        if keep:
            entry = _entry(context, rules, inputs, made, build, key)
            ledger.append(entry, request, _reservation(made, action, day))
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
        sealed=Sealed(group_of(inputs.group), b"", msgspec.json.encode(inputs), msgspec.json.encode(made)),
        cost=made.cost,
        window_end=end,
        matures_at=end + context.shop.grace_days * DAY,
        unit=UNIT,
    )


def _reservation(made: GroupDecision, action: Action, day: date) -> Reservation | None:
    """The group's contact, and what it is expected to cost for all of its members."""
    if made.send_at is None or action.purpose != "marketing":
        return None
    until = None if made.reserved_until is None else parse_moment(made.reserved_until)
    return Reservation(parse_moment(made.send_at), until, day, "", made.cost, action.steps)


def _reached(settings: Settings, since: datetime, until: datetime) -> set[str]:
    """Groups in which something was said in a window, by the ledger; not what was never sent."""
    if not exists(settings):
        return set()
    with closing(Ledger(settings)) as ledger:
        never = {id for id, sent in ledger.delivered().items() if not sent}
        made = [
            msgspec.json.decode(one.sealed.answer, type=GroupDecision)
            for one in ledger.entries(UNIT)
            if one.sealed is not None and since <= one.as_of < until and one.id not in never
        ]
    return {one.group for one in made if one.channel is not None}


def evaluate(settings: Settings, since: datetime, days: int | None, language: str, out: Path | None) -> int:
    """Show what messages to groups brought; the exit code: 3 if that cannot be told well."""
    shop = shop_of(settings)
    window = days or shop.value_horizon_days
    reached = _reached(settings, since, since + window * DAY)
    members = in_groups(settings, since)
    found = group_effects(Log.open(settings), shop.policy(since), members, reached, since, window)
    for warning in found.warnings:
        say(f"- {told(warning, language)}")
    sheet = _sheet(found)
    show(sheet, language)
    if out is not None:
        parts = [bullets(found.warnings)] if found.warnings else []
        write_page(
            out, Words("Groups against held-out groups", "社群与对照社群比较"), parts, [sheet], language
        )
    return UNSURE if found.warnings else 0


def _sheet(found: GroupEffects) -> Sheet:
    """Both arms, the difference with its interval, and those reported apart."""
    one = found.effects[0].found

    return Sheet(
        words(
            "{g} groups of {n} customers, {h} held out of {m}, {since} to {until}",
            "社群{g}个{n}人，对照社群{h}个{m}人，{since}至{until}",
            g=one.treated.clusters, n=one.treated.n, h=one.held_out.clusters, m=one.held_out.n,
            since=f"{found.since:%Y-%m-%d}", until=f"{found.until:%Y-%m-%d}",
        ),
        (Words("outcome", "结果"), Words("treated", "处理组"), Words("held out", "对照组"),
         Words("difference", "差异"), Words("interval", "区间"),
         words("in several groups ({n})", "属于多个社群（{n}人）", n=found.several),
         words("held out, yet exposed ({n})", "对照但被触达（{n}人）", n=found.exposed)),
        tuple(
            (of.name, number(of.found.treated.mean), number(of.found.held_out.mean), f"{of.found.value:+.4g}",
             interval(of.found.low, of.found.high), number(of.several), number(of.exposed))
            for of in found.effects
        ),
        right=(1, 2, 3, 4, 5, 6),
        note=Words(
            "By intention to treat, customers of one group each. 95 % intervals of one look count groups.",
            "按意向处理，仅含属于单个社群的客户。95%区间以社群为单位，仅看一次。",
        ),
    )  # fmt: skip


def in_groups(
    settings: Settings, at: datetime, fresh: Iterable[Mapping[str, Any]] = ()
) -> dict[str, list[str]]:
    """group -> its members at a moment, as known then, both sorted. fresh: rows of the inbox.

    UsageError if nobody was ever in a group.
    """
    log, known = Log.open(settings), list[tuple[datetime, bool, str, str]]()
    rows = list(fresh)
    if "memberships" in log.tables:
        rows += log.read(
            "memberships", ["kind", "place_id", "change", "customer_id", "at", "known_at"]
        ).to_pylist()
    for row in rows:
        when = row["at"] if isinstance(row["at"], datetime) else datetime.fromisoformat(row["at"])
        if row["kind"] == "group" and max(when, row.get("known_at", when)) <= at:
            known.append((when, row["change"] == "left", row["place_id"], row["customer_id"]))
    last = {(group, customer): left for _, left, group, customer in sorted(known)}
    found: dict[str, list[str]] = {}
    for group, customer in sorted(of for of, left in last.items() if not left):
        found.setdefault(group, []).append(customer)
    if not found:
        raise UsageError("the log knows nobody who is in a group: bring in the table `memberships`")
    return found


def members_of(groups: Mapping[str, list[str]], customers: list[str]) -> Members:
    """By places: of the groups, and of the customers."""
    place = {id: n for n, id in enumerate(customers)}
    pairs = [(g, place.get(id, -1)) for g, ids in enumerate(groups.values()) for id in ids]
    group, customer = np.array(pairs, np.intp).T
    return Members(list(groups), group, customer)


def _seed(salt: str, as_of: datetime, group: str) -> int:
    """63 bits, the same for the same round: decided twice, the same groups explore."""
    digest = hmac.digest(f"round:{salt}:{iso(as_of)}".encode(), group.encode(), "sha256")
    return int.from_bytes(digest[:8], "big") >> 1


def _show(made: Sequence[GroupDecision]) -> None:
    numbers = ("groups", "members", "held out members exposed", "cost", "expected net")
    shown = table("What is said in groups", "action", "channel", *numbers, right=numbers)
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
        say(f"{name} is kept from {kept:,} groups: {REASONS[reason].en}{by}")

"""Decide for every group at once: who is in it, what a message in it is worth, whether it is held out."""

from __future__ import annotations

import hmac
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from features.describe.say import words
from features.describe.sheets import Sheet
from features.errors import UsageError
from features.files import locked, write_atomically
from features.log import Log
from features.moments import DAY, iso
from features.pages import bullets
from features.settings import Settings
from features.shop import shop_of
from features.words import Words
from propensity.evaluated import UNSURE, interval, number, write_page
from propensity.planned import everybody
from propensity.sheets import show, told
from propensity.tables import console, say, table
from serving.decide import REASONS
from serving.decision_context import DecisionContext
from serving.groups import Members, Round, decide_groups, held_out, past, rounds, write
from serving.scores import answerable
from serving.situation import limits_of, situation_of
from training.group_effects import GroupEffects, group_effects


def decide_for_groups(settings: Settings, out: Path | None, dry_run: bool) -> None:
    """Decide, show it, keep the round, and write it to `out`; a dry run only shows it."""
    with locked(settings.home / "groups" / ".lock"):
        made = decided(settings)
        _show(made)
        if dry_run:
            say("dry run: nothing was decided")
            return
        kept = write(settings, made)
    say(f"decided: {kept}")
    if out is not None:
        lines = [msgspec.json.encode(one) + b"\n" for one in made.decisions]
        write_atomically(out, b"".join(lines))
        say(f"written to {out}")


def decided(settings: Settings) -> Round:
    """Every group's decision now; it is not kept. UsageError without groups, or actions that address one."""
    context = DecisionContext.open(settings)
    with closing(context.ledger):
        as_of = settings.now()
        rules, published = context.rules(as_of), context.rows.current()
        if not any(a.unit == "group" for a in rules.actions):
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
    policy, limits = rules.policy, limits_of(rules)
    before = past(rounds(settings, None, as_of), members.ids, rules.actions)
    decisions = decide_groups(
        rules.actions,
        limits,
        situation_of(rules, inputs, rows),
        members,
        held_out(members.ids, policy.salt, policy.holdout),
        before,
        as_of,
        np.array([_seed(policy.salt, as_of, id) for id in members.ids], np.uint64),
    )
    return Round(as_of=as_of, build=published.id, policy=policy.version, decisions=decisions)


def evaluate(settings: Settings, since: datetime, days: int | None, language: str, out: Path | None) -> int:
    """Show what messages to groups brought; the exit code: 3 if that cannot be told well."""
    shop = shop_of(settings)
    window = days or shop.value_horizon_days
    sent = rounds(settings, since, since + window * DAY)
    reached = {one.group for of in sent for one in of.decisions if one.action != "nothing"}
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

    def figure(value: float) -> str:
        return "" if math.isnan(value) else number(value)

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
             interval(of.found.low, of.found.high), figure(of.several), figure(of.exposed))
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


def _show(made: Round) -> None:
    numbers = ("groups", "members", "held out members exposed", "cost", "expected net")
    shown = table(f"Groups as of {iso(made.as_of)}", "action", "channel", *numbers, right=numbers)
    for action, channel in sorted({(one.action, one.channel or "") for one in made.decisions}):
        of = [one for one in made.decisions if one.action == action]
        shown.add_row(
            action, channel, f"{len(of):,}", f"{sum(one.members for one in of):,}",
            f"{sum(one.exposed for one in of):,}", f"{sum(one.cost for one in of):,.2f}",
            f"{sum(one.net for one in of):,.2f}",
        )  # fmt: skip
    console().print(shown)
    why = Counter((name, reason) for one in made.decisions for name, reason in one.rejected.items())
    for (name, reason), kept in sorted(why.items()):
        blocking = sum(
            one.blocking.get(name, 0) for one in made.decisions if one.rejected.get(name) == reason
        )
        by = f", because of {blocking:,} members in all" if blocking else ""
        say(f"{name} is kept from {kept:,} groups: {REASONS[reason].en}{by}")

"""What `propensity evaluate groups` makes of messages to groups, and to everyone at once."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime
from pathlib import Path

import msgspec

from features.describe.say import words
from features.describe.sheets import Sheet
from features.errors import NotEnoughData, UsageError
from features.log import Log
from features.moments import DAY, parse_moment
from features.pages import bullets, paragraph
from features.settings import Settings
from features.shop import shop_of
from features.words import Words
from propensity.evaluated import UNSURE, interval, number, write_page
from propensity.grouped import some
from propensity.sheets import show, told
from propensity.tables import say
from serving.actions import Reach
from serving.groups import UNIT, GroupDecision
from serving.ledger import Ledger, exists
from serving.memberships import known_groups
from serving.rounds import EVERYONE
from training.group_effects import GroupEffects, group_effects
from training.realised import Heard
from training.round_effects import DrawnRound, RoundEffects, round_effects


def decided_for(settings: Settings, unit: Reach, since: datetime, until: datetime) -> list[GroupDecision]:
    """Decisions for groups (parts of bundles, too) or everyone in a window, the first first."""
    if not exists(settings):
        return []
    with closing(Ledger(settings)) as ledger:
        return [
            msgspec.json.decode(one.sealed.answer, type=GroupDecision)
            for one in ledger.entries(unit, since, parts=True)
            if one.sealed is not None and one.as_of < until
        ]


def reached(settings: Settings, unit: Reach, since: datetime, until: datetime) -> list[GroupDecision]:
    """Those of them by which something was said, by the ledger; not what was never sent."""
    made = [one for one in decided_for(settings, unit, since, until) if one.channel is not None]
    if not made:
        return []
    with closing(Ledger(settings)) as ledger:
        never = {id for id, sent in ledger.delivered().items() if not sent}
    return [one for one in made if one.decision_id not in never]


def heard(settings: Settings, since: datetime, until: datetime) -> Heard:
    """Whom messages reached in a window that were not addressed to a person: holdout or not."""
    groups = {one.group for one in reached(settings, UNIT, since, until)}
    members = known_groups(settings, since) if groups else {}
    return Heard(
        len(reached(settings, EVERYONE, since, until)),
        frozenset(id for group in groups for id in members.get(group, ())),
    )


def evaluate(settings: Settings, since: datetime, days: int | None, language: str, out: Path | None) -> int:
    """Show what messages to groups and to everyone brought; the exit code: 3 if that cannot be told well.

    UsageError without groups, and without rounds of everyone; NotEnoughData if nothing can be compared.
    """
    shop = shop_of(settings)
    until = since + (days or shop.value_horizon_days) * DAY
    rounds, never = _rounds(settings, since, until)
    sheets: list[Sheet] = []
    said: list[Words] = []
    warnings: list[Words] = []
    try:
        groups = some(known_groups(settings, since))
        talked = {one.group for one in reached(settings, UNIT, since, until)}
        policy, length = shop.policy(since), (until - since) // DAY
        log = Log.open(settings).known_by(settings.now())
        of_groups = group_effects(log, policy, groups, talked, since, length)
        sheets.append(_sheet(of_groups))
        warnings += of_groups.warnings
    except (NotEnoughData, UsageError) as error:
        if not rounds:
            raise type(error)(f"{error}; and no round of everyone lies in this window") from None
        warnings.append(Words(f"Groups are not compared: {error}", f"未比较社群：{error}"))
    if rounds:
        of_rounds = round_effects(Log.open(settings).known_by(settings.now()), rounds, never)
        sheets.append(rounds_sheet(of_rounds))
        said.append(of_rounds.verdict)
        warnings += of_rounds.warnings
    for line in said:
        say(told(line, language))
    for warning in warnings:
        say(f"- {told(warning, language)}")
    for sheet in sheets:
        show(sheet, language)
    if out is not None:
        parts = [*(paragraph(line) for line in said), *([bullets(warnings)] if warnings else [])]
        title = Words("Messages to groups and to everyone", "社群与全员消息的效果")
        write_page(out, title, parts, sheets, language)
    return UNSURE if warnings else 0


def _rounds(settings: Settings, since: datetime, until: datetime) -> tuple[list[DrawnRound], int]:
    """Rounds of everyone that lie in a window, and how many that were to be heard were never sent."""
    made = decided_for(settings, EVERYONE, since - 8 * DAY, until)  # decided before a quiet night's end
    found = [
        (one, DrawnRound(parse_moment(one.round.since), parse_moment(one.round.until),
                         one.channel is not None, one.silence))
        for one in made
        if one.round is not None and one.silence is not None
    ]  # fmt: skip
    inside = [(one, of) for one, of in found if since <= of.since and of.until <= until]
    sent = {one.decision_id for one in reached(settings, EVERYONE, since - 8 * DAY, until)}
    return [of for _, of in inside], sum(of.sent and one.decision_id not in sent for one, of in inside)


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


def rounds_sheet(found: RoundEffects) -> Sheet:
    """Rounds in which something was said to everyone beside those that the lot left quiet."""
    return Sheet(
        words(
            "Everyone: {n} customers, {loud} rounds with a message, {quiet} quiet, {since} to {until}",
            "全员{n}人：有消息{loud}轮，静默{quiet}轮，{since}至{until}",
            n=f"{found.customers:,}", loud=found.loud, quiet=found.quiet,
            since=f"{found.since:%Y-%m-%d}", until=f"{found.until:%Y-%m-%d}",
        ),
        (Words("outcome", "结果"), Words("with a message", "有消息"), Words("quiet", "静默"),
         Words("difference", "差异"), Words("interval", "区间")),
        tuple(
            (of.name, number(of.loud), number(of.quiet),
             "–" if of.difference is None else f"{of.difference.value:+.4g}",
             "–" if of.difference is None else interval(of.difference.low, of.difference.high))
            for of in found.effects
        ),
        right=(1, 2, 3, 4),
        note=words(
            "A customer and round, by the log, weighted by the logged chances. 95 % intervals of one look "
            "count rounds, sent or not. {undrawn} rounds left nothing to chance and are left out. "
            "What a message brings after its round is not counted, or counts for the next.",
            "每位客户每轮，依据客户日志，按记录的概率加权。95%区间以轮为单位，仅看一次，"
            "按决策计，不论实际是否发送。"
            "未留随机性的{undrawn}轮不计入。消息在本轮之后带来的效果不计入，或计入下一轮。",
            undrawn=found.undrawn,
        ),
    )  # fmt: skip

"""May it still be sent? What a journey asks right before it sends what was decided, perhaps hours ago.

Whatever binds a decision now binds the sending of one that was taken: what the customer said since, what is
paused, an open complaint, the quiet hours, what became of its reservation. What addresses a group or everyone
needs the consent of each of them, as it did when it was decided: whoever is in the group now is asked about.
Nothing is recorded and nothing is reserved.

What was routed to a person may not be sent until one said yes, which the caller tells with the question:
`approved`. It answers for `person` alone; all else binds what a person approved, too.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from msgspec import Struct

from features.complaints import OPEN_COMPLAINTS
from features.errors import CustomerErased
from features.moments import from_us, iso, parse_moment
from features.online import PRESENT
from features.words import Words
from serving.actions import Action
from serving.cards import Text
from serving.decide import REASONS
from serving.decision_context import DecisionContext
from serving.decisions import by_name
from serving.ledger import Ledger
from serving.ledger_entries import AUDIENCE, Entry, group_of
from serving.memberships import all_allow, everyone_allows, members_now
from serving.pauses import pause_told
from serving.reservations import SENT
from serving.rounds import Round
from serving.sending import Night
from serving.situation import Rules, night_of
from serving.standing import Standing, automation, granted

Why = Literal[
    "nothing", "sent", "given_back", "expired", "not_yet", "paused", "unknown_customer", "no_automation",
    "no_consent", "open_complaint", "person", "waits",
]  # fmt: skip
WORDS: dict[str, Words] = {
    "nothing": Words("The decision was to do nothing", "该决策为不采取行动"),
    "sent": Words("It was sent already", "已发送"),
    "given_back": Words(
        "It was reported as not sent, and its contact given back", "已报告未发送，触达名额已释放"
    ),
    "expired": Words("Its time is over: decide again", "已过期，请重新决策"),
    "not_yet": Words("It is too early to send it", "尚未到发送时间"),
    "waits": Words(
        "What comes before it in its bundle was not told as sent", "组合行动中在其之前的消息尚未报告为已发送"
    ),
    "unknown_customer": Words("Nothing is published of the customer any more", "该客户已无已发布的数据"),
    "person": Words(
        "A person decides whether it is sent: ask again with approved=true once somebody said yes",
        "须由人工决定是否发送：获得批准后，请带approved=true再次查询",
    ),
    **{why: REASONS[why] for why in ("paused", "no_automation", "no_consent", "open_complaint")},
}
_OVER: tuple[Why, ...] = ("given_back", "expired")
OF_MANY: dict[str, Words] = {
    "no_consent": Words(
        "Somebody whom it addresses does not allow this channel, or is not known",
        "触达对象中有人未同意使用该渠道，或没有其已发布的数据",
    ),
    "unknown_customer": Words("Nobody is known to be in this group any more", "该社群已无已知成员"),
}
"""The same, of what addresses a group or everyone."""
MAY = Words("It may be sent", "可以发送")
QUIET = Words(
    "It is too early to send it: these are the quiet hours of the customer's day",
    "尚未到发送时间：现在是客户当地的免打扰时段",
)


class SendAnswer(Struct, frozen=True, kw_only=True):
    """`GET /v1/decisions/{id}`. step: the next message of the action to be sent, counted from 1; null if none
    is. reason, text: why not, the first that applies. send_at, until: when it may go, as reserved; never in
    the quiet hours. route: who decides, as the decision said: `person`, and until it is asked with
    approved=true, `may_send` is false."""

    request_id: str
    as_of: str
    decision_id: str
    action: str
    channel: str | None
    step: int | None
    may_send: bool
    reason: Why | None
    text: Text
    send_at: str | None
    until: str | None
    route: Literal["automatic", "person"] = "automatic"


def may_send(
    context: DecisionContext, decision_id: str, request_id: str, approved: bool = False
) -> SendAnswer:
    """Whether its next message may be sent now. approved: a person said yes to it. UnknownDecision,
    CustomerErased, or as a decision raises."""
    now = context.settings.now()
    return sendable(
        context.ledger,
        decision_id,
        now,
        request_id,
        lambda entry, action: _bound(context, entry, action, now),
        approved,
    )


class Bound(NamedTuple):
    """What binds now, as it would a decision; the quiet hours; what exactly, where `why` does not say."""

    why: Why | None
    night: Night
    limit: Words | None = None


def sendable(
    ledger: Ledger,
    decision_id: str,
    now: datetime,
    request_id: str,
    bound_of: Callable[[Entry, Action], Bound],
    approved: bool = False,
) -> SendAnswer:
    """As `may_send`, by this ledger. bound_of: what binds beside it, and the quiet hours."""
    entry = ledger.read(decision_id)
    if entry.sealed is None:
        raise CustomerErased("this decision was erased with its customer: send nothing")
    action, said = _decided(entry)
    step, why, at, until = _reserved(ledger, entry, said, action, now)
    quiet, limit = False, None
    if why in (None, "not_yet"):
        assert at is not None
        bound, night, exactly = bound_of(entry, action)
        quiet, goes = night.over(now) > now, night.over(max(at, now))
        if goes > now:
            why, at = ("not_yet", goes) if until is None or goes < until else ("expired", at)
        # Whoever waits for its time would keep what will not be allowed then either; a pause may be over.
        if bound is not None and (why is None or bound != "paused"):
            why, limit = bound, exactly
        # Asked before its time, for a person needs some; and only about what could be sent.
        elif said.route == "person" and not approved and why in (None, "not_yet"):
            why = "person"
    of = WORDS if entry.unit is None else {**WORDS, **OF_MANY}
    words = MAY if why is None else QUIET if why == "not_yet" and quiet else of[why]
    if limit is not None:
        words = Words(f"{words.en}: {limit.en}", f"{words.zh}：{limit.zh}")
    return SendAnswer(
        request_id=request_id,
        as_of=iso(now),
        decision_id=decision_id,
        action=entry.action,
        channel=None if step is None else action.channels[step - 1],
        step=step,
        may_send=why is None,
        reason=why,
        text=Text(words.en, words.zh),
        send_at=None if at is None else iso(at),
        until=None if until is None else iso(until),
        route=said.route,
    )


def _decided(entry: Entry) -> "tuple[Action, _Said]":
    """The action, as far as it is for whom it was decided, and what was said of it."""
    assert entry.sealed is not None
    actions = msgspec.json.decode(entry.context, type=Rules).actions
    whole = next(action for action in actions if action.name == entry.action)
    said = msgspec.json.decode(entry.sealed.answer, type=_Said)
    return whole.parts[0], said


def _reserved(
    ledger: Ledger, entry: Entry, said: "_Said", action: Action, now: datetime
) -> tuple[int | None, Why | None, datetime | None, datetime | None]:
    """(its next step, why that may not go by the ledger, when it may go, until when)."""
    if not action.steps:
        return None, "nothing", None, None
    told = ledger.deliveries(entry.id)
    whole = {status for status, step in told if step is None}
    sent = {step for status, step in told if step is not None and status in SENT}
    step = max(sent, default=0) + 1
    if whole & {*SENT} or step > len(action.steps):
        return None, "sent", None, None
    if whole or any(of is not None and of <= step and of not in sent for _, of in told):
        return step, "given_back", None, None
    held = ledger.reserved(entry.id)  # of a service message, nothing
    at, until, free = held[step - 1] if held else (said.send_at or entry.as_of, None, False)
    if until is None and action.validity_days:
        until = said.valid_until
    why, ended = None, None if said.round is None else parse_moment(said.round.until)
    if entry.follows is not None:
        why, ended = _in_bundle(ledger, entry.follows, action, now)
    if ended is not None:  # what goes in the next round is no more what the lot drew
        until = ended if until is None else min(until, ended)
    if why == "given_back":
        return step, why, None, None
    if free or why == "expired" or (until is not None and until <= now):
        return step, "expired", at, until
    return step, why or ("not_yet" if at > now else None), at, until


def _in_bundle(ledger: Ledger, wide: str, part: Action, now: datetime) -> tuple[Why | None, datetime | None]:
    """(why a part of a bundle may not go, when its round ends), as the wide decision stands: the part goes as
    long as that is not over unsent; what comes after it, once that was told as sent."""
    entry = ledger.read(wide)
    action, said = _decided(entry)
    step, why, _, _ = _reserved(ledger, entry, said, action, now)
    ended = None if said.round is None else parse_moment(said.round.until)
    if step == 1 and why in _OVER:
        return why, ended
    return "waits" if step == 1 and part.after_hours > action.after_hours else None, ended


def over_unsent(ledger: Ledger, decision_id: str, now: datetime) -> bool:
    """Whether nothing of a decision was told as sent, nor may go any more, by the ledger."""
    entry = ledger.read(decision_id)
    action, said = _decided(entry)
    step, why, _, _ = _reserved(ledger, entry, said, action, now)
    return step == 1 and why in _OVER


def _bound(context: DecisionContext, entry: Entry, action: Action, now: datetime) -> Bound:
    rules = context.rules(now)
    if (paused := pause_told(action, rules.paused, entry.scenario)) is not None:
        return Bound("paused", Night(), paused)
    assert entry.sealed is not None
    who = entry.sealed.customer_id
    if entry.unit is not None:
        return Bound(_of_all(context, rules, action, who, now), night_of(rules, {}, action.purpose))
    told = context.standings.told(who)  # before her features: see `Standings.told`
    published, rows = context.rows.latest([who])
    if rows.statuses[0] != PRESENT:
        return Bound("unknown_customer", Night())
    row = by_name(published.features, rows.matrix)
    known_at = from_us(rows.moments[0])
    said = context.standings.standing(told, published, rows.consents(0), known_at)
    return Bound(_said(rules, action, said, row), night_of(rules, row, action.purpose))


def _of_all(context: DecisionContext, rules: Rules, action: Action, whose: str, now: datetime) -> Why | None:
    """What keeps a message from a group or from everyone. whose: as the ledger names them."""
    if whose == AUDIENCE:
        allowed = everyone_allows(context, rules, action)
    else:
        who = members_now(context, whose.removeprefix(group_of("")), now)
        allowed = all_allow(context, rules, action, who) if who else None
    return "unknown_customer" if allowed is None else None if allowed else "no_consent"


def _said(rules: Rules, action: Action, said: Standing, row: Mapping[str, float]) -> Why | None:
    """What she said that keeps it back."""
    if not automation(said):
        return "no_automation"
    if not all(granted(rules.consent, said, channel, action.purpose) for channel in action.channels):
        return "no_consent"
    if action.purpose == "marketing" and (said.open_complaint or row.get(OPEN_COMPLAINTS, np.nan) > 0):
        return "open_complaint"
    return None


class _Said(Struct):
    send_at: datetime | None = None
    valid_until: datetime | None = None
    round: Round | None = None
    route: Literal["automatic", "person"] = "automatic"

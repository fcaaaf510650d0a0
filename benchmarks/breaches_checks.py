"""What may not be: a slow reference over the ledger and what was told, with definitions of its own.

A contact is real if it was reported as sent, or if it may still be sent. The order of decisions is the
ledger's. What was told must bind a decision, or a message about to be sent, if it was accepted before that
was asked for; or in mid-flight, yet before the moment as of which it was decided, which is read once nobody
else decides. Else what was told meanwhile may bind.
"""

import hashlib
import hmac
import sqlite3
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from features.moments import parse_moment, to_us
from features.shop import shop_of
from serving.actions import Action, catalogue

if TYPE_CHECKING:
    from benchmarks.breaches_world import World

DAY = timedelta(days=1)
START = parse_moment("2024-03-01T06:00:00+08:00")  # of the world
ZONES = ("Asia/Shanghai", "America/New_York", "Asia/Kathmandu")  # by the codes of the feature `home`
FEATURES = (
    "days_since_order", "orders_365d", "order_value_365d", "order_hour_365d", "home", "open_complaints",
    "contacts_7d", "contacts_30d", "contacts_sms_7d", "days_since_contact", "days_since_contact_mail",
    "days_since_contact_by_text_a",
)  # fmt: skip
NEVER = 2**63
# (channel, contacts, days, the feature that knows the log's), as the shop's policy has them
CAPS = ((None, 4, 7, "contacts_7d"), ("sms", 2, 7, "contacts_sms_7d"), (None, 9, 30, "contacts_30d"))


@dataclass
class _Taken:
    """One decision. number: its place in the ledger; asked, answered: on the machine's clock. sending: each
    time that somebody asked whether it may be sent."""

    number: int
    id: str
    customer: str
    action: Action
    as_of: datetime
    send_at: datetime | None
    until: datetime | None
    scenario: str | None
    asked: int
    answered: int
    reported: Mapping[str, Any] | None = None
    sending: Sequence[Mapping[str, Any]] = ()

    @property
    def marketing(self) -> bool:
        return self.action.name != "nothing" and self.action.purpose == "marketing"


def breaches(world: "World", told: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line each."""
    actions = catalogue(shop_of(world.settings).declared("ACTIONS"))
    rows, found = _in_ledger(world), list[str]()
    decisions = _once(told, rows, actions, found)
    end = max((one.as_of for one in decisions), default=START)
    by_customer: dict[str, list[_Taken]] = defaultdict(list)
    for one in decisions:
        by_customer[one.customer].append(one)
    said: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for event in told:
        if event["what"] in ("consent", "contact", "case"):
            said[event["customer"]].append(event)
    for customer, mine in by_customer.items():
        log = dict(zip(FEATURES, world.rows[int(customer[1:])].tolist(), strict=True))
        found += _of_a_customer(customer, log, mine, said[customer], end)
    found += _paused(decisions, told)
    found += _budgets(world, decisions)
    return found


def _in_ledger(world: "World") -> dict[str, tuple[int, str, int, str]]:
    """id -> (place, idempotency key, as_of, action), read without the ledger's own code."""
    with closing(sqlite3.connect(world.settings.home / "ledger" / "ledger.sqlite")) as db:
        rows = db.execute("SELECT id, rowid, idempotency_key, as_of, action FROM decisions").fetchall()
    return {id: (place, key, as_of, action) for id, place, key, as_of, action in rows}


def _once(
    told: Sequence[Mapping[str, Any]],
    rows: Mapping[str, tuple[int, str, int, str]],
    actions: Mapping[str, Action],
    found: list[str],
) -> list[_Taken]:
    """Each request's decision, in the ledger's order; all its answers must have been the same."""
    asked: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for event in told:
        if event["what"] == "decision":
            asked[event["number"]].append(event)
    delivered = {event["id"]: event for event in told if event["what"] == "delivery"}
    sending: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for event in told:
        if event["what"] == "sending":
            sending[event["id"]].append(event)
    keys = Counter(key for _, key, _, _ in rows.values())
    found += [f"idempotency: {key} was decided {times} times" for key, times in keys.items() if times > 1]
    if len(rows) != len(asked):
        found.append(f"idempotency: {len(rows)} decisions in the ledger for {len(asked)} requests")
    taken = []
    for number, calls in asked.items():
        first = calls[0]
        answers = {(c["id"], c["action"], c["send_at"], c["as_of"]) for c in calls}
        if len(answers) > 1 or rows.get(first["id"], (0, ""))[1] != f"k{number}":
            found.append(f"idempotency: request {number} has the answers {answers}")
            continue
        if rows[first["id"]][3] != first["action"]:
            found.append(f"ledger: {first['id']} was answered {first['action']}")
        taken.append(
            _Taken(
                rows[first["id"]][0], first["id"], first["customer"], actions[first["action"]],
                datetime.fromisoformat(first["as_of"]), _moment(first["send_at"]), _moment(first["until"]),
                first["scenario"], min(c["start"] for c in calls), min(c["end"] for c in calls),
                delivered.get(first["id"]), sending.get(first["id"], ()),
            )
        )  # fmt: skip
    return sorted(taken, key=lambda one: one.number)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _of_a_customer(
    customer: str,
    log: Mapping[str, float],
    mine: Sequence[_Taken],
    said: Sequence[Mapping[str, Any]],
    end: datetime,
) -> Iterator[str]:
    digest = hmac.new(b"holdout:breaches", customer.encode(), hashlib.sha256).digest()
    held_out = int.from_bytes(digest[:8], "big") < 0.1 * 2**64
    zone = ZoneInfo(ZONES[0 if np.isnan(log["home"]) else int(log["home"])])
    real: list[tuple[datetime, _Taken]] = []
    for one in (one for one in mine if one.marketing):
        name = f"{one.id} ({one.action.name} for {customer})"
        if held_out:
            yield f"holdout: {name}"
        if one.send_at is None or one.send_at < one.as_of or one.until != one.send_at + timedelta(hours=30):
            yield f"send time: {name} at {one.send_at} until {one.until}"
            continue
        if _quiet(one.send_at, zone):
            yield f"quiet hours: {name} at {one.send_at.astimezone(zone)}"
        before = [event for event in said if _binds(event, one.asked, one.as_of)]
        if log["open_complaints"] > 0 or any(event["what"] == "case" for event in before):
            yield f"complaint: {name}"
        if _withdrawn(one.action.channel, one.asked, one.answered, one.as_of, said):
            yield f"consent: {name}"
        yield from _sending(one, name, zone, said)
        others = [
            (datetime.fromisoformat(event["at"]), event["channel"])
            for event in before
            if event["what"] == "contact"
        ]
        for channel, most, days, feature in CAPS:
            number = log[feature] + sum(
                at > one.as_of - days * DAY and channel in (None, on) for at, on in others
            )
            number += sum(
                at > one.as_of - days * DAY and channel in (None, of.action.channel) for at, of in real
            )
            if channel in (None, one.action.channel) and number + 1 > most:
                yield f"cap: {name} is contact {number + 1:.0f} in {days} days on {channel or 'all channels'}"
        last = log["days_since_contact"] + (one.as_of - START) / DAY
        if last < one.action.suppress_days or any(
            (one.as_of - at) / DAY < one.action.suppress_days for at, _ in others
        ):
            yield f"rest: {name}, with a contact of the log or of another system too near"
        if one.action.channel == "mail" and (
            log["days_since_contact_mail"] + (one.as_of - START) / DAY < 2
            or any(on == "mail" and one.as_of - at < 2 * DAY for at, on in others)
        ):
            yield f"cooldown: {name}, with a letter of the log or of another system too near"
        at = _real(one, end)
        if at is not None:
            for earlier, of in real:
                if abs(at - earlier) < one.action.suppress_days * DAY and earlier <= at:
                    yield f"rest: {name} {at - earlier} after {of.id} ({of.action.name})"
            real.append((at, one))
    yield from _together(customer, real)


def _together(customer: str, real: Sequence[tuple[datetime, _Taken]]) -> Iterator[str]:
    """Of all real contacts: none too many in any window, none of a kind too near another."""
    for channel, most, days, _ in CAPS:
        times = sorted(at for at, one in real if channel in (None, one.action.channel))
        for first, last in zip(times, times[most:], strict=False):
            if last - first < days * DAY:
                yield f"cap: {customer} has {most + 1} contacts from {first} to {last} on {channel or 'all'}"
    mail = sorted(at for at, one in real if one.action.channel == "mail")
    text_a = sorted(at for at, one in real if one.action.name == "text_a")
    for kind, times, rest in (("mail", mail, 2 * DAY), ("text_a", text_a, 3.5 * DAY)):
        for first, second in zip(times, times[1:], strict=False):
            if second - first < rest:
                yield f"cooldown: {customer} has {kind} at {first} and at {second}"


def _real(one: _Taken, end: datetime) -> datetime | None:
    """When it was sent, or at the earliest may be; None if it was not and will not be."""
    if one.reported is not None:
        sent = one.reported["status"] in ("sent", "delivered")
        return datetime.fromisoformat(one.reported["at"]) if sent else None
    assert one.until is not None
    assert one.send_at is not None
    return max(one.send_at, end) if one.until > end else None


def _quiet(at: datetime, zone: ZoneInfo) -> bool:
    local = at.astimezone(zone)
    return not 8 * 60 <= local.hour * 60 + local.minute < 21 * 60 + 30


def _sending(one: _Taken, name: str, zone: ZoneInfo, said: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What may no longer be sent, or not yet, and was told that it may. Pauses: `_paused`."""
    for ask in (of for of in one.sending if of["may"]):
        at = datetime.fromisoformat(ask["at"])
        if one.send_at is None or one.until is None or not one.send_at <= at < one.until:
            yield f"send time: {name} may go at {at}, between {one.send_at} and {one.until}"
        if _quiet(at, zone):
            yield f"quiet hours: {name} may go at {at.astimezone(zone)}"
        if _withdrawn(one.action.channel, ask["start"], ask["end"], at, said):
            yield f"consent: {name} may go at {at}"
        if any(event["what"] == "case" and _binds(event, ask["start"], at) for event in said):
            yield f"complaint: {name} may go at {at}"
        if one.reported is not None and one.reported["end"] < ask["start"]:
            yield f"sent twice: {name} may go at {at}"


def _binds(event: Mapping[str, Any], asked: int, as_of: datetime) -> bool:
    """Whether it was accepted before something was asked for, or before it was decided as of a moment."""
    return bool(event["end"] < asked or event["clock"] < to_us(as_of))


def _withdrawn(
    channel: str | None, asked: int, answered: int, as_of: datetime, said: Sequence[Mapping[str, Any]]
) -> bool:
    """Whether the last word that binds was no, and none came meanwhile that says yes."""
    consents = [event for event in said if event["what"] == "consent"]
    for of in (channel, "all"):
        words = [e for e in consents if e["channel"] == of and _binds(e, asked, as_of)]
        if not words:
            continue
        last = max(words, key=lambda event: (event["at"], event["status"] == "withdrawn"))
        if last["status"] == "withdrawn" and not any(
            event["channel"] == of and event["status"] == "granted"
            and event["at"] >= last["at"] and not _binds(event, asked, as_of) and event["start"] <= answered
            for event in consents
        ):  # fmt: skip
            return True
    return False


def _paused(decisions: Sequence[_Taken], told: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What was decided, or told that it may be sent, while it was paused for certain."""
    spans = _spans(told)
    for one in decisions:
        if one.action.name == "nothing":
            continue
        calls = [("decided", one.asked, one.answered, one.as_of)]
        calls += [
            ("sent", of["start"], of["end"], datetime.fromisoformat(of["at"]))
            for of in one.sending
            if of["may"]
        ]
        for what, asked, answered, as_of in calls:
            for of in (one.action.name, f"channel:{one.action.channel}", "everything"):
                mine = spans.get(of, [])
                # Spans of one name never overlap: before the last that began before, none can matter.
                first = max(bisect_left(mine, asked, key=lambda span: span.pause["end"]) - 1, 0)
                last = bisect_left(mine, answered, key=lambda span: span.pause["end"])
                if any(_binds(span.pause, asked, as_of) and answered < span.end for span in mine[first:last]):
                    yield f"pause: {one.id} ({one.action.name}) {what} while {of} was paused"


class _Span(NamedTuple):
    """From the answer to a pause to the next resumption: so long it was paused for certain."""

    pause: Mapping[str, Any]
    end: int


def _spans(told: Sequence[Mapping[str, Any]]) -> dict[str, list[_Span]]:
    """What was paused -> when for certain, in order."""
    pauses: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    resumed: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for event in told:
        if event["what"] in ("pause", "resume"):
            (pauses if event["what"] == "pause" else resumed)[event["of"]].append(event)
    return {
        of: [
            _Span(one, min((e["start"] for e in resumed[of] if e["end"] > one["end"]), default=NEVER))
            for one in sorted(those, key=lambda event: event["end"])
        ]
        for of, those in pauses.items()
    }


def _budgets(world: "World", decisions: Sequence[_Taken]) -> Iterator[str]:
    """What was held or spent when each was decided: of the day, and of the month in its scenario."""
    shop = shop_of(world.settings)
    day, month = shop.policies[-1].budgets
    spent: dict[tuple[str, str], list[_Taken]] = defaultdict(list)
    for one in (one for one in decisions if one.marketing):
        local = one.as_of.astimezone(shop.zone)
        spent["day", f"{local:%Y-%m-%d}"].append(one)
        if one.scenario == "win_back":
            spent["month", f"{local:%Y-%m}"].append(one)
    for (per, period), those in spent.items():
        amount = day.amount if per == "day" else month.amount
        cost = np.array([one.action.cost for one in those])
        freed = [one.reported for one in those]
        free_by_report = np.array([
            of["start"] if of and of["status"] in ("blocked", "cancelled") else NEVER - 1 for of in freed
        ])  # fmt: skip
        until = np.array([
            np.inf if one.reported or one.until is None else one.until.timestamp() for one in those
        ])  # fmt: skip
        for place, one in enumerate(those):
            held = (free_by_report[:place] > one.answered) & (until[:place] > one.as_of.timestamp())
            total = float(cost[:place][held].sum() + cost[place])
            if total > amount + 1e-6:
                yield f"budget: {one.id} brings the {per} {period} to {total:.4f} of {amount}"

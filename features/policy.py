"""The contact policy: the `[[policy]]` tables of shop.toml, each in force from its date on.

    caps        marketing contacts of a customer in any so many days, on a channel or on all together
    cooldowns   days of rest after the last marketing contact, on a channel, by an action, or of any kind
    send        when messages may go: quiet hours in the customer's zone, the hour that the customer prefers
    budgets     what marketing may cost in a day, week, month or year of the shop's zone; they stop hard
    quiet_rounds  of messages to everyone at once: share of their days or weeks that is left quiet by lot

A service message is exempt from caps, cooldowns, budgets and the holdout; from quiet hours, unless
`send.service` says otherwise. A count that no built-in feature has becomes a feature of the shop by itself.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, time, timedelta
from typing import Literal

from features.definitions.declaration import Feature
from features.toml import NAME, Entry
from features.words import Words

Period = Literal["day", "week", "month", "year"]
PERIODS: dict[Period, str] = {"day": "每日", "week": "每周", "month": "每月", "year": "每年"}  # in zh
HOURS = ("answer_hour_365d", "preferred_hour_365d")  # features that know an hour, the first that does


@dataclass(frozen=True)
class Cap:
    """At most `contacts` in any `days` days (of 24 h); channel: on it alone, None: on all together."""

    contacts: int
    days: int
    channel: str | None = None

    @property
    def feature(self) -> str:
        """The feature that counts these contacts in the log."""
        return f"contacts{_of(self.channel)}_{self.days}d"


@dataclass(frozen=True)
class Cooldown:
    """No marketing contact for `days` days after the last. With a channel or an action, both are its own."""

    days: float
    channel: str | None = None
    action: str | None = None

    @property
    def feature(self) -> str:
        """The feature that knows the days since the last such contact in the log."""
        return f"days_since_contact{_of(self.channel)}" + (f"_by_{self.action}" if self.action else "")


@dataclass(frozen=True)
class Send:
    """When a message may go. quiet: (from, until) in the customer's zone, over midnight if from > until.

    hours: features that know the customer's hour, the first that is known; none: send at once. zone: the
    feature that knows the customer's zone (a vocabulary of IANA names); None: the shop's. service: quiet
    hours hold for service messages too.
    """

    quiet: tuple[time, time] | None = None
    hours: tuple[str, ...] = HOURS
    zone: str | None = None
    service: bool = False


@dataclass(frozen=True)
class Budget:
    """Most that marketing may be expected to cost in a period, shop currency; scenario: in it alone."""

    amount: float
    per: Period
    scenario: str | None = None

    def since(self, day: date) -> date:
        """First day of the period that a day is in; a week begins on Monday."""
        if self.per == "week":
            return day - timedelta(days=day.weekday())
        first = {"day": {}, "month": {"day": 1}, "year": {"month": 1, "day": 1}}
        return day.replace(**first[self.per])

    def until(self, day: date) -> date:
        """First day of the period after the one that a day is in."""
        longest = {"day": 1, "week": 7, "month": 31, "year": 366}[self.per]
        return self.since(self.since(day) + timedelta(days=longest))


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Limits on marketing in force from a date.

    max_contacts, per_days: a cap over all channels in the short form. reserve_hours: a reserved contact that
    nobody reported as sent is free again so long after its send time; None: never. person_above: expected
    loss of being wrong, shop currency, above which a person decides; None: nobody is asked. price_fairness,
    price_gap: see `training.fairness`. quiet_rounds: see `serving.rounds`; None: as holdout. send: None only
    in records from before there were send times.
    """

    starts: date
    holdout: float  # share of customers, 0..1
    explore: float  # share of decisions, 0..1
    salt: str
    max_contacts: int | None = None
    per_days: int | None = None
    cap: tuple[Cap, ...] = ()
    cooldowns: tuple[Cooldown, ...] = ()
    send: Send | None = None
    budgets: tuple[Budget, ...] = ()
    reserve_hours: float | None = None
    person_above: float | None = None
    price_fairness: Literal["report", "block"] = "report"
    price_gap: float = 0.1
    quiet_rounds: float | None = None  # share of rounds, 0..1

    @property
    def version(self) -> str:
        """Names this policy in every decision that it governed."""
        return self.starts.isoformat()

    @property
    def caps(self) -> tuple[Cap, ...]:
        """All of them, the short form first."""
        if self.max_contacts is None or self.per_days is None:
            return self.cap
        return (Cap(self.max_contacts, self.per_days), *self.cap)

    @property
    def overall(self) -> Cap:
        """The cap whose window fatigue is counted in: the first over all channels, else the first."""
        return next((cap for cap in self.caps if cap.channel is None), self.caps[0])


def read(entry: Entry) -> Policy:
    """One `[[policy]]`. SettingsError says which key is wrong, and what was expected."""
    caps = tuple(_cap(one) for one in entry.entries("cap", []))
    short = not caps or {"max_contacts", "per_days"} & set(entry.raw)  # with other caps it may be left out
    policy = Policy(
        starts=entry.take("from", "day"),
        max_contacts=_least(entry, "max_contacts", 0) if short else None,
        per_days=_least(entry, "per_days", 1, 3660) if short else None,
        holdout=entry.share("holdout"),
        explore=entry.share("explore"),
        salt=entry.take("salt", "text"),
        cap=caps,
        cooldowns=tuple(_cooldown(one) for one in entry.entries("cooldown", [])),
        send=_send(entry.entry("send", {})),
        budgets=tuple(_budget(one) for one in entry.entries("budget", [])),
        reserve_hours=_positive(entry, "reserve_hours"),
        person_above=_positive(entry, "person_above"),
        price_fairness=entry.take("price_fairness", "text", "report", choices=("report", "block")),
        price_gap=_positive(entry, "price_gap") or Policy.price_gap,
        quiet_rounds=entry.share("quiet_rounds", None),
    )
    entry.taken |= {"max_contacts", "per_days"}
    entry.close()
    return policy


def features_of(policies: Iterable[Policy], known: Collection[str]) -> Iterator[Feature]:
    """Features that caps and cooldowns count by, without those that are known, each once."""
    seen = set(known)
    limits: list[Cap | Cooldown] = []
    for policy in policies:
        limits += [*policy.caps, *policy.cooldowns]
    for limit in limits:
        if limit.feature not in seen:
            seen.add(limit.feature)
            yield _counted(limit) if isinstance(limit, Cap) else _rested(limit)


def _counted(cap: Cap) -> Feature:
    where, en, zh = _only(cap.channel, None)
    return Feature(
        name=cap.feature,
        words=Words(f"Campaign contacts{en} in the last {cap.days} days", f"近{cap.days}天{zh}营销触达次数"),
        unit="contacts",
        measure="count",
        table="contacts",
        where=where,
        window=cap.days,
    )


def _rested(rest: Cooldown) -> Feature:
    where, en, zh = _only(rest.channel, rest.action)
    return Feature(
        name=rest.feature,
        words=Words(f"Days since the last campaign contact{en}", f"距上次{zh}营销触达天数"),
        unit="days",
        measure="since_last",
        table="contacts",
        where=where,
    )


def _only(channel: str | None, action: str | None) -> tuple[str | None, str, str]:
    """(SQL, English, Chinese) for contacts on that channel, by that action."""
    named = [(column, of) for column, of in (("channel", channel), ("action", action)) if of is not None]
    where = " and ".join(f"{column} = '{of}'" for column, of in named)
    en = "".join(f" {'on' if column == 'channel' else 'by'} {of}" for column, of in named)
    return where or None, en, "".join(of for _, of in named)


def _of(channel: str | None) -> str:
    return f"_{channel}" if channel else ""


def _cap(entry: Entry) -> Cap:
    cap = Cap(_least(entry, "contacts", 0), _least(entry, "days", 1, 3660), _name(entry, "channel"))
    entry.close()
    return cap


def _cooldown(entry: Entry) -> Cooldown:
    days = _positive(entry, "days")
    if days is None:
        raise entry.error("days", "days of rest, such as 3 or 0.5")
    rest = Cooldown(days, _name(entry, "channel"), _name(entry, "action"))
    entry.close()
    return rest


def _send(entry: Entry) -> Send:
    quiet = entry.take("quiet", "texts", None)
    if quiet is not None and (len(quiet) != 2 or quiet[0] == quiet[1]):
        raise entry.error("quiet", 'two different times of day: ["21:00", "09:00"]')
    # An empty list, which `texts` takes for a slip, says that nobody's hour is waited for.
    hours = () if entry.raw.get("hours") == [] else entry.take("hours", "texts", HOURS)
    entry.taken.add("hours")
    send = Send(
        quiet=None if quiet is None else (_time(entry, quiet[0]), _time(entry, quiet[1])),
        hours=hours,
        zone=entry.take("zone", "text", None),
        service=entry.take("service", "boolean", False),
    )
    entry.close()
    return send


def _budget(entry: Entry) -> Budget:
    amount = float(entry.take("amount", "number"))
    if not 0 <= amount < float("inf"):
        raise entry.error("amount", "an amount of shop currency, 0 or more")
    budget = Budget(
        amount, entry.take("per", "text", choices=tuple(PERIODS)), entry.take("scenario", "text", None)
    )
    entry.close()
    return budget


def _time(entry: Entry, text: str) -> time:
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", text):
        raise entry.error("quiet", 'times of day from "00:00" to "23:59"')
    return time.fromisoformat(text)


def _name(entry: Entry, key: str) -> str | None:
    name: str | None = entry.take(key, "text", None)
    if name is not None and not NAME.fullmatch(name):
        raise entry.error(key, "a name of small letters, digits and _, as the actions have it")
    return name


def _least(entry: Entry, key: str, least: int, most: int = 10**6) -> int:
    value: int = entry.take(key, "whole")
    if not least <= value <= most:
        raise entry.error(key, f"a whole number from {least} to {most}")
    return value


def _positive(entry: Entry, key: str) -> float | None:
    value = entry.take(key, "number", None)
    if value is not None and not 0 < value < float("inf"):
        raise entry.error(key, "a number above 0")
    return None if value is None else float(value)

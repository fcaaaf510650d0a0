"""Messages that reach everyone at once, such as a banner or a post: decided and drawn by round.

There is one audience, so nobody can be held out of it: it is compared with itself at other times (a
switchback). A round is a day of the shop, or its week (from Monday) where what is declared for everyone rests
longer than a day. Of each round that something may be said in, a share (`quiet_rounds` of the policy) is left
quiet by lot. The chance is logged; a round is decided once.

Rests and caps count whole days of the shop, as rounds do: a round that is decided a minute earlier than the
last is no day short.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from msgspec import Struct

from features.moments import iso
from features.policy import Policy
from serving.actions import Action, Reach
from serving.reservations import Contact
from serving.situation import Rules, slots_of

EVERYONE: Reach = "everyone"
_WEEK = 7


class Round(Struct, frozen=True):
    """id: `2017-12-31`, or `2017-W52` of a week. Times are RFC 3339 in UTC; it ends before `until`."""

    id: str
    since: str
    until: str


def round_of(rules: Rules, as_of: datetime) -> Round:
    """The round in which a message decided now would go, after the quiet hours of the shop's zone."""
    zone, day = ZoneInfo(rules.zone), day_of(rules, _goes(rules, as_of))
    days = round_days(rules.actions, rules.policy)
    if days == _WEEK:
        day -= timedelta(days=day.weekday())
    since, until = (
        datetime.combine(of, time(), zone).astimezone(UTC) for of in (day, day + timedelta(days=days))
    )
    return Round(f"{day:%G-W%V}" if days == _WEEK else day.isoformat(), iso(since), iso(until))


def round_days(actions: Iterable[Action], policy: Policy) -> int:
    """Days of a round: a week where what is declared for everyone rests longer than a day."""
    own = [action.part(EVERYONE) for action in actions if action.unit == EVERYONE]
    rests = [of.days for of in policy.cooldowns if any(_about(of.channel, of.action, a) for a in own)]
    return _WEEK if max([*rests, *(action.suppress_days for action in own), 0]) > 1 else 1


def day_of(rules: Rules, at: datetime) -> date:
    """The day of the shop's zone."""
    return at.astimezone(ZoneInfo(rules.zone)).date()


def by_day(rules: Rules, held: Sequence[Contact], as_of: datetime) -> tuple[list[Contact], datetime]:
    """Contacts, and when a message would go, each at the beginning of its day; days are 24 h apart."""

    def begun(at: datetime) -> datetime:
        return datetime.combine(day_of(rules, at), time(), UTC)

    return [Contact(begun(of.at), of.channel, of.action) for of in held], begun(_goes(rules, as_of))


def quiet_share(rules: Rules) -> float:
    """Share of the rounds that the lot leaves quiet; as of customers are held out, if none is declared."""
    declared = rules.policy.quiet_rounds
    return rules.policy.holdout if declared is None else declared


def _goes(rules: Rules, as_of: datetime) -> datetime:
    slots = slots_of(rules, as_of, {})
    return as_of if slots is None else slots["marketing"].at


def _about(channel: str | None, name: str | None, action: Action) -> bool:
    return (channel is None or channel in action.channels) and name in (None, action.name)

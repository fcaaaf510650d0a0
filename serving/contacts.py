"""Marketing contacts as the limits count them: what the log has, what came in since, what decisions hold.

The features count the log. A build that lacks a limit's own feature counts by a wider one, never too few:
more days, or all channels together. Where the log has no contacts at all, there are none to count.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from features.errors import SettingsError
from features.moments import DAY
from features.policy import Cap, Cooldown, Policy
from serving.reservations import Contact

Numbers = NDArray[np.float64]
LAST = "days_since_contact"


def column_of(limit: Cap | Cooldown, published: Collection[str]) -> str | None:
    """The published feature that a limit counts by; None where the log has no contacts.

    SettingsError for a cap over more days than any published feature counts.
    """
    if limit.feature in published:
        return limit.feature
    if isinstance(limit, Cooldown):
        return LAST if LAST in published else None
    prefixes = [f"contacts_{limit.channel}_"] if limit.channel else []
    for prefix in (*prefixes, "contacts_"):
        wider = _windows(published, prefix)
        if any(days >= limit.days for days in wider):
            return f"{prefix}{min(days for days in wider if days >= limit.days)}d"
    if LAST in published or _windows(published, "contacts_"):
        raise SettingsError(
            f"the policy counts contacts per {limit.days} days, and no published feature counts as many: "
            f"`propensity features build` adds {limit.feature}"
        )
    return None


def _windows(published: Iterable[str], prefix: str) -> list[int]:
    """Days of the published features named prefix + days + "d"."""
    ends = (name[len(prefix) : -1] for name in published if name.startswith(prefix) and name.endswith("d"))
    return [int(days) for days in ends if days.isdecimal()]


def longest(policy: Policy, rests: Iterable[float]) -> float:
    """Days that limits look back. rests: of the actions."""
    return max([cap.days for cap in policy.caps] + [of.days for of in policy.cooldowns] + [*rests, 0])


def counted(
    cap: Cap, rows: Mapping[str, Numbers], others: Sequence[Sequence[Contact]], now: Sequence[datetime]
) -> NDArray[np.int64]:
    """Contacts of n customers that a cap counts [n]. others: of each, beside the log, those to come too."""
    return in_log(cap, rows, len(now)) + np.array(
        [within(cap, of, at) for of, at in zip(others, now, strict=True)], dtype=np.int64
    )


def in_log(cap: Cap, rows: Mapping[str, Numbers], n: int) -> NDArray[np.int64]:
    """What the features count [n]; 0 where the log has no contacts."""
    name = column_of(cap, rows)
    return np.zeros(n, np.int64) if name is None else np.fmax(rows[name], 0.0).astype(np.int64)  # NaN: 0


def within(cap: Cap, contacts: Iterable[Contact], now: datetime) -> int:
    """How many of these a cap counts at a moment beside the log's: those ahead, and in its window behind."""
    since = now - cap.days * DAY
    return sum(_on(cap.channel, of.channel) and of.at > since and not of.in_log for of in contacts)


def days_since(
    rest: Cooldown,
    rows: Mapping[str, Numbers],
    since_known: Numbers,
    others: Sequence[Sequence[Contact]],
    now: Sequence[datetime],
) -> Numbers:
    """Days since the last contact that a cooldown looks at [n]; below 0 for one to come, NaN for none."""
    name = column_of(rest, rows)
    log = np.full(len(now), math.nan) if name is None else rows[name] + since_known
    last = [_last(rest, of, at) for of, at in zip(others, now, strict=True)]
    since: Numbers = np.fmin(log, np.array(last))
    return since


def _last(rest: Cooldown, contacts: Iterable[Contact], now: datetime) -> float:
    about = [of.at for of in contacts if _on(rest.channel, of.channel) and _on(rest.action, of.action)]
    return (now - max(about)) / DAY if about else math.nan


def _on(limited: str | None, of: str | None) -> bool:
    """Whether a limit looks at a contact: old records do not know of which channel and action theirs were."""
    return limited is None or of is None or limited == of

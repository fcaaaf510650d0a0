"""Who is in which group, and whether any of those whom a message addresses does not allow it.

The ledger keeps no member of a decision for a group, so who is in it is read anew: from the log, and from
what came in since. So is everyone, of whom all are addressed that are published.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.inbox import Inbox
from features.log import Log
from features.moments import from_us
from features.online import PRESENT
from features.settings import Settings
from serving.actions import Action
from serving.decision_context import DecisionContext
from serving.situation import Rules
from serving.standing import Standing, Told, granted

if TYPE_CHECKING:
    import pyarrow as pa

_TABLE = "memberships"
_COLUMNS = ("kind", "place_id", "change", "customer_id", "at", "known_at")
_CHUNK = 10_000  # customers of whom rows are read at once


def came_in(inbox: Inbox) -> list[Mapping[str, Any]]:
    """Rows of memberships that the inbox has."""
    return [row.body for row in inbox.of_table(_TABLE)]


def known_groups(
    settings: Settings, at: datetime, fresh: Iterable[Mapping[str, Any]] = (), group: str | None = None
) -> dict[str, list[str]]:
    """group -> its members at a moment, as known then, both sorted; or of one group alone.

    fresh: rows of the inbox. LogError without a log.
    """
    log, known = Log.open(settings), list[tuple[datetime, bool, str, str]]()
    rows = list(fresh)
    if _TABLE in log.tables:
        of = log.read(_TABLE, _COLUMNS) if group is None else _of_group(log, group)
        rows += of.to_pylist()
    for row in rows:
        when = row["at"] if isinstance(row["at"], datetime) else datetime.fromisoformat(row["at"])
        mine = row["kind"] == "group" and group in (None, row["place_id"])
        if mine and max(when, row.get("known_at", when)) <= at:
            known.append((when, row["change"] == "left", row["place_id"], row["customer_id"]))
    last = {(group, customer): left for _, left, group, customer in sorted(known)}
    found: dict[str, list[str]] = {}
    for place, customer in sorted(of for of, left in last.items() if not left):
        found.setdefault(place, []).append(customer)
    return found


def _of_group(log: Log, group: str) -> "pa.Table":
    """Its rows of the log, by what is kept of that log."""
    rows, places = _by_group(log.folder, log.erased)
    return rows.slice(*places.get(group, (0, 0)))


@lru_cache(maxsize=1)  # one generation; an erasure writes it anew
def _by_group(folder: Path, erased: str) -> "tuple[pa.Table, dict[str, tuple[int, int]]]":
    """(rows of a log's groups, one group after another; group -> its first row and how many)."""
    import pyarrow.compute as pc

    rows = Log.at(folder).read(_TABLE, _COLUMNS, pc.field("kind") == "group").sort_by("place_id")
    each = rows["place_id"].value_counts().to_pylist()  # in the order in which they come
    firsts = accumulate((of["counts"] for of in each), initial=0)
    return rows, {of["values"]: (first, of["counts"]) for of, first in zip(each, firsts, strict=False)}


def members_now(context: DecisionContext, group: str, now: datetime) -> list[str]:
    """Who is in a group now, sorted. LogError without a log."""
    fresh = came_in(context.standings.inbox)
    return known_groups(context.settings, now, fresh, group).get(group, [])


def everyone_allows(context: DecisionContext, rules: Rules, action: Action) -> bool | None:
    """Whether each of those who are published allows every channel of an action; None if nobody is.

    Who said anything since is asked one by one; of all others it is known how many say what.
    """
    published = context.rows.current()
    news = context.standings.consented(published) | context.rows.audience.saying(published)
    others = context.rows.audience.said(published, news)
    if not others and not context.rows.ids(published):
        return None
    nothing = Told([], ("", 0))
    return all(
        _allows(rules, action, context.standings.standing(nothing, published, said, published.moment))
        for said, _ in others
    ) and all_allow(context, rules, action, sorted(news), published_only=True)


def all_allow(
    context: DecisionContext,
    rules: Rules,
    action: Action,
    customers: Sequence[str],
    published_only: bool = False,
) -> bool:
    """Whether each of them allows every channel of an action. Of whom nothing is published, nothing is known
    to be allowed; published_only: they are not addressed."""
    for first in range(0, len(customers), _CHUNK):
        some = customers[first : first + _CHUNK]
        told = context.standings.told_of(some)  # before their rows: see `Standings.told`
        published, rows = context.rows.latest(some)
        for place, who in enumerate(some):
            if rows.statuses[place] != PRESENT:
                if published_only:
                    continue
                return False
            mine = told.get(who, Told([], ("", 0)))
            known_at = from_us(rows.moments[place])
            said = context.standings.standing(mine, published, rows.consents(place), known_at)
            if not _allows(rules, action, said):
                return False
    return True


def _allows(rules: Rules, action: Action, said: Standing) -> bool:
    return all(granted(rules.consent, said, channel, action.purpose) for channel in action.channels)

"""Customers' ids that a spreadsheet or a data frame made a fraction of: 10 became 10.0.

Ids are kept as given, and 10.0 is another customer than 10. But where nobody is known by it, and somebody by
the number without its fraction, it is a mistake: taken, it would make a second person of one.
"""

import re
from collections.abc import Callable, Collection, Iterable

from features.errors import NoBuild
from features.inbox import Inbox
from features.online import UNKNOWN, OnlineRows
from features.settings import Settings
from features.tombstones import Tombstones
from serving.events import Person

Named = str | Person  # a customer as an event names her
Knows = Callable[[Collection[Named]], Collection[Named]]  # those of them who are known

MISSPELT = (
    "nobody is known by this id, and somebody is by the same number without .0, which spreadsheets and data "
    "frames add to it: send the id as text, as the log has it"
)
_FRACTION = re.compile(r"(\d+)\.0+")


def misspelt(customers: Iterable[Named], knows: Knows) -> set[Named]:
    """Those of the customers of a request who are certainly meant to be somebody else.

    knows: asked only if one of them is written so.
    """
    sent = set(customers)
    meant = {who: other for who in sent if (other := _meant(who)) is not None}
    if not meant:
        return set()
    known = set(knows({*meant, *meant.values()}))
    others = known | (sent - meant.keys())  # who is new with this very request
    return {who for who, other in meant.items() if who not in known and other in others}


def _meant(who: Named) -> Named | None:
    whole = _FRACTION.fullmatch(who if isinstance(who, str) else who.id)
    if whole is None:
        return None
    return whole[1] if isinstance(who, str) else Person(who.source, whole[1])


def known_to(settings: Settings, rows: OnlineRows, inbox: Inbox) -> Knows:
    """Who is published, was told of since, or was erased: what is meant for them is not for a new person."""

    def knows(customers: Collection[Named]) -> set[Named]:
        ids = [who for who in customers if isinstance(who, str)]
        people = [who for who in customers if not isinstance(who, str)]
        pairs = [(who.source, who.id) for who in people]
        erased, told = Tombstones.of(settings), inbox.people_of(ids)
        known: set[Named] = {*erased.customers(ids), *told}
        known |= {who for who, pair in zip(people, pairs, strict=True) if erased.identities([pair])}
        known |= {who for who, pair in zip(people, pairs, strict=True) if inbox.resolve(*pair)}
        try:
            status = rows.followed(ids)[2].status.tolist() if ids else []
            whose = rows.resolve(pairs) if pairs else []
        except NoBuild:  # nothing is published yet
            return known
        known |= {id for id, is_ in zip(ids, status, strict=True) if is_ != UNKNOWN}
        return known | {who for who, found in zip(people, whose, strict=True) if found}

    return knows

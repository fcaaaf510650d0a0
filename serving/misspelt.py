"""Customers' ids that a spreadsheet or a data frame wrote otherwise: 00010 became 10, or 10.0.

Ids are kept as given, and 10.0 is another customer than 10. But where nobody is known by it, and somebody by
the same number written otherwise, it is a mistake: taken, it would make a second person of one.
"""

import re
import time
from collections.abc import Callable, Collection, Iterable

from features.errors import NoBuild, OnlineUnavailable
from features.inbox import Inbox
from features.online import UNKNOWN, OnlineRows
from features.settings import Settings
from features.tombstones import Tombstones
from serving.events import Person

Named = str | Person  # a customer as an event names her
Knows = Callable[[Collection[Named]], Collection[Named]]  # those of them who are known

MISSPELT = (
    "nobody is known by this id, and somebody is by the same number without .0, or with other zeros "
    "before it, as spreadsheets and data frames write it: send the id as text, as the log has it"
)
AGAIN = 5.0  # seconds until a store that was away is asked anew
DIGITS = 12  # of an id whose zeros may have been lost
_NUMBER = re.compile(r"([0-9]{1,12})(\.0+)?")


def misspelt(customers: Iterable[Named], knows: Knows) -> set[Named]:
    """Those of the customers of a request who are certainly meant to be somebody else.

    knows: asked only if one of them is a number, and of the ways to write it only if nobody is known by it.
    Empty where it cannot say: no event waits for that.
    """
    try:
        return _misspelt(set(customers), knows)
    except OnlineUnavailable:
        return set()


def _misspelt(sent: set[Named], knows: Knows) -> set[Named]:
    numbers = {who: number for who in sent if (number := _NUMBER.fullmatch(_id(who)))}
    new = numbers.keys() - set(knows(numbers.keys())) if numbers else set()
    others = {who: {_as(who, id) for id in _alike(numbers[who])} - {who} for who in new}
    known = set(knows(set().union(*others.values()))) if others else set()
    # Who is new with this very request is whoever of them is written with all that the others lost.
    known |= {who for who in sent if who not in numbers or numbers[who][2] is None}
    return {
        who
        for who, meant in others.items()
        if any(other in known and (other not in new or _fuller(other, who)) for other in meant)
    }


def _alike(number: re.Match[str]) -> set[str]:
    """The ways to write a number without a fraction: with every number of zeros before it."""
    bare = number[1].lstrip("0") or "0"
    return {bare.rjust(digits, "0") for digits in range(len(bare), DIGITS + 1)} | {number[1]}


def _fuller(one: Named, other: Named) -> bool:
    """Whether an id has zeros that the other lost, or lacks the fraction that it was given."""
    return "." in _id(other) or len(_id(one)) > len(_id(other))


def _id(who: Named) -> str:
    return who if isinstance(who, str) else who.id


def _as(who: Named, id: str) -> Named:
    return id if isinstance(who, str) else Person(who.source, id)


def known_to(settings: Settings, rows: OnlineRows, inbox: Inbox) -> Knows:
    """Who is published, was told of since, or was erased: what is meant for them is not for a new person.

    OnlineUnavailable if the store of rows is away, and for some seconds after, without asking it again.
    """
    again = time.monotonic()

    def knows(customers: Collection[Named]) -> set[Named]:
        ids = [who for who in customers if isinstance(who, str)]
        people = [who for who in customers if not isinstance(who, str)]
        pairs = [(who.source, who.id) for who in people]
        erased, told = Tombstones.of(settings), inbox.people_of(ids)
        nonlocal again
        if time.monotonic() < again:
            raise OnlineUnavailable("the store of rows was away just now")
        known: set[Named] = {*erased.customers(ids), *told}
        known |= {who for who, pair in zip(people, pairs, strict=True) if erased.identities([pair])}
        known |= {who for who, pair in zip(people, pairs, strict=True) if inbox.resolve(*pair)}
        try:
            status = rows.followed(ids)[2].statuses if ids else []
            whose = rows.resolve(pairs) if pairs else []
        except NoBuild:  # nothing is published yet
            return known
        except OnlineUnavailable:
            again = time.monotonic() + AGAIN
            raise
        known |= {id for id, is_ in zip(ids, status, strict=True) if is_ != UNKNOWN}
        return known | {who for who, found in zip(people, whose, strict=True) if found}

    return knows

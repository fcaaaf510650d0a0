"""What a customer said that binds her next decision: consents, open complaints, contacts of other systems.

Her features and published consents say it within a second of an event. A decision does not wait for that: it
reads the customer's own rows of the inbox too, so what came in binds at once, also while the process that
writes fresh rows is slow or down. Until then it fails closed: a withdrawal binds, a grant does not yet.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from features.complaints import OPEN_COMPLAINTS, open_of
from features.compute.builds import Build
from features.errors import NoBuild
from features.inbox import Inbox, Kept
from features.online import COMPLAINED, Consents, Published
from features.settings import Settings
from serving.contacts import LAST
from serving.reservations import Contact

ALL = "all"  # of a consent: every channel
TABLES = ("consents", "cases", "contacts")


class Standing(Struct, frozen=True, kw_only=True):
    """What binds, beside her features. consents: channel, or `all` -> purpose -> granted, as she said.

    open_complaint: one that her features do not know; complaints: how many, in records that are younger than
    the count. received: contacts of other systems that her features
    do not count. contacts, last_contact: of old records, how many there were within the policy's window,
    and the last one.
    """

    consents: dict[str, dict[str, bool]] = {}
    open_complaint: bool = False
    complaints: int = 0
    received: tuple[Contact, ...] = ()
    contacts: int = 0
    last_contact: datetime | None = None


def granted(default: Mapping[str, bool], said: Standing, channel: str, purpose: str) -> bool:
    """Whether a channel may be used for a purpose: as she said, of it or of all; else the default."""
    own = [said.consents.get(c, {}).get(purpose) for c in (channel, ALL)]
    if False in own:
        return False
    return True in own or default.get(channel, False)


def automation(said: Standing) -> bool:
    """Whether a decision may be taken about her without a person: until she withdraws it, on any channel."""
    return not any(purposes.get("automation") is False for purposes in said.consents.values())


def with_complaints(
    rows: Mapping[str, NDArray[np.float64]], said: Sequence[Standing]
) -> Mapping[str, NDArray[np.float64]]:
    """Features by name [n] with the complaints that they do not know of: also where nothing is published of
    any, because the log had none when it was built."""
    if not any(of.complaints for of in said):
        return rows
    more = np.array([of.complaints for of in said], dtype=np.float64)
    known = rows.get(OPEN_COMPLAINTS, np.full(len(said), np.nan))
    return {**rows, OPEN_COMPLAINTS: np.where(more > 0, np.nan_to_num(known) + more, known)}


class Told(NamedTuple):
    """What the inbox has of one customer. overlaid: as the inbox has it."""

    rows: Sequence[Kept]
    overlaid: tuple[str, int]


class Standings:
    """Reads what customers said. One object serves all threads of a process."""

    def __init__(self, settings: Settings) -> None:
        self.inbox = Inbox(settings)
        self._settings = settings
        self._taken: tuple[str, int] = ("", 0)

    def told(self, customer_id: str) -> Told:
        """Ask before her features are read: then what they lack is here, whoever writes meanwhile."""
        rows = self.inbox.rows([customer_id], TABLES)
        return Told(rows, self.inbox.overlaid(customer_id) if rows else ("", 0))

    def told_of(self, customer_ids: Sequence[str]) -> dict[str, Told]:
        """The same of each of them of whom the inbox has anything."""
        by_customer: dict[str, list[Kept]] = {}
        for row in self.inbox.rows(customer_ids, TABLES):
            by_customer.setdefault(row.customer_id, []).append(row)
        return {who: Told(rows, self.inbox.overlaid(who)) for who, rows in by_customer.items()}

    def consented(self, published: Published) -> set[str]:
        """Who said anything of consents since what is published. Ask before that is read: see `told`."""
        return self.inbox.tellers("consents", self._taken_by(published), published.moment)

    def standing(self, told: Told, published: Published, consents: Consents, known_at: datetime) -> Standing:
        """What binds a decision about her. consents: as published and overlaid; known_at: the moment of the
        row that has them."""
        said: dict[str, dict[str, bool]] = {}
        for (channel, purpose), given in sorted(consents.items()):
            if (channel, purpose) == COMPLAINED:
                continue
            said.setdefault(channel, {})[purpose] = given
        new, unseen = self._news(told, published, known_at)
        for channel, purpose in _withdrawn(unseen):
            said.setdefault(channel, {})[purpose] = False

        complaints = self.complaints(told, published, known_at)
        if not any(row.table == "cases" for row in told.rows):  # of a host without her inbox
            complaints += bool(consents.get(COMPLAINED))
        # A publication whose log has no such table knows none of these, overlaid or not.
        counted = LAST in published.features
        contacts = [
            Contact(datetime.fromisoformat(row.body["at"]), row.body["channel"], row.body["action"])
            for row in (unseen if counted else new)
            if row.table == "contacts"
        ]
        return Standing(
            consents=said,
            open_complaint=complaints > 0,
            complaints=complaints,
            received=tuple(contacts),
        )

    def complaints(self, told: Told, published: Published, known_at: datetime) -> int:
        """How many she opened, and did not close, that her row, of that moment, does not know."""
        new, unseen = self._news(told, published, known_at)
        return len(open_of(unseen if OPEN_COMPLAINTS in published.features else new))

    def _news(self, told: Told, published: Published, known_at: datetime) -> tuple[list[Kept], list[Kept]]:
        """Rows that the publication's log does not have, and of these those that her overlay has neither.

        Nor has it what came after its moment: then the store lost the one that was written last.
        """
        taken = self._taken_by(published) if told.rows else 0
        new = [row for row in told.rows if row.number > taken or row.known_at > published.moment]
        last = told.overlaid[1] if told.overlaid[0] == published.key else 0
        return new, [row for row in new if row.number > last or row.known_at > known_at]

    def _taken_by(self, published: Published) -> int:
        """Number of the last event that the log of that publication has."""
        if self._taken[0] != published.id:
            try:
                log = Build.open(self._settings, published.build).log
            except NoBuild:  # its folder is gone: then nothing is certain to be in it
                return 0
            self._taken = (published.id, self.inbox.taken(log))
        return self._taken[1]


def _withdrawn(rows: Sequence[Kept]) -> list[tuple[str, str]]:
    """(channel, purpose) of which the last word is a withdrawal."""
    said = [row.body for row in rows if row.table == "consents"]
    said.sort(key=lambda body: (datetime.fromisoformat(body["at"]), body["status"] == "withdrawn"))
    last = {(body["channel"], body["purpose"]): body["status"] for body in said}
    return [of for of, status in last.items() if status == "withdrawn"]

"""Packed online rows: one value a customer, under the build that it came from.

A snapshot is published whole, read back and verified by count and content, and only then does one pointer
flip. Readers follow the pointer: they see the old rows or the new, never a mixture, and a crash at any point
leaves the old ones readable. The last builds stay, for `rollback`.

Events that came after a build are an overlay row of that publication, which readers merge. A new publication
starts without overlays: its log holds those events. Those that came while it was built are not in it, so
whoever writes overlays follows `current`, and writes again what `overlays` of the former publication names
with a later moment than the new one's. `write_overlay` refuses a publication that is no longer current, so
that an event is never written where nobody reads.

Behind this module stand two stores with the same methods: `sqlite.py`, a file in the home, and `redis.py`.
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import zip_longest
from typing import TYPE_CHECKING

from features.compute.builds import Build
from features.errors import FeatureError, NoBuild, UsageError
from features.files import locked, write_atomically
from features.moments import to_us
from features.online.asked import Asked
from features.online.audience import Audience
from features.online.packed import (
    COMPLAINED,
    EXPIRED,
    MERGED,
    PRESENT,
    UNKNOWN,
    Consents,
    Content,
    Fresh,
    Publication,
    Published,
    Rows,
    Stored,
    digest,
    key_of,
    nothing_published,
    pack,
    unpack,
    without,
)
from features.settings import Settings
from features.tombstones import Tombstones

if TYPE_CHECKING:
    from features.online.redis import RedisStore
    from features.online.sqlite import SqliteStore

__all__ = [
    "COMPLAINED",
    "EXPIRED",
    "KEPT",
    "PRESENT",
    "UNKNOWN",
    "Consents",
    "Fresh",
    "OnlineRows",
    "Publication",
    "Published",
    "Rows",
    "erase",
    "erase_again",
    "nothing_before",
    "overlays",
    "publish",
    "withdrawn",
    "write_overlay",
]

WITHDRAWN = 0  # the turn of what was rolled back
KEPT = 3  # publications that stay: the current one, and two to roll back to


def withdrawn(settings: Settings, build: Build, moment: datetime) -> bool:
    """Whether that snapshot was rolled back from, and nothing has brought it back since."""
    id = Content.id_of(build, moment)
    try:
        kept = _store(settings).publications()
    except NoBuild:  # nothing was ever published
        return False
    return any(p.published.id == id and p.turn == WITHDRAWN for p in kept)


def publish(settings: Settings, build: Build, moment: datetime, again: bool = False) -> str:
    """Make one snapshot the rows that readers see, and return its id; the same again changes nothing.

    again: also if it is withdrawn; a person must say so, for a person withdrew it.
    Raises UsageError for one that is withdrawn, or where another home publishes into that Redis, NoBuild if
    that moment was not built, FeatureError if the snapshot is not what its build declares, or if what was
    read back is not what was written (readers then keep the old rows), and OnlineUnavailable.
    """
    content = Content.of(settings, build, moment)
    sha256 = content.digest()
    with _writing(settings) as store:
        store.claim(_home_of(settings))
        found = {kept.published.id: kept for kept in store.publications()}.get(content.id)
        if found is not None and found.turn is None:  # left by a publish that was interrupted
            store.drop([found.published.number])
            found = None
        if found is not None and found.turn == WITHDRAWN and not again:
            raise UsageError(
                f"{content.id} was rolled back, and stays withdrawn until something newer is built: "
                "`propensity features build --again` publishes it nevertheless"
            )
        if found is not None and found.sha256 != sha256:
            raise FeatureError(
                f"{content.id} was published with other content than {build.path(moment)} has now. The same "
                "build must have the same rows: a correction is a new build (`propensity features build`)"
            )
        if found is not None and not _holds(store, found.published, content):  # damaged since
            store.drop([found.published.number])
            found = None
        if found is None:
            store.write(content, sha256)
            found = next(kept for kept in store.publications() if kept.published.id == content.id)
            if not _holds(store, found.published, content):
                raise FeatureError(
                    f"{store.where}: read back of {content.id}: other than what was written. Readers keep "
                    "the old rows; check the disk or the server, then publish again"
                )
        number = found.published.number
        if store.pointer() != number:
            store.flip(number)
        _prune(store)
    return content.id


def write_overlay(settings: Settings, published: Published, fresh: Mapping[str, Fresh]) -> None:
    """Put customers' fresh rows above their published ones; the next read of any process sees them.

    A row never replaces one of a later moment; a customer whom the build did not know becomes known.
    NoBuild if `published` is no longer current: compute the rows from what is, and write those.
    """
    moments_and_rows = {key_of(id): (to_us(f.moment), pack(published, f)) for id, f in fresh.items()}
    store = _store(settings)
    if not store.write_overlay(published.number, moments_and_rows):
        raise NoBuild(
            f"{published.id} is no longer current in {store.where}: compute fresh rows from what is"
        )


def overlays(settings: Settings, published: Published) -> dict[str, datetime]:
    """Customer -> the moment of her overlay in that publication, current or not; empty once it is pruned."""
    return _store(settings).overlays(published.number)


def erase(settings: Settings, customer_ids: Sequence[str]) -> int:
    """Remove customers from every publication, with overlays, identities and consents.

    Returns how many published rows went: one a publication that knew her. Publishing again what is left of
    a build changes nothing; rollbacks find nobody who was erased.
    """
    with _writing(settings) as store:
        gone = store.erase([key_of(id) for id in customer_ids])
        for kept in store.publications():
            left = _digest(store, kept.published)
            if left != kept.sha256:
                store.record(kept.published.number, left)
    return gone


def erase_again(settings: Settings) -> int:
    """Remove again who was erased and is there: of a store that went back to what it was before. How many."""
    tombstones, store = Tombstones.of(settings), _store(settings)
    if not tombstones:
        return 0
    kept = {key for publication in store.publications() for key in store.keys(publication.published.number)}
    back = tombstones.customers(key.decode("utf-8", "surrogatepass") for key in kept)
    if back:
        erase(settings, sorted(back))
    return len(back)


class OnlineRows:
    """Reads published rows. One object serves all threads and forked workers of a process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = _store(settings)
        self._asked = Asked(settings)
        self._latest: Published | None = None
        self.audience = Audience(self._store)

    @classmethod
    def open(cls, settings: Settings) -> "OnlineRows":
        """Rows of that home. Nothing need be published yet: `current` says so, and follows once it is."""
        return cls(settings)

    def current(self) -> Published:
        """What is published now. NoBuild if nothing is, OnlineUnavailable if the store does not answer."""
        return self._known(self._store.pointer())

    def read(self, published: Published, ids: Sequence[str], as_of: datetime | None = None) -> Rows:
        """Rows of `ids`, in their order and with their duplicates, overlays merged.

        EXPIRED: `as_of` is more than the settings' `expire_after` later than that row was known. NoBuild if
        the publication was pruned meanwhile: ask `current` again; OnlineUnavailable.
        """
        keys = _keys(ids)
        _, stored = self._store.read(published, keys)
        if stored is None:
            raise NoBuild(f"{published.id} is no longer kept in {self._store.where}: read what is current")
        return self._unpacked(published, keys, stored, as_of)

    def latest(self, ids: Sequence[str], as_of: datetime | None = None) -> tuple[Published, Rows]:
        """What is current, and its rows as `read` gives them: in one round trip unless it changed.

        Who is to be erased is UNKNOWN from the moment in which it was asked for.
        """
        keys, published = _keys(ids), self._latest or self.current()
        erasing = self.being_erased()
        while True:
            pointer, stored = self._store.read(published, keys)
            if pointer == published.number and stored is not None:
                if erasing:
                    stored = without(stored, map(key_of, erasing))
                return published, self._unpacked(published, keys, stored, as_of)
            published = self._known(pointer)

    def followed(
        self, ids: Sequence[str], as_of: datetime | None = None
    ) -> tuple[Published, list[str], Rows]:
        """As `latest`, where an id that became another customer's is answered as that customer's.

        Returns the ids that the rows are of, too. It costs nothing but for who is not published.
        """
        published, rows = self.latest(ids, as_of)
        if UNKNOWN not in rows.statuses:
            return published, list(ids), rows
        places = [place for place, status in enumerate(rows.statuses) if status == UNKNOWN]
        owners = self.resolve([(MERGED, ids[place]) for place in places])
        whose = list(ids)
        for place, owner in zip(places, owners, strict=True):
            whose[place] = owner or ids[place]
        if whose != list(ids):
            published, rows = self.latest(whose, as_of)
        return published, whose, rows

    def erasing(self, customer_id: str) -> bool:
        """Whether somebody asked to have the customer erased, and it is not done yet."""
        ids = self.being_erased()
        return bool(ids) and not ids.isdisjoint([customer_id, *self._store.resolve(_merged(customer_id))])

    def being_erased(self) -> frozenset[str]:
        """Every id of whom somebody asked to have erased, until that is done: nobody is told of them."""
        return self._asked.ids(
            lambda pairs: self._store.resolve([(key_of(source), key_of(id)) for source, id in pairs])
        )

    def consents(self, published: Published, customer_id: str) -> Consents:
        """(channel, purpose) -> granted, as known now; what nobody said is absent."""
        return self.read(published, [customer_id]).consents(0)

    def resolve(self, pairs: Sequence[tuple[str, str]]) -> list[str | None]:
        """The customer of each (source, source id), as published now; None where it belongs to nobody.

        NoBuild if nothing is published.
        """
        found = self._store.resolve([(key_of(source), key_of(id)) for source, id in pairs])
        if None in found:
            self.current()
        return found

    def ids(self, published: Published) -> list[str]:
        """Every customer of that publication, ascending; also who came by an overlay."""
        return sorted(key.decode("utf-8", "surrogatepass") for key in self._store.keys(published.number))

    def publications(self) -> list[tuple[Publication, int]]:
        """What is kept and how many overlays each has; the current one first, then as rollback would go."""
        kept = [p for p in self._store.publications() if p.turn is not None]
        now = self._store.pointer()
        kept.sort(key=lambda p: (p.published.number != now, -(p.turn or 0)))
        return [(p, len(self._store.overlays(p.published.number))) for p in kept]

    def rollback(self) -> Published:
        """Flip the pointer to what was current before; what is withdrawn is never rolled back to.

        `publish` brings it back if told so. NoBuild if there is nothing before.
        """
        with _writing(self._settings) as store:
            current, before = self.current(), self.before()
            if before is None:
                raise nothing_before(store.where, current)
            store.flip(before.number, withdrawn=current.number)
        return self.current()

    def epoch(self) -> str:
        """Another once the store started anew, when it may have gone back to what it was before.

        Always the same of one that does not say. NoBuild if nothing was ever published, OnlineUnavailable.
        """
        return self._store.epoch()

    @property
    def where(self) -> str:
        """The store, for messages: never with a password."""
        return self._store.where

    def before(self) -> Published | None:
        """What a rollback would go to."""
        now = self._store.pointer()
        turns = [(p.turn, p.published) for p in self._store.publications() if p.turn]
        turns = [(turn, published) for turn, published in turns if published.number != now]
        return max(turns, key=lambda of: of[0])[1] if turns else None

    def _known(self, number: int | None) -> Published:
        """The publication of that number, which was current a moment ago."""
        while number is not None:
            latest = self._latest
            if latest is not None and latest.number == number:
                return latest
            found = {kept.published.number: kept.published for kept in self._store.publications()}
            if number in found:
                self._latest = found[number]
            else:  # flipped and pruned meanwhile
                number = self._store.pointer()
        raise nothing_published(self._store.where)

    def _unpacked(
        self, published: Published, keys: Sequence[bytes], stored: Stored, as_of: datetime | None
    ) -> Rows:
        oldest = None if as_of is None else as_of - self._settings.expire_after
        return unpack(published, keys, stored, oldest, self._store.where)


def nothing_before(where: str, current: Published) -> NoBuild:
    """The error of a rollback without anywhere to go."""
    return NoBuild(
        f"{where} holds nothing from before {current.id} to roll back to: "
        "publish another snapshot (`propensity features build`)"
    )


def _merged(customer_id: str) -> list[tuple[bytes, bytes]]:
    return [(key_of(MERGED), key_of(customer_id))]


def _keys(ids: Sequence[str]) -> list[bytes]:
    try:
        return [key_of(id) for id in ids]
    except AttributeError:
        place = next(place for place, id in enumerate(ids) if not isinstance(id, str))
        raise UsageError(f"customer ids are text, and compared exactly; number {place} is not text") from None


def _store(settings: Settings) -> "SqliteStore | RedisStore":
    if settings.online == "sqlite":
        from features.online.sqlite import SqliteStore

        return SqliteStore(settings.home / "online" / "rows.sqlite")
    from features.online.redis import store_of

    return store_of(settings.online, settings.online_timeout)


@contextmanager
def _writing(settings: Settings) -> "Iterator[SqliteStore | RedisStore]":
    """The store, for the one process of this home that publishes; the lock dies with its holder."""
    with locked(settings.home / "online" / "publish.lock"):
        store = _store(settings)
        store.prepare()
        yield store


def _home_of(settings: Settings) -> str:
    """The id of this home, made when it first publishes; a backup has it, so who restores one goes on."""
    path = settings.home / "online" / "HOME"
    if not path.exists():
        write_atomically(path, secrets.token_hex(16).encode())
    return path.read_text("ascii")


def _digest(store: "SqliteStore | RedisStore", of: Published) -> str:
    """Of what is in the store."""
    return digest(of.id, of.features, store.chunks(of.number), store.identities(of.number))


def _holds(store: "SqliteStore | RedisStore", of: Published, content: Content) -> bool:
    """Whether a publication reads back as what it was meant to be."""
    pairs = zip_longest(store.chunks(of.number), content.chunks())
    same = all(stored == meant for stored, meant in pairs)
    return same and store.identities(of.number) == content.identities


def _prune(store: "SqliteStore | RedisStore") -> None:
    """Keep the last publications by turn; withdrawn ones go first, and unverified ones always."""
    kept = store.publications()
    verified = sorted((p for p in kept if p.turn is not None), key=lambda p: p.turn or 0, reverse=True)
    stay = {p.published.number for p in verified[:KEPT]}
    store.drop([p.published.number for p in kept if p.published.number not in stay])

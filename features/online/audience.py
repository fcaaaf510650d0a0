"""What everyone who is published says of consents: asked before a message to all is sent."""

from collections import Counter
from collections.abc import Collection
from typing import TYPE_CHECKING

from features.errors import NoBuild, OnlineUnavailable
from features.online.packed import PACKED, Consents, Published, consents_of, key_of

if TYPE_CHECKING:
    from features.online.redis import RedisStore
    from features.online.sqlite import SqliteStore


class Audience:
    """Of a store. Serves all threads of a process."""

    def __init__(self, store: "SqliteStore | RedisStore") -> None:
        self._store = store
        self._said: tuple[tuple[int, str], Counter[bytes]] | None = None  # of which content of a publication

    def said(self, published: Published, but: Collection[str] = ()) -> list[tuple[Consents, int]]:
        """The different consents of everyone published but some, overlays apart, and how many have them.

        They are counted once a publication, and again if somebody was erased from it. NoBuild if it was
        pruned meanwhile.
        """
        kept = {p.published.number: p for p in self._store.publications()}.get(published.number)
        if kept is None:
            raise NoBuild(f"{published.id} is no longer kept in {self._store.where}: read what is current")
        width, of, known = (
            len(published.features) * PACKED.itemsize,
            (published.number, kept.sha256),
            self._said,
        )
        if known is None or known[0] != of:
            known = self._said = of, self._store.said(published.number, width)
        if known[1].total() != kept.published.rows:
            raise OnlineUnavailable(
                f"{self._store.where} has {known[1].total():,} of the {kept.published.rows:,} rows of "
                f"{published.id}: ask again; if that does not help, run `propensity features build`"
            )
        left = Counter(known[1])
        left.subtract(self._store.said(published.number, width, [key_of(id) for id in but]))
        return [(consents_of(text), count) for text, count in left.items() if count > 0]

    def saying(self, published: Published) -> set[str]:
        """Whose overlays of that publication say anything of consents."""
        width = len(published.features) * PACKED.itemsize
        found = self._store.saying(published.number, width)
        return {key.decode("utf-8", "surrogatepass") for key in found}

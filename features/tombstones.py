"""Who was erased, without saying who: keyed hashes of every id that she had.

    erased/<list>.json    a random key, and the hashes made with it. A home makes one list; a restore may
                          bring another, for a hash cannot be made again with another key.

Ingestion, builds and publishing obey the lists: what belongs to a hash is not taken in, built or published.
"""

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from features.errors import LogError
from features.files import write_atomically
from features.settings import Settings


@dataclass(frozen=True)
class Tombstones:
    """All lists of a home: key (hex) -> hashes (hex)."""

    folder: Path
    lists: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, settings: Settings) -> "Tombstones":
        """As they are now; empty if nobody was erased."""
        return cls.read(settings.home / "erased")

    @classmethod
    def read(cls, folder: Path) -> "Tombstones":
        """The lists in a folder. LogError if one is damaged: who was erased would come back."""
        lists = {}
        for path in sorted(folder.glob("*.json")):
            try:
                raw = json.loads(path.read_text("utf-8"))
                _hash(raw["key"], "customer", "")
                lists[raw["key"]] = frozenset(map(str, raw["hashes"]))
            except (ValueError, LookupError, TypeError, RecursionError) as error:
                raise LogError(
                    f"{path} is damaged ({type(error).__name__}): without it who was erased would come back. "
                    "Put it back from a backup"
                ) from None
        return cls(folder, lists)

    @property
    def digest(self) -> str:
        """Names this state of the lists; empty if nobody was erased."""
        if not self:
            return ""
        text = json.dumps([[key, sorted(hashes)] for key, hashes in sorted(self.lists.items())])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def __bool__(self) -> bool:
        return any(self.lists.values())

    def customers(self, ids: Iterable[str]) -> set[str]:
        """Those of the customer ids that were erased."""
        return {id for id in ids if self._has("customer", id)} if self else set()

    def identities(self, pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """Those of the (source, source id) that were erased."""
        return {pair for pair in pairs if self._has("source", *pair)} if self else set()

    def having(self, ids: Iterable[str], pairs: Iterable[tuple[str, str]] = ()) -> "Tombstones":
        """These, and those of a person's ids; not written down yet."""
        key = next(iter(sorted(self.lists)), None) or secrets.token_hex(32)
        hashes = {_hash(key, "customer", id) for id in ids} | {_hash(key, "source", *pair) for pair in pairs}
        return self.union({key: frozenset(hashes)})

    def union(self, lists: Mapping[str, frozenset[str]]) -> "Tombstones":
        """These and other lists; not written down yet."""
        empty: frozenset[str] = frozenset()
        keys = {*self.lists, *lists}
        return Tombstones(self.folder, {k: self.lists.get(k, empty) | lists.get(k, empty) for k in keys})

    def write(self) -> None:
        """Write them down; a crash leaves each list as it was or as it is to be."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for key, hashes in self.lists.items():
            name = hashlib.sha256(key.encode()).hexdigest()[:12]
            text = json.dumps({"key": key, "hashes": sorted(hashes)}, indent=0)
            write_atomically(self.folder / f"{name}.json", text.encode(), mode=0o600)

    def _has(self, *what: str) -> bool:
        return any(_hash(key, *what) in hashes for key, hashes in self.lists.items())


def _hash(key: str, *what: str) -> str:
    """Lengths too, so that no two ids read alike."""
    text = json.dumps(what).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, key=bytes.fromhex(key), digest_size=16).hexdigest()

"""What the store of releases says is in force, and this host could not take: as `mirror` found it last.

A file of the home, so that every process which answers from the home knows it, also once started again.
"""

import os
from collections.abc import Mapping
from contextlib import suppress

import msgspec

from features.errors import ReleaseCorrupt
from features.files import NO_JSON, write_atomically
from features.settings import Settings

FILE = "unfollowed.json"


class Unfollowed(msgspec.Struct, frozen=True):
    """A model whose version in force in the store is not here. target: whether it is a target's.

    version: None if the store does not say which. why: to a caller; it names no place.
    """

    version: str | None
    target: bool
    why: str

    @property
    def error(self) -> ReleaseCorrupt:
        """As whoever asks for that model gets it."""
        return ReleaseCorrupt(self.why)


def write(settings: Settings, found: Mapping[str, Unfollowed]) -> None:
    """Keep what was found, in place of what was; nothing is written while that is the same."""
    path, text = settings.home / FILE, msgspec.json.encode(found, order="deterministic")
    with suppress(FileNotFoundError):
        if not found:
            path.unlink()
        elif path.read_bytes() == text:
            return
    if found:
        write_atomically(path, text)


class Followed:
    """Reads it again once it is another file. Empty where no store is followed."""

    def __init__(self, settings: Settings) -> None:
        self._path = None if settings.releases is None else str(settings.home / FILE)
        self._seen: tuple[int, int] | None = None
        self._found: dict[str, Unfollowed] = {}

    def read(self) -> Mapping[str, Unfollowed]:
        """Model -> what of it could not be taken."""
        if self._path is None:
            return self._found
        try:
            stat = os.stat(self._path)  # noqa: PTH116
            seen = (stat.st_ino, stat.st_mtime_ns)  # a replaced file differs in one of them
            if seen != self._seen:
                with open(self._path, "rb") as file:  # noqa: PTH123
                    self._found = msgspec.json.decode(file.read(), type=dict[str, Unfollowed])
                self._seen = seen
        except (OSError, *NO_JSON):  # none, or a damaged one: the next look at the store makes it anew
            self._seen, self._found = None, {}
        return self._found

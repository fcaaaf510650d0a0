"""The versions in force, followed without a restart by who answers; a broken one never serves."""

import logging
import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from features.errors import PropensityError, ReleaseCorrupt
from features.settings import Settings
from serving import kinds
from serving.intact import SETTLED_NS, Intact, Look, look_of
from serving.models import Model
from serving.releases import Release, current, folder_of, folders_of, load, names, pointer_of
from serving.unfollowed import Followed, Unfollowed

_log = logging.getLogger("propensity.releases")
AT_ONCE = 0.001  # seconds: one request asks for a release several times, and looks at its pointer once


class Releases:
    """Follows the versions in force. `errors`: name -> why its newest version is not the one that serves.

    Safe to use from several threads. The two last versions of a model stay in memory, so that a rollback is
    at once. A new version is loaded by the call that sees it first; meanwhile others get the old one.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._followed: dict[str, _Followed] = {}
        self._pointers: dict[str, str] = {}  # paths take longer to put together than to look at
        self._folder = str(settings.home / "releases")
        self._listed: tuple[int, list[str]] | None = None  # when the folder was changed, and what it holds
        self._store, self._intact = Followed(settings), Intact()
        self._lock = threading.Lock()

    @property
    def errors(self) -> dict[str, PropensityError]:
        """A copy; empty when all is well."""
        followed = tuple(self._followed.items())
        of_store = {name: one.error for name, one in self.unfollowed().items()}
        return of_store | {name: f.error for name, f in followed if f.error is not None}

    def unfollowed(self) -> Mapping[str, Unfollowed]:
        """What the store of releases says is in force, and could not be taken from there."""
        return self._store.read()

    def damage(self, name: str) -> ReleaseCorrupt | None:
        """Why the files of the release that serves, from memory, are not what was loaded: it would not load
        again. None if they are, or if nothing serves.

        For one thread at a time; no score waits for it.
        """
        followed = self._followed.get(name)
        if followed is None or not followed.releases:
            return None
        version = followed.releases[0].version
        found = self._intact.damage(folder_of(self._settings, name, version))
        if found is not None and str(found) != str(followed.damage):
            _log.error("release %s %s stays in force here, from memory: %s", name, version, found)
        followed.damage = found
        return found

    def get(self, name: str) -> Release:
        """The release in force; if that is broken, the one before it. ReleaseError if there is none."""
        found = self.find(name)
        if found is None:
            current(self._settings, name)  # says what is missing
            return self.get(name)  # released this moment
        return found

    def find(self, name: str) -> Release | None:
        """As `get`; None if no version was ever released, here or in the store of releases."""
        pointer = self._pointers.get(name)
        if pointer is None:
            pointer = self._pointers[name] = str(pointer_of(self._settings, name))
        followed, now = self._followed.get(name), time.monotonic()
        if followed is not None and followed.releases and now - followed.looked < AT_ONCE:
            return followed.releases[0]
        try:
            stat = os.stat(pointer)  # noqa: PTH116
            seen = (stat.st_ino, stat.st_mtime_ns)  # a replaced file differs in one of them
        except (FileNotFoundError, NotADirectoryError):
            if name in (lost := self.unfollowed()):
                raise lost[name].error from None
            return None
        except OSError as error:  # as a damaged one, until it can be looked at
            seen = (0, error.errno or 0)
        if followed is None:
            with self._lock:
                followed = self._followed.setdefault(name, _Followed())
        if followed.differs(seen) and followed.lock.acquire(blocking=not followed.releases):
            try:
                if followed.differs(seen):
                    self._follow(name, followed)
                    followed.seen = seen
            finally:
                followed.lock.release()
        followed.looked = now
        if followed.releases:
            return followed.releases[0]
        assert followed.error is not None
        raise type(followed.error)(str(followed.error))

    def targets(self) -> list[str]:
        """Names of the models in force that give a target's probability, also of those that are broken."""
        here, store = self._names(), self.unfollowed()
        found = [name for name in here if self._is_of_target(name)]
        lost = [name for name, one in store.items() if one.target and name not in here] if store else []
        return sorted(found + lost) if lost else found

    def names(self) -> list[str]:
        """Models with a version in force, here or in the store of releases, sorted."""
        try:
            here = names(self._settings)
        except OSError as error:
            here = self._remembered(error)
        return sorted({*here, *self.unfollowed()})

    def _names(self) -> list[str]:
        """As `names`, without reading the folder again while it cannot have changed."""
        try:
            changed = os.stat(self._folder).st_mtime_ns  # noqa: PTH116
            if self._listed is not None and self._listed[0] == changed:
                return self._listed[1]
            folders = folders_of(self._settings)
        except FileNotFoundError:
            return []
        except OSError as error:
            return self._remembered(error)
        found = [name for name, is_in_force in folders.items() if is_in_force]
        # What is younger may change again without a later time; and a new model gets its version a bit later.
        settled = time.time_ns() - changed > SETTLED_NS and len(found) == len(folders)
        self._listed = (changed, found) if settled else None
        return found

    def _remembered(self, error: OSError) -> list[str]:
        """As `names`, where the folder cannot be listed: what is in memory goes on."""
        known = sorted(name for name, followed in tuple(self._followed.items()) if followed.releases)
        if not known:
            said = f"{self._folder} cannot be listed ({error.strerror})"
            raise ReleaseCorrupt(f"{said}: let the user who runs this read it, or look at its disk") from None
        return known

    def _is_of_target(self, name: str) -> bool:
        try:
            return isinstance(self.get(name).model, Model)
        except PropensityError:  # nothing of it loads; its card may still say what it is
            with suppress(PropensityError):
                said = kinds.said(folder_of(self._settings, name, current(self._settings, name)))
                copied = said.name not in ("", name)  # put there by somebody: no journey asks for it
                return said.kind not in kinds.OF_NO_TARGET and not copied
            return name not in kinds.OF_NO_TARGET

    def _follow(self, name: str, followed: "_Followed") -> None:
        followed.refused = None
        try:
            version = current(self._settings, name)
            folder = folder_of(self._settings, name, version)
            followed.refused = folder, look_of(folder)
            known = [release for release in followed.releases if release.version == version]
            release = known[0] if known else load(self._settings, name)
        except PropensityError as error:
            followed.error = error
            serving = followed.releases[0].version if followed.releases else "nothing"
            _log.error("release of %s refused, %s stays in force here: %s", name, serving, error)
            return
        others = [other for other in followed.releases if other.version != release.version]
        followed.releases, followed.error, followed.refused = (release, *others[:1]), None, None


class _Followed:
    """What is known of one name: the release that serves first, then the one before it."""

    def __init__(self) -> None:
        self.seen: tuple[int, int] | None = None
        self.looked = -AT_ONCE
        self.releases: tuple[Release, ...] = ()
        self.error: PropensityError | None = None
        self.refused: tuple[Path, Look] | None = None  # the folder that did not load, as it was before
        self.damage: ReleaseCorrupt | None = None  # as it was found last
        self.lock = threading.Lock()

    def differs(self, seen: tuple[int, int]) -> bool:
        """Whether it has to be loaded: another pointer, or refused files that may have been put right."""
        refused = self.refused  # another thread may load it meanwhile
        return self.seen != seen or (refused is not None and look_of(refused[0]) != refused[1])

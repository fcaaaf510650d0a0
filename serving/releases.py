"""Released models: published whole or not at all, loaded verified, followed without a restart.

releases/<name>/<version>/   a model's folder (models.py), never changed
releases/<name>/CURRENT      the version in force, replaced at once
releases/<name>/HISTORY      a line for each version that came into force: since when, and which
"""

import logging
import os
import re
import shutil
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from features.errors import PropensityError, ReleaseCorrupt, ReleaseError, UsageError
from features.files import new_folder, read_pointer, write_atomically
from features.moments import iso, parse_moment
from features.settings import Settings
from serving import audit, folders, kinds
from serving.kinds import Loaded
from serving.models import Model
from serving.unfollowed import Followed, Unfollowed

Places = np.ndarray[tuple[int], np.dtype[np.intp]]
_log = logging.getLogger("propensity.releases")
AT_ONCE = 0.001  # seconds: one request asks for a release several times, and looks at its pointer once
SETTLED_NS = 1_000_000_000
SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Release:
    """A released version of a model. repaired: its files were damaged, and publishing it replaced them.
    pushed: it was in force already, and lacked in the store of releases, or was another there.

    fitted: what it was asked about last, features by name -> hash, and where in their rows its own are.
    """

    name: str
    version: str
    model: Loaded
    repaired: bool = False
    pushed: bool = False
    fitted: list[tuple[Mapping[str, str], Places]] = field(default_factory=list, repr=False, compare=False)

    @property
    def classifier(self) -> Model:
        """The model, if it gives the probability of a target; ReleaseError of any other kind."""
        if not isinstance(self.model, Model):
            raise ReleaseError(f"release {self.name} {self.version} gives no probability: it is no target's")
        return self.model


def publish(settings: Settings, folder: Path, name: str, version: str, by: str = audit.HERE) -> Release:
    """Copy a model's folder in, verify it there, and make it the version in force.

    Publishing the same content again changes nothing but the version in force, so this also rolls back; if
    the release was damaged since, it is replaced, and says so. by: who does it, for the audit.
    ReleaseCorrupt if it does not load or is another model than it is published as; ReleaseError if that
    version exists with other content.
    """
    target, repaired = _folder(settings, name, version), False
    _open(folder, name, version)  # before anything gives way to it
    if not target.exists():
        _put(folder, target, name, version)
    elif not _same(folder, target):
        raise ReleaseError(
            f"{name} {version} is released with other content: a release never changes, publish a new one"
        )
    elif repaired := damaged(settings, name, version):
        _log.warning("release %s %s was damaged, and is replaced from %s", name, version, folder)
        _put(folder, target, name, version)
    release = replace(load(settings, name, version), repaired=repaired)
    changes = [one.version for one in history(settings, name)][-1:] != [version]
    if changes:
        audit.record(settings, by, f"release {name} {version}")
    write_atomically(target.parent / "CURRENT", version.encode())
    if changes:
        with (target.parent / "HISTORY").open("a", encoding="utf-8") as file:
            file.write(f"{iso(settings.now())} {version}\n")
    return release


class InForce(NamedTuple):
    """A version, and since when it was the one in force, as the home's clock had it."""

    since: datetime
    version: str


def history(settings: Settings, name: str) -> tuple[InForce, ...]:
    """Every change of the version in force, oldest first; empty of what was published before it was kept.

    A line that a crash cut off, or that is damaged, is left out.
    """
    try:
        text = (_pointer(settings, name).parent / "HISTORY").read_text("utf-8", "replace")
    except FileNotFoundError:
        return ()
    found = list[InForce]()
    for line in text.splitlines():
        since, _, version = line.partition(" ")
        with suppress(UsageError):
            if SEGMENT.fullmatch(version):
                found.append(InForce(parse_moment(since), version))
    return tuple(found)


def in_force(settings: Settings, name: str, moment: datetime) -> str | None:
    """The version that was in force at a moment; None before the first that is on record."""
    then = [one.version for one in history(settings, name) if one.since <= moment]
    return then[-1] if then else None


def _same(folder: Path, target: Path) -> bool:
    """Whether a release is that model, or was before it was damaged: by its sums, or by all but them."""

    def same(path: Path) -> bool:
        other = target / path.name
        return other.is_file() and other.read_bytes() == path.read_bytes()

    sums = folder / folders.SUMS
    return same(sums) or all(same(path) for path in folder.iterdir() if path != sums)


def _put(folder: Path, target: Path, name: str, version: str) -> None:
    """Copy and verify; only then does what was there give way. A crash leaves the one, the other or none."""
    aside = target.with_name(f".{version}.damaged")
    with new_folder(target) as scratch:
        for path in folder.iterdir():
            shutil.copyfile(path, scratch / path.name)
        _open(scratch, name, version)
        shutil.rmtree(aside, ignore_errors=True)  # of a crash
        if target.exists():
            target.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def load(settings: Settings, name: str, version: str | None = None) -> Release:
    """That version, or the one in force, verified. ReleaseError if absent, ReleaseCorrupt if changed."""
    named, version = version is None, version or current(settings, name)
    folder = _folder(settings, name, version)
    if not folder.is_dir() and named:
        raise ReleaseCorrupt(
            f"{folder.with_name('CURRENT')} names {version}, which is not there: promote {name} again"
        )
    if not folder.is_dir():
        raise ReleaseError(f"{name} {version} is not released in {folder.parent}: promote it first")
    return _open(folder, name, version)


def damaged(settings: Settings, name: str, version: str) -> bool:
    """Whether a version that was released does not load as it was. False of one that never was."""
    folder = _folder(settings, name, version)
    try:
        if folder.exists():
            _open(folder, name, version)
    except ReleaseError:
        return True
    return False


def current(settings: Settings, name: str) -> str:
    """The version in force. ReleaseError if the model was never released, ReleaseCorrupt if none is named."""
    pointer = _pointer(settings, name)
    try:
        version = read_pointer(pointer)
    except OSError as error:
        raise ReleaseCorrupt(f"{pointer} cannot be read ({error.strerror}): promote {name} again") from None
    if version is not None and not SEGMENT.fullmatch(version):
        raise ReleaseCorrupt(f"{pointer} is damaged: it names no version. Promote {name} again")
    if version is None:
        then = "" if name in kinds.STATED else f" and `propensity promote {name}`"
        raise ReleaseError(
            f"no version of {name} is released in {settings.home / 'releases'}: "
            f"run `{kinds.made_by(name)}`{then}"
        )
    return version


def serves(settings: Settings, name: str, version: str) -> bool:
    """Whether that version is the one in force."""
    try:
        return current(settings, name) == version
    except ReleaseError:
        return False


def names(settings: Settings) -> list[str]:
    """Models with a version in force, sorted."""
    return [name for name, is_in_force in _folders(settings).items() if is_in_force]


def _folders(settings: Settings) -> dict[str, bool]:
    """Each model's folder, sorted -> whether a version of it is in force."""
    try:
        with os.scandir(settings.home / "releases") as found:
            entries = sorted((entry.name, entry.path) for entry in found)
    except FileNotFoundError:
        return {}
    return {name: os.path.exists(f"{path}/CURRENT") for name, path in entries}  # noqa: PTH110


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
        self._store = Followed(settings)
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

        They are read again only once they look otherwise. For one thread at a time; no score waits for it.
        """
        followed = self._followed.get(name)
        if followed is None or not followed.releases:
            return None
        version = followed.releases[0].version
        folder = _folder(self._settings, name, version)
        files = _look_of(folder)
        if followed.files != (version, files):
            found = _changed(folder)
            if found is not None and str(found) != str(followed.damage):
                _log.error("release %s %s stays in force here, from memory: %s", name, version, found)
            newest = max((changed for _, _, _, *times in files for changed in times), default=0)
            settled = time.time_ns() - newest > SETTLED_NS  # what is younger may change and look the same
            followed.files, followed.damage = (version, files) if settled else None, found
        return followed.damage

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
            pointer = self._pointers[name] = str(_pointer(self._settings, name))
        followed, now = self._followed.get(name), time.monotonic()
        if followed is not None and followed.releases and now - followed.looked < AT_ONCE:
            return followed.releases[0]
        try:
            stat = os.stat(pointer)  # noqa: PTH116
        except FileNotFoundError:
            if name in (lost := self.unfollowed()):
                raise lost[name].error from None
            return None
        seen = (stat.st_ino, stat.st_mtime_ns)  # a replaced file differs in one of them
        if followed is None:
            with self._lock:
                followed = self._followed.setdefault(name, _Followed())
        if followed.seen != seen and followed.lock.acquire(blocking=not followed.releases):
            try:
                if followed.seen != seen:
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
        return sorted({*names(self._settings), *self.unfollowed()})

    def _names(self) -> list[str]:
        """As `names`, without reading the folder again while it cannot have changed."""
        try:
            changed = os.stat(self._folder).st_mtime_ns  # noqa: PTH116
        except FileNotFoundError:
            return []
        if self._listed is not None and self._listed[0] == changed:
            return self._listed[1]
        folders = _folders(self._settings)
        found = [name for name, is_in_force in folders.items() if is_in_force]
        # What is younger may change again without a later time; and a new model gets its version a bit later.
        settled = time.time_ns() - changed > SETTLED_NS and len(found) == len(folders)
        self._listed = (changed, found) if settled else None
        return found

    def _is_of_target(self, name: str) -> bool:
        try:
            return isinstance(self.get(name).model, Model)
        except PropensityError:  # nothing of it loads; its card may still say what it is
            with suppress(PropensityError):
                said = kinds.said(_folder(self._settings, name, current(self._settings, name)))
                copied = said.name not in ("", name)  # put there by somebody: no journey asks for it
                return said.kind not in kinds.OF_NO_TARGET and not copied
            return True

    def _follow(self, name: str, followed: "_Followed") -> None:
        try:
            version = current(self._settings, name)
            known = [release for release in followed.releases if release.version == version]
            release = known[0] if known else load(self._settings, name)
        except PropensityError as error:
            followed.error = error
            serving = followed.releases[0].version if followed.releases else "nothing"
            _log.error("release of %s refused, %s stays in force here: %s", name, serving, error)
            return
        others = [other for other in followed.releases if other.version != release.version]
        followed.releases, followed.error = (release, *others[:1]), None


class _Followed:
    """What is known of one name: the release that serves first, then the one before it."""

    def __init__(self) -> None:
        self.seen: tuple[int, int] | None = None
        self.looked = -AT_ONCE
        self.releases: tuple[Release, ...] = ()
        self.error: PropensityError | None = None
        self.files: tuple[str, _Look] | None = None  # of which version, as `damage` saw them last
        self.damage: ReleaseCorrupt | None = None
        self.lock = threading.Lock()


_Look = tuple[tuple[str, int, int, int, int], ...]


def _look_of(folder: Path) -> _Look:
    """Of each file what changes with what it holds: name, size, which it is, and when it was changed."""
    try:
        with os.scandir(folder) as found:
            stats = sorted((entry.name, entry.stat()) for entry in found)
    except OSError:  # gone, all or one of them: whoever reads them says so
        return ()
    return tuple((name, of.st_size, of.st_ino, of.st_mtime_ns, of.st_ctime_ns) for name, of in stats)


def _changed(folder: Path) -> ReleaseCorrupt | None:
    """Why a folder is not what was signed, if it is not."""
    try:
        folders.verify(folder)
    except ReleaseCorrupt as error:
        return error
    except (OSError, ValueError) as error:  # no sums, or none that can be read
        told = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
        return ReleaseCorrupt(f"{folder} cannot be read: {told}. Promote the version again")
    return None


def _open(folder: Path, name: str, version: str) -> Release:
    model = kinds.load(folder)
    if (model.card.name, model.card.version) != (name, version):
        raise ReleaseCorrupt(
            f"{folder} holds {model.card.name} {model.card.version} by its card, not {name} {version}: "
            "publish a model under the name and version it was saved with"
        )
    return Release(name, version, model)


def _folder(settings: Settings, name: str, version: str) -> Path:
    if not SEGMENT.fullmatch(version):
        raise UsageError(f"{version!r} is not a version: expected letters, digits, '.', '_' and '-'")
    return _pointer(settings, name).with_name(version)


def _pointer(settings: Settings, name: str) -> Path:
    if not SEGMENT.fullmatch(name):
        raise UsageError(f"{name!r} is not a model's name: expected letters, digits, '.', '_' and '-'")
    return settings.home / "releases" / name / "CURRENT"

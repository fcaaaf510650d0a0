"""Releases in an object store (`PROPENSITY_RELEASES`), for services on machines that share no disk.

    URL/<name>/<version>/...  a model's folder, its SHA256SUMS last; never changed
    URL/<name>/CURRENT        the version in force, replaced after that

Whoever promotes writes there, too. A service that is told of the store fetches what its own home lacks, or
has in force and damaged, verifies it as any release, and follows within EVERY seconds. What cannot be
fetched, or is not what was signed, changes nothing: the service goes on with what it has, its log says why,
and so do its probe, metrics and scores (`unfollowed`). URL is of any store that fsspec knows: a folder,
s3://, gs://, abfs:// ..., each by a package of its own, with credentials of its own.
"""

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from features.errors import PropensityError, ReleaseError
from features.settings import Settings
from serving import kinds, releases, unfollowed
from serving.folders import SUMS
from serving.intact import Intact
from serving.raised import frames
from serving.unfollowed import Unfollowed

EVERY = 5.0  # seconds between two looks: one listing and a few bytes a model
PATIENCE = 10.0  # seconds that a start waits for the first

report = logging.getLogger("propensity.service")


def push(settings: Settings, name: str, version: str) -> bool:
    """Put the version in force there, too, whatever of it is not there as it is here; whether anything was.

    Nothing without a store. ReleaseError if it cannot be written, or has that version with other sums.
    """
    return _push(settings, name, version, lacks=False)


def lacks(settings: Settings, name: str, version: str) -> bool:
    """Whether `push` would put anything there. ReleaseError as it."""
    return _push(settings, name, version, lacks=True)


def _push(settings: Settings, name: str, version: str, lacks: bool) -> bool:
    if settings.releases is None:
        return False
    folder = settings.home / "releases" / name / version
    try:
        with _asking():
            files, root = _store(settings.releases)
            files.invalidate_cache()
            target, pointer = f"{root}/{name}/{version}", f"{root}/{name}/CURRENT"
            wrong, strange = _differences(files, target, folder)
            current = files.cat_file(pointer) if files.exists(pointer) else None
            differs = bool(wrong or strange or current != version.encode())
            if lacks or not differs:
                return differs
            files.makedirs(target, exist_ok=True)
            for path in wrong:
                files.put_file(str(path), f"{target}/{path.name}")
            for stray in strange:
                files.rm_file(stray)
            with files.transaction, files.open(pointer, "wb") as file:
                file.write(version.encode())
    except Away as error:
        raise ReleaseError(
            f"{name} {version} is in force in {settings.home}, but not in PROPENSITY_RELEASES "
            f"({error}): promote it again once that can be written"
        ) from error
    return True


class Away(PropensityError):
    """The store did not do what it was asked: why, without its address."""


@contextmanager
def _asking() -> Iterator[None]:
    """Asking the store and nothing else: each kind of store has errors of its own, which become Away."""
    try:
        yield
    except PropensityError:
        raise
    except Exception as error:
        raise Away(_why(error)) from error


def _differences(files: Any, target: str, folder: Path) -> tuple[list[Path], list[str]]:
    """The files that are not there as they are here, the sums last, without which nothing is fetched; and
    what is there and not of this release. ReleaseError if it is another release, by its sums."""
    paths = sorted(folder.iterdir(), key=lambda path: path.name == SUMS)
    if not files.exists(f"{target}/{SUMS}"):
        return paths, []
    if files.cat_file(f"{target}/{SUMS}") != (folder / SUMS).read_bytes():
        raise ReleaseError(
            f"{folder.parent.name} {folder.name} is in PROPENSITY_RELEASES with other content: another "
            "registry writes there, too. Give each its own place"
        )
    there = {
        PurePosixPath(found["name"]).name: found["name"]
        for found in files.ls(target, detail=True)
        if found["type"] == "file" and not found["name"].endswith("/")  # a store may list the folder itself
    }
    wrong = [
        path
        for path in paths
        if path.name not in there or files.cat_file(there[path.name]) != path.read_bytes()
    ]
    return wrong, [there[name] for name in sorted(there.keys() - {path.name for path in paths})]


class Looked(NamedTuple):
    """What a look at the store found. there: whether there is such a store."""

    changed: list[str]
    refused: Mapping[str, Unfollowed]
    there: bool


def pull(settings: Settings) -> list[str]:
    """Make what is in force there so in this home; the names that changed. ReleaseError for the first that
    could not, after all others were."""
    looked = look(settings)
    for refused in looked.refused.values():
        raise ReleaseError(refused.why)
    return looked.changed


def look(settings: Settings, intact: Intact | None = None) -> Looked:
    """As `pull`, with every name that could not be made so, which the home keeps for who answers from it.

    What is in force here and was damaged since is fetched anew. intact: of who looks again and again. Away if
    the store cannot be listed."""
    assert settings.releases is not None
    intact = intact or Intact()
    changed, refused = [], dict[str, Unfollowed]()
    with _asking():
        files, root = _store(settings.releases)
        files.invalidate_cache()
        pointers = sorted(files.glob(f"{root}/*/CURRENT"))
        there = bool(pointers) or files.exists(root)
    for pointer in pointers:
        name = PurePosixPath(pointer).parent.name
        if not releases.SEGMENT.fullmatch(name):
            continue
        found = _take(settings, files, root, name, intact)
        if isinstance(found, Unfollowed):
            refused[name] = found
        elif found:
            changed.append(name)
    if there:
        unfollowed.write(settings, refused)
    return Looked(changed, refused, there)


def _take(settings: Settings, files: Any, root: str, name: str, intact: Intact) -> bool | Unfollowed:
    """Whether another version came into force here, or the same anew; or which could not, and why."""
    version, scratch, card = None, "", kinds.Said()
    try:
        with _asking():
            said = files.cat_file(f"{root}/{name}/CURRENT").decode("utf-8", "replace").strip()
        version = said if releases.SEGMENT.fullmatch(said) else None
        if version is None:
            raise ReleaseError("its CURRENT names no version")
        folder = releases.folder_of(settings, name, version)
        if releases.serves(settings, name, version) and intact.damage(folder) is None:
            return False
        with TemporaryDirectory(prefix=".fetching-", dir=_made(settings.home)) as scratch:
            try:
                with _asking():
                    for path in files.ls(f"{root}/{name}/{version}", detail=False):
                        files.get_file(path, str(Path(scratch) / PurePosixPath(path).name))
                releases.publish(settings, Path(scratch), name, version, by="PROPENSITY_RELEASES")
            finally:
                card = kinds.said(Path(scratch))
        return True
    except (PropensityError, OSError) as error:  # the other models are followed
        why = _why(error)
        if scratch:  # it has another name each time, and says nothing to anybody
            why = why.replace(scratch, "its copy")
        target = name not in kinds.OF_NO_TARGET
        target = target and card.kind not in kinds.OF_NO_TARGET and card.name in ("", name)
        named = name if version is None else f"{name} {version}"
        told = f"{named}: in force in PROPENSITY_RELEASES, and cannot be taken from there: {why}"
        return Unfollowed(version, target, told)


def _store(url: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    files, root = url_to_fs(url)
    return files, root.rstrip("/")


def _why(error: Exception) -> str:
    """What went wrong. A driver's own message may repeat the address, which may hold a password."""
    if isinstance(error, PropensityError):
        return str(error)
    said = error.strerror if isinstance(error, OSError) else None
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Mirror:
    """Follows the store while this object is started; does nothing without one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stopping, self._looked = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep, name="propensity-mirror", daemon=True)
        self._said: dict[str, str] = {}  # of what -> what was wrong with it last
        self._read = settings.releases is None
        self._intact = Intact()

    def has_read(self) -> bool:
        """Whether the store was read once since the start, or there is none to read."""
        return self._read

    def start(self) -> None:
        """Look beside, and wait for the first look, so that the first answer has what is in force; but for no
        longer than PATIENCE: a store that hangs keeps nobody from answering with what is here."""
        if self._settings.releases is not None:
            self._thread.start()
            self._looked.wait(PATIENCE)

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(EVERY)

    def _keep(self) -> None:
        while not self._stopping.is_set():
            self._look()
            self._looked.set()
            self._stopping.wait(EVERY)

    def _look(self) -> None:
        try:
            looked = look(self._settings, self._intact)
        except Exception as error:  # what we have stays in force, and nothing ends this thread
            why = _why(error)
            if not isinstance(error, PropensityError | OSError):  # nobody expected it
                why += f" at {frames(error)}"
            self._say({"": why, **{name: said for name, said in self._said.items() if name}})
            return
        for name in looked.changed:
            report.info("release of %s followed from the store", name)
        self._read = self._read or looked.there
        away = {} if looked.there else {"": "PROPENSITY_RELEASES is not there, or cannot be read"}
        self._say(away | {name: refused.why for name, refused in looked.refused.items()})

    def _say(self, wrong: dict[str, str]) -> None:
        """Each once, not every few seconds."""
        for name, said in wrong.items():
            if said != self._said.get(name):
                report.warning("releases cannot be followed from the store: %s", said)
        self._said = wrong

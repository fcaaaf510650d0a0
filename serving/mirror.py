"""Releases in an object store (`PROPENSITY_RELEASES`), for services on machines that share no disk.

    URL/<name>/<version>/...  a model's folder, its SHA256SUMS last; never changed
    URL/<name>/CURRENT        the version in force, replaced after that

Whoever promotes writes there, too. A service that is told of the store fetches what it lacks into its own
home, verifies it as any release, and follows within EVERY seconds. What cannot be fetched, or is not what was
signed, changes nothing: the service goes on with what it has, and its log says why. URL is of any store that
fsspec knows: a folder, s3://, gs://, abfs:// ..., each by a package of its own, with credentials of its own.
"""

import logging
import threading
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from features.errors import PropensityError, ReleaseError
from features.settings import Settings
from serving import releases
from serving.folders import SUMS

EVERY = 5.0  # seconds between two looks: one listing and a few bytes a model

report = logging.getLogger("propensity.service")


def push(settings: Settings, name: str, version: str) -> None:
    """Put the version in force there, too; nothing without a store. ReleaseError if it cannot be written."""
    if settings.releases is None:
        return
    folder = settings.home / "releases" / name / version
    try:
        files, root = _store(settings.releases)
        target = f"{root}/{name}/{version}"
        paths = sorted(folder.iterdir(), key=lambda path: path.name == SUMS)
        if not files.exists(f"{target}/{SUMS}"):
            files.makedirs(target, exist_ok=True)
            for path in paths:
                files.put_file(str(path), f"{target}/{path.name}")
        elif files.cat_file(f"{target}/{SUMS}") != (folder / SUMS).read_bytes():
            raise ReleaseError(
                f"{name} {version} is in PROPENSITY_RELEASES with other content: another registry writes "
                "there, too. Give each its own place"
            )
        with files.transaction, files.open(f"{root}/{name}/CURRENT", "wb") as pointer:
            pointer.write(version.encode())
    except ReleaseError:
        raise
    except Exception as error:  # each store has errors of its own
        raise ReleaseError(
            f"{name} {version} is in force in {settings.home}, but not in PROPENSITY_RELEASES "
            f"({_why(error)}): promote it again once that can be written"
        ) from error


def pull(settings: Settings) -> list[str]:
    """Make what is in force there so in this home; the names that changed. ReleaseError for the first that
    could not, after all others were."""
    assert settings.releases is not None
    files, root = _store(settings.releases)
    files.invalidate_cache()
    changed, failed = [], None
    for pointer in sorted(files.glob(f"{root}/*/CURRENT")):
        name = PurePosixPath(pointer).parent.name
        version = files.cat_file(pointer).decode("utf-8", "replace").strip()
        if not (releases.SEGMENT.fullmatch(name) and releases.SEGMENT.fullmatch(version)):
            continue
        try:
            if releases.serves(settings, name, version):
                continue
            with TemporaryDirectory(prefix=".fetching-", dir=_made(settings.home)) as scratch:
                for path in files.ls(f"{root}/{name}/{version}", detail=False):
                    files.get_file(path, str(Path(scratch) / PurePosixPath(path).name))
                releases.publish(settings, Path(scratch), name, version)
            changed.append(name)
        except (PropensityError, OSError) as error:
            failed = failed or f"{name} {version}: {_why(error)}"
    if failed:
        raise ReleaseError(failed)
    return changed


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
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="propensity-mirror", daemon=True)
        self._said = ""

    def start(self) -> None:
        """Look once, so that the first answer has what is in force; then beside."""
        if self._settings.releases is not None:
            self._look()
            self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(EVERY)

    def _keep(self) -> None:
        while not self._stopping.wait(EVERY):
            self._look()

    def _look(self) -> None:
        try:
            for name in pull(self._settings):
                report.info("release of %s followed from the store", name)
            said = ""
        except Exception as error:  # each store has errors of its own; what we have stays in force
            said = f"releases cannot be followed from the store: {_why(error)}"
        if said and said != self._said:  # once, not every few seconds
            report.warning("%s", said)
        self._said = said

"""Released models: published whole or not at all, loaded verified; who answers follows them (`following`).

releases/<name>/<version>/   a model's folder (models.py), never changed
releases/<name>/CURRENT      the version in force, replaced at once
releases/<name>/HISTORY      a line for each version that came into force: since when, and which
"""

import logging
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from features.errors import ReleaseCorrupt, ReleaseError, UsageError
from features.files import new_folder, read_pointer, write_atomically
from features.moments import iso, parse_moment
from features.settings import Settings
from serving import audit, folders, kinds
from serving.kinds import Loaded
from serving.models import Model

Places = np.ndarray[tuple[int], np.dtype[np.intp]]
_log = logging.getLogger("propensity.releases")
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
    target, repaired = folder_of(settings, name, version), False
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
        text = (pointer_of(settings, name).parent / "HISTORY").read_text("utf-8", "replace")
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
    folder = folder_of(settings, name, version)
    try:
        there = folder.is_dir()
    except OSError as error:
        raise ReleaseCorrupt(f"{folder} {_unreadable(error, name)}") from None
    if not there and named:
        raise ReleaseCorrupt(
            f"{folder.with_name('CURRENT')} names {version}, which is not there: promote {name} again"
        )
    if not there:
        raise ReleaseError(f"{name} {version} is not released in {folder.parent}: promote it first")
    return _open(folder, name, version)


def damaged(settings: Settings, name: str, version: str) -> bool:
    """Whether a version that was released does not load as it was. False of one that never was."""
    folder = folder_of(settings, name, version)
    try:
        if folder.exists():
            _open(folder, name, version)
    except ReleaseError:
        return True
    return False


def current(settings: Settings, name: str) -> str:
    """The version in force. ReleaseError if the model was never released, ReleaseCorrupt if none is named."""
    pointer = pointer_of(settings, name)
    try:
        version = read_pointer(pointer)
    except OSError as error:
        raise ReleaseCorrupt(f"{pointer} {_unreadable(error, name)}") from None
    if version is not None and not SEGMENT.fullmatch(version):
        raise ReleaseCorrupt(f"{pointer} is damaged: it names no version. Promote {name} again")
    if version is None:
        then = "" if name in kinds.STATED else f" and `propensity promote {name}`"
        raise ReleaseError(
            f"no version of {name} is released in {settings.home / 'releases'}: "
            f"run `{kinds.made_by(name)}`{then}"
        )
    return version


def _unreadable(error: OSError, name: str) -> str:
    said = f"cannot be read ({error.strerror})"
    return f"{said}: let the user who runs this read it, look at its disk, or promote {name} again"


def serves(settings: Settings, name: str, version: str) -> bool:
    """Whether that version is the one in force."""
    try:
        return current(settings, name) == version
    except ReleaseError:
        return False


def names(settings: Settings) -> list[str]:
    """Models with a version in force, sorted."""
    return [name for name, is_in_force in folders_of(settings).items() if is_in_force]


def folders_of(settings: Settings) -> dict[str, bool]:
    """Each model's folder, sorted -> whether a version is in force. What has no model's name is none."""
    try:
        with os.scandir(settings.home / "releases") as found:
            entries = sorted((entry.name, entry.path) for entry in found if SEGMENT.fullmatch(entry.name))
    except FileNotFoundError:
        return {}
    return {name: _is_there(f"{path}/CURRENT") for name, path in entries}


def _is_there(pointer: str) -> bool:
    """Also of what cannot be looked at: who loads it says so."""
    try:
        os.stat(pointer)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _open(folder: Path, name: str, version: str) -> Release:
    model = kinds.load(folder)
    if (model.card.name, model.card.version) != (name, version):
        raise ReleaseCorrupt(
            f"{folder} holds {model.card.name} {model.card.version} by its card, not {name} {version}: "
            "publish a model under the name and version it was saved with"
        )
    return Release(name, version, model)


def folder_of(settings: Settings, name: str, version: str) -> Path:
    """Where a version's files are. UsageError for what is no version."""
    if not SEGMENT.fullmatch(version):
        raise UsageError(f"{version!r} is not a version: expected letters, digits, '.', '_' and '-'")
    return pointer_of(settings, name).with_name(version)


def pointer_of(settings: Settings, name: str) -> Path:
    """The file that names a model's version in force. UsageError for what is no name."""
    if not SEGMENT.fullmatch(name):
        raise UsageError(f"{name!r} is not a model's name: expected letters, digits, '.', '_' and '-'")
    return settings.home / "releases" / name / "CURRENT"

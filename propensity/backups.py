"""One archive of a home, and a home from an archive.

A backup is a tar file: first `SUMS`, the sha256 of every file in it, then the files. Databases go in through
SQLite's own backup, so they are consistent while the service runs. A restore writes a home beside the place,
checks every file against `SUMS`, and only then moves it in: a killed restore leaves what was there. Who was
erased since the backup stays erased.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

from features.errors import PropensityError, UsageError
from features.files import durable, locked, sha256
from features.settings import Settings
from features.tombstones import Tombstones

FORMAT = 1
SUMS = "SUMS"
LIGHT = ("scores", "reports", "profiles")  # computed again by one command; and the snapshots of builds
_LOCKS = ("log/.lock", "snapshots/.lock", "online/publish.lock")  # nobody flips a pointer meanwhile
KEYS = "keys.json"  # stays with its home: a backup would bring back what was revoked since
_NEVER = ("lock", "publish.lock", "jobs", KEYS)  # a job is asked for again


@dataclass(frozen=True)
class Backup:
    """What went into or came out of an archive."""

    path: Path
    files: int
    size: int  # bytes of the files
    erased_since: bool = False  # a restore: the home's tombstones were newer than the archive's


def backup(settings: Settings, path: Path, light: bool = False, dry_run: bool = False) -> Backup:
    """Write the home into one archive, at once; a killed backup leaves no file of that name.

    light: without what can be computed again (scores, reports, all snapshots but those published).
    """
    home = settings.home
    if not home.is_dir():
        raise UsageError(f"{home} is no home: nothing to back up")
    if path.resolve().is_relative_to(home.resolve()):
        raise UsageError(f"{path} lies in the home itself: choose a place on another disk")
    with ExitStack() as stack:
        for lock in _LOCKS:
            stack.enter_context(locked(home / lock))
        path.parent.mkdir(parents=True, exist_ok=True)
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=path.parent)))
        files = {str(p.relative_to(home)): p for p in _files(home, light)}
        if dry_run:
            return Backup(path, len(files), sum(p.stat().st_size for p in files.values()))
        for number, (name, file) in enumerate(list(files.items())):
            if _is_sqlite(file):
                files[name] = _copied(file, work / str(number))
        fresh = path.with_name(f".{path.name}.writing")
        try:
            size = _write(fresh, files)
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)
    return Backup(path, len(files), size)


def restore(
    settings: Settings,
    path: Path,
    tombstones: Path | None = None,
    force: bool = False,
    dry_run: bool = False,
) -> Backup:
    """Make an archive the home, which must be absent or empty, unless `force`.

    tombstones: the folder `erased` of another home; this home's own are obeyed anyway. UsageError if the home
    is not empty; PropensityError if the archive is damaged. Then the home is as it was.
    """
    home = settings.home
    old = home.with_name(f".{home.name}.replaced")
    if old.exists() and not home.exists():
        old.rename(home)  # a restore was killed between two renames
    there = home.is_dir() and any(home.iterdir())
    if there and not force and not _only_tombstones(home):
        raise UsageError(f"{home} is not empty: restore into another home, or --force to replace it")
    fresh = home.with_name(f".{home.name}.restoring")
    shutil.rmtree(fresh, ignore_errors=True)  # left by a restore that was killed
    try:
        count, size = _read(path, fresh)
        restored = replace(settings, home=fresh)
        before = Tombstones.of(restored)
        after = before
        for folder in (home / "erased", tombstones):
            if folder is not None:
                after = after.union(Tombstones.read(folder).lists)
        since = after.digest != before.digest
        if after:
            from propensity.erasing import obey

            after.write()
            obey(restored)  # also what was archived while an erasure had reached one online store only
        if dry_run:
            return Backup(path, count, size, since)
        if (home / KEYS).exists():
            shutil.copy2(home / KEYS, fresh / KEYS)
        durable(fresh)
        shutil.rmtree(old, ignore_errors=True)
        if home.is_dir():
            home.rename(old)
        fresh.rename(home)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return Backup(path, count, size, since)


def _files(home: Path, light: bool) -> Iterator[Path]:
    """What to keep."""
    published = _published(home) if light else set()
    for path in sorted(home.rglob("*")):
        if not path.is_file() or _is_left_out(path.relative_to(home), light):
            continue
        parts = path.relative_to(home).parts
        if light and parts[0] == "snapshots" and path.suffix == ".parquet" and path.stem not in published:
            continue
        yield path


def _is_left_out(path: Path, light: bool) -> bool:
    if any(part in _NEVER or part.startswith(".") for part in path.parts):
        return True
    if path.name.endswith(("-wal", "-shm", "-journal", ".writing", ".erasing")):
        return True
    return light and path.parts[0] in LIGHT


def _published(home: Path) -> set[str]:
    """Stems of the snapshot files that readers were given, of any build."""
    path = home / "online" / "rows.sqlite"
    if not path.exists():
        return set()
    with closing(sqlite3.connect(path)) as db:
        return {id.partition("@")[2] for (id,) in db.execute("select id from publications")}


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\0"


def _copied(path: Path, copy: Path) -> Path:
    """A consistent copy of a database that others may be writing."""
    with closing(sqlite3.connect(path, timeout=60)) as db, closing(sqlite3.connect(copy)) as to:
        db.backup(to)
        # As the original, so that the restored one needs no switch: that can fail once it is shared.
        mode = db.execute("pragma journal_mode").fetchone()[0]
        to.execute(f"pragma journal_mode = {mode}").fetchall()
    return copy


def _write(archive: Path, files: dict[str, Path]) -> int:
    sums = {name: sha256(path) for name, path in files.items()}
    links: dict[tuple[int, int], str] = {}
    head = json.dumps({"format": FORMAT, "files": sums}, indent=0).encode()
    with archive.open("wb") as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            info = tarfile.TarInfo(SUMS)
            info.size = len(head)
            tar.addfile(info, io.BytesIO(head))
            for name, path in files.items():
                state = path.stat()
                info = tarfile.TarInfo(name)
                info.mode, info.mtime = state.st_mode & 0o777, state.st_mtime_ns / 1e9
                first = links.setdefault((state.st_dev, state.st_ino), name)
                if first != name:  # generations share files; so does the archive
                    info.type, info.linkname = tarfile.LNKTYPE, first
                    tar.addfile(info)
                    continue
                info.size = state.st_size
                with path.open("rb") as content:
                    tar.addfile(info, content)
        file.flush()
        os.fsync(file.fileno())
    return sum(path.stat().st_size for path in files.values())


def _read(archive: Path, home: Path) -> tuple[int, int]:
    """Unpack, and believe nothing that the sums do not say."""
    try:
        with tarfile.open(archive, "r:") as tar:
            first = tar.next()
            content = tar.extractfile(first) if first is not None and first.name == SUMS else None
            if content is None:
                raise PropensityError(f"{archive} is not a backup of Propensity")
            head = json.loads(content.read())
            if head["format"] != FORMAT:
                raise PropensityError(
                    f"{archive} has format {head['format']}, this program knows {FORMAT}: "
                    "restore it with the one that wrote it"
                )
            home.mkdir(parents=True)
            tar.extractall(home, filter="data")
    except (tarfile.TarError, OSError, ValueError) as error:
        raise PropensityError(
            f"{archive} cannot be read ({type(error).__name__}: {error}): use another backup"
        ) from error
    (home / SUMS).unlink()
    size = 0
    found = {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()}
    wrong = sorted(found ^ set(head["files"]))
    for name, expected in head["files"].items():
        path = home / name
        if name in found and sha256(path) != expected:
            wrong.append(name)
        size += path.stat().st_size if name in found else 0
    if wrong:
        raise PropensityError(
            f"{archive} is damaged: {wrong[0]} is not what was backed up; use another backup"
        )
    return len(found), size


def _only_tombstones(home: Path) -> bool:
    """Nothing in it but who was erased, and who may call: that may wait for its backup."""
    return {path.name for path in home.iterdir() if path.name[0] != "."} <= {"erased", KEYS}

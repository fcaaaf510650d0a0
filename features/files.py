"""Files that are either the old ones or the new ones, never a mixture."""

import errno
import fcntl
import hashlib
import os
import re
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import msgspec

from features.errors import PropensityError, UsageError

NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises of bytes that are no JSON of the shape: it says all three ways."""

_FULL = "its disk is full: free space on it"
_QUOTA = "the quota on its disk is used up: free space, or have it raised"
_CLOSED = "let the user who runs this read and write it, its folder and its disk"
_FAILS = "its disk does not read or write: look at it"
# What refuses to be written, and what to do: by the system's number, by SQLite's, and in what DuckDB and
# others say, who give none.
_ERRNO = {
    errno.ENOSPC: _FULL, errno.EDQUOT: _QUOTA, errno.EROFS: _CLOSED, errno.EACCES: _CLOSED,
    errno.EPERM: _CLOSED, errno.EIO: _FAILS,
}  # fmt: skip
_SQLITE = {
    sqlite3.SQLITE_FULL: _FULL, sqlite3.SQLITE_READONLY: _CLOSED, sqlite3.SQLITE_PERM: _CLOSED,
    sqlite3.SQLITE_CANTOPEN: _CLOSED, sqlite3.SQLITE_IOERR: _FAILS,
}  # fmt: skip
_SAID = {
    "No space left on device": _FULL, "database or disk is full": _FULL, "Disk quota exceeded": _QUOTA,
    "Read-only file system": _CLOSED, "attempt to write a readonly database": _CLOSED,
}  # fmt: skip


def expanded(path: str | Path) -> Path:
    """With the user's folder for ~. UsageError for ~name, if the machine does not know whom."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UsageError(
            f"{str(path)!r} is of a user whom this machine does not know: write the path in full"
        ) from None


def refused(error: Exception, path: Path) -> str | None:
    """Of a file that its disk, or who owns it, lets nobody write: what happened, and what to do. None of any
    other error. path: the file, or the folder of all, if the error names none."""
    if isinstance(error, OSError):
        said, do = error.strerror or str(error), _ERRNO.get(error.errno or 0)
        path = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else path
    elif isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without its details
        said, do = str(error), _SQLITE.get(code)
        if do is not None and not _room(path):  # of which SQLite may say no more than that the disk fails
            do = _FULL
    else:
        said = (str(error).splitlines() or [""])[0]
        do = next((do for text, do in _SAID.items() if text in str(error)), None)
    if do is None:
        return None
    return f"{path} cannot be used ({said}): {do}, and try again; what was kept before is whole"


@contextmanager
def written_to(path: Path) -> Iterator[None]:
    """What the block cannot write is said of `path`, where the error names no file: not of the home."""
    try:
        yield
    except OSError as error:
        said = refused(error, path)
        if said is None:
            raise
        raise PropensityError(said) from error


def _room(path: Path) -> int:
    try:
        return shutil.disk_usage(path.parent).free
    except OSError:  # no such folder
        return 1


def write_atomically(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Replace `path` at once; a crash leaves the old file whole. mode: of the file, less the umask."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync(path.parent)  # else a power cut may bring the old name back
    except OSError as error:
        error.filename = str(path)  # a full disk names no file, and the temporary one is known to nobody
        raise
    finally:
        with suppress(OSError):  # of a disk that cannot be written: said above
            temporary.unlink(missing_ok=True)


def durable(folder: Path) -> None:
    """Have every file of a folder on the disk, not only in memory: before a pointer names it."""
    for path in [*folder.rglob("*"), folder, folder.parent]:
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A scratch folder that becomes `path` when the block succeeds; on an error nothing is left.

    If `path` exists by then (content-addressed names: the same content), the scratch is dropped.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    scratch.mkdir()
    try:
        yield scratch
        if not path.exists():
            scratch.rename(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time; waits for the other. The lock dies with its holder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def read_pointer(path: Path) -> str | None:
    """What a CURRENT file names, or None if there is none. One that is damaged names nothing there is."""
    try:
        return (
            re.sub(r"[^\w.-]", "\N{REPLACEMENT CHARACTER}", path.read_text("utf-8", "replace").strip())
            or None
        )
    except FileNotFoundError:
        return None


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_database(path: Path, script: str) -> None:
    """Make a WAL database by a script unless there is one. Switching a shared file to WAL can fail; a new one
    cannot."""
    if path.exists():
        return
    with locked(path.parent / ".lock"):
        if path.exists():
            return
        fresh = path.with_name(".fresh.sqlite")
        fresh.unlink(missing_ok=True)
        with closing(sqlite3.connect(fresh, isolation_level=None)) as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(script)
        fresh.replace(path)

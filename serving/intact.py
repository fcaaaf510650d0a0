"""Whether the files of releases are still what was signed; they are read again once they look otherwise.

What serves does so from memory: damage shows when it is loaded again, at a restart, unless somebody looks.
"""

import os
import time
from pathlib import Path

from features.errors import ReleaseCorrupt
from serving import folders

SETTLED_NS = 1_000_000_000
Look = tuple[tuple[str, int, int, int, int], ...]


class Intact:
    """Looks at one version of each model. For one thread at a time."""

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[str, Look, ReleaseCorrupt | None]] = {}  # of a model's folder

    def damage(self, folder: Path) -> ReleaseCorrupt | None:
        """Why a version's folder is not what was signed, so that it would not load; None if it is."""
        look = look_of(folder)
        seen = self._seen.get(folder.parent)
        if seen is not None and seen[:2] == (folder.name, look):
            return seen[2]
        found = _changed(folder)
        newest = max((changed for _, _, _, *times in look for changed in times), default=0)
        if time.time_ns() - newest > SETTLED_NS:  # what is younger may change and look the same
            self._seen[folder.parent] = folder.name, look, found
        return found


def look_of(folder: Path) -> Look:
    """Of each file what changes with what it holds: name, size, which it is, and when it was changed."""
    try:
        with os.scandir(folder) as found:
            stats = sorted((entry.name, entry.stat()) for entry in found)
    except OSError:  # gone, all or one of them: whoever reads them says so
        return ()
    return tuple((name, of.st_size, of.st_ino, of.st_mtime_ns, of.st_ctime_ns) for name, of in stats)


def _changed(folder: Path) -> ReleaseCorrupt | None:
    try:
        folders.verify(folder)
    except ReleaseCorrupt as error:
        return error
    except (OSError, ValueError) as error:  # no sums, or none that can be read
        told = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
        return ReleaseCorrupt(f"{folder} cannot be read: {told}. Promote the version again")
    return None

"""Waiting for the disk together: what was written before is on it when `wait` returns."""

import errno
import os
from pathlib import Path
from threading import Lock


class GroupSync:
    """One fsync for all who wait at one time: while the disk works, the next group gathers."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._flush, self._count = Lock(), Lock()
        self._asked = self._done = 0
        self._failed: int | None = None
        self.syncs = 0  # how many the disk was asked for

    def wait(self) -> None:
        """Return once everything that was written before is on the disk. OSError from the first failure on:
        the system forgets what it could not write, and the next fsync says that all is well."""
        with self._count:
            self._asked += 1
            mine = self._asked
        with self._flush:
            if self._done >= mine:
                return
            if self._failed is not None:
                raise OSError(self._failed, os.strerror(self._failed))
            upto = self._asked
            try:
                self._sync()
            except OSError as error:
                self._failed = error.errno or errno.EIO
                raise
            self._done, self.syncs = upto, self.syncs + 1

    def _sync(self) -> None:
        if self._file is None:
            self._file = os.open(self._path, os.O_RDONLY)
            folder = os.open(self._path.parent, os.O_RDONLY)
            os.fsync(folder)  # that the file is there at all
            os.close(folder)
        os.fsync(self._file)

    def close(self) -> None:
        """Give the file back."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

"""A small SQLite file of a home that several processes write: changed as a whole, and told where it fails."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from features.errors import PropensityError
from features.files import make_database, refused


class Embedded:
    """The file at `path`, made by a script when first opened. `error` is raised if it cannot be used.

    error: what a failure is of; else_lost: of a file that is deleted, what becomes of what it held.
    """

    error: ClassVar[type[PropensityError]]
    else_lost: ClassVar[str]

    def __init__(self, path: Path, script: str, threads: bool = False) -> None:
        """threads: one object serves several, which take turns."""
        self.path = path
        with self.used():
            path.parent.mkdir(parents=True, exist_ok=True)
            make_database(path, script)
            self.db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=not threads)

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """All or nothing; one process at a time."""
        with self.used(), self.db:
            self.db.execute("BEGIN IMMEDIATE")
            yield

    @contextmanager
    def used(self) -> Iterator[None]:
        """What SQLite says, as `error`."""
        try:
            yield
        except sqlite3.Error as error:
            raise self.error(
                refused(error, self.path)
                or f"{self.path} cannot be used ({error}): look at its disk; if the file is damaged restore "
                f"its backup, or delete it, and {self.else_lost}"
            ) from error

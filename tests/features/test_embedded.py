"""A small file of a home: all of a change or none of it, and words where SQLite has a code."""

from pathlib import Path

import pytest

from features.embedded import Embedded
from features.errors import DecisionError


class Notes(Embedded):
    error = DecisionError
    else_lost = "everything is noted anew"

    def note(self, *texts: str | None) -> None:
        with self.writing():
            for text in texts:
                self.db.execute("INSERT INTO notes VALUES (?)", (text,))

    def noted(self) -> list[str]:
        with self.used():
            return [row[0] for row in self.db.execute("SELECT text FROM notes")]


def test_a_change_is_whole_or_not_at_all_and_a_damaged_file_says_what_to_do(tmp_path: Path) -> None:
    """Else a fault in the middle loses who was told; or an operator reads a traceback of SQLite."""
    path = tmp_path / "notes" / "notes.sqlite"
    notes = Notes(path, "CREATE TABLE notes (text TEXT NOT NULL);")
    notes.note("kept")
    with pytest.raises(DecisionError, match="NOT NULL constraint failed"):
        notes.note("half", None)
    assert notes.noted() == ["kept"]
    notes.close()
    path.write_bytes(b"x" * 5_000)
    damaged = Notes(path, "")
    with pytest.raises(DecisionError, match="cannot be used .* delete it, and everything is noted anew"):
        damaged.noted()
    damaged.close()

"""RUNBOOK.md, by its sections: what a check means, how to look closer, what to do."""

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

PATH = Path(__file__).parent / "RUNBOOK.md"
ANY = "any"  # the section of checks that have none of their own


class Section(NamedTuple):
    """A section: its name, which is its address too, and what it says."""

    name: str
    text: str


@cache
def sections() -> dict[str, Section]:
    """Name -> section, in the file's order."""
    parts = re.split(r"^## (\S+)\n", PATH.read_text("utf-8"), flags=re.MULTILINE)
    return {name: Section(name, said.strip()) for name, said in zip(parts[1::2], parts[2::2], strict=True)}


def section(check: str) -> Section:
    """What to read when a check says something; that for any check if it has no section of its own."""
    found = sections()
    return found.get(check, found[ANY])

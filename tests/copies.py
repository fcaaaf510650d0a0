"""Copies of a home that a test may change: hard links, for log and snapshots are replaced, not edited."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

from features.settings import Settings


def copy_of(settings: Settings, home: Path) -> Settings:
    """The same log and snapshots in another folder, at no cost."""
    for folder in ("log", "parts", "rejects", "snapshots"):
        if (settings.home / folder).exists():
            shutil.copytree(settings.home / folder, home / folder, copy_function=os.link)
    return replace(settings, home=home)

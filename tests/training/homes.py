"""Homes of their own for tests of training."""

import shutil
from dataclasses import replace
from pathlib import Path

from features.settings import Settings


def copy_of(journey: Settings, home: Path) -> Settings:
    """A home of its own over the same log and features: registry and releases are not shared."""
    for folder in ("log", "snapshots"):
        shutil.copytree(journey.home / folder, home / folder)
    return replace(journey, home=home)

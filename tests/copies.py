"""Copies of a home that a test may change: its parquet is linked, for that is replaced, not edited."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

from features.settings import Settings


def copy_of(settings: Settings, home: Path) -> Settings:
    """The same log and snapshots in another folder, at no cost; registry and releases are not shared."""
    for folder in ("log", "parts", "rejects", "snapshots"):
        if (settings.home / folder).exists():
            shutil.copytree(settings.home / folder, home / folder, copy_function=_linked)
    return replace(settings, home=home)


def untrained_copy_of(settings: Settings, empty_registry: Path, home: Path) -> Settings:
    """That, where a training finds MLflow's file made: every making of one migrates dozens of schemas."""
    copy = copy_of(settings, home)
    shutil.copyfile(empty_registry, home / "mlflow.db")
    return copy


def trained_copy_of(settings: Settings, home: Path) -> Settings:
    """A copy with what is published and with the versions in its registry."""
    copy = copy_of(settings, home)
    for folder in ("online", "mlartifacts"):
        shutil.copytree(settings.home / folder, home / folder)
    shutil.copyfile(settings.home / "mlflow.db", home / "mlflow.db")
    return copy


def _linked(source: str, copy: str) -> None:
    if source.endswith(".parquet"):
        os.link(source, copy)
    else:
        shutil.copy2(source, copy)

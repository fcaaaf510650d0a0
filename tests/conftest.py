"""Shared fixtures: a home with the real log, and an empty one."""

from pathlib import Path

import pytest
from logs import TODAY, real_data

from features.engine import build
from features.ingest import ingest
from features.log import Log
from features.moments import DAY, grid
from features.settings import Settings


@pytest.fixture(scope="session")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a home with the Complete Journey log ingested and weekly features until 2017-12-31."""
    settings = Settings(
        home=tmp_path_factory.mktemp("journey"),
        as_of=TODAY,
        api_keys={"tests": "a-key-for-tests-only"},
    )
    ingest(settings, folder=real_data("complete_journey"))
    log = Log.open(settings)
    build(settings, grid(log.starts_at + 28 * DAY, TODAY))
    return settings


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    """Settings of an empty home."""
    return Settings(home=tmp_path / "home", as_of=TODAY, api_keys={"tests": "a-key-for-tests-only"})

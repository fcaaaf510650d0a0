"""Homes whose packed rows are in either store."""

from datetime import timedelta
from pathlib import Path

import pytest
from builds_by_hand import MakeBuild, write_build
from servers import RedisServer

from features.settings import Settings

PATIENCE = timedelta(seconds=30)  # a busy machine is no fault of the store's


@pytest.fixture(params=["sqlite", "redis"])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings of an empty home, whose rows are in either store."""
    if request.param == "sqlite":
        return Settings(home=tmp_path / "home")
    server: RedisServer = request.getfixturevalue("redis_of_all")
    with server.client() as client:
        client.flushdb()
    return Settings(home=tmp_path / "home", online=server.url, online_timeout=PATIENCE)


@pytest.fixture
def embedded(tmp_path: Path) -> Settings:
    """Settings of an empty home, whose rows are in SQLite: for what only a file can suffer."""
    return Settings(home=tmp_path / "home")


@pytest.fixture
def make_build(tmp_path: Path) -> MakeBuild:
    """make_build(names, {moment: (ids, matrix)}) -> Build in `home`, which is `embedded`'s too."""
    return lambda names, snapshots: write_build(Settings(home=tmp_path / "home"), names, snapshots)

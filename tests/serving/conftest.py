"""What the serving tests share: a home, a small released model, a build of made-up rows."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from logs import OF_LOG
from tiny import TINY_FEATURES, TINY_MOMENT, tiny_model, tiny_rows

from features.compute.builds import Build
from features.definitions import catalogue, feature_hash
from features.settings import Settings
from serving import releases


@pytest.fixture
def tiny_settings(tmp_path: Path) -> Settings:
    """An empty home, at TINY_MOMENT."""
    return replace(Settings(), home=tmp_path / "home", as_of=TINY_MOMENT)


@pytest.fixture
def tiny_release(tiny_settings: Settings, tmp_path: Path) -> Callable[..., releases.Release]:
    """Publish a small model into the home of `tiny_settings`:
    tiny_release(name="churn_28d", version="1", seed=0, **changes of the card)."""

    def make(name: str = "churn_28d", version: str = "1", seed: int = 0, **changes: Any) -> releases.Release:
        folder = tiny_model(tmp_path / f"model-{name}-{version}-{seed}", name, version, seed, **changes)
        return releases.publish(tiny_settings, folder, name, version)

    return make


@pytest.fixture
def tiny_build(tiny_settings: Settings) -> Callable[..., Build]:
    """Write a build over TINY_FEATURES into the home of `tiny_settings`:
    tiny_build(n=100, moments=(TINY_MOMENT,), seed=0); customers c0000, c0001 ..."""

    def make(n: int = 100, moments: Sequence[datetime] = (TINY_MOMENT,), seed: int = 0) -> Build:
        known = catalogue()
        features = {name: feature_hash(known[name], known, OF_LOG) for name in TINY_FEATURES}
        id = Build.id_of("l" * 16, features)
        build = Build(
            id=id,
            folder=tiny_settings.home / "snapshots" / id,
            log="l" * 16,
            log_starts_at=datetime(2017, 1, 1, tzinfo=UTC),
            complete_until=datetime(2017, 12, 31, tzinfo=UTC),
            features=features,
            moments=tuple(sorted(moments)),
        )
        build.folder.mkdir(parents=True, exist_ok=True)
        for i, moment in enumerate(build.moments):
            rows = tiny_rows(n, seed + i)
            at = pa.array([moment] * n, pa.timestamp("us", tz="UTC"))
            columns = {"customer_id": pa.array([f"c{j:04}" for j in range(n)]), "moment": at, "known_at": at}
            columns |= {name: rows[:, j] for j, name in enumerate(TINY_FEATURES)}
            pq.write_table(pa.table(columns), build.path(moment))
        build.write_manifest()
        return build

    return make

"""One side of `benchmarks.online`, in a process of its own: `... online_sides WORK STORE HOME PORT`.

Prints one line of JSON: CPU seconds and peak megabytes of a publication, or the seconds of each read.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from features.compute.builds import Build
from features.settings import Settings

TIMES = {1: 500, 100: 60, 1000: 12}  # reads that are timed, by customers in one


def settings_of(kind: str, home: Path, port: int) -> Settings:
    """Ours, with the rows in that store."""
    online = "sqlite" if kind == "sqlite" else f"redis://127.0.0.1:{port}/0"
    return Settings(home=home, online=online, online_timeout=timedelta(seconds=10))


def feast_of(kind: str, home: Path, port: int) -> Any:
    """A FeatureStore over the same snapshot, with Feast's own online store as it is by default."""
    import feast
    from feast.data_format import ParquetFormat
    from feast.infra.offline_stores.duckdb import DuckDBOfflineStoreConfig
    from feast.infra.online_stores.redis import RedisOnlineStoreConfig
    from feast.infra.online_stores.sqlite import SqliteOnlineStoreConfig
    from feast.repo_config import RegistryConfig
    from feast.types import Float32, String

    folder = home / f"feast-{kind}"
    folder.mkdir(exist_ok=True)
    online: Any = SqliteOnlineStoreConfig(path=str(folder / "online.db"))
    if kind == "redis":
        online = RedisOnlineStoreConfig(connection_string=f"127.0.0.1:{port},db=1")
    config = feast.RepoConfig(
        project="benchmark",
        provider="local",
        registry=RegistryConfig(path=str(folder / "registry.db")),
        offline_store=DuckDBOfflineStoreConfig(),
        online_store=online,
        entity_key_serialization_version=3,
        repo_path=folder,
    )
    store = feast.FeatureStore(config=config)
    build = Build.open(Settings(home=home))
    if not (folder / "registry.db").exists():
        customer = feast.Entity(name="customer", join_keys=["customer_id"], value_type=feast.ValueType.STRING)
        source = feast.FileSource(
            name="snapshots",
            path=str(build.folder / "*.parquet"),
            file_format=ParquetFormat(),
            timestamp_field="moment",
        )
        fields = [feast.Field(name=name, dtype=Float32) for name in build.features]
        fields.append(feast.Field(name="customer_id", dtype=String))
        view = feast.FeatureView(name="customer", entities=[customer], source=source, schema=fields)
        store.apply([customer, view])
    return store


def publish(kind: str, home: Path, port: int) -> dict[str, Any]:
    """Ours, into a store that holds nothing of it."""
    import pyarrow.parquet  # noqa: F401  as Feast's side has imported it by now
    import redis  # noqa: F401

    from features import online

    settings = settings_of(kind, home, port)
    empty(settings)
    build = Build.open(settings)
    return _cost(lambda: online.publish(settings, build, build.moments[-1]))


def materialize(kind: str, home: Path, port: int) -> dict[str, Any]:
    """Feast's."""
    store, moment = feast_of(kind, home, port), Build.open(Settings(home=home)).moments[-1]
    second = timedelta(seconds=1)
    return _cost(lambda: store.materialize(moment - second, moment + second))


def read(kind: str, home: Path, port: int) -> dict[str, Any]:
    """Ours: what is current and the rows, as the service reads them."""
    from features.online import OnlineRows

    rows = OnlineRows.open(settings_of(kind, home, port))
    return _times(lambda ids: rows.latest(ids))


def feast_read(kind: str, home: Path, port: int) -> dict[str, Any]:
    """Feast's."""
    store = feast_of(kind, home, port)
    names = [f"customer:{name}" for name in Build.open(Settings(home=home)).features]

    def one(ids: list[str]) -> object:
        rows = [{"customer_id": id} for id in ids]
        return store.get_online_features(features=names, entity_rows=rows).to_dict()

    return _times(one)


def empty(settings: Settings) -> None:
    """Take away what an earlier run published."""
    for file in (settings.home / "online").glob("rows.sqlite*"):
        file.unlink()
    if settings.online != "sqlite":
        import redis

        with redis.Redis.from_url(settings.online) as client:
            client.flushdb()


def _cost(work: Callable[[], object]) -> dict[str, Any]:
    before = time.process_time()
    work()
    cpu = time.process_time() - before
    return {"cpu": cpu, "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def _times(work: Callable[[list[str]], object]) -> dict[str, Any]:
    """Seconds of each read of random customers, after a few that nobody counts."""
    from benchmarks.online import CUSTOMERS

    rng = np.random.default_rng(1)
    taken: dict[str, Any] = {}
    for number, times in TIMES.items():
        seconds = []
        for _ in range(times + 3):
            ids = [f"{id:08}" for id in rng.integers(0, CUSTOMERS, number)]
            started = time.perf_counter()
            work(ids)
            seconds.append(time.perf_counter() - started)
        taken[str(number)] = seconds[3:]
    return taken


if __name__ == "__main__":
    side = {"publish": publish, "materialize": materialize, "read": read, "feast_read": feast_read}[
        sys.argv[1]
    ]
    print(json.dumps(side(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))))

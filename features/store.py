"""The only door to Feast: registry, lineage, retrieval for training, the contract of other teams' clients.

    home/feast/registry.db     entity `customer`, view `customer` over one build's snapshots, one feature
                               service a release; or the schema propensity_feast of PROPENSITY_DATABASE
    home/feast/lock            one caller at a time: Feast's DuckDB store is not thread-safe, and its
                               registry is one file

What Feast 0.67 does silently is made loud or impossible here: its DuckDB store returns rows in any order
and takes names ending in `_y` for its own; its online stores never forget a customer, let an older snapshot
overwrite a newer one, and keep a feature's old values under its new definition. So its clients read what our
service serves, through `online/feast_store.py`, and nothing is materialised.
"""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features import database, told
from features.compute import spark
from features.compute.builds import KEYS, Build
from features.definitions import catalogue, feature_hash
from features.errors import FeatureError, FeatureMismatch, NoBuild
from features.files import locked
from features.moments import iso
from features.settings import Settings
from features.shop import shop_of
from features.unchecked import unchecked

with unchecked():
    import feast
    from feast.data_format import ParquetFormat
    from feast.infra.offline_stores.duckdb import DuckDBOfflineStoreConfig
    from feast.repo_config import RegistryConfig
    from feast.types import Float32, String

    from features.online.feast_store import PackedOnlineStoreConfig

PROJECT = "propensity"
VIEW = "customer"
MOMENT = pa.timestamp("us", "UTC")  # nanoseconds break Spark
ROWS_AT_ONCE = 500_000  # of a retrieval
# A row is of its moment and no other: an older snapshot must not stand in. Feast reads 0 as "for ever".
_TTL = timedelta(seconds=1)
_TAKEN = ("entity_row_id", "event_timestamp", "event_expire_timestamp", "rn", "spine_row", *KEYS)


def apply(settings: Settings, build: Build) -> None:
    """Register the build's features, with their words, units and hashes. The same again changes nothing.

    FeatureError names features that Feast's retrieval would lose or confuse.
    """
    with opened(settings) as store:
        _apply(settings, store, build)


def historical(settings: Settings, build: Build, spine: pa.Table, names: Sequence[str]) -> pa.Table:
    """The spine with the features `names` appended as float32 (NaN: null); its rows and order are kept.

    spine: customer_id string, moment timestamp[us, UTC], and any other columns; keys may repeat.
    Raises FeatureMismatch for a name that the build lacks, NoBuild for a moment without a snapshot, and
    FeatureError for a row whose customer is in no snapshot of that moment: nothing is filled silently.
    """
    groups = list(retrieved(settings, build, spine, names))
    if groups:
        return pa.concat_tables(groups)
    for name in names:
        spine = spine.append_column(name, pa.array([], pa.float32()))
    return spine


def retrieved(settings: Settings, build: Build, spine: pa.Table, names: Sequence[str]) -> Iterator[pa.Table]:
    """What `historical` gives, ROWS_AT_ONCE after one another: memory is bounded, however long the spine."""
    _check_names(build, names, "a retrieval")
    _check_spine(build, spine, names)
    if spine.num_rows == 0:
        return
    with opened(settings) as store:
        _apply(settings, store, build)
        if settings.engine == "spark":
            spark.session(settings)  # which Feast's store then finds
        for start in range(0, spine.num_rows, ROWS_AT_ONCE):
            yield _retrieved(settings, store, spine.slice(start, ROWS_AT_ONCE), names, start)


def _retrieved(settings: Settings, store: Any, spine: pa.Table, names: Sequence[str], start: int) -> pa.Table:
    """A part of a spine, which begins at its row `start`, with its features."""
    keys = pa.table(
        {
            "customer_id": spine["customer_id"].cast(pa.string()),
            "event_timestamp": spine["moment"],
            "spine_row": pa.array(np.arange(spine.num_rows)),
        }
    )
    with warnings.catch_warnings():
        # ibis calls DuckDB by a name that DuckDB 2.0 deprecates.
        warnings.filterwarnings("ignore", r"fetch_arrow_table\(\) is deprecated", DeprecationWarning)
        job = store.get_historical_features(
            entity_df=keys.to_pandas(),
            features=[f"{VIEW}:{name}" for name in names],
            filter_by_created_timestamp=True,  # else corrections leak into what was known before them
        )
        # By way of pandas, as Feast's Spark job goes, NaN would be what was not found.
        found = job.to_spark_df().toArrow() if settings.engine == "spark" else job.to_arrow()
    found = found.sort_by("spine_row")
    if (
        found.num_rows != keys.num_rows
        or not found["spine_row"].equals(keys["spine_row"])
        or not found["customer_id"].cast(pa.string()).equals(keys["customer_id"])
        or not found["event_timestamp"].cast(MOMENT).equals(keys["event_timestamp"])
    ):
        raise FeatureError(
            f"Feast returned {found.num_rows} rows for the {keys.num_rows} of the spine, or other ones: "
            f"the registry in {settings.home / 'feast'} or its DuckDB store is not what this version expects"
        )
    # A row that was found holds NaN where a feature is null; one that was not found holds Arrow nulls.
    missing = np.flatnonzero(pc.is_null(found[names[0]]).to_numpy())
    if len(missing):
        raise FeatureError(
            f"{len(missing)} of {keys.num_rows} rows of the spine name a customer of whom nothing was known "
            f"at that moment, the first of them row {start + missing[0]}: leave them out of the spine"
        )
    for name in names:
        spine = spine.append_column(name, found[name].cast(pa.float32()))
    return spine


def add_service(settings: Settings, build: Build, name: str, version: str, names: Sequence[str]) -> str:
    """Register what one release reads, in its order, as feature service `<name>_<version>`; return that."""
    _check_names(build, names, f"{name} {version}")
    with opened(settings) as store:
        view = _apply(settings, store, build)
        service = feast.FeatureService(
            name=f"{name}_{version}",
            features=[view[list(names)]],
            description=f"What {name} {version} reads",
            tags={"release": name, "version": version, "build": build.id},
        )
        store.apply([service])
        told.note(settings, build)
        return str(service.name)


@contextmanager
def opened(settings: Settings) -> Iterator[Any]:
    """Feast's own FeatureStore of that home, for one process at a time. Raises as `database.opened`."""
    folder = settings.home.absolute() / "feast"
    log = logging.getLogger("feast.repo_config")
    with locked(folder / "lock"):
        log.addFilter(_not_the_advice)
        try:
            with _registry(settings) as registry:
                config = feast.RepoConfig(
                    project=PROJECT,
                    provider="local",
                    registry=registry,
                    offline_store=_offline_store(settings),
                    online_store=PackedOnlineStoreConfig(home=str(settings.home.absolute())),
                    entity_key_serialization_version=3,
                    repo_path=folder,
                )
                store = feast.FeatureStore(config=config)
                try:
                    with warnings.catch_warnings():
                        # Feast says so of all of its Spark at every step; our tests hold it to DuckDB's rows.
                        warnings.filterwarnings("ignore", "The spark .* is an experimental", RuntimeWarning)
                        yield store
                finally:
                    if settings.database is not None:  # Feast closes no connection itself
                        store.registry.write_engine.dispose()
        finally:
            log.removeFilter(_not_the_advice)


@contextmanager
def _registry(settings: Settings) -> Iterator[RegistryConfig]:
    """The file in the home, or the team's database."""
    # Without the flag, a client that tries to materialise is refused, and every read after it.
    flag = {"serve_features_while_materializing": True}
    if settings.database is None:
        yield RegistryConfig(path=str(settings.home.absolute() / "feast" / "registry.db"), **flag)
        return
    from feast.infra.registry.sql import SqlRegistryConfig

    with database.opened(settings, "propensity_feast", alone=True) as url:
        yield SqlRegistryConfig(path=url, **flag)


def _offline_store(settings: Settings) -> Any:
    """Of DuckDB, or of the cluster that the engine runs on."""
    if settings.engine != "spark":
        return DuckDBOfflineStoreConfig()
    from feast.infra.offline_stores.contrib.spark_offline_store.spark import SparkOfflineStoreConfig

    return SparkOfflineStoreConfig(spark_conf=spark.conf(settings))


def _source(settings: Settings, build: Build) -> Any:
    """The build's snapshots, as the offline store wants to be told."""
    about = {
        "name": "snapshots",
        "path": str(build.folder.absolute() / "*.parquet"),  # the folder also holds the manifest
        "timestamp_field": "moment",
        "created_timestamp_column": "known_at",
        "description": "One file a moment; sorted by customer",
    }
    if settings.engine != "spark":
        return feast.FileSource(file_format=ParquetFormat(), **about)
    from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource

    return SparkSource(file_format="parquet", **about)


def _not_the_advice(record: logging.LogRecord) -> bool:
    """Feast says that the flag typically has no effect on a file registry; it has (see the tests)."""
    return "serve_features_while_materializing" not in record.getMessage()


def _apply(settings: Settings, store: Any, build: Build) -> Any:
    """Register the build's view and return it."""
    _check_build(build)
    shop = shop_of(settings)
    declared = catalogue(shop.declared("FEATURES"))
    customer = feast.Entity(name="customer", join_keys=["customer_id"], value_type=feast.ValueType.STRING)
    source = _source(settings, build)
    fields = [feast.Field(name="customer_id", dtype=String)]
    for name, hash in build.features.items():
        feature = declared.get(name)
        if feature is None or feature_hash(feature, declared, shop.of_log) != hash:
            fields.append(feast.Field(name=name, dtype=Float32, tags={"hash": hash}))
        else:
            tags = {"en": feature.words.en, "zh": feature.words.zh, "unit": feature.unit, "hash": hash}
            words = f"{feature.words.en} · {feature.words.zh}"
            fields.append(feast.Field(name=name, dtype=Float32, description=words, tags=tags))
    view = feast.FeatureView(
        name=VIEW,
        entities=[customer],
        ttl=_TTL,
        source=source,
        schema=fields,
        online=True,
        description="What was known about a customer at a moment",
        tags={"build": build.id},
    )
    store.apply([customer, view])
    told.note(settings, build)
    return view


def _check_build(build: Build) -> None:
    wrong = [name for name in build.features if name.endswith("_y") or name in _TAKEN]
    if wrong:
        raise FeatureError(
            f"Feast's DuckDB store would drop or confuse {', '.join(wrong)}: it uses such names itself, "
            "and every one that ends in _y. Declare the feature under another name"
        )
    if not build.moments:
        raise NoBuild(f"build {build.id} has no snapshot: run `propensity features build`")
    schema = pq.read_schema(build.path(build.moments[-1]))
    expected: Mapping[str, pa.DataType] = {
        "customer_id": pa.string(),
        "moment": MOMENT,
        "known_at": MOMENT,
        **dict.fromkeys(build.features, pa.float32()),
    }
    types = dict(zip(schema.names, schema.types, strict=True))
    other = [name for name, type in expected.items() if types.get(name) != type]
    if other:
        raise FeatureError(
            f"{build.path(build.moments[-1])}: {', '.join(other)} absent or of another type than text, "
            "microseconds in UTC, or float32: delete the build's folder and run `propensity features build`"
        )


def _check_names(build: Build, names: Sequence[str], by: str) -> None:
    absent = [name for name in names if name not in build.features]
    if absent or not names or len(set(names)) != len(names):
        raise FeatureMismatch(
            f"{by} needs one or more features of build {build.id}, each once"
            + (f"; it lacks {', '.join(absent)}. Rebuild with their declarations" if absent else "")
        )


def _check_spine(build: Build, spine: pa.Table, names: Sequence[str]) -> None:
    types = dict(zip(spine.schema.names, spine.schema.types, strict=True))
    if types.get("customer_id") not in (pa.string(), pa.large_string()) or types.get("moment") != MOMENT:
        raise FeatureError(
            "a spine needs customer_id as text and moment in microseconds, UTC; it has "
            f"{types.get('customer_id')} and {types.get('moment')}: cast them"
        )
    if spine["customer_id"].null_count or spine["moment"].null_count:
        raise FeatureError("a spine row without customer_id or moment has no features: leave it out")
    clash = sorted(set(names) & set(types))
    if clash:
        raise FeatureError(f"the spine has {', '.join(clash)} already: drop or rename them")
    lacking = sorted(set(pc.unique(spine["moment"]).to_pylist()) - set(build.moments))
    if lacking:
        raise NoBuild(
            f"build {build.id} has no snapshot of {', '.join(iso(m) for m in lacking[:5])}: "
            "run `propensity features build` for these moments"
        )

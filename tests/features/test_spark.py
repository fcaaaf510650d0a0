"""The cluster runs the same definitions and the same kernel: a value of its own would be a second truth."""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from copies import copy_of

from features import store
from features.compute import engine, spark
from features.compute.builds import Build
from features.errors import FeatureError, SettingsError
from features.moments import parse_moment
from features.settings import Settings

pytestmark = pytest.mark.skipif(
    shutil.which("java") is None or importlib.util.find_spec("pyspark") is None,
    reason="the Spark engine needs Java 17 and the extra `spark`",
)
# A JVM of one minute: what it would compile for the hours after is never run, and costs most of that minute.
BRIEF = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
MOMENTS = [parse_moment("2017-06-04"), parse_moment("2017-12-03")]


@pytest.fixture(scope="module")
def here(small_journey: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Some households of the real log."""
    return copy_of(small_journey, tmp_path_factory.mktemp("embedded") / "home")


@pytest.fixture(scope="module")
def on_spark(here: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The same log in a home of its own, with the engine spark on two cores."""
    home = tmp_path_factory.mktemp("spark")
    shutil.copytree(here.home / "log", home / "log")
    settings = replace(here, home=home, engine="spark", spark_master="local[2]")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JDK_JAVA_OPTIONS", f"{os.environ.get('JDK_JAVA_OPTIONS', '')} {BRIEF}")
        yield settings
    spark.session(settings).stop()


def test_every_value_of_the_real_log_is_the_embedded_engines(here: Settings, on_spark: Settings) -> None:
    embedded, _ = engine.build(here, MOMENTS, current=False)
    clustered, computed = engine.build(on_spark, MOMENTS)
    assert computed == len(MOMENTS)
    assert clustered.id == embedded.id, "a release trained on one is served from the other"
    for moment in MOMENTS:
        assert embedded.read(moment).num_rows > 500
        assert clustered.path(moment).read_bytes() == embedded.path(moment).read_bytes()


def test_feasts_spark_store_retrieves_what_its_duckdb_store_does(on_spark: Settings) -> None:
    """Else a model trained on the cluster would have learned from other rows."""
    build, _ = engine.build(on_spark, MOMENTS)
    names = ["orders_30d", "spend_90d", "gap_median", "overdue"]
    ids = build.read(MOMENTS[0], ["customer_id"])["customer_id"].to_pylist()[::2]
    spine = pa.table(
        {
            "customer_id": ids * 2,
            "moment": pa.array(MOMENTS * len(ids), pa.timestamp("us", "UTC")),
            "label": list(range(2 * len(ids))),
        }
    )
    there = store.historical(on_spark, build, spine, names)
    here = store.historical(replace(on_spark, engine="embedded"), build, spine, names)
    assert len(here) > 400
    assert there.column_names == here.column_names
    for name in here.column_names:
        assert there[name].type == here[name].type
        assert np.array_equal(there[name].to_numpy(), here[name].to_numpy(), equal_nan=name in names)
    stranger = pa.table({"customer_id": ["nobody"], "moment": spine["moment"].slice(0, 1)})
    with pytest.raises(FeatureError, match="1 of 1 rows"):
        store.historical(on_spark, build, stranger, names)


def test_an_engine_that_there_is_not_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match="PROPENSITY_ENGINE is 'sparkle': choose embedded or spark"):
        Settings.from_env({"PROPENSITY_ENGINE": "sparkle"})


def test_nothing_of_spark_stays_behind(on_spark: Settings) -> None:
    engine.build(on_spark, MOMENTS)
    left = {path.name for path in (on_spark.home / "snapshots").iterdir()}
    assert left == {".lock", "CURRENT", Build.open(on_spark).id}
    assert not list(Path.cwd().glob("spark-warehouse"))

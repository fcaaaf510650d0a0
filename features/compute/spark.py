"""The same definitions and the same kernel on a cluster: PROPENSITY_ENGINE=spark, and the extra `spark`.

Spark reads the log, brings each customer's rows of all tables together, in ranges of customers, and hands
each range to `shard.compute`, the very function that the embedded engine calls. The results come back by way
of a scratch folder, which every worker must reach, as it must the log: both lie in PROPENSITY_HOME.
"""

import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from features.compute import plan, shard
from features.definitions import Feature
from features.errors import FeatureError, SettingsError
from features.log import Log
from features.moments import to_us
from features.settings import Settings
from features.shop import Shop

if TYPE_CHECKING:
    from features.compute.engine import Progress

_MOMENT = "_moment"  # of a result: its place among the moments
_TABLE = "_table"  # of a row of the log


def session(settings: Settings) -> Any:
    """The Spark session: of PROPENSITY_SPARK_MASTER, quiet, in UTC; on this machine alone, on loopback.

    SettingsError if PySpark or Java is not there.
    """
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        raise SettingsError(
            "PROPENSITY_ENGINE is spark, but PySpark is not installed: `pip install 'propensity[spark]'`"
        ) from None
    if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
        raise SettingsError(
            "PROPENSITY_ENGINE is spark, but there is no Java: install Java 17 or set JAVA_HOME"
        )
    if settings.spark_master.startswith("local"):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
    builder = SparkSession.builder.appName("propensity").master(settings.spark_master)
    for key, value in conf(settings).items():
        builder = builder.config(key, value)
    result = builder.getOrCreate()
    result.sparkContext.setLogLevel("ERROR")
    return result


def conf(settings: Settings) -> dict[str, str]:
    """What we ask of Spark, whatever else its own configuration says."""
    local = settings.spark_master.startswith("local")
    loopback = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"} if local else {}
    return {
        **loopback,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
        "spark.sql.session.timeZone": "UTC",
    }


def compute(
    session: Any,
    scratch: Path,
    log: Log,
    shop: Shop,
    features: Mapping[str, Feature],
    moments: Sequence[datetime],
    customers_at_once: int,
    progress: "Progress | None" = None,
) -> Iterator[tuple[datetime, pa.Table]]:
    """Yield (moment, table) as `engine.compute` does: every moment's customers ascending.

    scratch: a folder that the workers reach; it is emptied and removed. customers_at_once: of a worker.
    """
    from pyspark.sql import functions as F

    tables = ["customers", *(t for t in plan.tables(features) if t != "calendar")]
    columns = {t: plan.columns(t, plan.of_table(features, t)) for t in tables}
    calendar = log.read("calendar") if "calendar" in plan.tables(features) else None
    rows = reduce(
        lambda a, b: a.unionByName(b, allowMissingColumns=True),
        (
            session.read.parquet(*(path.absolute().as_uri() for path in log.paths(table)))
            .select(*columns[table])
            .withColumn(_TABLE, F.lit(table))
            for table in tables
        ),
    )
    customers = sum(int(str(facts["rows"])) for facts in log.files["customers"].values())
    parts = max(session.sparkContext.defaultParallelism, -(-customers // customers_at_once))

    def work(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        held = list(batches)
        if held:
            yield from _shard(pa.Table.from_batches(held), columns, calendar, features, moments, shop)

    result = f"customer_id string, {', '.join(f'`{name}` float' for name in features)}, {_MOMENT} int"
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        if progress:
            progress("features on Spark", 0, 1)
        computed = rows.repartitionByRange(parts, "customer_id").mapInArrow(work, result)
        computed.write.partitionBy(_MOMENT).parquet(scratch.absolute().as_uri())
        for place, moment in enumerate(moments):
            last = ""
            # Spark names files by partition, and partitions are ranges of customers.
            for path in sorted((scratch / f"{_MOMENT}={place}").glob("part-*.parquet")):
                table = _stamped(pq.read_table(path, partitioning=None), moment, features)
                if table["customer_id"][0].as_py() <= last:
                    raise FeatureError(f"Spark gave the customers of {path} in another order than by id")
                last = table["customer_id"][-1].as_py()
                yield moment, table
        if progress:
            progress("features on Spark", 1, 1)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _shard(
    rows: pa.Table,
    columns: Mapping[str, Sequence[str]],
    calendar: pa.Table | None,
    features: Mapping[str, Feature],
    moments: Sequence[datetime],
    shop: Shop,
) -> Iterator[pa.RecordBatch]:
    """On a worker: the rows of all tables of a range of customers -> their features at every moment."""
    import pyarrow.compute as pc

    events = {
        table: rows.filter(pc.equal(rows[_TABLE], table)).select(list(names))
        for table, names in columns.items()
    }
    customers = shard.known_customers(events["customers"])
    if calendar is not None:
        events["calendar"] = calendar
    for place, table in enumerate(shard.compute(customers, events, features, moments, shop)):
        values = table.drop_columns(["moment", "known_at"])
        number = pa.array([place], pa.int32()).take(pa.array([0] * len(values), pa.int32()))
        yield from values.append_column(_MOMENT, number).to_batches()


def _stamped(values: pa.Table, moment: datetime, features: Mapping[str, Feature]) -> pa.Table:
    stamp = pa.scalar(to_us(moment), pa.int64()).cast(pa.timestamp("us", "UTC"))
    stamps = pa.repeat(stamp, len(values))
    columns = [values["customer_id"], stamps, stamps, *(values[name] for name in features)]
    return pa.table(columns, schema=shard.schema(features))

"""A log that arrives piece by piece must teach a model exactly what the whole log would have taught it."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from logs import real_data

from features.compute.engine import build
from features.ingestion.ingest import take
from features.log import Log
from features.moments import DAY, parse_moment
from features.settings import Settings
from features.shop import shop_of
from features.sources import Source, open_source
from features.sources.complete_journey import FILES

MOMENTS = [parse_moment(day) for day in ("2017-05-07", "2017-09-03", "2017-12-31")]
CUTS = [moment + 2 * DAY for moment in MOMENTS]  # a delivery comes two days after each
LATE = "CASE WHEN hash(order_id) % 20 = 0 THEN INTERVAL 40 DAY ELSE INTERVAL 0 DAY END"


def _until(source: Source, until: str) -> Source:
    """The source with a twentieth of the orders known 40 days late, as far as known before a moment."""
    tables = {}
    for name, sql in source.tables.items():
        if name == "order_lines":
            sql = f"SELECT * REPLACE (known_at + {LATE} AS known_at) FROM ({sql})"
        if name not in ("products", "customers", "identities"):
            sql = f"SELECT * FROM ({sql}) WHERE known_at < TIMESTAMPTZ '{until}'"
        tables[name] = sql
    return replace(
        source,
        tables=tables,
        version=until,
        complete_until=f"SELECT least(({source.complete_until}), TIMESTAMPTZ '{until}')",
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """The real files of every 64th household."""
    folder = tmp_path_factory.mktemp("some")
    for name in FILES:
        table = pq.read_table(real_data("complete_journey") / f"{name}.parquet")
        if "household_id" in table.column_names:
            household = table["household_id"].cast(pa.int64())
            table = table.filter(
                pc.equal(pc.subtract(household, pc.multiply(pc.divide(household, 50), 50)), 1)
            )
        pq.write_table(table, folder / f"{name}.parquet")
    return open_source(shop_of(Settings()), "complete_journey", folder)


def test_a_log_replayed_in_the_order_of_arrival_gives_the_same_training_set(
    source: Source, tmp_path: Path
) -> None:
    whole, replayed = Settings(home=tmp_path / "whole"), Settings(home=tmp_path / "replayed")
    take(whole, [_until(source, "2019-01-01")])
    expected, _ = build(whole, MOMENTS)
    late = 0
    for number, cut in enumerate(CUTS):
        done = take(replayed, [_until(source, cut.isoformat())])
        past = MOMENTS[: number + 1]
        made, _ = build(replayed, past)
        for moment in past:
            now, then = made.read(moment), expected.read(moment)
            assert now.column_names == then.column_names
            assert repr(now.to_pylist()) == repr(then.to_pylist()), f"as of {moment}, after {cut}"
        late = late or done.tables["orders"]
    assert done.tables["orders"] > late > 100


def test_late_rows_are_in_that_log(source: Source, tmp_path: Path) -> None:
    """Or the test above could not fail: features as of a past moment would differ if `at` alone counted."""
    home = Settings(home=tmp_path / "home")
    take(home, [_until(source, "2019-01-01")])
    orders = Log.open(home).read("orders", ["at", "known_at"])
    behind = pc.sum(pc.greater(pc.subtract(orders["known_at"], orders["at"]), pa.scalar(30 * DAY))).as_py()
    assert behind > len(orders) * 0.03

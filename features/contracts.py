"""What every declared feature must pass, on the shop's own log: `propensity check` runs these.

The tests run the same contracts, and two more (a shift of 364 days; rows, files and buckets in any order),
on random logs.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.compute import reference
from features.compute.engine import compute
from features.compute.events import conditions
from features.definitions import CHANNELS, UNITS, Feature
from features.errors import FeatureError
from features.ingestion.canonical import arrow_schema
from features.log import Log
from features.shop import Shop
from features.tables import TABLES
from features.toml import NAME

_CHINESE = re.compile(r"[\u4e00-\u9fff]")


def declaration_problems(features: Mapping[str, Feature]) -> list[str]:
    """What is wrong with the declarations themselves: a name, words or a unit that people cannot read."""
    problems = []
    for name, feature in features.items():
        if not NAME.fullmatch(name):
            problems.append(f"feature {name!r}: its name must be an identifier such as orders_30d")
        if name.endswith("_y"):
            problems.append(f"feature {name}: Feast's DuckDB store fails on names that end in _y")
        if not feature.words.en.strip() or _CHINESE.search(feature.words.en):
            problems.append(f"feature {name}: its English words are {feature.words.en!r}")
        if not _CHINESE.search(feature.words.zh):
            problems.append(f"feature {name}: its Chinese words are {feature.words.zh!r}")
        if feature.unit not in UNITS:
            problems.append(f"feature {name}: unit {feature.unit!r} is none of {', '.join(sorted(UNITS))}")
        if re.search(r"\bhour\s*\(|extract\s*\(\s*hour", feature.where or "", re.IGNORECASE):
            problems.append(
                f"feature {name}: write `hour` in its condition: local_at is 00:00 where only a day is known"
            )
        if feature.unit == "channel" and feature.vocabulary != tuple(CHANNELS):
            problems.append(f"feature {name}: its unit is channel, so its vocabulary must be CHANNELS")
    return problems


def shop_problems(shop: Shop, features: Mapping[str, Feature]) -> list[str]:
    """What is wrong with declarations, as far as no log is needed; the shop's own with their place.

    features: all that are declared.
    """
    own = {feature.name for feature in shop.declared("FEATURES")}
    problems = [
        f"{shop.place(name, 'FEATURES')}: {problem}" if name in own else problem
        for name, feature in features.items()
        for problem in declaration_problems({name: feature})
    ]
    for table in TABLES.values():
        here = {name: features[name] for name in sorted(own) if features[name].table == table.name}
        rows = arrow_schema(table, shop.exponent).empty_table()
        rows = rows.select([column for column in rows.column_names if column != "customer_id"])
        try:
            conditions(rows.append_column("local_at", pa.array([], pa.timestamp("us"))), here, shop)
        except FeatureError as error:
            problems.append(str(error))
    return problems


def value_problems(
    log: Log,
    shop: Shop,
    features: Mapping[str, Feature],
    moments: Sequence[datetime],
    customers: Sequence[str],
) -> list[str]:
    """Features whose values differ from the reference, or change when the future is taken away."""
    problems: dict[str, str] = {}
    with TemporaryDirectory() as folder:
        part = part_of(log, Path(folder) / "all", customers, None)
        now = _values(part, shop, features, moments)
        for moment in moments:
            slow = reference.compute(part, shop, features, moment)
            past = _values(
                part_of(log, Path(folder) / f"{moment:%Y%m%d}", customers, moment), shop, features, [moment]
            )
            for (at, customer), values in now.items():
                if at != moment:
                    continue
                for name, fast in values.items():
                    if not _same(fast, slow[customer][name]):
                        problems[name] = f"feature {name} differs from the reference at {moment:%Y-%m-%d}"
                    if not _same(fast, past[moment, customer][name]):
                        problems[name] = f"feature {name} at {moment:%Y-%m-%d} reads what was known later"
    return list(problems.values())


def _same(a: float, b: float) -> bool:
    return bool(np.array_equal(np.float32(a), np.float32(b), equal_nan=True))


def _values(
    log: Log, shop: Shop, features: Mapping[str, Feature], moments: Sequence[datetime]
) -> dict[tuple[datetime, str], dict[str, float]]:
    return {
        (moment, row["customer_id"]): {name: row[name] for name in features}
        for moment, table in compute(log, shop, features, moments)
        for row in table.to_pylist()
    }


def part_of(log: Log, folder: Path, customers: Sequence[str], known_by: datetime | None) -> Log:
    """The log of some customers, as far as it was known by a moment."""
    files: dict[str, dict[str, dict[str, object]]] = {}
    for name in log.tables:
        columns = TABLES[name].columns
        wanted = pc.scalar(True)
        if "customer_id" in columns:
            wanted &= pc.field("customer_id").isin(pa.array(customers, pa.string()))
        if known_by is not None and "known_at" in columns:
            wanted &= pc.field("known_at") <= pa.scalar(known_by)
        paths = log.paths(name)
        read = (pq.read_table(path, filters=wanted, partitioning=None) for path in paths)
        table = pa.concat_tables(log.completed(name, rows) for rows in read)
        path = folder / name / "part.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(table, path)
        files[name] = {"part": {"rows": len(table), "sha256": ""}}
    return replace(log, folder=folder, files=files)

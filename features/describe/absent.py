"""Which features a log cannot feed, by the table or the column that it lacks; and their names in short."""

import re
from collections.abc import Iterable

import pyarrow.parquet as pq

from features.compute.engine import available
from features.definitions import Feature
from features.describe.facts import Absent
from features.log import Log
from features.tables import TABLES


def absent(log: Log, features: dict[str, Feature]) -> tuple[Absent, ...]:
    """Which features will be missing or empty, each under the first table or column that it lacks."""
    known = available(log, features)
    empty = {table: _empty_columns(log, table) for table in log.tables}
    groups: dict[tuple[str, str | None], list[str]] = {}

    def lacks(feature: Feature) -> tuple[str, str | None] | None:
        if feature.table is None:
            return next(filter(None, (lacks(features[name]) for name in feature.inputs)), None)
        if feature.table not in log.tables:
            return feature.table, None
        # What is only asked to be null (`ref is null`: no return) may be so in every row, and nothing is lost.
        where = re.sub(r"'[^']*'|\w+ is null", "", feature.where or "")
        lacking = ({feature.column or ""} | set(re.findall(r"\w+", where))) & empty[feature.table]
        return (feature.table, min(lacking)) if lacking else None

    for name, feature in features.items():
        lacking = lacks(feature)
        if lacking is not None:
            groups.setdefault(lacking, []).append(name)
    assert all(name not in known for (_, column), names in groups.items() if column is None for name in names)
    return tuple(Absent(table, column, tuple(names)) for (table, column), names in groups.items())


def _empty_columns(log: Log, table: str) -> set[str]:
    """Columns without a value in any row, by the files' own statistics."""
    filled: set[str] = set()
    for path in log.paths(table):
        metadata = pq.ParquetFile(path).metadata
        for group in range(metadata.num_row_groups):
            for place in range(metadata.num_columns):
                column = metadata.row_group(group).column(place)
                statistics = column.statistics
                if statistics is None or statistics.null_count < metadata.row_group(group).num_rows:
                    filled.add(column.path_in_schema.split(".")[0])
    return set(TABLES[table].columns) - filled


def in_short(names: Iterable[str]) -> str:
    """Names of features, a family of windows in one.

    >>> in_short(["orders_7d", "orders_30d", "tenure", "spend_90d"])
    'orders_{7,30}d, tenure, spend_90d'
    """
    families: dict[str, list[str]] = {}
    for name in names:
        stem, days = re.fullmatch(r"(.+?)(?:_(\d+)d)?", name).groups()  # type: ignore[union-attr]
        families.setdefault(f"{stem}_" if days else stem, []).append(days or "")
    shown = []
    for stem, days in families.items():
        if days == [""]:
            shown.append(stem)
        else:
            shown.append(f"{stem}{days[0] if len(days) == 1 else '{' + ','.join(days) + '}'}d")
    return ", ".join(shown)

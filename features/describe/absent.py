"""Which features a log cannot feed, by the table or the column that it lacks; and their names in short."""

import re
from collections.abc import Iterable, Mapping

import pyarrow.parquet as pq

from features.definitions import Feature
from features.describe import say
from features.describe.facts import Absent, Untimed
from features.log import Log
from features.tables import PRECISION, TABLES
from features.words import Words

# Money that a log has as 0 where no file gives it: 0 in every row, it was never given, and nothing is known of it.
GIVEN = ("discount", "coupon")
HOUR = "hour"  # of an event: a table of which only days are known lacks it, as if it were a column


def absent(log: Log, features: Mapping[str, Feature]) -> tuple[Absent, ...]:
    """Which features will be missing or empty, each under the first table or column that it lacks."""
    empty = {table: _empty_columns(log, table) for table in log.tables}
    groups: dict[tuple[str, str | None], list[str]] = {}

    def lacks(feature: Feature) -> tuple[str, str | None] | None:
        if feature.table is None:
            return next(filter(None, (lacks(features[name]) for name in feature.inputs)), None)
        if feature.table not in log.tables:
            return feature.table, None
        lacking = _lacking(feature, empty[feature.table])
        return (feature.table, lacking) if lacking else None

    for name, feature in features.items():
        lacking = lacks(feature)
        if lacking is not None:
            groups.setdefault(lacking, []).append(name)
    return tuple(Absent(table, column, tuple(names)) for (table, column), names in groups.items())


def untimed(log: Log, features: Mapping[str, Feature]) -> tuple[Untimed, ...]:
    """Tables of which some events, not all, are known by their day alone; and the features that ask for hours."""

    def asks(feature: Feature, table: str) -> bool:
        if feature.table is None:
            return any(asks(features[name], table) for name in feature.inputs)
        return feature.table == table and HOUR in _read(feature)

    found = []
    for table in sorted(log.tables):
        filled, rows = _filled(log, table)
        if 0 < filled.get(PRECISION, 0) < rows:
            names = tuple(name for name, feature in features.items() if asks(feature, table))
            found.append(Untimed(table, filled[PRECISION], rows, names))
    return tuple(one for one in found if one.features)


def remarks(log: Log, features: Mapping[str, Feature]) -> dict[str, Words]:
    """feature -> why it is empty although its table is there, or not known of some customers."""
    said: dict[str, Words] = {}
    for one in untimed(log, features):
        of = say.words(
            "not known where only the day is ({n} of {of} {table})",
            "仅有日期时未知（{of}条{table}中的{n}条）",
            n=one.days, of=one.rows, table=say.table(one.table),
        )  # fmt: skip
        said |= dict.fromkeys(one.features, of)
    for lacking in absent(log, features):
        if lacking.column is not None:
            of = say.lacking(lacking.table, lacking.column)
            said |= dict.fromkeys(lacking.features, say.words("empty: no {of}", "为空：没有{of}", of=of))
    return said


def _lacking(feature: Feature, empty: set[str]) -> str | None:
    """The empty column without which a feature of a table has no row; None if it has some.

    Of a condition's alternatives one is enough: all of what is no correction counts where nothing was corrected.
    """
    if feature.column in empty:
        return feature.column
    ways = re.split(r"\s+or\s+", feature.where or "") if "(" not in (feature.where or "") else [feature.where]
    lacked = [_asked(way) & empty for way in ways]
    return min(set().union(*lacked)) if all(lacked) else None


def _asked(where: str | None) -> set[str]:
    """Words of a condition, the columns that it reads among them."""
    # What is only asked to be null (`ref is null`: no return) may be so in every row, and nothing is lost.
    return set(re.findall(r"\w+", re.sub(r"'[^']*'|\w+ is null|\bhour\s*\(", "", where or "")))


def _read(feature: Feature) -> set[str]:
    """The columns that a feature of a table reads, and more words of its condition."""
    return {feature.column or ""} | _asked(feature.where)


def _empty_columns(log: Log, table: str) -> set[str]:
    """Columns without a value in any row; the hour, where only days are known."""
    filled, rows = _filled(log, table)
    empty = {column for column in TABLES[table].columns if not filled.get(column)}
    return empty | ({HOUR} if filled.get(PRECISION) == rows else set())


def _filled(log: Log, table: str) -> tuple[dict[str, int], int]:
    """Column -> in how many rows it has a value, by the files' own statistics; and how many rows there are."""
    filled: dict[str, int] = {}
    rows = 0
    for path in log.paths(table):
        metadata = pq.read_metadata(path)
        rows += metadata.num_rows
        for group in map(metadata.row_group, range(metadata.num_row_groups)):
            for column in map(group.column, range(group.num_columns)):
                name, known = column.path_in_schema.split(".")[0], column.statistics
                nothing = name in GIVEN and known and known.has_min_max and known.min == known.max == 0
                there = 0 if nothing else group.num_rows - (known.null_count if known else 0)
                filled[name] = filled.get(name, 0) + there
    return filled, rows


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

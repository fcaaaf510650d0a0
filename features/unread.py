"""What a log holds and no feature reads: channels of other names than ours, scores that nobody declared."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from features.definitions import CHANNELS, Feature
from features.tables import TABLES
from features.words import Words

if TYPE_CHECKING:
    from features.log import Log

NAMED = 8  # values in one sentence


@dataclass(frozen=True)
class Held:
    """A channel of a table, or the name of an external score, and the rows that have it."""

    table: str
    column: str  # channel, name
    value: str
    rows: int
    labels: tuple[str, ...] = ()  # of a score that is mostly a category; empty if it is a number


@dataclass(frozen=True)
class Unread:
    """what: is there and feeds no feature. do: how it would. kind: channel, score."""

    kind: str
    what: Words
    do: Words


def held(log: "Log") -> tuple[Held, ...]:
    """Every channel and every score of a log, the most frequent first."""
    from features import duck

    found: list[Held] = []
    with duck.connect() as connection:
        for table in (t for t, of in TABLES.items() if t in log.tables and "channel" in of.columns):
            files = f"read_parquet({[str(p) for p in log.paths(table)]}, hive_partitioning = false)"
            rows = connection.execute(
                f"""SELECT channel, count(*) FROM {files} WHERE channel IS NOT NULL
                    GROUP BY ALL ORDER BY 2 DESC, 1"""
            ).fetchall()
            found += [Held(table, "channel", value, count) for value, count in rows]
        if "scores" in log.tables:
            files = f"read_parquet({[str(p) for p in log.paths('scores')]}, hive_partitioning = false)"
            rows = connection.execute(
                f"""SELECT name, count(*), CASE WHEN count(label) > count("value") THEN
                           list_sort(list(DISTINCT label) FILTER (label IS NOT NULL))[:{NAMED}] END
                    FROM {files} GROUP BY ALL ORDER BY 2 DESC, 1"""
            ).fetchall()
            found += [Held("scores", "name", name, count, tuple(of or ())) for name, count, of in rows]
    return tuple(found)


def unread(there: Iterable[Held], features: Mapping[str, Feature], own: Collection[str] = ()) -> list[Unread]:
    """What of it no feature reads: a sentence on channels, one on each score. own: `Shop.channels`, of which
    none is another's name: a consent that was translated would not bind the actions that use it."""
    channels = {table: read for table in TABLES if (read := _read(table, "channel", features))}
    scores = _read("scores", "name", features)
    strange = [
        one
        for one in there
        if one.column == "channel"
        and one.value not in {*CHANNELS, *own, *channels.get(one.table, {one.value})}
        and (one.table, one.value) != ("consents", "all")
    ]
    return [
        *([_channels(strange, own)] if strange else []),
        *(_score(one) for one in there if one.column == "name" and one.value not in scores),
    ]


def _read(table: str, column: str, features: Mapping[str, Feature]) -> set[str]:
    """The values of a column that a table's features name; empty if none of them looks at it."""
    values: set[str] = set()
    for feature in features.values():
        if feature.table == table and feature.column == column:
            values.update(feature.vocabulary or ())
        if feature.table == table and re.search(rf"\b{column}\b", feature.where or ""):
            values.update(re.findall(r"'([^']*)'", feature.where or ""))
    return values


def _channels(values: list[Held], own: Collection[str]) -> Unread:
    """Of the tables whose features tell channels apart."""
    shown = ", ".join(f'"{one.value}" ({one.rows:,} × {one.table})' for one in values[:NAMED])
    more = " ..." if len(values) > NAMED else ""
    known, first = ", ".join(dict.fromkeys((*CHANNELS, *own))), values[0].value
    mapped = f'{{ column = "...", map = {{ "{first}" = "web" }} }}'
    return Unread(
        "channel",
        Words(
            f"No feature knows these channels: {shown}{more}. Known: {known}.",
            f"没有特征识别这些渠道：{shown}{more}。已知渠道：{known}。",
        ),
        Words(
            f"Where one of them is meant, translate it in the mapping: channel = {mapped}",
            f"如指已知渠道之一，请在映射中翻译：channel = {mapped}",
        ),
    )


def _score(one: Held) -> Unread:
    name = re.sub(r"[^a-z0-9]+", "_", one.value.lower()).strip("_")
    name = name if re.match("[a-z]", name) else f"score_{name}".rstrip("_")
    measured = f'column="label", vocabulary={one.labels!r}' if one.labels else 'column="value"'
    line = (
        f'Feature(name="{name}", words=Words("{name}", "外部评分{name}"), unit="score", measure="last", '
        f'table="scores", {measured}, where="name = \'{one.value}\'"),'
    )
    return Unread(
        "score",
        Words(
            f'No feature reads the external score "{one.value}" ({one.rows:,} rows).',
            f"没有特征使用外部评分“{one.value}”（{one.rows:,} 行）。",
        ),
        Words(f"Declare it in FEATURES of shop.py: {line}", f"请在 shop.py 的 FEATURES 中声明：{line}"),
    )

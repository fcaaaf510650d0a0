"""What every declared feature must pass, whatever the log: models must not learn from the future.

`propensity check` holds a shop's own features to the first two on the shop's own log.
"""

import random
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from logs import write_log
from random_logs import Rows

from features.compute import reference
from features.compute.engine import compute
from features.definitions import Feature
from features.log import Log
from features.moments import DAY
from features.shop import Shop

Answers = dict[tuple[datetime, str], dict[str, float]]


def answers(
    log: Log, shop: Shop, features: Mapping[str, Feature], moments: Sequence[datetime], bucket: int = 50_000
) -> Answers:
    """(moment, customer) -> feature -> value, by the engine."""
    result: Answers = {}
    for moment, table in compute(log, shop, features, moments, bucket=bucket):
        columns = [table[name].to_numpy().tolist() for name in features]
        for id, *values in zip(table["customer_id"].to_pylist(), *columns, strict=True):
            result[moment, id] = dict(zip(features, values, strict=True))
    return result


def same(a: Mapping[Any, Mapping[str, float]], b: Mapping[Any, Mapping[str, float]]) -> None:
    """Fail with the first customer and all her features whose float32 values differ; null equals null."""
    assert a.keys() == b.keys()
    for key, values in a.items():
        x, y = (np.array(list(each.values()), np.float32) for each in (values, b[key]))
        differing = [n for n, u, v in zip(values, x, y, strict=True) if not np.array_equal(u, v, True)]
        assert differing == [], key


def equals_the_reference(
    folder: Path, rows: Rows, shop: Shop, features: Mapping[str, Feature], moments: Sequence[datetime]
) -> None:
    """Every value is the slow, obvious one, and every known customer has a row."""
    log = write_log(folder, rows)
    slow = {
        (moment, id): values
        for moment in moments
        for id, values in reference.compute(log, shop, features, moment).items()
    }
    same(answers(log, shop, features, moments), {k: {n: v[n] for n in features} for k, v in slow.items()})


def nothing_known_later_changes_it(
    folder: Path, rows: Rows, shop: Shop, features: Mapping[str, Feature], moment: datetime
) -> None:
    """Without all that became known after the moment, the values are the same."""
    then = {
        table: [e for e in events if "known_at" not in e or e["known_at"] <= moment]
        for table, events in rows.items()
    }
    now = answers(write_log(folder / "now", rows), shop, features, [moment])
    same(now, answers(write_log(folder / "then", then), shop, features, [moment]))


def a_shift_of_everything_changes_nothing(
    folder: Path, rows: Rows, shop: Shop, features: Mapping[str, Feature], moments: Sequence[datetime]
) -> None:
    """364 days later, the calendar too, every weekday and hour is the same, so is every value."""
    shift = 364 * DAY
    moved = {
        table: [{c: v + shift if isinstance(v, datetime) else v for c, v in e.items()} for e in events]
        for table, events in rows.items()
    }
    before = answers(write_log(folder / "before", rows), shop, features, moments)
    after = answers(write_log(folder / "after", moved), shop, features, [m + shift for m in moments])
    same({(m + shift, id): v for (m, id), v in before.items()}, after)


def order_files_and_buckets_change_nothing(
    folder: Path,
    rows: Rows,
    shop: Shop,
    features: Mapping[str, Feature],
    moments: Sequence[datetime],
    seed: int,
) -> None:
    """Rows in another order, in two files, computed customer by customer: the same values."""
    draw = random.Random(seed)
    shuffled = {table: draw.sample(events, len(events)) for table, events in rows.items()}
    plain = answers(write_log(folder / "plain", rows), shop, features, moments)
    parts = write_log(folder / "shuffled", shuffled, parts=2)
    same(plain, answers(parts, shop, features, moments, bucket=1))

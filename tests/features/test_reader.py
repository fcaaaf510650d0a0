"""What the engine reads of a file: never a column in which nothing is, with the same answers."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from logs import write_log
from random_logs import with_customers

from features.compute import plan, reference
from features.compute.engine import available, compute
from features.definitions import catalogue
from features.log import Log
from features.moments import DAY, parse_moment
from features.settings import Settings
from features.shop import Shop

SHOP = Shop.load(Settings().shop)
START, CUSTOMERS = parse_moment("2017-01-02T18:30:00Z"), ("a", "b", "c", "d")


def test_a_column_null_in_some_groups_answers_as_the_reference_does(tmp_path: Path) -> None:
    """Else a shop whose channel or corrections begin late loses features, or cannot build at all."""
    log = _log(tmp_path, some={"c"})
    _agrees(log)
    answered = _computed(log)
    assert answered["c"]["order_max_365d"] == 90
    assert answered["a"]["order_max_365d"] == 10
    channels = {customer: answered[customer]["order_channels_365d"] for customer in "ac"}
    assert channels == {"a": 0, "c": 2}
    assert np.isnan(answered["c"]["evening_orders_365d"])
    assert answered["a"]["evening_orders_365d"] == 2


def test_nothing_is_read_of_a_column_in_which_nothing_is(tmp_path: Path) -> None:
    """Else every build of most logs pays for corrections and days that no row of theirs has."""
    log = _log(tmp_path, some=set())
    _agrees(log)
    before, (path,) = _computed(log), log.paths("orders")
    metadata, content = pq.read_metadata(path), bytearray(path.read_bytes())
    for group in range(metadata.num_row_groups):
        for name in ("precision", "corrected", "channel"):
            column = metadata.row_group(group).column(metadata.schema.names.index(name))
            start = column.dictionary_page_offset or column.data_page_offset
            content[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(content)
    np.testing.assert_equal(_computed(log), before)


def test_a_function_is_no_column() -> None:
    """`hour(` asks for no precision of a time, and `hour` does."""
    assert plan.words(["hour(local_at) >= 17 and amount in(1, 2)"]) == {"local_at", "amount", "and"}
    assert plan.words(["hour >= 17 and kind in ('x')", None]) == {"hour", "and", "kind", "x"}


def _log(folder: Path, some: set[str]) -> Log:
    """Six orders a customer, each customer's a group of the file; what may be null is there for `some`."""
    orders: list[dict[str, Any]] = []
    for customer in CUSTOMERS:
        there = customer in some
        for n in range(6):
            at = START + 20 * n * DAY + 5 * n * DAY / 24
            orders.append(
                {
                    "order_id": f"{customer}{n}",
                    "customer_id": customer,
                    "at": at,
                    "known_at": at,
                    "amount": Decimal(10),
                    "discount": Decimal(0),
                    "channel": ("app", "web", None)[n % 3] if there else None,
                    "precision": "day" if there and n == 3 else None,
                    "corrected": Decimal(90) if there and n == 4 else None,
                }
            )
    log = write_log(folder, with_customers({"orders": orders, "order_lines": []}))
    (path,) = log.paths("orders")
    table = pq.read_table(path)
    path.unlink()
    pq.write_table(table, path, row_group_size=6)
    return log


def _computed(log: Log) -> dict[str, dict[str, float]]:
    """By customer, each in a range of customers of her own."""
    features, moment = available(log, catalogue()), parse_moment("2017-12-01")
    tables = [table for _, table in compute(log, SHOP, features, [moment], bucket=1)]
    return {row["customer_id"]: {n: row[n] for n in features} for t in tables for row in t.to_pylist()}


def _agrees(log: Log) -> None:
    """In ranges of one customer, and of all: groups are read alone, and together."""
    features, moment = available(log, catalogue()), parse_moment("2017-12-01")
    slow = reference.compute(log, SHOP, features, moment)
    fast = _computed(log)
    ((_, whole),) = compute(log, SHOP, features, [moment])
    at_once = {row["customer_id"]: row for row in whole.to_pylist()}
    assert set(slow) == set(fast) == set(at_once) == {*CUSTOMERS}
    for customer in CUSTOMERS:
        for name in features:
            expected = np.float32(np.nan if (v := slow[customer][name]) is None else v)
            np.testing.assert_allclose(fast[customer][name], expected, rtol=1e-6, err_msg=name)
            np.testing.assert_equal(at_once[customer][name], fast[customer][name], err_msg=name)

"""The as-of rule. If any of these fails, models learn from the future or answer from the wrong past."""

import math
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from contracts import answers, same
from copies import copy_of
from logs import OF_LOG, empty_shop, write_log
from random_logs import MOMENTS, START, with_customers

from features.compute.builds import Build
from features.compute.engine import available, build, compute
from features.definitions import Feature, catalogue, feature_hash
from features.errors import FeatureError, LogError, UsageError
from features.log import Log
from features.moments import DAY, parse_moment, to_us
from features.settings import Settings
from features.shop import Shop
from features.words import Words

SHOP = Shop.load(Settings().shop)
FEATURES = catalogue()


def test_one_moment_alone_gives_what_a_grid_gives(tmp_path: Path) -> None:
    rows = with_customers(
        {
            "orders": [
                {
                    "order_id": str(n),
                    "customer_id": "a",
                    "at": START + n * timedelta(days=9),
                    "known_at": START + n * timedelta(days=9),
                    "channel": "store",
                    "amount": Decimal(n),
                    "discount": Decimal(0),
                }
                for n in range(60)
            ],
            "order_lines": [],
            "contacts": [],
            "responses": [],
        }
    )
    log = write_log(tmp_path, rows)
    here = available(log, FEATURES)
    together = answers(log, SHOP, here, MOMENTS)
    for moment in MOMENTS:
        same({(moment, "a"): together[moment, "a"]}, answers(log, SHOP, here, [moment]))


def test_a_table_that_a_shop_lacks_takes_its_features_with_it_by_name(tmp_path: Path) -> None:
    log = write_log(tmp_path, {"orders": [], "customers": []})
    names = set(available(log, FEATURES))
    assert "orders_30d" in names
    assert "response_rate" not in names, "an expression over a missing table would be an invented number"
    assert not any(FEATURES[n].table == "contacts" for n in names)


def test_a_condition_that_asks_whose_a_row_is_is_told_what_it_may_ask(tmp_path: Path) -> None:
    """Else: the error says that a column does not exist, and lists it among those that do."""
    at = parse_moment("2017-06-01")
    order = {"order_id": "1", "customer_id": "a", "at": at, "known_at": at, "amount": Decimal(1)}
    log = write_log(tmp_path, with_customers({"orders": [order], "order_lines": []}))
    own = Feature(
        name="own", words=Words("o", "单"), unit="orders", measure="count", table="orders",
        where="customer_id IN ('a')",
    )  # fmt: skip
    with pytest.raises(FeatureError, match="no condition may ask") as raised:
        list(compute(log, SHOP, {"own": own}, [at + DAY]))
    assert "it can read order_id, at, known_at, " in str(raised.value)
    assert " and local_at" in str(raised.value)


def test_a_known_customer_of_the_real_log(journey: Settings) -> None:
    """Against a plain SQL count over the raw log: the numbers that the README speaks of are these."""
    moment = parse_moment("2017-12-03")
    snapshot = Build.open(journey).read(moment, ["customer_id", "orders_30d", "spend_90d"])
    log = Log.open(journey)
    (path,) = log.paths("orders")
    now, month, quarter = (to_us(moment - days * DAY) for days in (0, 30, 90))
    expected = duckdb.sql(
        f"""SELECT count(*) FILTER (epoch_us("at") > {month}), sum(amount)::DOUBLE
            FROM '{path}' WHERE epoch_us("at") <= {now} AND epoch_us("at") > {quarter}"""
    ).fetchall()[0]
    assert sum(snapshot["orders_30d"].to_pylist()) == expected[0]
    assert math.isclose(sum(snapshot["spend_90d"].to_pylist()), expected[1], rel_tol=1e-6)


def test_features_of_a_moment_after_the_logs_end_are_refused(journey: Settings) -> None:
    with pytest.raises(UsageError, match="complete until 2018-01-01T05:00:00Z"):
        build(journey, [parse_moment("2018-02-01")])


def test_building_again_computes_nothing_and_changes_no_byte(journey: Settings) -> None:
    moment = parse_moment("2017-12-03")
    first, _ = build(journey, [moment])
    before = first.path(moment).read_bytes()
    again, computed = build(journey, [moment])
    assert computed == 0
    assert again.path(moment).read_bytes() == before


def test_a_shops_own_feature_joins_the_build_and_words_do_not_change_its_hash(
    journey: Settings, tmp_path: Path
) -> None:
    shop = Shop.load(
        empty_shop(
            tmp_path,
            shop_py="""
from features.definitions import Feature
from features.words import Words

FEATURES = [
    Feature(name="big_orders", words=Words("Orders over 50", "大额订单数"), unit="orders",
            measure="count", table="orders", where="amount > 50", window=90),
    Feature(name="big_share", words=Words("Share of orders over 50", "大额订单占比"), unit="share",
            measure="expression", expression="big_orders / orders_90d"),
]
""",
        )
    )
    own = catalogue(shop.declared("FEATURES"))
    log, moment = Log.open(journey), parse_moment("2017-12-03")
    ((_, table),) = compute(
        log, shop, {n: own[n] for n in ("orders_90d", "big_orders", "big_share")}, [moment]
    )
    share = table["big_share"].to_numpy()
    assert 0 < np.nanmean(share) < 1
    other_words = {**own, "big_orders": replace(own["big_orders"], words=own["orders_7d"].words)}
    assert feature_hash(own["big_share"], own, OF_LOG) == feature_hash(own["big_share"], other_words, OF_LOG)
    other_logic = {**own, "big_orders": replace(own["big_orders"], where="amount > 60")}
    assert feature_hash(own["big_share"], own, OF_LOG) != feature_hash(own["big_share"], other_logic, OF_LOG)


def test_another_zone_in_shop_toml_is_refused_until_the_log_is_ingested_for_it(
    journey: Settings, tmp_path: Path
) -> None:
    """Days would silently be another zone's in the same build."""
    shop = empty_shop(tmp_path)
    text = (shop / "shop.toml").read_text("utf-8").replace("America/New_York", "Asia/Shanghai")
    (shop / "shop.toml").write_text(text, "utf-8")
    with pytest.raises(LogError, match="Asia/Shanghai.*ingest"):
        build(replace(journey, shop=shop), [parse_moment("2017-12-03")])


def test_days_of_another_zone_are_another_feature() -> None:
    """Else a release would silently answer from weekends and shopping days that it never learned."""
    here, there = OF_LOG, {**OF_LOG, "zone": "Asia/Shanghai"}
    feature = FEATURES["weekend_orders_30d"]
    assert feature_hash(feature, FEATURES, here) != feature_hash(feature, FEATURES, there)


def test_a_snapshot_that_is_gone_or_cut_short_is_built_again(journey: Settings, tmp_path: Path) -> None:
    home = copy_of(journey, tmp_path / "home")
    moments = [parse_moment("2017-12-03"), parse_moment("2017-12-10")]
    whole, _ = build(home, moments)
    before = [whole.path(moment).read_bytes() for moment in moments]
    for moment in moments:
        whole.path(moment).unlink()
    whole.path(moments[1]).write_bytes(before[1][:100])
    assert not set(moments) & set(Build.open(home).moments), "a damaged file must not pass for a snapshot"
    _, computed = build(home, moments)
    assert computed == 2
    assert [whole.path(moment).read_bytes() for moment in moments] == before


def test_two_builders_at_once_lose_nothing(journey: Settings, tmp_path: Path) -> None:
    home = copy_of(journey, tmp_path / "home")
    days = [parse_moment(f"2017-12-{day:02}") for day in (12, 13, 14, 15)]
    code = "import sys; from features.compute.engine import build; from features.settings import Settings;"
    code += "from features.moments import parse_moment; from pathlib import Path;"
    code += "build(Settings(home=Path(sys.argv[1])), [parse_moment(d) for d in sys.argv[2:]])"
    halves = [["2017-12-12", "2017-12-13"], ["2017-12-13", "2017-12-14", "2017-12-15"]]
    command = [sys.executable, "-c", code, str(home.home)]
    running = [subprocess.Popen([*command, *half]) for half in halves]
    assert [process.wait() for process in running] == [0, 0]
    done = Build.open(home)
    assert set(days) <= set(done.moments)
    assert all(done.read(day).num_rows > 2_000 for day in days)


def test_a_backfill_leaves_the_current_build_as_it_is(journey: Settings, tmp_path: Path) -> None:
    """A batch score of an old moment under new declarations would take the snapshots from under training."""
    now = Build.open(journey).id
    own = """
from features.definitions import Feature
from features.words import Words
FEATURES = [Feature(name="one_more", words=Words("a", "b"), unit="orders", measure="count", table="orders")]
"""
    shop = empty_shop(tmp_path, shop_py=own)
    other, _ = build(replace(journey, shop=shop), [parse_moment("2017-12-03")], current=False)
    assert other.id != now
    assert Build.open(journey).id == now


@pytest.mark.parametrize(
    "wrong",
    [
        {"measure": "median"},
        {"table": "ordersx"},
        {"window": "x"},
        {"window": 0},
        {"where": 1, "column": "x"},
    ],
)
def test_a_declaration_that_means_nothing_is_refused_where_it_stands(wrong: dict[str, Any]) -> None:
    good: dict[str, Any] = {
        "name": "f",
        "words": FEATURES["orders_7d"].words,
        "unit": "orders",
        "measure": "count",
    }
    with pytest.raises(FeatureError, match="^f: "):
        Feature(**{**good, "table": "orders", **wrong})

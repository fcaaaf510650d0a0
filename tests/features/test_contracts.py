"""Every feature, on random logs of every table. If one fails, models learn from the future."""

from datetime import datetime
from typing import Any

import contracts
import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_logs import MOMENTS, Rows, log_of, logs

from features.compute import plan
from features.compute.events import conditions
from features.contracts import declaration_problems
from features.definitions import Feature, catalogue
from features.errors import FeatureError
from features.ingestion.canonical import arrow_schema
from features.settings import Settings
from features.shop import Shop
from features.tables import TABLES
from features.words import Words

SHOP = Shop.load(Settings().shop)
FEATURES = catalogue()
contract = settings(
    max_examples=7,  # each of some 150 rows in every table, and of every feature
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@contract
@given(logs())
def test_every_feature_equals_the_slow_obvious_answer(tmp_path_factory: Any, rows: Rows) -> None:
    contracts.equals_the_reference(tmp_path_factory.mktemp("log"), rows, SHOP, FEATURES, MOMENTS)


@contract
@given(logs(), st.sampled_from(MOMENTS))
def test_nothing_known_later_changes_any_feature(tmp_path_factory: Any, rows: Rows, moment: datetime) -> None:
    contracts.nothing_known_later_changes_it(tmp_path_factory.mktemp("log"), rows, SHOP, FEATURES, moment)


@contract
@given(logs())
def test_shifting_everything_by_364_days_changes_no_feature(tmp_path_factory: Any, rows: Rows) -> None:
    contracts.a_shift_of_everything_changes_nothing(
        tmp_path_factory.mktemp("log"), rows, SHOP, FEATURES, MOMENTS
    )


@contract
@given(logs(), st.integers(0, 1000))
def test_row_order_files_and_buckets_change_no_feature(tmp_path_factory: Any, rows: Rows, seed: int) -> None:
    contracts.order_files_and_buckets_change_nothing(
        tmp_path_factory.mktemp("log"), rows, SHOP, FEATURES, MOMENTS, seed
    )


def test_random_logs_ask_something_of_every_feature(tmp_path_factory: Any) -> None:
    """A feature that is 0 or null on every random log would pass all the contracts unseen."""
    tables = [name for name in TABLES if name != "customers"]
    seen: dict[str, set[float]] = {name: set() for name in FEATURES}
    for seed, rows in enumerate((10, 100, 200, 400)):
        log = contracts.write_log(tmp_path_factory.mktemp("log"), log_of(seed, dict.fromkeys(tables, rows)))
        for values in contracts.answers(log, SHOP, FEATURES, MOMENTS).values():
            for name, value in values.items():
                if value == value:
                    seen[name].add(value)
    assert [name for name, values in seen.items() if len(values) < 2] == []


def test_every_table_of_events_has_features() -> None:
    """The log's tables are there to be known from."""
    events = {name for name, table in TABLES.items() if "known_at" in table.columns}
    assert events <= {f.table for f in FEATURES.values()}
    assert len(FEATURES) >= 120


def test_built_in_features_are_in_words_and_units_of_both_languages() -> None:
    assert declaration_problems(FEATURES) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"words": Words("Orders", "Orders")}, "Chinese"),
        ({"words": Words("", "订单")}, "English"),
        ({"unit": "apples"}, "unit 'apples'"),
        ({"name": "Orders 7"}, "identifier"),
        ({"name": "orders_y"}, "end in _y"),
    ],
)
def test_a_declaration_that_people_cannot_read_is_named(wrong: dict[str, Any], said: str) -> None:
    good: dict[str, Any] = {
        "name": "odd", "words": Words("Odd", "奇数"), "unit": "orders", "measure": "count", "table": "orders",
    }  # fmt: skip
    feature = Feature(**{**good, **wrong})
    (problem,) = declaration_problems({feature.name: feature})
    assert feature.name in problem
    assert said in problem


@pytest.mark.parametrize(
    "where", [None, "change = 'set'", "origin = 'imported' or true", "origin = 'imported' and a or (b)"]
)
def test_a_feature_cannot_read_derived_tags(where: str | None) -> None:
    """They are computed from features: a snapshot that is built again would count what came out of it."""
    words = Words("Tags", "标签")
    with pytest.raises(FeatureError, match="^odd: derived tags"):
        Feature(name="odd", words=words, unit="tags", measure="count", table="tags", where=where)
    good = "origin = 'imported' and (tag = 'x' or tag = 'this or that')"
    Feature(name="odd", words=words, unit="tags", measure="count", table="tags", where=good)


@pytest.mark.parametrize(
    ("measure", "column", "says"),
    [
        ("attribute", "label", "own: measure is 'attribute': expected one of count, sum"),
        ("counts", None, "own: measure is 'counts' (did you mean 'count'?): expected one of count"),
        ("count", "label", "own: the measure count takes no column such as 'label'; those of a"),
        ("last", None, "own: the measure last needs a column; those of a column are sum"),
    ],
)
def test_a_measure_that_there_is_not_or_that_lacks_its_column_is_named(
    measure: Any, column: str | None, says: str
) -> None:
    """Else whoever misspelt the measure looks for what is wrong with the column."""
    with pytest.raises(FeatureError) as caught:
        Feature(
            name="own",
            words=Words("Own", "自有"),
            unit="score",
            measure=measure,
            table="scores",
            column=column,
        )
    assert str(caught.value).startswith(says)


def test_a_feature_that_is_computed_from_itself_is_named() -> None:
    """The build would never end."""
    words = Words("Odd", "奇数")
    a = Feature(name="a", words=words, unit="days", measure="expression", expression="b + 1")
    b = Feature(name="b", words=words, unit="days", measure="expression", expression="a + 1")
    with pytest.raises(
        FeatureError, match="computed from itself: a <- b <- a|computed from itself: b <- a <- b"
    ):
        catalogue([a, b])


@pytest.mark.parametrize(
    "where",
    [
        "known_at < now() - interval 9 day",
        "local_at < CURRENT_DATE",
        "random() < 0.5",
        "age(local_at) > interval 9 day",
    ],
)
def test_a_condition_on_the_clock_or_on_chance_is_refused(where: str) -> None:
    """The same past moment would have other features every day it is built."""
    clocky = Feature(
        name="clocky", words=Words("a", "\u7532"), unit="orders", measure="count", table="orders", where=where
    )
    rows = arrow_schema(TABLES["orders"], 2).empty_table().drop_columns(["customer_id"])
    rows = rows.append_column("local_at", pa.array([], pa.timestamp("us")))
    with pytest.raises(FeatureError, match="clocky asks .*, which answers otherwise on another day"):
        conditions(rows, {"clocky": clocky}, SHOP)


def test_duckdb_has_no_other_function_that_answers_otherwise_on_another_day() -> None:
    """A new version of it may bring some."""
    unstable = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE stability <> 'CONSISTENT'"
    names = [name for (name,) in duckdb.connect().execute(unstable).fetchall()]
    assert len(names) > 10
    assert [name for name in names if plan.restless(f"{name}(1) > 2") is None] == []
    assert plan.restless("kind = 'now()' and pages > average(1)") is None

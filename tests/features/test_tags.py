"""Dated tags: who is what, from when until when, and nothing of it ever comes back into a feature."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from copies import copy_of
from dirty import TILL, bring_in, write_shop
from hypothesis import given
from hypothesis import strategies as st
from logs import empty_shop

from features import tagging, tags
from features.compute.builds import Build
from features.compute.engine import build
from features.definitions import catalogue
from features.errors import FeatureError
from features.log import DERIVED_TAGS, Log
from features.moments import DAY, parse_moment
from features.settings import Settings
from features.tags import TAGS, Tag
from features.words import Words

OWN = """
from features.tags import Tag
from features.words import Words
TAGS = [
    Tag(name="weekly", words=Words("Weekly", "每周"), meaning=Words("Comes weekly", "每周来"),
        when="orders_30d >= {least}"),
]
"""


def tag(when: str) -> Tag:
    return Tag(name="odd", words=Words("Odd", "奇"), meaning=Words("Odd", "奇"), when=when)


@pytest.fixture
def mine(journey: Settings, tmp_path: Path) -> Settings:
    return copy_of(journey, tmp_path / "home")


def derived(settings: Settings) -> list[dict[str, Any]]:
    rows = Log.open(settings).read("tags").to_pylist()
    return [row for row in rows if row["origin"] == "derived"]


def test_rows_say_when_a_customer_began_and_ceased_to_meet_the_rule(mine: Settings) -> None:
    """A campaign that asks who was drifting in May gets who was known to be then."""
    tagging.tag(mine)
    now, rows = Build.open(mine), derived(mine)
    for name in ("drifting_away", "bargain_hunter"):
        rule = tagging.declared(mine)[name]
        for moment in (now.moments[5], now.moments[-1]):
            snapshot = now.read(moment)
            values = {i: snapshot[i].to_numpy() for i in rule.inputs}
            fits = set(snapshot["customer_id"].filter(rule.holds(values, len(snapshot))).to_pylist())
            last: dict[str, str] = {}
            for row in sorted(rows, key=lambda row: row["at"]):
                if row["tag"] == name and row["at"] <= moment:
                    assert last.get(row["customer_id"]) != row["change"], "a row is a change"
                    last[row["customer_id"]] = row["change"]
            assert {id for id, change in last.items() if change == "set"} == fits
    assert all(row["at"] == row["known_at"] for row in rows)


def test_again_changes_nothing_and_no_file_of_names_is_left(mine: Settings) -> None:
    first = tagging.tag(mine)
    assert first.moments == len(Build.open(mine).moments)
    log = (mine.home / "log" / "CURRENT").read_text()
    again = tagging.tag(mine)
    assert (again.moments, again.rows, again.holders) == (0, first.rows, first.holders)
    assert (mine.home / "log" / "CURRENT").read_text() == log
    assert {p.name for p in (mine.home / "tags").iterdir()} == {".lock", "evaluated.json"}


def test_a_dry_run_says_the_same_and_writes_nothing(mine: Settings) -> None:
    dry = tagging.tag(mine, dry_run=True)
    assert not (mine.home / "tags").exists()
    assert tagging.tag(mine) == dry


def test_what_was_written_stays_whatever_comes(mine: Settings, tmp_path: Path) -> None:
    """Day by day, with another rule on the way, and killed once: the past as told then is not told anew."""
    rule = OWN.format(least=4)
    early = replace(mine, shop=empty_shop(tmp_path / "a", shop_py=rule), as_of=parse_moment("2017-09-01"))
    tagging.tag(early)
    told = derived(mine)
    (mine.home / "tags" / "evaluated.json").replace(tmp_path / "evaluated.json")
    late = replace(mine, shop=empty_shop(tmp_path / "b", shop_py=OWN.format(least=8)))
    tagging.tag(replace(late, shop=early.shop))  # all at once ...
    (tmp_path / "evaluated.json").replace(mine.home / "tags" / "evaluated.json")
    tagging.tag(late)  # ... and as if that run had been killed before it was done
    rows = derived(mine)
    assert [row for row in rows if row["at"] <= early.now()] == told
    assert {row["at"] for row in rows} == set(Build.open(mine).moments)
    without = replace(mine, shop=empty_shop(tmp_path / "c"))
    build(without, [mine.now() - DAY])
    tagging.tag(without)
    assert [row for row in derived(mine) if row["tag"] == "weekly"] == [
        r for r in rows if r["tag"] == "weekly"
    ]


def test_derived_tags_change_no_feature_and_are_no_table_of_the_shops(mine: Settings) -> None:
    """What is derived from features must not come back into them: each build would be another one."""
    moment = parse_moment("2017-12-03")
    before = Build.open(mine)
    tagging.tag(mine)
    log = Log.open(mine)
    assert DERIVED_TAGS in log.files["tags"]
    assert "tags" not in log.tables
    after, _ = build(mine, [moment])
    assert after.features == before.features
    assert after.path(moment).read_bytes() == before.path(moment).read_bytes()
    assert tagging.tag(mine).rows == len(derived(mine)), "nor are rows written twice for another build"


def test_a_tag_whose_features_the_log_lacks_is_absent_by_name(mine: Settings) -> None:
    done = tagging.tag(mine, dry_run=True)
    assert done.absent["quiet_group_member"] == ("active_days_30d", "groups")
    assert "quiet_group_member" not in done.holders


def test_a_tag_that_reads_what_no_row_of_the_log_tells_is_absent(tmp_path: Path) -> None:
    """Else nobody of a shop that writes no discount down is a bargain hunter, as if that were known."""
    settings = write_shop(tmp_path, f"[mapping.till]\n{TILL}", {
        "orders.csv": "no,who,day,paid\n1,a,2024-01-10,5\n2,b,2024-01-20,5\n3,a,2024-02-10,5\n",
    })  # fmt: skip
    bring_in(settings)
    now, _ = build(settings, [Log.open(settings).complete_until])
    assert "discount_share_90d" in now.features, "computed, as 0"
    usable, absent = tagging.usable(settings, now)
    assert absent["bargain_hunter"] == ("discount_share_90d",)
    assert "bargain_hunter" not in usable
    assert "drifting_away" in usable


def test_five_portraits_are_declared_over_features_there_are() -> None:
    declared = tags.catalogue((), catalogue())
    assert len([t for t in declared.values() if t.portrait]) == 5
    assert set(declared) == {t.name for t in TAGS}


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("a > 1", [False, True, False]),
        ("not a > 1", [True, False, False]),  # null is not known, so neither is its opposite
        ("a > 1 or b == 3", [True, True, True]),
        ("a > 1 and b == 3", [False, False, False]),
        ("1 <= a < 2", [True, False, False]),
        ("max(a, b) / 2 >= 1.5 and a / (b - 3) > 0", [False, False, False]),
        ("-a * 2 + b < 2", [True, True, False]),
    ],
)
def test_a_rule_holds_only_where_it_is_known_to(when: str, expected: list[bool]) -> None:
    """Nobody is tagged for what is not known of her."""
    values = {"a": np.array([1, 2, np.nan], np.float32), "b": np.array([3, 0, 3], np.float32)}
    assert tag(when).holds(values, 3).tolist() == expected


@given(st.lists(st.tuples(*[st.sampled_from([0.0, 1.0, None])] * 2), min_size=1, max_size=5))
def test_rules_follow_the_three_valued_logic_of_sql(rows: list[tuple[float | None, float | None]]) -> None:
    """`not` and `or` over what is not known are where such rules go wrong."""
    rule = "(a > 0 or not b > 0) and not (a == b and b < 1)"
    sql = f"SELECT ({rule.replace('==', '=')}) IS TRUE FROM (SELECT ?::FLOAT a, ?::FLOAT b)"
    expected = [duckdb.execute(sql, list(row)).fetchall()[0][0] for row in rows]
    columns = np.array([[np.nan if v is None else v for v in row] for row in rows], np.float32)
    assert tag(rule).holds({"a": columns[:, 0], "b": columns[:, 1]}, len(rows)).tolist() == expected


@pytest.mark.parametrize(
    "when",
    [
        "overdue", "overdue >", "__import__('os').system('x') == 0", "overdue > 'x'", "overdue in (1, 2)",
        "orders_30d > 1 and overdue", "abs(overdue) > 1", "(lambda: 1)() > 0", "overdue ** 2 > 1",
    ],
)  # fmt: skip
def test_what_is_no_rule_is_refused_where_it_stands(when: str) -> None:
    with pytest.raises(FeatureError, match="^tag odd: "):
        tag(when)


def test_a_rule_over_no_feature_is_refused_by_name() -> None:
    with pytest.raises(FeatureError, match="tag odd reads no_feature"):
        tags.catalogue([tag("no_feature > 1")], catalogue())
    with pytest.raises(FeatureError, match="unhappy is declared twice"):
        tags.catalogue([t for t in TAGS if t.name == "unhappy"], catalogue())


def test_a_customer_found_to_be_another_keeps_a_tag_until_its_last_row_ends_it() -> None:
    at = [parse_moment(f"2017-01-0{day}") for day in (1, 2, 3)]
    rows = pa.table(
        [["a", "a", "a", "b"], [at[0], at[1], at[2], at[0]], ["t"] * 4, ["set", "set", "removed", "set"]],
        schema=tagging._SCHEMA,
    )
    assert tagging._holders(rows, "t").to_pylist() == ["b"]

"""A new feature over the past: its column only, and the very build that computing all anew would give."""

from dataclasses import replace
from pathlib import Path

import pytest
from copies import copy_of
from logs import empty_shop

from features import tagging
from features.compute import engine
from features.compute.backfill import backfill, planned
from features.compute.builds import Build
from features.errors import LogError, UsageError
from features.files import write_atomically
from features.settings import Settings

ONE = """
from features.definitions import Feature
from features.words import Words
FEATURES = [
    Feature(name="big_orders_90d", words=Words("Big orders", "大额订单数"), unit="orders",
            measure="count", table="orders", where="amount > 50", window=90),
"""
TWO = """
    Feature(name="big_share_90d", words=Words("Share of big orders", "大额订单占比"), unit="share",
            measure="expression", expression="big_orders_90d / orders_90d"),
"""


@pytest.fixture
def mine(small_journey: Settings, tmp_path: Path) -> Settings:
    """A copy of the home of few households, whose build knows nothing of the shop's own features."""
    shop = empty_shop(tmp_path / "shop", shop_py=ONE + TWO + "]")
    return replace(copy_of(small_journey, tmp_path / "home"), shop=shop)


def test_it_gives_the_bytes_of_a_full_build_and_computes_new_columns_only(
    mine: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a model that was trained on one is wrong on the other."""
    old = Build.open(mine)
    computed: list[str] = []
    plain = engine.compute

    def watched(log, shop, features, *rest, **more):  # type: ignore[no-untyped-def]
        computed.extend(features)
        return plain(log, shop, features, *rest, **more)

    monkeypatch.setattr(engine, "compute", watched)
    made, done = backfill(mine)
    assert done
    assert made.new == ("big_orders_90d", "big_share_90d")
    assert set(computed) == {"big_orders_90d", "big_share_90d", "orders_90d"}, "two new ones and their input"
    assert Build.open(mine).moments == old.moments
    monkeypatch.undo()
    whole = replace(mine, home=copy_of(mine, tmp_path / "whole").home)
    write_atomically(whole.home / "snapshots" / "CURRENT", old.id.encode())
    for path in made.build.folder.iterdir():
        (whole.home / "snapshots" / made.build.id / path.name).unlink()
    some = [old.moments[0], old.moments[20], old.moments[-1]]
    again, number = engine.build(whole, some)
    assert (again.id, number) == (made.build.id, 3)
    for moment in some:
        assert again.path(moment).read_bytes() == made.build.path(moment).read_bytes()


def test_again_does_nothing_and_a_dry_run_writes_nothing(mine: Settings) -> None:
    before = sorted(mine.home.rglob("*"))
    assert planned(mine).new == ("big_orders_90d", "big_share_90d")
    assert sorted(mine.home.rglob("*")) == before
    made, _ = backfill(mine)
    again, done = backfill(mine)
    assert not done
    assert again.build.id == made.build.id == Build.open(mine).id


def test_only_the_named_ones_then_the_rest(mine: Settings) -> None:
    made, _ = backfill(mine, ["big_orders_90d"])
    assert made.new == ("big_orders_90d",)
    assert "big_share_90d" not in made.build.features
    rest, _ = backfill(mine)
    assert rest.new == ("big_share_90d",)


def test_killed_on_the_way_the_old_build_stays_and_the_rerun_finishes(
    mine: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, calls = Build.open(mine), []

    def killed(*arguments, **more):  # type: ignore[no-untyped-def]
        calls.append(1)
        raise KeyboardInterrupt

    monkeypatch.setattr(Build, "write_manifest", killed)
    with pytest.raises(KeyboardInterrupt):
        backfill(mine)
    assert calls
    assert Build.open(mine).id == old.id
    monkeypatch.undo()
    made, done = backfill(mine)
    assert done
    assert Build.open(mine).id == made.build.id


def test_a_feature_that_goes_leaves_its_column_behind(mine: Settings, tmp_path: Path) -> None:
    backfill(mine)
    less = replace(mine, shop=empty_shop(tmp_path / "less", shop_py=ONE + "]"))
    made, done = backfill(less)
    assert (done, made.new) == (True, ())
    assert "big_share_90d" not in Build.open(less).features
    snapshot = made.build.read(made.build.moments[-1])
    assert snapshot.column_names[3:] == list(made.build.features)
    assert len(snapshot) == len(made.old.read(made.build.moments[-1]))


def test_a_log_that_changed_is_refused_and_derived_tags_are_no_change(
    mine: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Columns of two logs must not stand side by side in one build."""
    tagging.tag(mine)
    assert len(planned(mine).lacking) == len(Build.open(mine).moments)
    monkeypatch.setattr(Build, "digests", {"orders": {"2017-12-20": "another"}})
    with pytest.raises(LogError, match="has changed since build .*: run `propensity features build`"):
        planned(mine)


def test_names_that_cannot_be_computed_are_refused(mine: Settings) -> None:
    with pytest.raises(UsageError, match="no feature nothing is declared"):
        planned(mine, ["nothing"])
    with pytest.raises(UsageError, match="feature open_complaints needs tables that the log lacks: cases"):
        planned(mine, ["open_complaints"])

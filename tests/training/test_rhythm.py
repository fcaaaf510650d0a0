"""The rhythm of a log and what it suggests. If it is wrong, a shop predicts what is decided or hopeless."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isnan
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner, Result
from logs import empty_shop

import propensity
from features.errors import NotEnoughData
from features.moments import DAY, parse_moment
from features.settings import Settings
from features.shop import Shop
from training import rhythm_page
from training.populations import buyers
from training.rhythm import Rhythm, measure
from training.suggest import Proposal, proposals
from training.targets import Target, catalogue

START = parse_moment("2015-01-01")
STAMP = pa.timestamp("us", "UTC")
ZONE = "Asia/Shanghai"


def orders_of(days: Mapping[str, Sequence[float]], late: float = 0) -> pa.Table:
    """Orders of each customer on days of the log, counted from START."""
    rows = [(customer, START + day * DAY) for customer, its in days.items() for day in its]
    at = pa.array([at for _, at in rows], STAMP)
    known = pa.array([at + late * DAY for _, at in rows], STAMP)
    nothing = pa.nulls(len(rows), pa.string())
    return pa.table({"customer_id": [c for c, _ in rows], "at": at, "known_at": known, "ref": nothing})


def shop_of(every: int, customers: int = 60, days: int = 1000, lost: int = 0) -> pa.Table:
    """Customers who come every so many days; of each ten, `lost` stay away after the first half."""
    return orders_of(
        {str(n): range(n % every, days // 2 if n % 10 < lost else days, every) for n in range(customers)}
    )


def rhythm_of(orders: pa.Table, days: int = 1000) -> Rhythm:
    return measure(orders, ZONE, START + days * DAY)


def suggested(orders: pa.Table, days: int = 1000, own: Sequence[Target] = ()) -> list[Proposal]:
    return proposals(rhythm_of(orders, days), orders, START + days * DAY, catalogue(own))


def test_a_gap_lies_between_different_local_days() -> None:
    """Else: two tills on one day are a gap of nothing, and an evening's order belongs to another day."""
    evening = 15 / 24 + 1 / 1440  # 23:01 in Shanghai; an hour later it is the next day there
    one = {str(n): [0, 0.1, evening, evening + 1 / 24, 5] for n in range(60)}
    found = rhythm_of(orders_of(one), 10)
    assert found.gaps.tolist() == [1] * 60 + [4] * 60
    assert found.own.tolist() == [2.5] * 60
    assert (found.customers, found.days) == (60, 10)
    assert found.quantiles(found.gaps) == [1, 4, 4, 4]
    assert [found.longer(days) for days in (0, 1, 3, 4)] == [1, 0.5, 0.5, 0]


def test_only_what_was_known_by_then_and_no_return_counts() -> None:
    """Else: a suggestion as of last year knows this year's orders."""
    days = {str(n): [0, 7, 14] for n in range(60)}
    orders = orders_of(days)
    back = orders_of({str(n): [10] for n in range(60)})
    back = back.set_column(3, "ref", pa.array(["an order"] * 60))
    assert set(rhythm_of(pa.concat_tables([orders, back]), 30).gaps.tolist()) == {7}
    late = orders_of({str(n): [10] for n in range(60)}, late=30)
    assert set(rhythm_of(pa.concat_tables([orders, late]), 30).gaps.tolist()) == {7}
    assert set(rhythm_of(pa.concat_tables([orders, late]), 60).gaps.tolist()) == {3, 4, 7}


def test_who_comes_back_after_a_silence_is_counted_where_the_log_shows_it() -> None:
    """Else: the latest silences, which could not end yet, make everybody look lost."""
    found = rhythm_of(orders_of({str(n): [0, 40] if n % 4 else [0] for n in range(200)}), 300)
    assert found.followed == 90
    assert found.back(30) == pytest.approx(150 / 350)  # of all first silences, and of the second, which last
    assert found.back(40) == 0
    assert isnan(found.back(250))
    young = rhythm_of(orders_of({str(n): [0, 40] for n in range(200)}), 60)
    assert young.followed == 20
    assert young.back(30) == 1  # the second silences, of 20 days, could not last 30


def test_a_log_without_a_rhythm_says_so() -> None:
    """Else: a horizon is proposed from ten gaps, or from none."""
    with pytest.raises(NotEnoughData, match="ordered again 59 times, and 100"):
        rhythm_of(orders_of({str(n): [0, 5] for n in range(59)}))
    with pytest.raises(NotEnoughData, match="no order"):
        rhythm_of(orders_of({"1": [5]}), 3)


def test_horizons_follow_the_rhythm() -> None:
    """Else: a weekly shop and one of the season get the same targets."""
    horizons = {
        every: [one.target.horizon_days for one in suggested(shop_of(every))] for every in (3, 10, 30, 80)
    }
    assert horizons == {3: [7, 7], 10: [14, 14], 30: [56, 56], 80: [90, 90]}


def test_a_proposal_tells_what_it_would_learn_from() -> None:
    """Else: a target is declared whose answer is always the same."""
    churn, again = suggested(shop_of(10, lost=5))
    assert churn.target.population == buyers(30)
    assert (churn.moment, churn.members, churn.base_rate) == (START + 986 * DAY, 30, 0)
    assert again.base_rate == 1
    assert churn.needed_days == 90 + 7 * 7 + 2 * 14
    early = suggested(shop_of(10, lost=5), 530)[0]
    assert (early.members, early.base_rate) == (60, 0.5)
    assert "the buyers of the last 30 days: only 0.0% of the gaps are longer" in churn.reason.en


def test_a_declared_target_is_proposed_by_its_name_and_never_shadowed() -> None:
    """Else: the snippet for shop.py is refused as declared twice."""
    churn, again = suggested(shop_of(10))
    assert not churn.declared
    own = [churn.target, replace(again.target, name="mine_14d")]
    known = suggested(shop_of(10), own=own)
    assert [one.declared for one in known] == [True, True]
    assert [one.target.name for one in known] == ["churn_14d", "mine_14d"]
    taken = replace(churn.target, population=buyers(365))
    other = suggested(shop_of(10), own=[taken])[0]
    assert not other.declared
    assert other.target.name == "churn_of_30d_buyers_14d"
    catalogue([taken, other.target])


def test_what_is_printed_for_shop_py_is_the_target(tmp_path: Path) -> None:
    """Else: what people paste does not run, or asks something else."""
    found = suggested(shop_of(10))
    imports = "from features.words import Words\nfrom training.populations import buyers\n"
    text = f"{imports}from training.targets import Target\nTARGETS = [{rhythm_page.declarations(found)}]\n"
    shop = Shop.load(empty_shop(tmp_path, shop_py=text))
    assert list(shop.declared("TARGETS")) == [one.target for one in found]


def test_a_short_log_is_called_so_and_gets_what_it_can_train() -> None:
    """Else: half a year of data is promised a model, or a year of a slow shop gets none."""
    orders = shop_of(10, days=150)
    told = rhythm_page.verdict(rhythm_of(orders, 150), suggested(orders, 150))
    assert told.en.startswith("The log is too short for churn_14d, ")
    assert told.en.endswith(": it has 150 days, and 167 are needed.")
    assert "150天" in told.zh
    slow = shop_of(80, days=300)
    found = suggested(slow, 300)
    assert [one.target.horizon_days for one in found] == [90, 56, 90, 56]
    told = rhythm_page.verdict(rhythm_of(slow, 300), found)
    assert told.en.startswith(
        "The log's own rhythm suggests churn_56d, repurchase_56d. The log is too short for"
    )
    assert "The longest horizon that this log can train; 100% of the gaps are longer." in found[1].reason.en


def test_the_page_holds_the_plot_and_asks_nothing_of_the_network() -> None:
    """Else: the page is empty on a plane, or a shop's name is markup."""
    orders = shop_of(10)
    rhythm = rhythm_of(orders)
    text = rhythm_page.render("A <shop>", rhythm, suggested(orders))
    assert text.count("<polyline") == 3
    assert "A &lt;shop&gt;" in text
    assert "//" not in text
    assert "nan" not in text
    assert "name=&quot;churn_14d&quot;" in text
    assert "name=&quot;churn_14d&quot;" in text


def test_the_demos_log_suggests_what_the_demo_trains(journey: Settings) -> None:
    """Else: the command disagrees with the figures that README prints, or a dry run writes."""
    where = {"PROPENSITY_HOME": str(journey.home), "PROPENSITY_AS_OF": "2017-12-31"}
    page = journey.home / "reports" / "targets.html"

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(propensity.main, ["targets", *arguments], env=where)

    dry = run("suggest", "--dry-run")
    assert dry.exit_code == 0
    assert dry.output.startswith("The log's own rhythm suggests churn_28d, repurchase_7d.")
    assert "2,318      14.8%" in dry.output
    assert f"would write: {page}" in dry.output
    assert not page.exists()
    assert "近90天的买家" in run("suggest", "--language", "zh").output
    assert "<polyline" in page.read_text("utf-8")
    rows = {row["name"]: row for row in map(json.loads, run("list", "--json").output.splitlines())}
    assert [name for name, row in rows.items() if row["by_itself"]] == [
        "churn_28d", "repurchase_7d", "repurchase_14d",
    ]  # fmt: skip
    assert {name for name, row in rows.items() if row["absent"]} == {
        "leave_group_28d", "leave_staff_28d", "opt_out_28d",
    }  # fmt: skip
    assert rows["churn_28d"]["events"] == {"orders": 155_528}
    assert rows["opt_out_28d"]["events"] == {"responses": 0}  # people redeem there, and never opt out
    assert "the log has no" in run("list").output

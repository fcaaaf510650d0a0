"""Realised uplift: nothing before the window is over, and a comparison that randomisation allows."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from logs import write_log

from features.errors import NotEnoughData
from features.log import Log
from features.moments import DAY, parse_moment
from features.settings import Settings
from features.shop import shop_of
from features.words import Words
from propensity import main
from propensity.held_out import _look, _remember, headline_of, realised_sheet
from serving.lots import in_holdout
from training.realised import Effect, Realised, outcomes, realised
from training.reported import Reports
from training.sequential import Difference, Group, Guardrail, of_look

SINCE = parse_moment("2017-10-01")


def test_the_groups_are_compared_by_hand(journey: Settings) -> None:
    """The demo's mailings knew no holdout: no effect can be there, and that they reached it must be said."""
    log = Log.open(journey)
    policy = replace(shop_of(journey).policy(SINCE), holdout=0.2)
    found = realised(log, policy, SINCE, 28)
    orders = log.read("orders", ["customer_id", "at", "ref", "amount"]).to_pandas()
    inside = orders[(orders["at"] >= SINCE) & (orders["at"] < SINCE + 28 * DAY)]
    ids = log.read("customers", ["customer_id", "known_at"]).to_pandas()
    ids = sorted(ids[ids["known_at"] <= SINCE]["customer_id"].unique())
    held = in_holdout(ids, policy.salt, 0.2)
    bought = np.isin(ids, inside[inside["ref"].isna()]["customer_id"].to_numpy())
    rate = found.effects[0]
    assert (rate.treated.n, rate.held_out.n) == ((~held).sum(), held.sum())
    assert rate.difference.value == pytest.approx(bought[~held].mean() - bought[held].mean())
    money = inside[inside["customer_id"].isin(ids)]["amount"].astype(float).sum()
    value = found.effects[1]
    assert value.treated.mean * value.treated.n + value.held_out.mean * value.held_out.n == pytest.approx(
        money
    )
    assert all(of.difference.low < 0 < of.difference.high for of in found.effects[:2])
    assert any("held out were contacted all the same" in words.en for words in found.warnings)
    sent = log.read("contacts", ["customer_id", "at"]).to_pandas()
    reached = np.isin(ids, sent[(sent["at"] >= SINCE) & (sent["at"] < SINCE + 28 * DAY)]["customer_id"])
    assert found.contacted == (reached[~held].sum(), reached[held].sum())
    assert f"{reached[held].sum():,} of {held.sum():,} held out" in found.told_contacted.en
    assert found.judged
    decided = realised(log, policy, SINCE, 28, margin_rate=0.25, told=Reports(untold=7))
    assert decided.untold == 7, "else what was decided, and nobody reported, counts as no marketing"


def test_a_window_that_is_not_over_tells_nothing(journey: Settings) -> None:
    """Else an outcome that has not come yet counts as a zero."""
    log, policy = Log.open(journey), shop_of(journey).policy(SINCE)
    with pytest.raises(NotEnoughData, match="nothing is known before"):
        realised(log, policy, log.complete_until - 10 * DAY, 28)


def test_nothing_of_after_the_moment_that_it_is_asked_about_is_read(
    journey: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else who looks back from the middle of a window reads its end, which nobody knew then."""
    monkeypatch.setenv("PROPENSITY_HOME", str(journey.home))

    def told(as_of: str) -> Result:
        monkeypatch.setenv("PROPENSITY_AS_OF", as_of)
        return CliRunner().invoke(main, ["evaluate", "holdout", "--since", "2017-10-01", "--days", "28"])

    over, young = told("2017-10-29"), told("2017-10-15")
    assert "2017-10-01 to 2017-10-29" in over.output
    assert young.exit_code == 1, young.output
    assert "complete until 2017-10-15T00:00:00Z: nothing is known before" in " ".join(young.output.split())
    assert "held out," not in young.output
    log, then = Log.open(journey), parse_moment("2017-10-15")
    known = log.known_by(then)
    assert max(known.read("orders", ["known_at"])["known_at"].to_pylist()) <= then
    assert 0 < known.read("orders", ["at"]).num_rows < log.read("orders", ["at"]).num_rows


def test_a_handful_held_out_is_no_group(journey: Settings) -> None:
    """Else three people speak for all."""
    policy = replace(shop_of(journey).policy(SINCE), holdout=0.0005)
    with pytest.raises(NotEnoughData, match="held out: 30 are needed"):
        realised(Log.open(journey), policy, SINCE, 28)


def test_looking_every_month_claims_no_more_often_than_once(home: Settings) -> None:
    """Of 400 campaigns without an effect, a year of monthly looks calls at most 5 % a success or failure."""
    random = np.random.default_rng(1)
    z = random.normal(size=(400, 12)).cumsum(axis=1) / np.sqrt(np.arange(1, 13))  # each look adds a month
    widths = np.array([of_look(look) for look in range(1, 13)])
    assert (np.abs(z) > widths).any(axis=1).mean() < 0.05
    assert (np.abs(z) > 1.96).any(axis=1).mean() > 0.15, "the usual interval does"
    looks = [_look(home, "salt", SINCE + month * 28 * DAY, 28) for month in (0, 0)]
    _remember(home, "salt", SINCE, 28)
    looks += [_look(home, "salt", SINCE + month * 28 * DAY, 28) for month in (0, 1)]
    assert looks == [1, 1, 1, 2], "the same window again is the same look"
    assert _look(home, "another draw", SINCE, 28) == 1


def test_marketing_that_drives_customers_away_is_stopped(home: Settings) -> None:
    """Else: it is praised for its sales until nobody may be written to any more."""
    worse, fine = Group.of_shares(9_000, 300), Group.of_shares(1_000, 5)
    guard = Guardrail(Words("customers who withdrew a consent", "撤回授权的客户占比"), 0.005)
    sales = Effect(Words("order value a customer", "人均订单金额"), fine, fine)
    harm = Effect(guard.name, worse, fine, 1, guard)
    few = Effect(guard.name, Group.of_shares(900, 30), Group.of_shares(50, 0), 1, guard)
    assert (harm.state, few.state, sales.state) == ("broken", "open", None)
    found = Realised(SINCE, SINCE, (sales, harm), (), 1, 50.0, Difference(200.0, 100.0, 300.0))
    assert found.broken == [harm]
    assert "by more than is tolerated: stop" in headline_of(found, "USD").en
    proven = replace(found, effects=(sales,))
    assert headline_of(proven, "USD").en.endswith("cost 50: a return of +300%; that is proven.")
    unproven = replace(proven, brought=Difference(10.0, -5.0, 25.0))
    assert "尚未证实" in headline_of(unproven, "USD").zh


def test_a_window_without_contacts_has_no_marketing_to_judge(home: Settings) -> None:
    """Else chance between two groups that nobody wrote to is read as what marketing brought, or spoilt."""
    guard = Guardrail(Words("customers who complained", "投诉的客户占比"), 0.005)
    fine = Group.of_shares(9_000, 50)
    sales = Effect(Words("order value a customer", "人均订单金额"), fine, Group.of_shares(1_000, 5))
    harm = Effect(guard.name, Group.of_shares(9_000, 300), Group.of_shares(1_000, 5), 1, guard)
    quiet = Realised(
        SINCE, SINCE, (sales, harm), (), 1, None, Difference(13_256.0, -5.0, 26_000.0), contacted=(0, 0)
    )
    said = headline_of(quiet, "CNY")
    assert "there was no marketing to persons to judge" in said.en
    assert "没有面向个人的营销可供评估" in said.zh
    assert "13,256" not in said.en
    assert quiet.broken == []
    assert quiet.told_contacted.en == "Contacted in the window: 0 of 9,000 treated, 0 of 1,000 held out"
    untold = replace(quiet, untold=7, effects=(sales,))
    assert untold.judged, "they may have been sent, and do harm"
    said = headline_of(untold, "CNY")
    assert said.en.startswith("None of the 9,000 treated is known to have been contacted in this window")
    assert "nothing is claimed. Tell what became of the 7 contacts" in said.en
    assert "处理组9,000人均无已知触达" in said.zh
    assert "proven" not in said.en
    assert "13,256" not in said.en + said.zh
    assert {row[-1].en for row in realised_sheet(untold).rows} == {"nothing is claimed"}
    assert "Yet among them the share of customers who complained is higher by more than is tolerated" in (
        headline_of(replace(quiet, untold=7), "CNY").en
    )
    held = replace(quiet, contacted=(0, 3), effects=(sales,), warnings=(Words("3 of 1,000", "1,000人中3人"),))
    assert "the difference is nothing that it did" in headline_of(held, "CNY").en
    assert "of 7 contacts more that were decided no delivery tells" in untold.told_contacted.en
    assert "is not known" in replace(quiet, contacted=None).told_contacted.en


def test_no_more_comes_back_than_was_bought(tmp_path: Path) -> None:
    """Else a refund typed with two zeros too many decides whether marketing paid."""

    def sale(id: str, at: datetime, amount: int, ref: str | None = None) -> dict[str, Any]:
        return {"order_id": id, "customer_id": "a", "at": at, "known_at": at, "amount": amount, "ref": ref}

    sales = [
        sale("o1", SINCE - DAY, 10), sale("r1", SINCE - DAY, -4, "o1"), sale("r2", SINCE, -10, "o1"),
        sale("o2", SINCE, 10), sale("r3", SINCE + DAY, -700, "o2"), sale("r4", SINCE + 2 * DAY, -3, "o2"),
        sale("o3", SINCE, 5), sale("r5", SINCE + DAY, -2, "o3"), sale("r6", SINCE + DAY, -1, "elsewhere"),
    ]  # fmt: skip
    log = write_log(tmp_path, {"orders": sales})
    money = outcomes(log, ["a"], SINCE, SINCE + 28 * DAY)[1][1]
    assert money.tolist() == [-6 + 10 - 10 + 5 - 2 - 1]

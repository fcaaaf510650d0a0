"""Realised uplift: nothing before the window is over, and a comparison that randomisation allows."""

from dataclasses import replace

import numpy as np
import pytest

from features.errors import NotEnoughData
from features.log import Log
from features.moments import DAY, parse_moment
from features.settings import Settings
from features.shop import shop_of
from serving.decide import in_holdout
from training.realised import realised

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


def test_a_window_that_is_not_over_tells_nothing(journey: Settings) -> None:
    """Else an outcome that has not come yet counts as a zero."""
    log, policy = Log.open(journey), shop_of(journey).policy(SINCE)
    with pytest.raises(NotEnoughData, match="nothing is known before"):
        realised(log, policy, log.complete_until - 10 * DAY, 28)


def test_a_handful_held_out_is_no_group(journey: Settings) -> None:
    """Else three people speak for all."""
    policy = replace(shop_of(journey).policy(SINCE), holdout=0.0005)
    with pytest.raises(NotEnoughData, match="held out: 30 are needed"):
        realised(Log.open(journey), policy, SINCE, 28)

"""Groups drawn as wholes: intervals that count groups, as others have them and as simulations turn out."""

from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm

from features.errors import NotEnoughData
from features.moments import parse_moment
from features.settings import Settings
from features.shop import shop_of
from serving.groups import held_out
from training.clusters import difference
from training.group_effects import group_effects
from training.sequential import rare

from logs import write_log  # isort: skip


def world(seed: int, groups: int = 40, effect: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outcomes whose members are alike within a group, treatment by group, and the groups."""
    random = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(groups), random.integers(3, 40, groups))
    treated = np.isin(cluster, random.permutation(groups)[: groups * 3 // 4])
    mood = random.normal(0, 1, groups)[cluster]
    return mood + random.normal(0, 1, len(cluster)) + effect * treated, treated, cluster


def test_the_error_is_that_of_statsmodels_where_groups_are_alike_in_size() -> None:
    """Arm by arm, as a regression on a constant alone has no other correction than G / (G - 1)."""
    random, cluster = np.random.default_rng(1), np.repeat(np.arange(30), 12)
    y, treated = random.normal(0, 1, 30)[cluster] + random.normal(0, 1, 360), cluster >= 8
    found = difference(y, treated, cluster)
    for mine, of in ((found.treated, treated), (found.held_out, ~treated)):
        fitted = sm.OLS(y[of], np.ones(of.sum())).fit(cov_type="cluster", cov_kwds={"groups": cluster[of]})
        assert (mine.mean, mine.variance) == pytest.approx((fitted.params[0], fitted.cov_params()[0, 0]))


def test_the_error_is_the_jackknifes_where_they_are_not() -> None:
    """By leaving out each group in turn, the slow and obvious way."""
    y, treated, cluster = world(2)
    found = difference(y, treated, cluster)
    for mine, of in ((found.treated, treated), (found.held_out, ~treated)):
        there = np.unique(cluster[of])
        without = np.array([y[of & (cluster != g)].mean() for g in there])
        slow = (len(there) - 1) / len(there) * ((without - y[of].mean()) ** 2).sum()
        assert mine.variance == pytest.approx(slow)


def test_a_harm_that_came_to_nobody_is_no_proof_that_it_never_will() -> None:
    """Else groups in which nobody complained for two weeks show "0 to 0", and whoever reads it is sure."""
    cluster = np.repeat(np.arange(40), 30)
    found = difference(np.zeros(1_200), cluster >= 8, cluster, harm=True)
    assert found.value == 0
    for n, of in ((960, found.treated), (240, found.held_out)):  # as `evaluate holdout` has it of persons
        assert of.variance == rare(0.0, n) / n
    assert found.low == -found.high < -1.9 * (rare(0.0, 960) / 960 + rare(0.0, 240) / 240) ** 0.5
    y = np.isin(cluster, (3, 30, 31)) * 1.0  # of whole groups, what groups say is wider and stays
    assert difference(y, cluster >= 8, cluster, harm=True) == difference(y, cluster >= 8, cluster)


@pytest.mark.parametrize("groups", [16, 80])
def test_intervals_cover_the_truth_where_those_of_customers_do_not(groups: int) -> None:
    """The known truth: no effect. Else every second offer in a chat is celebrated."""
    covered, naive = 0, 0
    for seed in range(600):
        y, treated, cluster = world(seed, groups)
        found = difference(y, treated, cluster)
        covered += found.low <= 0 <= found.high
        customers = sum(y[of].var(ddof=1) / of.sum() for of in (treated, ~treated))
        naive += abs(found.value) <= 1.96 * customers**0.5
    assert covered / 600 >= 0.93
    assert naive / 600 < 0.75


def test_one_group_held_out_is_no_comparison() -> None:
    """Else the mood of one chat is the effect of the offer."""
    with pytest.raises(NotEnoughData, match="two are the least"):
        difference(np.array([1.0, 0.0, 1.0]), np.array([True, True, False]), np.array([0, 1, 2]))


def test_held_out_groups_are_compared_and_those_of_several_or_exposed_told_apart(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Else whoever read the offer in another chat counts as held out."""
    since = parse_moment("2017-10-01")
    policy = replace(shop_of(Settings()).policy(since), holdout=0.4, salt="salt")
    groups = {f"g{n}": [f"c{n}-{k}" for k in range(5)] for n in range(12)}
    out = dict(zip(groups, held_out(list(groups), "salt", 0.4).tolist(), strict=True))
    assert 2 <= sum(out.values()) <= 9
    bought = [ids[0] for group, ids in groups.items() if not out[group]]
    groups["g0"].append("both")
    groups["g1"].append("both")
    at = parse_moment("2017-10-05")
    known = {"known_at": since, "at": since}
    log = write_log(tmp_path, {
        "customers": [{"customer_id": id, **known} for ids in groups.values() for id in ids],
        "orders": [{"order_id": f"o{n}", "customer_id": id, "at": at, "known_at": at, "amount": 10}
                   for n, id in enumerate([*bought, "both"])],
    })  # fmt: skip
    reached = [group for group, is_out in out.items() if not is_out]
    found = group_effects(log, policy, groups, reached, since, 14)
    rate = found.effects[0]
    assert (rate.found.treated.mean, rate.found.held_out.mean) == (pytest.approx(0.2), 0.0)
    assert rate.found.treated.clusters + rate.found.held_out.clusters == 12
    assert (found.several, rate.several) == (1, 1.0)
    assert found.exposed > 0
    assert any("fewer than 10" in words.en for words in found.warnings)
    wrong = group_effects(log, policy, groups, list(groups), since, 14)
    assert any("heard something all the same" in words.en for words in wrong.warnings)
    with pytest.raises(NotEnoughData, match="nothing is known before"):
        group_effects(log, policy, groups, reached, since, 10_000)

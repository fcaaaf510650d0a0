"""Unequal offers to like customers are found, and chance alone is not called unfair."""

import numpy as np
import pytest
from numpy.typing import NDArray

from features.words import Words
from training.fairness import price_gaps
from training.segments import Grouped


def grouped(name: str, at: NDArray[np.int64]) -> Grouped:
    return Grouped(
        name, Words(name, name), [Words(f"{name}{n}", f"{name}{n}") for n in range(at.max() + 1)], at
    )


def test_a_gap_by_hand() -> None:
    """Strata are compared one by one: who buys more is offered more, and that alone is no gap."""
    tier = np.repeat([0, 1], 100)
    group = np.concatenate([np.repeat([0, 1], [80, 20]), np.repeat([0, 1], [20, 80])])
    offers = np.where(tier == 1, 2.0, 0.0)
    fair = price_gaps(offers, [grouped("tier", tier)], [grouped("age", group)], 0.1)
    assert [(gap.gap, gap.unfair) for gap in fair] == [(0.0, False)] * 2
    assert {gap.group: gap.offer for gap in fair} == {"age0": 0.4, "age1": 1.6}
    offers[(group == 1) & (tier == 0)] = 1.0  # 20 of the 100 of age1, in the lower tier
    unfair = {
        gap.group: gap for gap in price_gaps(offers, [grouped("tier", tier)], [grouped("age", group)], 0.1)
    }
    assert unfair["age1"].gap == pytest.approx(0.2 * 1.0)
    assert unfair["age0"].gap == pytest.approx(-0.8 * 1.0)
    assert all(gap.unfair for gap in unfair.values())


def test_who_is_known_too_little_is_not_judged() -> None:
    """Thirty customers say something, three nothing; an attribute that is not known is no group."""
    at = np.repeat([-1, 0, 1, 2], [50, 100, 100, 5])
    found = price_gaps(np.ones(len(at)), [], [grouped("age", at)], 0.1)
    assert {gap.group for gap in found} == {"age0", "age1"}


def test_chance_is_seldom_called_unfair_and_a_difference_of_a_half_is_found() -> None:
    """A guard that cries wolf is switched off."""
    random, alarms, found = np.random.default_rng(0), 0, 0
    for _ in range(60):
        tier, group = random.integers(0, 3, 1_000), random.integers(0, 5, 1_000)
        chance = np.array([0.1, 0.2, 0.4])[tier]
        offers = random.random(1_000) < chance
        alike, protected = [grouped("tier", tier)], [grouped("age", group)]
        alarms += any(gap.unfair for gap in price_gaps(offers * 1.0, alike, protected, 0.1))
        more = random.random(1_000) < np.where(group == 2, 1.8 * chance, chance)
        gaps = price_gaps(more * 1.0, alike, protected, 0.1)
        found += gaps[0].unfair and gaps[0].group == "age2"
    assert alarms <= 9, "at most one in twenty by chance; nine of sixty are past four standard errors"
    assert found >= 50


def test_a_group_that_is_spread_thin_is_not_called_sure() -> None:
    """One customer of a group in each stratum shows no spread: taken for none, chance becomes a proof."""
    random, hold = np.random.default_rng(1), 0
    group = np.repeat([0, 1], [1_000, 36])
    for _ in range(200):
        tier, offers = random.integers(0, 30, 1_036), random.normal(1.0, 1.0, 1_036)
        gaps = price_gaps(offers, [grouped("tier", tier)], [grouped("age", group)], 0.1)
        hold += all(gap.low <= 0 <= gap.high for gap in gaps)
    assert hold >= 180  # of 95 %


def test_a_rare_offer_that_a_group_happens_not_to_get_is_chance() -> None:
    """Else a lot draws thirty letters of thousands, none of them meets the old, and the offer is blocked."""
    random, alarms = np.random.default_rng(2), 0
    group = np.repeat([0, 1, 2, 3, 4, 5], [46, 58, 71, 141, 191, 288])
    for _ in range(200):
        tier, offers = random.integers(0, 3, len(group)), random.random(len(group)) < 0.02
        gaps = price_gaps(offers * 0.2, [grouped("tier", tier)], [grouped("age", group)], 0.1)
        alarms += any(gap.unfair for gap in gaps)
    assert alarms <= 20, "of 5 %: more come by chance once in a thousand times"

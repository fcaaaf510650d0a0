"""Transitions: does the table tell of change where there is some, and only there?"""

import numpy as np
import pytest
from scipy.stats import binomtest

from features.moments import DAY, parse_moment
from serving.segment_tables import STAGES
from training import transitions
from training.transitions import RISING, STEADY, STEP, Moves, against, moved, ordering, share, steps, verdict

NAMES = [label.name for label in STAGES.labels]
START = parse_moment("2024-01-07")


def chain(after: np.ndarray, seed: int, n: int = 4_000, before: np.ndarray | None = None) -> list[np.ndarray]:
    """Stages at three moments of customers who move by one table, then by another."""
    random = np.random.default_rng(seed)
    first = random.integers(0, len(after), n)

    def step(now: np.ndarray, table: np.ndarray) -> np.ndarray:
        return (random.random((n, 1)) > np.cumsum(table[now], axis=1)).sum(axis=1)

    second = step(first, after if before is None else before)
    return [first, second, step(second, after)]


STAY = np.array([[0.8, 0.2, 0.0], [0.1, 0.8, 0.1], [0.0, 0.1, 0.9]])
LEAVE = np.array([[0.5, 0.2, 0.3], [0.1, 0.5, 0.4], [0.0, 0.1, 0.9]])


def test_customers_who_move_as_before_are_told_as_steady_and_others_are_not():
    """Else: a table of another season steers this one's campaigns."""
    same = moved(3, chain(STAY, 1), 0)
    assert same["value"] < 0.03
    assert "move between stages as before" in verdict({"moved_otherwise": same}).en
    three = chain(LEAVE, 1, before=STAY)
    weight = np.bincount(three[1], minlength=3) / len(three[1])
    changed = moved(3, three, 0)
    assert changed["value"] == pytest.approx(weight @ [0.3, 0.3, 0.0], abs=0.03)
    assert changed["low"] > STEADY
    assert "otherwise than before" in verdict({"moved_otherwise": changed}).en
    assert moved(3, three, 0) == changed


def test_a_stage_of_a_few_says_nothing_of_change():
    few = [np.repeat(0, 20), np.repeat([0, 1], 10), np.repeat(1, 20)]
    assert moved(3, few, 0)["value"] == 0
    assert "cannot be told" in verdict({}).en


def test_rows_of_the_table_are_shares_of_a_stage():
    before, after = np.array([3, 3, 3, 4]), np.array([3, 4, 4, 4])
    found = Moves.of(NAMES, before, after).figures()
    assert set(found) == {"purchase_to_purchase", "purchase_to_use", "use_to_use"}
    assert found["purchase_to_use"] == share(2, 3)


@pytest.mark.parametrize(("k", "n"), [(0, 30), (1, 3), (15, 30), (999, 1_000), (30, 30)])
def test_intervals_are_wilsons(k, n):
    peer = binomtest(k, n).proportion_ci(0.95, "wilson")
    mine = share(k, n)
    assert (mine["low"], mine["high"]) == (
        pytest.approx(peer.low, abs=2e-6),
        pytest.approx(peer.high, abs=2e-6),
    )


def test_a_stage_that_promises_the_contrary_of_what_came_is_named_and_kept_out():
    """Else: the regulars of a table that is upside down are left alone, and go."""
    stage = np.repeat([NAMES.index(name) for name in RISING[1]], 500)
    rates = dict(zip(RISING[1], (0.02, 0.1, 0.2, 0.5), strict=True))
    came = np.concatenate([np.arange(500) < 500 * rate for rate in rates.values()]).astype(float)
    good = ordering(NAMES, stage, came)
    assert good["orders_after_use"]["value"] == 0.2
    assert against(good) == []
    assert verdict(good).en.startswith("Stages mean what they say. Ordered within 28 days: purchase 10%")
    bad = ordering(NAMES, stage, came[::-1])
    assert against(bad) == [("exit", "purchase"), ("purchase", "use"), ("use", "maintenance")]
    assert len(transitions.objections(bad)) == 3
    assert "do not mean what they say" in verdict(bad).en
    assert all(words.zh for words in transitions.objections(bad))
    close = np.concatenate([np.arange(500) < ordered for ordered in (260, 250, 245, 255)]).astype(float)
    assert against(ordering(NAMES, stage, close)) == [], "within chance, nothing is said"


def test_steps_are_those_that_were_built_four_weeks_apart():
    weekly = [START + 7 * k * DAY for k in range(20)]
    cut_off = weekly[8]
    assert steps(weekly, cut_off, weekly[17]) == [cut_off + k * STEP for k in (-1, 0, 1, 2)]
    assert steps(weekly[8:], cut_off, weekly[11]) == [cut_off]

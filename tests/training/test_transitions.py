"""Transitions: does the table tell of change where there is some, and only there?"""

import numpy as np
import pytest
from scipy.stats import binomtest

from features.moments import DAY, parse_moment
from serving.segment_tables import STAGES
from training import transitions
from training.transitions import (
    RISING,
    STEADY,
    STEP,
    Moves,
    against,
    most,
    moved,
    ordering,
    share,
    steps,
    verdict,
)

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


THREE = ["purchase", "use", "maintenance"]
STAY = np.array([[0.8, 0.2, 0.0], [0.1, 0.8, 0.1], [0.0, 0.1, 0.9]])
LEAVE = np.array([[0.5, 0.2, 0.3], [0.1, 0.5, 0.4], [0.0, 0.1, 0.9]])


def test_customers_who_move_as_before_are_told_as_steady_and_others_are_not():
    """Else: a table of another season steers this one's campaigns."""
    same = moved(THREE, chain(STAY, 1), 0)
    assert same["moved_otherwise"]["value"] < 0.03
    assert "move between stages as before" in verdict(same).en
    three = chain(LEAVE, 1, before=STAY)
    weight = np.bincount(three[1], minlength=3) / len(three[1])
    changed = moved(THREE, three, 0)
    mean = changed["moved_otherwise"]
    assert mean["value"] == pytest.approx(weight @ [0.3, 0.3, 0.0], abs=0.03)
    assert mean["low"] > STEADY
    assert "otherwise than before" in verdict(changed).en
    assert moved(THREE, three, 0) == changed


def test_an_average_is_said_to_be_one_and_the_worst_stage_is_named():
    """Else: `at most 2 % went elsewhere` is believed of a small stage of which a third did."""
    three = chain(STAY, 1, n=6_000)
    few = chain(np.array([[0.5, 0.5, 0.0]] * 3), 2, n=200, before=np.array([[1.0, 0.0, 0.0]] * 3))
    few = [np.zeros(200, int), *few[1:]]  # of a fourth stage's kind: half of them leave where all stayed
    three = [np.concatenate([of + 1, other]) for of, other in zip(three, few, strict=True)]
    found = moved(["contact", *THREE], three, 0)
    worst = found["moved_otherwise_contact"]
    assert worst["value"] == pytest.approx(0.5, abs=0.1)
    assert worst["rows"] == (three[1] == 0).sum() == 200
    assert found["moved_otherwise"]["rows"] == 6_200
    assert found["moved_otherwise"]["value"] < 0.05
    said = verdict(found)
    assert "on average at most" in said.en
    assert f"Most in the stage contact: {worst['value']:.1%} [" in said.en
    assert said.en.endswith("] of 200.")
    assert "差异最大的阶段为" in said.zh
    assert "200人中" in said.zh


def test_of_several_steps_the_most_is_told():
    """Else: a season's turn is averaged away by the quiet months."""
    quiet = {"moved_otherwise": {"value": 0.01}, "moved_otherwise_use": {"value": 0.02}}
    loud = {"moved_otherwise": {"value": 0.2}}
    assert most([quiet, loud, quiet]) == {**quiet, **loud}
    assert most([]) == {}


def test_a_stage_of_a_few_says_nothing_of_change():
    few = [np.repeat(0, 20), np.repeat([0, 1], 10), np.repeat(1, 20)]
    assert moved(THREE, few, 0) == {"moved_otherwise": {"value": 0, "low": 0, "high": 0, "rows": 0}}
    assert "cannot be told" in verdict({}).en


def test_rows_of_the_table_are_shares_of_a_stage():
    """Else: 100 % of one customer stands beside 89 % of two thousand, and nothing tells them apart."""
    before, after = np.repeat([3, 3, 4, 5], [10, 20, 40, 29]), np.repeat([3, 4, 4, 3], [10, 20, 40, 29])
    found = Moves.of(NAMES, before, after).figures()
    assert set(found) == {"purchase_to_purchase", "purchase_to_use", "use_to_use"}, "29 say nothing"
    assert found["purchase_to_use"] == share(20, 30)
    assert found["purchase_to_use"]["rows"] == 30


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

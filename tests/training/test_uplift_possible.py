"""Arms that only some customers could have had: all of the log is used, and the effects are the true ones."""

from dataclasses import replace

import numpy as np
import pytest

from features.errors import NotEnoughData, TrainingError
from features.moments import DAY, parse_moment, to_us
from training.logged import Logged
from training.uplift import fit
from training.uplift_checks import overlap, sample_ratio
from training.uplift_estimates import pairs_of
from training.uplift_learners import pseudo_outcomes
from training.uplift_logged import trial_of_ledger
from training.uplift_trial import LEAST, Trial

AT = to_us(parse_moment("2017-06-01"))
ACTIONS = ("nothing", "mail", "text", "coupon", "gift")


def made(rows: int = 4_000, seed: int = 1, decisions: int = 1) -> tuple[Logged, np.ndarray]:
    """A ledger in which hardly two actions may be taken for the same customers, and true effects [n, 5].

    The mail is for whom x0 > 0, the text for whom x0 < .3, the coupon for whom x1 > 0 and who is dear to the
    shop (which no column tells), the gift for a handful. What looks best is drawn with a chance of one half
    or more, so that who gets it buys more anyway.
    """
    random = np.random.default_rng(seed)
    customer = np.arange(rows) // decisions
    x = random.normal(size=(rows // decisions, 4)).astype(np.float32)[customer]
    dear = (random.random(rows // decisions) < 0.5)[customer]
    could = np.column_stack([
        np.ones(rows, np.bool_), x[:, 0] > 0, x[:, 0] < 0.3, (x[:, 1] > 0) & dear, random.random(rows) < 0.01
    ])  # fmt: skip
    best = np.where(could[:, 3], 3, np.where(could[:, 1], 1, 2))
    chances = 0.5 * could / could.sum(axis=1)[:, None]
    chances[np.arange(rows), best] += 0.5
    action = (random.random(rows)[:, None] > chances.cumsum(axis=1)[:, :-1]).sum(axis=1)
    true = np.column_stack([
        np.zeros(rows), np.where(x[:, 2] > 0, 3.0, -1.0), np.full(rows, 0.5), 1.0 + dear, np.zeros(rows)
    ])  # fmt: skip
    own = (2 * random.normal(size=rows // decisions))[customer]
    margin = 10 + 3 * x[:, 0] + 4 * dear + own + true[np.arange(rows), action] + random.normal(size=rows)
    at = np.full(rows, AT)
    logged = Logged(
        tuple(f"d{i}" for i in range(rows)), x, {f"x{j}": str(j) for j in range(4)}, ACTIONS,
        {"nothing": None, "mail": "mail", "text": "sms", "coupon": "sms", "gift": "staff"}, action, chances,
        np.zeros(rows), customer, at, at + int(28 * DAY.total_seconds() * 1e6),
        at + int(35 * DAY.total_seconds() * 1e6), np.zeros(rows, np.int64), ("",) * rows,
        np.zeros(rows, np.bool_), {"margin": margin}, "reported", builds=("b",) * rows,
    )  # fmt: skip
    return logged, true


@pytest.fixture(scope="module")
def log() -> tuple[Logged, np.ndarray]:
    return made()


def test_every_decision_in_which_something_was_left_to_chance_is_learnt_from(
    log: tuple[Logged, np.ndarray],
) -> None:
    """Asking that all actions could be drawn at once leaves none of these, and nothing is ever learnt."""
    logged, _ = log
    of = trial_of_ledger(logged)
    assert of.trial.arms == ("nothing", "mail", "text", "coupon")
    assert of.trial.evidence == "randomised"
    assert (logged.chances[:, :4] > 0).all(axis=1).mean() < 0.05
    assert len(of.trial) > 0.98 * len(logged)
    assert any("nothing could have been drawn too: gift" in words.en for words in of.left)
    assert np.array_equal(of.trial.could, logged.chances[of.rows][:, :4] > 0)
    assert sample_ratio(of.trial).holds
    assert overlap(of.trial).holds


def test_effects_are_the_true_ones_of_those_who_could_have_had_the_arm(
    log: tuple[Logged, np.ndarray],
) -> None:
    """Else: the coupon, for good customers alone, is praised for what these buy anyway."""
    logged, true = log
    of = trial_of_ledger(logged)
    found = fit(of.trial, "margin")
    y, could, true = of.trial.outcomes["margin"], of.trial.could, true[of.rows]
    for k in (1, 2, 3):
        own = could[:, k]
        assert found.effects[k].low < true[own, k].mean() < found.effects[k].high
        assert found.effects[k].high - found.effects[k].low < 1.5
        assert found.reach[k] == own.mean()
    naive = y[of.trial.arm == 3].mean() - y[of.trial.arm == 0].mean()
    assert not found.effects[3].low < naive < found.effects[3].high
    for arm in (found.chosen, found.policy(of.trial.matrix, could)):
        assert could[np.arange(len(arm)), arm].all(), "nobody gets what could not be had"
    worth = true[np.arange(len(y)), found.policy(of.trial.matrix, could)].mean()
    most = np.where(could, true[:, :4], -np.inf).max(axis=1).mean()
    best = max(np.where(could[:, k], true[:, k], 0.0).mean() for k in range(4))
    assert found.personal
    assert worth - best > 0.8 * (most - best)


@pytest.mark.parametrize("decisions", [1, 4])
def test_intervals_of_effects_hold_as_often_as_they_say(decisions: int) -> None:
    """All of a log's effects at once, also where a customer has several decisions that are alike."""
    hold, runs = 0, 150
    for seed in range(runs):
        logged, true = made(1_600, seed, decisions)
        rows = np.flatnonzero(logged.action < 4)
        could, arm = logged.chances[rows][:, :4] > 0, logged.action[rows]
        given = logged.given[rows] / logged.chances[rows][:, :4].sum(axis=1)
        means = np.repeat(10 + 3 * logged.matrix[rows, :1].astype(np.float64), 4, axis=1)
        scores = pseudo_outcomes(means, arm, given, logged.outcomes["margin"][rows])
        pairs = pairs_of(scores, logged.customer[rows], could)
        truths = [true[rows][could[:, k], k].mean() for k in (1, 2, 3)]
        hold += all(pairs[k, 0].low < of < pairs[k, 0].high for k, of in enumerate(truths, start=1))
    assert 0.9 <= hold / runs <= 0.995


def test_an_arm_for_few_says_so(log: tuple[Logged, np.ndarray]) -> None:
    """Else: an effect is read off the customers who could have had nothing else."""
    trial = trial_of_ledger(log[0]).trial
    assert trial.possible is not None
    alone = trial.possible.copy()
    alone[trial.arm == 0, 3] = False
    with pytest.raises(NotEnoughData, match=r"nothing has 0 beside coupon"):
        replace(trial, possible=alone)
    with pytest.raises(TrainingError, match="could have had the control"):
        replace(trial, possible=np.where(np.arange(4) == 0, False, trial.possible))


def test_one_customers_many_rows_are_no_customers() -> None:
    """Fifty decisions of three people are no trial, whatever their number."""
    trial = trial_of_ledger(made(2_000, decisions=4)[0]).trial
    assert isinstance(trial, Trial)
    with pytest.raises(NotEnoughData, match=f"two arms, and {LEAST} customers in each: .*Leave the rows"):
        replace(trial, customer=trial.customer % 3)

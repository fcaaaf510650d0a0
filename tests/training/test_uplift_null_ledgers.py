"""Ledgers in which nothing is wrong: the checks of a lottery alarm no more often than they say."""

from contextlib import suppress
from dataclasses import replace

import numpy as np

from features.errors import NotEnoughData
from training.uplift_checks import overlap
from training.uplift_columns import before_decision, post_treatment
from training.uplift_overlap import told_apart
from training.uplift_trial import Trial

RARE = 20


def null_ledger(seed: int, told: bool = True) -> Trial:
    """Nobody is moved by anything: 3 to 5 arms, of which many are small, some possible for a part only, drawn
    with unlike chances; beside three numbers, twenty things that hardly anybody has.

    told: whether the chances of all arms are known, and which were possible, as of a ledger; else each row
    could have had all, and tells the chance of what it got, as of a table.
    """
    random = np.random.default_rng(seed)
    n, arms = int(random.integers(600, 2_000)), int(random.integers(3, 6))
    x = random.normal(size=(n, 3)).astype(np.float32)
    rare = (random.random((n, RARE)) < random.uniform(0.002, 0.03, size=RARE)).astype(np.float32)
    could = np.ones((n, arms), np.bool_)
    for k in range(1, arms) if told else ():
        could[:, k] = (x[:, 0] > -0.5, rare[:, k] < 1, random.random(n) < 0.6)[int(random.integers(3))]
    chances = could * (random.dirichlet(np.ones(arms) * 0.7) + 0.03)
    if seed % 2:  # what looks best is drawn most
        best = np.where(could, x @ random.normal(size=(3, arms)), -9.0).argmax(axis=1)
        chances = 0.3 * could / could.sum(axis=1)[:, None]
        chances[np.arange(n), best] += 0.7
    chances /= chances.sum(axis=1)[:, None]
    arm = (random.random(n)[:, None] > chances.cumsum(axis=1)[:, :-1]).sum(axis=1)
    rows = could.sum(axis=1) > 1
    columns = ("x0", "x1", "x2", *(f"rare{j}" for j in range(RARE)))
    trial = Trial(
        np.hstack([x, rare])[rows], columns, tuple("nabcd"[:arms]), arm[rows],
        chances[np.arange(n), arm][rows], {"y": random.normal(size=int(rows.sum()))}, np.arange(rows.sum()),
    )  # fmt: skip
    return replace(trial, possible=could[rows], chances=chances[rows]) if told else trial


def null_ledgers(count: int, told: bool = True) -> list[Trial]:
    found: list[Trial] = []
    seed = 0
    while len(found) < count:
        with suppress(NotEnoughData):
            found.append(null_ledger(seed, told))
        seed += 1
    return found


def test_a_rare_column_beside_a_small_arm_is_no_sign() -> None:
    """Else: every other ledger with small arms is refused, as one odd customer of theirs seems impossible."""
    for told in (True, False):
        assert sum(bool(list(post_treatment(trial))) for trial in null_ledgers(60, told)) <= 1


def test_an_arm_that_was_seldom_drawn_is_not_taken_for_an_impossible_one() -> None:
    """Else: an honest ledger is told that some of its customers could never have been left alone."""
    for told in (True, False):
        assert sum(bool(told_apart(trial).never.any()) for trial in null_ledgers(40, told)) <= 1


def test_a_column_that_is_from_after_the_decision_is_still_found() -> None:
    """Else: quiet is bought by blindness."""
    missed = 0
    for trial in null_ledgers(10):
        later = trial.matrix.copy()
        smallest = int(np.bincount(trial.arm).argmin())
        later[:, 5] = (trial.arm == smallest) & (np.random.default_rng(1).random(len(trial)) < 0.6)
        missed += "rare2" not in [name for name, _ in post_treatment(replace(trial, matrix=later))]
    assert missed <= 1


def test_a_column_of_one_value_is_no_sign() -> None:
    """Else: a trial in one country is refused, as it differs in `country`, which is the same for all."""
    trial = null_ledger(0, told=False)
    same = trial.matrix.copy()
    same[:, 4] = 1.0
    assert before_decision(replace(trial, matrix=same)).holds is True


def test_too_few_effective_customers_are_called_so() -> None:
    """Else: overlap FAILS, and what stands beside it are four numbers."""
    trial = null_ledger(0, told=False)
    few = replace(trial, given=np.where(np.arange(len(trial)) < 12, 0.001, trial.given))
    assert overlap(few).words.en.startswith("too few: weighted by their propensities")

"""The limits of a plan: those given for it, and what is left of the policy's own budgets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from features.errors import UsageError
from features.policy import Policy
from serving.decide import Decisions, Situation
from serving.prices import BudgetLeft
from serving.situation import left_of

Floats = NDArray[np.float64]

DIGITS = 6  # of sums of money: the ledger counts in millionths, and a sum of floats drifts


def given_left(
    budget: float | None, capacity: Mapping[str, int], spent: float, channels: Sequence[str]
) -> tuple[float | None, dict[str, float]]:
    """What exploration and owed services leave of the limits given. channels: of each of their contacts.

    UsageError if they are above a limit.
    """
    short = [] if budget is None or spent <= budget else [f"costs {spent:,.2f} of a budget of {budget:,.2f}"]
    used = {name: channels.count(name) for name in capacity}
    short += [
        f"takes {used[name]} of {most} on {name}" for name, most in capacity.items() if used[name] > most
    ]
    if short:
        raise UsageError(
            f"exploration and what is owed alone {' and '.join(short)}: raise the limit, or lower `explore` "
            "in shop.toml"
        )
    remaining = {name: float(most - used[name]) for name, most in capacity.items()}
    return None if budget is None else budget - spent, remaining


def budgets_left(policy: Policy, spent: Sequence[float], as_of: datetime, zone: ZoneInfo) -> list[BudgetLeft]:
    """Of each of the policy's budgets that pays a plan, in the period of the moment; the shortest last.

    A plan is for no scenario, so a scenario's budget does not pay it. spent: of each, reserved contacts too.
    """
    day = as_of.astimezone(zone).date()
    return [
        BudgetLeft(
            name=f"{budget.per}_budget",
            amount=budget.amount,
            per=budget.per,
            left=max(round(left, DIGITS), 0.0),
            until=datetime.combine(budget.until(day), time(), zone).astimezone(UTC),
        )
        for left, budget in reversed(left_of(policy, spent, None))
    ]


def drawn_within(
    decide: Callable[[Situation], Decisions], situation: Situation, cost: Floats, left: float, seed: int
) -> tuple[Situation, Decisions, int]:
    """Decide so that what lots draw is paid from what is left of the policy's budgets, as it is online: one
    after the other, in a random order, and who comes too late for an action is drawn among what can be paid.

    Each keeps the exact propensity of what was open to it. cost: what the policy pays of each action [A].
    Gives the situation that it ends in, and how many came too late for what they were drawn at first.
    """
    order = np.random.default_rng(seed).permutation(len(situation.seeds))
    made = first = decide(situation)
    while True:
        drawn = order[made.explored[order]]
        paid = np.cumsum(cost[made.chosen[drawn]]).round(DIGITS)
        over = int(np.searchsorted(paid, left, side="right"))
        if over == len(drawn):
            return situation, made, int((first.chosen != made.chosen)[first.explored].sum())
        rest = round(left - (paid[over - 1] if over else 0.0), DIGITS)
        # Whoever had to be drawn anew is at the new end of what is left: no cost is looked at twice.
        short = situation.left.copy()
        short[drawn[over:]] = np.minimum(short[drawn[over:]], rest)
        situation = dataclasses.replace(situation, left=short)
        made = decide(situation)

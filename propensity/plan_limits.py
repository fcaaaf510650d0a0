"""The limits of a plan: those given for it, and what is left of the policy's own budgets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, time
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from features.errors import UsageError
from features.policy import Policy
from serving.decide import Decisions, Situation
from serving.lots import Bools, Floats
from serving.prices import BudgetLeft
from serving.situation import left_of

DIGITS = 6  # of sums of money: the ledger counts in millionths, and a sum of floats drifts


def given_left(
    budget: float | None, capacity: Mapping[str, int], spent: float, channels: Sequence[str]
) -> tuple[float | None, dict[str, float]]:
    """What owed services leave of the limits given, or these and exploration. channels: of their contacts.

    UsageError if they are above a limit; exploration never is (`drawn_within`).
    """
    spent = round(spent, DIGITS)
    short = [] if budget is None or spent <= budget else [f"costs {spent:,.2f} of a budget of {budget:,.2f}"]
    used = {name: channels.count(name) for name in capacity}
    short += [
        f"takes {used[name]} of {most} on {name}" for name, most in capacity.items() if used[name] > most
    ]
    if short:
        raise UsageError(f"what is owed to customers alone {' and '.join(short)}: raise the limit")
    remaining = {name: float(most - used[name]) for name, most in capacity.items()}
    return None if budget is None else round(budget - spent, DIGITS), remaining


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


class Drawn(NamedTuple):
    """situation: in which whoever was drawn too late has what was left then. open: what was left to each at
    their turn, had they been drawn [n, A]; late: how many were drawn at first to what was not left."""

    situation: Situation
    made: Decisions
    open: Bools
    late: int


def drawn_within(
    decide: Callable[[Situation], Decisions],
    situation: Situation,
    pays: Floats,
    left: float,
    uses: Floats,
    carried: Floats,
    seed: int,
) -> Drawn:
    """Decide so that what lots draw is paid from what is left of the limits, as it is online: one after the
    other, in a random order, and who comes too late for an action is drawn among what can be paid.

    Each has the exact propensity of what was open then. pays, left: what the policy's budgets pay of each
    action [A], and have left; uses, carried: what actions use [A, L] of the limits given, and what there is
    of them [L].
    """
    order, first = np.random.default_rng(seed).permutation(len(situation.seeds)), decide(situation)
    place = np.argsort(order)
    of_all, rest = np.column_stack([pays, uses]), np.append(left, carried)
    short, shut = situation.left.copy(), np.zeros((len(order), len(pays)), np.bool_)
    most, gone, after = rest, np.zeros(len(pays), np.bool_), order
    while True:  # each time there is an action less for all who come after
        gone = gone | (of_all > rest).any(axis=1)
        short[after] = np.minimum(short[after], rest[0])
        shut[after] |= (uses > rest[1:]).any(axis=1)
        made = decide(dataclasses.replace(situation, left=short, shut=shut))
        drawn = order[made.explored[order]]
        rests = (most - np.cumsum(of_all[made.chosen[drawn]], axis=0)).round(DIGITS)
        beyond = [(of_all[a] > rests).any(axis=1) for a in np.flatnonzero(~gone)]
        ends = [int(of.argmax()) for of in beyond if of.any()]
        if not ends:
            break
        last = min(ends)
        rest, after = rests[last], order[place[drawn[last]] + 1 :]
    # Whoever no lot draws is kept from nothing by lots of others: limits and prices see to that.
    lots = first.explored
    drawn_late = dataclasses.replace(
        situation, left=np.where(lots, short, situation.left), shut=shut & lots[:, None]
    )
    late = int((first.chosen != made.chosen)[lots].sum())
    return Drawn(drawn_late, decide(drawn_late), made.eligible, late)

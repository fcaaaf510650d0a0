"""How a plan is shown on a terminal: who gets what, what it takes of the limits, and how good it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from features.moments import iso
from propensity.fair import show_gaps
from propensity.tables import console, say, table
from training import stated

if TYPE_CHECKING:
    from propensity.planned import Plan


def show(made: Plan) -> None:
    """Print it."""
    found, prices = made.found, made.found.prices.of(made.actions)
    numbers = ("customers", "of them by lot", "cost", "expected net", "price")
    shown = table(f"Plan as of {iso(found.as_of)}", "action", "channel", *numbers, right=numbers)
    for j, action in enumerate(made.actions):
        here = made.chosen == j
        net = made.decisions.net[here, j].sum() if j else 0.0
        lots = int((here & made.decisions.explored).sum())
        cells = f"{here.sum():,}", f"{lots:,}", f"{here.sum() * action.cost:,.2f}", f"{net:,.2f}"
        shown.add_row(action.name, action.channel or "", *cells, f"{prices[j]:.4f}")
    console().print(shown)
    say(_parts(made))
    of = "" if found.budget is None else f" of {found.budget:,.2f}"
    limits = "".join(
        f"; {sum(made.actions[j].channels.count(name) for j in made.chosen.tolist()):,} of {most:,} on {name}"
        for name, most in found.capacity.items()
    )
    pays = sum(
        a.cost * (a.purpose == "marketing") * int((made.chosen == j).sum())
        for j, a in enumerate(made.actions)
    )
    limits += "".join(f"; {pays:,.2f} of {stated.left_in_words(of).en}" for of in found.budgets)
    short = max(made.allocation.bound - made.allocation.value, 0.0)
    share = 100 * short / found.bound if found.bound > 0 else 0.0  # of all of it: lots are not up for choice
    best = "the best with these lots" if made.decisions.explored.any() else "the best"
    say(
        f"{found.customers:,} customers: expected net {found.value:,.2f}, at most "
        f"{share:.4f} % short of {best}; cost {found.spent:,.2f}{of}{limits}"
    )
    if made.unpaid:
        say(
            f"{made.unpaid:,} were drawn to explore what the limits do not carry any more, and so were drawn "
            "again among what they do: lots alone use them up. A higher limit, or a lower `explore` in "
            "shop.toml, leaves something to what is worth most"
        )
    if whole := _whole(made):
        say(whole)
    show_gaps(found.fairness)
    for name, gaps in (made.alone or {}).items():
        show_gaps(gaps, name)


def _parts(made: Plan) -> str:
    """How many were drawn by lot, are owed a service, are held out, and got what is worth most; with the cost
    and the expected net of each."""
    d, everyone = made.decisions, np.arange(len(made.chosen))
    owed = ~d.eligible[:, 0] & ~d.explored
    kept = made.holdout & ~owed & ~d.explored
    cost = np.array([action.cost for action in made.actions])[made.chosen]
    net = np.where(made.chosen == 0, 0.0, d.net[everyone, made.chosen])

    def told(rows: NDArray[np.bool_], what: str) -> str:
        return f"{rows.sum():,} {what} (cost {cost[rows].sum():,.2f}, expected net {net[rows].sum():,.2f})"

    explore = f"{100 * made.explore:.3g}"
    parts = [
        told(~(d.explored | owed | kept), "get what is worth most within the limits"),
        told(d.explored, f"get what a lot drew among all that is eligible, to learn ({explore}% explore)"),
    ]
    parts += [told(owed, "get what is owed to them")] if owed.any() else []
    parts += [f"{kept.sum():,} are held out and get nothing"] if kept.any() else []
    return f"Of {len(everyone):,} customers: {'; '.join(parts)}"


def _whole(made: Plan) -> str | None:
    """Why the plan is short of the bound: that splits customers, at most one a limit; None if it is not."""
    found, allocation = made.found, made.allocation
    short, left = allocation.bound - allocation.value, allocation.whole_bound - allocation.value
    limits = (found.budget is not None) + len(found.capacity)
    limits += sum(price > 0 for price in found.prices.policy.values())
    if not limits or short <= 1e-6 * found.bound:  # .0001 %
        return None
    at_most, each = made.most, "one customer" if limits == 1 else f"{limits} customers, one a limit,"
    said = (
        f"The best here is a bound: it gives {each} a part of an action, and customers are whole. The plan "
        f"is {short:,.4g} short of it"
    )
    if left <= 1e-6 * found.bound:
        return f"{said}, and no plan of whole customers is better"
    if left < 0.99 * short:
        return f"{said}; of that a plan of whole customers could make up {left:,.4g} at most"
    return f"{said}; how much of that is avoidable is not known; a customer brings {at_most:,.4g} at most"

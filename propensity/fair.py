"""Whether a plan offers like customers the same: measured for `decide --all`, shown, refused if not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from features.definitions import catalogue
from features.errors import DecisionError, LogError
from features.log import Log
from features.online import Published
from propensity.tables import console, table
from serving.decide import Decisions, reason
from serving.decision_context import DecisionContext
from serving.in_force import Unfair
from serving.prices import PriceGap
from serving.situation import Rules
from training.fairness import LIKE, price_gaps
from training.segments import Judged, by_attribute, by_feature

Alone = dict[str, list[PriceGap]]  # action -> gaps of its own offers, by the attributes that are unfair

# Reasons that are the customer's own word, chance, or what was sent before: no offer was weighed then.
_NOT_WEIGHED = ("no_automation", "no_consent", "open_complaint", "suppressed", "contact_cap", "holdout")


def gaps_of(
    context: DecisionContext,
    published: Published,
    ids: Sequence[str],
    matrix: NDArray[np.float32],
    made: Decisions,
    chosen: NDArray[np.intp],
    rules: Rules,
) -> tuple[list[PriceGap], Alone | None]:
    """Gaps between the groups of shop.toml's `protected`: of all offers together, and of each action that
    makes unfair ones by itself. The others may make up for it, so that together no gap is shown.

    No gaps without such groups, or without offers of worth; None: nothing was measured. chosen: column
    numbers [n]. LogError without a log, if the policy blocks what is unfair: then nobody could tell; else
    nothing is measured.
    """
    shop, worth = context.shop, np.array([action.incentive for action in rules.actions])
    if not shop.protected or not worth.any():
        return [], {} if shop.protected else None
    try:
        log = Log.open(context.settings)
    except LogError:
        if rules.policy.price_fairness == "block":
            raise
        return [], None
    codes = range(int(made.reject.max(initial=0)) + 1)
    weighed = [code for code in codes if reason(code) not in _NOT_WEIGHED]
    asked = np.flatnonzero(np.isin(made.reject[:, worth > 0], weighed).any(axis=1))
    who, zeros = [ids[place] for place in asked.tolist()], np.zeros(len(asked))
    rows = Judged(matrix[asked], zeros, zeros, np.arange(len(asked)), np.zeros(len(asked), np.int64), who)
    declared = catalogue(shop.declared("FEATURES"))
    units = {name: declared[name].unit if name in declared else "" for name in published.features}
    alike = [kind for kind in by_feature(rows, units) if kind.name in LIKE]
    protected = list(by_attribute(log, rows, [published.moment], shop.protected))
    bound = rules.policy.price_gap
    found: Alone = {}
    for j in np.flatnonzero(worth).tolist():
        alone = price_gaps(np.where(chosen[asked] == j, worth[j], 0.0), alike, protected, bound)
        if attributes := sorted({gap.attribute for gap in alone if gap.unfair}):
            found[rules.actions[j].name] = [gap for gap in alone if gap.attribute in attributes]
    return price_gaps(worth[chosen[asked]], alike, protected, bound), found


def unfair_of(alone: Alone | None) -> Unfair | None:
    """The actions that make unfair gaps by themselves, each with the attributes; None: not measured."""
    if alone is None:
        return None
    return {
        name: tuple(sorted({gap.attribute for gap in gaps if gap.unfair})) for name, gaps in alone.items()
    }


def show_gaps(gaps: Sequence[PriceGap], action: str | None = None) -> None:
    """A table, the unfair first; nothing where nothing was compared. action: whose offers; None: of all."""
    if not gaps:
        return
    of = "Offers of all actions together" if action is None else f"Offers of {action} by itself"
    numbers = ("customers", "mean offer", "above like customers", "interval")
    shown = table(f"{of}, to like customers of different groups", "group", *numbers, "verdict", right=numbers)
    for gap in gaps:
        interval = f"{gap.low:+.3f} to {gap.high:+.3f}"
        cells = (f"{gap.customers:,}", f"{gap.offer:.3f}", f"{gap.gap:+.3f}", interval)
        shown.add_row(f"{gap.attribute}: {gap.group}", *cells, "unfair" if gap.unfair else "no gap shown")
    console().print(shown)


def refuse_unfair(gaps: Sequence[PriceGap]) -> None:
    """DecisionError if one of them is unfair."""
    unfair = sorted({gap.attribute for gap in gaps if gap.unfair})
    if unfair:
        raise DecisionError(
            "nothing was written: the policy blocks a plan that offers like customers different worth, and "
            f"this one does by {', '.join(unfair)}. Look at what the actions' conditions read; "
            'price_fairness = "report" in shop.toml lets it pass'
        )

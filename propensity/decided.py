"""How a decision is shown on a terminal: what was chosen, what it is hoped to bring, why not the others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from propensity.tables import console, say, table

if TYPE_CHECKING:
    from rich.table import Table


def show_decision(answer: dict[str, Any], as_json: bool) -> None:
    """A decision, with why each other action was not taken."""
    if as_json:
        console().out(json.dumps(answer, ensure_ascii=False, indent=1))
        return
    out = console()
    say(f"{answer['action']}: {answer['text']['en']}")
    shown = table(
        "", "action", "expected net", "interval", "chance", "why not", right=("expected net", "chance")
    )
    asked = [action for action in answer["actions"] if action["reject_reason"] != "not_a_candidate"]
    for action in asked:
        score, interval = action["score"], action["interval"]
        shown.add_row(
            action["action"],
            "" if score is None else f"{score:.2f}",
            "" if interval is None else f"{interval[0]:.2f} to {interval[1]:.2f}",
            f"{action['propensity']:.3f}",
            _why_not(action, answer["action"]),
        )
    out.print(shown)
    out.print(_terms(asked, answer["used"]))
    steps = next(action["steps"] for action in asked if action["action"] == answer["action"])
    for number, step in enumerate(steps if len(steps) > 1 else (), start=1):
        when = f"after {step['after_hours']:g} hours" if step["after_hours"] else "at once"
        say(f"step {number}, {when}, by {step['channel']}: {step['text']['en']}")
    recorded = "a preview, not recorded" if answer["preview"] else f"recorded as {answer['decision_id']}"
    say(
        f"evidence: {answer['evidence']}; holdout: {answer['holdout']}; explored: {answer['explore']}; "
        f"policy of {answer['policy']}; {recorded}"
    )
    used = answer["used"]
    if any(action["evidence"] == "randomised" for action in answer["actions"]):
        from serving.evidence import NOT_VALUED

        say(f"not in the sum: {NOT_VALUED.en}")
    if used["lifetime_text"]:
        say(used["lifetime_text"]["en"])
    elif used["lifetime_from"]:
        worth = f"{used['lifetime_value']:,.2f} {used['currency']}, by {used['lifetime_from']}"
        say(f"lifetime value beyond {used['horizon_days']} days: {worth}")
    if answer["send_at"]:
        held = f"; held until {answer['reserved_until']}" if answer["reserved_until"] else ""
        say(f"send at {answer['send_at']} ({answer['send_text']['en']}){held}")
    if answer["route"] == "person":
        say(f"for a person to decide: {answer['route_text']['en']}")


TERMS = {  # of the net value, in the order in which they add up, as a reader knows them
    "d_margin": "margin", "d_retention": "retention", "send_cost": "sending", "incentive": "incentive",
    "d_optout": "opting out", "fatigue": "fatigue",
}  # fmt: skip


def _terms(actions: Sequence[dict[str, Any]], used: dict[str, Any]) -> Table:
    """What each expected net is the sum of; after it, what scarce money and channels are charged."""
    priced = any(action["price"] for action in actions)
    columns = [*TERMS.values(), "= net", *(["price"] if priced else [])]
    days, currency = used["horizon_days"], used["currency"]
    shown = table(f"Expected over {days} days, {currency}", "action", *columns, right=tuple(columns))
    for action in actions:
        if (terms := action["terms"]) is None:
            shown.add_row(action["action"], *["not known"] * len(columns))
            continue
        values = [terms[name] for name in TERMS] + [action["score"]] + [action["price"]] * priced
        shown.add_row(action["action"], *(f"{value + 0.0:.4f}" for value in values))
    return shown


def _why_not(action: dict[str, Any], chosen: str) -> str:
    if action["action"] == chosen:
        return "chosen"
    if action["eligible"]:
        price = action["price"]
        charged = f", less {price:.4f} for what it uses of a short budget or channel" if price else ""
        return f"a lower expected net value{charged}"
    exactly = action["condition"] or action["limit"]
    return f"{action['reject_text']['en']}" + (f" ({exactly})" if exactly else "")

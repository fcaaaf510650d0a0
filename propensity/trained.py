"""What is shown of a model that was just trained, whatever its kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from propensity.compared import show_means, show_origins
from propensity.tables import console, figure, say, show_trained, table

if TYPE_CHECKING:
    from serving.cards import ModelCard
    from training.fit import Trained


def show(one: Trained) -> None:
    """Figures on later time beside the baselines', with 95 % intervals, and the verdict."""
    if one.card.backtest:
        show_origins(one.card)
        show_means(one.card, one.against)
        show_trained(one)
        _show_contacts(one.card)
    else:
        _show_figures(one.card)


def _show_contacts(card: ModelCard) -> None:
    """Observed over expected of those left alone, of the holdout and of the contacted, apart."""
    from training.contacts_page import holdout

    groups = card.backtest.get("contacts", {})
    names = {"untreated": "left alone", "held_out": "of them held out", "treated": "contacted"}
    told = [
        f"{said} {groups[name]['observed_over_expected']:.2f} (z {groups[name]['z']:+.1f})"
        for name, said in names.items()
        if name in groups
    ]
    if "treated" in groups:
        say(f"Observed/expected over all origins: {', '.join(told)}.")
    say(holdout(groups).en)


def _show_figures(card: ModelCard) -> None:
    """Every figure of a model of no target, a row each; what it gains over a baseline is in the verdict."""
    others = list(card.baselines)
    shown = table(
        f"{card.name} version {card.version}: {card.target.words.en}, judged as of "
        f"{card.tested_on.moment:%Y-%m-%d} on {card.tested_on.rows:,} {card.target.population}",
        "",
        "model",
        *(name.replace("_", " ") for name in others),
    )
    for name, own in card.metrics.items():
        cells = (card.baselines[other].get(name) for other in others)
        shown.add_row(name.replace("_", " "), figure(own), *(figure(cell) if cell else "" for cell in cells))
    console().print(shown)
    for note in card.notes:
        say(note.en)

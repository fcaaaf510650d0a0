"""What is shown of a model that was just trained, whatever its kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from propensity.compared import show_means, show_origins
from propensity.tables import console, figure, say, say_reused, show_trained, table

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
        say_reused(one)


def _show_contacts(card: ModelCard) -> None:
    """How often it came true of those left alone, of the holdout and of the contacted, apart."""
    from training.contacts_page import came_true, holdout

    if (groups := card.backtest.get("contacts")) is not None:
        if told := came_true(groups):
            say(told.en)
        say(holdout(groups).en)


def _show_figures(card: ModelCard) -> None:
    """Every figure of a model of no target, a row each; what it gains over a baseline is in the verdict."""
    from training.figures import missed

    others, days = list(card.baselines), card.tested_on.days
    over = f"; every figure is over the {days} days after it" if days else ""
    shown = table(
        f"{card.name} version {card.version}: {card.target.words.en}, judged as of "
        f"{card.tested_on.moment:%Y-%m-%d} on {card.tested_on.rows:,} {card.target.population}{over}",
        "",
        "model",
        *(name.replace("_", " ") for name in others),
    )
    for name, own in card.metrics.items():
        cells = (card.baselines[other].get(name) for other in others)
        off = " off" if missed(name, own) else ""
        shown.add_row(
            name.replace("_", " "), figure(own) + off, *(figure(cell) if cell else "" for cell in cells)
        )
    console().print(shown)
    for note in card.notes:
        say(note.en)

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

    sides, days = {"model": card.metrics, **card.baselines}, card.tested_on.days
    # A figure of some of the customers is told with how many they are.
    counted = {who for who, figures in sides.items() if any("rows" in one for one in figures.values())}
    over = f"; every figure is over the {days} days after it" if days else ""
    shown = table(
        f"{card.name} version {card.version}: {card.target.words.en}, judged as of "
        f"{card.tested_on.moment:%Y-%m-%d} on {card.tested_on.rows:,} {card.target.population}{over}",
        "",
        *(one for who in sides for one in (who.replace("_", " "), *(["n"] if who in counted else []))),
        right=("n",),
    )
    for name in card.metrics:
        cells = []
        for who, figures in sides.items():
            one = figures.get(name)
            off = " off" if one and who == "model" and missed(name, one) else ""
            cells.append(figure(one) + off if one else "")
            if who in counted:
                cells.append(f"{one['rows']:,}" if one and "rows" in one else "")
        shown.add_row(name.replace("_", " "), *cells)
    console().print(shown)
    for note in card.notes:
        say(note.en)

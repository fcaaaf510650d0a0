"""What `propensity models list` and `models card` show."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import click
from rich.table import Table

from features.errors import PropensityError, UsageError
from features.settings import Settings
from features.shop import shop_of
from features.words import Words
from propensity.tables import console, say, table
from serving import kinds
from training import comparison, figures, page, registered, targets, versions
from training.versions import Version


def list_models(settings: Settings) -> None:
    """A table a model, a row a registered version, the newest first."""
    found = versions.versions(settings)
    if not found:
        say("no model is registered: run `propensity train`")
        return
    for name, group in groupby(found, key=lambda one: one.name):
        console().print((_stated if name in kinds.STATED else _versions)(name, list(group)))
    for one in found:
        if one.wrong:
            say(f"WARNING: {one.name} {one.version}: {one.wrong}")
    say("AUC, and its gain over the best baseline: means over the moments of the backtest, 95 % intervals.")
    others = {
        one.name for one in found if one.card and not one.card.backtest and one.name not in kinds.STATED
    }
    if others:
        say(
            f"Of {', '.join(sorted(others))}: at the test alone, the gain in what judges such a model, which "
            "is named; of a deviance it is what the baseline has more. Without a baseline there is none: the "
            "card (`propensity models card NAME`) says by what it is judged."
        )


def _versions(name: str, found: Sequence[Version]) -> Table:
    predicts = next((f": {one.card.target.words.en}" for one in found if one.card), "")
    numbers = ("version", "AUC", "gain")
    columns = ("version", "aliases", "AUC", "gain", "over", "trained", "released")
    shown = table(f"{name}{predicts}", *columns, right=numbers)
    for one in found:
        cells = ["not readable", "", ""]
        if one.card is not None:
            head = figures.headline(one.card)
            over = (head.best or "").replace("_", " ")
            gain = figures.shown(head.gain, "+")
            if head.gain is not None and head.of != "auc":
                gain += f" {head.of.replace('_', ' ')}"
            cells = [figures.shown(head.auc), gain, over or ("" if head.gain else "no baseline")]
        day = f"{one.trained:%Y-%m-%d}"
        shown.add_row(
            one.version, ", ".join(one.aliases), *cells, day, one.released + ", forced" * one.forced
        )
    return shown


def _stated(name: str, found: Sequence[Version]) -> Table:
    """Versions of what scores nobody: what each states."""
    what = next((f": {one.card.target.words.en}" for one in found if one.card), "")
    shown = table(f"{name}{what}", "version", "aliases", "what", "registered", "released", right=("version",))
    for one in found:
        note = one.card.notes[0].en if one.card and one.card.notes else "not readable"
        shown.add_row(
            one.version, ", ".join(one.aliases), note, f"{one.trained:%Y-%m-%d %H:%M}", one.released
        )
    return shown


def show_card(settings: Settings, wanted: str, out: Path | None, as_json: bool) -> None:
    """Write the page of NAME[:VERSION] and say where; or print its card.json."""
    if as_json and out is not None:
        raise UsageError("--json prints the card and writes no page: leave out --out")
    name, _, version = wanted.partition(":")
    folder = versions.folder_of(settings, name, version or None)
    card = versions.card_of(folder)
    if as_json:
        click.echo((folder / "card.json").read_text("utf-8"), nl=False)
        return
    out = out or settings.home / "reports" / f"{card.name}-{card.version}.html"
    against = _contest(settings, folder, card.name)
    whom = _population(settings, card.name, card.target.population)
    forced = registered.overruled(settings, card.name, card.version)
    click.echo(page.write(out, folder, whom, against, forced))


def _contest(settings: Settings, folder: Path, name: str) -> comparison.Contest | None:
    """How a version did beside the one in force, if they were compared."""
    version = registered.aliases(settings, name).get(registered.CHAMPION)
    if version is None:
        return None
    return comparison.kept(folder, versions.card_of(registered.folder_of(settings, name, version)))


def _population(settings: Settings, name: str, en: str) -> Words | None:
    """A card's population in both languages: as its target is declared, if it still says the same."""
    try:
        declared = targets.of_shop(shop_of(settings))
    except PropensityError:  # a shop whose declarations are broken today: the card is readable all the same
        return None
    words = declared[name].population.words if name in declared else None
    return words if words is not None and words.en == en else None

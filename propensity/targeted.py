"""What `propensity targets` shows and writes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from rich.text import Text

from features.compute.builds import Build
from features.describe.sheets import Sheet
from features.errors import LogError, NoBuild
from features.files import write_atomically
from features.log import Log
from features.settings import Settings
from features.shop import shop_of
from features.words import Words
from propensity.described import told
from propensity.steps import as_of_of
from propensity.tables import console, say, table
from training import rhythm_page, suggest
from training.rhythm import measure
from training.targets import Target, catalogue, chosen, lacking

TOO_SHORT = 3  # exit code: a warning


def list_targets(settings: Settings, language: str, as_json: bool) -> None:
    """The declared targets, one a row; or one JSON object a line, with the reason of each."""
    shop = shop_of(settings)
    declared = catalogue(shop.declared("TARGETS"))
    by_itself = {target.name for target in chosen(declared, (), shop.targets)}
    why = _absent(settings, declared.values())
    if as_json:
        for name, target in declared.items():
            row = _json(target, name in by_itself, why[name])
            console().out(json.dumps(row, ensure_ascii=False))
        return
    head = ("name", "what is predicted", "for whom", "counts as 1", "days", "trained", "in the log")
    shown = table(f"{len(declared)} targets", *head, right=("days",))
    shown.columns[0].no_wrap = True
    for name, target in declared.items():
        trained = Words("by itself", "默认") if name in by_itself else Words("by name", "按名称")
        cells = (name, target.words, target.population.words, target.counts, target.horizon_days, trained)
        shown.add_row(*(Text(told(cell, language)) for cell in (*cells, why[name] or Words("yes", "有"))))
    console().print(shown)


def _absent(settings: Settings, targets: Iterable[Target]) -> dict[str, Words | None]:
    """Name -> why the log cannot tell it; None if it can, or if there is no log yet."""
    try:
        tables = Log.open(settings).tables
    except LogError:
        unknown = Words("no log yet", "尚无日志")
        return {target.name: unknown for target in targets}
    features: Mapping[str, str] = {}
    with suppress(NoBuild):
        features = Build.open(settings).features
    return {target.name: lacking(target, tables, features) for target in targets}


def _json(target: Target, by_itself: bool, why: Words | None) -> dict[str, object]:
    return {
        "name": target.name,
        "en": target.words.en,
        "zh": target.words.zh,
        "population": target.population.words.en,
        "label": target.label,
        "categories": list(target.categories),
        "returned": target.returned,
        "horizon_days": target.horizon_days,
        "higher_is": target.higher_is,
        "reason": target.reason,
        "by_itself": by_itself,
        "absent": why.en if why else None,
    }


def suggest_targets(settings: Settings, language: str, out: Path | None, dry_run: bool) -> int:
    """Show the log's rhythm and the targets that it suggests, write the page; the exit code."""
    shop, log = shop_of(settings), Log.open(settings)
    until = min(as_of_of(settings, log), log.complete_until)
    orders = log.read("orders", suggest.COLUMNS)
    rhythm = measure(orders, str(log.shop["zone"]), until)
    found = suggest.proposals(rhythm, orders, until, catalogue(shop.declared("TARGETS")))
    say(told(rhythm_page.verdict(rhythm, found), language))
    for sheet in rhythm_page.sheets(rhythm, found):
        _show(sheet, language)
    if own := rhythm_page.declarations(found):
        say(told(Words("For TARGETS in shop.py:", "写入shop.py的TARGETS："), language))
        say(own)
    path = out or settings.home / "reports" / "targets.html"
    if not dry_run:
        write_atomically(path, rhythm_page.render(shop.name, rhythm, found, language).encode())
    say(f"{'would write' if dry_run else 'the plot'}: {path}")
    return TOO_SHORT if any(one.needed_days > rhythm.days for one in found) else 0


def _show(sheet: Sheet, language: str) -> None:
    names = [told(name, language) for name in sheet.head]
    shown = table(told(sheet.title, language), *names, right=tuple(names[place] for place in sheet.right))
    shown.columns[0].no_wrap = True
    for row in sheet.rows:
        shown.add_row(*(Text(told(cell, language)) for cell in row))
    console().print(shown)
    if sheet.note:
        console().print(Text(told(sheet.note, language), style="dim"), soft_wrap=True)

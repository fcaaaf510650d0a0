"""A sheet on the terminal: the page and the terminal show the same ones."""

from __future__ import annotations

from dataclasses import replace

from rich.measure import measure_renderables
from rich.table import Table
from rich.text import Text

from features.describe.sheets import Cell, Sheet
from features.words import Words
from propensity.tables import WIDTH_ELSEWHERE, console, table

_NAME = 30  # characters; longer, a cell is no name


def show(sheet: Sheet, language: str, under: tuple[int, ...] = ()) -> None:
    """The table with its note, or that it is empty. Text throughout: a cell may hold [red].

    under: columns of sentences, which stand under the first one where the terminal is too narrow for all.
    """
    out = console()
    shown = _table(sheet, language)
    wide = out.options.update(max_width=WIDTH_ELSEWHERE)
    if under and measure_renderables(out, wide, [shown]).maximum > out.width:
        shown = _table(_stacked(sheet, language, under), language)
    out.print()
    out.print(shown if sheet.rows else Text(f"{told(sheet.title, language)}: {told(sheet.empty, language)}"))
    if sheet.note:
        out.print(Text(told(sheet.note, language), style="dim"), soft_wrap=True)


def _table(sheet: Sheet, language: str) -> Table:
    shown = table(told(sheet.title, language), *(told(name, language) for name in sheet.head))
    for place, column in enumerate(shown.columns):
        if place in sheet.right:
            column.justify, column.no_wrap = "right", True
    firsts = [told(row[0], language) for row in sheet.rows]
    shown.columns[0].no_wrap = all(" " not in one and len(one) <= _NAME for one in firsts)  # names stay whole
    if any("\n" in one for one in firsts):  # and so do those that have sentences under them
        shown.columns[0].min_width = max(len(one.partition("\n")[0]) for one in firsts)
    for row in sheet.rows:
        shown.add_row(*(Text(told(cell, language)) for cell in row))
    return shown


def _stacked(sheet: Sheet, language: str, under: tuple[int, ...]) -> Sheet:
    """The sheet with the cells of those columns as lines under the first one's."""
    kept = [place for place in range(len(sheet.head)) if place not in under]
    rows = (
        ("\n".join(told(row[n], language) for n in (0, *under) if row[n]), *(row[n] for n in kept[1:]))
        for row in sheet.rows
    )
    right = tuple(n for n, place in enumerate(kept) if place in sheet.right)
    return replace(sheet, head=tuple(sheet.head[n] for n in kept), rows=tuple(rows), right=right)


def told(cell: Cell, language: str) -> str:
    """A cell in one language, numbers with separators, nothing as a dash."""
    match cell:
        case Words(en, zh):
            return zh if language == "zh" else en
        case int():
            return f"{cell:,}"
        case None:
            return "–"
    return cell

"""A sheet on the terminal: the page and the terminal show the same ones."""

from __future__ import annotations

from rich.text import Text

from features.describe.sheets import Cell, Sheet
from features.words import Words
from propensity.tables import console, table

_NAME = 30  # characters; longer, a cell is no name


def show(sheet: Sheet, language: str) -> None:
    """The table with its note, or that it is empty. Text throughout: a cell may hold [red]."""
    out = console()
    names = [told(name, language) for name in sheet.head]
    shown = table(told(sheet.title, language), *names)
    for place, column in enumerate(shown.columns):
        if place in sheet.right:
            column.justify, column.no_wrap = "right", True
    firsts = [told(row[0], language) for row in sheet.rows]
    shown.columns[0].no_wrap = all(" " not in one and len(one) <= _NAME for one in firsts)  # names stay whole
    for row in sheet.rows:
        shown.add_row(*(Text(told(cell, language)) for cell in row))
    out.print()
    out.print(shown if sheet.rows else Text(f"{told(sheet.title, language)}: {told(sheet.empty, language)}"))
    if sheet.note:
        out.print(Text(told(sheet.note, language), style="dim"), soft_wrap=True)


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

"""What `propensity log describe` prints: the verdict, what to look at, then the numbers."""

from __future__ import annotations

from rich.text import Text

from features.describe import Facts, Verdict, sheets
from features.describe.sheets import Cell, Sheet
from features.words import Words
from propensity.tables import console, table


def show(facts: Facts, verdict: Verdict, language: str) -> None:
    """Everything that the page shows, in one language. Text throughout: a source may be called [red]."""
    out = console()

    def tell(cell: Cell) -> str:
        return told(cell, language)

    def tabulate(sheet: Sheet) -> None:
        names = [tell(name) for name in sheet.head]
        shown = table(tell(sheet.title), *names, right=tuple(names[place] for place in sheet.right))
        for row in sheet.rows:
            shown.add_row(*(Text(tell(cell)) for cell in row))
        out.print()
        out.print(shown if sheet.rows else Text(f"{tell(sheet.title)}: {tell(sheet.empty)}"))
        if sheet.note:
            out.print(Text(tell(sheet.note), style="dim"), soft_wrap=True)

    out.print(Text(tell(verdict.words), style="bold green" if verdict.enough else "bold red"), soft_wrap=True)
    out.print(Text(tell(sheets.states(facts))), soft_wrap=True)
    tabulate(verdict.sheet)
    for sheet in (
        sheets.months, sheets.gaps, sheets.customers, sheets.returns, sheets.parts, sheets.fates,
        sheets.absent, sheets.consents,
    ):  # fmt: skip
        tabulate(sheet(facts))


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

"""What `propensity log describe` prints: the verdict, what to look at, then the numbers."""

from __future__ import annotations

from rich.text import Text

from features.describe import Facts, Verdict, sheets
from propensity.sheets import show as tabulate
from propensity.sheets import told
from propensity.tables import console


def show(facts: Facts, verdict: Verdict, language: str) -> None:
    """Everything that the page shows, in one language. Text throughout: a source may be called [red]."""
    out = console()
    style = "bold green" if verdict.enough else "bold red"
    out.print(Text(told(verdict.words, language), style=style), soft_wrap=True)
    out.print(Text(told(sheets.states(facts), language)), soft_wrap=True)
    tabulate(verdict.sheet, language)
    for sheet in (
        sheets.months, sheets.gaps, sheets.customers, sheets.returns, sheets.parts, sheets.fates,
        sheets.absent, sheets.consents,
    ):  # fmt: skip
        tabulate(sheet(facts), language)

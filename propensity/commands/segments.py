"""Segments that a shop declares: who is in them, what they are like, and their lists."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from propensity.cli import AS_OF, LANGUAGE, main, settings_of

RULE = click.option(
    "--rule", metavar="RULE", help="A rule that is declared nowhere: churn_28d >= 0.6 and spend_365d > 200"
)


@main.group()
def segments() -> None:
    """Groups of customers by rules over features and scores, as the shop's shop.py declares in SEGMENTS.

    Told of the snapshot that is published, from the scores that everybody was given then. Who is in one by
    its `stays` alone is what `propensity pushes run` keeps, so that lists and pushes say the same; where it
    never ran, nobody is.
    """


@segments.command(name="list")
@LANGUAGE
@AS_OF
def list_(language: str, as_of: datetime | None) -> None:
    """List every declared segment: its rule, and how many customers are in it."""
    from propensity.segmented import list_segments

    list_segments(settings_of(as_of), language)


@segments.command()
@click.argument("name", required=False)
@RULE
@LANGUAGE
@AS_OF
def preview(name: str | None, rule: str | None, language: str, as_of: datetime | None) -> None:
    """Say how many customers NAME has, what they are like, and in which other segments they are.

    Medians and quarters of what the rule reads, never anybody in particular.
    """
    from propensity.segmented import preview as run

    run(settings_of(as_of), name, rule, language)


@segments.command()
@click.argument("name_and_file", nargs=-1, required=True, metavar="[NAME] FILE")
@RULE
@click.option("--with-figures", is_flag=True, help="Also what the rule reads of each, a column each.")
@LANGUAGE
@AS_OF
def export(
    name_and_file: tuple[str, ...],
    rule: str | None,
    with_figures: bool,
    language: str,
    as_of: datetime | None,
) -> None:
    """Write the customers of NAME, or of a --rule, to FILE: .csv or .parquet.

    The list is as of now: consent, contact limits and holdouts are not applied to it, decisions apply them. A
    line of it is kept in audit/.
    """
    from propensity.segmented import export as run

    if len(name_and_file) > 2:
        raise click.UsageError("expected NAME FILE, or FILE with --rule")
    name = name_and_file[0] if len(name_and_file) == 2 else None
    run(settings_of(as_of), name, rule, Path(name_and_file[-1]), with_figures, language)

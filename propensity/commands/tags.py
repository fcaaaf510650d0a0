"""Dated tags and portraits: who is what, derived from features by declared rules."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from propensity.cli import AS_OF, DRY_RUN, LANGUAGE, main, settings_of


@main.group()
def tags() -> None:
    """Dated tags of customers, derived from features by declared rules."""


@tags.command("list")
@LANGUAGE
def tags_list(language: str) -> None:
    """List every declared tag: what it means, and its rule."""
    from propensity.tagged import list_tags

    list_tags(settings_of(), language)


@tags.command("build")
@AS_OF
@DRY_RUN
def tags_build(as_of: datetime | None, dry_run: bool) -> None:
    """Evaluate the rules at the build's snapshots, and write who began or ceased to meet them into the log.

    Each tag goes on after the snapshot that it was evaluated at last; run again, nothing changes. Needs
    `propensity features build`.
    """
    from propensity.tables import progress_bar
    from propensity.tagged import build_tags

    with progress_bar("Tagging") as progress:
        text = build_tags(settings_of(as_of), dry_run, progress)
    click.echo(text)


@main.command()
@click.option("--list", "name", metavar="NAME", help="The customers of one portrait or tag.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="CSV file for --list.")
@LANGUAGE
@AS_OF
def portraits(name: str | None, out: Path | None, language: str, as_of: datetime | None) -> None:
    """Say how many customers fit each portrait in the last snapshot, and what each portrait means.

    Portraits are tags that together sketch who the customers are; one customer may fit several, or none.
    """
    from propensity.tagged import list_customers, show_portraits

    settings = settings_of(as_of)
    if name is not None:
        list_customers(settings, name, out)
        return
    if out is not None:
        raise click.UsageError("--out goes with --list NAME")
    show_portraits(settings, language)

"""What is known about customers: declared features, their builds and contracts."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

import click

from propensity.cli import AS_OF, DRY_RUN, LANGUAGE, Moment, main, settings_of


@main.group()
def features() -> None:
    """What is known about customers: list what is declared, build it as of any moment."""


@features.command("list")
@click.option("--find", default="", metavar="TEXT", help="Only those with these words in them.")
@click.option("--table", "of_table", metavar="NAME", help="Only those that need this table of the log.")
@click.option("--available", is_flag=True, help="Only those that the log lets be computed.")
@LANGUAGE
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, with hashes.")
def features_list(find: str, of_table: str | None, available: bool, language: str, as_json: bool) -> None:
    """List every declared feature: what it means, its unit, where it comes from.

    "in the log" names the table that a feature lacks, once a log is ingested.
    """
    from propensity.listed import list_features

    list_features(settings_of(), language, as_json, find, of_table, available)


@features.command("page")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("features.html"),
    show_default=True,
    help="File to write.",
)
def features_page(out: Path) -> None:
    """Write a page of all features for people, in English and Chinese, with a search box.

    One file that asks nothing of the network: send it to whoever asks what a reason means.
    """
    from propensity.listed import write_page

    click.echo(write_page(settings_of(), out))


@features.command("build")
@AS_OF
@click.option(
    "--since", type=Moment(), metavar="MOMENT", help="First snapshot [default: 28 days into the log]."
)
@click.option(
    "--every", type=click.IntRange(1, 366), default=7, show_default=True, help="Days between snapshots."
)
@click.option(
    "--publish/--no-publish", default=True, show_default=True, help="Serve the last snapshot online."
)
@click.option("--again", is_flag=True, help="Serve it also if it was rolled back.")
@DRY_RUN
def features_build(
    as_of: datetime | None, since: datetime | None, every: int, publish: bool, again: bool, dry_run: bool
) -> None:
    """Compute features at a grid of moments that ends at --as-of, and publish the last one to the service.

    Without --as-of, the grid ends at the last 00:00 UTC for which the log is complete (or at
    PROPENSITY_AS_OF, if it is complete until then): a nightly run needs no moment, in whatever zone the
    shop's days are. A moment that is named, and beyond the log, is refused.

    Snapshots that exist are not computed again. Publishing refreshes the scores of every release; exit
    code 3 warns of a release whose features are now defined differently: train and promote it again; or that
    the snapshot was rolled back: it is not served before something newer is built, or --again says so.
    """
    from propensity.steps import build_features
    from propensity.tables import progress_bar

    settings = settings_of(as_of)
    with progress_bar("Building features") as progress:
        built = build_features(settings, since, every, publish, dry_run, progress, again, as_of)
    click.echo(built.text)
    if built.starved or built.withheld:
        sys.exit(3)


@features.command("backfill")
@click.argument("names", nargs=-1)
@click.option(
    "--publish/--no-publish", default=True, show_default=True, help="Serve the last snapshot online."
)
@DRY_RUN
def features_backfill(names: tuple[str, ...], publish: bool, dry_run: bool) -> None:
    """Compute new features (all, or NAMES) over the past: at every snapshot of the current build.

    Add a feature to shop.py, then run this: only its column is computed, the others are taken over, and the
    new build is the one that computing everything anew would give. Again, it changes nothing. Exit code 3
    warns of a release whose features are now defined differently.
    """
    from propensity.steps import backfill_features
    from propensity.tables import progress_bar

    with progress_bar("Backfilling features") as progress:
        built = backfill_features(settings_of(), names, publish, dry_run, progress)
    click.echo(built.text)
    if built.starved or built.withheld:
        sys.exit(3)


@main.command()
@click.option(
    "--customers", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many to compare."
)
def check(customers: int) -> None:
    """Hold the shop's settings and declarations to their contracts, its own ones included.

    Features are computed twice for some customers of the log, by the engine and by the slow reference, and
    with everything later than the moment removed: any difference is named.
    """
    from propensity.checked import check_everything

    problems, text = check_everything(settings_of(), customers)
    for problem in problems:
        click.echo(f"problem: {problem}", err=True)
    click.echo(text)
    sys.exit(1 if problems else 0)

"""The customer log: a shop, its raw files, what is kept of them."""

from __future__ import annotations

from pathlib import Path

import click

from propensity.cli import DRY_RUN, main, settings_of


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@DRY_RUN
def init(folder: Path, dry_run: bool) -> None:
    """Write a shop's FOLDER: shop.toml to fill in, and shop.py for declarations of its own.

    Nothing that exists is overwritten.
    """
    from propensity.shops import TEMPLATES

    for name, text in TEMPLATES.items():
        path = folder / name
        if path.exists():
            click.echo(f"kept     {path} (it exists)")
            continue
        if not dry_run:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        click.echo(f"{'would write' if dry_run else 'wrote'}    {path}")
    click.echo(
        f"Next: edit {folder / 'shop.toml'}, then `export PROPENSITY_SHOP={folder}` and `propensity check`."
    )


@main.command()
@click.argument("source", required=False)
@click.option(
    "--from",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with the source's files, if not where the source keeps them.",
)
@DRY_RUN
def ingest(source: str | None, folder: Path | None, dry_run: bool) -> None:
    """Take a SOURCE's raw files into the customer log (default: the first source of shop.toml).

    Every row is accounted for. Rows that break a contract are kept beside the log, each with its reason.
    Ingesting the same files again changes nothing.
    """
    from features.ingest import ingest as run
    from propensity.tables import progress_bar, show_ingested

    with progress_bar("Ingesting") as progress:
        done = run(settings_of(), source, folder, dry_run, progress)
    show_ingested(done, dry_run)

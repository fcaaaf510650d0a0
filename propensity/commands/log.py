"""The customer log: a shop, its raw files, what is kept of them."""

from __future__ import annotations

import sys
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


@main.group()
def log() -> None:
    """What is in the customer log."""


@log.command("describe")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the page, too.")
@click.option("--json", "as_json", is_flag=True, help="Every number, and the findings, as one JSON object.")
@click.option("--language", type=click.Choice(["en", "zh"]), default="en", show_default=True)
def log_describe(out: Path | None, as_json: bool, language: str) -> None:
    """Say what the log holds, what is wrong with it, and whether it is enough to model.

    By month, source and table: what came, what is missing or late, what was rejected and why, which features
    will be missing. The page (--out) is one file in English and Chinese. Exit code 3 warns of a log with
    fewer than 500 buyers or 180 days: too little to model.
    """
    from features.describe import as_json as to_json
    from features.describe import judge, measure, render
    from features.files import write_atomically
    from propensity.described import show
    from propensity.tables import progress_bar

    with progress_bar("Describing") as progress:
        facts = measure(settings_of(), progress)
    verdict = judge(facts)
    if as_json:
        click.echo(to_json(facts, verdict))
    else:
        show(facts, verdict, language)
    if out is not None:
        write_atomically(out, render(facts, verdict, language).encode())
        click.echo(f"page: {out}", err=as_json)
    sys.exit(0 if verdict.enough else 3)

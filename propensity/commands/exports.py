"""Files of everyone for a warehouse."""

from __future__ import annotations

from pathlib import Path

import click

from propensity.cli import DRY_RUN, main, settings_of


@main.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--full/--delta",
    default=True,
    show_default=True,
    help="Everyone, or what differs from the newest export in FOLDER and who is gone.",
)
@click.option("--force", is_flag=True, help="Replace an export of the same name with other content.")
@DRY_RUN
def export(folder: Path, full: bool, force: bool, dry_run: bool) -> None:
    """Write everyone's scores, worth and segments as parquet files with a manifest, for a warehouse.

    They are what the service answers with what is published, events since then apart. One folder an export;
    its manifest.json, written last, has its kind, the moment, the columns, and each file's rows and SHA-256.
    After 31 deltas a full one is written, which replaces all that was read before. The files are yours:
    `propensity erase` does not reach them, the next delta names who is to be deleted.
    """
    from propensity.nightly import DELTAS
    from propensity.nightly import export as write

    done = write(settings_of(), folder, "full" if full else "delta", force, dry_run)
    facts = done.manifest
    verb = "would write" if dry_run else "wrote" if done.written else "nothing to do, there already:"
    text = f"{verb} {done.path}: {facts['rows']:,} rows as of {facts['as_of']}"
    if facts["previous"] is not None:
        text += f" that differ from {facts['previous']['name']}, {facts['deleted']:,} customers gone"
    elif not full and (done.written or dry_run):
        text += f": a full one, after {DELTAS} deltas"
    click.echo(text)
    for name, why in done.silent.items():
        click.echo(f"NOT IN IT: {name}: {why}")

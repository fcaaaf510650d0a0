"""Rows that broke a contract."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from propensity.cli import DRY_RUN, main, settings_of


@main.group()
def rejects() -> None:
    """Rows that broke a contract: look at them, mend them, take them in."""


@rejects.command("list")
def rejects_list() -> None:
    """List why rows were rejected, and how many of them were mended since."""
    from features.ingestion.rejects import reasons
    from propensity.tables import show_rejects

    show_rejects(reasons(settings_of()))


@rejects.command("export")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--source", help="Of one source only.")
@click.option("--table", help="Of one table only.")
def rejects_export(file: Path, source: str | None, table: str | None) -> None:
    """Write the rejected rows to FILE as CSV, to be corrected.

    Correct what stands after the column `reason`; the columns before it say which row it is (rows count from
    1, a header left out). What could not be read stands as the file gives it, and is read back so, as is what
    you write where nothing stands: an amount with the decimal sign of its file (where that is a comma, 12,50
    is twelve and a half, and 12.505 is twelve thousand). What was read has a point: 12.50. An amount that may
    be one or the other, or has more decimals than the currency, is refused. The last column is the record as
    it is in the file, to look at. Rows that you do not correct may stay as they are.
    """
    from features.ingestion.rejects import export, with_commas

    count = export(settings_of(), file, source, table)
    if not count:
        click.echo(f"no row waits to be corrected, so {file} has none; `propensity rejects list` shows all")
        return
    click.echo(f"{count:,} rows: {file}. Correct them, then `propensity rejects take {file}`")
    if commas := with_commas(settings_of(), source):
        click.echo(
            f"Files of {', '.join(commas)} have a decimal comma. An amount that could not be read, or is "
            "empty, is read back so: 12,50 is twelve and a half, 12.505 is twelve thousand. What was read "
            "has a point: 12.50"
        )


@rejects.command("take")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@DRY_RUN
def rejects_take(file: Path, dry_run: bool) -> None:
    """Take the corrected rows of FILE into the log, under the same contracts. Again changes nothing.

    Times may be written as 2024-01-31 10:00 or as the row's own file writes them. Once features were built,
    rows are known from the log's end on, for those were built without them; before, and where the file gives
    `known_at`, from then on. Exit code 3 warns of corrections that are no better: they are shown, and their
    rows wait as before; of a return whose `ref` is no order of its customer; and of rows that belong to no
    row that was rejected, or to none any more: the others are taken.
    """
    from features.ingestion.rejects import in_vain, known_from, mended_products, strangers, take_in
    from features.moments import iso
    from propensity.tables import say, show_ingested

    settings = settings_of()
    since = known_from(settings)
    done = take_in(settings, file, dry_run)
    show_ingested(done, dry_run)
    if since is not None and done.changed:
        say(f"features were built without these rows, so they are known from {iso(since)} on")
        if products := mended_products(done):
            say(
                f"{products:,} mended products hold for lines that are known after that; lines that the log "
                "had keep the category that they had, or none: features were built of them"
            )
    if vain := in_vain(done):
        say(f"{vain:,} corrections are no better than before, see above: their rows wait as they did")
    if strange := strangers(done):
        say(
            f"WARNING: {strange:,} rows of {file} belong to no row that was rejected, or to none any more "
            "(its person was erased, or its file put right): they were left out, and the others taken. "
            "`propensity rejects export` has what waits"
        )
    refs = [odd for odd in done.suspicions if odd.kind == "refs"]
    for odd in refs:
        say(f"WARNING: {odd.what.en} {odd.do.en}")
    sys.exit(3 if vain or strange or refs else 0)

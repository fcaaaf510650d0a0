"""What `propensity ingest --propose` writes, and where."""

import re
from pathlib import Path

import click

from features.errors import UsageError
from features.files import write_atomically
from features.shop import Shop
from features.sources.already import without
from features.sources.propose import propose
from propensity.shops import HEAD


def write_proposal(files: list[Path], out: Path | None, force: bool, dry_run: bool) -> None:
    """Print a mapping of the files, or write it into `out`: a new shop, or one without such a mapping.

    What the mappings of that shop read already is not proposed again. force: it is, and takes their place.
    """
    beside = out is not None and out.exists() and out.name == "shop.toml"
    shop = Shop.load(out.parent) if out is not None and beside and not force else None
    proposal = propose(files, shop)
    for line in proposal.notes:
        click.echo(line, err=out is None)
    if not proposal.toml:
        click.echo("nothing is missing, and nothing was written: `--force` proposes these files anew")
        return
    if out is None:
        click.echo(proposal.toml)
        click.echo(
            "Next: `--out myshop/shop.toml` writes it there, with all else that a shop needs", err=True
        )
        return
    before = out.read_text("utf-8") if out.exists() else HEAD
    if proposal.toml.strip() in before:
        click.echo("nothing is new: what is left open stands there already")
        return
    for name in proposal.names:
        if not re.search(rf"(?m)^\s*\[mapping\.{name}\]", before) or name in proposal.added:
            continue
        if not force:
            raise UsageError(
                f"{out} has a [mapping.{name}] already, which reads other files: `--force` puts the proposal "
                "in its place, or name another file with --out"
            )
        before = without(before, name)
    if not dry_run:
        write_atomically(out, f"{before.rstrip()}\n\n{proposal.toml.rstrip()}\n".encode())
    click.echo(f"{'would write' if dry_run else 'wrote'}    {out}")
    source = f"{proposal.name} " if len(proposal.names) == 1 else ""
    click.echo(
        f"Next: read it, set zone and currency, then `export PROPENSITY_SHOP={out.parent}` and "
        f"`propensity ingest {source}--dry-run`"
    )

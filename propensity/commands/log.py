"""The customer log: a shop, its raw files, what is kept of them."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from features.errors import UsageError
from propensity.cli import DRY_RUN, LANGUAGE, main, settings_of

CHANGE = "KIND=FACTOR@DAY"


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
@click.argument("files", nargs=-1)
@click.option(
    "--from",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with the source's files, if not where the source keeps them.",
)
@click.option("--propose", is_flag=True, help="Look at FILES and write a first mapping; ingest nothing.")
@click.option(
    "--tables", is_flag=True, help="Print the tables that a mapping can fill, or one with its rules."
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="With --propose: the shop.toml to write, or to add the mapping to.",
)
@click.option(
    "--force", is_flag=True, help="With --propose: put the proposal in the place of mappings that are there."
)
@DRY_RUN
def ingest(
    source: str | None,
    files: tuple[str, ...],
    folder: Path | None,
    propose: bool,
    tables: bool,
    out: Path | None,
    force: bool,
    dry_run: bool,
) -> None:
    """Take the raw files of every source of shop.toml into the customer log, or those of one SOURCE.

    Every row is accounted for. Rows that break a contract are kept beside the log, each with its reason; one
    of each kind is shown, with the value at fault. Ingesting the same files again changes nothing.

    Exit code 3 warns that more than a fifth of a table's rows were rejected, and the log holds the others;
    that the log had rows that their source's files have no more; that one source, or a few rows long after
    all others, decide where the log ends; that rows are dated after now, and rejected; that customer ids
    would meet those of other files if they were written alike; or that lines, or mended returns, are of
    orders that the log has not.

    \b
    propensity ingest --propose FILES... [--out myshop/shop.toml]
    looks at the files of an unknown shop, says what it takes each column for and why, and writes a mapping.
    FILES may be folders, or patterns in quotes: "data/pos_*.csv". What mappings in --out read already is left
    as it is, and the readings that are missing are added.

    \b
    propensity ingest --tables [TABLE]
    prints the tables that a mapping can fill, or the columns of one, the words that they take, and its rules.

    \b
    propensity ingest simulated
    takes in a shop that `propensity simulate` wrote; README.md in the shop's folder tells of its truth.
    """
    if tables:
        from propensity.shops import tables_text

        if files or propose or out:
            raise UsageError("--tables takes the name of one table, or nothing")
        click.echo(tables_text(source))
        return
    if propose:
        from propensity.proposals import write_proposal

        if source is None:
            raise UsageError("--propose needs files to look at: propensity ingest --propose orders.csv ...")
        write_proposal([Path(source), *map(Path, files)], out, force, dry_run)
        return
    if files or out or force:
        raise UsageError("one source at a time; several files, --out and --force go with --propose")
    from features.definitions import catalogue
    from features.ingestion.ingest import ingest as run
    from features.shop import shop_of
    from features.sources.beside import unread_beside
    from features.sources.checked import still_open
    from features.unread import unread
    from propensity.tables import progress_bar, say, show_ingested

    settings = settings_of()
    with progress_bar("Ingesting") as progress:
        done = run(settings, source, folder, dry_run, progress)
    shop = shop_of(settings)
    show_ingested(done, dry_run, unread(done.held, catalogue(shop.declared("FEATURES")), shop.channels))
    for odd in done.suspicions:
        say(f"WARNING: {odd.what.en} {odd.do.en}")
    for line in unread_beside(shop, [source] if source else list(shop.sources), folder):
        say(f"note: {line}")
    if left := still_open(shop):
        of = "" if len(left) == 1 else f" (1 of {len(left)} such lines, as `propensity check` lists them)"
        say(f"note: {left[0]}{of}")
    sys.exit(3 if done.lost or done.shrunk or done.suspicions else 0)


@main.group()
def log() -> None:
    """What is in the customer log."""


@log.command("describe")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the page, too.")
@click.option("--json", "as_json", is_flag=True, help="Every number, and the findings, as one JSON object.")
@LANGUAGE
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


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--customers", default=20_000, show_default=True, help="How many.")
@click.option("--days", default=730, show_default=True, help="How many, from 2024-01-01.")
@click.option("--seed", default=1, show_default=True, help="Another number is another shop.")
@click.option(
    "--drift",
    multiple=True,
    metavar="KIND=FACTOR@DAY",
    help="A change of what is measured: price, online, lost.",
)
@click.option(
    "--concept",
    multiple=True,
    metavar="KIND=FACTOR@DAY",
    help="A change of what is predicted: churn, response.",
)
@click.option("--dirty", is_flag=True, help="Spoil some rows: twice the same, or without a customer.")
@click.option("--workers", default=2, show_default=True, help="Processes; the files do not depend on it.")
@DRY_RUN
def simulate(
    folder: Path,
    customers: int,
    days: int,
    seed: int,
    drift: tuple[str, ...],
    concept: tuple[str, ...],
    dirty: bool,
    workers: int,
    dry_run: bool,
) -> None:
    """Write a simulated shop into FOLDER: raw files of every table, and the truth about its customers.

    \b
    Then:  export PROPENSITY_SHOP=FOLDER;  propensity ingest

    The truth is in FOLDER/truth, and FOLDER/README.md tells the process and every column of it: true rates
    and hazards, who was lost when, what each action truly does to each customer, the propensity of each draw.
    features.sources.simulated.truth computes probabilities from it.

    Changes that can be planted on a day: price=1.2@400 raises prices by a fifth; online=.5@400 moves half of
    the store orders to the mini-program; lost=.3@400 loses 30 % of the interactions of two weeks;
    churn=2@400 doubles the hazard of losing a customer; response=0@400 ends the effects of all actions.
    """
    from features.sources.simulated.world import Change, World
    from features.sources.simulated.writing import simulate as run
    from propensity.tables import progress_bar, show_simulated

    changes = [Change.parse(text, concept=False) for text in drift]
    changes += [Change.parse(text, concept=True) for text in concept]
    world = World(customers=customers, days=days, seed=seed, dirty=dirty, changes=tuple(changes))
    with progress_bar("Simulating") as progress:
        done = run(world, folder, workers, dry_run, progress)
    show_simulated(done, world, dry_run)


@main.command()
@click.argument("customer", required=False)
@click.option("--source", help="With --id: a source whose id it is.")
@click.option("--id", "source_id", help="Their id in that source.")
@click.option("--asked", is_flag=True, help="Whom callers of the service asked to erase, and is not yet.")
@DRY_RUN
def erase(
    customer: str | None, source: str | None, source_id: str | None, asked: bool, dry_run: bool
) -> None:
    """Remove a person, under all ids that she has, from everything that this home holds.

    CUSTOMER is any of her customer ids; or name her by --source and --id. Tombstones stay: hashes that name
    nobody, which ingestion, builds and publishing obey, so that old files do not bring her back. Run it again
    if it was interrupted. Backups that were made before are yours to remove.
    """
    from propensity.erasing import erase as run
    from propensity.erasing import erase_asked
    from propensity.tables import progress_bar, show_erased
    from serving import audit, erasures

    settings = settings_of()
    if asked:
        if customer is not None or source is not None or source_id is not None:
            raise click.UsageError("--asked names them all: without CUSTOMER, --source and --id")
        if dry_run:
            click.echo(f"{sum(1 for _ in erasures.asked(settings))} would be erased")
            return
        with progress_bar("Erasing") as progress:
            erased, unknown = erase_asked(settings, progress)
        click.echo(f"erased {erased} of those who were asked for; {unknown} known to nobody")
        return
    if (customer is None) == (source is None or source_id is None):
        raise click.UsageError("name a CUSTOMER, or --source and --id; or --asked")
    identity = (source, source_id) if source is not None and source_id is not None else None
    with progress_bar("Erasing") as progress:
        done = run(settings, customer, identity, dry_run, progress)
    if not dry_run:
        audit.record(settings, audit.HERE, "erase", outcomes=done.removed)
    show_erased(done)


@main.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--light", is_flag=True, help="Without what can be computed again: scores, reports, snapshots.")
@click.option("--force", is_flag=True, help="Overwrite a FILE that exists.")
@DRY_RUN
def backup(file: Path, light: bool, force: bool, dry_run: bool) -> None:
    """Write everything of this home into one archive FILE, also while the service runs.

    It holds personal data and the keys of the ledger: keep it as you keep the home.
    """
    from propensity.backups import backup as run

    if file.exists() and not force:
        raise UsageError(f"{file} exists: name another file, or overwrite it with --force")
    done = run(settings_of(), file, light, dry_run)
    verb = "would write" if dry_run else "wrote"
    click.echo(f"{verb} {done.files:,} files, {done.size / 1e6:,.0f} MB: {file}")


@main.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--tombstones",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder `erased` of the home that was lost: who is in it stays erased.",
)
@click.option("--force", is_flag=True, help="Replace a home that is not empty.")
@DRY_RUN
def restore(file: Path, tombstones: Path | None, force: bool, dry_run: bool) -> None:
    """Make the archive FILE this home, which must be empty or absent. Stop the service first.

    Every file is verified before anything is moved into its place. Who was erased here since stays erased.
    """
    from propensity.backups import restore as run

    settings = settings_of()
    knew = tombstones is not None or (settings.home / "erased").exists()
    done = run(settings, file, tombstones, force, dry_run)
    verb = "would restore" if dry_run else "restored"
    click.echo(f"{verb} {done.files:,} files, {done.size / 1e6:,.0f} MB, all verified")
    if done.erased_since:
        click.echo("people who were erased since that backup were removed from it")
    elif not knew:
        click.echo(
            "note: who was erased since that backup is not known here, and is back: if the folder `erased` "
            "of the home that was lost is at hand, restore again with --force --tombstones FOLDER; else "
            "erase them again"
        )

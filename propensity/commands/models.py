"""Models: trained, released, asked for everyone."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

import click

from propensity.cli import AS_OF, DRY_RUN, Moment, main, settings_of


@main.command()
@click.argument("targets", nargs=-1)
@AS_OF
@click.option(
    "--seed",
    type=int,
    default=1,
    show_default=True,
    help="Same data and seed: the same model, byte for byte.",
)
@click.option(
    "--origins",
    type=click.IntRange(1, 24),
    default=6,
    show_default=True,
    help="Moments of the backtest; with fewer, candidates hardly compete, and fewer than 3 are not released.",
)
@click.option(
    "--tune",
    "minutes",
    type=click.FloatRange(min=0),
    is_flag=False,
    flag_value=10.0,
    metavar="[MINUTES]",
    help="First search for parameters, each target's so long [10 minutes]; the next search goes on from it. "
    "Put it after TARGETS.",
)
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    help="Search until so many trials were made, earlier ones included.",
)
@click.option(
    "--distributed",
    "scheduler",
    is_flag=False,
    flag_value="",
    metavar="[SCHEDULER]",
    help="Fit trees on a Dask cluster: tcp://host:8786, or PROPENSITY_DASK_SCHEDULER, or one of this "
    "machine's cores. Put it after TARGETS.",
)
@click.option("--list", "list_targets", is_flag=True, help="List the targets and stop.")
@DRY_RUN
def train(
    targets: tuple[str, ...],
    as_of: datetime | None,
    seed: int,
    origins: int,
    minutes: float | None,
    trials: int | None,
    scheduler: str | None,
    list_targets: bool,
    dry_run: bool,
) -> None:
    """Fit, calibrate and judge a model for each of TARGETS (default: see `propensity targets list`).

    `value` among TARGETS is a model of what customers are worth: orders and profit of a year, with p10, p50
    and p90, and the next order's date, by BG/NBD and Gamma-Gamma, corrected by what came after earlier
    moments. Profit is discounted by 10 % a year, or by `discount` of [value] in shop.toml. `segmentation`
    says who a customer is among the others: RFM tier, value quadrant (where a value model was trained
    before), life cycle stage, and why somebody fell silent, where that is on record. `uplift` says what
    actions do, and to whom, from the ledger's own decisions and what came of them.

    A model is judged on a later time than anything that it was fitted on, beside baselines that a sceptic
    would choose, with intervals. It becomes a new version in MLflow, as challenger: `promote` releases it.
    Nothing is trained on a feature that looks ahead of its moment: it is named, and what looks ahead for one
    of TARGETS does so for all of them. Of several TARGETS, one that cannot be trained, is declared wrongly,
    or by nobody, keeps no other from it: it is named, and the exit code is 1, or 2 if it is no target's name
    or its declaration names goods that the log has not. Without TARGETS, one that the shop declares wrongly
    is left out with a warning: exit code 3.
    """
    from propensity.steps import plan_targets, train_targets
    from propensity.tables import progress_bar
    from propensity.trained import show
    from propensity.wanted import Refused, declared_wrongly, passed_over, warned_of

    settings = settings_of(as_of)
    if list_targets:
        from propensity import targeted

        sys.exit(targeted.list_targets(settings, "en", as_json=False))
    wrong = declared_wrongly(settings)
    for strange in (*warned_of(wrong, targets), *passed_over(settings)):
        click.echo(f"WARNING: {strange}")
    warned = 3 if wrong and not targets else 0  # asked for by name, the others are all that was wanted
    refused: Refused = []

    def end() -> None:
        for error in refused:
            click.echo(f"error: {error}", err=True)
        sys.exit(max((error.exit_code for error in refused), default=warned))

    if dry_run:
        if plan := plan_targets(settings, targets, origins, refused):
            click.echo(plan)
        if minutes is not None or trials is not None:
            click.echo("would first search for the parameters of each target's models")
        end()
    search = None
    if minutes is not None or trials is not None:
        from training.tune import Search

        search = Search(minutes, trials)
    if scheduler == "":
        scheduler = settings.dask_scheduler
    with progress_bar("Training") as progress:
        trained = train_targets(settings, targets, seed, progress, origins, search, scheduler, refused)
    for one in trained:
        show(one)
        if one.found:
            click.echo(f"{one.card.name}: {one.found}")
    end()


@main.command()
@click.argument("target")
@click.option("--version", help="Which version [default: the challenger].")
@click.option("--force", metavar="REASON", help="Release it although the gate objects; recorded.")
@DRY_RUN
def promote(target: str, version: str | None, force: str | None, dry_run: bool) -> None:
    """Release a version of TARGET's model: from now on the service answers with it.

    It must beat recency alone, a logistic regression on recency, frequency and money, BG/NBD (`value`: not
    lose to it) and, of goods of a category, groups or opt-outs, how often and when last these very events
    came; and be better than what is in force in something, over every moment of its backtest, without harm
    elsewhere; the moments must be three at least, if the log gives so many. (`segmentation`: no stage may
    promise the contrary of what came.) The one before stays as `rollback`; running services follow within a
    second, without a restart.

    `policy` as TARGET releases what shop.toml and shop.py declare of policies, actions and scenarios. That
    binds as soon as it is declared; released, it has a version, which the ledger names.
    """
    if force is not None and not force.strip():
        raise click.UsageError('--force needs a reason, which is recorded: --force "why it is right"')
    if target == "policy":
        from propensity.stated import promote_policy

        click.echo(promote_policy(settings_of(), version, dry_run))
        return
    from propensity.tables import progress_bar

    with progress_bar("Promoting") as progress:
        progress(f"{target}: the gate, and what is in force", 0, 1)
        from propensity.steps import promote_target

        text = promote_target(settings_of(), target, version, dry_run, force)
    click.echo(text)


@main.command()
@click.argument("target")
@DRY_RUN
def rollback(target: str, dry_run: bool) -> None:
    """Go back to the version of TARGET's model that was released before; again, it undoes that. `prices` go
    back one version each time, from the first to none. Services follow."""
    from propensity.compared import roll_back

    click.echo(roll_back(settings_of(), target, dry_run))


@main.command()
@click.argument("first")
@click.argument("second")
@click.option("--target", help="What two score files speak of.")
@click.option("--at", type=Moment(), help="The moment to judge at [default: the last that can be].")
@AS_OF
def compare(first: str, second: str, target: str | None, at: datetime | None, as_of: datetime | None) -> None:
    """Judge FIRST against SECOND on the same customers, with paired intervals.

    Each is a model (NAME:VERSION, NAME:champion, ...; NAME alone is its challenger, else its champion) or a
    file of scores from elsewhere: parquet or CSV with customer_id and probability. Groups of customers that
    are too small to be compared are named.
    """
    from propensity.tables import progress_bar

    with progress_bar("Comparing") as progress:
        progress(f"{first} and {second}: the customers, and what came", 0, 1)
        from propensity.compared import compare_sides, named_sides, same_model, show_comparison

        settings = settings_of(as_of)
        first, second = named_sides(settings, first, second)
        found = compare_sides(settings, first, second, target, at)
    show_comparison(found, first, second, same_model(settings, first, second))


@main.group()
def models() -> None:
    """What was trained and released: every version, and the card of each."""


@models.command("list")
def models_list() -> None:
    """List every registered version: its aliases, how well it ranks, and whether it is in force.

    The gain is over the baseline that leaves the model the least, with its paired interval: in AUC, or, of a
    model that does not rank, in what judges it.
    """
    from propensity.cards import list_models

    list_models(settings_of())


@models.command("card")
@click.argument("wanted", metavar="NAME[:VERSION]")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write [default: reports/NAME-VERSION.html of the home].",
)
@click.option("--json", "as_json", is_flag=True, help="Print card.json instead.")
def models_card(wanted: str, out: Path | None, as_json: bool) -> None:
    """Write the card of a model as a page for people, in English and Chinese, and print its path.

    What it predicts, for whom, what it must not be used for, every figure beside its baselines, what it
    looks at. VERSION is a number or an alias [default: the one in force, else the challenger]. One file that
    asks nothing of the network.
    """
    from propensity.cards import show_card

    show_card(settings_of(), wanted, out, as_json)


@main.command()
@click.option(
    "--release",
    "wanted",
    required=True,
    metavar="NAME[:VERSION]",
    help="Which model: a released version, or a registered one such as NAME:challenger [default: in force].",
)
@AS_OF
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Parquet file to write.")
@click.option(
    "--reasons",
    type=click.IntRange(0, 10),
    default=0,
    show_default=True,
    help="Reasons a customer, by exact Shapley values.",
)
@DRY_RUN
def score(wanted: str, as_of: datetime | None, out: Path | None, reasons: int, dry_run: bool) -> None:
    """Score every customer as of a moment: parquet in, parquet out, the very function that the service uses.

    Features of a moment that was not built yet are built first. A version that is not in force, such as the
    challenger, is told beside the one that is: how far they agree about everybody.
    """
    from propensity.scoring import score_everyone
    from propensity.tables import progress_bar

    with progress_bar("Scoring") as progress:
        text = score_everyone(settings_of(as_of), wanted, out, dry_run, progress, reasons, as_of)
    click.echo(text)

"""Models: trained, released, asked for everyone, watched."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

import click

from propensity.cli import AS_OF, DRY_RUN, main, settings_of


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
@click.option("--list", "list_targets", is_flag=True, help="List the targets and stop.")
@DRY_RUN
def train(
    targets: tuple[str, ...], as_of: datetime | None, seed: int, list_targets: bool, dry_run: bool
) -> None:
    """Fit, calibrate and judge a model for each of TARGETS (default: see `propensity targets list`).

    A model is judged on a later time than anything that it was fitted on, beside baselines that a sceptic
    would choose, with intervals. It becomes a new version in MLflow, as challenger: `promote` releases it.
    """
    from propensity.steps import plan_targets, train_targets
    from propensity.tables import progress_bar, show_targets, show_trained

    settings = settings_of(as_of)
    if list_targets:
        show_targets(settings)
        return
    if dry_run:
        click.echo(plan_targets(settings, targets))
        return
    with progress_bar("Training") as progress:
        trained = train_targets(settings, targets, seed, progress)
    for one in trained:
        show_trained(one)


@main.command()
@click.argument("target")
@click.option("--version", help="Which version [default: the challenger].")
@DRY_RUN
def promote(target: str, version: str | None, dry_run: bool) -> None:
    """Release a version of TARGET's model: from now on the service answers with it.

    The one before stays as `rollback`; running services follow within a second, without a restart.
    """
    from propensity.steps import promote_target

    click.echo(promote_target(settings_of(), target, version, dry_run))


@main.command()
@click.option("--release", "wanted", required=True, metavar="NAME[:VERSION]", help="Which released model.")
@AS_OF
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Parquet file to write.")
@DRY_RUN
def score(wanted: str, as_of: datetime | None, out: Path | None, dry_run: bool) -> None:
    """Score every customer as of a moment: parquet in, parquet out, the very function that the service uses.

    Features of a moment that was not built yet are built first.
    """
    from propensity.steps import score_everyone
    from propensity.tables import progress_bar

    with progress_bar("Scoring") as progress:
        text = score_everyone(settings_of(as_of), wanted, out, dry_run, progress)
    click.echo(text)


@main.group()
def monitor() -> None:
    """Whether the models still hold."""


@monitor.command("run")
@AS_OF
@click.option(
    "--page/--no-page", default=True, show_default=True, help="Write Evidently's page beside the verdict."
)
@DRY_RUN
def monitor_run(as_of: datetime | None, page: bool, dry_run: bool) -> None:
    """Compare the published snapshot with what the models were trained on: a verdict in one line, and a page.

    Exit code 0: quiet. 3: warning, look at it. 4: page, act on it.
    """
    from propensity.steps import monitor_once
    from propensity.tables import progress_bar

    with progress_bar("Monitoring") as progress:
        code, text = monitor_once(settings_of(as_of), page, dry_run, progress)
    click.echo(text)
    sys.exit(code)

"""Proof: what a policy would have earned, and how large an experiment must be."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from propensity.cli import LANGUAGE, Moment, main, settings_of

if TYPE_CHECKING:
    from training.logged_outcomes import From

OUT = click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Also write a page (HTML).")


@main.group()
def evaluate() -> None:
    """What decisions were worth, judged from records."""


SOURCE = click.option(
    "--outcomes",
    "source",
    type=click.Choice(["reported", "log"]),
    help="Where outcomes of the ledger's decisions come from: as reported by decision, or the customer log "
    "[default: the log, unless it lacks orders that were reported].",
)


@evaluate.command("policy")
@click.option(
    "--policy",
    required=True,
    help="Of the ledger: an action's name, `greedy` (what was best when it was decided), `uplift` or "
    "`uplift@VERSION`. Of --log: a column with what it would do, or its chances in columns NAME_<arm>.",
)
@click.option(
    "--outcome",
    default="margin",
    show_default=True,
    help="margin (less costs), retention, opt_out or complaint; of --log, a column, more is better.",
)
@SOURCE
@click.option("--since", type=Moment(), help="Leave out decisions before.")
@click.option(
    "--log",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A table instead of the ledger: CSV, or parquet. A decision without an outcome yet is left out.",
)
@click.option("--arm", metavar="COLUMN", help="--log: what was done.")
@click.option("--propensity", metavar="COLUMN", help="--log: its chance when it was decided.")
@click.option("--customer", metavar="COLUMN", help="--log: whose decision it is [each of another].")
@click.option(
    "--predicted",
    metavar="COLUMN",
    help="--log: outcome of each arm by a model that has not seen these, in columns COLUMN_<arm> "
    "[the arm's mean].",
)
@LANGUAGE
@OUT
def evaluate_policy(
    policy: str,
    outcome: str,
    source: From | None,
    since: datetime | None,
    file: Path | None,
    arm: str | None,
    propensity: str | None,
    customer: str | None,
    predicted: str | None,
    language: str,
    out: Path | None,
) -> None:
    """Judge a policy from decisions that another one took by known chances, before anybody meets it.

    IPS, SNIPS, DR and Switch-DR with intervals, the effective sample and what cutting weights changes. A
    verdict is given only if the data can carry it. Exit code 3: they cannot, or not without a condition.
    """
    if file is None:
        if arm or propensity or customer or predicted:
            raise click.UsageError("--arm, --propensity, --customer and --predicted are columns of --log")
        from propensity.evaluated_ledger import LoggedPolicy, evaluate_logged

        asked = LoggedPolicy(policy, outcome, source, since)
        sys.exit(evaluate_logged(settings_of(), asked, language, out))
    if arm is None or propensity is None or source is not None or since is not None:
        raise click.UsageError("--log needs --arm and --propensity; --outcomes and --since are the ledger's")
    from propensity.evaluated import PolicyTable
    from propensity.evaluated import evaluate_policy as evaluate_table

    table = PolicyTable(file, arm, propensity, outcome, policy, customer, predicted)
    sys.exit(evaluate_table(table, language, out))


@evaluate.command("actions")
@SOURCE
@LANGUAGE
@OUT
def evaluate_actions(source: From | None, language: str, out: Path | None) -> None:
    """Say what actions brought and cost, by scenario and channel, and what they spoilt.

    From the ledger's own lots, against being left alone. Beside it what attribution would say, and whether
    channels help each other. Exit code 4: a guardrail (opt-outs, complaints) is broken; 3: outcomes cannot be
    compared.
    """
    from propensity.evaluated_ledger import evaluate_actions as run

    sys.exit(run(settings_of(), source, language, out))


@evaluate.command("holdout")
@click.option("--since", required=True, type=Moment(), help="Beginning of the window.")
@click.option("--days", type=click.IntRange(min=1), help="Its length [default: the shop's value horizon].")
@LANGUAGE
@OUT
def evaluate_holdout(since: datetime, days: int | None, language: str, out: Path | None) -> None:
    """Compare what customers did with what those did whom marketing left alone, by intention to treat.

    Only once the window is over and the log has all of it. How often an experiment was looked at is kept in
    the home: intervals widen with each look, so that all hold together. Exit code 4: marketing does more harm
    (withdrawn consents, complaints) than is tolerated; 3: the groups cannot be compared.
    """
    from propensity import held_out

    sys.exit(held_out.evaluate_holdout(settings_of(), since, days, language, out))


@main.group()
def experiment() -> None:
    """Experiments: how large they must be."""


@experiment.command("plan")
@click.option("--base-rate", "base", required=True, type=float, help="Mean outcome of the held out.")
@click.option("--effect", type=float, help="Change that should be shown: .01 is one point of a rate.")
@click.option("--deviation", type=float, help="Standard deviation, if the outcome is money [a rate].")
@click.option("--holdout", type=float, default=0.05, show_default=True, help="Share that is left alone.")
@click.option(
    "--customers",
    type=click.IntRange(2, 10_000_000_000),
    help="How many there are, held out ones included.",
)
@click.option("--power", "wanted", type=float, default=0.8, show_default=True)
@LANGUAGE
@OUT
def experiment_plan(
    base: float,
    effect: float | None,
    deviation: float | None,
    holdout: float,
    customers: int | None,
    wanted: float,
    language: str,
    out: Path | None,
) -> None:
    """Say how many customers an experiment needs, or what so many show; and for other holdouts too."""
    from propensity import evaluated

    evaluated.plan_experiment(base, effect, deviation, holdout, customers, wanted, language, out)

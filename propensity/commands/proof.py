"""Proof: what a policy would have earned, and how large an experiment must be."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

import click

from propensity.cli import Moment, main, settings_of

LANGUAGE = click.option("--language", type=click.Choice(["en", "zh"]), default="en", show_default=True)
OUT = click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Also write a page (HTML).")


@main.group()
def evaluate() -> None:
    """What decisions were worth, judged from records."""


@evaluate.command("policy")
@click.option(
    "--log",
    "file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Table of decisions: CSV, or parquet. A decision without an outcome yet is left out.",
)
@click.option("--arm", required=True, metavar="COLUMN", help="What was done.")
@click.option("--propensity", required=True, metavar="COLUMN", help="Its chance when it was decided.")
@click.option("--outcome", required=True, metavar="COLUMN", help="What followed, more is better.")
@click.option(
    "--policy",
    required=True,
    metavar="COLUMN",
    help="What the judged policy would do; or its chances, in columns COLUMN_<arm>.",
)
@click.option("--customer", metavar="COLUMN", help="Whose decision it is [default: each of another].")
@click.option(
    "--predicted",
    metavar="COLUMN",
    help="Outcome of each arm by a model that has not seen these, in columns COLUMN_<arm> "
    "[default: the arm's mean].",
)
@LANGUAGE
@OUT
def evaluate_policy(
    file: Path,
    arm: str,
    propensity: str,
    outcome: str,
    policy: str,
    customer: str | None,
    predicted: str | None,
    language: str,
    out: Path | None,
) -> None:
    """Judge a policy from decisions that another one took by known chances, before anybody meets it.

    IPS, SNIPS, DR and Switch-DR with intervals, the effective sample and what cutting weights changes. A
    verdict is given only if the data can carry it. Exit code 3: they cannot.
    """
    from propensity import evaluated

    code = evaluated.evaluate_policy(
        file, arm, propensity, outcome, policy, customer, predicted, language, out
    )
    sys.exit(code)


@evaluate.command("holdout")
@click.option("--since", required=True, type=Moment(), help="Beginning of the window.")
@click.option("--days", type=click.IntRange(min=1), help="Its length [default: the shop's value horizon].")
@LANGUAGE
@OUT
def evaluate_holdout(since: datetime, days: int | None, language: str, out: Path | None) -> None:
    """Compare what customers did with what those did whom marketing left alone, by intention to treat.

    Only once the window is over and the log has all of it. Exit code 3: the groups cannot be compared.
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
@click.option("--customers", type=click.IntRange(min=2), help="How many there are, held out ones included.")
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

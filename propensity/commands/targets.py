"""What is predicted: the targets, and horizons that the log itself suggests."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

import click

from propensity.cli import AS_OF, DRY_RUN, LANGUAGE, main, settings_of


@main.group()
def targets() -> None:
    """What is predicted, for whom, how far ahead, and why."""


@targets.command("list")
@LANGUAGE
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, with the reason of each.")
def targets_list(language: str, as_json: bool) -> None:
    """List every declared target: its population, label and horizon, and whether the log can tell it.

    Exit code 3: the shop declares one wrongly, which is named; `propensity check` then refuses.
    """
    from propensity.targeted import list_targets

    sys.exit(list_targets(settings_of(), language, as_json))


@targets.command("suggest")
@AS_OF
@LANGUAGE
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="The page [default: reports/targets.html]."
)
@DRY_RUN
def targets_suggest(as_of: datetime | None, language: str, out: Path | None, dry_run: bool) -> None:
    """Read how often customers order, and propose horizons for churn and repurchase, each with its reason.

    Needs a log, and no features. Writes a page with a plot. Exit code 3: the log is too short for a proposal.
    """
    from propensity.targeted import suggest_targets

    sys.exit(suggest_targets(settings_of(as_of), language, out, dry_run))

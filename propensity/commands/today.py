"""What operations should know and do today."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from propensity.cli import AS_OF, DRY_RUN, LANGUAGE, main, settings_of


@main.command()
@LANGUAGE
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("today"),
    show_default=True,
    metavar="FOLDER",
    help="Where the page and its CSVs go; yesterday's there are replaced.",
)
@DRY_RUN
@AS_OF
def today(language: str, out: Path, dry_run: bool, as_of: datetime | None) -> None:
    """Write the morning page: does it hold, what needs somebody, how the shop fares.

    One page for a phone or a desk, in English and Chinese, a CSV of each of its tables, and a summary here: a
    light for data and models as `monitor run` left them, ten indicators, the queue by owner, valuable
    customers newly at risk, what was sent and answered, budgets, the holdout, pauses, life cycle stages. What
    is absent says why, and what to do. Run it after `monitor run` and `due`.

    The folder names customers and is yours: `erase` does not reach it. The exit code is 0 whatever the lights
    are: `monitor run` is what a scheduler listens to.
    """
    from propensity.morning import tell

    tell(settings_of(as_of), language, out, dry_run)

"""What falls due: scenarios, and the customers whose moment has come."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

import click

from propensity.cli import AS_OF, DRY_RUN, main, settings_of


@main.command()
@click.option("--scenario", "names", multiple=True, metavar="NAME", help="Only this one; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="New file of JSON lines.")
@DRY_RUN
@AS_OF
def due(
    names: tuple[str, ...], as_json: bool, out: Path | None, dry_run: bool, as_of: datetime | None
) -> None:
    """Tell of every customer who falls due for a scenario of the shop's shop.py, once.

    A line each: scenario, customer, until when, id; how many, on standard error. Whoever was told of does not
    fall due for the same scenario again until that is over. Killed and run again, it tells again of what it
    may not have told, under the same ids: give them as Idempotency-Key of the decision, and nothing is done
    twice. Run it as often as the shortest scenario needs, such as every hour.

    A dry run prints the same lines; who would only now fall due has no id yet.

    A scenario that is paused tells of nobody, and says so; who falls due is told of when it goes on.

    Exit code 3: a scenario that was named cannot be told, because the features or the log lack what it reads.
    """
    from propensity.falling import tell_due
    from propensity.tables import progress_bar

    with progress_bar("Who is due") as progress:
        code = tell_due(settings_of(as_of), names, as_json, out, dry_run, progress)
    sys.exit(code)

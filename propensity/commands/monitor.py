"""Monitoring: whether the models still hold, and who is told when one does not."""

from __future__ import annotations

import sys
from datetime import datetime

import click

from propensity.cli import AS_OF, DRY_RUN, main, settings_of


@main.group()
def monitor() -> None:
    """Whether the models still hold."""


@monitor.command("dashboard")
@click.option(
    "--lang", type=click.Choice(["en", "zh"]), default="en", show_default=True, help="Its language."
)
def monitor_dashboard(lang: str) -> None:
    """Print the service's dashboard as Grafana imports it; its metrics are those of `/metrics`."""
    import json

    from monitoring.dashboard import dashboard

    click.echo(json.dumps(dashboard("zh" if lang == "zh" else "en"), ensure_ascii=False, indent=1))


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

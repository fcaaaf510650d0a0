"""The ledger: what was decided, and what became of it."""

from __future__ import annotations

import click

from propensity.cli import DRY_RUN, main, settings_of


@main.group()
def ledger() -> None:
    """What was decided, and what became of it."""


@ledger.command("export")
@DRY_RUN
def ledger_export(dry_run: bool) -> None:
    """Take contacts that were sent, and what customers answered, into the customer log.

    The next `propensity features build` counts them, and training sees them. A marketing contact is taken
    once `POST /v1/deliveries` says that it was sent or delivered. What went to a group or to everyone is no
    customer's contact, and is not taken. Again changes nothing; before the first decision, too, there is
    nothing to take, and that is no error.
    """
    from propensity.exported import export

    settings = settings_of()
    done = export(settings, dry_run)
    if not done.begun:
        click.echo(
            f"nothing was decided yet, so there is no ledger in {settings.home}: nothing to take in. "
            "`propensity decide` or POST /v1/decisions begins one"
        )
        return
    if done.shared:
        click.echo(
            f"messages sent to a group or to everyone: {done.shared:,}; they are no customer's contact, and "
            "are not taken into the log (`propensity evaluate groups` judges them)"
        )
    if done.ingested is None:
        click.echo("no contact with a customer was told as sent, and no answer: nothing to take in")
        return
    rows = f"{done.contacts:,} contacts and {done.responses:,} responses"
    if not done.ingested.changed:
        click.echo(f"nothing new: the log has the ledger's {rows} already")
        return
    click.echo(f"{'would take' if dry_run else 'took'} the ledger's {rows} into the log")

"""What readers are served: what is published, and the way back to what was before."""

from __future__ import annotations

import click

from propensity.cli import DRY_RUN, LANGUAGE, main, settings_of


@main.group()
def online() -> None:
    """The rows that are served: what is published, and the way back to what was before."""


@online.command("status")
def online_status() -> None:
    """List the snapshot that is served, and those that are kept for a rollback."""
    from propensity.served import show_online

    show_online(settings_of())


@online.command("show")
@click.argument("customer")
@click.option("--json", "as_json", is_flag=True, help="The row as one JSON object; null is not known.")
@LANGUAGE
def online_show(customer: str, as_json: bool, language: str) -> None:
    """Print what the service reads of one CUSTOMER: every feature, fresh events included, and consents.

    An id that became another customer's shows that customer. Exit code 1 if nobody is known by it.
    """
    from propensity.served import show_row

    show_row(settings_of(), customer, language, as_json)


@online.command("rollback")
@DRY_RUN
def online_rollback(dry_run: bool) -> None:
    """Serve what was published before the current snapshot, at once and without a restart.

    What is withdrawn is never rolled back to, nor published by the next build of the same:
    something newer is, and `propensity features build --again` publishes it nevertheless.
    """
    from features.online import OnlineRows, nothing_before

    rows = OnlineRows.open(settings_of())
    current = rows.current()
    if dry_run:
        before = rows.before()
        if before is None:
            raise nothing_before(rows.where, current)
        click.echo(f"would serve {before.id} ({before.rows:,} customers) again, and withdraw {current.id}")
        return
    before = rows.rollback()
    click.echo(f"serving {before.id} ({before.rows:,} customers) again; {current.id} is withdrawn")

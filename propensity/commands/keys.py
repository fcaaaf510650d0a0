"""Keys of the clients that call the service."""

from __future__ import annotations

from datetime import timedelta

import click

from propensity.cli import main, settings_of


@main.group()
def keys() -> None:
    """Keys of the clients that call the service: what each may do, how often, and until when.

    \b
    score    read scores, profiles and what is released
    decide   take decisions, and ask whether one may still be sent
    write    tell events, deliveries and outcomes
    erase    erase customers
    admin    all of these

    Keys are kept as digests in PROPENSITY_HOME/keys.json, or the file that PROPENSITY_KEYS names, never in a
    backup. A running service follows a change within a second. A key of PROPENSITY_API_KEYS may do
    everything, and is listed nowhere.
    """


DAYS = click.option("--days", type=click.FloatRange(min=0, min_open=True), help="It ends after so many days.")


@keys.command()
@click.argument("client")
@click.option("--scope", "scopes", multiple=True, required=True, help="What it may do; once a scope.")
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    help="Requests a second that the client may send, in each worker process [default: no limit].",
)
@click.option(
    "--test", is_flag=True, help="It is answered about made-up customers, and touches nothing real."
)
@DAYS
def add(client: str, scopes: tuple[str, ...], rate: float | None, test: bool, days: float | None) -> None:
    """Make a key for CLIENT, and print it: on standard output, once.

    A test key (--test) is for building a journey: the API answers as it does, about customers such as
    test-purchase and test-exit, one for every life cycle stage and for every error; an unknown id lists them.
    """
    from features.moments import iso
    from serving.keys import Keys

    lasts = None if days is None else timedelta(days=days)
    secret, key = Keys(settings_of()).add(client, scopes, lasts, rate, test)
    said = [f"{client} may {' and '.join(key.scopes)}"]
    said += ["about made-up customers alone"] * test
    said += [f"{rate:g} requests a second in each process"] if rate else []
    said += [f"until {iso(key.expires_at)}"] if key.expires_at else []
    click.echo(f"{', '.join(said)}; keep this key, it is not shown again:", err=True)
    click.echo(secret)


@keys.command()
@click.argument("client")
@click.option(
    "--overlap", default=24.0, show_default=True, type=click.FloatRange(min=0), help="Hours that both open."
)
@DAYS
def rotate(client: str, overlap: float, days: float | None) -> None:
    """Print another key for CLIENT, who may do the same; those it has end after the overlap."""
    from features.moments import iso
    from features.settings import clock
    from serving.keys import Keys

    hours = timedelta(hours=overlap)
    secret, _ = Keys(settings_of()).rotate(client, hours, None if days is None else timedelta(days=days))
    click.echo(f"the old key of {client} ends at {iso(clock() + hours)}; this is the new one:", err=True)
    click.echo(secret)


@keys.command()
@click.argument("client")
@click.option("--key", "id", metavar="ID", help="Only the one that `keys list` shows under this id.")
def revoke(client: str, id: str | None) -> None:
    """End CLIENT's keys now: within a second no worker knows them any more."""
    from serving.keys import Keys

    ended = Keys(settings_of()).revoke(client, id)
    click.echo(f"revoked {', '.join(key.id for key in ended)} of {client}")


@keys.command(name="list")
@click.option("--all", "everything", is_flag=True, help="Those that have ended, too.")
def list_(everything: bool) -> None:
    """List the keys: whose, what they may do, and until when."""
    from features.moments import iso
    from features.settings import clock
    from propensity.tables import console, say, table
    from serving.keys import Keys

    now = clock()
    found = [key for key in Keys(settings_of()).everything() if everything or not key.ended(now)]
    if not found:
        say("no keys; `propensity keys add CLIENT --scope score` makes one")
        return
    shown = table("Keys", "client", "id", "may", "requests a second", "test", "made", "ends")
    for key in found:
        ends = "" if key.expires_at is None else iso(key.expires_at)
        rate = "" if key.rate is None else f"{key.rate:g}"
        shown.add_row(
            key.client, key.id, ", ".join(key.scopes), rate, "yes" if key.test else "", iso(key.made_at), ends
        )
    console().print(shown)

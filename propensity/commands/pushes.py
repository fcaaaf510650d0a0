"""Pushes: what changed of whom, told to other systems by signed webhooks."""

from __future__ import annotations

import sys
from datetime import datetime

import click

from propensity.cli import AS_OF, DRY_RUN, LANGUAGE, Moment, main, settings_of


@main.group()
def pushes() -> None:
    """Tell other systems when a customer crosses a threshold, enters or leaves a segment or a stage, or falls
    due: signed webhooks (CloudEvents), in order, again until they arrive.

    \b
    shop.py    WATCHES, thresholds of figures; SEGMENTS
    shop.toml  [[hooks]], where to: client, url, events
    PROPENSITY_HOOK_SECRETS="crm:whsec_..."   signs them; `pushes secret` makes one
    The work: features build -> pushes run -> pushes send (which --follow keeps doing)
    """


@pushes.command()
@click.option("--most", type=click.IntRange(min=1), help="Events of this run [default: shop.toml's].")
@click.option("--accept", is_flag=True, help="Take what changed as told, without an event for each.")
@DRY_RUN
@LANGUAGE
@AS_OF
def run(most: int | None, accept: bool, dry_run: bool, language: str, as_of: datetime | None) -> None:
    """Compare everybody of the published snapshot with what was told last, and write what changed, once.

    Run it after every `features build`. What is followed for the first time, by another rule or by another
    model is a new baseline: one event says so, and nobody is told of what that alone changed.

    Exit code 3: there is more to tell than a run may, and nothing was written.
    """
    from propensity.pushed import run as compare

    sys.exit(compare(settings_of(as_of), most, accept, dry_run, language))


@pushes.command()
@click.option("--follow", is_flag=True, help="Go on until it is stopped: what is written is sent at once.")
@LANGUAGE
def send(follow: bool, language: str) -> None:
    """Send what waits: of each customer in order, signed; again until it arrives, up to twelve times.

    One process a home. Without --follow it sends what can be sent now, and ends: run it every minute.

    Exit code 3: something still waits or is dead, or a hook has no secret.
    """
    from propensity.pushing import send as run

    sys.exit(run(settings_of(), follow, language))


@pushes.command(name="list")
@click.option("--dead", is_flag=True, help="The events that could not be delivered.")
@LANGUAGE
def list_(dead: bool, language: str) -> None:
    """List the hooks: what was delivered, what waits, what is dead and why."""
    from propensity.pushing import list_hooks

    list_hooks(settings_of(), dead, language)


CLIENT = click.option("--client", metavar="CLIENT", help="Only to the hook of this client.")


@pushes.command()
@CLIENT
@click.option("--dead", is_flag=True, help="What could not be delivered.")
@click.option("--since", type=Moment(), metavar="MOMENT", help="All that was written since.")
def replay(client: str | None, dead: bool, since: datetime | None) -> None:
    """Send events once more, under the ids that they had: whoever saw one can tell.

    A replayed event may come after a later one of the same customer; `sequence` tells their order.
    """
    from propensity.pushing import replay as run

    run(settings_of(), client, dead, since)


@pushes.command()
@click.argument("client")
@click.option("--skip", is_flag=True, help="Forget what waited for it.")
def enable(client: str, skip: bool) -> None:
    """Call CLIENT's hook again, and at once."""
    from propensity.pushing import turn

    turn(settings_of(), client, True, skip)


@pushes.command()
@click.argument("client")
def disable(client: str) -> None:
    """Call CLIENT's hook no more; what is written for it waits."""
    from propensity.pushing import turn

    turn(settings_of(), client, False)


@pushes.command()
@click.argument("client")
def test(client: str) -> None:
    """Write an event for CLIENT's hook that is about nobody."""
    from propensity.pushed import test as run

    run(settings_of(), client)


@pushes.command()
def secret() -> None:
    """Print a new secret: on standard output, once. It is kept nowhere.

    Put it into PROPENSITY_HOOK_SECRETS beside the old one; give it to whoever receives; then take the old one
    out. While there are two, both sign.
    """
    from serving.signing import new_secret

    click.echo(new_secret())

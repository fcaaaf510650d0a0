"""Stopping actions at once, and letting them go on."""

from __future__ import annotations

import click

from propensity.cli import main, settings_of

_OF = click.option("--scenario", metavar="NAME", help="A scenario: the same as scenario:NAME.")


@main.command()
@click.argument("what", required=False, metavar="[ACTION|channel:NAME|scenario:NAME|everything]")
@_OF
@click.option("--reason", help="Why; every answer that it changes repeats it.")
@click.option("--all", "everything", is_flag=True, help="List those that are over, too.")
def pause(what: str | None, scenario: str | None, reason: str | None, everything: bool) -> None:
    """Stop an action, a channel, a scenario or everything, in the next decision of every worker, on every
    host that shares the ledger (PROPENSITY_LEDGER); without WHAT, list. Nobody is told of as due for a
    scenario that is paused, until it goes on.

    "Nothing" can still be decided. What was decided before is not called back: report it as cancelled.
    """
    from features.moments import iso
    from features.shop import shop_of
    from propensity.tables import console, say, table
    from serving import audit
    from serving.actions import catalogue
    from serving.pauses import listed, opened

    what = _what(what, scenario)
    settings = settings_of()
    if what is None:
        if reason:
            raise click.UsageError(
                "--reason goes with what is to be paused: an action, channel:NAME, scenario:NAME, everything"
            )
        shown = table("Pauses", "what", "reason", "since", "until")
        found = [one for one in listed(settings) if everything or one.until is None]
        for one in found:
            shown.add_row(one.what, one.reason, iso(one.since), "" if one.until is None else iso(one.until))
        if found:
            console().print(shown)
        else:
            say("nothing is paused")
        return
    if not (reason or "").strip() or everything:
        raise click.UsageError('say why: --reason "wrong price in the SMS"; --all is for the list')
    shop = shop_of(settings)
    actions, scenarios = shop.read("ACTIONS", catalogue).values(), shop.declared("SCENARIOS")
    with opened(settings) as pauses:
        made = pauses.pause(what, (reason or "").strip(), actions, [of.name for of in scenarios])
    audit.record(settings, audit.HERE, f"pause {made.what}")
    click.echo(f"paused {made.what} at {iso(made.since)}; `propensity resume {made.what}` ends it")


@main.command()
@click.argument("what", required=False, metavar="ACTION|channel:NAME|scenario:NAME|everything")
@_OF
def resume(what: str | None, scenario: str | None) -> None:
    """End a pause, from the next decision on, on every host that shares the ledger."""
    from features.moments import iso
    from serving import audit
    from serving.pauses import opened

    what = _what(what, scenario)
    if what is None:
        raise click.UsageError("say what goes on: `propensity pause` lists what is paused")
    settings = settings_of()
    with opened(settings) as pauses:
        ended = pauses.resume(what)
    audit.record(settings, audit.HERE, f"resume {what}")
    assert ended.until is not None
    click.echo(f"resumed {what} at {iso(ended.until)}")


def _what(what: str | None, scenario: str | None) -> str | None:
    if what is not None and scenario is not None:
        raise click.UsageError("one thing at a time: WHAT or --scenario")
    return what if scenario is None else f"scenario:{scenario}"

"""Answers: the service, one decision, and the demo of everything."""

from __future__ import annotations

from datetime import datetime

import click

from propensity.cli import AS_OF, main, settings_of


@main.command()
@click.option("--host", help="Address to listen on [default: PROPENSITY_HOST or 127.0.0.1].")
@click.option("--port", type=click.IntRange(1, 65535), help="Port [default: PROPENSITY_PORT or 3000].")
@AS_OF
def serve(host: str | None, port: int | None, as_of: datetime | None) -> None:
    """Answer scores and decisions over HTTP, until stopped.

    Callers need a key: PROPENSITY_API_KEYS="client:key[,client:key]", each key of 16 characters or more.
    """
    from dataclasses import replace

    settings = settings_of(as_of)
    settings = replace(settings, host=host or settings.host, port=port or settings.port)
    from serving.service import serve as run

    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    said = f"serving on http://{host}:{settings.port} until stopped (Ctrl-C)"
    run(settings, lambda: click.echo(said, err=True))


@main.command()
@click.argument("customer", required=False)
@click.option("--key", help="Idempotency key: the same key answers the same decision.")
@click.option("--preview", is_flag=True, help="Decide without a trace: no record, no reserved contact.")
@click.option("--replay", metavar="ID", help="Take a recorded decision again, and compare.")
@click.option("--json", "as_json", is_flag=True, help="The answer as the API gives it.")
@AS_OF
def decide(
    customer: str | None,
    key: str | None,
    preview: bool,
    replay: str | None,
    as_json: bool,
    as_of: datetime | None,
) -> None:
    """Choose the next best action for CUSTOMER, or nothing, and record it in the ledger."""
    from propensity.steps import decide_for, replay_decision
    from propensity.tables import show_decision

    if (customer is None) == (replay is None):
        raise click.UsageError("name a CUSTOMER, or --replay a decision's ID")
    settings = settings_of(as_of)
    if replay is not None:
        click.echo(replay_decision(settings, replay))
        return
    assert customer is not None
    show_decision(decide_for(settings, customer, key, preview), as_json)


@main.command()
@click.option("--quick", is_flag=True, help="Train one target only.")
def demo(quick: bool) -> None:
    """Run the whole main job on a real purchase log, and say what to type next.

    Ends by itself; run it again at any time: what is done is not done twice.
    """
    from propensity.demo import run

    run(quick)

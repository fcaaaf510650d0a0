"""Answers: the service, one decision, and the demo of everything."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from propensity.cli import AS_OF, DRY_RUN, Named, Said, main, settings_of


@main.command()
@click.option("--host", help="Address to listen on [default: PROPENSITY_HOST or 127.0.0.1].")
@click.option("--port", type=click.IntRange(1, 65535), help="Port [default: PROPENSITY_PORT or 3000].")
@AS_OF
def serve(host: str | None, port: int | None, as_of: datetime | None) -> None:
    """Answer scores and decisions over HTTP, until stopped.

    Callers need a key: `propensity keys add CLIENT` makes one, with its scopes, its end and its rate. Or
    PROPENSITY_API_KEYS="client:key[,client:key]", each of 16 characters or more, which may do everything.
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
@click.option("--scenario", metavar="NAME", help="Choose among its actions, as `propensity due` gives it.")
@click.option(
    "--context",
    "now",
    type=Said("NAME=VALUE"),
    multiple=True,
    help="What is known of the moment, such as in_store=true or cart_value=80; once a field.",
)
@click.option("--key", help="Idempotency key: the same key answers the same decision.")
@click.option("--preview", is_flag=True, help="Decide without a trace: no record, no reserved contact.")
@click.option("--json", "as_json", is_flag=True, help="The answer as the API gives it.")
@click.option("--all", "everyone", is_flag=True, help="Plan for everybody, within these limits:")
@click.option("--groups", is_flag=True, help="Decide for every group, and for everyone at once.")
@click.option("--budget", type=click.FloatRange(min=0), help="--all: what actions may cost, shop currency.")
@click.option(
    "--capacity",
    type=Named("CHANNEL=CONTACTS", whole=True),
    multiple=True,
    help="--all: contacts that a channel has, such as mail=500; once a channel.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="--all: parquet file for the plan; --groups: file of JSON lines.",
)
@click.option("--force", is_flag=True, help="Replace the file of --out if it is there.")
@DRY_RUN
@AS_OF
def decide(
    customer: str | None,
    scenario: str | None,
    now: tuple[tuple[str, Any], ...],
    key: str | None,
    preview: bool,
    as_json: bool,
    everyone: bool,
    groups: bool,
    budget: float | None,
    capacity: tuple[tuple[str, int], ...],
    out: Path | None,
    force: bool,
    dry_run: bool,
    as_of: datetime | None,
) -> None:
    """Choose the next best action for CUSTOMER, or nothing, and record it in the ledger.

    With --all, plan for everybody who is published, worth as much as the budget and the channels allow. The
    plan is not recorded; the prices that it finds for what is short steer every decision until the next run.
    They are a version of `prices`, which `propensity models list` shows; `propensity rollback prices` goes
    back to those before.

    With --groups, decide what is said in each chat group, if anything: one decision a group, which keeps a
    share of the groups out. And what is said to everyone at once: one decision a round (a day, or a week if
    what is declared rests longer), a share of which the lot leaves quiet. Each is recorded in the ledger;
    `propensity evaluate groups` judges them.
    """
    if (customer is not None) + everyone + groups != 1:
        raise click.UsageError("name a CUSTOMER, or decide for --all or --groups")
    if customer is None and (scenario is not None or now):
        raise click.UsageError("--scenario and --context are for one CUSTOMER")
    if not everyone and (budget is not None or capacity):
        raise click.UsageError("--budget and --capacity are for --all")
    if force and (out is None or customer is not None):
        raise click.UsageError("--force is for --all and --groups with --out")
    if not (everyone or groups) and (out is not None or dry_run):
        raise click.UsageError("--out and --dry-run are for --all and --groups")
    settings = settings_of(as_of)
    if groups:
        from propensity.grouped import decide_for_groups

        decide_for_groups(settings, out, dry_run, force)
        return
    if everyone:
        from propensity.planned import plan_everyone

        plan_everyone(settings, budget, dict(capacity), out, dry_run, force)
        return
    from propensity.decided import show_decision
    from propensity.steps import decide_for

    assert customer is not None
    show_decision(decide_for(settings, customer, key, preview, scenario, dict(now)), as_json)


@main.command()
@click.argument("decision", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def replay(decision: str, as_json: bool) -> None:
    """Take a recorded decision again, from its record and the releases that it names, and compare.

    Says `equal`, or `differs` and where (exit code 3), or `erased` where the customer was.
    """
    from propensity.steps import replay_decision

    text, code = replay_decision(settings_of(), decision, as_json)
    click.echo(text)
    sys.exit(code)


@main.command()
@click.option("--quick", is_flag=True, help="Train one target only.")
def demo(quick: bool) -> None:
    """Run the whole main job on a real purchase log, and say what to type next.

    Ends by itself; run it again at any time: what is done is not done twice.
    """
    from propensity.demo import run

    run(quick)

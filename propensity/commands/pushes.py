"""Pushes: what changed of whom, told to other systems by signed webhooks."""

from __future__ import annotations

import sys
from datetime import datetime

import click

from propensity.cli import AS_OF, DRY_RUN, main, settings_of

LANGUAGE = click.option("--language", type=click.Choice(["en", "zh"]), default="en", show_default=True)


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

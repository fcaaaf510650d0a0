"""What messages to groups, and to everyone, brought."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

import click

from propensity.cli import LANGUAGE, Moment, settings_of
from propensity.commands.proof import OUT, evaluate


@evaluate.command("groups")
@click.option("--since", required=True, type=Moment(), help="Beginning of the window.")
@click.option("--days", type=click.IntRange(min=1), help="Its length [default: the shop's value horizon].")
@LANGUAGE
@OUT
def evaluate_groups(since: datetime, days: int | None, language: str, out: Path | None) -> None:
    """Compare what members of chat groups did with what those of held-out groups did; and rounds of messages
    to everyone with those that the lot left quiet.

    By intention to treat, with intervals that count groups, not customers: the groups were drawn. Customers
    of several groups, and held-out customers whom a group's message reached, are reported apart. Of everyone
    intervals count rounds; a window of many rounds is needed (--days). Exit code 3: the groups or rounds
    cannot be compared, or are too few.
    """
    from propensity import evaluated_groups

    sys.exit(evaluated_groups.evaluate(settings_of(), since, days, language, out))

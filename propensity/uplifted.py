"""What `propensity uplift` shows and writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from features.files import write_atomically
from propensity.sheets import show, told
from propensity.tables import say
from training import uplift_report
from training.uplift_table import read, trial_of
from training.uplift_training import learnt

NOT_BELIEVED = 3  # exit code: a warning


@dataclass(frozen=True)
class Asked:
    """The trial that a command line names; fields as `trial_of` takes them."""

    file: Path
    arm: str
    outcome: str
    control: str | None
    propensity: str | None
    shares: Mapping[str, float] | None
    randomised: bool
    costs: Mapping[str, float]
    ignore: Sequence[str]
    customer: str | None
    seed: int


def judge_trial(asked: Asked, language: str, out: Path | None, dry_run: bool) -> int:
    """Show the verdict, its tables and checks, write the page; the exit code."""
    trial = trial_of(
        read(asked.file), asked.arm, [asked.outcome], control=asked.control, propensity=asked.propensity,
        shares=asked.shares, randomised=asked.randomised, ignore=asked.ignore, customer=asked.customer,
        seed=asked.seed,
    )  # fmt: skip
    taught = learnt(trial, asked.costs, asked.seed)
    looked, (found,) = taught.looked, taught.found
    say(told(uplift_report.verdict(found, looked), language))
    for sheet in uplift_report.sheets(trial, found, looked):
        show(sheet, language)
    path = out or asked.file.with_suffix(".uplift.html")
    if not dry_run:
        page = uplift_report.render(asked.file.name, trial, found, looked, language)
        write_atomically(path, page.encode())
    say(f"{'would write' if dry_run else 'the page'}: {path}")
    return NOT_BELIEVED if uplift_report.failed(looked) else 0

"""What `propensity uplift` shows and writes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from features.describe.say import words
from features.errors import UsageError
from features.files import write_atomically
from features.words import Words
from propensity.cli import settings_of
from propensity.sheets import show, told
from propensity.tables import console, say
from serving import effects
from training import uplift_outcome as outcome
from training import uplift_registered, uplift_report, uplift_verdict
from training.qini import rankings
from training.uplift import effects_on
from training.uplift_registered import register
from training.uplift_table import read, trial_of
from training.uplift_tidied import tidied
from training.uplift_training import learnt

NOT_BELIEVED = 3  # exit code: a warning
_ROUNDED = 0.005  # of a share, written with two digits


@dataclass(frozen=True)
class Asked:
    """The trial that a command line names; fields as `trial_of` takes them."""

    file: Path
    arm: str
    outcomes: Sequence[str]  # the first is chosen by
    control: str | None
    propensity: str | None
    shares: Mapping[str, float] | None
    randomised: bool
    costs: Mapping[str, float]
    ignore: Sequence[str]
    customer: str | None
    cluster: str | None
    seed: int
    register: int | None = None  # days that the outcome is of, to register what was learnt
    missing: float | None = None  # what a row without an outcome had


def _whole(shares: Mapping[str, float] | None) -> Mapping[str, float] | None:
    """Shares as they were meant, for people round: .33 is a third. What is further off is no lottery."""
    total = 0.0 if shares is None else sum(shares.values())
    if shares is None or total == 1 or abs(total - 1) > _ROUNDED * len(shares):
        return shares
    if abs(total - 1) > 1e-9:
        say(f"the shares of --share sum to {total:.6g}: taken in proportion, as rounded ones of 1", err=True)
    return {arm: share / total for arm, share in shares.items()}


def judge_trial(asked: Asked, language: str, out: Path | None, dry_run: bool, as_json: bool = False) -> int:
    """Show the verdict, its tables and checks, write the page, register what was learnt; the exit code."""
    unread, stuck = list[Words](), False
    first = asked.outcomes[0]
    given, notes = tidied(read(asked.file), asked.customer)
    trial = trial_of(
        given, asked.arm, asked.outcomes, control=asked.control, propensity=asked.propensity,
        shares=_whole(asked.shares), randomised=asked.randomised, ignore=asked.ignore,
        customer=asked.customer, cluster=asked.cluster, seed=asked.seed, missing=asked.missing,
    )  # fmt: skip
    trial = replace(trial, notes=notes)
    if unknown := asked.costs.keys() - set(trial.arms):
        raise UsageError(
            f"--cost names {', '.join(sorted(unknown))}, and the arms are {', '.join(trial.arms)}"
        )
    if trial.evidence != "randomised" and not as_json:
        say("if the arms were drawn by lot, say how: --randomised, --share or --propensity", err=True)
    more = []
    if asked.missing is not None and (none := outcome.numbers(given, first)[1]).any():
        more.append(outcome.filled(trial, first, none, asked.missing))
    judged = replace(trial, outcomes={first: trial.outcomes[first]})
    taught = learnt(judged, asked.costs, asked.seed, more)
    beside = {name: effects_on(trial, name, asked.seed) for name in asked.outcomes[1:]}
    looked, (found,) = taught.looked, taught.found
    ranked, version = rankings(trial, found, asked.seed), None
    path = out or asked.file.with_suffix(".uplift.html")
    if not dry_run:
        page = uplift_report.render(asked.file.name, trial, found, looked, ranked, language, beside)
        write_atomically(path, page.encode())
        if asked.register is not None:
            kept = register(settings_of(), taught, asked.file, asked.register, asked.seed)
            version, model = kept.version, effects.load(kept.folder)
            unread = uplift_registered.unread(settings_of(), model)
            stuck = bool(uplift_registered.strangers(model.card.features))
    if as_json:
        said = uplift_report.as_json(trial, found, looked, ranked, beside) | {"version": version}
        console().out(json.dumps(said, ensure_ascii=False, indent=1))
    else:
        say(told(uplift_verdict.verdict(found, looked), language))
        for sheet in uplift_report.sheets(trial, found, looked, ranked, beside):
            show(sheet, language)
        say(f"{'would write' if dry_run else 'the page'}: {path}")
        if version is not None:
            then = "" if stuck else "; `propensity promote uplift` releases it"
            say(f"registered: uplift version {version}{then}")
        for why in unread:
            say(told(words("Decisions will not read this: {why}", "决策不会读取：{why}", why=why), language))
    return NOT_BELIEVED if uplift_verdict.failed(looked) else 0

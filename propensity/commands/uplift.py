"""Trials: what an action does, to whom."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from propensity.cli import DRY_RUN, LANGUAGE, Named, main


class Name(click.ParamType):  # type: ignore[type-arg]  # generic for mypy alone
    """A column or an arm, without the spaces that came along when it was copied from the table."""

    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name."""
        return value.strip()


NAME = Name()


def _once(option: str, given: tuple[tuple[str, float], ...]) -> dict[str, float]:
    names = [name for name, _ in given]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise click.UsageError(f"{option} names {twice} more than once: an arm has one")
    return dict(given)


@main.command()
@click.option(
    "--trial", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True,
    help="CSV or Parquet, a row a customer: columns known before, the arm, the outcome.",
)  # fmt: skip
@click.option("--arm", type=NAME, required=True, metavar="COLUMN", help="What the customer was given.")
@click.option("--outcome", "outcomes", type=NAME, required=True, multiple=True, metavar="COLUMN[=VALUE]",
              help="What came of it: a number, yes or no, or whether it is VALUE. The first is judged and "
              "chosen by; of others the effects are told beside it.")  # fmt: skip
@click.option("--missing-outcome", "missing", type=float, metavar="NUMBER",
              help="What a row without an outcome had: 0, if none means that nothing came "
              "[such rows are refused].")  # fmt: skip
@click.option(
    "--propensity", type=NAME, metavar="COLUMN", help="The chance with which the customer was given that arm."
)
@click.option("--randomised", is_flag=True, help="Drawn by lot, with the same chances for everyone.")
@click.option("--share", "shares", type=Named("ARM=SHARE"), multiple=True,
              help="An arm's chance in the lot, each once; then the sample ratio is checked.")  # fmt: skip
@click.option("--control", type=NAME, metavar="NAME", help="The arm that means nothing was done.")
@click.option("--cost", "costs", type=Named("ARM=AMOUNT"), multiple=True,
              help="What an arm costs a customer, in the outcome's unit.")  # fmt: skip
@click.option("--ignore", multiple=True, type=NAME, metavar="COLUMN",
              help="A column not to be learnt from, as it was written after the decision. If it differs by "
              "arm, the verdict says that it rests on that.")  # fmt: skip
@click.option("--customer", type=NAME, metavar="COLUMN", help="Rows of one customer count as one.")
@click.option("--cluster", type=NAME, metavar="COLUMN",
              help="The arm was drawn by this column's values, such as the store: then these are what is "
              "counted [each customer was drawn separately].")  # fmt: skip
@click.option("--seed", type=int, default=1, show_default=True, help="Same table and seed: the same figures.")
@LANGUAGE
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path),
              help="The page [default: beside FILE].")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Everything as one JSON object; the page as well.")
@click.option(
    "--register",
    is_flag=True,
    help="Keep what was learnt as a version of `uplift`; it can be released if the columns are "
    "features of the shop.",
)
@click.option(
    "--days", type=click.IntRange(min=1), help="--register: days after the decision that the outcome is of."
)
@DRY_RUN
def uplift(
    file: Path, arm: str, outcomes: tuple[str, ...], missing: float | None, propensity: str | None,
    randomised: bool, shares: tuple[tuple[str, float], ...], control: str | None,
    costs: tuple[tuple[str, float], ...],
    ignore: tuple[str, ...], customer: str | None, cluster: str | None, seed: int, language: str,
    out: Path | None,
    as_json: bool, register: bool, days: int | None, dry_run: bool,
) -> None:  # fmt: skip
    """Judge a trial: the best arm for everyone, and whether choosing for each customer brings more.

    Without --propensity, --share or --randomised, chances are estimated from the columns, and nothing is
    claimed. Exit code 3: a check fails (sample ratio, columns from after the decision, overlap).
    """
    if register != (days is not None):
        raise click.UsageError("--register needs --days, over which the outcome was measured, and --days it")
    from propensity.uplifted import Asked, judge_trial

    asked = Asked(
        file, arm, tuple(dict.fromkeys(outcomes)), control, propensity, _once("--share", shares) or None,
        randomised, _once("--cost", costs), ignore, customer, cluster, seed, days, missing,
    )  # fmt: skip
    sys.exit(judge_trial(asked, language, out, dry_run, as_json))

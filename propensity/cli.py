"""The front door: the command line. Each command imports what it needs when it runs, so that help is instant.

Exit codes: 0 done or quiet, 1 failed, 2 wrong usage, 3 warning, 4 page.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from features.errors import PropensityError, SettingsError, UsageError
from features.moments import DAY, iso, parse_moment
from features.settings import Settings, clock

REPOSITORY = Path(__file__).parent.parent


class Moment(click.ParamType):  # type: ignore[type-arg]  # generic for mypy alone
    """A moment on the command line, read by `parse_moment`."""

    name = "moment"

    def convert(
        self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        return value if isinstance(value, datetime) else parse_moment(value)


class Named(click.ParamType):  # type: ignore[type-arg]  # generic for mypy alone
    """NAME=NUMBER on the command line: (name, number), which must be 0 or more. whole: of things."""

    def __init__(self, what: str, whole: bool = False) -> None:
        self.name, self._whole = what, whole  # what: as help shows it, such as CHANNEL=CONTACTS

    def convert(
        self, value: str | tuple[str, float], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, float]:
        if isinstance(value, tuple):
            return value
        name, _, given = value.rpartition("=")
        name = name.strip()
        try:
            number = int(given) if self._whole else float(given)
        except ValueError:
            number = -1
        if not name or not 0 <= number < float("inf"):
            kind = "a whole number" if self._whole else "a number"
            self.fail(f"{value!r}: expected {self.name} with {kind}, 0 or more", param, ctx)
        return name, number


class Said(click.ParamType):  # type: ignore[type-arg]  # generic for mypy alone
    """NAME=VALUE on the command line: (name, value), a number, true or false where it reads as one."""

    def __init__(self, what: str) -> None:
        self.name = what

    def convert(
        self, value: str | tuple[str, Any], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Any]:
        if isinstance(value, tuple):
            return value
        name, found, given = value.partition("=")
        if not name or not found:
            self.fail(f"{value!r}: expected {self.name}", param, ctx)
        if given in ("true", "false"):
            return name, given == "true"
        try:
            return name, float(given)
        except ValueError:
            return name, given


AS_OF = click.option(
    "--as-of",
    type=Moment(),
    metavar="MOMENT",
    help="What 'now' means: 2017-12-31 (00:00 UTC) or 2017-12-31T08:00:00+08:00.",
)
LANGUAGE = click.option(
    "--language", "--lang", type=click.Choice(["en", "zh"]), default="en", show_default=True,
    help="Of what is shown.",
)  # fmt: skip
DRY_RUN = click.option("--dry-run", is_flag=True, help="Say what would be done, and keep nothing.")


class _Commands(click.Group):
    """Shows our errors as one line, and exits with their code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except PropensityError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(error.exit_code)
        except Exception as error:  # of the machine: a full disk, or a home that may not be written
            from features.files import refused

            said = refused(error, Path(os.environ.get("PROPENSITY_HOME", ".propensity")))
            if said is None:
                raise
            click.echo(f"error: {said}", err=True)
            ctx.exit(PropensityError.exit_code)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # in the order of the work, not of the alphabet


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="propensity")
def main() -> None:
    """Predict what a retailer's customers will do next, and what is worth doing about it.

    \b
    The work, in its order:  init -> ingest -> features build -> train -> promote -> serve / score / decide
                             and then, every day:  ingest -> features build -> monitor run

    State lives in PROPENSITY_HOME (default ./.propensity); the shop is the folder PROPENSITY_SHOP (default:
    the bundled demo shop). For a log of the past, PROPENSITY_AS_OF says what "now" is.
    """
    import features

    found = Path(features.__file__ or "").parent
    if found != REPOSITORY / "features":
        raise SettingsError(
            f"another package named 'features' hides ours: {found} was found, where "
            f"{REPOSITORY / 'features'} was expected. "
            "Remove it from this environment, or run in one of Propensity's own"
        )


def settings_of(as_of: datetime | None = None) -> Settings:
    """The environment's settings, with the --as-of of the command line.

    UsageError for a moment that has not come, by the clock or PROPENSITY_AS_OF: it is a slip, by which all is
    out of date, and what is kept as of then would stand before every later run.
    """
    from dataclasses import replace

    settings = Settings.from_env()
    if as_of is not None and as_of > (now := max(clock(), settings.now())) + DAY:  # a day: of two zones
        raise UsageError(
            f"--as-of: {iso(as_of)} has not come yet, now is {iso(now)}. If it is no slip, but a simulation "
            "of the future, say so in PROPENSITY_AS_OF"
        )
    return replace(settings, as_of=as_of) if as_of else settings

"""The front door: the command line. Each command imports what it needs when it runs, so that help is instant.

Exit codes: 0 done or quiet, 1 failed, 2 wrong usage, 3 warning, 4 page.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from features.errors import PropensityError, SettingsError
from features.moments import parse_moment
from features.settings import Settings

REPOSITORY = Path(__file__).parent.parent


class _Moment(click.ParamType):  # type: ignore[type-arg]  # generic in its stubs only
    name = "moment"

    def convert(
        self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        return value if isinstance(value, datetime) else parse_moment(value)


AS_OF = click.option(
    "--as-of",
    type=_Moment(),
    metavar="MOMENT",
    help="What 'now' means: 2017-12-31 (00:00 UTC) or 2017-12-31T08:00:00+08:00.",
)
DRY_RUN = click.option("--dry-run", is_flag=True, help="Say what would be done, and keep nothing.")


class _Commands(click.Group):
    """Shows our errors as one line, and exits with their code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except PropensityError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(error.exit_code)

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


def _settings(as_of: datetime | None = None) -> Settings:
    from dataclasses import replace

    settings = Settings.from_env()
    return replace(settings, as_of=as_of) if as_of else settings


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@DRY_RUN
def init(folder: Path, dry_run: bool) -> None:
    """Write a shop's FOLDER: shop.toml to fill in, and shop.py for declarations of its own.

    Nothing that exists is overwritten.
    """
    from propensity.shops import TEMPLATES

    for name, text in TEMPLATES.items():
        path = folder / name
        if path.exists():
            click.echo(f"kept     {path} (it exists)")
            continue
        if not dry_run:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        click.echo(f"{'would write' if dry_run else 'wrote'}    {path}")
    click.echo(
        f"Next: edit {folder / 'shop.toml'}, then `export PROPENSITY_SHOP={folder}` and `propensity check`."
    )


@main.command()
@click.argument("source", required=False)
@click.option(
    "--from",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with the source's files, if not where the source keeps them.",
)
@DRY_RUN
def ingest(source: str | None, folder: Path | None, dry_run: bool) -> None:
    """Take a SOURCE's raw files into the customer log (default: the first source of shop.toml).

    Every row is accounted for. Rows that break a contract are kept beside the log, each with its reason.
    Ingesting the same files again changes nothing.
    """
    from features.ingest import ingest as run
    from propensity.tables import progress_bar, show_ingested

    with progress_bar("Ingesting") as progress:
        done = run(_settings(), source, folder, dry_run, progress)
    show_ingested(done, dry_run)


@main.group()
def features() -> None:
    """What is known about customers: list what is declared, build it as of any moment."""


@features.command("list")
@click.option("--language", type=click.Choice(["en", "zh"]), default="en", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, with hashes.")
def features_list(language: str, as_json: bool) -> None:
    """List every declared feature: what it means, its unit, where it comes from."""
    from propensity.tables import show_features

    show_features(_settings(), language, as_json)


@features.command("build")
@AS_OF
@click.option(
    "--since", type=_Moment(), metavar="MOMENT", help="First snapshot [default: 28 days into the log]."
)
@click.option(
    "--every", type=click.IntRange(1, 366), default=7, show_default=True, help="Days between snapshots."
)
@click.option(
    "--publish/--no-publish", default=True, show_default=True, help="Serve the last snapshot online."
)
@DRY_RUN
def features_build(
    as_of: datetime | None, since: datetime | None, every: int, publish: bool, dry_run: bool
) -> None:
    """Compute features at a grid of moments that ends at --as-of, and publish the last one to the service.

    Snapshots that exist are not computed again. Publishing refreshes the scores of every release; exit
    code 3 warns of a release whose features are now defined differently: train and promote it again.
    """
    from propensity.steps import build_features
    from propensity.tables import progress_bar

    settings = _settings(as_of)
    with progress_bar("Building features") as progress:
        built = build_features(settings, since, every, publish, dry_run, progress)
    click.echo(built.text)
    if built.starved:
        sys.exit(3)


@main.command()
@click.argument("targets", nargs=-1)
@AS_OF
@click.option(
    "--seed",
    type=int,
    default=1,
    show_default=True,
    help="Same data and seed: the same model, byte for byte.",
)
@click.option("--list", "list_targets", is_flag=True, help="List the targets and stop.")
@DRY_RUN
def train(
    targets: tuple[str, ...], as_of: datetime | None, seed: int, list_targets: bool, dry_run: bool
) -> None:
    """Fit, calibrate and judge a model for each of TARGETS (default: all).

    A model is judged on a later time than anything that it was fitted on, beside baselines that a sceptic
    would choose, with intervals. It becomes a new version in MLflow, as challenger: `promote` releases it.
    """
    from propensity.steps import plan_targets, train_targets
    from propensity.tables import progress_bar, show_targets, show_trained

    settings = _settings(as_of)
    if list_targets:
        show_targets(settings)
        return
    if dry_run:
        click.echo(plan_targets(settings, targets))
        return
    with progress_bar("Training") as progress:
        trained = train_targets(settings, targets, seed, progress)
    for one in trained:
        show_trained(one)


@main.command()
@click.argument("target")
@click.option("--version", help="Which version [default: the challenger].")
@DRY_RUN
def promote(target: str, version: str | None, dry_run: bool) -> None:
    """Release a version of TARGET's model: from now on the service answers with it.

    The one before stays as `rollback`; running services follow within a second, without a restart.
    """
    from propensity.steps import promote_target

    click.echo(promote_target(_settings(), target, version, dry_run))


@main.command()
@click.option("--host", help="Address to listen on [default: PROPENSITY_HOST or 127.0.0.1].")
@click.option("--port", type=click.IntRange(1, 65535), help="Port [default: PROPENSITY_PORT or 3000].")
@AS_OF
def serve(host: str | None, port: int | None, as_of: datetime | None) -> None:
    """Answer scores and decisions over HTTP, until stopped.

    Callers need a key: PROPENSITY_API_KEYS="client:key[,client:key]", each key of 16 characters or more.
    """
    from dataclasses import replace

    settings = _settings(as_of)
    settings = replace(settings, host=host or settings.host, port=port or settings.port)
    from serving.service import serve as run

    click.echo(f"serving on http://{settings.host}:{settings.port} until stopped (Ctrl-C)", err=True)
    run(settings)


@main.command()
@click.option("--release", "wanted", required=True, metavar="NAME[:VERSION]", help="Which released model.")
@AS_OF
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Parquet file to write.")
@DRY_RUN
def score(wanted: str, as_of: datetime | None, out: Path | None, dry_run: bool) -> None:
    """Score every customer as of a moment: parquet in, parquet out, the very function that the service uses.

    Features of a moment that was not built yet are built first.
    """
    from propensity.steps import score_everyone
    from propensity.tables import progress_bar

    with progress_bar("Scoring") as progress:
        text = score_everyone(_settings(as_of), wanted, out, dry_run, progress)
    click.echo(text)


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
    settings = _settings(as_of)
    if replay is not None:
        click.echo(replay_decision(settings, replay))
        return
    assert customer is not None
    show_decision(decide_for(settings, customer, key, preview), as_json)


@main.group()
def monitor() -> None:
    """Whether the models still hold."""


@monitor.command("run")
@AS_OF
@click.option(
    "--page/--no-page", default=True, show_default=True, help="Write Evidently's page beside the verdict."
)
@DRY_RUN
def monitor_run(as_of: datetime | None, page: bool, dry_run: bool) -> None:
    """Compare the published snapshot with what the models were trained on: a verdict in one line, and a page.

    Exit code 0: quiet. 3: warning, look at it. 4: page, act on it.
    """
    from propensity.steps import monitor_once
    from propensity.tables import progress_bar

    with progress_bar("Monitoring") as progress:
        code, text = monitor_once(_settings(as_of), page, dry_run, progress)
    click.echo(text)
    sys.exit(code)


@main.command()
@click.option(
    "--customers", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many to compare."
)
def check(customers: int) -> None:
    """Hold the shop's settings and declarations to their contracts, its own ones included.

    Features are computed twice for some customers of the log, by the engine and by the slow reference, and
    with everything later than the moment removed: any difference is named.
    """
    from propensity.steps import check_everything

    problems, text = check_everything(_settings(), customers)
    for problem in problems:
        click.echo(f"problem: {problem}", err=True)
    click.echo(text)
    sys.exit(1 if problems else 0)


@main.command()
@click.option("--quick", is_flag=True, help="Train one target only.")
def demo(quick: bool) -> None:
    """Run the whole main job on a real purchase log, and say what to type next.

    Ends by itself; run it again at any time: what is done is not done twice.
    """
    from propensity.demo import run

    run(quick)


Progress = Callable[[str, int, int], None]

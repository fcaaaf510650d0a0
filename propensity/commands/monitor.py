"""Monitoring: whether the models still hold, and who is told when one does not."""

from __future__ import annotations

import sys
from datetime import datetime

import click

from propensity.cli import AS_OF, DRY_RUN, LANGUAGE, Moment, main, settings_of


@main.group()
def monitor() -> None:
    """Whether the models still hold, and who is told when one does not.

    \b
    shop.toml  [monitoring], who acts; [[sinks]], where alerts go
    PROPENSITY_SINK_<NAME>="..."   a sink's key, token or password
    The work: monitor run, daily -> monitor send, every few minutes
    A message came: monitor alerts -> explain, runbook -> ack, or silence

    Exit codes: 0 done or quiet, 1 failed, 2 wrong usage; of `run` and `alerts` 3 a warning, 4 a page; of
    `alerts` and `send` 3 a message that did not arrive, too.
    """


@monitor.command("dashboard")
@LANGUAGE
def monitor_dashboard(language: str) -> None:
    """Print the dashboard as Grafana imports it: the service, and what the monitoring says of itself.

    It asks for the Prometheus that scrapes `/metrics`, and node_exporter with
    --collector.textfile.directory at monitoring/ of the home.

    \b
    propensity monitor dashboard --lang zh > dashboard.json
    """
    import json

    from monitoring.dashboard import dashboard

    click.echo(json.dumps(dashboard("zh" if language == "zh" else "en"), ensure_ascii=False, indent=1))


@monitor.command("run")
@AS_OF
@click.option(
    "--page/--no-page", default=True, show_default=True, help="Write the report beside the verdict."
)
@click.option(
    "--retrain", is_flag=True, help="Train again what should be; the gate decides whether it is released."
)
@DRY_RUN
def monitor_run(as_of: datetime | None, page: bool, retrain: bool, dry_run: bool) -> None:
    """Judge what is published and what the log received, write the report, and tell whom it concerns.

    Figures are compared with their own past and the shop's calendar. The first run counts up to two years of
    days (`monitor backfill` does that alone). With --dry-run nothing is written or told, and those days are
    counted all the same.

    Reports that are 30 days older than what is judged (`keep_days` of [monitoring]) are removed, but those
    that the messages of what is still on point to; Evidently's pages beside them after 14
    (`keep_drawn_days`). It draws what moved, and everything for `monitor report`.

    Exit code 0: quiet. 3: warning, look at it. 4: page, act on it. 1: it could not be judged.

    \b
    propensity monitor run
    propensity monitor run --retrain --as-of 2017-12-03
    """
    from propensity.tables import progress_bar
    from propensity.watched import run_once

    with progress_bar("Monitoring") as progress:
        code, text = run_once(settings_of(as_of), page, dry_run, retrain, progress)
    click.echo(text)
    sys.exit(code)


@monitor.command("report")
@AS_OF
@LANGUAGE
def monitor_report(as_of: datetime | None, language: str) -> None:
    """Write the report of what is published anew, with every drawing, and tell nobody.

    One page in English and Chinese, in reports/ of the home; the last line says where.

    \b
    propensity monitor report --lang zh
    """
    from propensity.tables import progress_bar
    from propensity.watched import write_report

    with progress_bar("Monitoring") as progress:
        text = write_report(settings_of(as_of), language, progress)
    click.echo(text)


@monitor.command("backfill")
@click.option(
    "--days", type=click.IntRange(1, 3660), default=730, show_default=True, help="How many before today."
)
@AS_OF
@DRY_RUN
def monitor_backfill(days: int, as_of: datetime | None, dry_run: bool) -> None:
    """Count the days that baselines are learned from, from the log as it was known on each.

    A day is counted once; what was interrupted goes on where it stopped. `monitor run` does it by itself.

    \b
    propensity monitor backfill --days 400
    """
    from propensity.tables import progress_bar
    from propensity.watched import backfill

    with progress_bar("Monitoring") as progress:
        text = backfill(settings_of(as_of), days, dry_run, progress)
    click.echo(text)


@monitor.command("explain")
@click.argument("subject", metavar="[RELEASE|TABLE|log|INDICATOR]", required=False)
@click.argument("name", metavar="[CHECK|FEATURE|FIGURE]", required=False)
@click.option("--days", type=click.IntRange(1, 365), default=14, show_default=True, help="How many to show.")
@LANGUAGE
@AS_OF
def monitor_explain(
    subject: str | None, name: str | None, days: int, language: str, as_of: datetime | None
) -> None:
    """Show what every check says of a subject, and the figures that are furthest from what was expected.

    With a check: all that it says, and why. With a feature, or a figure of a table such as orders.amount: its
    last days. Without anything: what is watched, by name. `log` is all tables. Whatever a message names can
    be asked about as it is written there, such as 'orders|received' or 'data orders'.

    \b
    propensity monitor explain
    propensity monitor explain 'orders|received'
    propensity monitor explain churn_28d orders_30d --days 28
    """
    from propensity.watched import explain

    explain(settings_of(as_of), subject, name, days, language)


@monitor.command("alerts")
@click.option("--all", "everything", is_flag=True, help="Those that are over, too.")
@click.option("--dead", is_flag=True, help="The messages that could not be delivered.")
@LANGUAGE
@AS_OF
def monitor_alerts(everything: bool, dead: bool, language: str, as_of: datetime | None) -> None:
    """List what is on, since when, who acts on it; and how the sinks stand.

    Exit code 4: a page is on. 3: a warning, or a message that did not arrive. 0: neither. Silenced ones do
    not count.

    \b
    propensity monitor alerts --all
    """
    from propensity.alerting import list_alerts

    sys.exit(list_alerts(settings_of(as_of), everything, dead, language))


@monitor.command("ack")
@click.argument("what", metavar="SUBJECT|CHECK")
@click.option("--by", required=True, metavar="NAME", help="Who acts on it.")
@click.option("--note", default="", help="What is being done; the list of alerts shows it.")
@AS_OF
def monitor_ack(what: str, by: str, note: str, as_of: datetime | None) -> None:
    """Say who acts on an alert, so that it escalates no further unless it gets worse.

    Quote it: 'churn_28d|features'. A subject, a check or a topic alone means all that is on under it.

    \b
    propensity monitor ack 'churn_28d|features' --by li --note "asked the source"
    """
    from propensity.alerting import acknowledge

    acknowledge(settings_of(as_of), what, by, note)


@monitor.command("silence")
@click.argument("what", required=False, metavar="[SUBJECT|CHECK]")
@click.option("--until", type=Moment(), metavar="MOMENT", help="Nobody is told before.")
@click.option("--reason", help="Why; the list shows it.")
@click.option("--by", metavar="NAME", help="Who says so.")
@click.option("--anyway", is_flag=True, help="Keep it though nothing is called so yet.")
@click.option("--end", type=int, metavar="NUMBER", help="Take a silence back.")
@click.option("--all", "everything", is_flag=True, help="List those that are over, too.")
@AS_OF
def monitor_silence(
    what: str | None,
    until: datetime | None,
    reason: str | None,
    by: str | None,
    anyway: bool,
    end: int | None,
    everything: bool,
    as_of: datetime | None,
) -> None:
    """Tell nobody of a subject, a check, or one alert for a while; without any, list what is silenced.

    A subject is a release, a table, an indicator or `log`; one alert is quoted: 'churn_28d|features'. What is
    still on when the silence ends is told then. What nothing is called is refused.

    \b
    propensity monitor silence orders --until 2018-02-01 --reason "moving" --by li
    propensity monitor silence --end 3
    """
    from propensity import alerting

    settings = settings_of(as_of)
    if end is not None:
        alerting.end_silence(settings, end)
    elif what is None:
        alerting.list_silences(settings, everything)
    elif until is None or reason is None or by is None:
        raise click.UsageError('say until when, why and who: --until 2018-02-01 --reason "..." --by NAME')
    else:
        alerting.silence(settings, what, until, reason, by, anyway)


@monitor.command("send")
@click.option("--dead", is_flag=True, help="Try again what was given up, too.")
@LANGUAGE
@AS_OF
def monitor_send(dead: bool, language: str, as_of: datetime | None) -> None:
    """Send what waits, and remind and escalate where it is time: run it every few minutes.

    Exit code 3: something still waits, or was given up. 0: all arrived.

    \b
    propensity monitor send
    propensity monitor send --dead
    """
    from propensity.alerting import send

    sys.exit(send(settings_of(as_of), dead, language))


@monitor.command("rules")
def monitor_rules() -> None:
    """Print alert rules for Prometheus: over `/metrics`, and over monitoring/metrics.prom of the home.

    Where shop.toml declares an Alertmanager, it is told of the monitoring's alerts directly, and the rules
    leave them out.

    \b
    propensity monitor rules > /etc/prometheus/propensity.rules.yml
    """
    from propensity.alerting import rules

    click.echo(rules(settings_of()), nl=False)


@monitor.command("runbook")
@click.argument("check", required=False)
def monitor_runbook(check: str | None) -> None:
    """Print what CHECK means, how to look closer and what to do; without CHECK, everything.

    \b
    propensity monitor runbook received
    """
    from monitoring import runbook
    from propensity.watched import runbook_of

    if check is None:
        click.echo(runbook.PATH.read_text("utf-8"), nl=False)
    else:
        name, text = runbook_of(settings_of(), check)
        click.echo(f"{name}\n\n{text}")

"""What node_exporter's textfile collector reads: home/monitoring/metrics.prom, written by every run.

Point --collector.textfile.directory at home/monitoring. Labels are bounded: names of models, indicators,
checks and sinks.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from features.files import write_atomically
from features.settings import Settings
from monitoring.alert_store import Run
from monitoring.delivery import Standing
from monitoring.episodes import Episode

NAME = "metrics.prom"
_ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def write(
    settings: Settings, last: Run, alerts: Iterable[tuple[Episode, bool]], sinks: Sequence[Standing]
) -> Path:
    """Write it anew; the path. alerts: those that fire, and whether each is silenced."""
    path = settings.home / "monitoring" / NAME
    fire = [
        f"propensity_alerts{_labels(subject=e.finding.subject, check=e.finding.check, status=e.severity)} "
        f"{0 if silenced else 1}"
        for e, silenced in alerts
    ]
    waits = [
        f"propensity_alert_deliveries{_labels(sink=one.sink, state=state)} {number}"
        for one in sinks
        for state, number in (("waiting", one.waiting), ("dead", one.dead))
    ]
    ran = f"propensity_monitoring_last_run_timestamp_seconds {last.taken.timestamp():.0f}"
    of = f"propensity_monitoring_as_of_timestamp_seconds {last.moment.timestamp():.0f}"
    lines = [
        *_head("propensity_alerts", "1 while an alert fires, 0 while it fires and is silenced"), *fire,
        *_head("propensity_monitoring_last_run_timestamp_seconds", "When the monitoring last ran"), ran,
        *_head("propensity_monitoring_as_of_timestamp_seconds", "The moment that its last run judged"), of,
        *_head("propensity_alert_deliveries", "Messages that wait for a sink, or were given up"), *waits,
    ]  # fmt: skip
    write_atomically(path, ("\n".join(lines) + "\n").encode())
    return path


def _head(name: str, text: str) -> tuple[str, str]:
    return f"# HELP {name} {text}", f"# TYPE {name} gauge"


def _labels(**labels: str) -> str:
    r"""As the exposition format quotes them.

    >>> _labels(subject='a"b', check="c")
    '{subject="a\\"b",check="c"}'
    """
    return "{" + ",".join(f'{name}="{value.translate(_ESCAPED)}"' for name, value in labels.items()) + "}"

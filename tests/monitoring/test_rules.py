"""The rules for Prometheus: each fires when it must and is quiet else, by promtool."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
from alerting import Days, found
from binaries import needs, program

from features.settings import Settings
from monitoring import runbook
from monitoring.checks import CHECKS
from monitoring.rules import rules, rules_file
from propensity import main

AGE = "propensity_features_age_seconds"
RAN = "propensity_monitoring_last_run_timestamp_seconds"
REQUESTS = 'propensity_requests_total{route="/v1/scores",method="POST",client="crm",status="%s"}'
SLOW = 'propensity_request_seconds_bucket{route="/v1/decisions",le="%s"}'
HEALTHY = {
    AGE: "3600x400", RAN: "0x400", "propensity_fresh_lag_seconds": "0x400",
    'propensity_release_refused{model="churn_28d"}': "0x400", "propensity_decisions_refused": "0x400",
    REQUESTS % 200: "0+600x400", REQUESTS % 500: "0+1x400", SLOW % "0.1": "0+600x400",
    SLOW % "0.25": "0+600x400", SLOW % "+Inf": "0+600x400",
    'propensity_alert_deliveries{sink="group",state="waiting"}': "0x400",
    'propensity_alert_deliveries{sink="group",state="dead"}': "0x400",
}  # fmt: skip
"""Series -> its values of a service and a monitoring that are well, by the minute."""

Case = tuple[dict[str, str | None], str, dict[str, str]]
CASES: dict[str, Case] = {  # what is otherwise, after how long, and with which labels it fires
    "PropensityServiceAway": ({AGE: None}, "6m", {"severity": "page"}),
    "PropensityFeaturesStale": ({AGE: "190000x400"}, "16m", {"severity": "warning"}),
    "PropensityFeaturesExpired": ({AGE: "1300000x400"}, "6m", {"severity": "page"}),
    "PropensityErrors": ({REQUESTS % 500: "0+12x400"}, "30m", {"severity": "page"}),
    "PropensitySlow": ({SLOW % "0.1": "0+500x400"}, "30m", {"severity": "warning"}),
    "PropensityReleaseRefused": (
        {'propensity_release_refused{model="churn_28d"}': "1x400"}, "6m",
        {"severity": "page", "model": "churn_28d"},
    ),
    "PropensityDecisionsRefused": ({"propensity_decisions_refused": "1x400"}, "6m", {"severity": "page"}),
    "PropensityEventsLag": ({"propensity_fresh_lag_seconds": "90x400"}, "11m", {"severity": "warning"}),
    "PropensityMonitoringAway": ({RAN: None}, "31m", {"severity": "page"}),
    "PropensityAlertsUndelivered": (
        {'propensity_alert_deliveries{sink="group",state="waiting"}': "1x400"}, "121m",
        {"severity": "page", "sink": "group"},
    ),
    "PropensityAlert": (
        {'propensity_alerts{subject="orders",check="indicators",status="page"}': "1x400"}, "1m",
        {"severity": "page", "subject": "orders", "check": "indicators", "status": "page"},
    ),
}  # fmt: skip
RULES = rules(Settings())


def promtool(folder: Path, tests: list[dict[str, object]], every: str = "1m") -> None:
    (folder / "rules.yml").write_text(rules_file(RULES), "utf-8")
    test_file = {"rule_files": ["rules.yml"], "evaluation_interval": every, "tests": tests}
    (folder / "tests.yml").write_text(json.dumps(test_file))
    for arguments in (("check", "rules", "rules.yml"), ("test", "rules", "tests.yml")):
        done = subprocess.run([program("promtool"), *arguments], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def of(
    series: dict[str, str | None], at: str, fires: dict[str, dict[str, str]], interval: str = "1m"
) -> dict[str, object]:
    """A test for promtool: no rule but those that are named fires."""
    return {
        "interval": interval,
        "input_series": [
            {"series": name, "values": values}
            for name, values in (HEALTHY | series).items() if values is not None
        ],
        "alert_rule_test": [
            {"eval_time": at, "alertname": rule.name,
             "exp_alerts": [expected(rule.name, fires[rule.name])] if rule.name in fires else []}
            for rule in RULES
        ],
    }  # fmt: skip


def expected(name: str, labels: dict[str, str]) -> dict[str, object]:
    """With its annotations, as Prometheus fills them in."""
    written = rules_file([rule for rule in RULES if rule.name == name]).partition("annotations:\n")[2]
    said = dict(re.findall(r"^ +(\w+): (\".*\")$", written, re.MULTILINE))
    filled = {
        key: re.sub(r"{{ \$labels\.(\w+) }}", lambda found: labels[found[1]], json.loads(text))
        for key, text in said.items()
    }
    return {"exp_labels": labels, "exp_annotations": filled}


def test_every_rule_has_a_case() -> None:
    assert set(CASES) == {rule.name for rule in RULES}


@needs("promtool")
def test_each_rule_fires_alone_and_none_when_all_is_well(tmp_path: Path) -> None:
    """A rule that never fires is a promise that nobody keeps; one that always does is noise."""
    tests = [of({}, "5h", {})]
    tests += [of(series, at, {name: labels}) for name, (series, at, labels) in CASES.items()]
    promtool(tmp_path, tests)


@needs("promtool")
def test_a_monitoring_that_has_not_run_for_thirty_hours_is_an_alert(tmp_path: Path) -> None:
    """No news must not read as good news."""
    late = {"PropensityMonitoringAway": {"severity": "page"}}
    series: dict[str, str | None] = {name: v.replace("400", "480") for name, v in HEALTHY.items()}
    promtool(tmp_path, [of(series, "29h", {}, "4m"), of(series, "31h", late, "4m")], "4m")


@needs("promtool")
def test_a_silenced_alert_and_one_that_waits_for_minutes_wake_nobody(tmp_path: Path) -> None:
    silenced = {'propensity_alerts{subject="orders",check="indicators",status="page"}': "0x400"}
    waits = {'propensity_alert_deliveries{sink="group",state="waiting"}': "1x60 0x300"}
    promtool(tmp_path, [of(silenced, "2h", {}), of(waits, "125m", {})])


def test_every_metric_that_a_rule_asks_of_is_written_by_the_service_or_by_a_run(tmp_path: Path) -> None:
    """A metric that was renamed would leave its rule silent for ever."""
    days = Days(tmp_path, '[[sinks]]\nname = "group"\nkind = "wecom"\nurl = "http://127.0.0.1:1/"\n')
    days.day(found(value=2.5))
    # In a process of its own: Feast, where a test before this one loaded it, has metrics go elsewhere.
    render = "from serving.metrics import Metrics; print(Metrics().render().decode())"
    environment = {k: v for k, v in os.environ.items() if k != "PROMETHEUS_MULTIPROC_DIR"}
    service = subprocess.run(
        [sys.executable, "-c", render], capture_output=True, text=True, check=True, env=environment
    )
    run = (days.settings.home / "monitoring" / "metrics.prom").read_text("utf-8")
    known = service.stdout + run
    families = set(re.findall(r"^# TYPE (\w+) ", known, re.MULTILINE))
    for rule in RULES:
        for name in re.findall(r"propensity_\w+", rule.expression):
            base = re.sub(r"_bucket$", "", name)
            assert {name, base, base.removesuffix("_total")} & families, (rule.name, name)


def test_where_alertmanager_is_told_directly_the_rules_leave_it_out(tmp_path: Path) -> None:
    """Else each alert comes twice."""
    both = Days(tmp_path / "a", '[[sinks]]\nname = "am"\nkind = "alertmanager"\nurl = "http://am:9093"\n')
    assert "alert: PropensityAlert\n" not in both.run("rules").output
    assert "alert: PropensityMonitoringAway\n" in both.run("rules").output
    assert "alert: PropensityAlert\n" in Days(tmp_path / "b").run("rules").output


def test_every_section_of_the_runbook_says_what_it_means_where_to_look_and_what_to_do() -> None:
    assert len(runbook.sections()) >= 15
    for name, section in runbook.sections().items():
        for word in ("**Means**", "**Look**", "**Do**", "**含义**", "**细查**", "**处理**"):
            assert word in section.text, (name, word)
    assert {check.name for check in CHECKS} <= set(runbook.sections()), "a check has no section"
    for rule in RULES:
        assert not rule.runbook or rule.runbook in runbook.sections()
    assert runbook.section("a shop's own").name == "any"


def test_every_command_of_the_runbook_and_the_rules_exists() -> None:
    """Who is woken at night types what stands there."""
    said = runbook.PATH.read_text("utf-8") + rules_file(RULES)
    commands = set(re.findall(r"`propensity ([a-z]+(?: [a-z]+)?)", said))
    assert len(commands) > 10
    for command in commands:
        first, *rest = command.split()
        found = main.commands.get(first)
        assert found is not None, command
        if isinstance(found, click.Group):
            assert rest, command
            assert rest[0] in found.commands, command


def test_a_section_is_printed_and_an_unknown_check_is_wrong_usage(tmp_path: Path) -> None:
    """Else: a typing error looks like an answer."""
    days = Days(tmp_path)
    printed = days.run("runbook", "freshness")
    assert printed.exit_code == 0
    assert runbook.section("freshness").text in printed.output
    wrong = days.run("runbook", "nosuch")
    assert wrong.exit_code == 2
    assert "freshness, indicators" in wrong.output

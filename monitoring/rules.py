"""Alert rules for Prometheus, over the service's metrics and what the daily run writes (`textfile`).

To add one, add it to RULES, and its cases to the tests, which promtool runs. Rules watch what a run of the
monitoring cannot say itself: that the service is away, and that no run comes.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from features.settings import Settings
from features.words import Words
from monitoring.episodes import Severity

HOUR = 3600
LATE = 30 * HOUR  # a daily run, and time to do it again
_ALERTS = "PropensityAlert"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule. holds: for so long before it fires. severity: None takes it from the series. runbook: the
    section to read; "" for what serving/OPERATING.md tells."""

    name: str
    expression: str
    holds: str
    severity: Severity | None
    words: Words
    action: Words
    runbook: str = ""


def rules(settings: Settings, alerts: bool = True) -> tuple[Rule, ...]:
    """All rules, with the limits of the settings. alerts: False leaves out those of the monitoring itself,
    where Alertmanager is told of them directly."""
    stale, gone = settings.stale_after.total_seconds(), settings.expire_after.total_seconds()
    found = (
        Rule(
            name="PropensityServiceAway",
            expression="absent(propensity_features_age_seconds)",
            holds="5m",
            severity="page",
            words=Words("No service answers the scrape", "服务指标无法采集"),
            action=Words("Look whether it runs, and at its log", "检查服务是否运行及其日志"),
        ),
        Rule(
            name="PropensityFeaturesStale",
            expression=f"{stale:.0f} <= max(propensity_features_age_seconds) < {gone:.0f}",
            holds="15m",
            severity="warning",
            words=Words("Answers are stale", "结果已标记为过期"),
            action=Words(
                "`propensity features build`; look why the nightly run failed",
                "运行 `propensity features build`，并查看夜间任务失败原因",
            ),
            runbook="freshness",
        ),
        Rule(
            name="PropensityFeaturesExpired",
            expression=f"max(propensity_features_age_seconds) >= {gone:.0f}",
            holds="5m",
            severity="page",
            words=Words("The features are too old: nobody is answered", "特征过旧，已停止回答"),
            action=Words("`propensity features build`", "运行 `propensity features build`"),
            runbook="freshness",
        ),
        Rule(
            name="PropensityErrors",
            expression="sum(rate(propensity_requests_total{status=~'5..'}[10m])) "
            "/ sum(rate(propensity_requests_total[10m])) > 0.01",
            holds="10m",
            severity="page",
            words=Words("More than 1 % of requests fail", "超过1%的请求失败"),
            action=Words(
                "503: look at features and stores; 500: the log names where",
                "503：检查特征与存储；500：日志中有位置",
            ),
        ),
        Rule(
            name="PropensitySlow",
            expression="histogram_quantile(0.99, sum by (le) "
            "(rate(propensity_request_seconds_bucket{route='/v1/decisions'}[10m]))) > 0.1",
            holds="15m",
            severity="warning",
            words=Words("A decision in a hundred takes more than 100 ms", "1%的决策耗时超过100毫秒"),
            action=Words(
                "More workers, or a rate for the client that asks most", "增加进程，或限制请求最多的客户端"
            ),
        ),
        Rule(
            name="PropensityReleaseRefused",
            expression="max by (model) (propensity_release_refused) == 1",
            holds="5m",
            severity="page",
            words=Words(
                "The version in force of {{ $labels.model }} does not answer, or is damaged on the disk",
                "{{ $labels.model }} 的当前版本无法使用，或磁盘上的文件已损坏",
            ),
            action=Words(
                "`/readyz` says why: promote it again, or `propensity rollback`",
                "原因见 `/readyz`：重新发布，或 `propensity rollback`",
            ),
        ),
        Rule(
            name="PropensityDecisionsRefused",
            expression="max(propensity_decisions_refused) == 1",
            holds="5m",
            severity="page",
            words=Words("No decision can be taken", "无法做出决策"),
            action=Words(
                "`/readyz` says why: free the disk, or start the ledger's server",
                "原因见 `/readyz`：清理磁盘，或启动台账数据库",
            ),
        ),
        Rule(
            name="PropensityEventsLag",
            expression="max(propensity_fresh_lag_seconds) > 60",
            holds="10m",
            severity="warning",
            words=Words(
                "Events wait for more than a minute until a score shows them", "事件超过一分钟未体现在评分中"
            ),
            action=Words("The service's log says why", "原因见服务日志"),
        ),
        Rule(
            name="PropensityMonitoringAway",
            expression=f"time() - max(propensity_monitoring_last_run_timestamp_seconds) > {LATE} "
            "or absent(propensity_monitoring_last_run_timestamp_seconds)",
            holds="30m",
            severity="page",
            words=Words(
                "The monitoring does not run: silence means nothing", "监控未运行，没有告警不代表正常"
            ),
            action=Words(
                "Look at the scheduler's log, and at `propensity monitor run`",
                "检查调度日志与 `propensity monitor run`",
            ),
        ),
        Rule(
            name="PropensityAlertsUndelivered",
            expression="sum by (sink) (propensity_alert_deliveries) > 0",
            holds="2h",
            severity="page",
            words=Words("Alerts do not reach {{ $labels.sink }}", "告警无法送达 {{ $labels.sink }}"),
            action=Words(
                "`propensity monitor alerts` says why; then `propensity monitor send --dead`",
                "原因见 `propensity monitor alerts`，修复后运行 `propensity monitor send --dead`",
            ),
        ),
        Rule(
            name=_ALERTS,
            expression="propensity_alerts == 1",
            holds="0m",
            severity=None,
            words=Words(
                "{{ $labels.subject }}: {{ $labels.check }}", "{{ $labels.subject }}：{{ $labels.check }}"
            ),
            action=Words(
                "`propensity monitor alerts`, and the report of the run",
                "`propensity monitor alerts`，以及当次报告",
            ),
            runbook="any",
        ),
    )
    return tuple(rule for rule in found if alerts or rule.name != _ALERTS)


def rules_file(given: Iterable[Rule]) -> str:
    """The file that Prometheus reads (`rule_files`), in both languages."""
    lines = ["groups:", "  - name: propensity", "    rules:"]
    for rule in given:
        severity = rule.severity or "{{ $labels.status }}"
        lines += [
            f"      - alert: {rule.name}",
            f"        expr: {_quoted(rule.expression)}",
            f"        for: {rule.holds}",
            "        labels:",
            f"          severity: {_quoted(severity)}",
            "        annotations:",
        ]
        runbook = f"propensity monitor runbook {rule.runbook}" if rule.runbook else "serving/OPERATING.md"
        said = {
            "summary": rule.words.en, "summary_zh": rule.words.zh, "action": rule.action.en,
            "action_zh": rule.action.zh, "runbook": runbook,
        }  # fmt: skip
        lines += [f"          {name}: {_quoted(text)}" for name, text in said.items()]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a quoted text of JSON is one of YAML

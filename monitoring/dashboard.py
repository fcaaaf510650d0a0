"""The dashboard for Grafana: the service, by what `/metrics` gives; the monitoring, by its textfile.

To add a panel, add it to SERVICE or MONITORING. Each is asked of a live Prometheus in the tests, so none
stays empty because a metric was renamed. The data source is asked for when the dashboard is imported.
"""

from dataclasses import dataclass
from typing import Any, Literal

from features.words import Words
from monitoring.rules import LATE

Language = Literal["en", "zh"]
UID = "propensity-service"
_WIDTH, _HEIGHT = 24, 8  # of all panels side by side, and of one
_RATE = "[$__rate_interval]"
# 0 while the monitoring runs: what it says nothing of is nothing, and a panel of it is not empty.
_NONE = "0 * max(propensity_monitoring_last_run_timestamp_seconds)"


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One panel. meaning: what to read from it, and what to do. queries: legend -> PromQL. unit: Grafana's.

    above: from which value on it is drawn red.
    """

    words: Words
    meaning: Words
    queries: dict[str, str]
    unit: str
    above: float | None = None


SERVICE: tuple[Panel, ...] = (
    Panel(
        words=Words("Requests a second", "每秒请求数"),
        meaning=Words(
            "By route. A route that stops is a journey that stopped asking.",
            "按路由统计。某路由归零，说明对应的旅程已停止调用。",
        ),
        queries={"{{route}}": f"sum by (route) (rate(propensity_requests_total{_RATE}))"},
        unit="reqps",
    ),
    Panel(
        words=Words("Requests refused or failed", "被拒绝或失败的请求占比"),
        meaning=Words(
            "Of all. 429: too much is asked; 401, 403: a key; 503: look at features and stores; "
            "500: a fault, the log names where.",
            "4xx与5xx占比。429：请求过多；401、403：密钥问题；503：检查特征与存储；500：程序故障，日志中有位置。",
        ),
        queries={
            "{{status}}": f"sum by (status) (rate(propensity_requests_total{{status!~'2..'}}{_RATE})) "
            f"/ ignoring (status) group_left sum (rate(propensity_requests_total{_RATE}))"
        },
        unit="percentunit",
        above=0.01,
    ),
    Panel(
        words=Words("Time to answer", "响应时间"),
        meaning=Words(
            "Half of the requests, and all but one in a hundred, were answered within this.",
            "半数请求、以及99%的请求在此时间内得到响应。",
        ),
        queries={
            f"p{p} {{{{route}}}}": f"histogram_quantile({p / 100}, sum by (route, le) "
            f"(rate(propensity_request_seconds_bucket{_RATE})))"
            for p in (50, 99)
        },
        unit="s",
        above=0.1,
    ),
    Panel(
        words=Words("Requests by client", "各客户端请求数"),
        meaning=Words(
            "A client that rises without a reason has a loop, or its key is in other hands.",
            "某客户端无故上升，可能存在死循环，或密钥已泄露。",
        ),
        queries={"{{client}}": f"sum by (client) (rate(propensity_requests_total{_RATE}))"},
        unit="reqps",
    ),
    Panel(
        words=Words("Age of the features", "特征数据时长"),
        meaning=Words(
            "Answers are `stale` from 36 hours on, and refused from 14 days on: run `features build`.",
            "超过36小时的结果标记为过期，超过14天则拒绝回答：请运行 `features build`。",
        ),
        queries={"": "max(propensity_features_age_seconds)"},
        unit="s",
        above=36 * 3600,
    ),
    Panel(
        words=Words("Events that no score shows yet", "尚未体现在评分中的事件"),
        meaning=Words(
            "Age of the oldest. More than seconds: what keeps rows fresh is behind; the log says why.",
            "最早一条的等待时间。超过数秒说明刷新进程落后，原因见日志。",
        ),
        queries={"": "max(propensity_fresh_lag_seconds)"},
        unit="s",
        above=5,
    ),
    Panel(
        words=Words("Releases that do not answer", "未能启用的模型版本"),
        meaning=Words(
            "1: the version in force is refused, and the one before it or none answers. `/readyz` says why.",
            "为1表示当前版本被拒绝，由前一版本回答或无法回答。原因见 `/readyz`。",
        ),
        queries={"{{model}}": "max by (model) (propensity_release_refused)"},
        unit="none",
        above=0.5,
    ),
    Panel(
        words=Words("Decisions cannot be taken", "无法做出决策"),
        meaning=Words(
            "1: the ledger cannot be used, and every decision is refused. `/readyz` says why.",
            "为1表示决策台账不可用，所有决策均被拒绝。原因见 `/readyz`。",
        ),
        queries={"": "max(propensity_decisions_refused)"},
        unit="none",
        above=0.5,
    ),
    Panel(
        words=Words("Pushes that were given up", "已放弃的推送"),
        meaning=Words(
            "By hook: it took none of the tries. `propensity pushes list --dead` says why.",
            "按接收端统计，全部重试均失败。原因见 `propensity pushes list --dead`。",
        ),
        queries={"{{client}}": "max by (client) (propensity_pushes_dead) or vector(0)"},
        unit="none",
        above=0.5,
    ),
    Panel(
        words=Words("Customers asked about", "查询的客户数"),
        meaning=Words(
            "By outcome: scored, or why not. Many unknown: another system's ids, or features not built.",
            "按结果统计：已评分或未评分原因。未知客户过多：编号来自其他系统，或特征未更新。",
        ),
        queries={"{{outcome}}": f"sum by (outcome) (rate(propensity_customers_total{_RATE}))"},
        unit="cps",
    ),
    Panel(
        words=Words("Decisions by action", "各动作的决策数"),
        meaning=Words(
            "Recorded ones. Only `nothing`: a budget, a cap, a pause or consent keeps the rest back.",
            "仅含已记录的决策。若只有 `nothing`，说明预算、频次上限、暂停或授权限制了其他动作。",
        ),
        queries={
            "{{action}}": f"sum by (action) (rate(propensity_decisions_total{{preview='false'}}{_RATE}))"
        },
        unit="cps",
    ),
    Panel(
        words=Words("What was told", "上报的事件与结果"),
        meaning=Words(
            "Events, deliveries and outcomes, by what became of them. Callers are told of each refused one.",
            "事件、触达与结果的处理情况。被拒绝的条目会向调用方指明位置。",
        ),
        queries={
            "events {{outcome}}": f"sum by (outcome) (rate(propensity_events_total{_RATE}))",
            "{{route}} {{outcome}}": f"sum by (route, outcome) (rate(propensity_reports_total{_RATE}))",
        },
        unit="cps",
    ),
)

MONITORING: tuple[Panel, ...] = (
    Panel(
        words=Words("Alerts that are on", "进行中的告警"),
        meaning=Words(
            "By severity, without the silenced ones. `propensity monitor alerts` names them, and who acts.",
            "按级别统计，不含已静默的。`propensity monitor alerts` 列出各项及负责人。",
        ),
        queries={
            severity: f"sum(propensity_alerts{{status='{severity}'}}) or {_NONE}"
            for severity in ("page", "warning")
        },
        unit="none",
        above=0.5,
    ),
    Panel(
        words=Words("Time since the monitoring ran", "距上次监控运行的时间"),
        meaning=Words(
            "Above the line no alert means nothing: look at the scheduler, and at `propensity monitor run`.",
            "超过红线时，没有告警不代表正常：请检查调度与 `propensity monitor run`。",
        ),
        queries={"": "time() - max(propensity_monitoring_last_run_timestamp_seconds)"},
        unit="s",
        above=LATE,
    ),
    Panel(
        words=Words("Messages that did not arrive", "未送达的消息"),
        meaning=Words(
            "By sink: waiting for another try, or dead, which is given up. `propensity monitor alerts` says "
            "why; then `propensity monitor send --dead`.",
            "按接收端统计：waiting为等待重试，dead为已放弃。原因见 `propensity monitor alerts`，"
            "修复后运行 `propensity monitor send --dead`。",
        ),
        queries={
            "{{sink}} {{state}}": "sum by (sink, state) (propensity_alert_deliveries) or on () " + _NONE,
        },
        unit="none",
        above=0.5,
    ),
)
# A title, how many stand side by side, and they.
ROWS: tuple[tuple[Words, int, tuple[Panel, ...]], ...] = (
    (Words("The service", "服务"), 2, SERVICE),
    (Words("The monitoring", "监控"), 3, MONITORING),
)


def dashboard(language: Language = "en") -> dict[str, Any]:
    """The dashboard as Grafana imports it, ready for JSON."""
    shown: list[dict[str, Any]] = []
    top = 0
    for title, across, panels in ROWS:
        shown.append(_titled(title, top, language))
        width = _WIDTH // across
        for place, panel in enumerate(panels):
            at = {
                "x": place % across * width,
                "y": top + 1 + place // across * _HEIGHT,
                "w": width,
                "h": _HEIGHT,
            }
            shown.append(_panel(panel, at, language))
        top = shown[-1]["gridPos"]["y"] + _HEIGHT
    return {
        "__inputs": [
            {"name": "DS_PROMETHEUS", "label": "Prometheus", "type": "datasource", "pluginId": "prometheus"}
        ],
        "uid": f"{UID}-{language}",
        "title": {"en": "Propensity: service and monitoring", "zh": "Propensity：服务与监控"}[language],
        "tags": ["propensity"],
        "timezone": "browser",
        "refresh": "30s",
        "schemaVersion": 39,
        "time": {"from": "now-6h", "to": "now"},
        "panels": [{"id": number, **one} for number, one in enumerate(shown, 1)],
    }


def _titled(title: Words, top: int, language: Language) -> dict[str, Any]:
    """The line above a row's panels."""
    place = {"x": 0, "y": top, "w": _WIDTH, "h": 1}
    return {
        "type": "row", "title": getattr(title, language), "gridPos": place, "collapsed": False, "panels": [],
    }  # fmt: skip


def _panel(panel: Panel, place: dict[str, int], language: Language) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${DS_PROMETHEUS}"}
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.above is not None:
        steps.append({"color": "red", "value": panel.above})
    return {
        "type": "timeseries",
        "title": getattr(panel.words, language),
        "description": getattr(panel.meaning, language),
        "datasource": source,
        "gridPos": place,
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "min": 0,
                "thresholds": {"mode": "absolute", "steps": steps},
                "custom": {"thresholdsStyle": {"mode": "line" if panel.above is not None else "off"}},
            },
            "overrides": [],
        },
        "targets": [
            {"refId": chr(ord("A") + n), "datasource": source, "expr": query, "legendFormat": legend}
            for n, (legend, query) in enumerate(panel.queries.items())
        ],
    }

"""The service's dashboard for Grafana, from the metrics that `/metrics` gives.

To add a panel, add it to PANELS. Each is asked of a live Prometheus in the tests, so none stays empty because
a metric was renamed. The data source is asked for when the dashboard is imported.
"""

from dataclasses import dataclass
from typing import Any, Literal

from features.words import Words

Language = Literal["en", "zh"]
UID = "propensity-service"
_WIDTH, _HEIGHT = 12, 8  # of a panel; a row is 24 wide
_RATE = "[$__rate_interval]"


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


PANELS: tuple[Panel, ...] = (
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


def dashboard(language: Language = "en") -> dict[str, Any]:
    """The dashboard as Grafana imports it, ready for JSON."""
    return {
        "__inputs": [
            {"name": "DS_PROMETHEUS", "label": "Prometheus", "type": "datasource", "pluginId": "prometheus"}
        ],
        "uid": f"{UID}-{language}",
        "title": {"en": "Propensity: the service", "zh": "Propensity：服务"}[language],
        "tags": ["propensity"],
        "timezone": "browser",
        "refresh": "30s",
        "schemaVersion": 39,
        "time": {"from": "now-6h", "to": "now"},
        "panels": [_panel(panel, place, language) for place, panel in enumerate(PANELS)],
    }


def _panel(panel: Panel, place: int, language: Language) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${DS_PROMETHEUS}"}
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.above is not None:
        steps.append({"color": "red", "value": panel.above})
    return {
        "id": place + 1,
        "type": "timeseries",
        "title": getattr(panel.words, language),
        "description": getattr(panel.meaning, language),
        "datasource": source,
        "gridPos": {"x": place % 2 * _WIDTH, "y": place // 2 * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
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

"""Who is told of an alert, and where: what a shop's shop.toml declares of it.

[monitoring]
remind_days = 7                      # a page that goes on is told again after so many days
keep_days = 30                       # older reports are removed by the run, but those of what is still on
keep_drawn_days = 14                 # and of these, Evidently's page, of megabytes, sooner
ended = ["surveys"]                  # tables that bring nothing any more, as is meant: no source stopped
source = "https://shop.example.com"  # `source` of the events; /propensity/<shop> without it
reports = "https://ops.example.com/reports"  # where home/reports is served, if it is
runbook = "https://ops.example.com/runbook"  # where RUNBOOK.md is, if not in the package

[monitoring.owners.data]             # data, models, operations: who acts on what
name = "Data team"
email = ["data@shop.example.com"]    # whom an e-mail goes to; else to the sink's `to`
wecom = ["zhang.wei"]                # ids that the group robot mentions

[monitoring.escalation]              # whom a page goes to that nobody acknowledged
name = "Head of CRM"
after_hours = 24

[monitoring.days]                    # a check that is told only when bad on so many of so many days
joint = [2, 3]

[[sinks]]                            # its key, token or password: PROPENSITY_SINK_<NAME>, never here
name = "group"
kind = "wecom"                       # webhook, alertmanager, wecom or mail: a module each in monitoring/sinks
language = "zh"                      # zh, en or both
least = "warning"                    # page: warnings are not sent
owners = ["data", "models"]          # whose alerts; `escalation` is one; without it, all
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import get_args
from urllib.parse import quote

from features.errors import SettingsError
from features.settings import SINK
from features.shop import Shop
from features.tables import TABLES
from features.toml import NAME, Entry
from monitoring.findings import Owner
from monitoring.sinks import KINDS, Sink
from monitoring.sinks.letters import Party

OWNERS: tuple[str, ...] = get_args(Owner)
ESCALATION = "escalation"


@dataclass(frozen=True)
class Routes:
    """All that shop.toml declares of alerts.

    parties: owner -> who that is, for every owner, and for `escalation` if that is declared; escalate_hours:
    until then a page is acknowledged. keep_days: how old reports get; keep_drawn_days: Evidently's pages
    beside them. ended: tables that bring nothing any more, as is meant. days: check -> (bad, of so many days)
    until it is told; at once else. zone: the shop's, in which times are told.
    """

    shop: str
    source: str
    parties: Mapping[str, Party]
    sinks: Mapping[str, Sink]
    remind_days: float = 7
    escalate_hours: float = 24
    days: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    reports: str = ""
    keep_days: float = 30
    keep_drawn_days: float = 14
    ended: frozenset[str] = frozenset()
    runbook: str = ""
    zone: tzinfo = UTC

    @property
    def escalates(self) -> bool:
        """Whether there is somebody to escalate to."""
        return ESCALATION in self.parties


def unmentioned(routes: Routes) -> list[str]:
    """Of each group robot whose messages for somebody mention nobody: what to declare."""
    found = []
    for sink in (one for one in routes.sinks.values() if one.kind == "wecom"):
        lacking = [one for one in sink.owners if one in routes.parties and not routes.parties[one].wecom]
        if lacking:
            tables = [
                f"[monitoring.{ESCALATION}]" if one == ESCALATION else f"[monitoring.owners.{one}]"
                for one in lacking
            ]
            found.append(
                f"sink {sink.name} mentions nobody for {', '.join(lacking)}, and a group that is muted shows "
                f'nothing: give wecom = ["an id"] in {", ".join(tables)} of shop.toml'
            )
    return found


def declared(shop: Shop) -> Routes:
    """What a shop declares. SettingsError says what is wrong in it, and where."""
    where = f"{shop.folder / 'shop.toml'}:"
    top = Entry(f"{where} monitoring", shop.monitoring)
    owners = top.entry("owners", {})
    parties = {
        owner: _party(owners.entry(owner)) if owner in owners.raw else Party(owner) for owner in OWNERS
    }
    owners.taken.update(OWNERS)
    owners.close()
    hours = 24.0
    if ESCALATION in top.raw:
        entry = top.entry(ESCALATION)
        hours = _positive(entry, "after_hours", 24)
        parties[ESCALATION] = _party(entry)
    days = top.entry("days", {})
    found = Routes(
        shop=shop.name,
        source=top.take("source", "text", "") or f"/propensity/{quote(shop.name)}",
        parties=parties,
        sinks=_sinks(where, shop),
        remind_days=_positive(top, "remind_days", 7),
        escalate_hours=hours,
        days={check: _days(days, check) for check in days.raw},
        keep_days=_positive(top, "keep_days", 30),
        keep_drawn_days=_positive(top, "keep_drawn_days", 14),
        ended=_ended(top),
        reports=top.take("reports", "text", "").rstrip("/"),
        runbook=top.take("runbook", "text", ""),
        zone=shop.zone,
    )
    top.taken.add(ESCALATION)
    top.close()
    return found


def _party(entry: Entry) -> Party:
    party = Party(
        entry.take("name", "text"), entry.take("email", "texts", ()), entry.take("wecom", "texts", ())
    )
    entry.close()
    if not all("@" in one and not any(c in one for c in ",\r\n") for one in party.email):
        raise entry.error("email", "addresses such as data@shop.example.com, each a text of its own")
    return party


def _positive(entry: Entry, key: str, default: float) -> float:
    value = float(entry.take(key, "number", default))
    if not 0 < value < float("inf"):
        raise entry.error(key, "a number above 0")
    return value


def _ended(entry: Entry) -> frozenset[str]:
    named = entry.take("ended", "texts", ())
    if not {*TABLES} >= {*named}:
        raise entry.error("ended", f"of the log's tables: {', '.join(TABLES)}")
    return frozenset(named)


def _days(entry: Entry, check: str) -> tuple[int, int]:
    entry.taken.add(check)
    match entry.raw[check]:
        case [int(bad), int(of)] if 1 <= bad <= of <= 31:
            return bad, of
    raise entry.error(check, "[bad days, of so many], such as [2, 3]")


def _sinks(where: str, shop: Shop) -> dict[str, Sink]:
    sinks: dict[str, Sink] = {}
    for place, raw in enumerate(shop.sinks, start=1):
        entry = Entry(f"{where} sinks[{place}]", raw)
        name, kind = entry.take("name", "text"), entry.take("kind", "text", choices=KINDS)
        if not NAME.fullmatch(name):
            raise entry.error("name", f"small letters, digits and _: its secret is in {SINK}<NAME>")
        if name in sinks:
            raise entry.error("name", "another name than that of the sinks before")
        wants = tuple(entry.take("owners", "texts", (*OWNERS, ESCALATION)))
        for owner in wants:
            if owner not in (*OWNERS, ESCALATION):
                raise entry.error("owners", f"of {', '.join((*OWNERS, ESCALATION))}")
        sinks[name] = Sink(
            name=name,
            kind=kind,
            least=entry.take("least", "text", "warning", ("warning", "page")),
            language=entry.take("language", "text", "both", ("en", "zh", "both")),
            owners=wants,
            channel=KINDS[kind](entry),
        )
        for key in entry.raw:
            if re.search("secret|token|password|key", key) and key not in entry.taken:
                raise SettingsError(
                    f"{entry.name(key)}: a secret has no place in a file: take it out, and set "
                    f"{SINK}{name.upper()} in the environment"
                )
        entry.close()
    return sinks

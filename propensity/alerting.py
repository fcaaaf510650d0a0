"""What `propensity monitor silence`, `ack`, `alerts`, `send` and `rules` do and show."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime

from rich.text import Text

from features.describe.sheets import Cell, Sheet
from features.errors import UsageError
from features.moments import iso
from features.settings import Settings
from features.shop import shop_of
from features.words import Words
from monitoring import alerts, delivery, operators, routes
from monitoring.alert_store import AlertStore, Kept
from monitoring.delivery import Standing
from monitoring.messages import SEVERITIES
from propensity.sheets import show
from propensity.tables import console, say, table
from serving import audit

_HEAD = (
    Words("alert", "告警"), Words("is", "状态"), Words("as", "级别"), Words("since", "起始"),
    Words("what", "情况"), Words("whom", "负责"), Words("", ""),
)  # fmt: skip
_STATES = {
    "pending": Words("pending", "观察中"),
    "firing": Words("on", "进行中"),
    "resolved": Words("over", "已恢复"),
}


def list_alerts(settings: Settings, everything: bool, dead: bool, language: str) -> int:
    """What is on, who acts on it, and how the sinks stand; or every message that was given up.

    The exit code: 4 if a page is on, 3 for a warning or a message that did not arrive; silenced ones aside.
    """
    declared = routes.declared(shop_of(settings))
    with closing(AlertStore(settings)) as store:
        if dead:
            return _list_dead(store)
        found = store.everything() if everything else store.current()
        silences = [one for one in store.silences() if one.holds(settings.now())]
        sinks = delivery.standings(store, declared)
    rows: list[tuple[Cell, ...]] = []
    said: list[str] = []
    for kept in found:
        if kept.episode.state == "resolved" and not everything:
            continue
        covered = [one for one in silences if one.covers(kept.episode.fingerprint, settings.now())]
        if kept.episode.state == "firing" and not covered:
            said.append(kept.episode.severity)
        rows.append(_row(kept, declared, [one.number for one in covered], language))
    nothing = Words("nothing is on", "没有进行中的告警")
    if rows:
        show(Sheet(Words("Alerts", "告警"), _HEAD, tuple(rows)), language, under=(4, 6))
    else:
        say(_tell(nothing, language))
    for one in sinks:
        say(f"{one.sink}: {_tell(_standing(one), language)}")
    waits = any(one.waiting or one.dead for one in sinks)
    return 4 if "page" in said else 3 if said or waits else 0


def _row(kept: Kept, declared: routes.Routes, silences: list[int], language: str) -> tuple[Cell, ...]:
    one = kept.episode
    zh = language == "zh"
    note = f"已认领：{one.ack.by}" if one.ack and zh else f"acknowledged by {one.ack.by}" if one.ack else ""
    if silences:
        note = "; ".join(filter(None, (note, f"静默{silences[0]}" if zh else f"silence {silences[0]}")))
    return (
        one.fingerprint, _tell(_STATES[one.state], language),
        _tell(SEVERITIES[one.peak if one.state == "resolved" else one.severity], language),
        f"{one.since}", _tell(one.finding.said, language), declared.parties[one.finding.owner].name, note,
    )  # fmt: skip


def _standing(one: Standing) -> Words:
    en = f"{one.delivered} delivered, {one.waiting} waiting, {one.dead} dead"
    zh = f"已送达{one.delivered}，等待{one.waiting}，失败存档{one.dead}"
    if not one.declared:
        en, zh = f"{en}; declared no more", f"{zh}；已不再声明"
    if one.why and (one.waiting or one.dead):
        en, zh = f"{en}; last: {one.why}", f"{zh}；最近一次：{one.why}"
    if one.again is not None:
        moment = iso(one.again)[:19] + "Z"
        en, zh = f"{en}; not tried again before {moment}", f"{zh}；{moment}后才会重试"
    return Words(en, zh)


def _list_dead(store: AlertStore) -> int:
    found = delivery.dead(store)
    if not found:
        say("nothing is dead")
        return 0
    shown = table("Dead", "written", "sink", "message", "what", "tries", "why", right=("tries",))
    for one in found:
        cells = (iso(one.written)[:19] + "Z", one.sink, one.id, one.title, f"{one.tries}", one.why)
        shown.add_row(*map(Text, cells))  # a title begins with [PAGE]
    console().print(shown)
    say("`propensity monitor send --dead` sends them again")
    return 3


def send(settings: Settings, dead: bool, language: str) -> int:
    """Send what waits, remind and escalate; the exit code: 3 if something still waits or is dead."""
    if not routes.declared(shop_of(settings)).sinks:
        raise UsageError(f"{settings.shop / 'shop.toml'} declares no [[sinks]]: name and kind of each")
    if dead:
        with closing(AlertStore(settings)) as store:
            number = delivery.revive(store)
        audit.record(settings, audit.HERE, "monitor send --dead", outcomes={"messages": number})
    taken = alerts.resume(settings, settings.now())
    for one in taken.sinks:
        say(f"{one.sink}: {_tell(_standing(one), language)}")
    return 3 if any(one.waiting or one.dead for one in taken.sinks) else 0


def acknowledge(settings: Settings, what: str, by: str, note: str) -> None:
    """Say who acts, and on what."""
    found = operators.acknowledge(settings, what, _given(by, "--by"), note)
    audit.record(settings, audit.HERE, f"monitor ack {what}", outcomes={"alerts": len(found)})
    for one in found:
        say(f"{one.fingerprint}: acknowledged by {by}; it escalates no further unless it gets worse")


def silence(settings: Settings, what: str, until: datetime, reason: str, by: str, anyway: bool) -> None:
    """Silence, and say what that covers now."""
    by, reason = _given(by, "--by"), _given(reason, "--reason")
    number, found = operators.silence(settings, what, until, reason, by, anyway)
    audit.record(settings, audit.HERE, f"monitor silence {what}", outcomes={"alerts": len(found)})
    now = ", ".join(one.fingerprint for one in found) or "nothing that is on now"
    say(f"silence {number} of {what} until {iso(until)}; it covers {now}")


def end_silence(settings: Settings, number: int) -> None:
    """Take a silence back."""
    ended = operators.end_silence(settings, number)
    audit.record(settings, audit.HERE, f"monitor silence --end {number}")
    say(f"silence {number} of {ended.what} is over: what is on is told with the next run")


def list_silences(settings: Settings, everything: bool) -> None:
    """Those that hold; or all that ever were."""
    with closing(AlertStore(settings)) as store:
        found = [one for one in store.silences() if everything or one.holds(settings.now())]
    if not found:
        say("nothing is silenced")
        return
    shown = table("Silences", "number", "what", "until", "reason", "by", "since", "ended")
    for one in found:
        ended = "" if one.ended is None else iso(one.ended)
        cells = (f"{one.number}", one.what, iso(one.until), one.reason, one.by, iso(one.made), ended)
        shown.add_row(*map(Text, cells))
    console().print(shown)


def rules(settings: Settings) -> str:
    """The rules file of this shop."""
    from monitoring.rules import rules, rules_file

    sinks = routes.declared(shop_of(settings)).sinks.values()
    return rules_file(rules(settings, alerts=not any(one.channel.state for one in sinks)))


def _given(text: str, option: str) -> str:
    if not text.strip():
        raise UsageError(f"{option} is empty: others will want to know")
    return text.strip()


def _tell(words: Words, language: str) -> str:
    return words.zh if language == "zh" else words.en

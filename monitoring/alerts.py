"""From a run's findings to messages: what is new is told once, to whoever acts; all else is silence.

    taken = alerts.take(settings, findings, moment, report="reports/20180101T000000Z/report.html")

The moment is that of the run, `settings.now()`, not that of the published snapshot: when data stop to come,
the days go on. Another run of the same moment (a correction, a new check) tells what was not told, and
nothing twice; one of an earlier moment is not taken: a replay over the past needs a home of its own. What
was written goes to the sinks at once, and what did not arrive with the next run, or with
`propensity monitor send`.
"""

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path

import msgspec

from features.moments import iso
from features.settings import Settings
from features.shop import Shop, shop_of
from features.words import Words
from monitoring import delivery, telling, textfile
from monitoring.alert_store import AlertStore, Kept, Message
from monitoring.delivery import Standing
from monitoring.episodes import Episode, News, advance, follows, having_told, joining, to_tell
from monitoring.findings import STATUSES, Finding
from monitoring.routes import Routes, declared
from monitoring.silences import Silence

_JSON = msgspec.json.Encoder(order="sorted")


@dataclass(frozen=True)
class Taken:
    """What became of a run. taken: False if one of a later moment was before; words: in a line or two.
    messages: that were written. firing: all alerts that fire. silenced: fingerprints of those that nobody is
    told of."""

    moment: datetime
    taken: bool
    words: Words
    messages: tuple[Message, ...]
    firing: tuple[Episode, ...]
    silenced: frozenset[str]
    sinks: tuple[Standing, ...]


def take(
    settings: Settings,
    findings: Iterable[Finding],
    moment: datetime,
    report: str | Path = "",
    send: bool = True,
) -> Taken:
    """Take over what a run found, write what is new for the sinks, and send what waits.

    report: the run's page, told as it is, or under the address that serves home/reports. send: False leaves
    what is written to the next run. SettingsError if [monitoring] or [[sinks]] cannot be read, before
    anything is taken; MonitoringError if the state cannot be written. A sink that fails raises nothing.
    """
    shop = shop_of(settings)
    routes = declared(shop)
    with closing(AlertStore(settings)) as store:
        with store.writing():
            last = store.last()
            before = last.moment if last else None
            messages = list[Message]()
            if before is None or moment >= before:
                messages = _run(store, routes, shop, _each(findings), moment, str(report))
                store.taken(moment, str(report))
        return _finish(settings, store, routes, moment, before, messages, send)


def resume(settings: Settings, moment: datetime) -> Taken:
    """Send what waits, remind and escalate, without a run: for a scheduler, every few minutes."""
    routes = declared(shop_of(settings))
    with closing(AlertStore(settings)) as store:
        with store.writing():
            last = store.last()
            new = last is not None and moment > last.moment
            page = last.report if last else ""
            messages = _tell(store, routes, store.current(), moment, page, ran=False) if new else []
        return _finish(settings, store, routes, moment, last.moment if last else None, messages, True)


def _each(findings: Iterable[Finding]) -> dict[str, Finding]:
    """Fingerprint -> its worst finding."""
    found: dict[str, Finding] = {}
    for one in findings:
        other = found.get(one.fingerprint)
        if other is None or STATUSES.index(one.status) > STATUSES.index(other.status):
            found[one.fingerprint] = one
    return found


def _run(
    store: AlertStore, routes: Routes, shop: Shop, findings: dict[str, Finding], moment: datetime, report: str
) -> list[Message]:
    """Every alert one run further, and what is to be told of it."""
    day = moment.astimezone(shop.zone).date()
    current, over = dict[str, Kept](), list[Kept]()
    for kept in store.current():
        if kept.episode.state == "resolved":
            over.append(kept)
        else:
            current[kept.episode.fingerprint] = kept
    after = [*over]
    for fingerprint in dict.fromkeys((*current, *findings)):
        before = current.get(fingerprint)
        now = _advanced(routes, before, findings.get(fingerprint), moment, day)
        if now is None:
            if before is not None:
                store.drop(before)
            continue
        ended = now.state == "resolved"
        after.append(
            Kept(before.number if before else None, now, before.shown if before else "",
                 untold=ended and now.told is not None)
        )  # fmt: skip
    messages = _tell(store, routes, after, moment, report, ran=True)
    store.forget(moment)
    return messages


def _advanced(
    routes: Routes, before: Kept | None, finding: Finding | None, moment: datetime, day: date
) -> Episode | None:
    check = finding.check if finding else before.episode.finding.check if before else ""
    wants = routes.days.get(check, (1, 1))
    return advance(before.episode if before else None, finding, moment, day, wants)


def _tell(
    store: AlertStore, routes: Routes, kept: Sequence[Kept], moment: datetime, report: str, ran: bool
) -> list[Message]:
    """Write every alert as it is now, with the messages that say what is new; those messages."""
    report = telling.link(routes, report)
    silences = [one for one in store.silences() if one.holds(moment)]
    silenced = _silenced((one.episode for one in kept), silences, moment)
    remind = timedelta(days=routes.remind_days)
    escalate = timedelta(hours=routes.escalate_hours) if routes.escalates else None
    news: list[tuple[Episode, News]] = []
    after: list[Kept] = []
    faults = _faults(one.episode for one in kept if one.episode.fingerprint not in silenced)
    for one in kept:
        hushed = one.episode.fingerprint in silenced
        told = to_tell(one.episode, moment, hushed, remind, escalate)
        episode = having_told(one.episode, told, moment, hushed)
        fault = faults.get(episode.topic)
        if told == ("firing",) and fault and follows(episode, fault):
            episode, told = joining(episode, fault), ()
        after.append(replace(one, episode=episode))
        news += [(episode, what) for what in told]
    going_on = {one.episode.topic for one in after if one.episode.state == "firing" and one.episode.told}
    for place, one in enumerate(after):
        if one.untold and one.episode.topic not in going_on:  # the fault is over, not a part of it alone
            news.append((one.episode, "closed" if one.episode.unjudged else "resolved"))
            after[place] = replace(one, untold=False)
    written = []
    for said in telling.compose(routes, [one.episode for one in after], news, moment, report):
        message = telling.message(routes, said, store.next_sequence())
        if store.write(message):
            written.append(message)
    for one in _shown(store, routes, after, silenced, moment, report, ran):
        store.keep(one)
    return written


def _faults(episodes: Iterable[Episode]) -> dict[str, Episode]:
    """Topic -> the most urgent fault of a table that was told, and goes on."""
    told = [one for one in episodes if one.state == "firing" and one.told and one.finding.of == "table"]
    return {one.topic: one for one in sorted(told, key=lambda one: one.told_as == "page")}


def _shown(
    store: AlertStore,
    routes: Routes,
    kept: Sequence[Kept],
    silenced: frozenset[str],
    moment: datetime,
    report: str,
    ran: bool,
) -> list[Kept]:
    """The alerts with the labels under which they are shown from now on, and the state that says so: after
    every run, so that what fires goes on, and whenever it changed."""
    if not any(sink.channel.state for sink in routes.sinks.values()):
        return list(kept)
    firing, ended, after = [], [], []
    changed = ran
    for one in kept:
        fires = one.episode.state == "firing" and one.episode.fingerprint not in silenced
        labels = telling.labels(routes, one.episode)
        shown = _JSON.encode(labels).decode() if fires else ""
        if one.shown and one.shown != shown:
            ended.append((one.episode, msgspec.json.decode(one.shown, type=dict[str, str])))
        if fires:
            firing.append((one.episode, labels))
        changed |= one.shown != shown
        after.append(replace(one, shown=shown))
    if changed and (firing or ended):
        store.write(telling.state_message(routes, firing, ended, moment, store.next_sequence(), report))
    return after


def _silenced(episodes: Iterable[Episode], silences: Sequence[Silence], moment: datetime) -> frozenset[str]:
    return frozenset(
        one.fingerprint for one in episodes if any(s.covers(one.fingerprint, moment) for s in silences)
    )


def _finish(
    settings: Settings,
    store: AlertStore,
    routes: Routes,
    moment: datetime,
    before: datetime | None,
    messages: Sequence[Message],
    send: bool,
) -> Taken:
    """Send, and say how it all stands. before: the moment of the run before this one."""
    if send:
        delivery.send(settings, routes)
    last = store.last()
    firing = [one.episode for one in store.current() if one.episode.state == "firing"]
    firing.sort(key=telling.order)
    silenced = _silenced(firing, store.silences(), moment)
    sinks = delivery.standings(store, routes)
    if last is not None:
        textfile.write(settings, last, [(one, one.fingerprint in silenced) for one in firing], sinks)
    words = _words(moment, before, firing, silenced, messages, sinks)
    return Taken(
        moment,
        before is None or moment >= before,
        words,
        tuple(messages),
        tuple(firing),
        silenced,
        tuple(sinks),
    )


def _words(
    moment: datetime,
    before: datetime | None,
    firing: Sequence[Episode],
    silenced: frozenset[str],
    messages: Sequence[Message],
    sinks: Sequence[Standing],
) -> Words:
    en = [f"alerts: {len(firing)} on, {len(silenced)} of them silenced; {len(messages)} messages"]
    zh = [f"告警：{len(firing)}项进行中，其中{len(silenced)}项静默；新消息{len(messages)}条"]
    if before is not None and moment < before:
        en = [
            f"not taken: a run of {iso(before)} was, and this one is of {iso(moment)}; replay in another home"
        ]
        zh = [f"未采纳：已有{iso(before)}的运行，本次为{iso(moment)}；回放请使用另一个目录"]
    elif moment == before:
        en.append(f"taken before, as of {iso(moment)}: nothing is told twice")
        zh.append(f"{iso(moment)}已处理，不重复通知")
    for one in sinks:
        if one.waiting or one.dead:
            en.append(f"{one.sink}: {one.waiting} wait, {one.dead} dead ({one.why or 'later'})")
            zh.append(f"{one.sink}：等待{one.waiting}，失败存档{one.dead}（{one.why or '稍后'}）")
    return Words("; ".join(en), "；".join(zh))

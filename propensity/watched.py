"""What `propensity monitor run`, `report`, `backfill` and `explain` do and show."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import NamedTuple

import numpy as np

from features.compute.builds import Build
from features.describe.say import table
from features.describe.sheets import Cell, Sheet
from features.errors import NoBuild, UsageError
from features.log import Log
from features.moments import DAY, iso
from features.online import OnlineRows
from features.settings import Settings
from features.shop import shop_of
from features.words import Words
from monitoring import (
    alerts,
    old_reports,
    profiles,
    profiling,
    report,
    retraining,
    routes,
    runbook,
    verdicts,
    written,
)
from monitoring.asked import SHOP
from monitoring.checks import by_name
from monitoring.findings import Finding
from monitoring.measures import wider
from monitoring.panels import Panel
from monitoring.verdicts import Progress, Verdict
from propensity.sheets import show
from serving import releases
from serving.models import Model

MOST = 10  # figures that are shown
LISTED = 80  # names, where one is asked for that is not there


def run_once(
    settings: Settings, page: bool, dry_run: bool, retrain: bool, progress: Progress
) -> tuple[int, str]:
    """(exit code, what to read). Whoever is concerned is told, unless it is a dry run.

    retrain: train again what should be, and let the gate decide.
    """
    routes.declared(shop_of(settings))  # a sink that is declared wrongly is said before minutes of work
    taken: list[alerts.Taken] = []
    address = ""

    def tell(of: Verdict) -> None:
        nonlocal address
        address = str(of.page.relative_to(settings.home)) if of.page else ""
        taken.append(alerts.take(settings, of.findings, of.at, report=address))

    verdict = verdicts.run(settings, html=page, progress=progress, keep=not dry_run, tell=tell)
    if dry_run:
        return verdict.exit_code, str(verdict)
    said = [
        str(verdict),
        *(word for one in taken for word in one.words if word),
        *(old_reports.remove(settings, verdict.until) or ()),
    ]
    if retrain:
        said += _retrain(settings, verdict, address, progress)
    return verdict.exit_code, "\n".join(said)


def _retrain(settings: Settings, verdict: Verdict, address: str, progress: Progress) -> list[str]:
    """Train what should be, one after the other; tell whoever was told that, and say here."""
    due = [one for one in verdict.retraining if not one.blocked]
    done = [retraining.attempt(settings, one, progress) for one in due]
    if done:  # told by now is that they should be, lest a night that is killed says nothing
        verdict = written.with_those(verdict, [one.finding for one in done])
        alerts.take(settings, verdict.findings, verdict.at, report=address)
        written.write(settings, verdict)
        return [
            text for one in done for text in (f"{one.name}: {one.words.en}", f"{one.name}：{one.words.zh}")
        ]
    if verdict.retraining:  # all are blocked, which the verdict says
        return []
    return [*retraining.none_due(verdict.findings)]


def write_report(settings: Settings, language: str, progress: Progress) -> str:
    """Judge, and write the pages."""
    verdict = verdicts.run(settings, progress=progress, every=True)
    written.write(settings, verdict, language)
    return str(verdict)


def backfill(settings: Settings, days: int, dry_run: bool, progress: Progress) -> str:
    """Count the days of all releases."""
    published = OnlineRows.open(settings).current()
    build, log = Build.open(settings, published.build), Log.open(settings)
    stores = [
        profiles.Store(settings, model)
        for name in releases.names(settings)
        if isinstance(model := releases.load(settings, name).model, Model)
    ]
    if published.moment > settings.now():
        raise NoBuild(
            f"the published features are of {iso(published.moment)}, later than {iso(settings.now())}: days "
            "are counted up to what is published. Leave --as-of out"
        )
    moments = [m for n in range(days) if (m := published.moment - n * DAY) > log.starts_at]
    lacking = {
        profiles.day_of(moment)
        for moment in moments
        if any(profiles.day_of(moment) not in store.days() for store in stores)
    }
    named = ", ".join(store.model.card.name for store in stores) or "nothing"
    if dry_run:
        return f"would count {len(lacking)} days of {named}"
    new = profiling.update(settings, stores, build, moments, progress)
    return f"counted {new} days of {named}; {len(moments) - new} were counted before"


def explain(settings: Settings, subject: str | None, name: str | None, days: int, language: str) -> None:
    """Print what is said of a subject; with a name, that figure's days; of nothing, what is watched."""
    explained(verdicts.run(settings, html=False, keep=False), subject, name, days, language)


def explained(verdict: Verdict, subject: str | None, name: str | None, days: int, language: str) -> None:
    """The same of a verdict. Whatever a message names is known: a subject and a check, also as one
    (`orders|received`), a topic, and what makes up most of it. UsageError for anything else, with what is."""
    if subject is None:
        show(_watched(verdict), language)
        return
    subject, check = subject.split("|", 1) if "|" in subject else (subject, None)
    name = name or check
    table, dot, _ = subject.partition(".")
    if dot and name is None and table in verdict.shop.tables:  # a figure of a table, as messages write it
        subject, name = table, subject
    places, said = _places(verdict, subject), _said(verdict, subject)
    if name is not None:
        asked = [one for one in said if one.check == name] or _of_shop(verdict, subject, name)
        if asked:
            for one in asked:
                _finding(one, language)
        else:
            _days(places, name, days, language, [one.check for one in said])
        return
    show(
        Sheet(
            Words(subject, subject),
            (Words("check", "检查"), Words("verdict", "结论"), Words("figure", "数值"),
             Words("limit", "上限"), Words("what was seen", "说明")),
            tuple((one.check, report.said(one), _figure(one), f"{one.crossed:g}", one.words) for one in said),
            right=(2, 3),
        ),
        language,
    )  # fmt: skip
    far = sorted(places, key=lambda place: -place.excess)[:MOST]
    if not far:
        return
    show(
        Sheet(
            Words("Furthest from what was expected", "偏离预期最多的指标"),
            (Words("figure", "指标"), Words("of its limit", "占上限"), Words("what was seen", "说明")),
            tuple((at.name, f"{at.excess:.0%}", at.panel.shift(at.column).words) for at in far),
            right=(1,),
            note=Words(
                f"One of them day by day: propensity monitor explain {subject} NAME",
                f"逐日查看其中一项：propensity monitor explain {subject} 指标名",
            ),
        ),
        language,
    )


def _said(verdict: Verdict, subject: str) -> list[Finding]:
    """What was found of a subject, or of all that is one fault with it."""
    tables = verdict.shop.tables if subject == SHOP else ()
    return [one for one in verdict.findings if one.subject in (subject, *tables) or one.topic == subject]


def _of_shop(verdict: Verdict, subject: str, check: str) -> list[Finding]:
    """What a check of the whole shop says: of a table it is asked, too, as its words name tables."""
    return [
        one
        for one in verdict.findings
        if one.check == check and one.of == "shop" and one.subject == SHOP and subject in verdict.shop.tables
    ]


def _finding(one: Finding, language: str) -> None:
    """All that a check says of a subject."""
    rows: list[tuple[Cell, ...]] = [
        (Words("asked", "检查"), one.question),
        (Words("verdict", "结论"), report.said(one)),
        (Words("what was seen", "说明"), one.words),
    ]
    if figure := _figure(one):
        en, zh = f"{figure}; a warning from {one.limit:g}", f"{figure}；{one.limit:g}起警告"
        if one.page is not None:
            en, zh = f"{en}, urgent from {one.page:g}", f"{zh}；{one.page:g}起紧急"
        rows.append((Words("figure", "数值"), Words(en, zh)))
    if one.since:
        rows.append((Words("since", "起始"), f"{one.since}"))
    if one.cause:
        rows.append((Words("likely cause", "可能原因"), one.cause))
    rows += [(Words("part of it", "涉及"), part.words) for part in one.contributors]
    if one.advice and one.status != "ok":
        rows.append((Words("do", "建议"), one.advice))
    rows.append((Words("runbook", "处理手册"), f"propensity monitor runbook {one.check}"))
    show(
        Sheet(Words(one.fingerprint, one.fingerprint), (Words("", ""), Words("", "")), tuple(rows)), language
    )


def runbook_of(settings: Settings, check: str) -> runbook.Section:
    """The section of a check, built-in or the shop's own. UsageError, with every name, for another."""
    names = {*by_name(), *runbook.sections()}
    if check not in names:
        own = shop_of(settings).read("CHECKS", by_name)  # a shop that cannot be read matters only now
        if check not in own:
            raise UsageError(f"no check is called {check}: there are {', '.join(sorted({*names, *own}))}")
    return runbook.section(check)


def _figure(one: Finding) -> str | None:
    return None if one.value != one.value else f"{max(one.value, one.better):.2f}"


def _watched(verdict: Verdict) -> Sheet:
    """Every name that can be asked about."""
    shop = verdict.shop
    rows = [(one.card.name, Words("a release: its features", "模型：其特征")) for one in verdict.evidence]
    rows.append((SHOP, Words("what the log's tables received", "日志各表的接收情况")))
    rows += [(name, table(name)) for name in shop.tables]
    rows += [(one.name, one.words) for one in shop.indicators.subjects]
    rows += [
        (name, Words(f"cannot be told: {why.en}", f"无法统计：{why.zh}")) for name, why in shop.absent.items()
    ]
    return Sheet(
        Words(
            "What is watched: propensity monitor explain NAME", "监控对象：propensity monitor explain 名称"
        ),
        (Words("name", "名称"), Words("what it is", "含义")),
        tuple(rows),
    )


class _Place(NamedTuple):
    """A figure: a column of a panel."""

    panel: Panel
    column: int

    @property
    def name(self) -> str:
        return self.panel.subjects[self.column].name

    @property
    def excess(self) -> float:
        """Of its limit, on the last day, on either side."""
        return float(np.nan_to_num(np.abs(self.panel.judged.excess[-1, self.column])))


def _places(verdict: Verdict, subject: str) -> list[_Place]:
    """Where the figures of a subject of which something was said are; a table and an indicator may have one
    name. UsageError if nothing has that name."""
    shop = verdict.shop
    models = {seen.card.name: seen.panel for seen in verdict.evidence}
    whole = [models[subject]] if subject in models else []
    if subject == SHOP:
        whole += [shop.received, *([shop.decisions] if shop.decisions else [])]
    indicators = {one.name for one in shop.indicators.subjects}
    if subject in indicators:
        whole.append(shop.indicators)
    own = [_Place(shop.received, n) for n, one in enumerate(shop.received.subjects) if subject in one.tables]
    found = own + [_Place(panel, column) for panel in whole for column in range(len(panel.subjects))]
    if found or _said(verdict, subject):
        return found
    if subject in shop.absent:
        raise UsageError(f"{subject} cannot be told: {shop.absent[subject].en}")
    known = ", ".join(dict.fromkeys([*models, SHOP, *shop.tables, *sorted(indicators)]))
    raise UsageError(f"nothing is called {subject}; what is watched: {known}")


def _days(places: Sequence[_Place], name: str, days: int, language: str, checks: Sequence[str]) -> None:
    asked = [place for place in places if place.name == name]
    if not asked:
        figures = {place.name for place in places} or {*checks}
        names = sorted(figures, key=lambda one: (one.count("."), one))
        near = [one for one in names if name.lower() in one.lower()] or names
        more = f" and {len(near) - LISTED} more" if len(near) > LISTED else ""
        raise UsageError(f"no figure or check is called {name}; there are {', '.join(near[:LISTED])}{more}")
    for panel, column in asked:
        one = panel.subjects[column]
        show(
            Sheet(
                Words(f"{one.words.en} ({one.kind})", one.words.zh),
                (
                    Words("day", "日期"),
                    Words("value", "数值"),
                    Words("of its limit", "占上限"),
                    Words("", ""),
                ),
                tuple(
                    _day(panel, column, place)
                    for place in range(max(0, len(panel.native) - days), len(panel.native))
                ),
                right=(1, 2),
            ),
            language,
        )


def _day(panel: Panel, column: int, place: int) -> tuple[Cell, ...]:
    """A day of a figure. What is carried on from an earlier day is no value of this one."""
    excess, value = panel.judged.excess[place, column], panel.native[place, column]
    told = value == value and (panel.fresh is None or bool(panel.fresh[place, column]))
    en = ["stands out"] if panel.judged.out[place, column] else []
    zh = ["异常"] if panel.judged.out[place, column] else []
    if value == value and not told:
        en.append("nothing was counted")
        zh.append("当日无数据")
    if names := panel.wide(place):
        en.append(wider(names).en)
        zh.append(wider(names).zh)
    return (
        str(date(1970, 1, 1) + timedelta(days=panel.first + place)),
        f"{value:,.4g}" if told else None,
        Words("not judged", "未判断") if excess != excess else f"{abs(excess):.0%}",
        Words("; ".join(en), "；".join(zh)),
    )

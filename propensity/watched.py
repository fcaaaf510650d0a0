"""What `propensity monitor run`, `report`, `backfill` and `explain` do and show."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np

from features.compute.builds import Build
from features.errors import UsageError
from features.files import write_atomically
from features.log import Log
from features.moments import DAY
from features.online import OnlineRows
from features.settings import Settings
from features.shop import shop_of
from features.words import Words
from monitoring import alerts, profiles, report, retraining, routes, verdicts
from monitoring.panels import Panel
from monitoring.verdicts import Progress, Verdict
from propensity.tables import console, say, table
from serving import releases
from serving.models import Model

MOST = 10  # figures that are listed


def run_once(
    settings: Settings, page: bool, dry_run: bool, retrain: bool, progress: Progress
) -> tuple[int, str]:
    """(exit code, what to read). Whoever is concerned is told, unless it is a dry run.

    retrain: train again what should be, and let the gate decide.
    """
    routes.declared(shop_of(settings))  # a sink that is declared wrongly is said before minutes of work
    verdict = verdicts.run(settings, html=page, progress=progress, keep=not dry_run)
    if dry_run:
        return verdict.exit_code, str(verdict)
    address = verdict.page.relative_to(settings.home) if verdict.page else ""
    taken = alerts.take(settings, verdict.findings, verdict.at, report=str(address))
    said = [str(verdict), *filter(None, taken.words)]
    for one in verdict.retraining if retrain else ():
        if not one.blocked:
            said += retraining.retrain(settings, one.release, automatic=True, progress=progress).words
    return verdict.exit_code, "\n".join(said)


def write_report(settings: Settings, language: str, progress: Progress) -> str:
    """Judge, and write the pages."""
    verdict = verdicts.run(settings, progress=progress)
    assert verdict.page is not None
    write_atomically(verdict.page, report.page(verdict, language).encode())
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
    moments = [m for n in range(days) if (m := published.moment - n * DAY) > log.starts_at]
    lacking = {
        profiles.day_of(moment)
        for moment in moments
        if any(profiles.day_of(moment) not in store.days() for store in stores)
    }
    named = ", ".join(store.model.card.name for store in stores) or "nothing"
    if dry_run:
        return f"would count {len(lacking)} days of {named}"
    new = profiles.update(settings, stores, build, moments, progress)
    return f"counted {new} days of {named}; {len(moments) - new} were counted before"


def explain(settings: Settings, subject: str, name: str | None, days: int, language: str) -> None:
    """Print what is said of a subject; with a name, that figure's days."""
    verdict = verdicts.run(settings, html=False, keep=False)
    panel = _panel(verdict, subject)
    if name is not None:
        _days(panel, name, days, language)
        return
    shown = table(subject, "check", "verdict", "figure", "limit", "what was seen", right=("figure", "limit"))
    for one in (finding for finding in verdict.findings if finding.subject == subject):
        value = "-" if one.value != one.value else f"{max(one.value, one.better):.2f}"
        shown.add_row(
            one.check,
            _in(report.said(one), language),
            value,
            f"{one.limit:g}",
            _in(one.words, language),
        )
    console().print(shown)
    excess = np.nan_to_num(np.abs(panel.judged.excess[-1]))
    far = table("Furthest from what was expected", "figure", "of its limit", "", right=("of its limit",))
    for column in np.argsort(-excess, kind="stable")[:MOST]:
        said = _in(panel.shift(int(column)).words, language)
        far.add_row(panel.subjects[column].name, f"{excess[column]:.0%}", said)
    console().print(far)
    say(f"One of them day by day: propensity monitor explain {subject} NAME")


def _panel(verdict: Verdict, subject: str) -> Panel:
    """Where the subject's figures are. UsageError if nothing has that name."""
    models = {seen.card.name: seen.panel for seen in verdict.evidence}
    if subject in models:
        return models[subject]
    if subject == verdicts.SHOP:
        return verdict.shop.received
    indicators = {one.name for one in verdict.shop.indicators.subjects}
    if subject in indicators:
        return verdict.shop.indicators
    if subject in verdict.shop.absent:
        raise UsageError(f"{subject} cannot be told: {verdict.shop.absent[subject].en}")
    known = ", ".join([*models, verdicts.SHOP, *sorted(indicators)])
    raise UsageError(f"nothing is called {subject}; what is watched: {known}")


def _days(panel: Panel, name: str, days: int, language: str) -> None:
    columns = [place for place, one in enumerate(panel.subjects) if one.name == name]
    if not columns:
        near = sorted({one.name for one in panel.subjects if name.lower() in one.name.lower()})[:MOST]
        raise UsageError(f"no figure is called {name}" + (f"; there are {', '.join(near)}" if near else ""))
    for column in columns:
        one = panel.subjects[column]
        shown = table(
            f"{_in(one.words, language)} ({one.kind})", "day", "value", "of its limit", "",
            right=("value", "of its limit"),
        )  # fmt: skip
        for place in range(max(0, len(panel.native) - days), len(panel.native)):
            excess, value = panel.judged.excess[place, column], panel.native[place, column]
            shown.add_row(
                str(date(1970, 1, 1) + timedelta(days=panel.first + place)),
                "-" if value != value else f"{value:,.4g}",
                "not judged" if excess != excess else f"{abs(excess):.0%}",
                "stands out" if panel.judged.out[place, column] else "",
            )
        console().print(shown)


def _in(words: Words, language: str) -> str:
    return words.zh if language == "zh" else words.en

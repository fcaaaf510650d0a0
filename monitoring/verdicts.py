"""One verdict a run: does what is published still look like what the released models were trained on?

home/reports/<moment>/verdict.json   every finding and every feature's figure, for machines
home/reports/<moment>/report.html    Evidently's page, to look closer; written by a process of its own
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from features.compute.builds import Build
from features.definitions import catalogue
from features.errors import FeatureMismatch, ReleaseError
from features.files import write_atomically
from features.moments import iso
from features.online import OnlineRows
from features.settings import Settings
from features.shop import shop_of
from features.words import Words
from monitoring.baseline import Evidence, gather
from monitoring.checks import STATUSES, Check, Status, by_name
from serving import releases
from serving.models import Model

EXIT_CODES: dict[Status, int] = {"ok": 0, "warning": 3, "page": 4}
_NOT_COMPARED = Words("loads; it is no target's model, and is not compared", "可加载；非目标模型，不作比较")
_SAID: dict[Status, str] = {"ok": "正常", "warning": "警告", "page": "告警"}
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Finding:
    """What one check says of one release."""

    release: str
    check: str
    status: Status
    value: float
    words: Words


@dataclass(frozen=True)
class Verdict:
    """What `run` found. words: one line. page: Evidently's page, or page_error: why it is not there."""

    moment: datetime
    status: Status
    words: Words
    findings: tuple[Finding, ...]
    evidence: tuple[Evidence, ...]
    folder: Path
    page: Path | None = None
    page_error: str | None = None

    @property
    def exit_code(self) -> int:
        """Of the command line: 0 quiet, 3 warning, 4 page."""
        return EXIT_CODES[self.status]

    def __str__(self) -> str:
        lines = list(self.words)
        if self.page is not None:
            lines.append(f"Evidently's page: {self.page}")
        if self.page_error is not None:
            lines.append(f"Evidently's page was not written: {self.page_error}")
        return "\n".join(lines)


def run(
    settings: Settings, html: bool = True, progress: Progress | None = None, keep: bool = True
) -> Verdict:
    """Judge what is published for every released model; write verdict.json and, with `html`, the page.

    keep: False judges and writes nothing.

    Raises NoBuild if nothing is published or a training window's snapshots are gone, ReleaseError if
    nothing is released. A model of no target is read, and not compared. A release that cannot be read at
    all pages; a failure of the page never changes the verdict, and is in it.
    """
    from monitoring import report  # here, so that `python -m monitoring.report` finds itself not imported yet

    published = OnlineRows.open(settings).current()
    build, moment = Build.open(settings, published.build), published.moment
    names = releases.names(settings)
    if not names:
        raise ReleaseError(f"no model is released in {settings.home / 'releases'}: run `propensity promote`")
    shop = shop_of(settings)
    checks = by_name(shop.declared("CHECKS"))
    declared = catalogue(shop.declared("FEATURES"))
    findings: list[Finding] = []
    models: list[Model] = []
    evidence: list[Evidence] = []
    for number, name in enumerate(names):
        if progress:
            progress("monitoring", number, len(names) + html)
        try:
            model = releases.load(settings, name).model
            if not isinstance(model, Model):
                findings.append(Finding(name, "readable", "ok", 0.0, _NOT_COMPARED))
                continue
            seen = gather(settings, model, build, moment, declared)
        except (ReleaseError, FeatureMismatch) as error:
            words = Words(f"nothing can be answered: {error}", f"无法作答：{error}")
            findings.append(Finding(name, "readable", "page", 1.0, words))
            continue
        models.append(model)
        evidence.append(seen)
        findings.extend(_finding(name, check, seen) for check in checks.values())
    status = max((finding.status for finding in findings), key=STATUSES.index)
    folder = settings.home / "reports" / f"{moment:%Y%m%dT%H%M%S}Z"
    page, page_error = None, None
    if html and keep:
        if progress:
            progress("monitoring", len(names), len(names) + 1)
        try:
            page = report.write(settings, folder / "report.html", models, build, moment)
        except report.PageError as error:
            page_error = str(error)
        except Exception as error:  # whatever it is: it is in the verdict, and must not stand in its way
            page_error = f"{type(error).__name__}: {error}"
    words = _line(status, moment, build, findings, evidence)
    verdict = Verdict(moment, status, words, tuple(findings), tuple(evidence), folder, page, page_error)
    if keep:
        write_atomically(folder / "verdict.json", msgspec.json.format(msgspec.json.encode(_plain(verdict))))
    return verdict


def _finding(release: str, check: Check, evidence: Evidence) -> Finding:
    reading = check.measure(evidence)
    return Finding(release, check.name, check.status(reading.value), reading.value, reading.words)


def _line(
    status: Status, moment: datetime, build: Build, findings: list[Finding], evidence: list[Evidence]
) -> Words:
    """The verdict in one line: what is wrong, or that nothing is, and what could not be judged yet."""
    wrong = [finding for finding in findings if finding.status != "ok"]
    names = ", ".join(seen.card.name for seen in evidence)
    others = ", ".join(f.release for f in findings if f.words == _NOT_COMPARED)
    counted = {drift.name for seen in evidence for drift in seen.features if not drift.filling}
    filling = {drift.name for seen in evidence for drift in seen.features if drift.filling} - counted
    said = [Words(f"{f.release}: {f.words.en}", f"{f.release}：{f.words.zh}") for f in wrong]
    if names and not wrong:
        as_then = Words("inputs and predictions as in training", "输入与预测均与训练时一致")
        said.append(Words(f"{names}: {as_then.en}", f"{names}：{as_then.zh}"))
    if others:
        said.append(Words(f"{others}: {_NOT_COMPARED.en}", f"{others}：{_NOT_COMPARED.zh}"))
    en, zh = "; ".join(words.en for words in said), "；".join(words.zh for words in said)
    if filling:
        since = iso(build.log_starts_at)[:10]
        en += f"; features not counted, as their windows still fill (the log starts {since}): {len(filling)}"
        zh += f"；{len(filling)}个特征的窗口早于日志起点{since}，尚在累积，未计入"
    day = iso(moment)[:10]
    return Words(f"{status} as of {day}: {en}", f"{_SAID[status]}（截至{day}）：{zh}")


def _plain(verdict: Verdict) -> dict[str, Any]:
    return {
        "moment": iso(verdict.moment),
        "status": verdict.status,
        "exit_code": verdict.exit_code,
        "words": verdict.words._asdict(),
        "findings": [
            {
                "release": f.release,
                "check": f.check,
                "status": f.status,
                "value": f.value,
                "words": f.words._asdict(),
            }
            for f in verdict.findings
        ],
        "releases": [
            {
                "name": seen.card.name,
                "version": seen.card.version,
                "prediction_psi": seen.prediction_psi,
                "members": seen.members,
                "features": [
                    {"name": d.name, "state": "filling"}
                    if d.filling
                    else {
                        "name": d.name,
                        "state": "drifted" if d.drifted else "ok",
                        "psi": d.psi,
                        "limit": d.limit,
                    }
                    for d in seen.features
                ],
            }
            for seen in verdict.evidence
        ],
        "page": verdict.page.name if verdict.page else None,
        "page_error": verdict.page_error,
    }

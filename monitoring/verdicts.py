"""One verdict a run: does what is published still look like what the released models were trained on?

home/reports/<until>/verdict.json    every finding and every feature's figure, for machines
home/reports/<until>/report.html     the page: what happened, whether it matters, what to do
home/reports/<until>/evidently.html  Evidently's, to look closer at what moved; by a process of its own
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from features.compute import engine
from features.compute.builds import Build
from features.definitions import catalogue
from features.describe.say import count, table
from features.errors import FeatureMismatch, NoBuild, PropensityError, ReleaseError
from features.log import Log
from features.moments import DAY, iso
from features.online import OnlineRows
from features.settings import Settings
from features.shop import Shop, shop_of
from features.words import Words, several
from monitoring import evidence, occasions, profiles, profiling, written
from monitoring.asked import ask, ask_of_shop, finding, with_own
from monitoring.checks import BY_ITSELF, READABLE, Check, Reading, by_name
from monitoring.evidence import Evidence, ShopEvidence
from monitoring.findings import UNRELEASED, Finding, Status, joined, worst
from monitoring.measures import wider
from monitoring.old_reports import CLOSER, FOLDER
from monitoring.profiles import PROBABILITY
from monitoring.retraining import Recommendation, not_needed, recommend
from serving import releases
from serving.models import Model

EXIT_CODES: dict[Status, int] = {"ok": 0, "warning": 3, "page": 4}
_NOT_COMPARED = Words("loads; it is no target's model, and is not compared", "可加载；非目标模型，不作比较")
_STALE = Words("not judged while the features are stale", "特征过期期间不作判断")
_SAID: dict[Status, str] = {"ok": "正常", "warning": "警告", "page": "告警"}
Progress = Callable[[str, int, int], None]
_log = logging.getLogger("propensity.monitoring")


@dataclass(frozen=True)
class Verdict:
    """What `run` found. words: one line. asked: check -> what it asks.

    page: our page; closer: Evidently's; page_error: why it could not be written. drawn: of each release, the
    columns that it draws; without any there is none.
    """

    moment: datetime  # of what is published
    until: datetime  # up to which something was judged: the log may have days that are not published
    at: datetime  # of the run
    status: Status
    words: Words
    findings: tuple[Finding, ...]
    evidence: tuple[Evidence, ...]
    shop: ShopEvidence
    folder: Path
    asked: Mapping[str, Words]
    retraining: tuple[Recommendation, ...] = ()
    page: Path | None = None
    closer: Path | None = None
    page_error: str | None = None
    drawn: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """Of the command line: 0 quiet, 3 warning, 4 page."""
        return EXIT_CODES[self.status]

    def __str__(self) -> str:
        lines = [*self.words]
        if self.page is not None:
            lines.append(f"The report: {self.page}")
        if self.page_error is not None:
            lines.append(f"Evidently's page was not written: {self.page_error}")
        return "\n".join(lines)


def run(
    settings: Settings,
    html: bool = True,
    progress: Progress | None = None,
    keep: bool = True,
    tell: Callable[["Verdict"], None] | None = None,
    every: bool = False,
) -> Verdict:
    """Judge what is published for every released model; write verdict.json and, with `html`, the pages.

    tell: called once the verdict and our page are written: Evidently's takes minutes, which nobody waits for.
    every: Evidently draws every feature, and not only what moved: megabytes, of which most is as ever.
    keep: False judges and writes neither; the profiles of days, which it judges by, are counted all the same.

    Raises NoBuild if nothing is published, LogError without a log. With nothing released, what needs no model
    is judged, and the line says so. A model of no target is read, and not compared. A release that cannot be
    read, or whose features are not the published ones, pages. A failure of Evidently changes no verdict,
    and is in it.
    """

    published = OnlineRows.open(settings).current()
    build, moment = Build.open(settings, published.build), published.moment
    if moment > settings.now():
        raise NoBuild(
            f"the published features are of {iso(moment)}, later than {iso(settings.now())}: nobody knew it. "
            "What is published is judged: publish that day's first, `propensity features build --as-of`"
        )
    log, shop = Log.open(settings), shop_of(settings)
    own = shop.declared("CHECKS")
    checks = shop.read("CHECKS", by_name)
    declared = engine.available(log, catalogue(shop.declared("FEATURES")))
    calendar = occasions.of_log(log)
    stores, findings = _readable(settings, build)
    days = [moment - back * DAY for back in range(evidence.DAYS) if moment - back * DAY > log.starts_at]
    readable: list[profiles.Store] = []
    for store in stores:
        try:
            profiling.require(store, declared, shop)
            readable.append(store)
        except FeatureMismatch as error:
            findings.append(_unreadable(store.model.card.name, error))
    profiling.update(settings, readable, build, days, progress)
    # What the log received is judged to its end: a build that fails must not hide what came after it.
    until = max(moment, min(settings.now(), log.complete_until))
    whole = until if until - moment >= DAY else moment
    of_shop = evidence.of_shop(settings, log, shop, until, calendar)
    findings += ask_of_shop(checks.values(), of_shop, shop)
    at_fault = evidence.faulty(of_shop)
    seen: list[Evidence] = []
    for number, store in enumerate(readable):
        if progress:
            progress("monitoring", number, len(readable))
        one = evidence.of_release(settings, store, build, moment, declared, calendar, at_fault, log, shop)
        seen.append(one)
        findings += [_asked(check, one, shop) for check in checks.values() if check.of == "release"]
    moving = [check.name for check in checks.values() if check.of == "release" and check.drift]
    findings = joined(with_own(findings, own), moving, (PROBABILITY,))
    again = {one.card.name: _recommended(one, findings) for one in seen}
    findings += [one.finding if one else not_needed(name) for name, one in again.items()]
    status = worst(findings)
    verdict = Verdict(
        moment,
        whole,
        settings.now(),
        status,
        _line(status, moment, whole, findings, seen, of_shop),
        tuple(findings),
        tuple(seen),
        of_shop,
        settings.home / "reports" / f"{whole:{FOLDER}}",
        BY_ITSELF | {name: check.words for name, check in checks.items()},
        tuple(filter(None, again.values())),
        drawn={one.model.card.name: frozenset(one.columns) for one in readable}
        if every
        else _moved(findings, readable, moving),
    )
    if keep:
        if html:
            verdict = replace(verdict, page=verdict.folder / "report.html")
        written.write(settings, verdict)
        if tell:
            tell(verdict)
        if html:
            (verdict.folder / CLOSER).unlink(missing_ok=True)
            if verdict.drawn:
                models = [store.model for store in readable if store.model.card.name in verdict.drawn]
                verdict = _with_closer(settings, verdict, models, build)
            written.write(settings, verdict)  # with that, and with what is over by now
    return verdict


def _recommended(seen: Evidence, findings: Sequence[Finding]) -> Recommendation | None:
    figures = seen.outcomes.figures if seen.outcomes else ()
    return recommend(seen.card, figures, seen.drifted, findings)


def _moved(
    findings: Iterable[Finding], stores: Iterable[profiles.Store], checks: Collection[str]
) -> dict[str, frozenset[str]]:
    """Of each release in which those checks found something: its columns that it was found in, or all."""
    columns = {store.model.card.name: frozenset(store.columns) for store in stores}
    found: dict[str, frozenset[str]] = {}
    for one in findings:
        if one.status != "ok" and one.check in checks and one.subject in columns:
            own = columns[one.subject]
            named = own & {part.name for part in one.contributors}
            found[one.subject] = found.get(one.subject, frozenset()) | (named or own)
    return found


def _with_closer(settings: Settings, verdict: Verdict, models: list[Model], build: Build) -> Verdict:
    """Write Evidently's page; ours, which is written anew then, says if it failed."""
    from monitoring import closer

    error: str | None = None
    nearer: Path | None = verdict.folder / "evidently.html"
    try:
        closer.write(
            settings, verdict.folder / "evidently.html", models, build, verdict.moment, verdict.drawn
        )
    except (closer.PageError, PropensityError) as failed:
        nearer, error = None, str(failed)
    except OSError as failed:  # a full disk
        nearer, error = None, f"{type(failed).__name__}: {failed}"
    except Exception as failed:  # a fault of ours: told whole to whoever mends it, and the alerts go out
        _log.exception("the page to look closer at could not be written")
        nearer, error = None, f"{type(failed).__name__}: {failed}"
    return replace(verdict, closer=nearer, page_error=error)


def _readable(settings: Settings, build: Build) -> tuple[list[profiles.Store], list[Finding]]:
    """The releases that can be judged, and what is to be said of the others."""
    stores: list[profiles.Store] = []
    findings: list[Finding] = []
    for name in releases.names(settings):
        try:
            model = releases.load(settings, name).model
            if isinstance(model, Model):
                build.require(model.card.needs, by=f"release {name}")
                stores.append(profiles.Store(settings, model))
            else:
                findings.append(
                    Finding(
                        subject=name, check=READABLE, status="ok", value=0.0, limit=1.0,
                        words=_NOT_COMPARED, owner="models", topic=name, asks=BY_ITSELF[READABLE],
                    )
                )  # fmt: skip
        except (ReleaseError, FeatureMismatch) as error:
            findings.append(_unreadable(name, error))
    return stores, findings


def _unreadable(name: str, error: Exception) -> Finding:
    return Finding(
        subject=name,
        check=READABLE,
        status="page",
        value=1.0,
        limit=1.0,
        words=Words(f"nothing can be answered: {error}", f"无法作答：{error}"),
        asks=BY_ITSELF[READABLE],
        owner="models",
        topic="contract",
        advice=Words(
            "Build the features that it needs, or `propensity rollback` to the release before.",
            "构建其所需特征，或用 `propensity rollback` 回到上一版本。",
        ),
    )


def _asked(check: Check, seen: Evidence, shop: Shop) -> Finding:
    if check.drift and seen.stale:
        found = finding(check, seen.card.name, Reading(value=float("nan"), words=_STALE))
    else:
        found = ask(check, seen.card.name, seen, shop)
    return replace(found, version=seen.card.version)


def _line(
    status: Status,
    moment: datetime,
    until: datetime,
    findings: list[Finding],
    seen: list[Evidence],
    shop: ShopEvidence,
) -> Words:
    """The verdict in one line: what is wrong, or that nothing is; last, how much could not be judged yet."""
    wrong = [one for one in findings if one.status != "ok"]
    said = [one.said for one in wrong]
    names = ", ".join(one.card.name for one in seen)
    if names and not wrong:
        usual = Words("inputs and predictions as usual", "输入与预测均正常")
        said.append(Words(f"{names}: {usual.en}", f"{names}：{usual.zh}"))
    if unreleased(seen, findings):
        said.append(UNRELEASED)
    others = ", ".join(f.subject for f in findings if f.words == _NOT_COMPARED)
    if others and not said:  # beside anything else it is no news
        said.append(Words(f"{others}: {_NOT_COMPARED.en}", f"{others}：{_NOT_COMPARED.zh}"))
    if first := first_of_kind(seen, shop):
        judged = wider(first)
        said.append(Words(f"judged {judged.en}", judged.zh))
    if later := behind(moment, shop):
        said.append(later)
    if (n := len({one.check for one in findings if one.value != one.value})) > 0:
        said.append(count(n, "check not judged yet", "项检查暂不判断", "checks not judged yet"))
    en = "; ".join(words.en.removesuffix(".") for words in said)
    zh = "；".join(words.zh.removesuffix("。") for words in said)
    day = iso(until)[:10]
    return Words(f"{status} as of {day}: {en}", f"{_SAID[status]}（截至{day}）：{zh}")


def behind(moment: datetime, shop: ShopEvidence) -> Words | None:
    """From when on features and predictions are not judged, if the log has later days."""
    if shop.moment - moment < DAY:
        return None
    since, until = iso(moment)[:10], iso(shop.moment)[:10]
    return Words(
        f"what the log received is judged until {until}, features and predictions only until {since}: "
        "nothing later is published (`propensity features build`)",
        f"日志接收情况判断至{until}，特征与预测仅判断至{since}：此后的数据未发布"
        "（`propensity features build`）",
    )


def unjudged(findings: Iterable[Finding], asked: Mapping[str, Words]) -> list[Words]:
    """Every check that could not be judged; where it could be of others, of what it could not."""
    lacking: dict[str, list[Words]] = defaultdict(list)
    told = set[str]()
    for one in findings:
        if one.value != one.value:
            of = table(one.subject) if one.of == "table" else Words(one.subject, one.subject)
            lacking[one.check].append(of)
        else:
            told.add(one.check)
    found = []
    for name, subjects in sorted(lacking.items()):
        said = Words(name, asked[name].zh if name in asked else name)
        if name in told:
            en, zh = (several([getattr(one, tongue) for one in subjects]) for tongue in ("en", "zh"))
            said = Words(f"{said.en} of {en}", f"{said.zh}（{zh}）")
        found.append(said)
    return found


def unreleased(seen: Sequence[Evidence], findings: Iterable[Finding]) -> bool:
    """Whether there was no model to be judged: none that could be, and none that could not."""
    return not seen and not any(one.check == READABLE for one in findings)


def first_of_kind(seen: Iterable[Evidence], shop: ShopEvidence) -> tuple[str, ...]:
    """The occasions around this day that the log knows no earlier one of."""
    every = [shop.received, shop.indicators, *(one.panel for one in seen)]
    return tuple(sorted({name for panel in every for name in panel.wide()}))


__all__ = ["EXIT_CODES", "Verdict", "replace", "run"]

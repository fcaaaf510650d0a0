"""The verdict: quiet on a steady shop, loud on a planted fault, and never silenced by its own pages."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from html import escape
from math import nan
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from alerting import found
from browser import look
from watched import Shop, changed, declaring, loud, own_check

import monitoring
from benchmarks.monitoring_shop import NAME
from features.compute.builds import Build
from features.errors import NoBuild
from features.log import Log
from features.moments import DAY
from features.online import OnlineRows
from features.settings import Settings
from features.words import Words
from monitoring import Verdict, alerts, closer, profiles, profiling, report, written
from monitoring.checks import CHECKS, RETRAINING, Check, by_name
from monitoring.findings import Finding
from monitoring.panels import Panel
from monitoring.verdicts import _NOT_COMPARED, _line, unjudged
from monitoring.weeks import Separable
from serving import releases
from serving.models import Model

JOINT = by_name()["joint"]


@pytest.fixture
def shop(steady: Shop, tmp_path: Path) -> Shop:
    return steady.copy(tmp_path)


class InCents(NamedTuple):
    """A day on which spending is in cents, judged with all pages. order: what was done, in turn. told: our
    page, as those who are told read it."""

    shop: Shop
    verdict: Verdict
    order: list[str]
    told: str


@pytest.fixture(scope="module")
def in_cents(steady: Shop, tmp_path_factory: pytest.TempPathFactory) -> InCents:
    """A check that is calm today paged the day before, and its alert is still on."""
    shop = steady.copy(tmp_path_factory.mktemp("in_cents"))
    shop.publish(changed("spend_90d", 100))
    before = found(NAME, "freshness", 2.5, status="page", words=Words("moved", "变化"))
    alerts.take(shop.settings, [before], shop.moment - DAY)
    order, told, drawn = list[str](), list[str](), closer.write

    def tell(of: Verdict) -> None:
        order.append("told")
        assert of.page is not None
        told.append(of.page.read_text("utf-8"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(closer, "write", lambda *of: (order.append("drawn"), drawn(*of)))
        verdict = monitoring.run(shop.settings, tell=tell)
    return InCents(shop, verdict, order, told[0])


def test_the_first_line_of_the_page_says_the_likely_cause(in_cents: InCents) -> None:
    """Else: "act now" and two figures are read for a minute before anybody knows that it is a unit."""
    unit = Words("another unit: amounts are 100 times as large", "单位可能改变：金额约为此前的100倍")
    wrong = found("orders", "fields", 3.0, status="page", topic="data orders", cause=unit)
    milder = found("visits", "fields", 1.0, status="warning", cause=Words("no unit", "无单位"))
    verdict = replace(in_cents.verdict, status="page", findings=(milder, wrong))
    first = report.page(verdict).split('<p class="banner bad">')[1].split("</p>")[0]
    assert f"Likely cause: {unit.en}." in first
    assert f"可能原因：{unit.zh}。" in first


def test_a_warning_has_a_colour_of_its_own(in_cents: InCents) -> None:
    """Else what can wait for the morning looks like what cannot, and soon nobody runs for either."""
    wrong = found("orders", "fields", 1.0, status="warning")
    mild = report.page(replace(in_cents.verdict, status="warning", findings=(wrong,)))
    first = mild.split('<p class="banner warning">')[1].split("</p>")[0]
    assert "Worth a look today" in first
    assert "今天请查看" in first
    assert '<p class="banner bad">' not in mild
    bar = {tone: re.search(rf"\.banner\.{tone} {{ border-color: (#\w{{6}})", mild)[1] for tone in TONES}  # type: ignore[index]
    assert len(set(bar.values())) == 3
    for card in re.findall(r"--card: (#\w{6})", mild):
        assert contrast(bar["warning"], card) >= 3, "as for whatever is not text"


TONES = ("good", "warning", "bad")


def contrast(one: str, other: str) -> float:
    """Of two colours, as WCAG 2 has it."""

    def light(colour: str) -> float:
        parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


def test_a_steady_shop_is_quiet_and_says_what_it_could_not_judge(shop: Shop) -> None:
    """Else: a verdict that always warns is never read."""
    shop.publish()
    verdict = monitoring.run(shop.settings, html=False)
    assert loud(verdict) == {}
    assert (verdict.status, verdict.exit_code) == ("ok", 0)
    assert verdict.words.en.startswith(
        f"ok as of {shop.moment:%Y-%m-%d}: {NAME}: inputs and predictions as usual"
    )
    assert verdict.words.zh.startswith(f"正常（截至{shop.moment:%Y-%m-%d}）")
    asked = {finding.check for finding in verdict.findings}
    assert asked == {check.name for check in CHECKS} | {RETRAINING}
    raw = json.loads((verdict.folder / "verdict.json").read_text("utf-8"))
    assert (raw["status"], raw["exit_code"], raw["words"]) == ("ok", 0, verdict.words._asdict())
    assert len(raw["findings"]) == len(verdict.findings)
    first = (verdict.folder / "verdict.json").read_bytes()
    monitoring.run(shop.settings, html=False)
    assert (verdict.folder / "verdict.json").read_bytes() == first


def test_a_unit_error_is_told_with_the_feature_its_figures_and_what_to_do(in_cents: InCents) -> None:
    """Else: spending in cents is scored as if in dollars until somebody asks why."""
    verdict = in_cents.verdict
    found = next(f for f in verdict.findings if f.check == "features")
    assert found.status != "ok"
    assert found.contributors[0].name == "spend_90d"
    assert found.since is not None
    assert found.advice is not None
    assert "on average" in found.words.en or "spread" in found.words.en
    assert verdict.exit_code in (3, 4)


def test_a_check_that_was_judged_of_some_is_not_called_unjudged() -> None:
    """Else: the line warns of an indicator, and says that indicators are not judged yet."""
    of = [found("orders", "indicators"), found("health", "indicators", nan, status="ok")]
    whole = [found(NAME, "ranking", nan, status="ok")]
    said = unjudged([*of, *whole], {name: check.words for name, check in by_name().items()})
    assert [one.en for one in said] == ["indicators of health", "ranking"]
    assert said[0].zh == "每日经营指标（health）"


def test_what_is_not_judged_is_counted_at_the_end_and_named_in_the_report(in_cents: InCents) -> None:
    """Else the line says the same forty words every night, and the news of a night is lost in them."""
    verdict = in_cents.verdict
    names = unjudged(verdict.findings, verdict.asked)
    assert names
    of = "check" if len(names) == 1 else "checks"
    assert verdict.words.en.endswith(f"; {len(names)} {of} not judged yet")
    assert verdict.words.zh.endswith(f"；{len(names)}项检查暂不判断")
    assert not any(one.en in verdict.words.en for one in names)
    assert f"Not judged yet: {', '.join(one.en for one in names)}." in in_cents.told
    assert f"暂不判断：{'、'.join(one.zh for one in names)}。" in in_cents.told


def test_a_model_that_is_not_compared_is_no_news(in_cents: InCents) -> None:
    """Else a segmentation that loads is told of every night, beside what is wrong."""
    segments = Finding(
        subject="segmentation", check="readable", status="ok", value=0.0, limit=1.0, words=_NOT_COMPARED,
        owner="models", topic="segmentation", asks=_NOT_COMPARED,
    )  # fmt: skip
    of, day = in_cents.verdict, in_cents.verdict.moment
    line = _line(of.status, day, day, [segments, *of.findings], of.evidence, of.shop)
    assert "segmentation" not in line.en + line.zh
    assert line == of.words
    alone = _line("ok", day, day, [segments], [], of.shop)
    assert "segmentation: loads" in alone.en, "of nothing else there is anything to say"


def test_what_is_published_is_what_is_judged(shop: Shop) -> None:
    """Else: rows that were spoilt on their way are judged as they should have been, and found well."""

    def empty(rows: pa.Table) -> pa.Table:
        place = rows.schema.get_field_index("overdue")
        return rows.set_column(place, "overdue", pa.array(np.full(len(rows), np.nan, np.float32)))

    shop.publish(empty)
    verdict = monitoring.run(shop.settings, html=False)
    assert loud(verdict)[f"{NAME} nulls"] == "page"
    assert verdict.exit_code == 4


def test_what_is_published_anew_is_told_apart_anew(usual: Shop, tmp_path: Path) -> None:
    """Else: rows were joined to the wrong customers and put right on the same day, and the alert stays; or a
    faulty day is built anew, and the answer of the build before holds."""
    shop = usual.copy(tmp_path)

    def joint() -> float:
        verdict = monitoring.run(shop.settings, html=False, keep=False)
        return next(f.value for f in verdict.findings if f.check == "joint")

    right = joint()
    (file,) = (shop.settings.home / "profiles").rglob("separable.json")
    kept = json.loads(file.read_text("utf-8"))
    kept["auc"][max(kept["auc"], key=int)] = 0.99  # what was said of a build before
    file.write_text(json.dumps(kept), "utf-8")
    assert joint() == right


def test_around_the_first_of_its_kind_weeks_may_differ_more_and_a_wrong_join_is_seen(
    usual: Shop, tmp_path: Path
) -> None:
    """Else: the first holiday that customers spend away pages that ids are wrong; or whatever is wrong in it
    waits."""
    (seen,) = monitoring.run(usual.copy(tmp_path).settings, html=False, keep=False).evidence
    first = {len(seen.panel.native) - 1: ("a show",)}
    wide = replace(seen.panel, judged=replace(seen.panel.judged, wide=first))

    def status(auc: float, panel: Panel, *amid: str, near: tuple[str, ...] = ()) -> str:
        apart = Separable(auc, (0.5, 0.5, 0.5), 20_000, ("spend_90d",), amid, near)
        found = JOINT.measure(replace(seen, panel=panel, separable=apart))
        assert [one.name for one in found.contributors] == ["spend_90d"]
        assert "AUC" not in "".join(found.words), "it is read by whoever runs a shop"
        return JOINT.status(found.value)

    usual = replace(seen.panel, judged=replace(seen.panel.judged, wide={}))
    assert [status(auc, usual) for auc in (0.52, 0.55, 0.6)] == ["ok", "warning", "page"]
    assert [status(auc, usual, "a sale") for auc in (0.54, 0.56, 0.61)] == ["ok", "warning", "page"]
    assert [status(auc, wide) for auc in (0.6, 0.63, 0.7)] == ["ok", "warning", "page"]
    for panel in (usual, wide):  # near two occasions limits are as wide as near one
        told = [status(auc, panel, near=("a sale",)) for auc in (0.6, 0.63, 0.75)]
        assert told == ["ok", "warning", "page"]


def test_customers_that_go_missing_are_seen(fewer: Shop, tmp_path: Path) -> None:
    """Else: a source that lost a region looks fine, for the rest are as they were."""
    assert f"{NAME} population" in loud(monitoring.run(fewer.copy(tmp_path).settings, html=False))


@pytest.mark.parametrize(("days", "status"), [(1, "ok"), (3, "warning"), (20, "page")])
def test_features_that_nobody_refreshed_are_told_and_nothing_else_is(
    shop: Shop, days: int, status: str
) -> None:
    """Else: the nightly job has failed for a fortnight, and whatever stood still is an alert of its own."""
    shop.publish(changed("spend_90d", 100) if days > 1 else lambda rows: rows)
    verdict = monitoring.run(replace(shop.settings, as_of=shop.moment + days * DAY), html=False)
    by = {finding.check: finding for finding in verdict.findings if finding.subject == NAME}
    assert by["freshness"].status == status
    means = {
        "ok": "less than a day|1.0 days old$",
        "warning": "old: answers say so, and no later features",
        "page": "old: nobody is answered",
    }
    assert re.search(means[status], by["freshness"].words.en), "whoever reads it knows whether it matters"
    assert {f.check for f in by.values() if f.status != "ok"} <= {"freshness"}
    if days > 1:
        cause, advice = by["freshness"].cause, by["freshness"].advice
        assert cause is not None
        assert advice is not None
        assert cause.en.startswith("the log ends on "), "no build can bring what never came"
        assert "ask the sources' owners" in advice.en
        assert "not judged while the features are stale" in by["features"].words.en


def test_features_that_are_old_while_the_log_goes_on_are_the_builds_fault(shop: Shop) -> None:
    """Else: somebody asks the till's owner for files that are there."""
    settings = replace(shop.settings, as_of=shop.moment, stale_after=DAY / 2)  # the day before is published
    (fresh,) = [one for one in monitoring.run(settings, html=False).findings if one.check == "freshness"]
    assert fresh.status == "warning"
    assert fresh.cause is not None
    assert fresh.advice is not None
    assert fresh.cause.en.startswith("the log has all days until ")
    assert "`propensity features build` stopped" in fresh.advice.en


def test_what_came_after_the_last_publishing_is_judged_all_the_same(shop: Shop) -> None:
    """Else: a snapshot is rolled back, or a build fails, and the tills that stop on the day after are seen by
    nobody until somebody publishes again."""
    log = Log.open(shop.settings)
    paths = list((log.folder / "orders").rglob("*.parquet"))
    for path in paths:
        rows = pq.read_table(path, partitioning=None)
        pq.write_table(rows.filter(pc.less(rows["at"], pa.scalar(shop.moment - DAY))), path)
    settings = replace(shop.settings, as_of=shop.moment)  # the day before is published
    verdict = monitoring.run(settings, html=False)
    assert loud(verdict)["orders received"] == "page"
    day, end = f"{shop.moment - DAY:%Y-%m-%d}", f"{shop.moment:%Y-%m-%d}"
    assert verdict.words.en.startswith(f"page as of {end}: ")
    assert verdict.folder.name == f"{shop.moment:%Y%m%dT%H%M%SZ}", "else it takes the place of the day before"
    assert f"judged until {end}, features and predictions only until {day}: nothing later" in verdict.words.en
    assert f"日志接收情况判断至{end}，特征与预测仅判断至{day}" in report.page(verdict)


def test_a_release_that_cannot_be_read_pages_with_the_reason(shop: Shop) -> None:
    """Else: nobody is answered, and the monitoring ends in an error, or is content."""
    with (shop.settings.home / "releases" / NAME / "1" / "card.json").open("a") as card:
        card.write(" ")
    verdict = monitoring.run(shop.settings, html=False)
    assert loud(verdict)[f"{NAME} readable"] == "page"
    assert f"{NAME}: nothing can be answered: " in verdict.words.en


def test_nothing_published_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(NoBuild, match="propensity features build"):
        monitoring.run(Settings(home=tmp_path / "empty"))


def test_without_a_release_tables_and_indicators_are_judged_and_the_line_says_so(
    usual: Shop, tmp_path: Path
) -> None:
    """Else: a shop that has not released a model yet is not told of a feed that stopped."""
    shop = usual.copy(tmp_path)
    shutil.rmtree(shop.settings.home / "releases")
    settings = declaring(shop, tmp_path, own_check("own", "Reading(1.5, Words('our own', '自定义'))", "shop"))
    verdict = monitoring.run(settings)
    assert loud(verdict) == {"log own": "warning"}
    assert {c.name for c in CHECKS if c.of != "release"} < {f.check for f in verdict.findings}
    assert "no model is released, so none is judged: `propensity promote`" in verdict.words.en
    assert "尚无已发布模型" in verdict.words.zh
    assert verdict.page is not None
    assert "no model is released" in verdict.page.read_text("utf-8")
    assert verdict.exit_code == 3


def test_a_day_counted_from_the_log_is_the_day_that_was_published(shop: Shop) -> None:
    """Else: what was backfilled and what is counted day by day are two shops, and every morning is a jump."""
    build = Build.open(shop.settings, OnlineRows.open(shop.settings).current().build)
    model = releases.load(shop.settings, NAME).model
    store = profiles.Store(shop.settings, model)
    before = store.read()
    shutil.rmtree(build.folder)
    shop.publish()
    other = Build.open(shop.settings)
    other.path(shop.moment - DAY).unlink(missing_ok=True)
    shutil.rmtree(store.folder)
    days = [shop.moment - back * DAY for back in range(1, 40)]
    assert profiling.update(shop.settings, [store], Build.open(shop.settings), days) == 39
    assert profiling.update(shop.settings, [store], Build.open(shop.settings), days) == 0
    again = store.read()
    place = int(np.searchsorted(before.days, again.days[-1]))
    assert before.days[place] == again.days[-1]
    assert np.array_equal(before.rows[place], again.rows[-1])
    assert np.array_equal(before.nulls[place], again.nulls[-1])
    assert np.allclose(before.sums[place], again.sums[-1], rtol=1e-5)


def test_days_whose_files_were_mended_are_counted_anew(shop: Shop) -> None:
    """Else: what was sent late is in the log, and the figures of the days before it came stay wrong."""
    model = releases.load(shop.settings, NAME).model
    assert isinstance(model, Model)
    store = profiles.Store(shop.settings, model)
    build = Build.open(shop.settings)
    days = [build.moments[-1] - n * DAY for n in range(40)]
    profiling.update(shop.settings, [store], build, days)
    assert store.outdated(build, build.moments[-1]) == set(), "the same log"
    known = json.loads((build.folder / "digests.json").read_text("utf-8"))
    mended = f"{days[9]:%Y-%m-%d}"
    known["orders"][mended] = "other rows"
    (build.folder / "digests.json").write_text(json.dumps(known), "utf-8")
    assert store.outdated(build, build.moments[-1]) == {profiles.day_of(day) for day in days[:10]}
    assert profiling.update(shop.settings, [store], build, days) == 10
    assert profiling.update(shop.settings, [store], build, days) == 0, "once"


def test_the_report_says_first_what_happened_and_fits_a_phone(in_cents: InCents, tmp_path: Path) -> None:
    """Else: whoever opens it on the way to work sees a table, cut off."""
    verdict = in_cents.verdict
    assert verdict.page_error is None
    assert verdict.page is not None
    assert verdict.closer is not None
    page = verdict.page.read_text("utf-8")
    assert len(page.encode()) < 500_000
    for words in ("What to do:", "处理建议", "Most of it:", "evidently.html"):
        assert words in page
    for name in {one.check for one in verdict.findings} - {"indicators"}:  # those say what each is
        assert all(escape(words) in page for words in verdict.asked[name]), name
    assert page.index('<p class="banner warning">') < page.index("What to do:") < page.index("Check")
    drawn = verdict.closer.read_text("utf-8")
    assert "spend_90d" in drawn
    assert "groups_left_30d" not in drawn, "what did not move is not drawn"
    for width in (360, 1280):
        seen = look(verdict.page, width, tmp_path)
        assert not seen.overflows
        assert seen.ink > 0.005
    names = (
        "import sys, monitoring; print(*({'evidently', 'mlflow', 'feast', 'lightgbm'} & set(sys.modules)))"
    )
    loaded = subprocess.run([sys.executable, "-c", names], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == ""


@pytest.mark.parametrize("fault", ["crash", "timeout", "disk", "ours"])
def test_evidently_that_fails_changes_no_verdict_and_is_reported(
    fewer: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    """Else: the day that Evidently chokes on the data is the day that nobody is told."""
    shop = fewer.copy(tmp_path)
    if fault == "timeout":
        monkeypatch.setattr(closer, "TIMEOUT", 0.01)
    elif fault == "ours":
        monkeypatch.setattr(closer, "WEEKS", "four")
    elif fault == "disk":
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "no such folder"))
    else:  # the process cannot find what it needs
        monkeypatch.setenv("PYTHONPATH", str(tmp_path) + os.pathsep + os.environ.get("PYTHONPATH", ""))
        (tmp_path / "evidently.py").write_text("raise SystemError('it chokes')")
    verdict = monitoring.run(shop.settings)
    assert f"{NAME} population" in loud(verdict)
    assert verdict.closer is None
    assert verdict.page_error is not None
    said = {
        "crash": "it chokes", "timeout": "more than 0.01 s", "disk": "FileNotFoundError", "ours": "TypeError",
    }  # fmt: skip
    assert said[fault] in verdict.page_error
    traces = [one.exc_info for one in caplog.records if one.name == "propensity.monitoring"]
    assert len(traces) == (fault == "ours"), "what nobody expects is told with its place, too"
    assert verdict.page is not None
    assert "was not written" in verdict.page.read_text("utf-8")
    raw = json.loads((verdict.folder / "verdict.json").read_text("utf-8"))
    assert (raw["closer"], raw["page_error"]) == (None, verdict.page_error)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_every_check_has_words_reasons_and_advice(check: Check) -> None:
    """Else: a threshold that nobody can defend wakes somebody at night, who does not know what to do."""
    for words in (check.words, check.advice):
        assert words.en
        assert words.zh
    assert len(check.reason) > 30
    assert check.status(check.warning - 1e-9) == "ok"
    assert check.status(check.warning) in ("warning", "page")
    assert check.status(float("nan")) == "ok"


def test_a_fault_of_one_table_is_one_message(in_cents: InCents) -> None:
    """Else: an outage of sixty columns is sixty messages."""
    groups = report.topics([finding for finding in in_cents.verdict.findings if finding.status != "ok"])
    assert len(groups) == 1
    assert {finding.subject for finding in groups[0]} == {NAME}


def test_on_a_quiet_night_evidently_draws_nothing_as_the_report_says(usual: Shop, tmp_path: Path) -> None:
    """Else: megabytes a night, in which nothing is to be seen."""
    shop = usual.copy(tmp_path)
    again = monitoring.run(shop.settings, html=False).folder / "evidently.html"
    again.write_text("of another run of this night")
    verdict = monitoring.run(shop.settings)
    assert (verdict.closer, verdict.page_error, verdict.page and verdict.page.exists()) == (None, None, True)
    assert not (verdict.folder / "evidently.html").exists()
    assert "propensity monitor report" in verdict.page.read_text("utf-8")


def test_whoever_is_told_need_not_wait_for_evidently_and_reads_what_is_still_on(in_cents: InCents) -> None:
    """Else: a page waits five minutes for a drawing; or a list says that it is on, and the report that all is
    well."""
    assert in_cents.order == ["told", "drawn"]
    assert "is being drawn" in in_cents.told
    assert "Still on, and quiet by this day" in in_cents.told
    assert "churn_28d: moved" in in_cents.told
    assert in_cents.verdict.page is not None
    assert "evidently.html" in in_cents.verdict.page.read_text("utf-8")


def test_what_ended_in_the_last_two_weeks_is_in_the_report(usual: Shop, tmp_path: Path) -> None:
    """Else: whoever was away reads that something was wrong, and nowhere that it is over, or since when."""
    shop = usual.copy(tmp_path)
    for back, findings in (
        (25, [found("old", value=1.5)]), (24, [found("old", value=0)]), (23, [found("old", value=0)]),
        (9, [found("orders", value=2.5)]), (8, [found("orders", value=0)]), (7, [found("orders", value=0)]),
        (6, [found("still", value=1.5)]),
    ):  # fmt: skip
        alerts.take(shop.settings, findings, shop.moment - back * DAY)
    verdict = monitoring.run(shop.settings, html=False)
    due = found(advice=Words("run `propensity ingest`", "运行 `propensity ingest`"))
    verdict = replace(verdict, page=verdict.folder / "report.html", findings=(*verdict.findings, due))
    written.write(shop.settings, verdict, "zh")
    assert "<code>propensity ingest</code>" in verdict.page.read_text("utf-8")
    text = (verdict.folder / "report.html").read_text("utf-8")
    assert "`" not in text, "commands are told from words"
    row = next(one for one in text.split("<tr>") if '<span lang="en">orders: features</span>' in one)
    assert f"{shop.moment - 9 * DAY:%Y-%m-%d}" in row
    assert f"{shop.moment - 7 * DAY:%Y-%m-%d}" in row
    assert "features is at 2.5" in row
    assert "act now" in row, "it was a page; its last two days, which were quiet, say nothing of that"
    assert "近两周已结束的告警" in text
    assert "仍未结束，但当日已无异常" not in text, "`still` was not judged today: it is not quiet"
    assert "old: features" not in text
    assert "still: features" not in text

"""The verdict: quiet on a steady shop, loud on a planted fault, and never silenced by its own page."""

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from small_world import LAST, MOMENTS, NAMES, Change, release, rows, settings_of, world

import monitoring
from features import online
from features.errors import NoBuild, ReleaseError, UsageError
from features.moments import DAY
from features.settings import Settings
from features.words import Words
from monitoring import Verdict, report
from monitoring.checks import CHECKS, Check, Reading, by_name


def findings(verdict: Verdict) -> dict[str, str]:
    return {finding.check: finding.status for finding in verdict.findings}


def drifted(verdict: Verdict) -> set[str]:
    return {drift.name for seen in verdict.evidence for drift in seen.features if drift.drifted}


def test_a_steady_shop_is_quiet_and_says_what_it_could_not_judge(home: Settings, tmp_path: Path) -> None:
    """Else: a verdict that always warns is never read, and tenure grows by itself."""
    settings = settings_of(home)
    release(settings, tmp_path, world(settings))
    verdict = monitoring.run(settings, html=False)
    assert (verdict.status, verdict.exit_code) == ("ok", 0)
    assert verdict.words.en == (
        "ok as of 2017-12-31: churn_28d: inputs and predictions as in training; features not counted, "
        "as their windows still fill (the log starts 2017-01-01): 2"
    )
    assert "正常（截至2017-12-31）" in verdict.words.zh
    assert str(verdict) == f"{verdict.words.en}\n{verdict.words.zh}"
    (seen,) = verdict.evidence
    assert [drift.name for drift in seen.features if drift.filling] == ["overdue", "tenure"]
    assert findings(verdict) == {check.name: "ok" for check in CHECKS}


def times(column: str, factor: float) -> Change:
    def change(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        matrix[:, NAMES.index(column)] *= factor
        return matrix

    return change


def test_a_unit_error_warns_and_names_the_feature(home: Settings, tmp_path: Path) -> None:
    """Else: spending in cents is scored as if in dollars until somebody asks why."""
    settings = settings_of(home)
    release(settings, tmp_path, world(settings, times("spend_90d", 100)))
    verdict = monitoring.run(settings, html=False)
    assert (verdict.status, verdict.exit_code) == ("warning", 3)
    assert drifted(verdict) == {"spend_90d"}
    assert "churn_28d: 1 of 4 features drifted, most of all spend_90d" in verdict.words.en
    assert "4个特征中有1个漂移，最明显的是spend_90d" in verdict.words.zh


def test_what_a_model_leans_on_pages_through_its_predictions(home: Settings, tmp_path: Path) -> None:
    """Else: every prediction is wrong, and the feature that did it is not counted or one among many."""
    settings = settings_of(home)
    release(settings, tmp_path, world(settings, times("overdue", 10)))
    verdict = monitoring.run(settings, html=False)
    assert (verdict.status, verdict.exit_code) == ("page", 4)
    assert findings(verdict)["predictions"] == "page"
    assert "predictions differ by PSI" in verdict.words.en


def test_a_season_that_training_saw_is_no_news(home: Settings, tmp_path: Path) -> None:
    """Else: every December pages. This one looks like the strongest week of the training window."""

    def strongest(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        matrix[:, :2] = rows(10)[:, :2]
        return matrix

    settings = settings_of(home)
    release(settings, tmp_path, world(settings, strongest))
    assert drifted(monitoring.run(settings, html=False)) == set()


@pytest.mark.parametrize(("customers", "status"), [(1500, "ok"), (1000, "warning"), (400, "page")])
def test_customers_that_go_missing_are_seen(
    home: Settings, tmp_path: Path, customers: int, status: str
) -> None:
    """Else: a source that lost a region looks fine, for the rest are as they were."""
    settings = settings_of(home)
    release(settings, tmp_path, world(settings, customers_now=customers))
    assert findings(monitoring.run(settings, html=False))["population"] == status


@pytest.mark.parametrize(("days", "status"), [(1, "ok"), (3, "warning"), (20, "page")])
def test_features_that_nobody_refreshed_are_seen(
    home: Settings, tmp_path: Path, days: int, status: str
) -> None:
    """Else: the nightly job has been failing for a fortnight, and the verdict is ok every morning."""
    settings = settings_of(home)
    release(settings, tmp_path, world(settings))
    later = Settings(home=settings.home, as_of=LAST + days * DAY)
    verdict = monitoring.run(later, html=False)
    assert findings(verdict)["freshness"] == status
    assert verdict.moment == LAST


def test_a_release_that_cannot_be_read_pages_with_the_reason(home: Settings, tmp_path: Path) -> None:
    """Else: the check of the models ends in an error, and the one that is fine is not judged."""
    settings = settings_of(home)
    build = world(settings)
    release(settings, tmp_path, build)
    release(settings, tmp_path, build, "repurchase_7d")
    with (settings.home / "releases" / "repurchase_7d" / "1" / "card.json").open("a") as card:
        card.write(" ")
    verdict = monitoring.run(settings, html=False)
    assert verdict.exit_code == 4
    assert "repurchase_7d: nothing can be answered: " in verdict.words.en
    assert {f.status for f in verdict.findings if f.release == "churn_28d"} == {"ok"}


def test_features_that_are_defined_differently_now_page(home: Settings, tmp_path: Path) -> None:
    """Else: the drift of a changed definition is reported as the customers' own."""
    settings = settings_of(home)
    build = world(settings)
    release(settings, tmp_path, build)
    other = world(settings, features=NAMES[:-1])
    assert other.id != build.id
    verdict = monitoring.run(settings, html=False)
    assert verdict.exit_code == 4
    assert "tenure (absent)" in verdict.words.en


def test_a_newer_build_is_compared_with_the_one_that_was_trained_on(home: Settings, tmp_path: Path) -> None:
    """Else: after each night's build there is nothing to compare with."""
    settings = settings_of(home)
    build = world(settings)
    release(settings, tmp_path, build)
    folder = build.folder.with_name("f" * 16)
    newer = replace(build, id=folder.name, folder=folder, log="newer", moments=MOMENTS[-2:])
    newer.folder.mkdir()
    for moment in newer.moments:
        shutil.copyfile(build.path(moment), newer.path(moment))
    newer.write_manifest()
    online.publish(settings, newer, LAST)
    assert monitoring.run(settings, html=False).status == "ok"
    shutil.rmtree(build.folder)
    with pytest.raises(NoBuild, match="lacks the snapshots that churn_28d 1 was trained on"):
        monitoring.run(settings, html=False)


def test_nothing_published_or_released_says_what_to_run(home: Settings) -> None:
    settings = settings_of(home)
    with pytest.raises(NoBuild, match="propensity features build"):
        monitoring.run(settings)
    world(settings)
    with pytest.raises(ReleaseError, match="propensity promote"):
        monitoring.run(settings)


def test_the_machine_readable_verdict_holds_every_figure(home: Settings, tmp_path: Path) -> None:
    """Else: a dashboard has to parse a sentence."""
    settings = settings_of(home)
    release(settings, tmp_path, world(settings, times("spend_90d", 100)))
    steps: list[tuple[int, int]] = []
    verdict = monitoring.run(settings, html=False, progress=lambda _, done, of: steps.append((done, of)))
    assert steps == [(0, 1)]
    assert verdict.folder == settings.home / "reports" / "20171231T000000Z"
    raw = json.loads((verdict.folder / "verdict.json").read_text("utf-8"))
    assert (raw["status"], raw["exit_code"], raw["moment"]) == ("warning", 3, "2017-12-31T00:00:00Z")
    assert raw["words"] == verdict.words._asdict()
    filling = {"overdue": "filling", "tenure": "filling"}
    states = {feature["name"]: feature["state"] for feature in raw["releases"][0]["features"]}
    assert states == {**dict.fromkeys(NAMES, "ok"), **filling, "spend_90d": "drifted"}
    assert {finding["check"] for finding in raw["findings"]} == {check.name for check in CHECKS}
    first = (verdict.folder / "verdict.json").read_bytes()
    monitoring.run(settings, html=False)
    assert (verdict.folder / "verdict.json").read_bytes() == first


def test_evidentlys_page_is_written_in_a_process_of_its_own(home: Settings, tmp_path: Path) -> None:
    """Else: a column that it cannot compare aborts it: all null, constant, infinite."""

    def odd(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        matrix[:, NAMES.index("discount_share_30d")] = np.nan
        matrix[:, NAMES.index("overdue")] = 1.0
        matrix[0, NAMES.index("spend_90d")] = np.inf
        return matrix

    settings = settings_of(home)
    release(settings, tmp_path, world(settings, odd))
    verdict = monitoring.run(settings)
    assert verdict.page_error is None
    assert verdict.page == verdict.folder / "report.html"
    page = verdict.page.read_text("utf-8")
    assert "probability churn_28d" in page
    assert "spend_90d" in page
    assert str(verdict).splitlines()[-1] == f"Evidently's page: {verdict.page}"
    names = "import sys, monitoring; print(*({'evidently', 'sklearn', 'pandas'} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", names], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == ""


@pytest.mark.parametrize("fault", ["crash", "timeout", "disk"])
def test_a_page_that_fails_changes_no_verdict_and_is_reported(
    home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """Else: the day that Evidently chokes on the data is the day that nobody is told."""
    settings = settings_of(home)
    release(settings, tmp_path, world(settings, times("overdue", 10)))
    old = settings.home / "reports" / "20171231T000000Z" / "report.html"
    old.parent.mkdir(parents=True)
    old.write_text("yesterday's")
    if fault == "timeout":
        monkeypatch.setattr(report, "TIMEOUT", 0.01)
    elif fault == "disk":
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "no such folder"))
    else:  # the process cannot find what it needs
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        (tmp_path / "evidently.py").write_text("raise SystemError('it chokes')")
    verdict = monitoring.run(settings)
    assert (verdict.status, verdict.page) == ("page", None)
    assert verdict.page_error is not None
    said = {"crash": "it chokes", "timeout": "more than 0.01 s", "disk": "FileNotFoundError"}
    assert said[fault] in verdict.page_error
    assert "was not written" in str(verdict)
    assert not old.exists()
    raw = json.loads((verdict.folder / "verdict.json").read_text("utf-8"))
    assert (raw["exit_code"], raw["page"], raw["page_error"]) == (4, None, verdict.page_error)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_every_check_has_words_and_reasons(check: Check) -> None:
    """Else: a threshold that nobody can defend wakes somebody at night."""
    assert check.words.en
    assert check.words.zh
    assert len(check.reason) > 30
    assert check.status(check.warning - 1e-9) == "ok"
    assert check.status(check.page) == "page"
    assert check.status(float("nan")) == "page"


def test_a_shops_own_check_is_picked_up(home: Settings, tmp_path: Path) -> None:
    """Else: adding a check takes an edit of the product."""
    bundled = home.shop
    shop = tmp_path / "shop"
    shutil.copytree(bundled, shop)
    (shop / "shop.py").write_text(
        "from features.words import Words\n"
        "from monitoring.checks import Check, Reading\n"
        "CHECKS = (Check(name='own', words=Words('a', 'b'), warning=1, page=2, reason='always warns',\n"
        "    measure=lambda evidence: Reading(1.5, Words('our own', '自定义'))),)\n"
    )
    settings = Settings(home=home.home, as_of=LAST, shop=shop)
    release(settings, tmp_path, world(settings))
    verdict = monitoring.run(settings, html=False)
    assert findings(verdict)["own"] == "warning"
    assert "churn_28d: our own" in verdict.words.en
    assert verdict.exit_code == 3


def test_declarations_that_cannot_be_meant_are_refused() -> None:
    def nothing(_: object) -> Reading:
        return Reading(0, Words("", ""))

    with pytest.raises(UsageError, match="not above page"):
        Check(name="x", words=Words("a", "b"), warning=2, page=1, reason="because", measure=nothing)
    with pytest.raises(UsageError, match="declared twice"):
        by_name(CHECKS[:1])

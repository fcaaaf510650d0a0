"""Reports that nobody needs any more. If these fail, a disk fills up, or a message points to nothing."""

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from alerting import MONDAY, Days, found

from monitoring import old_reports, report


def written(days: Days) -> str:
    """The pages of the day that comes next, where a run writes them; the address that a run passes on."""
    folder = days.settings.home / "reports" / f"{days.now:{old_reports.FOLDER}}"
    folder.mkdir(parents=True)
    (folder / "verdict.json").write_text('{"status": "ok", "closer": "evidently.html"}')
    (folder / "report.html").write_text(f"a page, and {report.LINK}")
    (folder / "evidently.html").write_text("a page")
    return f"reports/{folder.name}/report.html"


def kept(days: Days) -> list[str]:
    return sorted(one.name[:8] for one in (days.settings.home / "reports").iterdir() if one.is_dir())


def test_reports_older_than_declared_are_removed_and_no_others(tmp_path: Path) -> None:
    """Else: the disk fills with 18 MB a day, or what somebody put beside them is gone."""
    days = Days(tmp_path, "\n[monitoring]\nkeep_days = 3\n")
    for _ in range(6):
        days.day(report=written(days))
    reports = days.settings.home / "reports"
    (reports / "targets.html").write_text("a page")
    (reports / "mine").mkdir()
    last = MONDAY + timedelta(days=5)
    said = old_reports.remove(days.settings, last)
    assert said is not None
    assert said.en == "reports older than 3 days removed: 2"
    assert kept(days) == [*(f"{last - timedelta(days=n):%Y%m%d}" for n in (3, 2, 1, 0)), "mine"]
    assert (reports / "targets.html").exists()
    assert old_reports.remove(days.settings, last) is None, "nothing is said where nothing was to do"


def test_a_month_is_kept_where_nothing_is_declared(tmp_path: Path) -> None:
    """Else: last week's message points to nothing."""
    days = Days(tmp_path)
    days.day(report=written(days))
    assert old_reports.remove(days.settings, MONDAY + timedelta(days=30)) is None
    assert old_reports.remove(days.settings, MONDAY + timedelta(days=31)) is not None


def test_what_evidently_drew_goes_sooner_and_the_report_says_so(tmp_path: Path) -> None:
    """Else: megabytes a night are kept that nobody opens; or a link leads nowhere."""
    days = Days(tmp_path, "\n[monitoring]\nkeep_drawn_days = 2\n")
    for _ in range(5):
        days.day(report=written(days))
    assert old_reports.remove(days.settings, MONDAY + timedelta(days=4)) is None, "no report was removed"
    assert len(kept(days)) == 5
    for place, folder in enumerate(sorted((days.settings.home / "reports").iterdir())):
        page = (folder / "report.html").read_text("utf-8")
        drawn = json.loads((folder / "verdict.json").read_text("utf-8"))["closer"]
        if place < 2:
            assert not (folder / "evidently.html").exists()
            assert "removed after 2 days" in page
            assert "保留2天后已删除" in page
            assert (drawn, report.LINK in page) == (None, False)
        else:
            assert (folder / "evidently.html").exists()
            assert (drawn, report.LINK in page) == ("evidently.html", True)


def test_what_the_message_of_an_alert_that_is_on_points_to_is_kept(tmp_path: Path) -> None:
    """Else: whoever acts on it at last opens a page that is gone."""
    days = Days(tmp_path, "\n[monitoring]\nkeep_days = 3\n")
    days.day(found("orders"), report=written(days))
    for _ in range(5):
        days.day(found("orders"), report=written(days))
    old_reports.remove(days.settings, days.now)
    assert kept(days)[0] == f"{MONDAY:%Y%m%d}"
    assert len(kept(days)) == 1 + 3
    for _ in range(2):
        days.day(found("orders", status="ok", value=0.0), report=written(days))
    old_reports.remove(days.settings, days.now)
    assert kept(days)[0] > f"{MONDAY:%Y%m%d}", "it is over"


def test_a_folder_that_stays_fails_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else: one file of another owner ends the daily run before it is done."""
    days = Days(tmp_path, "\n[monitoring]\nkeep_days = 3\n")
    days.day(report=written(days))

    def denied(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(shutil, "rmtree", denied)  # tests may run as root, whom nothing is denied
    said = old_reports.remove(days.settings, MONDAY + timedelta(days=9))
    assert said is not None
    assert "old reports could not be removed" in said.en
    assert "Permission denied" in said.en

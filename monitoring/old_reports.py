"""Reports that nobody needs any more, and Evidently's pages beside them, which are megabytes each.

A run removes the folders home/reports/<moment> that are `keep_days` of [monitoring] older than what it
judged, and Evidently's page of those that are `keep_drawn_days` older, as our page then says where it linked
to it; but nothing that the messages of what is still on point to. What alerts and baselines remember is
elsewhere.
"""

import re
import shutil
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from features.describe.say import words
from features.files import write_atomically
from features.settings import Settings
from features.shop import shop_of
from features.words import Words
from monitoring.alert_store import AlertStore
from monitoring.routes import declared

CLOSER = "evidently.html"
FOLDER = "%Y%m%dT%H%M%SZ"  # of a moment's report


def remove(settings: Settings, moment: datetime) -> Words | None:
    """Remove what is too old at the moment that a run judged; what to say of it, if there was anything.

    A folder that cannot be removed is named and fails nothing. SettingsError as routes.declared.
    """
    routes = declared(shop_of(settings))
    folders = _folders(settings.home / "reports")
    drawn = [
        one
        for one in folders
        if _moment(one) < moment - timedelta(routes.keep_drawn_days) and (one / CLOSER).exists()
    ]
    old = [one for one in folders if _moment(one) < moment - timedelta(routes.keep_days)]
    if not old and not drawn:
        return None
    with closing(AlertStore(settings)) as store:
        needed = {Path(report).parent.name for report in store.pointed_to() if report}
    gone, stuck = 0, list[str]()
    for folder in (one for one in [*old, *drawn] if one.name not in needed and one.exists()):
        try:
            if folder in old:
                shutil.rmtree(folder)
                gone += 1
            else:
                _undraw(folder, routes.keep_drawn_days)
        except OSError as error:
            stuck.append(f"{folder} ({error.strerror or error})")
    if stuck:
        return words(
            "old reports could not be removed: {which}", "无法删除旧报告：{which}", which="; ".join(stuck)
        )
    if not gone:
        return None
    return words(
        "reports older than {days} days removed: {n}", "已删除{n}份{days}天前的报告",
        n=gone, days=f"{routes.keep_days:g}",
    )  # fmt: skip


def _undraw(folder: Path, days: float) -> None:
    """Remove Evidently's page; our page says so, and verdict.json names it no more."""
    from monitoring import report

    page, verdict = folder / "report.html", folder / "verdict.json"
    if page.exists():
        write_atomically(page, report.without_closer(page.read_text("utf-8"), days).encode())
    if verdict.exists():
        raw = msgspec.json.decode(verdict.read_bytes()) | {"closer": None}
        write_atomically(verdict, msgspec.json.format(msgspec.json.encode(raw)))
    (folder / CLOSER).unlink()


def _folders(reports: Path) -> list[Path]:
    if not reports.is_dir():
        return []
    return [one for one in reports.iterdir() if re.fullmatch(r"\d{8}T\d{6}Z", one.name) and one.is_dir()]


def _moment(folder: Path) -> datetime:
    return datetime.strptime(folder.name, FOLDER).replace(tzinfo=UTC)

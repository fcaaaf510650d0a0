"""Reports that nobody needs any more: Evidently's page alone is some 18 MB a run.

A run removes the folders home/reports/<moment> that are `keep_days` of [monitoring] older than what it
judged, but those that the messages of what is still on point to. What alerts and baselines remember is
elsewhere.
"""

import re
import shutil
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from features.describe.say import words
from features.settings import Settings
from features.shop import shop_of
from features.words import Words
from monitoring.alert_store import AlertStore
from monitoring.routes import declared

FOLDER = "%Y%m%dT%H%M%SZ"  # of a moment's report


def remove(settings: Settings, moment: datetime) -> Words | None:
    """Remove what is too old at the moment that a run judged; what to say of it, if there was anything.

    A folder that cannot be removed is named and fails nothing. SettingsError as routes.declared.
    """
    days = declared(shop_of(settings)).keep_days
    old = [one for one in _folders(settings.home / "reports") if _moment(one) < moment - timedelta(days)]
    if not old:
        return None
    with closing(AlertStore(settings)) as store:
        needed = {Path(report).parent.name for report in store.pointed_to() if report}
    gone, stuck = 0, list[str]()
    for folder in (one for one in old if one.name not in needed):
        try:
            shutil.rmtree(folder)
            gone += 1
        except OSError as error:
            stuck.append(f"{folder} ({error.strerror or error})")
    if stuck:
        return words(
            "old reports could not be removed: {which}", "无法删除旧报告：{which}", which="; ".join(stuck)
        )
    if not gone:
        return None
    return words(
        "reports older than {days} days removed: {n}", "已删除{n}份{days}天前的报告", n=gone, days=f"{days:g}"
    )


def _folders(reports: Path) -> list[Path]:
    if not reports.is_dir():
        return []
    return [one for one in reports.iterdir() if re.fullmatch(r"\d{8}T\d{6}Z", one.name) and one.is_dir()]


def _moment(folder: Path) -> datetime:
    return datetime.strptime(folder.name, FOLDER).replace(tzinfo=UTC)

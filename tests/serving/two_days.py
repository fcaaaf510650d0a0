"""A home of two days between which some customers changed, one went and one came; for tests of what is told
in bulk."""

from datetime import datetime
from pathlib import Path

import numpy as np
from builds_by_hand import write_build
from running import CUSTOMERS, release, settings_of
from segments_by_hand import FEATURES, saved
from tiny import TINY_FEATURES, TINY_MOMENT, tiny_rows

from features import online
from features.compute.builds import Build
from features.moments import DAY
from features.settings import Settings
from serving import kinds, releases

FIRST, SECOND = TINY_MOMENT - DAY, TINY_MOMENT
PEOPLE = CUSTOMERS[:300]
CHANGED = PEOPLE[10:15]
CAME, WENT = "newcomer", PEOPLE[20]


def two_days(folder: Path) -> tuple[Settings, Build]:
    """Released: churn_28d and segmentation, with everyone's scores of both days; nothing is published."""
    settings = settings_of(folder / "home")
    names = sorted({*TINY_FEATURES, *FEATURES})
    drawn = tiny_rows(len(PEOPLE))
    rows = np.ascontiguousarray(
        drawn[:, [TINY_FEATURES.index(n) if n in TINY_FEATURES else 0 for n in names]]
    )
    later = rows.copy()
    later[10:15] += 40
    stay = [place for place, id in enumerate(PEOPLE) if id != WENT]
    after = [PEOPLE[place] for place in stay] + [CAME]
    then = np.vstack([later[stay], later[:1]])
    build = write_build(settings, names, {FIRST: (PEOPLE, rows), SECOND: (after, then)})
    release(settings, folder, build, "churn_28d")
    releases.publish(settings, saved(folder / "segmentation", hashes=build.features), "segmentation", "1")
    for moment in (FIRST, SECOND):
        score(settings, build, moment)
    return settings, build


def score(settings: Settings, build: Build, moment: datetime) -> None:
    """Everyone's scores of that moment, by all that is released."""
    for one in kinds.in_order(releases.load(settings, name) for name in releases.names(settings)):
        kinds.score(settings, one, build, moment)


def publish(settings: Settings, build: Build, moment: datetime) -> None:
    """Let the service answer from that day."""
    online.publish(settings, build, moment)

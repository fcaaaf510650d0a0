"""A home whose customers a test moves from snapshot to snapshot, scored and published as a build does it."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from builds_by_hand import write_build
from click.testing import CliRunner, Result
from logs import OF_LOG
from segments_by_hand import FEATURES, NOBODY
from tiny import TINY_FEATURES, TINY_MOMENT, tiny_rows

from features import online
from features.compute.builds import Build
from features.definitions import catalogue, feature_hash
from features.moments import iso
from features.settings import BUNDLED_SHOPS, Settings
from propensity import main
from propensity.scoring import score_releases

NAMES = (*TINY_FEATURES, *(name for name in FEATURES if name not in TINY_FEATURES))
WEEK = timedelta(days=7)
HEAD = """
from features.words import Words
from serving.segments import DeclaredSegment
from serving.watches import Watch
"""


class Everyone:
    """c0000, c0001 ... at weekly snapshots, each with an order on one day: a segmentation by hand has them in
    the stage purchase, and in exit from 150 days of silence on."""

    def __init__(self, folder: Path, shop_py: str = "", shop_toml: str = "", customers: int = 20) -> None:
        shop = folder / "shop"
        shop.mkdir(parents=True)
        shutil.copy(BUNDLED_SHOPS / "complete_journey" / "shop.toml", shop)
        with (shop / "shop.toml").open("a", encoding="utf-8") as file:
            file.write(shop_toml)
        (shop / "shop.py").write_text(HEAD + shop_py, "utf-8")
        self.settings = replace(Settings(), home=folder / "home", shop=shop, as_of=TINY_MOMENT)
        self.ids = [f"c{n:04}" for n in range(customers)]
        self._snapshots: dict[datetime, tuple[Sequence[str], np.ndarray]] = {}

    def week(self, number: int, days: dict[str, float] | None = None, gone: Sequence[str] = ()) -> Settings:
        """Build, score and publish the snapshot of that week; settings with it as now.

        days: those of some; of all others 10. gone: who is not in it.
        """
        rows = np.full((len(self.ids), len(NAMES)), [NOBODY.get(name, 0) for name in NAMES], np.float32)
        rows[:, : len(TINY_FEATURES)] = tiny_rows(len(self.ids))
        rows[:, NAMES.index("days_since_order")] = [(days or {}).get(id, 10.0) for id in self.ids]
        rows[:, NAMES.index("order_days_365d")] = 1
        kept = [place for place, id in enumerate(self.ids) if id not in gone]
        moment = TINY_MOMENT + number * WEEK
        self._snapshots[moment] = ([self.ids[place] for place in kept], rows[kept])
        self.settings = replace(self.settings, as_of=moment)
        self.score(self.build())
        online.publish(self.settings, self.build(), moment)
        return self.settings

    def build(self) -> Build:
        known = catalogue()
        hashes = {name: feature_hash(known[name], known, OF_LOG) for name in NAMES}
        return write_build(self.settings, NAMES, self._snapshots, hashes=hashes)

    def score(self, build: Build) -> None:
        """Everybody of now, with what is released: as `features build` and `promote` do."""
        score_releases(self.settings, build, self.settings.now())

    def run(self, *arguments: str, **env: str) -> Result:
        """A command of this home."""
        home = {"PROPENSITY_HOME": str(self.settings.home), "PROPENSITY_SHOP": str(self.settings.shop)}
        return CliRunner().invoke(
            main, arguments, env=home | {"PROPENSITY_AS_OF": iso(self.settings.now())} | env
        )

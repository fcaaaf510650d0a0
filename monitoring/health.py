"""The health score of customers by segment, from what everyone was scored; and what churn means in this shop.

Health is what the profile of one customer calls it: of 100 such customers, how many order within the horizon
of the released churn model with the shortest one. A snapshot speaks of the day that its moment ends or is in.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from features.errors import PropensityError
from features.settings import Settings
from features.shop import shop_of
from features.words import Words
from serving import releases, score_store, segmentation
from serving.models import Model
from serving.releases import Release

if TYPE_CHECKING:
    import pyarrow as pa

NO_ORDER = "no_order"  # the label of churn
_EPOCH = date(1970, 1, 1)


def churn_release(settings: Settings) -> Release | None:
    """The released model of staying away with the shortest horizon; None if none can be read."""
    found = []
    for name in releases.names(settings):
        try:
            release = releases.load(settings, name)
        except PropensityError:
            continue  # monitoring pages for it; there may be another
        if isinstance(release.model, Model) and release.model.card.target.label == NO_ORDER:
            found.append((release.model.card.target.horizon_days, name, release))
    return min(found, key=lambda one: one[:2])[2] if found else None


def churn_days(settings: Settings) -> int:
    """Days without an order after which a customer is called churned: as released, else as declared."""
    release = churn_release(settings)
    if release is not None:
        return int(release.model.card.target.horizon_days)
    from training import targets  # loads what fits models

    shop = shop_of(settings)
    declared = targets.of_shop(shop)
    wanted = [declared[name] for name in shop.targets if name in declared] or list(declared.values())
    days = [one.horizon_days for one in wanted if one.label == NO_ORDER]
    return min(days or [one.horizon_days for one in declared.values() if one.label == NO_ORDER])


@dataclass(frozen=True)
class Scored:
    """Moments at which a release scored everybody, ascending."""

    name: str
    version: str
    moments: tuple[datetime, ...]

    @classmethod
    def of(cls, settings: Settings, name: str) -> "Scored":
        """Of the version in force, until now. ReleaseError if there is none."""
        version = releases.current(settings, name)
        folder = settings.home / "scores" / name / version
        found = sorted(
            datetime.strptime(path.stem, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            for path in folder.glob("*Z.parquet")
        )
        return cls(name, version, tuple(moment for moment in found if moment <= settings.now()))

    def read(self, settings: Settings, moment: datetime, columns: list[str]) -> "pa.Table":
        """What it told of everybody at one of its moments."""
        import pyarrow.parquet as pq

        path = score_store.path(settings, self.name, self.version, moment)
        return pq.read_table(path, columns=["customer_id", *columns], partitioning=None)


def lacking(settings: Settings) -> Words | None:
    """Why there is no health score; None if there is one."""
    release = churn_release(settings)
    if release is None:
        return Words(
            "no released model tells who stays away: `propensity train churn_28d`, then `propensity promote`",
            "尚未发布流失模型：请运行 `propensity train churn_28d` 与 `propensity promote`",
        )
    if not Scored.of(settings, release.name).moments:
        return Words(
            f"{release.name} {release.version} has scored nobody: run `propensity features build`",
            f"{release.name} {release.version} 尚未评分：请运行 `propensity features build`",
        )
    return None


def rows(settings: Settings, start: date, end: date) -> "pa.Table":
    """Health a day and value tier, from `start` to `end`, as `indicators.daily` has it; no rows without."""
    from monitoring.counting import table

    days, segments, values, n = [], [], [], []
    if lacking(settings) is None:
        for day, means in _by_day(settings, start, end).items():
            for segment, (value, count) in sorted(means.items()):
                days.append((day - _EPOCH).days)
                segments.append(segment)
                values.append(value)
                n.append(count)
    return table(days, "health", segments, values, n)


def _by_day(settings: Settings, start: date, end: date) -> dict[date, dict[str, tuple[float, int]]]:
    """Day -> segment -> (mean, customers); "" is everybody whom the model speaks of."""
    import pyarrow.compute as pc

    release = churn_release(settings)
    assert release is not None
    scored, tiers = Scored.of(settings, release.name), None
    if segmentation.KIND in releases.names(settings):
        tiers = Scored.of(settings, segmentation.KIND)
    zone, found = shop_of(settings).zone, dict[date, dict[str, tuple[float, int]]]()
    for moment in scored.moments:  # of several on one day the last one stays
        day = (moment - timedelta(microseconds=1)).astimezone(zone).date()
        if not start <= day <= end:
            continue
        told = scored.read(settings, moment, ["probability"])
        stays = 100 * (1 - told["probability"].to_numpy())
        inside = ~np.isnan(stays)
        means = {"": (float(stays[inside].mean()), int(inside.sum()))} if inside.any() else {}
        if tiers is not None and moment in tiers.moments:
            of = tiers.read(settings, moment, ["tier"])
            place = pc.index_in(told["customer_id"], of["customer_id"].combine_chunks())
            tier = of["tier"].take(place).to_numpy(zero_copy_only=False)
            for name in sorted({one for one in tier[inside] if one is not None}):
                own = stays[inside & (tier == name)]
                means[name] = (float(own.mean()), len(own))
        found[day] = means
    return found

"""Builds made by hand, for tests of what stands on a build rather than on a log."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.compute.builds import Build
from features.moments import DAY, parse_moment
from features.settings import Settings

STARTS = parse_moment("2017-01-01")

MakeBuild = Callable[..., Build]
MOMENT = parse_moment("2017-12-03")
NAMES = ("orders_30d", "spend_90d", "overdue")
Snapshots = Mapping[datetime, tuple[Sequence[str], NDArray[np.float32]]]


def write_build(
    settings: Settings,
    names: Sequence[str],
    snapshots: Snapshots,
    log: str = "hand",
    hashes: Mapping[str, str] | None = None,
) -> Build:
    """Write snapshots {moment: (ids ascending, matrix [n, names])} as a build, and make it current."""
    features = dict(hashes or {name: f"{sum(name.encode()):016x}" for name in names})
    id = Build.id_of(log, features)
    build = Build(
        id=id,
        folder=settings.home / "snapshots" / id,
        log=log,
        log_starts_at=STARTS,
        complete_until=max(snapshots) + DAY,
        features=features,
        moments=tuple(sorted(snapshots)),
    )
    build.folder.mkdir(parents=True, exist_ok=True)
    for moment, (ids, matrix) in snapshots.items():
        when = pa.array([moment] * len(ids), pa.timestamp("us", "UTC"))
        columns = [pa.array(matrix[:, place], pa.float32(), from_pandas=False) for place in range(len(names))]
        table = pa.table(
            [pa.array(ids, pa.string()), when, when, *columns],
            names=["customer_id", "moment", "known_at", *names],
        )
        pq.write_table(table, build.path(moment))
    build.write_manifest()
    return build


def constant(value: float, customers: int = 50, width: int = 3) -> tuple[list[str], NDArray[np.float32]]:
    """A snapshot whose every value is `value`, so that a mixture of two shows."""
    return [f"c{n:06d}" for n in range(customers)], np.full((customers, width), value, dtype=np.float32)


def weeks(make_build: MakeBuild, count: int) -> tuple[Build, list[datetime]]:
    moments = [MOMENT + 7 * n * DAY for n in range(count)]
    return make_build(NAMES, {m: constant(n) for n, m in enumerate(moments)}), moments

"""Builds made by hand, for tests of what stands on a build rather than on a log."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.builds import Build
from features.moments import DAY, parse_moment
from features.settings import Settings

STARTS = parse_moment("2017-01-01")

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

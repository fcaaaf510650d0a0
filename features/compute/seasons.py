"""The calendar's features: of each moment one value, the same for every customer."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from features.compute import kernel
from features.compute.events import Int64, conditions, local, microseconds, or_null
from features.definitions import CALENDAR, Feature
from features.moments import DAY_US
from features.rules import Float64
from features.shop import Shop

_NEVER = np.iinfo(np.int64).max


def values(rows: pa.Table, features: Mapping[str, Feature], grid: Int64, shop: Shop) -> dict[str, Float64]:
    """The calendar's features, a value a moment: they are the same for every customer."""
    m = grid[:, None]
    at, known, until = (microseconds(rows[c]) for c in ("at", "known_at", "until"))
    rows = rows.append_column("local_at", pa.array(local(at, shop)).view(pa.timestamp("us")))
    holds, _ = conditions(rows, features, shop)
    result: dict[str, Float64] = {}
    for name, feature in features.items():
        here = (known <= m) & holds[feature.where]
        if feature.measure not in CALENDAR:
            here &= at <= m
        if feature.measure == "until_next":
            nearest = np.where(here & (at > m), at, _NEVER).min(axis=1, initial=_NEVER)
            result[name] = np.where(nearest == _NEVER, np.nan, (nearest - grid) / DAY_US)
        elif feature.measure == "since_last":
            last = np.where(here, at, kernel.NOTHING).max(axis=1, initial=kernel.NOTHING)
            result[name] = or_null(last, (grid - last) / DAY_US)
        elif feature.measure == "running":
            result[name] = (here & (at <= m) & (m < until)).sum(axis=1).astype(np.float64)
        else:
            span = kernel.FOREVER if feature.window is None else feature.window * DAY_US
            inside = (at > m) & (at <= m + span) if feature.measure == "ahead" else at > m - span
            result[name] = (here & inside).sum(axis=1).astype(np.float64)
    return result

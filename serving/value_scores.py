"""What everyone is worth at a moment, as files.

scores/<name>/<version>/<moment>.parquet   customer_id, moment, model_version, each figure of `Values`,
                                           value_percentile, next_order_date (in the shop's zone); sorted by
                                           customer_id; null for a customer without an order
"""

import io
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np

from features.compute.builds import Build
from features.errors import NoBuild
from features.files import write_atomically
from features.log import Log
from features.moments import iso, to_us
from features.settings import Settings
from serving.booster import Numbers
from serving.summaries import Orders, summarise
from serving.value import ValueModel

if TYPE_CHECKING:
    from serving.releases import Release

_GROUP = 4_096  # customers of a part of the file: what an answer about one of them reads


def score(
    settings: Settings, release: "Release", build: Build, moment: datetime, out: Path | None = None
) -> Path:
    """Score every customer of a build's snapshot, from the orders of the log that it was built from.

    Written to `out`, or to the score store; running again writes the same bytes. NoBuild if that moment was
    not built, LogError if the build's log is gone.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    model = release.model
    assert isinstance(model, ValueModel)
    snapshot = build.read(moment, ["customer_id", "moment"])
    log = Log.at(settings.home / "log" / build.log)
    orders = Orders.of(log, ZoneInfo(str(log.shop["zone"])))
    known = summarise(orders, moment)
    scored = model.score(known)
    place = pc.index_in(snapshot["customer_id"], pa.array(orders.ids).take(pa.array(known.customer)))
    columns: dict[str, Any] = {
        "customer_id": snapshot["customer_id"],
        "moment": snapshot["moment"],
        "model_version": pa.array([release.version] * len(snapshot), pa.string()),
    }
    for name, figures in scored._asdict().items():
        columns[name] = pa.array(figures, mask=np.isnan(figures)).take(place)
    columns["value_percentile"] = pa.array(_percentiles(scored.value)).take(place)
    wait = scored.next_order_days
    dates = orders.today(to_us(moment)) + np.ceil(np.nan_to_num(wait)).astype(np.int32)
    columns["next_order_date"] = (
        pa.array(dates, pa.int32(), mask=np.isnan(wait)).cast(pa.date32()).take(place)
    )
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, row_group_size=_GROUP)
    out = path(settings, release.name, release.version, moment) if out is None else out
    write_atomically(out, sink.getvalue())
    return out


def read(settings: Settings, release: "Release", moment: datetime, customer_id: str) -> dict[str, Any] | None:
    """One customer's columns as everyone was scored at a moment; None for a customer without an order.

    NoBuild if that moment was not scored. Reads one part of the file, whatever its size.
    """
    import pyarrow.parquet as pq

    file = path(settings, release.name, release.version, moment)
    try:
        scores = pq.ParquetFile(file, memory_map=True)
    except FileNotFoundError:
        raise NoBuild(
            f"nobody was scored with {release.name} {release.version} as of {iso(moment)}: run `propensity "
            f"features build`, or promote {release.name} again"
        ) from None
    for number in range(scores.num_row_groups):
        ids = scores.metadata.row_group(number).column(0).statistics
        if ids.min <= customer_id <= ids.max:
            part = scores.read_row_group(number)
            place = part["customer_id"].index(customer_id).as_py()
            row: dict[str, Any] = part.slice(place, 1).to_pylist()[0] if place >= 0 else {"value": None}
            return row if row["value"] is not None else None
    return None


def path(settings: Settings, name: str, version: str, moment: datetime) -> Path:
    """Where the scores of that moment are, or would be."""
    return settings.home / "scores" / name / version / f"{moment:%Y%m%dT%H%M%S}Z.parquet"


def _percentiles(value: Numbers) -> Numbers:
    """Share of customers with a lower or equal value, in percent, down to a tenth.

    >>> _percentiles(np.array([5.0, 1.0, 3.0])).tolist()
    [100.0, 33.3, 66.6]
    """
    at_most = np.searchsorted(np.sort(value), value, side="right")
    ranks: Numbers = at_most * 1000 // max(len(value), 1) / 10
    return ranks

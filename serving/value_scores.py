"""What everyone is worth at a moment, as files.

scores/<name>/<version>/<moment>.parquet   customer_id, moment, model_version, each figure of `Values` but
                                           `alive`, by which some would rank, value_percentile,
                                           next_order_date (in the shop's zone); sorted by customer_id; null
                                           for a customer without an order
"""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np

from features.compute.builds import Build
from features.log import Log
from features.moments import to_us
from features.settings import Settings
from serving import score_store
from serving.booster import Numbers
from serving.summaries import Orders, summarise
from serving.value import ValueModel

if TYPE_CHECKING:
    from serving.releases import Release


def score(
    settings: Settings, release: "Release", build: Build, moment: datetime, out: Path | None = None
) -> Path:
    """Score every customer of a build's snapshot, from the orders of the log that it was built from.

    Written to `out`, or to the score store; running again writes the same bytes. NoBuild if that moment was
    not built, LogError if the build's log is gone.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

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
        if name == "alive":  # 1 of whoever ordered once: whoever ranks by it writes to the coldest first
            continue
        columns[name] = pa.array(figures, mask=np.isnan(figures)).take(place)
    columns["value_percentile"] = pa.array(_percentiles(scored.value)).take(place)
    wait = scored.next_order_days
    dates = orders.today(to_us(moment)) + np.ceil(np.nan_to_num(wait)).astype(np.int32)
    columns["next_order_date"] = (
        pa.array(dates, pa.int32(), mask=np.isnan(wait)).cast(pa.date32()).take(place)
    )
    return score_store.write(settings, release, moment, pa.table(columns), out)


def read(settings: Settings, release: "Release", moment: datetime, customer_id: str) -> dict[str, Any] | None:
    """One customer's columns as everyone was scored at a moment; None for a customer without an order.

    NoBuild if that moment was not scored.
    """
    row = score_store.row(settings, release, moment, customer_id)
    return row if row is not None and row["value"] is not None else None


def _percentiles(value: Numbers) -> Numbers:
    """Share of customers with a lower or equal value, in percent, down to a tenth.

    >>> _percentiles(np.array([5.0, 1.0, 3.0])).tolist()
    [100.0, 33.3, 66.6]
    """
    at_most = np.searchsorted(np.sort(value), value, side="right")
    ranks: Numbers = at_most * 1000 // max(len(value), 1) / 10
    return ranks

"""The kernel against a straightforward pandas version of the same features, which must agree."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.measure import figure, journey
from features.definitions import WINDOWS, catalogue
from features.engine import compute
from features.log import Log
from features.moments import DAY, grid, parse_moment
from features.shop import shop_of

NAMES = [f"{name}_{w}d" for w in WINDOWS for name in ("orders", "spend", "order_max", "discount", "stores")]


def figures() -> Iterator[dict[str, Any]]:
    """12 snapshots of 20 features over the orders of the demo's log."""
    with journey() as settings:
        log, shop = Log.open(settings), shop_of(settings)
        features = {name: feature for name, feature in catalogue().items() if name in NAMES}
        moments = grid(log.starts_at, parse_moment("2017-12-31"), 28 * DAY)[-12:]

        def kernel() -> dict[datetime, pd.DataFrame]:
            tables = compute(log, shop, features, moments)
            return {m: t.to_pandas().set_index("customer_id")[NAMES] for m, t in tables}

        def naive() -> dict[datetime, pd.DataFrame]:
            orders = log.read("orders", ["customer_id", "at", "amount", "discount", "store_id"]).to_pandas()
            orders["amount"], orders["discount"] = (
                orders["amount"].astype(float),
                orders["discount"].astype(float),
            )
            return {moment: _pandas(orders, moment) for moment in moments}

        fast, slow = kernel(), naive()
        for moment in moments:
            known = fast[moment].reindex(slow[moment].index).astype(np.float64)
            np.testing.assert_allclose(known, slow[moment], rtol=1e-5, err_msg=str(moment))
        yield figure("features: 20 of them at 12 moments", kernel, "pandas", naive, goal=None, runs=5)


def _pandas(orders: pd.DataFrame, moment: datetime) -> pd.DataFrame:
    known = orders[orders["at"] <= moment]
    columns: dict[str, pd.Series[Any]] = {}
    everyone = known["customer_id"].unique()
    for w in WINDOWS:
        window = known[known["at"] > moment - w * DAY].groupby("customer_id")
        columns[f"orders_{w}d"] = window.size().reindex(everyone, fill_value=0)
        columns[f"spend_{w}d"] = window["amount"].sum().reindex(everyone, fill_value=0)
        columns[f"order_max_{w}d"] = window["amount"].max().reindex(everyone)
        columns[f"discount_{w}d"] = window["discount"].sum().reindex(everyone, fill_value=0)
        columns[f"stores_{w}d"] = window["store_id"].nunique().reindex(everyone, fill_value=0)
    return pd.DataFrame(columns)[NAMES]

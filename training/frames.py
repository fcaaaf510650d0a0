"""Training sets as pandas, for a notebook."""

from datetime import datetime
from typing import TYPE_CHECKING

from features.compute.builds import Build
from features.definitions import catalogue
from features.log import Log
from features.settings import Settings
from features.shop import shop_of
from training import samples, targets

if TYPE_CHECKING:
    import pandas as pd


def dataset(target: str, settings: Settings | None = None, as_of: datetime | None = None) -> "pd.DataFrame":
    """A row a customer and moment: what `propensity train` learns from and is judged by.

    customer_id, moment, part ("train": the labels that were known at the last origin; "test": the customers
    of that origin), the features (float32, NaN where not known), treated (contacted within the horizon),
    label (0 or 1). settings: default those of the environment. as_of: default that of the settings, else the
    log's end. UsageError for an unknown target, TrainingError for one declared wrongly, NotEnoughData if the
    log is too short.
    """
    import numpy as np
    import pandas as pd

    settings = settings or Settings.from_env()
    shop, log, build = shop_of(settings), Log.open(settings), Build.open(settings)
    declared = targets.of_shop(shop).named(target)
    known_by = as_of or log.latest(settings)
    when = samples.timeline(declared, build, known_by, origins=1)
    names, _ = samples.columns(build, catalogue(shop.declared("FEATURES")), when)
    data = samples.read(settings, log, build, declared, when, names)
    ids = np.array(data.ids, object)
    parts = []
    for name, part, moments in (
        ("train", data.known(when.test), data.moments(when.known(when.test))),
        ("test", data.at(when.test), data.moments([when.test])),
    ):
        rows = pd.DataFrame(part.matrix, columns=list(data.features))
        rows.insert(0, "part", name)
        rows.insert(0, "moment", pd.to_datetime(moments, utc=True))
        rows.insert(0, "customer_id", ids[part.customer])
        parts.append(rows.assign(treated=part.treated, label=part.label.astype(np.int8)))
    return pd.concat(parts, ignore_index=True)

"""How we earn it: targets, training sets, fits, honest comparisons."""

from datetime import datetime
from typing import TYPE_CHECKING

import features  # noqa: F401  before any dependency: it tells them not to call home
from features.settings import Settings

if TYPE_CHECKING:
    import pandas as pd


def dataset(target: str, settings: Settings | None = None, as_of: datetime | None = None) -> "pd.DataFrame":
    """What `propensity train` learns from and is judged by, as pandas: see `training.frames.dataset`."""
    from training import frames  # loads pandas, and Feast

    return frames.dataset(target, settings, as_of)

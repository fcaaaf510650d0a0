"""A segmentation whose every number is known, and customers to tell by it."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from tiny import tiny_card

from serving import segmentation
from serving.cards import FeatureCard
from serving.segment_tables import TABLES
from serving.segmentation import FORMAT, KIND, Levels, Segmentation, SegmentationFile, Segments, Silences

FIFTHS = (1, 2, 3, 4, 5)
BY_HAND = SegmentationFile(
    format=FORMAT,
    kind=KIND,
    horizon_days=180,
    rfm={
        "r": Levels((-200.0, -100.0, -50.0, -20.0), FIFTHS),
        "f": Levels((1.0, 2.0, 4.0, 8.0), FIFTHS),
        "m": Levels((10.0, 50.0, 100.0, 500.0), FIFTHS),
    },
    present=80.0,
    potential=30.0,
    value_version="1",
    usual=Silences((40.0, 30.0, 30.0), 2.0),
    gone=Silences((150.0, 200.0, 200.0), 10.0),
    tables=dict(TABLES),
)
FEATURES = segmentation.features_of(TABLES)
COUNTS = [name for name in FEATURES if not name.startswith(("days_since", "last_", "gap", "tenure"))]
NOBODY = dict.fromkeys(FEATURES, np.nan) | dict.fromkeys(COUNTS, 0.0)  # known, and nothing else


def buyer(days: int, silent: float, gap: float = 10.0, **more: float) -> dict[str, float]:
    """Somebody with orders on so many days within the last year, the last one `silent` days ago."""
    tenure, gap = silent + gap * (days - 1), gap if days > 1 else np.nan
    orders = {"order_days_365d": days, "spend_365d": 20.0 * days, "gap_mean": gap, "tenure": tenure}
    return NOBODY | {"days_since_order": silent} | orders | more


def columns(*customers: dict[str, float]) -> dict[str, NDArray[np.float32]]:
    """Their features, as rows of a snapshot."""
    return {name: np.array([one[name] for one in customers], np.float32) for name in FEATURES}


def told(segments: Segments, kind: str) -> list[str | None]:
    """What each is called, by BY_HAND's tables."""
    entries = TABLES[kind].entries
    return [None if place < 0 else entries[place].gives for place in getattr(segments, kind).tolist()]


def model(**changes: Any) -> Segmentation:
    """BY_HAND as a model, without a folder."""
    return Segmentation(card(), msgspec.structs.replace(BY_HAND, **changes))


def card(version: str = "1", hashes: dict[str, str] | None = None) -> Any:
    """Its card; hashes: of a build's features."""
    features = tuple(FeatureCard(n, (hashes or {}).get(n, "0" * 16), "", n, n) for n in FEATURES)
    return tiny_card(KIND, version, kind=KIND, features=features)


def saved(folder: Path, version: str = "1", hashes: dict[str, str] | None = None) -> Path:
    """BY_HAND in a folder; returns it."""
    segmentation.save(folder, card(version, hashes), BY_HAND, seed=1)
    return folder

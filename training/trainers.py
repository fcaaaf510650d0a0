"""What can be trained: a model for each declared target, and the models that are of no target.

To add one of those, add it to OF_NO_TARGET, under the name of its kind (`serving/kinds.py`).
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import NamedTuple

from features.settings import Settings
from training import segmentation_training, uplift_training, value_training
from training.fit import Progress, Trained


class Trainer(NamedTuple):
    """train: fits, judges and registers as of a moment, with a seed. plan: what that would do, in words."""

    train: Callable[[Settings, datetime, int, Progress], Trained]
    plan: Callable[[Settings, datetime], str]


OF_NO_TARGET: Mapping[str, Trainer] = {
    value_training.NAME: Trainer(value_training.train, value_training.plan),
    segmentation_training.NAME: Trainer(segmentation_training.train, segmentation_training.plan),
    uplift_training.NAME: Trainer(uplift_training.train, uplift_training.plan),
}

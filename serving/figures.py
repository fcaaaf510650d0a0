"""What a rule about customers can read: the features of a snapshot, and what the models in force say.

    churn_28d              probability of a target that is released, 0 to 1; null outside its population
    churn_28d_percentile   its place among everybody's, 0 to 100
    value, value_p10 ...   figures of the value model, over its horizon; next_order_days
    stage_exit, tier_lost  1 of whom the segmentation calls so, 0 of whom it calls otherwise; null of neither

Scores are read from the score store, as they were written for the snapshot: nothing is scored here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.compute.builds import Build
from features.errors import UsageError
from features.moments import iso
from features.online import OnlineRows
from features.settings import Settings
from serving import releases, score_store, segmentation, value
from serving.scores import answerable
from serving.segment_tables import TABLES

Numbers = NDArray[np.float64]
PERCENTILE = "_percentile"
LABELS = {f"{table}_{label.name}": (table, label.name) for table, of in TABLES.items() for label in of.labels}
VALUES = ("value", "value_p10", "value_p50", "value_p90", f"value{PERCENTILE}", "next_order_days")


def scores(targets: Iterable[str]) -> set[str]:
    """The names of all that models could say, if each of these targets had one."""
    return {*VALUES, *LABELS} | {name for t in targets for name in (t, f"{t}{PERCENTILE}")}


@dataclass(frozen=True)
class _Score:
    """Where a figure is: a column of a file, or whether that column holds a label. of: model and version."""

    file: Path
    column: str
    of: str
    label: str | None = None


class Figures:
    """All that can be read of everybody at one moment of a build."""

    def __init__(self, settings: Settings, build: Build, moment: datetime) -> None:
        build.require_moment(moment)
        self.settings, self.build, self.moment = settings, build, moment
        self._scores: dict[str, _Score] = {}
        self._unscored: dict[str, str] = {}  # model -> the version in force, which has not scored the moment
        for name in releases.names(settings):
            self._find(name, releases.current(settings, name))

    @classmethod
    def open(cls, settings: Settings) -> "Figures":
        """Of the snapshot that is published. NoBuild without one, FeaturesExpired if it is too old."""
        published = answerable(OnlineRows.open(settings).current(), settings, settings.now())
        return cls(settings, Build.open(settings, published.build), published.moment)

    def at(self, moment: datetime) -> "Figures | None":
        """The same at another moment, as the models in force say it; None if the build lacks that moment."""
        return Figures(self.settings, self.build, moment) if moment in self.build.moments else None

    @property
    def names(self) -> set[str]:
        """What can be read."""
        return {*self.build.features, *self._scores}

    def lacking(self, names: Iterable[str]) -> str | None:
        """Why these cannot be read, of the first that cannot; None if all can."""
        for name in names:
            if name in self.build.features or name in self._scores:
                continue
            model = self._model(name)
            if model in self._unscored:
                return (
                    f"{model} {self._unscored[model]} has not scored {iso(self.moment)}: "
                    f"`propensity features build`, or `propensity promote {model}` again"
                )
            return f"the snapshot lacks {name}, and no model that is released says it"
        return None

    def origin(self, name: str) -> str:
        """What a figure comes from: as long as this stays, it means the same."""
        if name in self.build.features:
            return f"{name} {self.build.features[name]}"
        return self._scores[name].of

    def read(self, names: Iterable[str]) -> tuple[list[str], dict[str, Numbers]]:
        """(customers, ascending; name -> [n], NaN is null). UsageError for what is `lacking`."""
        names = sorted(set(names))
        if why := self.lacking(names):
            raise UsageError(f"cannot be told: {why}")
        features = [name for name in names if name in self.build.features]
        snapshot = self.build.read(self.moment, ["customer_id", *features])
        found = {name: snapshot[name].to_numpy().astype(np.float64) for name in features}
        for name in names:
            if name not in found:
                found[name] = self._read(self._scores[name], snapshot["customer_id"])
        return snapshot["customer_id"].to_pylist(), found

    def labels(self, table: str) -> tuple[list[str], NDArray[Any]]:
        """(customers, ascending; the label of each by that table of the segmentation, or None, [n])."""
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        ids = self.build.read(self.moment, ["customer_id"])["customer_id"]
        file = next(of.file for of in self._scores.values() if of.column == table)
        told = pq.ParquetFile(file).read(["customer_id", table])
        places = pc.index_in(ids, told["customer_id"].combine_chunks())
        return ids.to_pylist(), told[table].take(places).to_numpy(zero_copy_only=False)

    def _find(self, model: str, version: str) -> None:
        import pyarrow.parquet as pq

        file = score_store.path(self.settings, model, version, self.moment)
        if not file.exists():
            self._unscored[model] = version
            return
        columns = set(pq.read_schema(file).names)
        of = f"{model} {version}"
        if model == segmentation.KIND:
            for name, (table, label) in LABELS.items():
                if table in columns:
                    self._scores[name] = _Score(file, table, of, label)
        elif model == value.KIND:
            self._scores |= {name: _Score(file, name, of) for name in VALUES if name in columns}
        elif "probability" in columns:
            self._scores[model] = _Score(file, "probability", of)
            self._scores[f"{model}{PERCENTILE}"] = _Score(file, "percentile", of)

    def _model(self, name: str) -> str:
        """The model that would say it."""
        if name in LABELS:
            return segmentation.KIND
        return value.KIND if name in VALUES else name.removesuffix(PERCENTILE)

    def _read(self, score: _Score, ids: Any) -> Numbers:
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        told = pq.ParquetFile(score.file).read(["customer_id", score.column])
        column = told[score.column].take(pc.index_in(ids, told["customer_id"].combine_chunks()))
        if score.label is not None:
            column = pc.equal(column, score.label)
        return np.asarray(column.cast("float64").to_numpy(zero_copy_only=False), np.float64)

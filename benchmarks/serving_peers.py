"""What a team would build in an afternoon, for `benchmarks.serving`: stock settings, the same boosters.

`bentoml serve benchmarks.serving_peers:Store` reads features by Feast; `:Rows` is handed them. PEER names the
folder that `prepare` wrote.
"""

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bentoml
import numpy as np

from benchmarks.online_sides import feast_of
from features.compute.builds import Build
from features.settings import Settings
from serving.following import Releases


def prepare(settings: Settings, folder: Path) -> None:
    """The released boosters as text, one as MLflow saves it, and Feast's online store filled."""
    import lightgbm
    import mlflow
    import pandas

    names = {}
    for name in Releases(settings).targets():
        release = Releases(settings).get(name)
        at = settings.home / "releases" / name / release.version
        (folder / f"{name}.txt").write_text((at / "booster-0.txt").read_text("utf-8"), "utf-8")
        names[name] = read_by(settings, name)
    (folder / "features.json").write_text(json.dumps(names), "utf-8")
    first = sorted(names)[0]
    booster = lightgbm.Booster(model_file=folder / f"{first}.txt")
    # As MLflow's documentation saves a model: without an example its server validates nothing.
    some = np.nan_to_num(rows_of(settings, first)[:5]).astype(float)
    example = pandas.DataFrame(some, columns=names[first])
    mlflow.lightgbm.save_model(booster, folder / "mlflow", pip_requirements=[], input_example=example)
    build = Build.open(settings)
    feast_of("sqlite", settings.home, 0).materialize(datetime(2000, 1, 1, tzinfo=UTC), build.moments[-1])


def read_by(settings: Settings, name: str) -> list[str]:
    """The features that the released model reads, in its order."""
    return [feature.name for feature in Releases(settings).get(name).classifier.card.features]


def rows_of(settings: Settings, name: str) -> np.ndarray:
    """What the model reads of every customer, float32 [customers, features]."""
    build, names = Build.open(settings), read_by(settings, name)
    table = build.read(build.moments[-1], names)
    return np.column_stack([table[one].to_numpy() for one in names])


def handed(rows: np.ndarray, names: Sequence[str], place: int, number: int, peer: str) -> bytes:
    """A request that brings the features (`names`) of `number` customers, as that peer wants them."""
    some = [
        [None if np.isnan(value) else value for value in row]
        for row in rows[(np.arange(number) + 7 * place) % len(rows)].tolist()
    ]
    if peer == "mlflow":  # as its documentation sends rows; it refuses a column that holds nulls alone
        data = [[0.0 if value is None else value for value in row] for row in some]
        return json.dumps({"dataframe_split": {"columns": list(names), "data": data}}).encode()
    return json.dumps({"rows": some}).encode()


class _Boosters:
    """The boosters of the folder, as LightGBM's package has them."""

    def __init__(self) -> None:
        import lightgbm

        folder = Path(os.environ["PEER"])
        self.features: dict[str, list[str]] = json.loads((folder / "features.json").read_text("utf-8"))
        self.boosters = {name: lightgbm.Booster(model_file=folder / f"{name}.txt") for name in self.features}


@bentoml.service
class Store:
    """Features from Feast's online store, three models."""

    def __init__(self) -> None:
        self.models = _Boosters()
        self.store = feast_of("sqlite", Settings.from_env().home, 0)
        self.wanted = sorted({name for names in self.models.features.values() for name in names})

    @bentoml.api  # type: ignore[untyped-decorator]
    async def score(self, customers: list[str], reasons: int = 0) -> dict[str, Any]:
        """Probabilities of each target and, if asked for, the strongest contributions."""
        found = self.store.get_online_features(
            features=[f"customer:{name}" for name in self.wanted],
            entity_rows=[{"customer_id": customer} for customer in customers],
        ).to_dict()
        answer: dict[str, Any] = {"customers": customers}
        for name, names in self.models.features.items():
            rows = np.column_stack([np.array(found[one], np.float32) for one in names])
            answer[name] = self.models.boosters[name].predict(rows).tolist()
            if reasons:
                why = self.models.boosters[name].predict(rows, pred_contrib=True)[:, :-1]
                top = np.argsort(-np.abs(why), axis=1)[:, :reasons]
                answer[f"{name}_reasons"] = [
                    [(names[i], row[i]) for i in of] for row, of in zip(why, top, strict=True)
                ]
        return answer


@bentoml.service
class Rows:
    """One model, on the rows that a request brings."""

    def __init__(self) -> None:
        models = _Boosters()
        self.booster = models.boosters[sorted(models.boosters)[0]]

    @bentoml.api  # type: ignore[untyped-decorator]
    async def score(self, rows: list[list[float | None]]) -> list[float]:
        """Probabilities."""
        scores: list[float] = self.booster.predict(np.array(rows, np.float32)).tolist()
        return scores

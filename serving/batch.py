"""Scores of everyone at a moment, and the quantiles that percentiles come from.

scores/<name>/<version>/<moment>.parquet        customer_id, moment, target, model_version,
                                                probability, percentile (null for a customer outside
                                                the target's population); sorted by customer_id; if
                                                asked for, reasons: feature, value, contribution, en, zh
scores/<name>/<version>/<moment>.<build>.npy    float64 [1001], the probabilities at 0, .1, ... 100 %
"""

import io
import os
from bisect import bisect_right
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from features.compute.builds import Build
from features.files import write_atomically
from features.settings import Settings
from serving.booster import Numbers
from serving.reasons import Reason

if TYPE_CHECKING:
    from serving.releases import Release

_CHUNK = 8192  # rows scored at a time: 100 features are 3.3 MB
_POINTS = 1001


def score(
    settings: Settings,
    release: "Release",
    build: Build,
    moment: datetime,
    out: Path | None = None,
    reasons: int = 0,
) -> Path:
    """Score every customer of a build's snapshot, with the `score` that the service calls.

    reasons: how many a customer, by exact Shapley values. Written to `out`, or to the score store together
    with its quantiles; running again writes the same bytes. NoBuild if that moment was not built,
    FeatureMismatch if the build is not what the release needs.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    model = release.classifier
    card = model.card
    build.require(card.needs, by=f"release {release.name} {release.version}")
    names = [feature.name for feature in card.features]
    snapshot = build.read(moment, ["customer_id", "moment", *(name for name, _ in card.needs)])
    members = card.target.members
    outside = (
        ~members.holds(snapshot[members.feature].to_numpy()) if members else np.zeros(len(snapshot), bool)
    )
    probability, why = np.empty(len(snapshot)), list[list[Reason] | None]()

    def chunk(first: int) -> list[list[Reason] | None]:
        part, out_here = snapshot.slice(first, _CHUNK), outside[first : first + _CHUNK]
        matrix = np.stack([part[name].to_numpy() for name in names]).T  # as compiled trees read fastest
        probability[first : first + _CHUNK] = model.score(matrix)
        if not reasons:
            return []
        inside = iter(model.explain(matrix[~out_here], reasons, exact=True))
        return [None if is_out else next(inside) for is_out in out_here]

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # what scores holds no lock
        for told_here in pool.map(chunk, range(0, len(snapshot), _CHUNK)):
            why += told_here
    quantiles = _quantiles(probability[~outside])
    order = np.argsort(probability)  # ascending ones are found several times faster
    place = np.empty(len(snapshot))
    place[order] = percentiles(probability[order], quantiles)
    table = pa.table(
        {
            "customer_id": snapshot["customer_id"],
            "moment": snapshot["moment"],
            "target": pa.repeat(card.target.name, len(snapshot)),
            "model_version": pa.repeat(release.version, len(snapshot)),
            "probability": pa.array(probability, mask=outside),
            "percentile": pa.array(place, mask=outside),
        }
    )
    if reasons:
        table = table.append_column("reasons", pa.array([told(one) for one in why], reasons_type()))
    if out is None:
        out = _path(settings, release, moment)
        file = io.BytesIO()
        np.save(file, quantiles, allow_pickle=False)
        write_atomically(_quantiles_path(out, build.id), file.getvalue())
    sink = io.BytesIO()
    repeated = ["moment", "target", "model_version", "percentile"]
    pq.write_table(table, sink, use_dictionary=repeated, write_statistics=["customer_id"])
    write_atomically(out, sink.getvalue())
    return out


def told(reasons: list[Reason] | None) -> list[dict[str, Any]] | None:
    """Reasons as a row of a file has them."""
    if reasons is None:
        return None
    rows = (one._asdict() | {"en": one.text.en, "zh": one.text.zh} for one in reasons)
    return [{name: one[name] for name in ("feature", "value", "contribution", "en", "zh")} for one in rows]


def reasons_type() -> Any:
    """What Arrow calls a column of reasons."""
    import pyarrow as pa

    number, words = pa.float64(), pa.string()
    fields = {"feature": words, "value": number, "contribution": number, "en": words, "zh": words}
    return pa.list_(pa.struct(fields))


def percentile(settings: Settings, release: "Release", build: str, moment: datetime) -> Numbers | None:
    """The quantiles of the batch score of that build (its id) and moment; None if it was not scored."""
    path = _quantiles_path(_path(settings, release, moment), build)
    if not path.exists():
        return None
    quantiles: Numbers = np.load(path, allow_pickle=False)
    return quantiles


def percentiles(probability: Numbers, quantiles: Numbers) -> Numbers:
    """Share of the scored customers with a lower or equal probability, in percent, down to a tenth.

    >>> percentiles(np.array([.0, .2, .4, 1.]), _quantiles(np.array([.1, .2, .3, .4, .5]))).tolist()
    [0.0, 40.0, 80.0, 100.0]
    """
    at_most: Numbers = np.maximum(np.searchsorted(quantiles, probability, side="right") - 1, 0) / 10
    return at_most


def percentile_of(chance: float, quantiles: Sequence[float]) -> float:
    """`percentiles` of one."""
    return (bisect_right(quantiles, chance) - 1) / 10 if quantiles[0] <= chance else 0.0


def _quantiles(probability: Numbers) -> Numbers:
    """Point i is the lowest probability that at least i/1000 of all do not exceed; NaN without anyone."""
    if not len(probability):
        return np.full(_POINTS, np.nan)
    # In integers: 0.7 * 10 would be a little more than 7, and its ceiling the wrong customer.
    last = -(-np.arange(_POINTS) * len(probability) // (_POINTS - 1)) - 1
    points: Numbers = np.sort(probability)[np.maximum(last, 0)]
    return points


def _path(settings: Settings, release: "Release", moment: datetime) -> Path:
    folder = settings.home / "scores" / release.name / release.version
    return folder / f"{moment:%Y%m%dT%H%M%S}Z.parquet"


def _quantiles_path(scores: Path, build: str) -> Path:
    return scores.with_suffix(f".{build}.npy")

"""Two models, or a model and anybody's scores, on the same customers at the same moment: paired."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.compute.builds import Build
from features.errors import TrainingError, UsageError
from features.log import Log
from features.moments import DAY, iso
from features.settings import Settings
from serving.models import Model
from training import pooled, samples
from training.evaluate import Figure, Numbers
from training.targets import Target

# What customers are told apart by, in three groups of about equal size each.
SEGMENTS = ("orders_90d", "days_since_order", "spend_90d", "gap_median")
LEAST = 30  # of each label in a segment: with fewer, its AUC says nothing


@dataclass(frozen=True)
class Segment:
    """Customers whose feature lies in low..high, and how much more AUC the first side has among them."""

    feature: str
    low: float
    high: float
    rows: int
    auc_gain: Figure


@dataclass(frozen=True)
class Comparison:
    """figures, levels: of each side. gains: what the first has more than the second; of a loss: less."""

    target: str
    moment: datetime
    rows: int
    base_rate: float
    figures: tuple[Mapping[str, Figure], Mapping[str, Figure]]
    levels: tuple[Mapping[str, float], Mapping[str, float]]
    gains: Mapping[str, Figure]
    segments: tuple[Segment, ...]


Side = Model | Path


def compare(
    settings: Settings, log: Log, build: Build, target: Target, sides: tuple[Side, Side], moment: datetime
) -> Comparison:
    """Score the population of a moment with both sides and judge them by what came.

    A path: parquet or CSV with customer_id and probability, and a moment if it holds several. TrainingError
    for a model that has learnt from labels after the moment, UsageError for scores that lack a customer.
    """
    names = [n for n in SEGMENTS if n in build.features]
    for side in sides:
        if isinstance(side, Model):
            _require_unseen(side, target, moment)
            build.require(side.card.needs, by=f"{side.card.name} {side.card.version}")
            names += [f.name for f in side.card.features if f.name not in names]
    part, ids = samples.judged(settings, log, build, target, moment, names)

    def scored(side: Side) -> Numbers:
        if isinstance(side, Path):
            return _of_file(side, ids, moment)
        columns = [names.index(f.name) for f in side.card.features]
        return side.score(np.ascontiguousarray(part.matrix[:, columns]))

    first, second = scored(sides[0]), scored(sides[1])
    own, gains = _paired(part.label, part.customer, first, second)
    return Comparison(
        target.name,
        moment,
        len(part),
        part.base_rate,
        (own["model"], own["other"]),
        (pooled.level(part.label, first), pooled.level(part.label, second)),
        gains,
        tuple(_segments(part, names, first, second)),
    )


def _paired(
    label: Numbers, customer: NDArray[np.int64], first: Numbers, second: Numbers
) -> tuple[dict[str, dict[str, Figure]], dict[str, Figure]]:
    own, gains = pooled.figures([label], [customer], {"model": [first], "other": [second]})
    return own, gains["other"]


def _segments(part: samples.Part, names: Sequence[str], first: Numbers, second: Numbers) -> Sequence[Segment]:
    found = []
    for feature in SEGMENTS:
        if feature not in names:
            continue
        values = part.matrix[:, names.index(feature)].astype(np.float64)
        edges = np.unique(np.nanquantile(values, (0, 1 / 3, 2 / 3, 1)))
        for place, (low, high) in enumerate(zip(edges, edges[1:], strict=False)):
            inside = (values <= high) & ((values > low) if place else (values >= low))
            label = part.label[inside]
            if min(label.sum(), (1 - label).sum()) < LEAST:
                continue
            _, gains = _paired(label, part.customer[inside], first[inside], second[inside])
            found.append(Segment(feature, float(low), float(high), int(inside.sum()), gains["auc_gain"]))
    return found


def _require_unseen(model: Model, target: Target, moment: datetime) -> None:
    card = model.card
    if card.target.name != target.name:
        raise UsageError(f"{card.name} {card.version} predicts {card.target.name}, not {target.name}")
    known = card.trained_on.end + card.target.horizon_days * DAY
    if known > moment:
        raise TrainingError(
            f"{card.name} {card.version} has learnt from labels that were known on {iso(known)}: judged as "
            f"of {iso(moment)} it would be told what it knows. Compare as of a later moment"
        )


def _of_file(path: Path, ids: Sequence[str], moment: datetime) -> Numbers:
    """Scores from outside, in the order of ids."""
    needed = ("customer_id", "probability")
    if not path.is_file():
        raise UsageError(f"{path} is no file: name a parquet or CSV file with {' and '.join(needed)}")
    try:
        if path.suffix == ".parquet":
            table = pq.ParquetFile(path).read()
        else:
            text = pa_csv.ConvertOptions(column_types={"customer_id": pa.string()})
            table = pa_csv.read_csv(path, convert_options=text)
        if "moment" in table.column_names:
            at = table["moment"].cast(pa.timestamp("us", "UTC"))
            table = table.filter(pc.equal(at, pa.scalar(moment, at.type)))
        given = dict(
            zip(
                table["customer_id"].cast(pa.string()).to_pylist(),
                table["probability"].cast(pa.float64()).to_pylist(),
                strict=True,
            )
        )
    except (pa.ArrowException, KeyError) as error:
        raise UsageError(f"{path} cannot be read as scores ({', '.join(needed)}): {error}") from None
    lacking = [id for id in ids if given.get(id) is None]
    if lacking:
        raise UsageError(
            f"{path} has no probability for {len(lacking):,} of the {len(ids):,} customers that are judged "
            f"as of {iso(moment)}: both sides must score the same customers"
        )
    scores = np.array([given[id] for id in ids], np.float64)
    if not ((scores >= 0) & (scores <= 1)).all():
        raise UsageError(f"{path} holds probabilities outside 0 to 1")
    return scores

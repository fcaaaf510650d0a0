"""Two models, or a model and anybody's scores, on the same customers at the same moment: paired."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from features.errors import NotEnoughData, TrainingError, UsageError
from features.log import Log
from features.moments import DAY, iso
from features.settings import Settings
from serving.models import Model
from training import pooled, samples
from training.comparison import LEAST, Comparison, LeftOut, Segment
from training.evaluate import Figure, Numbers
from training.targets import Target

# What customers are told apart by, in three groups of about equal size each.
SEGMENTS = ("orders_90d", "days_since_order", "spend_90d", "gap_median")


@dataclass(frozen=True)
class Rows:
    """The customers of one origin: label and number [n], and their values by feature, of SEGMENTS."""

    label: Numbers
    customer: NDArray[np.int64]
    values: Mapping[str, Numbers]

    @classmethod
    def of(cls, part: samples.Part, names: Sequence[str]) -> "Rows":
        """Of a part with those features."""
        able = [name for name in SEGMENTS if name in names]
        values = {name: part.matrix[:, names.index(name)].astype(np.float64) for name in able}
        return cls(part.label, part.customer, values)


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
            require_unseen(side, target, moment)
            build.require(side.card.needs, by=f"{side.card.name} {side.card.version}")
            names += [f.name for f in side.card.features if f.name not in names]
    require_mature(build, target, log.complete_until, moment)
    part, ids = samples.judged(settings, log, build, target, moment, names)

    def scored(side: Side) -> Numbers:
        if isinstance(side, Path):
            return _of_file(side, ids, moment)
        columns = [names.index(f.name) for f in side.card.features]
        return side.score(np.ascontiguousarray(part.matrix[:, columns]))

    rows = Rows.of(part, names)
    tell = pooled.level if all(isinstance(side, Model) for side in sides) else pooled.level_of_any
    return paired(target, [moment], [rows], [scored(sides[0])], [scored(sides[1])], itself=1, level=tell)


def paired(
    target: Target,
    origins: Sequence[datetime],
    rows: Sequence[Rows],
    first: Sequence[Numbers],
    second: Sequence[Numbers],
    itself: int,
    level: Callable[[Numbers, Numbers], dict[str, float]] = pooled.level,
) -> Comparison:
    """Two sides' probabilities for the customers of each origin, judged by what came. level: tells theirs."""
    own, gains = _figures(rows, first, second)
    last, groups = rows[-1].label, list(_segments(rows, first, second))
    return Comparison(
        target.name,
        origins[-1],
        len(last),
        float(last.mean()),
        (own["model"], own["other"]),
        (level(last, first[-1]), level(last, second[-1])),
        gains["other"],
        tuple(one for one in groups if isinstance(one, Segment)),
        len(origins),
        itself,
        tuple(one for one in groups if isinstance(one, LeftOut)),
    )


_Figures = dict[str, dict[str, Figure]]


def _figures(
    rows: Sequence[Rows], first: Sequence[Numbers], second: Sequence[Numbers]
) -> tuple[_Figures, _Figures]:
    labels, customers = [one.label for one in rows], [one.customer for one in rows]
    return pooled.figures(labels, customers, {"model": first, "other": second})


def _segments(
    rows: Sequence[Rows], first: Sequence[Numbers], second: Sequence[Numbers]
) -> Iterator[Segment | LeftOut]:
    """Thirds by each of SEGMENTS, over all origins; one in which a third has not both labels has no say."""
    for feature in rows[0].values:
        values = np.concatenate([one.values[feature] for one in rows])
        # Told apart by what is shown: whoever reads a group's edges knows who is in it.
        edges = np.unique(np.nanquantile(values, (0, 1 / 3, 2 / 3, 1)).round(2))
        for place, (low, high) in enumerate(zip(edges, edges[1:], strict=False)):
            inside, able = [], []
            for number, one in enumerate(rows):
                of = one.values[feature]
                above, below = (of > low) | (place == 0), (of <= high) | (place == len(edges) - 2)
                inside.append(above & below & ~np.isnan(of))
                if 0 < one.label[inside[-1]].sum() < inside[-1].sum():
                    able.append(number)
            label = np.concatenate([one.label[here] for one, here in zip(rows, inside, strict=True)])
            if (few := int(min(label.sum(), (1 - label).sum()))) < LEAST:
                yield LeftOut(feature, float(low), float(high), len(label), few, lowest=place == 0)
                continue
            there = [Rows(rows[n].label[inside[n]], rows[n].customer[inside[n]], {}) for n in able]
            sides = ([side[n][inside[n]] for n in able] for side in (first, second))
            _, gains = _figures(there, *sides)
            gain = gains["other"]["auc_gain"]
            yield Segment(feature, float(low), float(high), len(label), gain, lowest=place == 0)


def known(model: Model) -> datetime:
    """When the last label was known that it has learnt from: from then on, what it says is of the future."""
    return model.card.trained_on.end + model.card.target.horizon_days * DAY


def require_unseen(model: Model, target: Target, moment: datetime) -> None:
    """TrainingError if a model has learnt from what would judge it; UsageError if of another target."""
    card = model.card
    if card.target.name != target.name:
        raise UsageError(f"{card.name} {card.version} predicts {card.target.name}, not {target.name}")
    if known(model) > moment:
        raise TrainingError(
            f"{card.name} {card.version} has learnt from labels that were known on {iso(known(model))}: "
            f"judged as of {iso(moment)} it would be told what it knows. Compare as of a later moment"
        )


def require_mature(build: Build, target: Target, known_by: datetime, moment: datetime) -> None:
    """NotEnoughData, with the last moment that can be judged, if what came is not known yet."""
    ends = moment + target.horizon_days * DAY
    if ends <= known_by:
        return
    able = [one for one in build.moments if one + target.horizon_days * DAY <= known_by]
    last = f"compare as of {iso(able[-1])[:10]} or earlier (--at)" if able else "no moment can be judged yet"
    raise NotEnoughData(
        f"{target.name} as of {iso(moment)} cannot be judged: its {target.horizon_days} days end on "
        f"{iso(ends)}, and the log is complete until {iso(known_by)}. Ingest what came since, or {last}"
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
        if lost := [column for column in needed if column not in table.column_names]:
            raise UsageError(
                f"{path} has no column {' and no column '.join(lost)}: expected {' and '.join(needed)}, "
                f"found {', '.join(table.column_names)}"
            )
        if "moment" in table.column_names:
            at = table["moment"].cast(pa.timestamp("us", "UTC"))
            table = table.filter(pc.equal(at, pa.scalar(moment, at.type)))
            if len(at) and not len(table):
                held = [iso(one) for one in sorted(pc.unique(at.drop_null()).to_pylist())]
                raise UsageError(
                    f"{path} holds scores as of {', '.join(held[:5])}{' ...' if len(held) > 5 else ''}, none "
                    f"as of {iso(moment)}, by which both are judged: name another moment (--at)"
                )
        who = table["customer_id"].cast(pa.string()).to_pylist()
        said = table["probability"].cast(pa.float64()).to_pylist()
    except pa.ArrowException as error:
        raise UsageError(f"{path} cannot be read as scores ({', '.join(needed)}): {error}") from None
    given = dict(zip(who, said, strict=True))
    if len(given) < len(who):
        twice = [id for id, times in Counter(who).items() if times > 1]
        raise UsageError(
            f"{path} has {len(twice):,} customer{'s' * (len(twice) > 1)} twice or more ({twice[0]} for one): "
            f"leave one row a customer{'' if 'moment' in table.column_names else ', or add a column moment'}"
        )
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

"""Who a customer is among all the others: RFM tier, value quadrant, life cycle stage, reason of churn.

    model.json       cut points of recency, frequency, money and value; lengths of silence; the rules
    card.json        what the model is, what it was learnt and judged on
    examples.npz     made-up customers with the segments that they had when saved
    SHA256SUMS       of all the others

The rules are those of `models`: no pickle, no clock, the same model is the same bytes, and a folder that was
changed, or that tells its examples otherwise, does not load. All that compares a customer with others was
learnt as of one moment, so that a customer's segment changes with this customer alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.errors import ReleaseCorrupt
from serving import folders
from serving.booster import Numbers
from serving.cards import ModelCard
from serving.segment_rules import MADE, Table
from serving.segment_tables import REGULAR, TABLES

KIND = "segmentation"
FORMAT = 1
RFM = {"r": "days_since_order", "f": "order_days_365d", "m": "spend_365d"}
_YEAR = 365
_TOLD = "told."  # before the names of segments in examples.npz

Values = Mapping[str, NDArray[np.float32]]  # feature -> [n], NaN is null
Places = NDArray[np.int8]


class Levels(msgspec.Struct, frozen=True):
    """Scores 1 to 5 of a figure: `scores[i]` up to and including `edges[i]`, the last one beyond them all.

    Fewer than five where many customers share a figure: who is alike gets the same score.
    """

    edges: tuple[float, ...]
    scores: tuple[int, ...]

    def of(self, figure: Numbers) -> Numbers:
        """The score of each, [n]; NaN of NaN.

        >>> Levels((1.0, 3.0), (2, 4, 5)).of(np.array([1, 2, 9, np.nan])).tolist()
        [2.0, 4.0, 5.0, nan]
        """
        scores = np.array(self.scores, float)[np.searchsorted(self.edges, figure, side="left")]
        return np.where(np.isnan(figure), np.nan, scores)


class Silences(msgspec.Struct, frozen=True):
    """A length of silence: in days after the first, second and third day with an order, then in own gaps.

    None where the log showed none. A regular's gap is the mean of this customer's own.
    """

    days: tuple[float | None, ...]  # REGULAR - 1 of them
    gaps: float | None

    def after(self, order_days: Numbers, gap_mean: Numbers) -> Numbers:
        """Days of silence, [n], after so many days with an order; NaN without one, or where it is None."""
        days = np.array([np.nan, *self.days, np.nan], float)
        gaps = np.nan if self.gaps is None else self.gaps
        few = days[np.clip(np.nan_to_num(order_days), 0, REGULAR).astype(int)]
        return np.where(order_days >= REGULAR, gaps * gap_mean, few)


class SegmentationFile(msgspec.Struct, frozen=True):
    """model.json. present, potential: what parts low from high, in money; potential: None without a value
    model, `value_version` says of which. horizon_days: in which a silence may end to count as ended.
    """

    format: int
    kind: str
    horizon_days: int
    rfm: dict[str, Levels]
    present: float
    potential: float | None
    value_version: str | None
    usual: Silences
    gone: Silences
    tables: dict[str, Table]


class Segments(NamedTuple):
    """Of customers [n]: scores 1 to 5, 0 without an order; and the place of the rule that decided in its
    table, -1 where none holds: no tier without an order, no quadrant without a value, no reason for whoever
    is not late. Everyone has a stage.
    """

    r: Places
    f: Places
    m: Places
    tier: Places
    quadrant: Places
    stage: Places
    churn_reason: Places


@dataclass(frozen=True)
class Segmentation:
    """A segmentation."""

    card: ModelCard
    file: SegmentationFile

    @property
    def features(self) -> list[str]:
        """What `segment` reads, sorted."""
        return features_of(self.file.tables)

    def made(self, values: Values, potential: Numbers | None = None) -> dict[str, Numbers]:
        """What the rules read beside features: MADE, each [n]."""
        file = self.file
        silent, gap, year, tenure = (
            values[name].astype(np.float64)
            for name in ("days_since_order", "gap_mean", "order_days_365d", "tenure")
        )
        bought = ~np.isnan(silent)
        with np.errstate(invalid="ignore", divide="ignore"):
            more = np.where(gap > 0, np.rint((tenure - silent) / gap), 0.0)
        # Before a year has passed, the year's days are all; then the gaps' mean tells how many there were.
        order_days = np.where(bought, np.where(tenure < _YEAR, year, 1 + more), 0.0)
        figures = {name: values[feature].astype(np.float64) for name, feature in RFM.items()}
        figures["r"] = -figures["r"]  # the more recent, the better
        made = {n: np.where(bought, file.rfm[n].of(figure), np.nan) for n, figure in figures.items()}
        made["order_days"] = order_days
        made["gone_after"] = file.gone.after(order_days, gap)
        made["usual_gap"] = np.fmin(file.usual.after(order_days, gap), made["gone_after"])
        made["present"] = np.where(bought, figures["m"] - file.present, np.nan)
        made["potential"] = np.full(len(silent), np.nan)
        if potential is not None and file.potential is not None:
            made["potential"] = potential - file.potential
        return made

    def segment(self, values: Values, potential: Numbers | None = None) -> Segments:
        """Tier, quadrant, stage and reason of each customer; one alone is told as among many.

        values: `features`. potential: expected profit of the next year, [n], NaN where not known.
        """
        made = self.made(values, potential)
        rows = len(made["order_days"])
        all: dict[str, Any] = {**values, **made}
        scores = {name: np.nan_to_num(made[name]).astype(np.int8) for name in RFM}
        return Segments(**scores, **{name: t.first(all, rows) for name, t in self.file.tables.items()})


def features_of(tables: Mapping[str, Table]) -> list[str]:
    """The features that tables, and what is made for them, stand on, sorted."""
    made = {feature for features in MADE.values() for feature in features}
    return sorted(made | {f for table in tables.values() for entry in table.entries for f in entry.features})


def save(folder: Path, card: ModelCard, file: SegmentationFile, seed: int) -> Segmentation:
    """Write a model into a new or empty folder, and return it as `load` reads it back.

    ReleaseError if the folder holds something.
    """
    folders.begin(folder)
    folders.write_json(folder / "model.json", file)
    folders.write_json(folder / folders.CARD, card)
    model = Segmentation(card, file)
    values, potential = _examples(model.features, seed)
    told = model.segment(values, potential)
    np.savez(folder / "examples.npz", allow_pickle=False, **values, value=potential, **_told(told))
    folders.sign(folder)
    return load(folder)


def load(folder: Path) -> Segmentation:
    """The model of a folder, verified. ReleaseError if there is none, ReleaseCorrupt with the reason."""
    return folders.load(folder, _assemble, _verify_examples)


def _assemble(folder: Path) -> Segmentation:
    card = folders.read_json(folder / folders.CARD, ModelCard)
    file = folders.read_json(folder / "model.json", SegmentationFile)
    if (file.format, file.kind) != (FORMAT, KIND) or card.kind != KIND or {*file.tables} != {*TABLES}:
        raise ReleaseCorrupt(
            f"{folder / 'model.json'} is a {file.kind!r} of format {file.format}, its card a {card.kind!r}: "
            f"expected {KIND!r} and format {FORMAT}; promote a release that this Propensity trained"
        )
    return Segmentation(card, file)


def _verify_examples(folder: Path, model: Segmentation) -> None:
    with folders.arrays(folder / "examples.npz") as saved:
        told = _told(model.segment({name: saved[name] for name in model.features}, saved["value"]))
        for name, now in told.items():
            if now.tobytes() != saved[name].tobytes():
                wrong = int(np.flatnonzero(now != saved[name])[0])
                raise ReleaseCorrupt(
                    f"{folder} gives another {name.removeprefix(_TOLD)} for example {wrong} than when it was "
                    "saved: it is not what was judged; promote it again, or train again"
                )


def _told(segments: Segments) -> dict[str, Places]:
    """Segments by name, beside features of any name."""
    return {f"{_TOLD}{name}": places for name, places in segments._asdict().items()}


def _examples(features: list[str], seed: int, n: int = 256) -> tuple[dict[str, NDArray[np.float32]], Numbers]:
    """Made-up customers, nobody's: each figure is drawn by itself, whole, and unknown for a tenth."""
    random = np.random.default_rng(seed)
    drawn = np.floor(random.lognormal(1, 2, (len(features), n))).astype(np.float32)
    drawn[random.random(drawn.shape) < 0.1] = np.nan
    return dict(zip(features, drawn, strict=True)), random.lognormal(3, 2, n)

"""Models as folders of plain files: save them, load them verified, score, explain.

    model.json         kind; components and their weights in the log-odds; calibration
    booster-<i>.txt    LightGBM's own text format
    card.json          what the model is, what it was trained and judged on, which features it reads
    reasons.npz        per leaf, what it owes to which feature
    examples.parquet   made-up rows with the log-odds and probability that they had when saved
    SHA256SUMS         of all the others, as `sha256sum --check` reads it

No pickle, no clock, no random id: the same model is the same bytes. A folder that was changed, or that
scores its examples differently in a single bit, does not load.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from features.errors import ReleaseCorrupt
from serving import folders
from serving.booster import Booster, Numbers, Rows
from serving.cards import FeatureCard, Members, ModelCard, TargetCard, TestedOn, Text, TrainedOn
from serving.examples import synthetic_examples
from serving.folders import SUMS
from serving.formulas import (
    Calibration,
    IdentityCalibration,
    IsotonicCalibration,
    Logistic,
    LogisticCalibration,
    LogisticScorer,
    Term,
)
from serving.reasons import Paths, Reason, Teller, paths_of

__all__ = [
    "Calibration", "FeatureCard", "IdentityCalibration", "IsotonicCalibration", "Logistic",
    "LogisticCalibration", "Members", "Model", "ModelCard", "Reason", "SUMS", "TargetCard", "Term",
    "TestedOn", "Text", "TrainedOn", "Trees", "load", "save", "synthetic_examples",
]  # fmt: skip

FORMAT = 1  # of model.json; raise when an older reader would misread it


class TreesFile(msgspec.Struct, frozen=True, tag_field="kind", tag="lightgbm"):
    """A booster in model.json: its file, and its share in the model's log-odds."""

    file: str
    weight: float


class ModelFile(msgspec.Struct, frozen=True):
    """model.json."""

    format: int
    kind: str
    components: tuple[TreesFile | Logistic, ...]
    calibration: Calibration


@dataclass(frozen=True)
class Trees:
    """A booster to save: LightGBM's model text (`Booster.model_to_string()`)."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True)
class _Part:
    """A component that scores: log-odds [n], and their contributions [n, F] to `base`. one: of one row."""

    weight: float
    base: float
    raw: Callable[[Rows], Numbers]
    one: Callable[[Rows], float]
    contributions: Callable[[Rows], Numbers]
    exact: Callable[[Rows], Numbers]
    booster: Booster | None = None


class Model:
    """A loaded model; never changes, safe to use from several threads. Rows: float32 [n, len(card.features)],
    columns in the card's order, NaN where a value is not known."""

    def __init__(self, card: ModelCard, parts: Sequence[_Part], calibration: Calibration) -> None:
        self.card = card
        self.teller = Teller(card)
        self.sums = all(part.contributions is part.exact for part in parts)
        """Whether it is a sum of terms, of which even the quick contributions are exact."""
        self._parts = tuple(parts)
        self._calibration = calibration

    def raw(self, matrix: Rows) -> Numbers:
        """Log-odds before calibration, float64 [n]: the weighted sum of the components'."""
        matrix = self._checked(matrix)
        total = np.zeros(len(matrix))
        for part in self._parts:
            total += part.weight * part.raw(matrix)
        return total

    def _one(self, matrix: Rows) -> float:
        """`raw` of one row: the same sum."""
        total = 0.0
        for part in self._parts:
            total += part.weight * part.one(matrix)
        return total

    def hasten(self, matrix: Rows) -> None:
        """Score many rows at once by compiled trees, where these give the same bits on `matrix`."""
        matrix = self._checked(matrix)
        for part in self._parts:
            if part.booster is not None:
                part.booster.hasten(matrix)

    def score(self, matrix: Rows) -> Numbers:
        """Calibrated probabilities, float64 [n]: the same bits for one row or a thousand."""
        return self._calibration.probability(self.raw(matrix))

    def chances(self, matrix: Rows) -> list[float]:
        """`score`, as a list: one row has it without numpy, whose calls would cost as much as a booster's."""
        if len(matrix) == 1:
            return [self._calibration.chance(self._one(self._checked(matrix)))]
        chances: list[float] = self.score(matrix).tolist()
        return chances

    def contributions(self, matrix: Rows, exact: bool = False) -> tuple[Numbers, float]:
        """What each feature adds to the log-odds, [n, F], and the base that they add to.

        Approximate, at the cost of a look-up, or exact Shapley values. Base and contributions of a row sum
        to its `raw`.
        """
        matrix = self._checked(matrix)
        total = np.zeros(matrix.shape)
        for part in self._parts:
            total += part.weight * (part.exact if exact else part.contributions)(matrix)
        return total, sum(part.weight * part.base for part in self._parts)

    def explain(self, matrix: Rows, k: int = 3, exact: bool = False) -> list[list[Reason]]:
        """Up to k reasons a row, strongest first."""
        contributions, _ = self.contributions(matrix, exact)
        return self.teller.strongest(matrix.tolist(), contributions, k)

    def _checked(self, matrix: Rows) -> Rows:
        if matrix.dtype != np.float32 or matrix.ndim != 2 or matrix.shape[1] != len(self.card.features):
            raise ValueError(
                f"{self.card.name} {self.card.version} scores float32 rows [n, {len(self.card.features)}], "
                f"got {matrix.dtype} {list(matrix.shape)}: select the card's features in its order"
            )
        return matrix


def save(
    folder: Path,
    card: ModelCard,
    components: Sequence[Trees | Logistic],
    calibration: Calibration,
    examples: Rows,
) -> Model:
    """Write a model into a new or empty folder, and return it as `load` reads it back.

    examples: float32 [n, F] that belong to no customer (`synthetic_examples`). ReleaseCorrupt if the
    parts do not fit together, ReleaseError if the folder holds something.
    """
    folders.begin(folder)
    if not len(examples):
        raise ReleaseCorrupt("a model needs example rows to be verified by: see synthetic_examples")
    written: list[TreesFile | Logistic] = []
    paths: dict[str, np.ndarray[Any, Any]] = {}
    for i, component in enumerate(components):
        if isinstance(component, Trees):
            name = f"booster-{i}.txt"
            (folder / name).write_bytes(component.text.encode())
            written.append(TreesFile(name, component.weight))
            table = paths_of(component.text, len(card.features))
            paths |= {f"{i}_{field}": array for field, array in table._asdict().items()}
        else:
            written.append(component)
    folders.write_json(folder / "model.json", ModelFile(FORMAT, card.kind, tuple(written), calibration))
    folders.write_json(folder / folders.CARD, card)
    np.savez(folder / "reasons.npz", allow_pickle=False, **paths)
    _write_examples(folder / "examples.parquet", _assemble(folder), examples)
    folders.sign(folder)
    return load(folder)


def load(folder: Path) -> Model:
    """The model of a folder, verified. ReleaseError if there is none, ReleaseCorrupt with the reason."""
    return folders.load(folder, _assemble, _verify_examples)


def _assemble(folder: Path) -> Model:
    """Read the parts and check that they fit together."""
    card = folders.read_json(folder / folders.CARD, ModelCard)
    file = folders.read_json(folder / "model.json", ModelFile)
    names = tuple(feature.name for feature in card.features)
    if file.format != FORMAT or file.kind != card.kind:
        raise ReleaseCorrupt(
            f"{folder / 'model.json'} is a {file.kind!r} of format {file.format}: expected the card's kind "
            f"{card.kind!r} and format {FORMAT}; promote a release that this version of Propensity trained"
        )
    if len(set(names)) < len(names) or not names:
        raise ReleaseCorrupt(f"{folder / 'card.json'} must list one or more features, each once")
    weights = [component.weight for component in file.components]
    if not weights or min(weights) <= 0 or abs(sum(weights) - 1) > 1e-9:
        raise ReleaseCorrupt(f"{folder / 'model.json'} has weights {weights}: they must sum to 1")
    parts = []
    with folders.arrays(folder / "reasons.npz") as tables:
        for i, component in enumerate(file.components):
            if isinstance(component, Logistic):
                scorer = LogisticScorer(component, names)
                own = scorer.contributions  # of a sum they are exact: each feature less its mean
                parts.append(_Part(component.weight, scorer.base, scorer.raw, scorer.one, own, own))
            elif f"{i}_base" not in tables:
                raise ReleaseCorrupt(f"{folder / 'reasons.npz'} does not explain {component.file}")
            else:
                table = Paths(*(tables[f"{i}_{field}"] for field in Paths._fields))
                parts.append(_trees(folder / component.file, component.weight, names, table))
    return Model(card, parts, file.calibration)


def _trees(path: Path, weight: float, names: tuple[str, ...], table: Paths) -> _Part:
    booster = Booster(path.read_text("utf-8"))
    if booster.features != names:
        # LightGBM does not look at names when it scores: in another order it would answer, wrongly.
        raise ReleaseCorrupt(
            f"{path} was trained on other columns, or in another order, than its card lists: "
            f"{', '.join(booster.features[:5])} ... against {', '.join(names[:5])} ..."
        )
    if len(table.start) != booster.trees:
        raise ReleaseCorrupt(f"{path} has {booster.trees} trees, reasons.npz explains {len(table.start)}")

    def contributions(matrix: Rows) -> Numbers:
        return table.contributions(booster.leaves(matrix), len(names))

    def exact(matrix: Rows) -> Numbers:
        return booster.shapley(matrix)[:, :-1]

    return _Part(weight, float(table.base[0]), booster.raw, booster.one, contributions, exact, booster)


def _write_examples(path: Path, model: Model, examples: Rows) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Rows | Numbers] = {
        feature.name: examples[:, i] for i, feature in enumerate(model.card.features)
    }
    columns |= {"expected_log_odds": model.raw(examples), "expected_probability": model.score(examples)}
    pq.write_table(pa.table(columns), path)


def _verify_examples(folder: Path, model: Model) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.ParquetFile(folder / "examples.parquet").read()
    # Not `to_numpy`, which imports pandas: the serving process goes without.
    try:
        column = {name: np.from_dlpack(table[name].combine_chunks()) for name in table.column_names}
    except pa.ArrowTypeError as error:  # of a null, or of what is no number
        raise ReleaseCorrupt(f"{folder / 'examples.parquet'} cannot be read: {error}") from None
    rows = np.column_stack([column[feature.name] for feature in model.card.features])
    for what, now in (("log_odds", model.raw(rows)), ("probability", model.score(rows))):
        then = column[f"expected_{what}"]
        wrong = np.flatnonzero(then.view(np.int64) != now.view(np.int64))
        if len(wrong):
            raise ReleaseCorrupt(
                f"{folder} gives another {what} for {len(wrong)} of its {len(rows)} examples than when it "
                f"was saved (example {wrong[0]}: {now[wrong[0]]}, expected {then[wrong[0]]}): it is "
                "not the model that was judged, or LightGBM changed. Promote it again, or retrain"
            )
    reasons, base = model.contributions(rows)
    # Of a sum, and no look-up, the last bits depend on the order.
    if not np.allclose(base + reasons.sum(axis=1), model.raw(rows), rtol=1e-9, atol=1e-6):
        raise ReleaseCorrupt(
            f"{folder / 'reasons.npz'} gives examples reasons that do not add up to their scores: promote it "
            "again, or retrain"
        )
    model.hasten(rows)

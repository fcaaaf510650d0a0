"""What actions do to a customer: effects of each arm on each outcome, as a model of plain files.

    model.json         arms, outcomes; of each the learner, its lines of calibration, its policy
    effect-<i>.txt     LightGBM's own text
    card.json          what the model is, what it was learnt from and judged on, which features it reads
    examples.npz       made-up rows with the effects that they had when saved
    SHA256SUMS         of all the others

The rules are those of `models`: no pickle, no clock, the same model is the same bytes, and a folder that was
changed, or that scores its examples differently in a single bit, does not load.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.errors import ReleaseCorrupt
from serving import folders
from serving.booster import Booster, Numbers, Rows
from serving.cards import ModelCard
from serving.formulas import Logistic, LogisticScorer

Places = NDArray[np.int64]

KIND = "uplift"
FORMAT = 1
EVIDENCE = Literal["randomised", "observational", "prior"]
SQUARES = (["regression"],)  # of a booster whose raw score is what is expected


class Line(msgspec.Struct, frozen=True):
    """An arm's effect, calibrated: mean + slope * (raw - centre). Errors are standard errors."""

    mean: float
    slope: float
    centre: float
    mean_error: float
    slope_error: float

    def effect(self, raw: Numbers) -> Numbers:
        """Raw predictions [n] -> effects [n], shrunk to the arm's mean."""
        return self.mean + self.slope * (raw - self.centre)

    def error(self, raw: Numbers) -> Numbers:
        """Standard error [n] of the mean effect on customers of whom the same is predicted.

        Of the line, not of a single customer, whose effect nobody sees.
        """
        away = (raw - self.centre) * self.slope_error
        found: Numbers = np.sqrt(self.mean_error * self.mean_error + away * away)
        return found


class BoosterFile(msgspec.Struct, frozen=True, tag_field="kind", tag="lightgbm"):
    """A booster in model.json."""

    file: str


class OutcomeFile(msgspec.Struct, frozen=True):
    """The effects on one outcome. lines, parts: of each arm but the control; one part if it reads the arm, in
    columns after the features, one an arm but the control. costs: of each arm, in the outcome's unit.

    best: the place of the arm for all, which was shown to be better than the control, or is the control.
    personal: whether a personal policy was proven better.
    """

    name: str
    lines: tuple[Line, ...]
    parts: tuple[BoosterFile | Logistic, ...]
    costs: tuple[float, ...]
    best: int
    personal: bool


class EffectsFile(msgspec.Struct, frozen=True):
    """model.json. arms: the control first. evidence: "randomised", or nothing may be claimed."""

    format: int
    kind: str
    arms: tuple[str, ...]
    evidence: EVIDENCE
    outcomes: tuple[OutcomeFile, ...]

    def __post_init__(self) -> None:
        arms = len(self.arms)
        for one in self.outcomes:
            if len(one.lines) != arms - 1 or len(one.parts) not in (1, arms - 1) or len(one.costs) != arms:
                raise ReleaseCorrupt(
                    f"the effects on {one.name} need a line for each of {arms - 1} arms, a cost for {arms}"
                )
            if not 0 <= one.best < arms or (one.personal and self.evidence != "randomised"):
                raise ReleaseCorrupt(
                    f"the policy of {one.name} names arm {one.best}, on {self.evidence} evidence"
                )
        if arms < 2 or not self.outcomes:
            raise ReleaseCorrupt("a model of effects needs two arms or more, and an outcome")


class OutcomeToSave(NamedTuple):
    """An outcome to save. parts: LightGBM's text, or a `Logistic` of places ("0", "1", ...)."""

    name: str
    lines: tuple[Line, ...]
    parts: Sequence[Logistic | str]
    costs: tuple[float, ...]
    best: int
    personal: bool


class Effects(NamedTuple):
    """float64 [n, outcomes, arms]: effects against the control, whose own are 0, and standard errors."""

    effect: Numbers
    error: Numbers


@dataclass(frozen=True)
class EffectsModel:
    """A model of effects; never changes, safe to use from several threads. Rows as `models.Model` has."""

    card: ModelCard
    file: EffectsFile
    raws: tuple[Callable[[Rows], Numbers], ...]

    def score(self, matrix: Rows) -> Effects:
        """Every effect; the same bits for one row or many."""
        if matrix.dtype != np.float32 or matrix.ndim != 2 or matrix.shape[1] != len(self.card.features):
            raise ValueError(
                f"expected float32 rows [n, {len(self.card.features)}], got {list(matrix.shape)}"
            )
        shape = len(matrix), len(self.file.outcomes), len(self.file.arms)
        effect, error = np.zeros(shape), np.zeros(shape)
        for at, (one, raw_of) in enumerate(zip(self.file.outcomes, self.raws, strict=True)):
            raw = raw_of(np.ascontiguousarray(matrix))
            for k, line in enumerate(one.lines):
                effect[:, at, k + 1], error[:, at, k + 1] = line.effect(raw[:, k]), line.error(raw[:, k])
        return Effects(effect, error)

    def policy(self, scored: Effects, possible: NDArray[np.bool_] | None = None) -> Places:
        """The place of the arm that the first outcome's policy gives, [n]: the arm for all, unless a
        personal policy was proven; then the arm of the largest effect after costs, of equals that for all.

        possible: which arms are, [n, arms], the control always; None: all. The control stands for an arm that
        is not."""
        one, n = self.file.outcomes[0], len(scored.effect)
        could = np.ones((n, len(self.file.arms)), np.bool_) if possible is None else possible
        best = np.where(could[:, one.best], one.best, 0)
        if not one.personal:
            return best
        net, rows = np.where(could, scored.effect[:, 0] - np.array(one.costs), -np.inf), np.arange(n)
        top = net.argmax(axis=1)
        return np.where(net[rows, top] > net[rows, best], top, best)


def save(
    folder: Path, card: ModelCard, arms: Sequence[str], evidence: EVIDENCE,
    outcomes: Sequence[OutcomeToSave], examples: Rows,
) -> EffectsModel:  # fmt: skip
    """Write a model into a new or empty folder, and return it as `load` reads it back.

    examples: float32 [n, F] that belong to no customer. ReleaseCorrupt if the parts do not fit together,
    ReleaseError if the folder holds something.
    """
    folders.begin(folder)
    written, texts = [], 0
    for one in outcomes:
        parts: list[BoosterFile | Logistic] = []
        for part in one.parts:
            if isinstance(part, str):
                name, texts = f"effect-{texts}.txt", texts + 1
                (folder / name).write_bytes(part.encode())
                parts.append(BoosterFile(name))
            else:
                parts.append(part)
        written.append(OutcomeFile(one.name, one.lines, tuple(parts), one.costs, one.best, one.personal))
    file = EffectsFile(FORMAT, KIND, tuple(arms), evidence, tuple(written))
    folders.write_json(folder / "model.json", file)
    folders.write_json(folder / folders.CARD, card)
    scored = _assemble(folder).score(examples)
    np.savez(folder / "examples.npz", allow_pickle=False, rows=examples, **scored._asdict())
    folders.sign(folder)
    return load(folder)


def load(folder: Path) -> EffectsModel:
    """The model of a folder, verified. ReleaseError if there is none, ReleaseCorrupt with the reason."""
    return folders.load(folder, _assemble, _verify_examples)


def _verify_examples(folder: Path, model: EffectsModel) -> None:
    with folders.arrays(folder / "examples.npz") as saved:
        for name, now in model.score(saved["rows"])._asdict().items():
            if now.tobytes() != saved[name].tobytes():
                raise ReleaseCorrupt(
                    f"{folder} gives its examples another {name} than when it was saved: it is not what "
                    "was judged, or LightGBM changed. Promote it again, or retrain"
                )


def _assemble(folder: Path) -> EffectsModel:
    card = folders.read_json(folder / folders.CARD, ModelCard)
    file = folders.read_json(folder / "model.json", EffectsFile)
    if (file.format, file.kind, card.kind) != (FORMAT, KIND, KIND):
        raise ReleaseCorrupt(
            f"{folder / 'model.json'} is a {file.kind!r} of format {file.format}, its card a {card.kind!r}: "
            f"expected {KIND!r} and format {FORMAT}; promote a release that this Propensity trained"
        )
    width = len(card.features)
    raws = tuple(_raw(folder, one, width, len(file.arms)) for one in file.outcomes)
    return EffectsModel(card, file, raws)


def _raw(folder: Path, one: OutcomeFile, width: int, arms: int) -> Callable[[Rows], Numbers]:
    """float32 [n, F] -> raw effects of each arm but the control, [n, arms - 1]."""
    names = [str(place) for place in range(width)]
    shared = len(one.parts) == 1 and isinstance(one.parts[0], BoosterFile)
    boosters = [_booster(folder / part.file) for part in one.parts if isinstance(part, BoosterFile)]
    if shared and len(boosters[0].features) == width + arms - 1:
        flags = np.eye(arms, dtype=np.float32)[:, 1:]

        def differences(rows: Rows) -> Numbers:
            under = [
                boosters[0].raw(np.hstack([rows, np.broadcast_to(flag, (len(rows), arms - 1))]))
                for flag in flags
            ]
            return np.column_stack(under[1:]) - under[0][:, None]

        return differences
    if any(len(booster.features) != width for booster in boosters) or len(one.parts) != arms - 1:
        raise ReleaseCorrupt(
            f"{folder}: the effects on {one.name} do not read the {width} columns of the card"
        )
    parts = [
        _booster(folder / part.file).raw if isinstance(part, BoosterFile) else LogisticScorer(part, names).raw
        for part in one.parts
    ]
    return lambda rows: np.column_stack([part(rows) for part in parts])


def _booster(path: Path) -> Booster:
    return Booster(path.read_text("utf-8"), SQUARES)

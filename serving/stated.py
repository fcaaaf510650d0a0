"""Releases that score nobody: what they state is all of them. A price set; the contact policy and catalogue.

    model.json     what is stated
    card.json      what it is, and since when
    SHA256SUMS     of both

The rules are those of `models`: no clock, the same statement is the same bytes, and a folder that was changed
does not load.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from features.errors import ReleaseCorrupt
from serving import folders
from serving.cards import ModelCard

FORMAT = 1
T = TypeVar("T")


class _File(msgspec.Struct, Generic[T], frozen=True):
    format: int
    kind: str
    states: T


@dataclass(frozen=True)
class Stated(Generic[T]):
    """One statement, and its card."""

    card: ModelCard
    states: T


def save(folder: Path, card: ModelCard, states: msgspec.Struct) -> None:
    """Write it into a new or empty folder. ReleaseError if the folder holds something."""
    folders.begin(folder)
    folders.write_json(folder / "model.json", _File(FORMAT, card.kind, states))
    folders.write_json(folder / folders.CARD, card)
    folders.sign(folder)


def loader(type: type[T], kind: str) -> Callable[[Path], Stated[T]]:
    """What loads a folder of that kind, verified. ReleaseError if there is none, ReleaseCorrupt why not."""

    def assemble(folder: Path) -> Stated[T]:
        card = folders.read_json(folder / folders.CARD, ModelCard)
        file = folders.read_json(folder / "model.json", _File[type])  # type: ignore[valid-type]
        if (file.format, file.kind, card.kind) != (FORMAT, kind, kind):
            raise ReleaseCorrupt(
                f"{folder / 'model.json'} is a {file.kind!r} of format {file.format}, its card a "
                f"{card.kind!r}: expected {kind!r} and format {FORMAT}"
            )
        return Stated(card, file.states)

    return lambda folder: folders.load(folder, assemble, lambda _, __: None)


def hash_of(states: msgspec.Struct) -> str:
    """Names a statement by its content, as it is read back (0 is 0.0): 16 hexadecimal digits."""
    states = msgspec.json.decode(msgspec.json.encode(states), type=type(states))
    return sha256(msgspec.json.encode(states, order="deterministic")).hexdigest()[:16]

"""Folders of plain files that are verified when they are read: SHA256SUMS, JSON of a declared shape."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from features.errors import PropensityError, ReleaseCorrupt, ReleaseError
from features.files import NO_JSON, sha256

CARD = "card.json"
SUMS = "SHA256SUMS"  # of all the others, as `sha256sum --check` reads it
PLAIN = frozenset((".json", ".npz", ".npy", ".parquet", ".txt"))  # what reading cannot run
T = TypeVar("T")


def begin(folder: Path) -> None:
    """Make the folder of a new model. ReleaseError if it holds something."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ReleaseError(f"{folder} is not empty: a saved model is never changed, save into a new folder")


def load(folder: Path, assemble: Callable[[Path], T], check: Callable[[Path, T], None]) -> T:
    """The model of a folder, its sums and its examples verified.

    assemble: reads the parts. check: that it answers its examples as when it was saved. ReleaseError if there
    is no model, ReleaseCorrupt with the reason.
    """
    try:
        if not (folder / SUMS).is_file():
            raise ReleaseError(f"{folder} holds no model: it has no {SUMS}")
        verify(folder)
        model = assemble(folder)
        check(folder, model)
    except PropensityError:
        raise
    # Numpy, pyarrow, zipfile and what computes with them raise anything of what is not theirs: of letters
    # instead of numbers a TypeError. It is signed, so there is nobody else who could refuse it.
    except Exception as error:
        told = str(error) or type(error).__name__
        raise ReleaseCorrupt(f"{folder} cannot be read: {told}. Promote the version again") from None
    return model


def arrays(path: Path) -> Any:
    """The arrays of an .npz file, as `numpy.load` opens it. Of a path, it would leave a damaged one open."""
    found = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
    if not isinstance(found, np.lib.npyio.NpzFile):
        raise ValueError(f"{path.name} holds one array without a name")
    return found


def sign(folder: Path) -> None:
    """Write the sums of what is there; last, since without them nothing loads."""
    sums = "".join(f"{sha256(path)}  {path.name}\n" for path in sorted(folder.iterdir()))
    (folder / SUMS).write_bytes(sums.encode())


def alike(one: Path, other: Path) -> bool:
    """Whether two folders hold the same model: the same files, but for the version that its card states."""
    names = {path.name for path in one.iterdir()} - {SUMS}
    if names != {path.name for path in other.iterdir()} - {SUMS}:
        return False
    cards = [msgspec.json.decode((folder / CARD).read_bytes()) for folder in (one, other)]
    unversioned = [{key: value for key, value in card.items() if key != "version"} for card in cards]
    return unversioned[0] == unversioned[1] and all(
        (one / name).read_bytes() == (other / name).read_bytes() for name in sorted(names - {CARD})
    )


def verify(folder: Path) -> None:
    """ReleaseCorrupt, naming each file, unless the folder holds what was signed."""
    listed = {}
    for line in (folder / SUMS).read_text("utf-8").splitlines():
        digest, _, name = line.partition("  ")
        listed[name] = digest
    present = {path.name for path in folder.iterdir()} - {SUMS}
    wrong = [f"{name} is missing" for name in sorted(listed.keys() - present)]
    wrong += [f"{name} was added" for name in sorted(present - listed.keys())]
    wrong += [
        f"{name} was changed"
        for name in sorted(present & listed.keys())
        if sha256(folder / name) != listed[name]
    ]
    # Signed or not: who can write a folder can sign it, and a pickle runs what it likes when it is read.
    wrong += [f"{name} is no plain file" for name in sorted(listed) if Path(name).suffix not in PLAIN]
    if wrong:
        raise ReleaseCorrupt(
            f"{folder} is not what was saved: {', '.join(wrong)}. Promote the version again from the registry"
        )


def write_json(path: Path, value: msgspec.Struct) -> None:
    """The same value, the same bytes."""
    text = msgspec.json.format(msgspec.json.encode(value, order="deterministic"), indent=1)
    path.write_bytes(text + b"\n")


def read_json(path: Path, type: type[T]) -> T:
    """ReleaseCorrupt if it is not of that shape."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=type)
    except NO_JSON as error:
        raise ReleaseCorrupt(f"{path} cannot be read as a {type.__name__}: {error}") from None

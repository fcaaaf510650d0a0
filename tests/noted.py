"""What a training returned, kept beside the home that it trained in, for all workers of a run."""

from pathlib import Path

import msgspec

from features.words import Words
from serving.cards import ModelCard
from training.fit import Trained

RETURNED = "returned.msgpack"


def note(folder: Path, of: Trained) -> None:
    """All of it that a first training has."""
    said = (of.run_id, of.version, of.card, str(of.folder), of.verdict)
    (folder / RETURNED).write_bytes(msgspec.msgpack.encode(said))


def noted(folder: Path) -> Trained:
    of = tuple[str, str, ModelCard, str, Words]
    run_id, version, card, files, verdict = msgspec.msgpack.decode((folder / RETURNED).read_bytes(), type=of)
    return Trained(run_id, version, card, Path(files), verdict)

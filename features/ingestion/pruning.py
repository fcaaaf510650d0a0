"""What of the log is kept: the generation in force, the one before, every one that a build was made from, and
the parts of the one in force. Nothing is removed while features are being built, for that reads a generation.
"""

import fcntl
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from features.files import read_pointer
from features.settings import Settings


def prune(settings: Settings) -> None:
    """Remove old generations, their rejects, and parts no longer needed. The caller holds the log's lock."""
    root = settings.home / "log"
    current = read_pointer(root / "CURRENT")
    assert current is not None
    manifest = json.loads((root / current / "manifest.json").read_text("utf-8"))
    parts = {(name, facts["part"]) for name, facts in manifest["sources"].items()}
    for place in (settings.home / "parts").glob("*/*"):
        if (place.parent.name, place.name) not in parts:
            shutil.rmtree(place)
    for source in (settings.home / "parts").iterdir():
        if not any(source.iterdir()):
            source.rmdir()
    with _nobody_builds(settings) as quiet:
        if not quiet:
            return
        generations = [path.parent for path in root.glob("*/manifest.json")]
        kept = {current, *_built_from(settings)}
        before = sorted((g for g in generations if g.name != current), key=_written)[-1:]
        kept |= {g.name for g in before}
        for generation in generations:
            if generation.name not in kept:
                shutil.rmtree(generation)
        for rejects in (settings.home / "rejects").iterdir():
            if rejects.name != "taken" and not (root / rejects.name).exists():
                shutil.rmtree(rejects)


def _written(generation: Path) -> int:
    return (generation / "manifest.json").stat().st_mtime_ns


def _built_from(settings: Settings) -> set[str]:
    """Fingerprints of the logs that builds name."""
    builds = (settings.home / "snapshots").glob("*/manifest.json")
    return {json.loads(path.read_text("utf-8"))["log"] for path in builds}


@contextmanager
def _nobody_builds(settings: Settings) -> Iterator[bool]:
    """Hold the builds' lock if it is free; say whether."""
    path = settings.home / "snapshots" / ".lock"
    if not path.exists():
        yield True
        return
    with path.open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True

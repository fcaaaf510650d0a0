"""What Feast's registry was told last, so that telling it the same again need not load Feast.

    home/feast/told.json   digest of what was told, and of the registry's file as it was left

Another writer of the file, or another build, changes one of the two; then it is told again. A team's registry
in a database has other writers, and is told every time.
"""

import hashlib
import json

from features.compute.builds import Build
from features.definitions import catalogue
from features.files import sha256, write_atomically
from features.settings import Settings
from features.shop import shop_of


def is_told(settings: Settings, build: Build) -> bool:
    """Whether the registry is as it was left after it was told of this build, words and all."""
    folder = settings.home / "feast"
    if settings.database is not None or not (folder / "told.json").exists():
        return False
    told = json.loads((folder / "told.json").read_text("utf-8"))
    registry = folder / "registry.db"
    return bool(told == [_digest(settings, build), sha256(registry) if registry.exists() else ""])


def note(settings: Settings, build: Build) -> None:
    """The registry was told of this build just now."""
    folder = settings.home / "feast"
    registry = folder / "registry.db"
    if settings.database is None and registry.exists():
        told = [_digest(settings, build), sha256(registry)]
        write_atomically(folder / "told.json", json.dumps(told).encode())


def _digest(settings: Settings, build: Build) -> str:
    declared = catalogue(shop_of(settings).declared("FEATURES"))
    words = {n: [f.words.en, f.words.zh, f.unit] for n, f in declared.items() if n in build.features}
    facts = [build.id, str(build.folder.absolute()), settings.engine, list(build.features.items()), words]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

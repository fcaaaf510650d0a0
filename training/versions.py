"""What is registered and released of every model: its versions, their aliases, their cards."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from features.errors import PropensityError, ReleaseError
from features.settings import Settings
from serving import folders, releases
from serving.cards import ModelCard
from training import registered
from training.registered import Registered


@dataclass(frozen=True)
class Version:
    """A registered version. card: None if its folder is not what was registered; `wrong` says why.

    trained: when it was registered. released: "in force", "earlier", or "" if it never was; `forced`:
    against the gate.
    """

    name: str
    version: str
    aliases: tuple[str, ...]
    trained: datetime
    released: str
    card: ModelCard | None
    wrong: str = ""
    forced: bool = False


def versions(settings: Settings) -> list[Version]:
    """Every registered version: models by name, the newest version first. Empty if nothing was trained."""
    found = []
    for one in registered.registered(settings):
        card, wrong = None, ""
        try:
            card = card_of(registered.verified(settings, one))
        except PropensityError as error:
            wrong = str(error)
        trained, state = datetime.fromtimestamp(one.created / 1000, UTC), _released(settings, one)
        forced = state != "" and registered.FORCED in one.tags
        found.append(Version(one.name, one.version, one.aliases, trained, state, card, wrong, forced))
    return found


def folder_of(settings: Settings, name: str, version: str | None = None) -> Path:
    """The verified folder of a version or alias; None: the one in force, else the challenger.

    TrainingError or UsageError if there is none, as `registered.resolve` says it.
    """
    if version is None and name in releases.names(settings):
        version = releases.current(settings, name)
    return registered.folder_of(settings, name, registered.resolve(settings, name, version))


def card_of(folder: Path) -> ModelCard:
    """The card of a model's folder of any kind. ReleaseCorrupt if anything in it was changed."""
    folders.verify(folder)
    return folders.read_json(folder / "card.json", ModelCard)


def _released(settings: Settings, one: Registered) -> str:
    try:
        if releases.current(settings, one.name) == one.version:
            return "in force"
    except ReleaseError:
        return ""
    return "earlier" if (settings.home / "releases" / one.name / one.version).is_dir() else ""

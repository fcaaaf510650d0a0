"""What is registered and released of every model: its versions, their aliases, their cards."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from features.errors import PropensityError, ReleaseError
from features.settings import Settings
from serving import folders, releases
from serving.cards import ModelCard
from training import registry


@dataclass(frozen=True)
class Version:
    """A registered version. card: None if its folder is not what was registered; `wrong` says why.

    trained: when it was registered. released: "in force", "earlier", or "" if it never was.
    """

    name: str
    version: str
    aliases: tuple[str, ...]
    trained: datetime
    released: str
    card: ModelCard | None
    wrong: str = ""


def versions(settings: Settings) -> list[Version]:
    """Every registered version: models by name, the newest version first. Empty if nothing was trained."""
    if not registry.exists(settings):
        return []
    found = []
    with registry.opened(settings) as client:
        registered = client.search_model_versions()
        named = {name: registry.aliases_of(client, name) for name in {one.name for one in registered}}
    for one in sorted(registered, key=lambda one: (one.name, -int(one.version))):
        name, version = one.name, str(one.version)
        card, wrong = None, ""
        try:
            card = card_of(registry.verified(settings, one))
        except PropensityError as error:
            wrong = str(error)
        aliases = tuple(sorted(alias for alias, of in named[name].items() if of == version))
        trained = datetime.fromtimestamp(one.creation_timestamp / 1000, UTC)
        found.append(
            Version(name, version, aliases, trained, _released(settings, name, version), card, wrong)
        )
    return found


def folder_of(settings: Settings, name: str, version: str | None = None) -> Path:
    """The verified folder of a version or alias; None: the one in force, else the challenger.

    TrainingError or UsageError if there is none, as `registry.resolve` says it.
    """
    if version is None and name in releases.names(settings):
        version = releases.current(settings, name)
    return registry.folder_of(settings, name, registry.resolve(settings, name, version))


def card_of(folder: Path) -> ModelCard:
    """The card of a model's folder of any kind. ReleaseCorrupt if anything in it was changed."""
    folders.verify(folder)
    return folders.read_json(folder / "card.json", ModelCard)


def _released(settings: Settings, name: str, version: str) -> str:
    try:
        if releases.current(settings, name) == version:
            return "in force"
    except ReleaseError:
        return ""
    return "earlier" if (settings.home / "releases" / name / version).is_dir() else ""

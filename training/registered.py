"""What is registered, read from MLflow's tables without loading MLflow, which takes seconds to import.

Nothing is written here: `registry` is the door by which versions, aliases and releases change.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features import database
from features.errors import TrainingError, UsageError
from features.files import sha256
from features.settings import Settings
from features.shop import shop_of
from features.words import Words
from serving import folders, kinds
from serving.models import Model
from training import targets

CHAMPION, CHALLENGER, ROLLBACK = "champion", "challenger", "rollback"
FORCED, OVERRULED = "forced_because", "gate_objected"  # tags of one released against the gate
SUMS = "sha256_of_sums"  # the tag of a version that says what its folder must be

# MLflow keeps a version that was deleted, in a stage of its own.
_VERSIONS = "SELECT name, version, run_id, creation_time FROM model_versions WHERE current_stage <> :gone"
_TAGS = "SELECT name, version, key, value FROM model_version_tags"
_ALIASES = "SELECT name, version, alias FROM registered_model_aliases"
_GONE = "Deleted_Internal"


@dataclass(frozen=True)
class Registered:
    """A version. created: milliseconds since 1970. aliases: sorted."""

    name: str
    version: str
    run_id: str
    created: int
    tags: dict[str, str]
    aliases: tuple[str, ...]


def registered(settings: Settings, name: str | None = None) -> list[Registered]:
    """Every version, or those of one model: by name, the newest first. Empty if nothing was trained."""
    if not exists(settings):
        return []
    tags: dict[tuple[str, int], dict[str, str]] = {}
    named: dict[tuple[str, int], list[str]] = {}
    with _reading(settings) as select:
        rows = select(_VERSIONS, gone=_GONE)
        for of, version, key, value in select(_TAGS):
            tags.setdefault((of, version), {})[key] = value
        for of, version, alias in select(_ALIASES):
            named.setdefault((of, version), []).append(alias)
    return [
        Registered(
            of, str(version), run_id, created, tags.get((of, version), {}),
            tuple(sorted(named.get((of, version), ()))),
        )
        for of, version, run_id, created in sorted(rows, key=lambda row: (row[0], -row[1]))
        if name in (None, of)
    ]  # fmt: skip


def overruled(settings: Settings, name: str, version: str) -> Words | None:
    """What the gate had against a version that was released by force, and why it was; None: it was not."""
    (one,) = (one for one in registered(settings, name) if one.version == version)
    if FORCED not in one.tags:
        return None
    objected, why = one.tags.get(OVERRULED, ""), one.tags[FORCED]
    return Words(
        f"Released against the gate, which objected: {objected}. The reason given: {why}",
        f"未通过发布检查而强制发布。异议：{objected}。给出的理由：{why}",
    )


def aliases(settings: Settings, name: str) -> dict[str, str]:
    """Alias -> version; empty if nothing was trained."""
    return {alias: one.version for one in registered(settings, name) for alias in one.aliases}


def resolve(settings: Settings, name: str, version: str | None = None) -> str:
    """The version that a number or an alias names; None: the challenger, else the champion.

    TrainingError, with what there is, if it names none; UsageError if there is no such target.
    """
    # A target that is declared no more may still have versions.
    found = registered(settings, name)
    named = {alias: one.version for one in found for alias in one.aliases}
    known = [one.version for one in found]
    if version is None:
        version = named.get(CHALLENGER) or named.get(CHAMPION)
    version = named.get(version or "", version)
    if version in known:
        return version
    if known:
        raise TrainingError(
            f"{name} has no version {version or CHALLENGER}: it has {', '.join(sorted(known, key=int))}"
            + "".join(f", {alias} is {v}" for alias, v in sorted(named.items()))
        )
    if name not in kinds.STATED:
        of_no_target = [one for one in kinds.OF_NO_TARGET if one not in kinds.STATED]
        if name not in of_no_target:
            targets.of_shop(shop_of(settings)).named(name, of_no_target)
    raise TrainingError(f"no version of {name} is registered: run `{kinds.made_by(name)}`")


def folder_of(settings: Settings, name: str, version: str) -> Path:
    """The folder of a registered version. TrainingError if it is not what was registered."""
    (one,) = (one for one in registered(settings, name) if one.version == version)
    return verified(settings, one)


def model_of(settings: Settings, name: str, version: str | None = None) -> Model:
    """A registered classifier, verified: by number or alias; None: the challenger, else the champion.

    UsageError for a model of another kind.
    """
    model = kinds.load(folder_of(settings, name, resolve(settings, name, version)))
    if not isinstance(model, Model):
        raise UsageError(f"{name} gives no probability, so nothing can be compared: `promote` judges it")
    return model


def verified(settings: Settings, one: Registered) -> Path:
    """Its folder. TrainingError if that is not what was registered."""
    folder = folder_of_run(settings, one.run_id)
    sums = folder / folders.SUMS
    if not sums.is_file() or sha256(sums) != one.tags.get(SUMS):  # None: registered by others' hands
        raise TrainingError(
            f"{folder} is not what {one.name} {one.version} was registered with: "
            "restore it, or delete that version in MLflow and train again"
        )
    return folder


def folder_of_run(settings: Settings, run_id: str) -> Path:
    """By the home, not as MLflow recorded it: a home that is moved still works."""
    return settings.home / "mlartifacts" / run_id / "artifacts" / "model"


def file_of(settings: Settings) -> Path:
    """MLflow's database, if it is a file."""
    return settings.home / "mlflow.db"


def exists(settings: Settings) -> bool:
    """Whether anything can have been registered: asking must not write a database."""
    return settings.database is not None or file_of(settings).exists()


@contextmanager
def _reading(settings: Settings) -> Iterator[Any]:
    """select(sql, **parameters) -> rows; none of a team's database in which MLflow made no tables yet."""
    from sqlalchemy import create_engine, inspect, text
    from sqlalchemy.pool import NullPool

    def opened(uri: str) -> Iterator[Any]:
        engine = create_engine(uri, poolclass=NullPool)
        with engine.connect() as connection:
            made = inspect(connection).has_table("model_versions")

            def select(sql: str, **parameters: str) -> Sequence[Any]:
                return connection.execute(text(sql), parameters).all() if made else ()

            yield select

    if settings.database is None:
        yield from opened(f"sqlite:///{file_of(settings).absolute()}")
    else:
        with database.opened(settings, "propensity_mlflow") as uri:
            yield from opened(uri)

"""The only door to MLflow: runs, versions, aliases, and promotion of a version to a release.

`registered` reads the same versions without loading MLflow.

    home/mlflow.db                            runs and versions; one registered model a name
                                              (or the schema propensity_mlflow of PROPENSITY_DATABASE)
    home/mlartifacts/<run>/artifacts/model    a version's folder of plain files: see serving.kinds

Aliases of a model: `challenger`, trained last and not released; `champion`, released; `rollback`, the
champion before. MLflow serves nothing and unpickles nothing here: it keeps and names folders.
"""

import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param

from features import database, store
from features.compute.builds import Build
from features.errors import NoBuild, TrainingError
from features.files import locked, sha256
from features.online import OnlineRows
from features.settings import Settings
from features.words import Words
from serving import folders, kinds, mirror, releases
from serving.cards import ModelCard
from serving.releases import Release
from training import gates
from training.registered import (
    CHALLENGER,
    CHAMPION,
    FORCED,
    OVERRULED,
    ROLLBACK,
    SUMS,
    aliases,
    file_of,
    folder_of,
    folder_of_run,
    registered,
    resolve,
)

__all__ = [
    "CHALLENGER", "CHAMPION", "ROLLBACK", "Door", "Kept", "aliases", "champion_of", "folder_of", "in_force",
    "knows", "objections", "opened", "promote", "registering", "resolve",
]  # fmt: skip

_KEY = "recipe_key"  # a tag of a version


@dataclass(frozen=True)
class Kept:
    """A version in the registry."""

    run_id: str
    version: str
    folder: Path


class Door:
    """One model's versions, while nobody else registers any."""

    def __init__(self, settings: Settings, client: Any, name: str) -> None:
        self._settings, self._client, self._name = settings, client, name

    def find(self, key: str) -> Kept | None:
        """The version of that recipe, verified; it becomes the challenger unless it is the champion."""
        for one in registered(self._settings, self._name):
            if one.tags.get(_KEY) == key:
                kept = Kept(one.run_id, one.version, folder_of(self._settings, self._name, one.version))
                if CHAMPION not in one.aliases:
                    self._client.set_registered_model_alias(self._name, CHALLENGER, kept.version)
                return kept
        return None

    def next_version(self) -> str:
        """The number that `register` will give."""
        found = registered(self._settings, self._name)
        return str(1 + max((int(one.version) for one in found), default=0))

    def register(
        self, folder: Path, drawn: Sequence[Path], card: ModelCard, key: str, recipe: Mapping[str, Any]
    ) -> Kept:
        """Log a run with its model folder and plots, and make it the challenger.

        recipe: what decided the model; logged as parameters. A card of no build: none was read.
        TrainingError if MLflow gives the version another number than the card has.
        """
        client, name = self._client, self._name
        run = client.create_run(_experiment(self._settings, client, name), run_name=f"{name} {card.version}")
        id = run.info.run_id
        params = [Param(k, _short(v)) for k, v in recipe.items()]
        metrics = [Metric(k, v, 0, 0) for k, v in _flat(card)]
        for first in range(0, len(metrics), 1000):  # MLflow's limit of a batch
            client.log_batch(id, metrics=metrics[first : first + 1000], params=params if not first else [])
        if card.trained_on.build:
            build = Build.open(self._settings, card.trained_on.build)
            where = json.dumps({"uri": str(build.folder.absolute())})
            data = Dataset(name="snapshots", digest=build.id, source_type="local", source=where)
            client.log_inputs(id, [DatasetInput(data, [InputTag("mlflow.data.context", "training")])])
        for path in drawn:
            client.log_artifact(id, str(path), "plots")
        client.log_artifacts(id, str(folder), "model")
        kept = folder_of_run(self._settings, id)
        tags = {_KEY: key, SUMS: sha256(kept / folders.SUMS), "log": card.trained_on.log or "none"}
        _known_model(client, name)
        made = client.create_model_version(name, source=str(kept.absolute()), run_id=id, tags=tags)
        client.set_terminated(id)
        if str(made.version) != card.version:
            client.delete_model_version(name, made.version)
            raise TrainingError(
                f"MLflow numbered {name} {made.version}, its card says {card.version}: somebody registered a "
                "version meanwhile, or deleted the last one. Train again"
            )
        client.set_registered_model_alias(name, CHALLENGER, made.version)
        return Kept(id, str(made.version), kept)


@contextmanager
def registering(settings: Settings, name: str) -> Iterator[Door]:
    """The door to one model's versions; others wait."""
    with locked(settings.home / "mlflow.lock"), opened(settings, alone=True) as client:
        yield Door(settings, client, name)


def knows(settings: Settings, name: str, key: str) -> bool:
    """Whether a version of that model is of that recipe."""
    return any(one.tags.get(_KEY) == key for one in registered(settings, name))


def in_force(settings: Settings, name: str) -> str | None:
    """The version that is champion and that the service answers with; None: none is both."""
    champion = aliases(settings, name).get(CHAMPION)
    return champion if champion is not None and releases.serves(settings, name, champion) else None


def promote(settings: Settings, name: str, version: str | None = None, force: str | None = None) -> Release:
    """Release a version (default: the challenger), score everyone with it, and make it the champion.

    The champion before becomes `rollback`; promoting `rollback` goes back. What is champion already stays
    as it is, and what of it was changed since is put right, here and in the store of releases.
    TrainingError with the gate's objections; force: why it is released nevertheless, which is recorded with
    the version. FeatureMismatch if today's build, or what is published to the service, lacks a feature of the
    model as it was; then nothing changes.
    """
    version = resolve(settings, name, version)
    with locked(settings.home / "mlflow.lock"), opened(settings, alone=True) as client:
        named = aliases(settings, name)
        folder = folder_of(settings, name, version)
        if in_force(settings, name) == version:
            release = releases.publish(settings, folder, name, version)  # puts right what was changed since
            return replace(release, pushed=mirror.push(settings, name, version))
        release = Release(name, version, kinds.load(folder))
        card = release.model.card
        _pass(settings, client, release, folder, force)
        if kinds.scores(release):
            _score(settings, release)
        if card.features:
            names = [feature.name for feature in card.features]
            store.add_service(settings, Build.open(settings), name, version, names)
        release = releases.publish(settings, folder, name, version)
        before = named.get(CHAMPION)
        if before is not None and before != version:
            client.set_registered_model_alias(name, ROLLBACK, before)
        client.set_registered_model_alias(name, CHAMPION, version)
        if named.get(CHALLENGER) == version:
            client.delete_registered_model_alias(name, CHALLENGER)
        mirror.push(settings, name, version)
        return release


def _score(settings: Settings, release: Release) -> None:
    """Everyone, before it is in force: its percentiles are there with its first answer. FeatureMismatch."""
    needs, by = release.model.card.needs, f"{release.name} {release.version}"
    Build.open(settings).require(needs, by=by)
    try:
        published = OnlineRows.open(settings).current()
    except NoBuild:  # the service answers nothing yet, so there is nobody to score: publishing will
        return
    served = Build.open(settings, published.build)
    served.require(needs, by=by)
    kinds.score(settings, release, served, published.moment)


def objections(settings: Settings, name: str, version: str) -> list[Words]:
    """What the gate has against releasing that version now."""
    folder = folder_of(settings, name, version)
    return _objections(settings, Release(name, version, kinds.load(folder)), folder)


def champion_of(settings: Settings, name: str) -> Release | None:
    """The version that is champion, loaded and verified; None if nothing was released."""
    version = aliases(settings, name).get(CHAMPION)
    if version is None:
        return None
    return Release(name, version, kinds.load(folder_of(settings, name, version)))


def _pass(settings: Settings, client: Any, release: Release, folder: Path, force: str | None) -> None:
    """TrainingError if the gate objects and nobody says why it is released nevertheless."""
    against = _objections(settings, release, folder)
    if against and not force:
        listed = "; ".join(words.en.rstrip(".") for words in against)
        raise TrainingError(
            f"{release.name} {release.version} is not released: {listed}. Keep what is in force, train on "
            f"more, or say why it is right nevertheless: `propensity promote {release.name} --version "
            f"{release.version} --force REASON`"
        )
    if against and force:
        client.set_model_version_tag(release.name, release.version, FORCED, force)
        overruled = "; ".join(words.en for words in against)
        client.set_model_version_tag(release.name, release.version, OVERRULED, overruled)


def _objections(settings: Settings, release: Release, folder: Path) -> list[Words]:
    """The gate's, with the champion as it would score today. What was champion before passed it then."""
    named = aliases(settings, release.name)
    if release.version in (named.get(CHAMPION), named.get(ROLLBACK)):
        return []
    return gates.objections(settings, release, folder, champion_of(settings, release.name))


@contextmanager
def opened(settings: Settings, alone: bool = False) -> Iterator[Any]:
    """MLflow's client; `alone`: one process at a time, also on other machines of a team's database."""
    for noisy in ("alembic", "mlflow.store.db.utils"):  # they tell every table they create
        logging.getLogger(noisy).setLevel(logging.WARNING)
    with ExitStack() as stack:
        if settings.database is None:
            settings.home.mkdir(parents=True, exist_ok=True)
            uri = f"sqlite:///{file_of(settings).absolute()}"
        else:
            # MLflow keeps its engines for ever; without a pool they keep no connection.
            os.environ.setdefault("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")
            uri = stack.enter_context(database.opened(settings, "propensity_mlflow", alone))
        stack.enter_context(warnings.catch_warnings())
        # MLflow maps its tables with a loader that SQLAlchemy 2.1 deprecates.
        warnings.filterwarnings("ignore", "The ``noload`` loader strategy is deprecated")
        yield MlflowClient(tracking_uri=uri, registry_uri=uri)


def _experiment(settings: Settings, client: Any, name: str) -> str:
    """MLflow fixes where an experiment's files go; a home that was moved or copied gets one of its own."""
    where = (settings.home / "mlartifacts").absolute().as_uri()
    for candidate in (name, f"{name} in {where}"):
        known = client.get_experiment_by_name(candidate)
        if known is None:
            return str(client.create_experiment(candidate, artifact_location=where))
        if known.artifact_location == where:
            return str(known.experiment_id)
    raise TrainingError(f"MLflow's experiments {name!r} store elsewhere than in {where}: rename them")


def _known_model(client: Any, name: str) -> None:
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)


def _flat(card: ModelCard) -> Iterator[tuple[str, float]]:
    """Figures as MLflow's metrics: auc, auc_low, auc_high; recency.auc, ..."""
    for prefix, figures in {"": card.metrics, **{f"{b}.": f for b, f in card.baselines.items()}}.items():
        for metric, figure in figures.items():
            yield f"{prefix}{metric}", figure["value"]
            yield f"{prefix}{metric}_low", figure["low"]
            yield f"{prefix}{metric}_high", figure["high"]
    yield "rows_fitted_and_calibrated", card.trained_on.rows
    yield "rows_tested", card.tested_on.rows
    yield "base_rate", card.tested_on.base_rate


def _short(value: Any) -> str:
    """A parameter as text, within MLflow's limit."""
    return str(value)[:6000]

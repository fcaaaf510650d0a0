"""A home with two trained versions of churn, shared by the tests of this folder."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from copies import trained_copy_of, untrained_copy_of
from once import made_once

from features.compute.builds import Build
from features.definitions import catalogue
from features.log import Log
from features.settings import Settings
from features.words import Words
from serving.cards import ModelCard
from training import samples
from training.fit import Trained, train
from training.samples import Dataset
from training.targets import catalogue as targets

RETURNED = "returned.msgpack"  # what a training returned, beside its home


def _note(folder: Path, of: Trained) -> None:
    """All of it that a first training has."""
    said = (of.run_id, of.version, of.card, str(of.folder), of.verdict)
    (folder / RETURNED).write_bytes(msgspec.msgpack.encode(said))


def _noted(folder: Path) -> Trained:
    of = tuple[str, str, ModelCard, str, Words]
    run_id, version, card, files, verdict = msgspec.msgpack.decode((folder / RETURNED).read_bytes(), type=of)
    return Trained(run_id, version, card, Path(files), verdict)


@pytest.fixture(scope="session")
def trained_twice(
    trained_once: Settings, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Settings, Trained]:
    """The same with version 2 of one origin, seed 2, and what its training returned: take copies."""

    def make(folder: Path) -> None:
        settings = trained_copy_of(trained_once, folder / "home")
        _note(folder, train(settings, "churn_28d", settings.now(), seed=2, origins=1))

    folder = made_once(tmp_path_factory, "trained twice", make)
    return replace(trained_once, home=folder / "home"), _noted(folder)


@pytest.fixture(scope="session")
def of_few(
    small_journey: Settings, empty_registry: Path, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    """churn_28d of the few households of `small_journey`, one origin, seed 2."""

    def make(folder: Path) -> None:
        settings = untrained_copy_of(small_journey, empty_registry, folder / "home")
        _note(folder, train(settings, "churn_28d", settings.now(), seed=2, origins=1))

    return _noted(made_once(tmp_path_factory, "of few", make))


@pytest.fixture(scope="session")
def trained_home(trained_once: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A copy of that for tests that train more versions."""
    return trained_copy_of(trained_once, tmp_path_factory.mktemp("trained") / "home")


@pytest.fixture(scope="session")
def churn(trained_home: Settings) -> Trained:
    """churn_28d as of 2017-12-31, seed 1: version 1, found again."""
    found = train(trained_home, "churn_28d", trained_home.now(), seed=1)
    assert (found.version, found.reused) == ("1", True)
    return found


@pytest.fixture(scope="session")
def churn_data(journey: Settings) -> Dataset:
    """What a training of churn_28d with one origin reads of the real log."""
    log, build, target = Log.open(journey), Build.open(journey), targets()["churn_28d"]
    when = samples.timeline(target, build, journey.now(), origins=1)
    names, _ = samples.columns(build, catalogue(), when)
    return samples.read(journey, log, build, target, when, names)

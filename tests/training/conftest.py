"""A home with two trained versions of churn, shared by the tests of this folder."""

import pytest
from copies import copy_of

from features.compute.builds import Build
from features.definitions import catalogue
from features.log import Log
from features.online import publish
from features.settings import Settings
from training import samples
from training.fit import Trained, train
from training.samples import Dataset
from training.targets import catalogue as targets


@pytest.fixture(scope="session")
def trained_home(journey: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The real log and features, published to the service as of 2017-12-31."""
    settings = copy_of(journey, tmp_path_factory.mktemp("trained") / "home")
    publish(settings, Build.open(settings), settings.now())
    return settings


@pytest.fixture(scope="session")
def churn(trained_home: Settings) -> Trained:
    """churn_28d as of 2017-12-31, seed 1: version 1."""
    return train(trained_home, "churn_28d", trained_home.now(), seed=1)


@pytest.fixture(scope="session")
def churn_data(journey: Settings) -> Dataset:
    """What a training of churn_28d with one origin reads of the real log."""
    log, build, target = Log.open(journey), Build.open(journey), targets()["churn_28d"]
    when = samples.timeline(target, build, journey.now(), origins=1)
    names, _ = samples.columns(build, catalogue(), when)
    return samples.read(journey, log, build, target, when, names)

"""A home with two trained versions of churn, shared by the tests of this folder."""

import pytest
from homes import copy_of

from features.compute.builds import Build
from features.online import publish
from features.settings import Settings
from training.fit import Trained, train


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

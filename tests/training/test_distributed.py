"""Trees from a Dask cluster: as good as those of one machine, and ordinary files."""

import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from copies import untrained_copy_of
from distributed import LocalCluster

import propensity
from features.errors import SettingsError
from features.settings import Settings
from serving import models
from serving.formulas import sigmoid
from training import candidates, distributed, evaluate
from training.distributed import Cluster, cluster
from training.fit import Trained, train
from training.samples import Dataset


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster of two workers, in threads: over real ports, which no other machine reaches."""
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, protocol="tcp", host="127.0.0.1",
        dashboard_address=None, scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
    ) as here:  # fmt: skip
        yield here.scheduler_address


@pytest.fixture(scope="module")
def two(address: str) -> Iterator[Cluster]:
    with cluster(address) as found:
        yield found


def test_two_workers_learn_what_one_machine_learns(churn_data: Dataset, two: Cluster) -> None:
    """Else: a model of a cluster is a worse one, or one of half of the customers.

    On later time, the paired difference of the log-loss is within its own interval.
    """
    known, later = churn_data.known(churn_data.timeline.test), churn_data.at(churn_data.timeline.test)
    given = {**candidates.TREES, "seed": 1}
    losses = [
        evaluate.losses(later.label, sigmoid(booster.predict(later.matrix, raw_score=True)))
        for booster in (
            candidates.boosted(known, churn_data.features, given, 100, cluster=where) for where in (None, two)
        )
    ]
    more = losses[1] - losses[0]
    assert abs(more.mean()) < 1.96 * more.std() / np.sqrt(len(more)) + 0.001
    assert abs(more.mean()) < 0.004
    assert more.any()


def test_what_is_known_of_the_fit_reaches_every_worker(churn_data: Dataset, two: Cluster) -> None:
    """Else: names are lost, a direction is not kept, or what contacts explain is learnt as risk."""
    known = churn_data.known(churn_data.timeline.test)
    names, place = churn_data.features, churn_data.features.index("days_since_order")
    directions = [int(name == "days_since_order") for name in names]
    given = {**candidates.TREES, "seed": 1, "monotone_constraints": directions}
    booster = two.boosted(known, names, {**candidates.DETERMINISTIC, **given}, 40)
    assert booster.feature_name() == list(names)
    assert booster.num_trees() == 40
    rows = np.repeat(known.matrix[:100], 50, axis=0)
    rows[:, place] = np.tile(np.linspace(0, 90, 50), 100)
    assert np.diff(booster.predict(rows, raw_score=True).reshape(100, 50)).min() >= 0
    # What is explained already is not learnt again, as on one machine.
    explained = np.where(known.label == 1, 2.0, -2.0)
    here, there, unaware = (
        candidates.boosted(known, names, given, 40, start, where).predict(known.matrix, raw_score=True)
        for start, where in ((explained, None), (explained, two), (None, two))
    )
    assert abs(here - there).mean() < 0.1
    assert abs(here - unaware).mean() > 0.5


class FitsAnew(Exception):
    """What a training ends with here, as soon as it fits."""


def test_a_model_of_a_cluster_is_an_ordinary_release(
    small_journey: Settings, of_few: Trained, empty_registry: Path, two: Cluster, tmp_path: Path
) -> None:
    """Else: the service cannot serve it, it is taken for a local one, or it tells of machines."""
    settings = untrained_copy_of(small_journey, empty_registry, tmp_path / "home")
    one = train(settings, "churn_28d", settings.now(), seed=2, origins=1, cluster=two)
    assert train(settings, "churn_28d", settings.now(), seed=2, origins=1, cluster=two).reused
    card = models.load(one.folder).card
    assert card.features == of_few.card.features
    assert card.metrics["auc"]["value"] == pytest.approx(of_few.card.metrics["auc"]["value"], abs=0.01)
    text = (one.folder / "booster-0.txt").read_text()
    assert "127.0.0.1" not in text
    assert "machines" not in text

    def say(what: str, done: int, steps: int) -> None:
        if "fitting" in what:
            raise FitsAnew

    with pytest.raises(FitsAnew):
        train(settings, "churn_28d", settings.now(), seed=2, origins=1, progress=say)


def test_a_cluster_that_is_not_there_is_told(journey: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else: whoever mistypes an address waits for ever, or reads a stack trace."""
    monkeypatch.setattr(distributed, "SECONDS", 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(SettingsError, match=f"no Dask cluster .* {nobody}"), cluster(nobody):
            pass
        told = CliRunner().invoke(
            propensity.main,
            ["train", "churn_28d", "--distributed"],
            env={"PROPENSITY_HOME": str(journey.home), "PROPENSITY_DASK_SCHEDULER": nobody},
        )
    assert told.exit_code == 2
    assert f"no Dask cluster with a worker answers at {nobody}" in told.output
    with pytest.raises(SettingsError, match="no Dask cluster"), cluster("no address"):
        pass

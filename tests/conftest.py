"""Shared fixtures: a home with the real log, an empty one, a Redis and a PostgreSQL server."""

import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import hypothesis
import pytest
from copies import copy_of, trained_copy_of
from logs import TODAY, fewer_households, real_data
from once import made_once
from servers import RedisServer, redis_server
from servers_postgres import PostgresServer, postgres_server

from features.compute.engine import build
from features.ingestion.ingest import ingest
from features.log import Log
from features.moments import DAY, grid
from features.settings import Settings

# How fast a machine is decides no test.
slow = [hypothesis.HealthCheck.too_slow]
hypothesis.settings.register_profile("tests", deadline=None, suppress_health_check=slow)
hypothesis.settings.load_profile("tests")


MEMORY = Path("/dev/shm")
ROOM = 6_000_000_000  # bytes; a run takes a sixth of it


def pytest_configure() -> None:
    """Temporary files in memory, where there is room. A home waits for the disk a hundred times an ingestion,
    so that it outlives a power cut: no test cuts the power.

    And one thread of linear algebra a process: workers take the cores, and several would spin for each other.
    """
    for library in ("OPENBLAS", "OMP"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    if MEMORY.is_dir() and min(shutil.disk_usage(MEMORY).free, _available()) > ROOM:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def _available() -> int:
    """Bytes of memory that may be had."""
    lines = Path("/proc/meminfo").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))


# The longest first, in this order: at the end one worker would wait for the other. The notebooks make the
# demo, so what needs it comes last of these, and finds it made.
LONGEST = [
    *("notebooks", "distributed", "value_training", "targets", "leaks", "spark"),
    *("verdicts", "foresight", "evaluate", "mended", "propose", "ingest", "fit", "registry", "command_line"),
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """By LONGEST; all others stay as they are collected."""
    order = {f"test_{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


def pytest_collection_finish() -> None:
    """What was imported stays until the end: looking for garbage among it, again and again, finds none."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


@pytest.fixture(scope="session")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a home with the Complete Journey log ingested and weekly features until 2017-12-31."""
    real = real_data("complete_journey")

    def of(home: Path) -> Settings:
        return Settings(home=home, as_of=TODAY, api_keys={"tests": "a-key-for-tests-only"})

    def make(home: Path) -> None:
        ingest(of(home), folder=real)
        build(of(home), grid(Log.open(of(home)).starts_at + 28 * DAY, TODAY))

    made = made_once(tmp_path_factory, "journey", make)
    return copy_of(of(made), tmp_path_factory.mktemp("journey") / "home")


@pytest.fixture(scope="session")
def small_journey(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a home with every fourth household of that log, and weekly features of its last 34 weeks:
    for trainings whose figures are nobody's; take copies."""

    def of(home: Path) -> Settings:
        return Settings(home=home, as_of=TODAY, api_keys={"tests": "a-key-for-tests-only"})

    def make(folder: Path) -> None:
        settings = of(folder / "home")
        ingest(settings, folder=fewer_households(folder / "files", 4))
        build(settings, grid(TODAY - 34 * 7 * DAY, TODAY))

    return of(made_once(tmp_path_factory, "small journey", make) / "home")


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's file with nothing registered, to be copied into a home: making one takes seconds."""

    def make(folder: Path) -> None:
        from training import registry

        with registry.opened(Settings(home=folder), alone=True) as client:
            client.search_registered_models()

    return made_once(tmp_path_factory, "empty registry", make) / "mlflow.db"


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`propensity demo --quick` as a newcomer runs it: a folder of its `home`, and `printed.txt`."""

    def make(folder: Path) -> None:
        environment = {**os.environ, "PROPENSITY_HOME": str(folder / "home"), "PYTHONWARNINGS": "default"}
        command = [sys.executable, "-m", "propensity", "demo", "--quick"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        (folder / "printed.txt").write_text(done.stdout, "utf-8")

    return made_once(tmp_path_factory, "demo", make)


@pytest.fixture(scope="session")
def trained_once(demo: Path, journey: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The real log and features, published to the service as of 2017-12-31, with the `churn` of the demo as
    its training left it, the challenger and not released: take copies."""

    def make(folder: Path) -> None:
        from training import registry

        settings = trained_copy_of(replace(journey, home=demo / "home"), folder / "home")
        with registry.opened(settings) as client:
            client.delete_registered_model_alias("churn_28d", registry.CHAMPION)
            client.set_registered_model_alias("churn_28d", registry.CHALLENGER, "1")

    return replace(journey, home=made_once(tmp_path_factory, "trained", make) / "home")


@pytest.fixture(scope="session")
def redis_of_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis server for all tests, which share it: empty it before use."""
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for all tests; each takes a database of its own."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    """Settings of an empty home."""
    return Settings(home=tmp_path / "home", as_of=TODAY, api_keys={"tests": "a-key-for-tests-only"})
